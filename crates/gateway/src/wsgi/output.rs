//! The answer of one request: which head applies, whether it is committed, and how many bytes may follow.

use std::time::Instant;

use super::head::Head;
use super::request::Meter;
use crate::cpython::Attached;
use crate::exchange::{Exchange, Flushed, Gone, HOLD, Wait};

/// State of the answer.
#[derive(Default)]
pub struct Output {
    /// What the last `start_response` said.
    head: Option<Head>,
    /// Bytes the application has produced, beyond the declared length too.
    produced: u64,
    committed: bool,
    gone: bool,
    /// Blocks that were added.
    pub meter: Meter,
}

/// How the number of bytes compares to the declared length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// As declared, or nothing was declared.
    Right,
    /// Fewer.
    Short {
        /// Bytes declared.
        declared: u64,
        /// Bytes produced.
        produced: u64,
    },
    /// More; the rest was dropped.
    Long {
        /// Bytes declared.
        declared: u64,
        /// Bytes produced.
        produced: u64,
    },
}

/// From this size on a block is sent from where it lies, without the GIL.
const LARGE: usize = 32 << 10;

impl Output {
    /// `start_response` was called and may still replace the head.
    pub fn set_head(&mut self, head: Head) {
        self.head = Some(head);
    }

    fn declared(&self) -> Option<u64> {
        self.head.as_ref()?.declared()
    }

    /// The answer will have `length` bytes, unless the application declared another number or the status has no body. Answers
    /// how many bytes are to be produced.
    pub fn declare(&mut self, length: u64) -> u64 {
        let declared = self.declared();
        if let Some(head) = self.head.as_mut().filter(|head| !head.is_bodiless()) {
            if !self.committed && declared.is_none() {
                head.declare(length);
            }
        }
        declared.unwrap_or(length)
    }

    /// The status has no body.
    pub fn is_bodiless(&self) -> bool {
        self.head.as_ref().is_some_and(Head::is_bodiless)
    }

    /// Bytes of the body have been produced.
    pub fn has_begun(&self) -> bool {
        self.produced > 0
    }

    /// The next `length` bytes go out past this.
    pub fn hand_over(&mut self, exchange: &dyn Exchange, length: u64) {
        self.commit(exchange);
        self.produced = self.produced.saturating_add(length);
        self.meter
            .count(usize::try_from(length).unwrap_or(usize::MAX), None);
    }

    /// Nobody waits for the answer any more.
    pub fn lose(&mut self) {
        self.gone = true;
    }

    /// The status that `start_response` was given.
    pub fn status(&self) -> Option<u16> {
        self.head.as_ref().map(Head::status)
    }

    /// `start_response` was called at least once.
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// The head can no longer be replaced.
    pub fn is_committed(&self) -> bool {
        self.committed
    }

    /// Nobody waits for the answer any more.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Adds a block to the answer; `now` means that it must be on its way soon, whatever the application does next. The head is committed with it.
    pub fn add(
        &mut self,
        py: Attached<'_>,
        exchange: &dyn Exchange,
        data: &[u8],
        now: bool,
        start: Option<Instant>,
    ) -> Result<(), Gone> {
        let offered = data.len();
        self.commit(exchange);
        let room = self
            .declared()
            .map_or(u64::MAX, |declared| declared.saturating_sub(self.produced));
        self.produced = self.produced.saturating_add(data.len() as u64);
        let data = usize::try_from(room)
            .ok()
            .and_then(|room| data.get(..room))
            .unwrap_or(data);
        let result = if data.len() >= LARGE {
            py.detach(|| exchange.write(data))
        } else {
            if !data.is_empty() {
                exchange.push(data);
            }
            if now {
                finish(py, exchange, exchange.flush_soon())
            } else if exchange.held() >= HOLD {
                finish(py, exchange, exchange.flush(Wait::No))
            } else {
                Ok(())
            }
        };
        self.meter.count(offered, start);
        self.gone |= result.is_err();
        result
    }

    /// The head is final from now on.
    pub fn commit(&mut self, exchange: &dyn Exchange) {
        if !self.committed {
            self.committed = true;
            exchange.head(self.head.as_ref().map_or(&[], Head::payload));
        }
    }

    /// Compares what was produced to what was declared.
    pub fn length(&self, head_only: bool) -> Length {
        let produced = self.produced;
        let bodiless = head_only || self.is_bodiless();
        match self.declared() {
            Some(declared) if produced > declared => Length::Long { declared, produced },
            Some(declared) if produced < declared && !bodiless => Length::Short { declared, produced },
            _ => Length::Right,
        }
    }
}

/// Sends what was not sent without waiting, and gives the GIL up for that.
fn finish(py: Attached<'_>, exchange: &dyn Exchange, tried: Result<Flushed, Gone>) -> Result<(), Gone> {
    match tried? {
        Flushed::All => Ok(()),
        Flushed::Part => py.detach(|| exchange.flush(Wait::Yes)).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::super::validate::Status;
    use super::*;
    use rwsgi_wire::response::Response;

    fn output(headers: Vec<(&[u8], &[u8])>, code: u16, produced: u64) -> Output {
        let mut head = Head::new(Status { code, reason: b"" });
        for (name, value) in headers {
            head.add(name, value).unwrap();
        }
        Output {
            head: Some(head),
            produced,
            ..Output::default()
        }
    }

    #[test]
    fn a_declared_length_is_compared_to_what_was_produced() {
        let length = |status, produced, head_only| {
            output(vec![(b"content-LENGTH", b"10")], status, produced).length(head_only)
        };
        assert_eq!(length(200, 10, false), Length::Right);
        assert_eq!(
            length(200, 9, false),
            Length::Short {
                declared: 10,
                produced: 9
            }
        );
        assert_eq!(
            length(200, 11, false),
            Length::Long {
                declared: 10,
                produced: 11
            }
        );
        assert_eq!(length(200, 0, true), Length::Right);
        assert_eq!(length(304, 0, false), Length::Right);
    }

    #[test]
    fn a_length_found_out_is_added_unless_the_application_gave_one() {
        let mut without = output(vec![(b"A", b"1")], 200, 0);
        assert_eq!(without.declare(7), 7);
        let response = Response::decode(without.head.as_ref().unwrap().payload()).unwrap();
        assert_eq!(
            response.headers,
            [(b"A".as_slice(), b"1".as_slice()), (b"Content-Length", b"7")]
        );
        assert_eq!(output(vec![(b"Content-Length", b"3")], 200, 0).declare(7), 3);
        let mut bodiless = output(vec![], 304, 0);
        bodiless.declare(7);
        assert_eq!(bodiless.declared(), None);
    }
}
