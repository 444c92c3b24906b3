//! `wsgi.input`: the request body as a file. [`Body`] decides what a call returns; the class only carries it into Python.

use std::sync::Arc;

use super::request::{Meter, Request, lock};
use crate::cpython::{Attached, Call, Class, Exception, Method, Object, Payload, PyResult, Raise, Room};
use crate::exchange::{BodyFailure, Exchange};

/// What has been received of a body and not been read yet.
#[derive(Default)]
pub struct Body {
    buffer: Vec<u8>,
    /// Where the unread bytes start.
    start: usize,
    /// How many unread bytes hold no line end.
    searched: usize,
    ended: bool,
    failed: bool,
    /// What has been received.
    pub meter: Meter,
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Everything up to the end.
    All,
    /// So many bytes, or what there is before the end.
    Bytes(usize),
    /// A line with its end, or so many bytes of it, or what there is before the end.
    Line(usize),
}

/// Reads of at most so many bytes are received where the application finds them; larger ones as far as there is something to receive, since
/// applications ask for far more than comes.
const IN_PLACE: usize = 1 << 20;

/// Most body bytes asked for at once.
const CREDIT: usize = rwsgi_wire::limits::CHUNK_MAX;

impl Body {
    /// How many of the buffered bytes answer `need`; `None` when more must be fetched.
    fn ready(&mut self, need: Need) -> Option<usize> {
        let unread = self.buffer.get(self.start..).unwrap_or_default();
        let (wanted, found) = match need {
            Need::All => (usize::MAX, None),
            Need::Bytes(n) => (n, None),
            Need::Line(limit) => {
                let fresh = unread.get(self.searched..).unwrap_or_default();
                let end = fresh
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map(|at| self.searched + at + 1);
                self.searched = if end.is_some() { 0 } else { unread.len() };
                (limit, end)
            }
        };
        match found {
            Some(n) => Some(n.min(wanted)),
            None if unread.len() >= wanted => Some(wanted),
            None => self.ended.then_some(unread.len()),
        }
    }

    /// Fetches until `need` can be answered. Blocks.
    fn fetch(
        &mut self,
        need: Need,
        exchange: &dyn Exchange,
        request: &Request,
    ) -> Result<usize, BodyFailure> {
        loop {
            if let Some(n) = self.ready(need) {
                return Ok(n);
            }
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let start = request.call_start();
            let received = exchange.read(CREDIT, &mut |bytes| self.buffer.extend_from_slice(bytes))?;
            self.meter.count(received, start);
            self.ended = received == 0;
        }
    }

    /// Fetches until `room` is full, or the end. Blocks.
    fn fill(
        &mut self,
        room: &mut Room<'_>,
        exchange: &dyn Exchange,
        request: &Request,
    ) -> Result<(), BodyFailure> {
        self.consume(self.unread(), |bytes| room.put(bytes).len());
        while room.left() > 0 && !self.ended {
            let start = request.call_start();
            let received = exchange.read(CREDIT, &mut |bytes| {
                self.buffer.extend_from_slice(room.put(bytes));
            })?;
            self.meter.count(received, start);
            self.ended = received == 0;
        }
        Ok(())
    }

    fn unread(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Gives the next `n` unread bytes to `f` and counts them as read.
    fn consume<R>(&mut self, n: usize, f: impl FnOnce(&[u8]) -> R) -> R {
        let end = self.start + n;
        let result = f(self.buffer.get(self.start..end).unwrap_or_default());
        self.start = end;
        self.searched = 0;
        if self.start >= self.buffer.len() {
            self.start = 0;
            self.buffer.clear();
            if self.buffer.capacity() > 4 * CREDIT {
                self.buffer = Vec::new();
            }
        }
        result
    }
}

/// The payload of the type `mod_wsgi.Input`.
pub struct Input {
    request: Arc<Request>,
}

impl Payload for Input {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Input";
}

impl Input {
    /// The input of a request.
    pub fn new(request: Arc<Request>) -> Self {
        Self { request }
    }

    /// The type, in the interpreter of `py`.
    pub fn class(py: Attached<'_>) -> PyResult<'_, Class<Self>> {
        let methods = vec![
            Method::new(c"read", |call: Call<'_, '_, Self>| {
                let n = call.optional_int("read", -1)?;
                call.this.take(
                    call.py,
                    "wsgi.input.read",
                    usize::try_from(n).map_or(Need::All, Need::Bytes),
                )
            }),
            Method::new(c"readline", |call: Call<'_, '_, Self>| {
                let n = call.optional_int("readline", -1)?;
                call.this.take(
                    call.py,
                    "wsgi.input.readline",
                    Need::Line(usize::try_from(n).unwrap_or(usize::MAX)),
                )
            }),
            Method::new(c"readlines", |call: Call<'_, '_, Self>| {
                let hint = usize::try_from(call.optional_int("readlines", -1)?).unwrap_or(0);
                call.this.lines(call.py, hint)
            }),
            Method::new(c"close", |call: Call<'_, '_, Self>| {
                call.this.request.exchange(call.py, "wsgi.input.close")?;
                Ok(call.py.none())
            }),
        ];
        Class::iterator(py, methods, vec![], |call: Call<'_, '_, Self>| {
            let line = call
                .this
                .take(call.py, "wsgi.input.__next__", Need::Line(usize::MAX))?;
            Ok(Some(line).filter(|line| line.as_bytes().is_some_and(|bytes| !bytes.is_empty())))
        })
    }

    fn take<'py>(&self, py: Attached<'py>, method: &str, need: Need) -> PyResult<'py, Object<'py>> {
        let mut body = lock(py, &self.request.body);
        let exchange = self.request.exchange(py, method)?;
        if body.failed {
            let text = "mod_wsgi request data read error: input is already in error state";
            return Err(Exception::new(py, Raise::Os, text));
        }
        let body = &mut *body;
        let fetched = match (body.ready(need), need) {
            (Some(n), _) => Ok(n),
            (None, Need::Bytes(n)) if n <= IN_PLACE => {
                match py.bytes_filled(n, |room| body.fill(room, &*exchange, &self.request))? {
                    Ok(bytes) => return Ok(bytes),
                    Err(failure) => Err(failure),
                }
            }
            (None, _) => py.detach(|| body.fetch(need, &*exchange, &self.request)),
        };
        let n = fetched.map_err(|failure| {
            body.failed = true;
            let text = format!("mod_wsgi request data read error: {}", failure.text);
            Exception::new(py, Raise::Os, &text)
        })?;
        body.consume(n, |bytes| py.bytes(bytes))
    }

    fn lines<'py>(&self, py: Attached<'py>, hint: usize) -> PyResult<'py, Object<'py>> {
        let lines = py.list()?;
        let mut total = 0;
        loop {
            let line = self.take(py, "wsgi.input.readlines", Need::Line(usize::MAX))?;
            let n = line.as_bytes().map_or(0, <[u8]>::len);
            if n == 0 {
                return Ok(lines);
            }
            lines.append(&line)?;
            total += n;
            if hint > 0 && total >= hint {
                return Ok(lines);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(unread: &[u8], ended: bool) -> Body {
        Body {
            buffer: unread.to_vec(),
            ended,
            ..Body::default()
        }
    }

    #[test]
    fn a_call_waits_for_as_much_as_it_asked_for() {
        for (need, before_end, at_end) in [
            (Need::All, None, Some(5)),
            (Need::Bytes(0), Some(0), Some(0)),
            (Need::Bytes(5), Some(5), Some(5)),
            (Need::Bytes(6), None, Some(5)),
            (Need::Line(usize::MAX), Some(3), Some(3)),
            (Need::Line(2), Some(2), Some(2)),
            (Need::Line(3), Some(3), Some(3)),
            (Need::Line(0), Some(0), Some(0)),
        ] {
            assert_eq!(body(b"ab\ncd", false).ready(need), before_end, "{need:?}");
            assert_eq!(body(b"ab\ncd", true).ready(need), at_end, "{need:?}");
        }
    }

    #[test]
    fn a_line_without_its_end_is_searched_only_once() {
        let mut body = body(b"abc", false);
        assert_eq!(body.ready(Need::Line(100)), None);
        assert_eq!(body.searched, 3);
        body.buffer.extend_from_slice(b"d\nrest");
        assert_eq!(body.ready(Need::Line(100)), Some(5));
        body.consume(5, |line| assert_eq!(line, b"abcd\n"));
        assert_eq!(body.ready(Need::Line(100)), None);
    }

    #[test]
    fn a_limit_in_a_line_that_was_searched_before_does_not_confuse_the_next() {
        let mut body = body(b"abcdef", false);
        assert_eq!(body.ready(Need::Line(100)), None);
        body.consume(2, |_| ());
        body.buffer.push(b'\n');
        assert_eq!(body.ready(Need::Line(100)), Some(5));
    }
}
