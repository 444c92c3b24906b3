//! A number of requests, or a share of all that httpd can serve at once.

use core::ffi::CStr;

use super::Wrong;
use super::kinds::Kind;

/// Most requests at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cap {
    /// No limit.
    #[default]
    None,
    /// So many.
    Number(u32),
    /// So many of a hundred that httpd can serve at once (`MaxRequestWorkers`).
    Percent(u32),
}

impl Cap {
    /// The number, when httpd can serve `all` at once; at least 1.
    pub fn of(self, all: u32) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Number(number) => Some(number),
            Self::Percent(percent) => {
                let number = u64::from(all) * u64::from(percent) / 100;
                Some(u32::try_from(number).unwrap_or(u32::MAX).max(1))
            }
        }
    }
}

impl Kind for Cap {
    const USAGE: &'static CStr = c"number|percent%";

    fn parse(word: &str) -> Result<Self, Wrong> {
        let wrong = || {
            Wrong::new(
                format!("has the value '{word}', which is not a number of requests"),
                "give a whole number, digits only, or a share of MaxRequestWorkers from 1% to 100%",
            )
        };
        let digits = word.strip_suffix('%').unwrap_or(word);
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        match (digits.parse::<u32>().map_err(|_| wrong())?, word.ends_with('%')) {
            (0, false) => Ok(Self::None),
            (number, false) => Ok(Self::Number(number)),
            (percent @ 1..=100, true) => Ok(Self::Percent(percent)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_shares_are_read_and_nothing_else() {
        assert_eq!(Cap::parse("0"), Ok(Cap::None));
        assert_eq!(Cap::parse("12"), Ok(Cap::Number(12)));
        assert_eq!(Cap::parse("25%"), Ok(Cap::Percent(25)));
        for word in ["-1", "+1", "1.5", "%", "0%", "101%", "5 %", "many", "99999999999"] {
            assert!(Cap::parse(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_share_is_rounded_down_but_never_to_nothing() {
        assert_eq!(Cap::None.of(400), None);
        assert_eq!(Cap::Number(7).of(400), Some(7));
        assert_eq!(Cap::Percent(25).of(150), Some(37));
        assert_eq!(Cap::Percent(25).of(2), Some(1));
    }
}
