//! `WSGICaseSensitivity Off`: paths that differ in case only are one script.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use super::load::module_name;

/// Under which path and which module name a script is known.
pub enum Case {
    /// Each path is a script.
    Matters,
    /// The first path of those that differ in case only stands for all of them; by the path in lower-case letters.
    Folds(RefCell<HashMap<Vec<u8>, Vec<u8>>>),
}

impl Default for Case {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Case {
    /// `folds`: paths that differ in case only are one script.
    pub fn new(folds: bool) -> Self {
        if folds {
            Self::Folds(RefCell::default())
        } else {
            Self::Matters
        }
    }

    /// The path that stands for this one; `None` when it stands for itself.
    pub fn other_path(&self, script: &[u8]) -> Option<Vec<u8>> {
        let Self::Folds(first) = self else { return None };
        let mut first = first.borrow_mut();
        let path = first
            .entry(script.to_ascii_lowercase())
            .or_insert_with(|| script.to_vec());
        (path != script).then(|| path.clone())
    }

    /// Name of its module.
    pub fn module_name(&self, script: &[u8]) -> String {
        let path = match self {
            Self::Matters => Cow::Borrowed(script),
            Self::Folds(_) => Cow::Owned(script.to_ascii_lowercase()),
        };
        module_name(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_path_stands_for_those_that_differ_in_case() {
        let case = Case::new(true);
        assert_eq!(case.other_path(b"/App.wsgi"), None);
        assert_eq!(case.other_path(b"/APP.wsgi"), Some(b"/App.wsgi".to_vec()));
        assert_eq!(case.other_path(b"/App.wsgi"), None);
        assert_eq!(case.module_name(b"/App.wsgi"), module_name(b"/app.wsgi"));
        let case = Case::new(false);
        assert_eq!(case.other_path(b"/APP.wsgi"), None);
        assert_eq!(case.module_name(b"/App.wsgi"), module_name(b"/App.wsgi"));
    }
}
