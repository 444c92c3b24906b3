//! What others have named or written, as text that is fit for a line of a log or for a terminal.

use std::fmt::Write;

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
