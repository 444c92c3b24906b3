//! A request of httpd as a backend sees it.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rwsgi_wire::response::{BodyFault, Level as WireLevel, Log, Origin, Response};

use super::upload::Upload;
use crate::backend::Message;
use crate::backend::caps::Place;
use crate::backend::client::{BodyRead, Client, Gone, Offered, Piece, Promise, Unsent};
use crate::httpd::{self, BodyError, Level, Request};
use crate::request::instead::{Instead, Rules, instead};
use crate::request::response;

/// See [`Client`].
pub struct RequestClient<'a, 'r> {
    request: &'a Request<'r>,
    rules: Rules,
    instead: Option<Instead>,
    /// `WSGIEnableSendfile`.
    sendfile: bool,
    /// What has been received of the body already.
    upload: Option<Upload>,
    body_refusal: Option<u16>,
    /// How the body goes on behind what was read of it.
    late: Option<BodyError>,
    answered: bool,
    sent: bool,
    /// httpd's filters took no more: the client is gone, or one of them answers by itself (416).
    stopped: bool,
    /// Most time for which the client may take nothing.
    client_timeout: Option<Duration>,
    /// The time before.
    usual_timeout: Option<i64>,
    /// The application may see the scoreboard.
    sees_scoreboard: bool,
    /// Among the requests that are under way, where they are limited.
    place: Option<Place<'static>>,
}

impl<'a, 'r> RequestClient<'a, 'r> {
    /// For one answer.
    pub fn new(request: &'a Request<'r>, rules: Rules, sendfile: bool) -> Self {
        Self {
            request,
            rules,
            instead: None,
            sendfile,
            upload: None,
            body_refusal: None,
            late: None,
            answered: false,
            sent: false,
            stopped: false,
            client_timeout: None,
            usual_timeout: None,
            sees_scoreboard: false,
            place: None,
        }
    }

    /// The body, or its beginning, is here already.
    pub fn have_received(&mut self, upload: Upload) {
        self.upload = Some(upload);
    }

    /// Whether the application may see httpd's scoreboard.
    pub fn show_scoreboard(&mut self, may: bool) {
        self.sees_scoreboard = may;
    }

    /// While it takes the answer the client may stand still no longer than this.
    pub fn limit_client(&mut self, limit: Option<Duration>) {
        self.client_timeout = limit;
    }

    /// It is under way, and so takes a place, until its answer is whole.
    pub fn take_place(&mut self, place: Option<Place<'static>>) {
        self.place = place;
    }

    /// It takes a place no longer.
    pub fn give_place_up(&mut self) {
        self.place = None;
    }

    /// What httpd is to do in place of sending the application's answer.
    pub fn instead(&self) -> Option<&Instead> {
        self.instead.as_ref().filter(|_| !self.answered)
    }

    /// httpd's filters have stopped the answer, and know what becomes of it.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The status with which the request body is to be refused, if nothing has been sent yet.
    pub fn body_refusal(&self) -> Option<u16> {
        self.body_refusal.filter(|_| !self.sent)
    }
}

impl RequestClient<'_, '_> {
    /// What the application is told.
    fn body_fault(&mut self, error: BodyError) -> (BodyFault, String) {
        match error {
            BodyError::Slow => (BodyFault::ClientSlow, "the client was slower than Timeout".into()),
            BodyError::Refused(status) => {
                self.body_refusal = Some(status);
                (
                    BodyFault::TooLarge,
                    "the request body was refused by httpd (LimitRequestBody, or malformed)".into(),
                )
            }
            BodyError::Answered => {
                self.answered = true;
                (
                    BodyFault::TooLarge,
                    "the request body was refused by httpd, which has answered".into(),
                )
            }
            BodyError::Gone => (BodyFault::ClientGone, "Connection was terminated".into()),
        }
    }
}

impl Drop for RequestClient<'_, '_> {
    fn drop(&mut self) {
        if let Some(usual) = self.usual_timeout {
            self.request.connection().set_timeout(usual);
        }
    }
}

impl Client for RequestClient<'_, '_> {
    fn scoreboard(&self) -> Vec<u8> {
        if self.sees_scoreboard {
            httpd::scoreboard()
        } else {
            Vec::new()
        }
    }

    fn read_body(
        &mut self,
        limit: usize,
        into: &mut dyn FnMut(&[u8]),
    ) -> Result<BodyRead, (BodyFault, String)> {
        if let Some(upload) = &mut self.upload {
            let mut got = 0;
            while got < limit && !upload.spool.is_read() {
                let room = limit - got;
                let mut count = |bytes: &[u8]| {
                    got += bytes.len();
                    into(bytes);
                };
                upload.spool.read(room, &mut count).map_err(|why| {
                    let text = format!("the request body cannot be read back: {why}");
                    (BodyFault::ClientGone, text)
                })?;
            }
            let (is_read, is_whole) = (upload.spool.is_read(), upload.is_whole);
            if is_read && !is_whole {
                // The rest comes from the client.
                self.upload = None;
            }
            return Ok(if is_read && is_whole {
                BodyRead::End
            } else {
                BodyRead::More
            });
        }
        if let Some(error) = self.late.take() {
            return Err(self.body_fault(error));
        }
        let mut got = 0;
        let read = self.request.read_body(limit, &mut |bytes| {
            got += bytes.len();
            into(bytes);
        });
        let mut read = read.map_err(|error| self.body_fault(error))?;
        // httpd reads a client's socket in small pieces: those that have arrived go together.
        while read == BodyRead::More && got < limit {
            let arrived = self.request.read_arrived_body(limit - got, &mut |bytes| {
                got += bytes.len();
                into(bytes);
            });
            match arrived {
                Ok(Some(more)) => read = more,
                Ok(None) => break,
                Err(error) => {
                    self.late = Some(error);
                    break;
                }
            }
        }
        Ok(read)
    }

    fn start(&mut self, answer: &Response<'_>) -> Result<Promise, String> {
        let mut head = response::check(answer).map_err(|broken| broken.to_string())?;
        let request = self.request;
        self.instead = instead(&mut head, self.rules).map_err(|broken| broken.to_string())?;
        if self.instead.is_some() {
            for (name, value) in head.headers.iter().filter(|(name, _)| is_for_errors_too(name)) {
                request.add_header(name, value, true);
            }
            return Ok(Promise {
                is_replaced: true,
                ..Promise::default()
            });
        }
        if let Some(limit) = self.client_timeout {
            let limit = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
            self.usual_timeout = request.connection().set_timeout(limit);
        }
        request.forget_continue();
        request.set_status(head.status, &head.line);
        if let Some(value) = head.content_type {
            request.set_content_type(value);
        }
        if let Some(length) = head.content_length {
            request.set_content_length(length);
        }
        for (name, value) in &head.headers {
            request.add_header(name, value, is_for_errors_too(name));
        }
        Ok(Promise {
            length: head.content_length,
            bodiless: request.is_head() || head.has_no_body(),
            is_replaced: false,
        })
    }

    fn send(&mut self, pieces: &[Piece<'_>]) -> Result<(), Unsent> {
        let is_data = !pieces.iter().any(|piece| matches!(piece, Piece::File(_)));
        if !self.sent && is_data && self.request.header(c"Range").is_some() {
            self.request.keep_whole();
        }
        self.sent = true;
        let sent = self.request.send(pieces, self.sendfile);
        self.stopped |= sent == Err(Unsent::Gone);
        if sent.is_ok() && pieces.iter().any(|piece| matches!(piece, Piece::End)) {
            // A client that has its answer may ask again before anything else happens here.
            self.give_place_up();
            self.request.send_now();
        }
        sent
    }

    fn offer(&mut self, bytes: &[u8]) -> Result<Option<Offered>, Gone> {
        // httpd cuts ranges out of what it has whole.
        let may_go =
            self.sent || (self.request.header(c"Range").is_none() && self.request.head_goes_at_once());
        if !may_go {
            return Ok(None);
        }
        let offered = self.request.offer(bytes);
        self.sent |= !matches!(offered, Ok(None | Some(Offered { taken: 0, .. })));
        self.stopped |= offered.is_err();
        offered
    }

    fn watch_file(&mut self, file: OwnedFd, end: u64, why: Message) {
        self.request.watch_file(file, end, why);
    }

    fn wants(&self, level: WireLevel) -> bool {
        self.request.wants(level_of(level))
    }

    fn log(&mut self, log: &Log<'_>) {
        if !self.wants(log.level) {
            return;
        }
        let level = level_of(log.level);
        let text = String::from_utf8_lossy(log.text);
        let file = file_of(&log.origin);
        let site = match &file {
            Some(file) => httpd::Site {
                file,
                line: log.origin.line,
            },
            None => httpd::site!(),
        };
        let server = self.request.server();
        let _together = server.lines_together();
        for line in text.split('\n') {
            self.request.log(level, site, line);
        }
    }

    fn warn(&mut self, message: &Message) {
        self.request.log(
            Level::Warning,
            httpd::site!(),
            &format!("{}: {}", message.code, message.text),
        );
    }

    fn ssl_variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let name = CString::new(name).ok()?;
        self.request.ssl_variable(&name).map(<[u8]>::to_vec)
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.request.connection().socket()
    }

    fn is_gone(&self) -> bool {
        self.request.connection().is_aborted()
    }
}

/// Whether httpd keeps the header when it answers in the application's place.
fn is_for_errors_too(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"WWW-Authenticate")
}

/// The application's source file that a line comes from, if it is known.
pub fn file_of(origin: &Origin<'_>) -> Option<CString> {
    (!origin.file.is_empty())
        .then(|| CString::new(origin.file).ok())
        .flatten()
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
