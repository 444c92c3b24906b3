//! Text cut into log lines.

use rwsgi_wire::limits::TEXT_MAX;

/// Most bytes of one log line; longer ones are continued in another. httpd cuts lines a little above.
pub const LINE_MAX: usize = 8000;

/// Bytes of an unfinished line.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Adds bytes and gives each line that is now complete to `emit`, without its end.
    pub fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(&[u8])) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let finished = pieces.peek().is_some();
            if self.rest.is_empty() && finished {
                cut(piece, &mut emit);
                continue;
            }
            self.rest.extend_from_slice(piece);
            if finished {
                self.flush(&mut emit);
            } else if self.rest.len() > 4 * LINE_MAX {
                // A line that never ends must not grow for ever.
                self.flush(&mut emit);
            }
        }
    }

    /// Gives what is left to `emit`.
    pub fn flush(&mut self, mut emit: impl FnMut(&[u8])) {
        if !self.rest.is_empty() {
            cut(&self.rest, &mut emit);
            self.rest.clear();
        }
    }
}

/// Gives a line to `emit`, in pieces if it is too long, each ending between characters.
pub fn cut(mut line: &[u8], emit: &mut impl FnMut(&[u8])) {
    while line.len() > LINE_MAX {
        let is_boundary = |at: &usize| line.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
        let at = (LINE_MAX - 3..=LINE_MAX)
            .rev()
            .find(is_boundary)
            .unwrap_or(LINE_MAX);
        let (piece, rest) = line.split_at(at);
        emit(piece);
        line = rest;
    }
    emit(line.strip_suffix(b"\r").unwrap_or(line));
}

/// Lines that belong together: given on at once, as far as one message holds them.
pub struct Block<F: FnMut(&[u8])> {
    text: Vec<u8>,
    emit: F,
}

impl<F: FnMut(&[u8])> Block<F> {
    /// Empty; `emit` gets them when it is dropped, or full.
    pub fn new(emit: F) -> Self {
        Self {
            text: Vec::new(),
            emit,
        }
    }

    /// Adds a line of at most [`LINE_MAX`] bytes.
    pub fn push(&mut self, line: &[u8]) {
        if self.text.len() + line.len() >= TEXT_MAX {
            self.flush();
        }
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
    }

    fn flush(&mut self) {
        if let Some((_, text)) = self.text.split_last() {
            (self.emit)(text);
        }
        self.text.clear();
    }
}

impl<F: FnMut(&[u8])> Drop for Block<F> {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(writes: &[&str], flush: bool) -> Vec<String> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut emit = |line: &[u8]| seen.push(String::from_utf8(line.to_vec()).unwrap());
        for text in writes {
            lines.push(text.as_bytes(), &mut emit);
        }
        if flush {
            lines.flush(&mut emit);
        }
        seen
    }

    #[test]
    fn each_complete_line_is_one_entry() {
        assert_eq!(collect(&["a\nb", "c\n\nd"], false), ["a", "bc", ""]);
        assert_eq!(collect(&["a\nb", "c\n\nd"], true), ["a", "bc", "", "d"]);
        assert_eq!(collect(&["x\r\n"], false), ["x"]);
    }

    #[test]
    fn a_long_line_is_continued_between_characters() {
        let text = format!("{}\u{e9}{}\n", "a".repeat(LINE_MAX - 1), "b".repeat(10));
        let seen = collect(&[&text], false);
        assert_eq!(seen.len(), 2);
        assert_eq!(seen.concat(), text.trim_end());
    }

    #[test]
    fn lines_that_belong_together_are_given_on_at_once_as_far_as_a_message_holds_them() {
        let mut seen = Vec::new();
        let mut block = Block::new(|text: &[u8]| seen.push(text.to_vec()));
        block.push(b"a");
        block.push(b"");
        block.push(b"b");
        drop(block);
        assert_eq!(seen, [b"a\n\nb"]);
        let mut seen = Vec::new();
        let mut block = Block::new(|text: &[u8]| seen.push(text.len()));
        for _ in 0..10 {
            block.push(&[b'x'; LINE_MAX]);
        }
        drop(block);
        assert!(
            seen.len() > 1 && seen.iter().all(|len| *len <= TEXT_MAX),
            "{seen:?}"
        );
        assert_eq!(seen.iter().map(|len| len + 1).sum::<usize>(), 10 * (LINE_MAX + 1));
    }

    #[test]
    fn a_line_without_end_is_let_out_in_time() {
        assert!(!collect(&["a".repeat(5 * LINE_MAX).as_str()], false).is_empty());
    }
}
