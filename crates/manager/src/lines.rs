//! What a worker writes to descriptors 1 and 2, as lines fit for a log: bounded, without control bytes.

use rwsgi_wire::flow::LINE_MAX;
pub use rwsgi_wire::text::escape;

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
}
