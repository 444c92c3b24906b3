//! A regular file returned through `wsgi.file_wrapper`: not read here but passed on, for httpd to send.

use std::os::fd::{AsFd, OwnedFd};

use rwsgi_os::{fd, file};
use rwsgi_wire::response::File;

use super::fault::Fault;
use super::iterate::Answer;
use super::request::lock;
use super::state::State;
use crate::cpython::{Attached, Object, PyResult};
use crate::exchange::{Exchange, Gone};

/// A file that httpd can send.
pub struct RegularFile {
    /// A descriptor of the application's open file.
    fd: OwnedFd,
    /// Where the application stands in it, in bytes.
    from: u64,
    /// From there to its end, in bytes.
    length: u64,
    /// The wrapper is all that holds it, and closing is all that will happen to it: nobody will notice when it is sent.
    is_sole: bool,
}

impl RegularFile {
    /// The file in `result`, if that is a file wrapper over a plain file object. Other file-like objects (`GzipFile` has the
    /// descriptor of the compressed file; a pipe has no length) are iterated.
    pub fn of<'py>(py: Attached<'py>, result: &Object<'py>, state: &State) -> Option<Self> {
        if !state.file_wrapper.with(py, |class| result.is_of(class)) {
            return None;
        }
        let plain = || -> PyResult<'py, Option<Self>> {
            let found = state.regular_file.with(py, |function| function.call(&[result]))?;
            let (Some(number), Some(from), Some(closes)) = (found.item(0), found.item(1), found.item(2))
            else {
                return Ok(None);
            };
            let (Ok(number), Ok(from)) = (i32::try_from(number.to_int()?), u64::try_from(from.to_int()?))
            else {
                return Ok(None);
            };
            let is_sole = closes.is_true()? && is_held_once(result)?;
            Ok(py.detach(|| Self::open(number, from, is_sole)))
        };
        // Whatever it raises, reading will raise, too, and be reported.
        plain().ok().flatten()
    }

    fn open(number: i32, from: u64, is_sole: bool) -> Option<Self> {
        let fd = fd::duplicate_number(number).ok()?;
        if !file::is_plain(&fd).ok()? {
            return None;
        }
        let size = file::status(&fd).ok()?.size;
        Some(Self {
            fd,
            from,
            length: size.saturating_sub(from),
            is_sole,
        })
    }

    /// Sends the file as the whole answer; false when the answer has begun, so that it must be read.
    pub fn send(&self, py: Attached<'_>, answer: &Answer<'_>) -> Result<bool, Fault> {
        let mut output = lock(py, &answer.request.output);
        if !output.has_head() {
            return Err(answer.no_start_response());
        }
        if output.has_begun() {
            return Ok(false);
        }
        let length = output.declare(self.length).min(self.length);
        if !answer.head_only && !output.is_bodiless() {
            output.hand_over(answer.exchange, length);
            let exchange = answer.exchange;
            if py.detach(|| self.pass(exchange, length)).is_err() {
                output.lose();
            }
        }
        Ok(true)
    }

    fn pass(&self, exchange: &dyn Exchange, length: u64) -> Result<(), Gone> {
        let part = File {
            from: self.from,
            length,
            wait: !self.is_sole,
        };
        if self.is_sole {
            return exchange.file(self.fd.as_fd(), part);
        }
        // Whoever else holds the file may move its position at any time, and must find it where it was.
        if let Ok(own) = file::reopen(&self.fd) {
            return exchange.file(own.as_fd(), part);
        }
        let position = fd::position(&self.fd);
        let sent = exchange.file(self.fd.as_fd(), part);
        if let Ok(position) = position {
            let _ = fd::set_position(&self.fd, position);
        }
        sent
    }
}

/// Nothing but the wrapper refers to the file, and nothing but the file to what is below its buffer.
fn is_held_once<'py>(wrapper: &Object<'py>) -> PyResult<'py, bool> {
    let file = wrapper.attribute(c"filelike")?;
    // One reference is the wrapper's, one is ours.
    if file.references() != 2 {
        return Ok(false);
    }
    Ok(file.attribute(c"raw").map_or(true, |raw| raw.references() == 2))
}
