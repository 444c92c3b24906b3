//! httpd's error log as lines with a level, and which of them a test announced.

use std::path::Path;

/// One line of the error log.
#[derive(Clone, Debug)]
pub struct Line {
    /// The level's name (`warn`, `error`, …); empty when the line has not httpd's format.
    pub level: String,
    /// The module that logged, such as `wsgi` or `core`.
    pub module: String,
    /// The whole line.
    pub text: String,
}

impl Line {
    fn parse(text: &str) -> Line {
        // [time] [module:level] [pid …] …
        let second = text.split("] [").nth(1).unwrap_or_default();
        let (module, level) = match second.split_once(':') {
            Some((module, level)) if text.starts_with('[') => (module, level.trim_end_matches(']')),
            _ => ("", ""),
        };
        Line {
            level: level.to_owned(),
            module: module.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Level warn or worse, or not in httpd's format at all (somebody wrote to the file directly).
    pub fn is_bad(&self) -> bool {
        matches!(
            self.level.as_str(),
            "" | "warn" | "error" | "crit" | "alert" | "emerg"
        )
    }
}

/// All lines of `path`; none when it does not exist (yet).
pub fn read(path: &Path) -> Vec<Line> {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(Line::parse)
        .collect()
}

/// The lines that nobody announced.
pub fn unannounced(lines: Vec<Line>, announced: &[String]) -> Vec<Line> {
    lines
        .into_iter()
        .filter(|line| line.is_bad() && !announced.iter().any(|text| line.text.contains(text.as_str())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARNING: &str = "[Fri Nov 20 12:48:07.511068 2026] [wsgi:warn] [pid 4782:tid 4782] RW0001: hm";

    #[test]
    fn level_and_module_are_read() {
        let line = Line::parse(WARNING);
        assert_eq!((line.module.as_str(), line.level.as_str()), ("wsgi", "warn"));
        assert!(line.is_bad());
    }

    #[test]
    fn a_line_without_httpds_format_is_bad() {
        assert!(Line::parse("Fatal Python error").is_bad());
    }

    #[test]
    fn an_announced_line_is_forgiven() {
        let lines = vec![Line::parse(WARNING)];
        assert!(unannounced(lines.clone(), &["RW0001".to_owned()]).is_empty());
        assert_eq!(unannounced(lines, &["RW0002".to_owned()]).len(), 1);
    }
}
