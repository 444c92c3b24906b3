//! The answer on its way to the client: the head once, the promised length kept, the end visible.

use std::time::{Duration, Instant};

use rwsgi_os::region::Bytes;
use rwsgi_wire::response::{BodyFault, Log, Response};

use super::client::{BodyRead, Client, Gone, Offered, Piece, Promise, Unsent};
use super::file::File;
use super::lines::{Lines, Moment};
use super::{Failure, Fault, Message, codes};
use crate::request::relaying::Relaying;

/// One answer under way.
pub struct Relay<'a> {
    client: &'a mut dyn Client,
    /// What bounds the lines of its worker, and of which process group that is.
    lines: Option<(&'a Lines, &'a [u8])>,
    promise: Option<Promise>,
    /// The head cannot be taken back: something went to the filters.
    sent: bool,
    length: u64,
    over: bool,
    body_ended: bool,
    relaying: Relaying,
    /// Bytes since what there was has been sent.
    unsent: u64,
    /// A file was the rest of the answer; its end has gone to the filters with it.
    complete: bool,
    /// When something was sent last, or the request began.
    served: Instant,
}

impl<'a> Relay<'a> {
    /// Nothing sent yet.
    pub fn new(client: &'a mut dyn Client) -> Self {
        Self {
            client,
            lines: None,
            promise: None,
            sent: false,
            length: 0,
            over: false,
            body_ended: false,
            relaying: Relaying::default(),
            unsent: 0,
            complete: false,
            served: Instant::now(),
        }
    }

    /// When the client was sent something last, or its request began.
    pub fn served(&self) -> Instant {
        self.served
    }

    /// Passes it on in this way.
    #[must_use]
    pub fn relaying(self, relaying: Relaying) -> Self {
        Self { relaying, ..self }
    }

    /// Bounds what is logged for it: it is answered by a worker of this process group.
    #[must_use]
    pub fn bounding(self, lines: &'a Lines, group: &'a [u8]) -> Self {
        Self {
            lines: Some((lines, group)),
            ..self
        }
    }

    /// Logs lines of the application.
    pub fn log(&mut self, log: &Log<'_>) {
        let Some((lines, group)) = self.lines else {
            return self.client.log(log);
        };
        if !self.client.wants(log.level) {
            return;
        }
        if let Some(text) = lines.admit(group, log.text, Instant::now()) {
            self.client.log(&Log { text, ..*log });
        }
        self.tell_loss(Moment::Within);
    }

    /// Says how many lines have been dropped, if it is time for that.
    pub fn tell_loss(&mut self, moment: Moment) {
        let loss = self
            .lines
            .and_then(|(lines, group)| lines.loss(group, moment, Instant::now()));
        if let Some(loss) = loss {
            self.client.warn(&loss);
        }
    }

    /// Whether so many more bytes are to be sent at once, though there may be more: a limit is reached, or `has_more` says that there is
    /// nothing within the time it is given.
    pub fn is_to_be_flushed(&mut self, bytes: u64, has_more: impl FnOnce(Duration) -> bool) -> bool {
        self.unsent += bytes;
        let full = self.relaying.flush_after > 0 && self.unsent >= self.relaying.flush_after;
        let flush = full || !has_more(self.relaying.flush_delay);
        if flush {
            self.unsent = 0;
        }
        flush
    }

    /// Whether something has been passed on since all there was has been sent, which is to be done now.
    pub fn take_unsent(&mut self) -> bool {
        std::mem::take(&mut self.unsent) > 0
    }

    /// The request, for watching and for messages of our own.
    pub fn client(&mut self) -> &mut dyn Client {
        self.client
    }

    /// Takes the head. A second one is a violation.
    pub fn start(&mut self, response: &Response<'_>) -> Result<(), Fault> {
        if self.promise.is_some() {
            return Err(Fault::Violation(
                "the worker sent a second head for one answer".into(),
            ));
        }
        let limit = self.relaying.header_limit;
        let too_long =
            |(name, value): &&(&[u8], &[u8])| limit > 0 && (name.len() + value.len()) as u64 > limit;
        if let Some((name, value)) = response.headers.iter().find(too_long) {
            return Err(Fault::Violation(format!(
                "the header {} of the answer has {} bytes, more than header-buffer-size={limit} allows",
                name.escape_ascii(),
                name.len() + value.len()
            )));
        }
        self.promise = Some(self.client.start(response).map_err(Fault::Violation)?);
        Ok(())
    }

    /// How much of `bytes` belongs to the answer; the rest is beyond the promised length, which is said once.
    pub fn admit<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Fault> {
        let fitting = self.admit_length(bytes.len() as u64)?;
        Ok(usize::try_from(fitting).map_or(bytes, |fitting| bytes.get(..fitting).unwrap_or(bytes)))
    }

    /// As [`admit`](Self::admit), of bytes that are shared.
    pub fn admit_shared<'b>(&mut self, bytes: Bytes<'b>) -> Result<Bytes<'b>, Fault> {
        let fitting = self.admit_length(bytes.len() as u64)?;
        Ok(bytes.split(usize::try_from(fitting).unwrap_or(bytes.len())).0)
    }

    fn admit_length(&mut self, length: u64) -> Result<u64, Fault> {
        let violation = |what: &str| Err(Fault::Violation(what.into()));
        let Some(promise) = self.promise else {
            return violation("the worker sent body bytes before a head");
        };
        if promise.is_replaced {
            self.length += length;
            return Ok(0);
        }
        if self.complete {
            return violation("the worker sent body bytes after the file that was the rest of the answer");
        }
        let room = promise
            .length
            .filter(|_| !promise.bodiless)
            .map_or(u64::MAX, |n| n - self.length);
        let fitting = length.min(room);
        self.length += fitting;
        if fitting < length && !self.over {
            self.over = true;
            let length = promise.length.unwrap_or_default();
            let text = format!(
                "the application sent more than its Content-Length of {length} bytes; the excess is dropped"
            );
            self.client.warn(&Message {
                code: codes::TOO_LONG,
                text,
            });
        }
        Ok(fitting)
    }

    /// httpd answers in place of the application: nothing that still comes is of use.
    pub fn is_replaced(&self) -> bool {
        self.promise.is_some_and(|promise| promise.is_replaced)
    }

    /// How many bytes of the body have come.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Passes a file that is the rest of the answer, after what is `before` it, and with it the end, so that filters see the whole (httpd
    /// answers Range then). With `wait` the client has all of it when this returns; else that may take longer than this request's
    /// handler.
    pub fn file(&mut self, mut file: File, before: &[Piece<'_>], wait: bool) -> Result<(), Fault> {
        file.cut(self.admit_length(file.length())?);
        let promise = self.promise.unwrap_or_default();
        let mut pieces = before.to_vec();
        if !promise.bodiless && file.length() > 0 {
            pieces.push(Piece::File(file.part()));
        }
        let is_short = promise.length.is_some_and(|length| self.length < length) && !promise.bodiless;
        if !is_short {
            pieces.push(Piece::End);
        }
        if wait || is_short {
            pieces.push(Piece::Flush);
        }
        match self.send(&pieces) {
            Err(Fault::ClientGone) => Err(file.fault().unwrap_or(Fault::ClientGone)),
            Err(fault) => Err(fault),
            Ok(()) => {
                self.complete = !is_short;
                self.unsent = 0;
                if !wait && !is_short && file.length() > 0 {
                    let (fd, end, why) = file.into_watched();
                    self.client.watch_file(fd, end, why);
                }
                Ok(())
            }
        }
    }

    /// Whether the end of the answer has gone out already.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Passes pieces of an answer that has a head.
    pub fn send(&mut self, pieces: &[Piece<'_>]) -> Result<(), Fault> {
        if self.is_replaced() {
            return Ok(());
        }
        self.sent = true;
        let sent = self.client.send(pieces).map_err(|unsent| match unsent {
            Unsent::Gone => Fault::ClientGone,
            Unsent::NoDescriptor => Fault::Lost(
                "what the worker has answered is lost here: httpd's child has no descriptor left for the file".into(),
            ),
        });
        self.served = Instant::now();
        sent
    }

    /// Passes bytes of an answer that has a head, as far as that goes without waiting for the client; `None` when that cannot be had.
    pub fn offer(&mut self, bytes: &[u8]) -> Result<Option<Offered>, Fault> {
        let promise = self.promise.unwrap_or_default();
        let room = promise
            .length
            .filter(|_| !promise.bodiless)
            .map(|n| n - self.length);
        let is_too_long = room.is_some_and(|room| room < bytes.len() as u64);
        // The head goes with the first bytes, and where there are none it has to be flushed.
        let needs_flush = !self.sent && (promise.bodiless || bytes.is_empty());
        let no_head = self.promise.is_none() || promise.is_replaced;
        if no_head || self.complete || is_too_long || needs_flush {
            return Ok(None);
        }
        let offered = self.client.offer(bytes).map_err(|Gone| Fault::ClientGone)?;
        if let Some(offered) = offered {
            self.sent |= offered.taken > 0;
            self.length += offered.taken as u64;
            self.served = Instant::now();
        }
        Ok(offered)
    }

    /// Whether the answer may end here: it has a head, and as many bytes as promised.
    pub fn may_end(&mut self) -> Result<(), Fault> {
        let Some(promise) = self.promise else {
            return Err(Fault::Violation(
                "the worker ended an answer without a head".into(),
            ));
        };
        match promise.length {
            Some(length) if !promise.bodiless && self.length < length => {
                let sent = self.length;
                let text = format!(
                    "the application sent {sent} bytes, its Content-Length is {length}; the answer is aborted"
                );
                self.client.warn(&Message {
                    code: codes::TOO_SHORT,
                    text,
                });
                // Even when nothing has gone out: its head promised what cannot be kept, and the worker believes it was sent.
                Err(Fault::Aborted {
                    reason: rwsgi_wire::response::AbortReason::Application,
                    retry_after: 0,
                    text: String::new(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether the end of the request body has been read.
    pub fn body_has_ended(&self) -> bool {
        self.body_ended
    }

    /// Reads up to `limit` bytes of the request body and gives them to `into`; `true` at its end.
    pub fn read_body(
        &mut self,
        limit: usize,
        into: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, (BodyFault, String)> {
        if self.body_ended {
            return Ok(true);
        }
        let read = self.client.read_body(limit, into)?;
        self.body_ended = read == BodyRead::End;
        Ok(self.body_ended)
    }

    /// Ends the answer in failure: shows the client that it breaks off if it has seen a start of it.
    pub fn fail(self, fault: Fault) -> Failure {
        if self.sent && !self.complete && !matches!(fault, Fault::ClientGone | Fault::AnsweredByServer) {
            // A client that is gone needs no sign.
            let _ = self.client.send(&[Piece::Abort]);
        }
        fault.into_failure(self.sent)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rwsgi_wire::flow::{LINE_MAX, RATE};
    use rwsgi_wire::response::{Level, Origin};
    use std::os::fd::{BorrowedFd, OwnedFd};

    /// A request as a list of what happened to it.
    #[derive(Default)]
    pub(crate) struct Recorder {
        pub body: Vec<u8>,
        /// Where it ends, its client has gone.
        pub breaks_off: bool,
        /// So many bytes more are given than asked for, after so many times in which that is kept to.
        pub surplus: usize,
        pub keeps_to: usize,
        pub seen: Vec<String>,
        pub gone: bool,
        pub scoreboard: Vec<u8>,
    }

    impl Client for Recorder {
        fn read_body(
            &mut self,
            limit: usize,
            into: &mut dyn FnMut(&[u8]),
        ) -> Result<BodyRead, (BodyFault, String)> {
            if self.body.is_empty() && self.breaks_off {
                return Err((BodyFault::ClientGone, "gone".into()));
            }
            let surplus = if self.keeps_to == 0 { self.surplus } else { 0 };
            self.keeps_to = self.keeps_to.saturating_sub(1);
            let n = (limit + surplus).min(self.body.len());
            into(&self.body.drain(..n).collect::<Vec<u8>>());
            Ok(if self.body.is_empty() && !self.breaks_off {
                BodyRead::End
            } else {
                BodyRead::More
            })
        }
        fn start(&mut self, response: &Response<'_>) -> Result<Promise, String> {
            if response.status < 200 {
                return Err("1xx".into());
            }
            self.seen.push(format!("start {}", response.status));
            let length = response
                .headers
                .iter()
                .find(|(name, _)| *name == b"Content-Length");
            let length = length.map(|(_, value)| String::from_utf8_lossy(value).parse().unwrap());
            Ok(Promise {
                length: length.filter(|_| response.status != 404),
                bodiless: response.status == 304,
                is_replaced: response.status == 404,
            })
        }
        fn send(&mut self, pieces: &[Piece<'_>]) -> Result<(), Unsent> {
            if self.gone {
                return Err(Unsent::Gone);
            }
            for piece in pieces {
                self.seen.push(match piece {
                    Piece::Data(bytes) if bytes.len() > 40 => format!("data of {}", bytes.len()),
                    Piece::Data(bytes) => format!("data {}", String::from_utf8_lossy(bytes)),
                    Piece::Shared(bytes) => {
                        let copy = bytes.copy();
                        assert!(copy.iter().all(|byte| *byte == copy[0]));
                        format!("shared {} of {}", copy.len(), char::from(copy[0]))
                    }
                    Piece::File(part) => format!("file {}+{}", part.from, part.length),
                    other => format!("{other:?}").to_lowercase(),
                });
            }
            Ok(())
        }
        fn offer(&mut self, bytes: &[u8]) -> Result<Option<Offered>, Gone> {
            if self.gone {
                return Err(Gone);
            }
            let taken = bytes.len().min(4);
            self.seen
                .push(format!("offered {}", String::from_utf8_lossy(&bytes[..taken])));
            Ok(Some(Offered {
                taken,
                is_sent: taken == bytes.len(),
            }))
        }
        fn watch_file(&mut self, _: OwnedFd, end: u64, _: Message) {
            self.seen.push(format!("watch to {end}"));
        }
        fn wants(&self, level: Level) -> bool {
            (level as u8) <= Level::Info as u8
        }
        fn log(&mut self, log: &Log<'_>) {
            self.seen
                .push(format!("log {}", String::from_utf8_lossy(log.text)));
        }
        fn warn(&mut self, message: &Message) {
            self.seen.push(format!("warn {}", message.code));
        }
        fn ssl_variable(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
        fn socket(&self) -> Option<BorrowedFd<'_>> {
            None
        }
        fn scoreboard(&self) -> Vec<u8> {
            self.scoreboard.clone()
        }
        fn is_gone(&self) -> bool {
            self.gone
        }
    }

    fn head(length: &'static [u8]) -> Response<'static> {
        Response {
            status: 200,
            reason: b"OK",
            headers: vec![(b"Content-Length", length)],
        }
    }

    #[test]
    fn bytes_beyond_the_promised_length_are_dropped_and_said_once() {
        let mut client = Recorder::default();
        let mut relay = Relay::new(&mut client);
        relay.start(&head(b"3")).unwrap();
        assert_eq!(relay.admit(b"ab").unwrap(), b"ab");
        assert_eq!(relay.admit(b"cd").unwrap(), b"c");
        assert_eq!(relay.admit(b"ef").unwrap(), b"");
        assert_eq!(relay.may_end(), Ok(()));
        assert_eq!(client.seen, ["start 200", "warn RW0313"]);
    }

    #[test]
    fn an_answer_shorter_than_promised_is_shown_to_break_off() {
        let mut client = Recorder::default();
        let mut relay = Relay::new(&mut client);
        relay.start(&head(b"3")).unwrap();
        let data = relay.admit(b"ab").unwrap();
        relay.send(&[Piece::Data(data)]).unwrap();
        let fault = relay.may_end().unwrap_err();
        assert_eq!(relay.fail(fault), Failure::Truncated(None));
        assert_eq!(client.seen, ["start 200", "data ab", "warn RW0312", "abort"]);
    }

    #[test]
    fn a_body_that_nobody_will_see_has_no_length_to_keep() {
        let mut client = Recorder::default();
        let mut relay = Relay::new(&mut client);
        let response = Response {
            status: 304,
            ..head(b"10")
        };
        relay.start(&response).unwrap();
        assert_eq!(relay.may_end(), Ok(()));
    }

    #[test]
    fn a_replaced_answer_goes_nowhere_and_has_no_length_to_keep() {
        let mut client = Recorder::default();
        let mut relay = Relay::new(&mut client);
        let response = Response {
            status: 404,
            ..head(b"10")
        };
        relay.start(&response).unwrap();
        assert_eq!(relay.admit(b"a page").unwrap(), b"");
        relay.send(&[Piece::Data(b"x"), Piece::Flush]).unwrap();
        assert_eq!(
            (relay.may_end(), relay.is_replaced(), relay.length()),
            (Ok(()), true, 6)
        );
        assert_eq!(client.seen, ["start 404"]);
    }

    #[test]
    fn what_is_offered_counts_as_far_as_it_was_taken() {
        let mut client = Recorder::default();
        let mut relay = Relay::new(&mut client);
        relay.start(&head(b"7")).unwrap();
        // The head goes with the first bytes.
        assert_eq!(relay.offer(b""), Ok(None));
        assert!(relay.offer(b"a").unwrap().unwrap().is_sent);
        assert_eq!(relay.offer(b"bcdefg").unwrap().unwrap().taken, 4);
        assert_eq!(relay.length(), 5);
        // What is too long is said where it is cut.
        assert_eq!(relay.offer(b"fgh"), Ok(None));
        assert!(relay.offer(b"fg").unwrap().unwrap().is_sent);
        assert_eq!(relay.may_end(), Ok(()));
        assert_eq!(
            client.seen,
            ["start 200", "offered a", "offered bcde", "offered fg"]
        );
    }

    #[test]
    fn nothing_is_offered_that_needs_more_than_bytes() {
        let mut client = Recorder::default();
        assert_eq!(Relay::new(&mut client).offer(b"a"), Ok(None));
        for status in [304, 404] {
            let mut relay = Relay::new(&mut client);
            let promised = Response { status, ..head(b"0") };
            relay.start(&promised).unwrap();
            assert_eq!(relay.offer(b"a"), Ok(None));
        }
        assert_eq!(client.seen, ["start 304", "start 404"]);
    }

    #[test]
    fn an_answer_without_a_head_or_with_two_is_refused() {
        let mut client = Recorder::default();
        let mut relay = Relay::new(&mut client);
        assert!(relay.admit(b"x").is_err() && relay.may_end().is_err());
        relay.start(&head(b"0")).unwrap();
        assert!(relay.start(&head(b"0")).is_err());
    }

    // R64, R74
    #[test]
    fn lines_of_a_worker_are_bounded_and_what_nobody_wants_does_not_count() {
        let (mut client, lines) = (Recorder::default(), Lines::default());
        let log = |level, text| Log {
            level,
            origin: Origin::default(),
            text,
        };
        let mut relay = Relay::new(&mut client).bounding(&lines, b"site");
        relay.log(&log(Level::Debug, &[b'\n'; 9999]));
        relay.log(&log(Level::Error, b"first"));
        relay.log(&log(Level::Error, &[b'\n'; 9999]));
        // As long as what may be written in a second: a slow test does not let it pass.
        relay.log(&log(Level::Error, &vec![b'x'; RATE as usize * LINE_MAX]));
        relay.tell_loss(Moment::End);
        let seen: Vec<&str> = client.seen.iter().map(|said| said.trim_end()).collect();
        assert_eq!(seen, ["log first", "log", "warn RW0320"]);
    }
}
