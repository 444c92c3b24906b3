//! What a worker writes to descriptors 1 and 2, as lines fit for a log: bounded, without control bytes.

use std::fmt::Write;

use rwsgi_wire::flow::LINE_MAX;

/// Cuts bytes into lines.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
}

impl Lines {
    /// Adds bytes and hands every line that is complete (or too long to wait for) to `each`, escaped. Empty lines are left out.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ended) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            for piece in text.chunks(LINE_MAX) {
                if self.held.len() + piece.len() > LINE_MAX {
                    self.flush(&mut each);
                }
                self.held.extend_from_slice(piece);
            }
            if ended {
                self.flush(&mut each);
            }
        }
    }

    /// What is left when the writer has gone.
    pub fn flush(&mut self, mut each: impl FnMut(&str)) {
        let line = std::mem::take(&mut self.held);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if !line.is_empty() {
            each(&escape(line));
        }
    }
}

/// The text with control characters, line separators and bytes that are not UTF-8 written as `\xNN` or `\uNNNN`. A tab stays.
pub fn escape(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => out.push(c),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
                    let _ = write!(out, "\\x{:02x}", u32::from(c));
                }
                '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                _ => out.push(c),
            }
        }
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[&[u8]]) -> Vec<String> {
        let mut all = Vec::new();
        let mut lines = Lines::default();
        for p in parts {
            lines.push(p, |l| all.push(l.to_owned()));
        }
        lines.flush(|l| all.push(l.to_owned()));
        all
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        assert_eq!(lines(&[b"a", b"b\nc\r\n\nd"]), ["ab", "c", "d"]);
    }

    // F17
    #[test]
    fn a_line_without_end_is_cut_and_nothing_of_it_is_lost() {
        let long = vec![b'x'; 10 * LINE_MAX + 5];
        let got = lines(&[&long[..7], &long[7..]]);
        assert!(got.iter().all(|l| l.len() <= LINE_MAX));
        assert_eq!(got.iter().map(String::len).sum::<usize>(), long.len());
    }

    // R74
    #[test]
    fn nothing_that_could_forge_a_line_or_move_a_cursor_passes() {
        assert_eq!(
            escape(b"a\x1b[2Jb\rc\x00\xff\tz\xc2\x85"),
            "a\\x1b[2Jb\\rc\\x00\\xff\tz\\x85"
        );
        assert_eq!(escape("é\u{2028}ü\u{202e}".as_bytes()), "é\\u2028ü\\u202e");
    }
}
