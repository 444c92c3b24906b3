//! A request of httpd as a backend sees it.

use std::os::fd::BorrowedFd;

use rwsgi_wire::response::{BodyFault, Level as WireLevel, Response};

use crate::backend::Message;
use crate::backend::client::{BodyRead, Client, Gone, Piece, Promise};
use crate::httpd::{self, BodyError, Level, Request};
use crate::request::response;

/// See [`Client`].
pub struct RequestClient<'a, 'r> {
    request: &'a Request<'r>,
    body_refusal: Option<u16>,
    sent: bool,
}

impl<'a, 'r> RequestClient<'a, 'r> {
    /// For one answer.
    pub fn new(request: &'a Request<'r>) -> Self {
        Self {
            request,
            body_refusal: None,
            sent: false,
        }
    }

    /// The status with which the request body is to be refused, if nothing has been sent yet.
    pub fn body_refusal(&self) -> Option<u16> {
        self.body_refusal.filter(|_| !self.sent)
    }
}

impl Client for RequestClient<'_, '_> {
    fn read_body(&mut self, limit: usize, into: &mut Vec<u8>) -> Result<BodyRead, (BodyFault, String)> {
        self.request.read_body(limit, into).map_err(|error| match error {
            BodyError::Slow => (BodyFault::ClientSlow, "the client was slower than Timeout".into()),
            BodyError::Refused(status) => {
                self.body_refusal = Some(status);
                (
                    BodyFault::TooLarge,
                    "the request body was refused by httpd (LimitRequestBody, or malformed)".into(),
                )
            }
            BodyError::Answered => (
                BodyFault::TooLarge,
                "the request body was refused by httpd, which has answered".into(),
            ),
            BodyError::Gone => (BodyFault::ClientGone, "Connection was terminated".into()),
        })
    }

    fn start(&mut self, answer: &Response<'_>) -> Result<Promise, String> {
        let head = response::check(answer).map_err(|broken| broken.to_string())?;
        let request = self.request;
        request.forget_continue();
        request.set_status(head.status, &head.line);
        if let Some(value) = head.content_type {
            request.set_content_type(value);
        }
        if let Some(length) = head.content_length {
            request.set_content_length(length);
        }
        for (name, value) in &head.headers {
            let even_on_errors = name.eq_ignore_ascii_case(b"WWW-Authenticate");
            request.add_header(name, value, even_on_errors);
        }
        Ok(Promise {
            length: head.content_length,
            bodiless: request.is_head() || head.has_no_body(),
        })
    }

    fn send(&mut self, pieces: &[Piece<'_>]) -> Result<(), Gone> {
        self.sent = true;
        self.request.send(pieces)
    }

    fn log(&mut self, level: WireLevel, text: &[u8]) {
        let level = level_of(level);
        if self.request.wants(level) {
            self.request
                .log(level, httpd::site!(), &String::from_utf8_lossy(text));
        }
    }

    fn warn(&mut self, message: &Message) {
        self.request.log(
            Level::Warning,
            httpd::site!(),
            &format!("{}: {}", message.code, message.text),
        );
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.request.connection().socket()
    }

    fn is_gone(&self) -> bool {
        self.request.connection().is_aborted()
    }
}

/// httpd's level for one of the wire's; both use httpd's numbers.
pub fn level_of(level: WireLevel) -> Level {
    match level {
        WireLevel::Crit => Level::Crit,
        WireLevel::Error => Level::Error,
        WireLevel::Warn => Level::Warning,
        WireLevel::Notice => Level::Notice,
        WireLevel::Info => Level::Info,
        _ => Level::Debug,
    }
}
