//! `On|Off|Auto`, and the name under which the module is loaded, on which some defaults depend.

use core::ffi::CStr;

use super::Wrong;
use super::kinds::Kind;

/// `On`, `Off`, or `Auto`: as the request makes it useful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOffAuto {
    /// Always.
    On,
    /// Never.
    Off,
    /// The module decides for each request.
    Auto,
}

impl Kind for OnOffAuto {
    const USAGE: &'static CStr = c"On|Off|Auto";

    fn parse(word: &str) -> Result<Self, Wrong> {
        let choices = [("on", Self::On), ("off", Self::Off), ("auto", Self::Auto)];
        let found = choices.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            Wrong::new(
                "must be one of: Off | On | Auto",
                format!("'{word}' is none of them"),
            )
        })
    }
}

/// The name in `LoadModule`. As `wsgi_module` the module takes mod_wsgi's place, and what mod_wsgi does by default stays the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadedAs {
    /// `LoadModule rwsgi_module`.
    #[default]
    Rwsgi,
    /// `LoadModule wsgi_module`.
    Wsgi,
}

impl LoadedAs {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rwsgi => "rwsgi_module",
            Self::Wsgi => "wsgi_module",
        }
    }

    /// `WSGIPassAuthorization`, unless it is written.
    pub fn pass_authorization(self) -> OnOffAuto {
        match self {
            Self::Rwsgi => OnOffAuto::Auto,
            Self::Wsgi => OnOffAuto::Off,
        }
    }

    /// `WSGICGIHeaders`, unless it is written.
    pub fn cgi_headers(self, is_embedded: bool) -> bool {
        self == Self::Wsgi && !is_embedded
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::parse;
    use super::*;

    #[test]
    fn three_words_are_taken_in_any_case() {
        assert_eq!(parse::<OnOffAuto>("AUTO"), Ok(OnOffAuto::Auto));
        assert_eq!(parse::<OnOffAuto>("on"), Ok(OnOffAuto::On));
        assert_eq!(parse::<OnOffAuto>("Off"), Ok(OnOffAuto::Off));
        for word in ["yes", "1", "", "automatic"] {
            assert!(parse::<OnOffAuto>(word).is_err(), "{word}");
        }
    }

    #[test]
    fn what_mod_wsgi_does_by_default_depends_on_the_mode() {
        assert!(LoadedAs::Wsgi.cgi_headers(false) && !LoadedAs::Wsgi.cgi_headers(true));
        assert!(!LoadedAs::Rwsgi.cgi_headers(false));
    }
}
