//! What `start_response` was told: status and headers, checked and written down for httpd.

use std::fmt;

use rwsgi_wire::limits::RESPONSE_MAX;
use rwsgi_wire::response::Draft;

use super::validate::{self, Status, Violation, content_length, is_content_length};

/// Status and headers of an answer.
pub struct Head {
    status: u16,
    draft: Draft,
    declared: Option<u64>,
}

/// Why a header cannot be one of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It breaks a rule.
    Rule(Violation),
    /// With it they have so many bytes, which is too much.
    Size(usize),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(violation) => violation.fmt(f),
            Self::Size(bytes) => write!(
                f,
                "headers of {bytes} bytes or more; at most {RESPONSE_MAX} can be sent"
            ),
        }
    }
}

impl Head {
    /// Without headers.
    pub fn new(status: Status<'_>) -> Self {
        Self {
            status: status.code,
            draft: Draft::new(status.code, status.reason),
            declared: None,
        }
    }

    /// One more header.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refused> {
        validate::header(name, value).map_err(Refused::Rule)?;
        if is_content_length(name) {
            let length = content_length(value).map_err(Refused::Rule)?;
            if self
                .declared
                .replace(length)
                .is_some_and(|before| before != length)
            {
                return Err(Refused::Rule(Violation::ContentLengths));
            }
        }
        self.draft.put(name, value);
        match self.draft.payload().len() {
            bytes if bytes > RESPONSE_MAX => Err(Refused::Size(bytes)),
            _ => Ok(()),
        }
    }

    /// The answer will have so many bytes, which the application has not said.
    pub fn declare(&mut self, length: u64) {
        self.draft.put(b"Content-Length", length.to_string().as_bytes());
        self.declared = Some(length);
    }

    /// Its number.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The `Content-Length`.
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// The status has no body.
    pub fn is_bodiless(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    /// The payload of its frame.
    pub fn payload(&self) -> &[u8] {
        self.draft.payload()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&[u8], &[u8])]) -> Result<Head, Refused> {
        let (code, reason) = (200, &b""[..]);
        let mut head = Head::new(Status { code, reason });
        headers
            .iter()
            .try_for_each(|(name, value)| head.add(name, value))?;
        Ok(head)
    }

    #[test]
    fn two_lengths_must_agree() {
        assert!(head(&[(b"Content-Length", b"1"), (b"Content-Length", b"1")]).is_ok());
        let different = head(&[(b"Content-Length", b"1"), (b"Content-Length", b"2")]);
        assert_eq!(different.err(), Some(Refused::Rule(Violation::ContentLengths)));
    }

    #[test]
    fn more_than_can_be_sent_is_refused() {
        let half = vec![b'a'; RESPONSE_MAX / 2];
        assert!(head(&[(b"A", &half)]).is_ok());
        let refused = head(&[(b"A", &half), (b"B", &half)]).err();
        assert!(matches!(refused, Some(Refused::Size(bytes)) if bytes > RESPONSE_MAX));
    }
}
