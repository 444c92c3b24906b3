//! Words of a directive line, by httpd's rules: blanks separate, `"` or `'` quote, a backslash escapes the quote or itself.

use super::Wrong;

/// What is left of a line.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// All words of `line`.
    pub fn new(line: &'a str) -> Self {
        Self { rest: line.trim() }
    }

    /// Takes off the `>` that ends the first line of a section. httpd has done so already where nothing is before it.
    pub fn end_section(&mut self) -> Result<(), Wrong> {
        match self.rest.trim_end().strip_suffix('>') {
            Some(rest) => self.rest = rest,
            None if self.rest.is_empty() => {}
            None => return Err(Wrong::new("has no closing '>'", "end its first line with '>'")),
        }
        Ok(())
    }

    /// The next word, unquoted.
    #[allow(clippy::should_implement_trait)] // Not an iterator: `next_option` reads the same words in another way.
    pub fn next(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let mut characters = self.rest.char_indices();
        let (_, first) = characters.next()?;
        if first != '"' && first != '\'' {
            let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Some(word.to_owned());
        }
        let mut word = String::new();
        let mut escaped = false;
        for (at, character) in characters {
            if escaped {
                if character != first && character != '\\' {
                    word.push('\\');
                }
                word.push(character);
                escaped = false;
            } else if character == '\\' {
                escaped = true;
            } else if character == first {
                self.rest = self.rest.get(at + 1..).unwrap_or_default();
                return Some(word);
            } else {
                word.push(character);
            }
        }
        // httpd takes an unfinished quotation to the end of the line.
        self.rest = "";
        Some(word)
    }

    /// The next `name=value`; the value may be quoted, and blanks may follow the `=`.
    pub fn next_option(&mut self) -> Option<Result<(String, String), Wrong>> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let equals = self.rest.find('=').filter(|at| *at > 0 && *at < end);
        let Some(equals) = equals else {
            let word = self.next().unwrap_or_default();
            return Some(Err(Wrong::new(
                format!("has the word '{word}' where an option is expected"),
                "write options as name=value, without a blank before '='",
            )));
        };
        let (name, rest) = self.rest.split_at(equals);
        let name = name.to_owned();
        self.rest = rest.get(1..).unwrap_or_default();
        let value = self.next().unwrap_or_default();
        Some(Ok((name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &str) -> Vec<String> {
        let mut words = Words::new(line);
        std::iter::from_fn(|| words.next()).collect()
    }

    #[test]
    fn quotes_keep_blanks_and_backslashes_escape_the_quote() {
        assert_eq!(
            all(r#"a "b c" 'd "e"' "f\"g" h\i"#),
            ["a", "b c", "d \"e\"", "f\"g", "h\\i"]
        );
    }

    #[test]
    fn an_unfinished_quotation_ends_with_the_line() {
        assert_eq!(all("'a b"), ["a b"]);
    }

    #[test]
    fn options_may_quote_their_value_and_have_blanks_after_the_equals_sign() {
        let mut words = Words::new("threads= 5 home='/a b' name=\"x\"");
        let next = |words: &mut Words<'_>| words.next_option().unwrap().unwrap();
        assert_eq!(next(&mut words), ("threads".into(), "5".into()));
        assert_eq!(next(&mut words), ("home".into(), "/a b".into()));
        assert_eq!(next(&mut words), ("name".into(), "x".into()));
        assert!(words.next_option().is_none());
    }

    #[test]
    fn a_word_without_equals_sign_is_no_option() {
        assert!(Words::new("threads =5").next_option().unwrap().is_err());
        assert!(Words::new("=5").next_option().unwrap().is_err());
    }
}
