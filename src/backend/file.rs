//! A file as the rest of an answer. It comes from a process of another user, so nothing about it is believed.

use std::os::fd::{AsFd, OwnedFd};

use rwsgi_os::file;
use rwsgi_wire::response;

use super::client::FilePart;
use super::{Fault, Message, codes};

/// A file that may be sent.
#[derive(Debug)]
pub struct File {
    fd: OwnedFd,
    from: u64,
    length: u64,
}

impl File {
    /// Checks what was passed: a regular file, open for reading. The length is what there is of it.
    pub fn check(fd: OwnedFd, part: response::File) -> Result<Self, Fault> {
        let refused = |why: &str| Fault::Violation(format!("the descriptor that came as a file {why}"));
        match file::is_plain(&fd) {
            Ok(true) => {}
            Ok(false) => return Err(refused("is not a regular file that can be read")),
            Err(e) => return Err(refused(&format!("cannot be examined: {e}"))),
        }
        let size = file::status(&fd)
            .map_err(|e| refused(&format!("cannot be examined: {e}")))?
            .size;
        Ok(Self {
            fd,
            from: part.from,
            length: part.length.min(size.saturating_sub(part.from)),
        })
    }

    /// How many bytes there are to send.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// No more than `length` bytes are to be sent.
    pub fn cut(&mut self, length: u64) {
        self.length = self.length.min(length);
    }

    /// As a piece of an answer.
    pub fn part(&self) -> FilePart<'_> {
        FilePart {
            fd: self.fd.as_fd(),
            from: self.from,
            length: self.length,
        }
    }

    /// Why an attempt to send it failed, if that is its own fault.
    pub fn fault(&self) -> Option<Fault> {
        let size = file::status(&self.fd).ok()?.size;
        (size < self.end()).then(|| Fault::FileShrank(self.shrank().text))
    }

    /// The descriptor, the end in bytes, and what is to be said should it turn out to be shorter than that.
    pub fn into_watched(self) -> (OwnedFd, u64, Message) {
        let (end, message) = (self.end(), self.shrank());
        (self.fd, end, message)
    }

    fn end(&self) -> u64 {
        self.from + self.length
    }

    fn shrank(&self) -> Message {
        let text = format!(
            "the file that the application returned was truncated while it was sent: it no longer has the {} bytes it had; the answer \
             is aborted",
            self.end()
        );
        Message {
            code: codes::FILE_SHRANK,
            text,
        }
    }
}
