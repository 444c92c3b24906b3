//! The rules of PEP 3333 for status and headers, on bytes. Each refusal quotes the sentence that it enforces.

use std::fmt;

use rwsgi_wire::field::{has_control, has_control_but_tab, is_hop_by_hop, is_token};

/// A status line taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// Three digits.
    pub code: u16,
    /// What follows the space; may be empty.
    pub reason: &'a [u8],
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// The status is not three digits, a space and text.
    StatusForm,
    /// The status holds a control character.
    StatusControl,
    /// 1xx is not a final status.
    StatusInformational,
    /// The name is not a token of HTTP.
    HeaderName(String),
    /// The value holds a control character.
    HeaderControl(String),
    /// The field belongs to the connection, not to the response.
    HopByHop(String),
    /// Not a decimal number.
    ContentLength(String),
    /// Two that differ.
    ContentLengths,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StatusForm => f.write_str(
                "status must be three digits, a space and a reason, such as '200 OK' (PEP 3333: \"a string of the form \
                 \"999 Message here\"\")",
            ),
            Self::StatusControl => f.write_str(
                "status contains a control character (PEP 3333: the status string \"must not contain control characters, or \
                 be terminated with a carriage return, linefeed, or combination thereof\")",
            ),
            Self::StatusInformational => {
                f.write_str("status 1xx is not a final status (RFC 9110, 15.2); only the server may send those")
            }
            Self::HeaderName(name) => write!(
                f,
                "header name {name} is not a valid HTTP field name (PEP 3333: \"Each header_name must be a valid HTTP header \
                 field-name (as defined by RFC 2616, Section 4.2), without a trailing colon or other punctuation\")"
            ),
            Self::HeaderControl(name) => write!(
                f,
                "the value of header {name} contains a control character (PEP 3333: \"Each header_value must not include any \
                 control characters, including carriage returns or linefeeds, either embedded or at the end\")"
            ),
            Self::HopByHop(name) => write!(
                f,
                "header {name} belongs to the connection, which is the server's (PEP 3333: \"applications are forbidden from \
                 using HTTP/1.1 \"hop-by-hop\" features or headers\")"
            ),
            Self::ContentLength(value) => {
                write!(f, "Content-Length is {value}, which is not a number of bytes (RFC 9110, 8.6)")
            }
            Self::ContentLengths => f.write_str("two different Content-Length headers (RFC 9110, 8.6)"),
        }
    }
}

/// Takes a status apart.
pub fn status(line: &[u8]) -> Result<Status<'_>, Violation> {
    let (digits, rest) = line.split_first_chunk::<3>().ok_or(Violation::StatusForm)?;
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return Err(Violation::StatusForm),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Violation::StatusForm);
    }
    if has_control(reason) {
        return Err(Violation::StatusControl);
    }
    let code = digits
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    if code / 100 == 1 {
        return Err(Violation::StatusInformational);
    }
    Ok(Status { code, reason })
}

/// Checks one header.
pub fn header(name: &[u8], value: &[u8]) -> Result<(), Violation> {
    if !is_token(name) {
        return Err(Violation::HeaderName(quoted(name)));
    }
    if has_control_but_tab(value) {
        return Err(Violation::HeaderControl(quoted(name)));
    }
    if is_hop_by_hop(name) {
        return Err(Violation::HopByHop(quoted(name)));
    }
    Ok(())
}

/// Whether a header is `Content-Length`.
pub fn is_content_length(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length")
}

/// The number in a `Content-Length`; leading blanks are tolerated.
pub fn content_length(value: &[u8]) -> Result<u64, Violation> {
    let refuse = || Violation::ContentLength(quoted(value));
    let digits = value.trim_ascii_start();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(refuse());
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(refuse)
}

fn quoted(bytes: &[u8]) -> String {
    format!("'{}'", bytes.get(..100).unwrap_or(bytes).escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_statuses_are_taken_apart() {
        for (line, code, reason) in [
            ("200 OK", 200, "OK"),
            ("404", 404, ""),
            ("599 ", 599, ""),
            ("200 Tr\u{e8}s", 200, "Tr\u{e8}s"),
        ] {
            let found = status(line.as_bytes()).unwrap();
            assert_eq!((found.code, found.reason), (code, reason.as_bytes()));
        }
    }

    #[test]
    fn malformed_statuses_are_refused_each_by_its_rule() {
        for line in ["", "20", "abc", "2000 OK", "200OK", " 200 OK", "-20 OK"] {
            assert_eq!(status(line.as_bytes()), Err(Violation::StatusForm), "{line:?}");
        }
        for line in ["200 O\r\nX: y", "200 OK\n", "200 \0", "200 \x7f"] {
            assert_eq!(status(line.as_bytes()), Err(Violation::StatusControl), "{line:?}");
        }
        assert_eq!(status(b"100 Continue"), Err(Violation::StatusInformational));
    }

    #[test]
    fn header_names_are_tokens() {
        assert_eq!(header(b"X-Good_1", b"v"), Ok(()));
        for name in ["", "a b", "a:b", "a\r", "\u{e9}", "a\0", "(a)"] {
            assert!(
                matches!(header(name.as_bytes(), b"v"), Err(Violation::HeaderName(_))),
                "{name:?}"
            );
        }
    }

    #[test]
    fn header_values_hold_no_control_character_but_tab() {
        assert_eq!(header(b"A", b"tab\there \xff"), Ok(()));
        for value in ["a\r\nB: c", "\n", "\0", "\x1b[0m", "\x7f"] {
            assert!(
                matches!(header(b"A", value.as_bytes()), Err(Violation::HeaderControl(_))),
                "{value:?}"
            );
        }
    }

    #[test]
    fn hop_by_hop_headers_are_refused_in_any_case() {
        for name in [
            "Connection",
            "TRANSFER-encoding",
            "Upgrade",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Proxy-Authenticate",
        ] {
            assert!(
                matches!(header(name.as_bytes(), b"x"), Err(Violation::HopByHop(_))),
                "{name}"
            );
        }
        assert_eq!(header(b"X-Proxy-Authenticate", b"Basic"), Ok(()));
    }

    #[test]
    fn a_content_length_is_a_number() {
        assert_eq!(content_length(b" 12"), Ok(12));
        for value in ["", " ", "-1", "+1", "1 ", "0x1", "18446744073709551616"] {
            assert!(content_length(value.as_bytes()).is_err(), "{value:?}");
        }
    }
}
