//! What of an application's answer goes to the client. The Python half has checked the answer already; it runs as another user, so it is
//! checked again here.

use std::fmt;

use rwsgi_wire::field::{has_control, has_control_but_tab, is_hop_by_hop, is_token};
use rwsgi_wire::response::Response;

/// An answer's head, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Three digits, 200 to 999.
    pub status: u16,
    /// Status and reason as on the wire.
    pub line: Vec<u8>,
    /// `Content-Type`, the last one.
    pub content_type: Option<&'a [u8]>,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// All other headers that are the application's to set.
    pub headers: Vec<(&'a [u8], &'a [u8])>,
}

/// The rule that an answer breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The status is not one that ends an exchange.
    Status(u16),
    /// The header `Status` has none.
    StatusHeader(String),
    /// The reason contains a control byte.
    Reason,
    /// A name is not a token.
    Name(String),
    /// A value contains a control byte.
    Value(String),
    /// `Content-Length` is not a number.
    Length(String),
    /// There are several that differ.
    Lengths,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status @ 100..=199) => {
                write!(
                    f,
                    "the application's status is {status}, which is interim: PEP 3333 wants a final one, 200 or higher"
                )
            }
            Self::Status(status) => write!(
                f,
                "the application's status is {status}, not a number from 200 to 999"
            ),
            Self::StatusHeader(value) => write!(
                f,
                "the response header Status is '{value}', not a status; correct it, or set WSGICGIHeaders Off"
            ),
            Self::Reason => {
                f.write_str("the reason after the application's status contains a control character")
            }
            Self::Name(name) => write!(f, "the response header name '{name}' is not a token (RFC 9110)"),
            Self::Value(name) => {
                write!(
                    f,
                    "the value of response header '{name}' contains a control character, which PEP 3333 forbids"
                )
            }
            Self::Length(value) => write!(
                f,
                "the response header Content-Length is '{value}', not a number of bytes"
            ),
            Self::Lengths => f.write_str("the response has Content-Length headers that differ"),
        }
    }
}

/// Checks an answer's head.
pub fn check<'a>(response: &Response<'a>) -> Result<Head<'a>, Broken> {
    if !(200..=999).contains(&response.status) {
        return Err(Broken::Status(response.status));
    }
    if has_control(response.reason) {
        return Err(Broken::Reason);
    }
    let mut line = response.status.to_string().into_bytes();
    if !response.reason.is_empty() {
        line.push(b' ');
        line.extend_from_slice(response.reason);
    }
    let mut head = Head {
        status: response.status,
        line,
        content_type: None,
        content_length: None,
        headers: Vec::with_capacity(response.headers.len()),
    };
    for &(name, value) in &response.headers {
        head.take(name, value)?;
    }
    Ok(head)
}

impl<'a> Head<'a> {
    fn take(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), Broken> {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        if !is_token(name) {
            return Err(Broken::Name(text(name)));
        }
        // A tab is allowed inside a value.
        if has_control_but_tab(value) {
            return Err(Broken::Value(text(name)));
        }
        if name.eq_ignore_ascii_case(b"Content-Type") {
            self.content_type = Some(value);
        } else if name.eq_ignore_ascii_case(b"Content-Length") {
            let length = length(value).ok_or_else(|| Broken::Length(text(value)))?;
            if self
                .content_length
                .replace(length)
                .is_some_and(|before| before != length)
            {
                return Err(Broken::Lengths);
            }
        } else if !is_hop_by_hop(name) {
            self.headers.push((name, value));
        }
        Ok(())
    }

    /// This status never has a body.
    pub fn has_no_body(&self) -> bool {
        matches!(self.status, 204 | 304)
    }
}

fn length(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
    (number <= i64::MAX as u64).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<'a>(status: u16, headers: &[(&'a [u8], &'a [u8])]) -> Response<'a> {
        Response {
            status,
            reason: b"Fine",
            headers: headers.to_vec(),
        }
    }

    #[test]
    fn type_and_length_are_taken_out_and_repeats_are_kept() {
        let response = answer(
            200,
            &[
                (b"content-type", b"a/b"),
                (b"Content-Length", b" 12"),
                (b"Set-Cookie", b"a"),
                (b"Set-Cookie", b"b"),
            ],
        );
        let head = check(&response).unwrap();
        assert_eq!(head.line, b"200 Fine");
        assert_eq!(
            (head.content_type, head.content_length),
            (Some(&b"a/b"[..]), Some(12))
        );
        assert_eq!(
            head.headers,
            [(&b"Set-Cookie"[..], &b"a"[..]), (&b"Set-Cookie"[..], &b"b"[..])]
        );
    }

    #[test]
    fn hop_by_hop_headers_are_dropped() {
        let response = answer(
            200,
            &[
                (b"Transfer-Encoding", b"chunked"),
                (b"connection", b"close"),
                (b"X", b"y"),
            ],
        );
        assert_eq!(check(&response).unwrap().headers, [(&b"X"[..], &b"y"[..])]);
    }

    #[test]
    fn interim_and_impossible_statuses_are_refused() {
        for status in [0, 99, 100, 103, 199, 1000] {
            assert_eq!(check(&answer(status, &[])), Err(Broken::Status(status)));
        }
        assert!(check(&answer(999, &[])).is_ok());
    }

    #[test]
    fn control_bytes_cannot_split_a_header() {
        assert!(matches!(
            check(&answer(200, &[(b"X", b"a\r\nY: b")])),
            Err(Broken::Value(_))
        ));
        assert!(matches!(
            check(&answer(200, &[(b"X", b"a\0")])),
            Err(Broken::Value(_))
        ));
        assert!(check(&answer(200, &[(b"X", b"a\tb\xe9")])).is_ok());
        for name in [&b"X: y"[..], b"", b"X\n", b"X Y", b"X(Y)"] {
            assert!(
                matches!(check(&answer(200, &[(name, b"v")])), Err(Broken::Name(_))),
                "{name:?}"
            );
        }
        let response = Response {
            status: 200,
            reason: b"O\rK",
            headers: Vec::new(),
        };
        assert_eq!(check(&response), Err(Broken::Reason));
    }

    #[test]
    fn lengths_are_numbers_and_agree() {
        for value in [&b"-1"[..], b"", b"1,1", b"0x1", b"99999999999999999999"] {
            assert!(matches!(
                check(&answer(200, &[(b"Content-Length", value)])),
                Err(Broken::Length(_))
            ));
        }
        let twice = answer(200, &[(b"Content-Length", b"1"), (b"content-length", b"1")]);
        assert_eq!(check(&twice).map(|head| head.content_length), Ok(Some(1)));
        let different = answer(200, &[(b"Content-Length", b"1"), (b"content-length", b"2")]);
        assert_eq!(check(&different), Err(Broken::Lengths));
    }
}
