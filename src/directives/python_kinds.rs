//! Kinds of values that Python has.

use core::ffi::CStr;

use super::Wrong;
use super::kinds::Kind;

/// A time in seconds with a fraction, more than 0; kept in microseconds, as Python keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub u64);

impl Kind for Interval {
    const USAGE: &'static CStr = c"seconds";

    fn parse(word: &str) -> Result<Self, Wrong> {
        match seconds(word) {
            Some(seconds) if seconds > 0.0 => Ok(Self(((seconds * 1e6).round() as u64).max(1))),
            _ => Err(Wrong::new(
                format!("has the value '{word}', which is not a number of seconds it can take"),
                "give a number of more than 0, as in 0.005",
            )),
        }
    }
}

/// A number of seconds as a decimal fraction of at most a year.
pub fn seconds(word: &str) -> Option<f64> {
    const YEAR: f64 = 366.0 * 86400.0;
    word.parse::<f64>()
        .ok()
        .filter(|seconds| (0.0..=YEAR).contains(seconds))
}

/// What `PYTHONHASHSEED` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashSeed(pub String);

impl Kind for HashSeed {
    const USAGE: &'static CStr = c"random|number";

    fn parse(word: &str) -> Result<Self, Wrong> {
        if word == "random" {
            return Ok(Self(word.to_owned()));
        }
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        match word.parse::<u32>() {
            Ok(seed) if digits => Ok(Self(seed.to_string())),
            _ => Err(Wrong::new(
                format!("has the value '{word}'"),
                "give 'random', or a whole number from 0 to 4294967295",
            )),
        }
    }
}

/// A mechanism of a lock between processes, as APR names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanism;

impl Kind for Mechanism {
    const USAGE: &'static CStr = c"default|flock|fcntl|sysvsem|posixsem|pthread";

    fn parse(word: &str) -> Result<Self, Wrong> {
        let known = Self::USAGE.to_string_lossy();
        if known.split('|').any(|name| name.eq_ignore_ascii_case(word)) {
            Ok(Self)
        } else {
            Err(Wrong::new(
                format!("has the value '{word}', which is no mechanism of a lock"),
                format!("there are {}; or remove it", known.replace('|', ", ")),
            ))
        }
    }
}

/// A time in seconds with a fraction, or 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold;

impl Kind for Threshold {
    const USAGE: &'static CStr = c"seconds";

    fn parse(word: &str) -> Result<Self, Wrong> {
        match seconds(word) {
            Some(_) => Ok(Self),
            None => Err(Wrong::new(
                format!("has the value '{word}', which is not a number of seconds"),
                "give a number of at least 0, as in 2.5",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::parse;
    use super::*;

    #[test]
    fn intervals_are_more_than_nothing() {
        assert_eq!(parse("0.005"), Ok(Interval(5000)));
        assert_eq!(parse("1e-9"), Ok(Interval(1)));
        for word in ["0", "-1", "x", "0.1x", "inf", "nan", ""] {
            assert!(parse::<Interval>(word).is_err(), "{word}");
        }
    }

    #[test]
    fn seeds_are_random_or_have_32_bits() {
        assert_eq!(parse("random"), Ok(HashSeed("random".into())));
        assert_eq!(parse("007"), Ok(HashSeed("7".into())));
        for word in ["-1", "+1", "4294967296", "Random", "1x"] {
            assert!(parse::<HashSeed>(word).is_err(), "{word}");
        }
    }

    #[test]
    fn mechanisms_are_those_of_apr_in_any_case() {
        assert!(parse::<Mechanism>("FCNTL").is_ok() && parse::<Mechanism>("futex").is_err());
    }
}
