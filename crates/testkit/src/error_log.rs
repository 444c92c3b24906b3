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

/// What a test said that it would find in the log.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    /// Lines with one of these texts.
    pub texts: Vec<String>,
    /// Lines of the module without a code: tracebacks, and what an application writes.
    pub uncoded: bool,
}

impl Announced {
    fn covers(&self, line: &Line) -> bool {
        let coded = line.text.contains(" RW0") || line.text.contains(" WSGI0");
        let of_the_module = matches!(line.module.as_str(), "wsgi" | "rwsgi");
        (self.uncoded && of_the_module && !coded)
            || self.texts.iter().any(|text| line.text.contains(text.as_str()))
    }
}

/// The lines that nobody announced.
pub fn unannounced(lines: Vec<Line>, announced: &Announced) -> Vec<Line> {
    lines
        .into_iter()
        .filter(|line| line.is_bad() && !announced.covers(line))
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
        let announce = |text: &str| Announced {
            texts: vec![text.to_owned()],
            uncoded: true,
        };
        let lines = vec![Line::parse(WARNING)];
        assert!(unannounced(lines.clone(), &announce("RW0001")).is_empty());
        assert_eq!(unannounced(lines, &announce("RW0002")).len(), 1);
    }

    #[test]
    fn tracebacks_are_lines_without_a_code() {
        let line = Line::parse(&WARNING.replace("RW0001: hm", "[client ::1] ValueError: hm"));
        assert!(
            unannounced(
                vec![line.clone()],
                &Announced {
                    uncoded: true,
                    ..Announced::default()
                }
            )
            .is_empty()
        );
        assert_eq!(unannounced(vec![line], &Announced::default()).len(), 1);
    }
}
