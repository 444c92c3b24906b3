//! What a value may be. A kind owns its syntax and its refusal; no setter parses by hand.

use core::ffi::CStr;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Words, Wrong};
use crate::request::template::Template;

/// A kind of value.
pub trait Kind: Sized {
    /// How it is written, for `httpd -L` and the reference pages.
    const USAGE: &'static CStr;

    /// Nothing is a value, too.
    const MAY_BE_EMPTY: bool = false;

    /// Reads a value. The problem continues a sentence that begins with the directive or option.
    fn parse(word: &str) -> Result<Self, Wrong>;

    /// Reads the words of a directive: one, unless the kind says otherwise. `earlier` is what the same directive set before in the
    /// same scope.
    fn read(words: &mut Words<'_>, earlier: Option<Self>) -> Result<Self, Wrong> {
        drop(earlier);
        one(words)
    }
}

/// Reads a value that must not be empty, unless its kind may.
pub fn parse<K: Kind>(word: &str) -> Result<K, Wrong> {
    if word.is_empty() && !K::MAY_BE_EMPTY {
        let usage = K::USAGE.to_string_lossy();
        return Err(Wrong::new(
            "has an empty value",
            format!("give it a value ({usage}) or remove it"),
        ));
    }
    K::parse(word)
}

/// Reads the only word of a directive.
pub fn one<K: Kind>(words: &mut Words<'_>) -> Result<K, Wrong> {
    let usage = K::USAGE.to_string_lossy();
    let wrong = || {
        Wrong::new(
            "takes one argument",
            format!("write: {usage} (in quotes if it has blanks)"),
        )
    };
    let word = words.next().ok_or_else(wrong)?;
    match words.next() {
        None => parse(&word),
        Some(_) => Err(wrong()),
    }
}

/// `On` or `Off`.
pub type OnOff = bool;

impl Kind for OnOff {
    const USAGE: &'static CStr = c"On|Off";

    fn parse(word: &str) -> Result<Self, Wrong> {
        if word.eq_ignore_ascii_case("on") {
            Ok(true)
        } else if word.eq_ignore_ascii_case("off") {
            Ok(false)
        } else {
            Err(Wrong::new(
                "must be one of: Off | On",
                format!("'{word}' is neither"),
            ))
        }
    }
}

fn number(word: &str, what: &str, least: u32) -> Result<u32, Wrong> {
    let remedy = || match least {
        0 => format!("give a whole number of {what}, digits only"),
        least => format!("give a whole number of {what} of at least {least}, digits only"),
    };
    match word.parse::<u32>() {
        Ok(number) if number >= least && number <= i32::MAX as u32 => Ok(number),
        _ => Err(Wrong::new(
            format!("has the value '{word}', which is not a number it can take"),
            remedy(),
        )),
    }
}

/// A number of whole seconds; 0 is "no limit" for limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u32);

impl Seconds {
    /// As a duration; `None` for 0.
    pub fn limit(self) -> Option<Duration> {
        (self.0 > 0).then(|| Duration::from_secs(self.0.into()))
    }
}

impl Kind for Seconds {
    const USAGE: &'static CStr = c"seconds";

    fn parse(word: &str) -> Result<Self, Wrong> {
        number(word, "seconds", 0).map(Self)
    }
}

/// A whole number of at least `LEAST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const LEAST: u32>(pub u32);

impl<const LEAST: u32> Kind for Count<LEAST> {
    const USAGE: &'static CStr = c"number";

    fn parse(word: &str) -> Result<Self, Wrong> {
        number(word, "pieces", LEAST).map(Self).map_err(|wrong| Wrong {
            remedy: wrong.remedy.replace("a whole number of pieces", "a whole number"),
            ..wrong
        })
    }
}

/// A number of bytes: 0, or at least `LEAST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<const LEAST: u64>(pub u64);

impl<const LEAST: u64> Kind for Bytes<LEAST> {
    const USAGE: &'static CStr = c"bytes";

    fn parse(word: &str) -> Result<Self, Wrong> {
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        match word.parse::<u64>() {
            Ok(number) if digits && number <= i64::MAX as u64 && (number == 0 || number >= LEAST) => {
                Ok(Self(number))
            }
            _ => Err(Wrong::new(
                format!("has the value '{word}', which is not a number of bytes it can take"),
                match LEAST {
                    0 => "give a whole number of bytes, digits only".to_owned(),
                    least => format!("give 0, or a whole number of bytes of at least {least}, digits only"),
                },
            )),
        }
    }
}

/// A number of whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Milliseconds(pub u32);

impl Kind for Milliseconds {
    const USAGE: &'static CStr = c"milliseconds";

    fn parse(word: &str) -> Result<Self, Wrong> {
        number(word, "milliseconds", 0).map(Self)
    }
}

/// A nice value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(pub i8);

impl Kind for Priority {
    const USAGE: &'static CStr = c"number";

    fn parse(word: &str) -> Result<Self, Wrong> {
        match word.parse::<i8>() {
            Ok(number) if (-20..=19).contains(&number) && !word.starts_with('+') => Ok(Self(number)),
            _ => Err(Wrong::new(
                format!("has the value '{word}', which is not a priority"),
                "give a whole number from -20 (first) to 19 (last)",
            )),
        }
    }
}

/// Threads of a worker; 0 makes a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads(pub u32);

impl Kind for Threads {
    const USAGE: &'static CStr = c"number";

    fn parse(word: &str) -> Result<Self, Wrong> {
        match number(word, "threads", 0)? {
            threads if threads <= 65533 => Ok(Self(threads)),
            threads => Err(Wrong::new(format!("is {threads}"), "give at most 65533")),
        }
    }
}

/// An absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absolute(pub PathBuf);

impl Kind for Absolute {
    const USAGE: &'static CStr = c"/absolute/path";

    fn parse(word: &str) -> Result<Self, Wrong> {
        if FsPath::new(word).is_absolute() {
            Ok(Self(PathBuf::from(word)))
        } else {
            Err(Wrong::new(
                format!("has the value '{word}'"),
                "give an absolute path, beginning with '/'",
            ))
        }
    }
}

/// A path, relative to `ServerRoot` if it does not begin with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BelowServerRoot(pub String);

impl Kind for BelowServerRoot {
    const USAGE: &'static CStr = c"path";

    fn parse(word: &str) -> Result<Self, Wrong> {
        Ok(Self(word.to_owned()))
    }
}

/// Directories separated by colons. A relative one is below the working directory of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathList(pub Vec<PathBuf>);

impl Kind for PathList {
    const USAGE: &'static CStr = c"/directory[:/directory...]";

    fn parse(word: &str) -> Result<Self, Wrong> {
        let directories = word.split(':').filter(|path| !path.is_empty());
        Ok(Self(directories.map(PathBuf::from).collect()))
    }
}

/// Any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

impl Kind for Text {
    const USAGE: &'static CStr = c"text";

    fn parse(word: &str) -> Result<Self, Wrong> {
        Ok(Self(word.to_owned()))
    }
}

/// A user or group: a name, or `#` and a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A name, to be looked up.
    Name(String),
    /// A number.
    Number(u32),
}

impl Kind for Identity {
    const USAGE: &'static CStr = c"name|#number";

    fn parse(word: &str) -> Result<Self, Wrong> {
        match word.strip_prefix('#') {
            None => Ok(Self::Name(word.to_owned())),
            Some(digits) => digits.parse().map(Self::Number).map_err(|_| {
                Wrong::new(
                    format!("has the value '{word}'"),
                    "write a name, or '#' and a number as in #1000",
                )
            }),
        }
    }
}

/// Users or groups separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities(pub Vec<Identity>);

impl Kind for Identities {
    const USAGE: &'static CStr = c"name|#number[,name|#number...]";
    /// No group but the user's own.
    const MAY_BE_EMPTY: bool = true;

    fn parse(word: &str) -> Result<Self, Wrong> {
        if word.is_empty() {
            return Ok(Self(Vec::new()));
        }
        word.split(',')
            .map(|part| parse::<Identity>(part.trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A file mode creation mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Umask(pub u32);

impl Kind for Umask {
    const USAGE: &'static CStr = c"octal";

    fn parse(word: &str) -> Result<Self, Wrong> {
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        match u32::from_str_radix(word, 8) {
            Ok(mask) if digits && mask <= 0o777 => Ok(Self(mask)),
            _ => Err(Wrong::new(
                format!("has the value '{word}'"),
                "give octal digits up to 777, as in 0027",
            )),
        }
    }
}

/// A name that may contain one whole `%{…}` form, expanded for every request.
impl Kind for Template {
    const USAGE: &'static CStr = c"name|%{GLOBAL}|%{SERVER}|%{HOST}|%{RESOURCE}|%{ENV:variable}";

    fn parse(word: &str) -> Result<Self, Wrong> {
        Ok(Self::new(word))
    }
}

/// The name of a callable, or `%{ENV:…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callable(pub Template);

impl Kind for Callable {
    const USAGE: &'static CStr = c"name|%{ENV:variable}";

    fn parse(word: &str) -> Result<Self, Wrong> {
        Ok(Self(Template::new(word)))
    }
}

/// A name used as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub Arc<str>);

impl Kind for Name {
    const USAGE: &'static CStr = c"name";

    fn parse(word: &str) -> Result<Self, Wrong> {
        Ok(Self(word.into()))
    }
}

/// A name that is the same for every request: `%{GLOBAL}` is the empty one, any other form is literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedName(pub Arc<str>);

impl Kind for FixedName {
    const USAGE: &'static CStr = c"name|%{GLOBAL}";

    fn parse(word: &str) -> Result<Self, Wrong> {
        Ok(Self(if word == "%{GLOBAL}" { "" } else { word }.into()))
    }
}

/// Any number of such names, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedNames(pub Arc<[FixedName]>);

impl Kind for FixedNames {
    const USAGE: &'static CStr = c"[name|%{GLOBAL} ...]";

    fn parse(word: &str) -> Result<Self, Wrong> {
        Ok(Self([FixedName::parse(word)?].into()))
    }

    fn read(words: &mut Words<'_>, _earlier: Option<Self>) -> Result<Self, Wrong> {
        let names = std::iter::from_fn(|| words.next());
        names
            .map(|name| FixedName::parse(&name))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_anything_behind_them_are_refused() {
        for word in ["5s", "-1", "+ 1", "", "4294967296", "1.5", "0x5"] {
            assert!(parse::<Seconds>(word).is_err(), "{word}");
        }
        assert_eq!(parse::<Seconds>("0"), Ok(Seconds(0)));
        assert_eq!(Seconds(0).limit(), None);
    }

    #[test]
    fn counts_have_a_least_value() {
        let wrong = parse::<Count<1>>("0").unwrap_err();
        assert_eq!(wrong.remedy, "give a whole number of at least 1, digits only");
    }

    #[test]
    fn threads_are_up_to_65533_and_may_be_none() {
        assert_eq!(parse::<Threads>("0"), Ok(Threads(0)));
        assert_eq!(parse::<Threads>("65533"), Ok(Threads(65533)));
        assert!(parse::<Threads>("65534").unwrap_err().problem.contains("65534"));
    }

    #[test]
    fn identities_are_names_or_numbers() {
        assert_eq!(parse::<Identity>("#33"), Ok(Identity::Number(33)));
        assert_eq!(parse::<Identity>("www"), Ok(Identity::Name("www".into())));
        assert!(parse::<Identity>("#x").is_err());
        assert!(parse::<Identities>("a,,b").is_err());
    }

    #[test]
    fn masks_are_octal() {
        assert_eq!(parse::<Umask>("027"), Ok(Umask(0o27)));
        assert!(parse::<Umask>("8").is_err());
        assert!(parse::<Umask>("+7").is_err());
        assert!(parse::<Umask>("1000").is_err());
    }

    #[test]
    fn paths_are_absolute() {
        assert!(parse::<Absolute>("srv").is_err());
        assert_eq!(
            parse::<PathList>("/a::b:"),
            Ok(PathList(vec!["/a".into(), "b".into()]))
        );
        assert!(parse::<PathList>("").is_err());
        assert_eq!(
            parse::<PathList>("/a:/b"),
            Ok(PathList(vec!["/a".into(), "/b".into()]))
        );
    }
}
