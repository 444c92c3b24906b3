//! The error of every face.

use std::borrow::Cow;
use std::fmt;

/// A system call failed: which, on what, and why. `Display` is a sentence without a final period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsError {
    /// Name of the call.
    pub call: &'static str,
    /// What it was applied to (a path, a name); empty when that says nothing.
    pub object: Cow<'static, str>,
    /// The system's error number (`libc::E…`).
    pub errno: i32,
}

impl OsError {
    /// The error that the last call of this thread left in `errno`.
    pub fn last(call: &'static str, object: impl Into<Cow<'static, str>>) -> Self {
        let errno = std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO);
        Self::new(call, object, errno)
    }

    /// An error with a given number.
    pub fn new(call: &'static str, object: impl Into<Cow<'static, str>>, errno: i32) -> Self {
        Self {
            call,
            object: object.into(),
            errno,
        }
    }

    /// A file is shorter than it was (EIO).
    pub fn shortened(call: &'static str) -> Self {
        Self::new(call, "a file that became shorter", libc::EIO)
    }

    /// The same error on a path; bytes that are not UTF-8 are replaced in the text.
    pub fn last_on(call: &'static str, path: &[u8]) -> Self {
        // Taken first: building the text may disturb errno.
        let errno = std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO);
        Self::new(call, String::from_utf8_lossy(path).into_owned(), errno)
    }

    /// Nothing could be done now without waiting (EAGAIN): no data, no room, or a full backlog.
    pub fn is_would_block(&self) -> bool {
        self.errno == libc::EAGAIN || self.errno == libc::EWOULDBLOCK
    }

    /// The system has no process, no memory or no descriptor to give (EAGAIN, ENOMEM, EMFILE, ENFILE): what ends makes room.
    pub fn is_shortage(&self) -> bool {
        matches!(
            self.errno,
            libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE
        )
    }

    /// A signal handler ran (EINTR).
    pub fn is_interrupted(&self) -> bool {
        self.errno == libc::EINTR
    }

    /// Nobody reads from the pipe or socket any more (EPIPE).
    pub fn is_closed(&self) -> bool {
        self.errno == libc::EPIPE
    }

    /// Nobody listens at this address any more (ECONNREFUSED).
    pub fn is_refused(&self) -> bool {
        self.errno == libc::ECONNREFUSED
    }

    /// The object does not exist (ENOENT).
    pub fn is_not_found(&self) -> bool {
        self.errno == libc::ENOENT
    }

    /// The system's words for the number, "Permission denied".
    pub fn reason(&self) -> String {
        let text = std::io::Error::from_raw_os_error(self.errno).to_string();
        match text.rfind(" (os error") {
            Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
            None => text,
        }
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.object.is_empty() {
            write!(f, "{} failed: {}", self.call, self.reason())
        } else {
            write!(f, "{} of {} failed: {}", self.call, self.object, self.reason())
        }
    }
}

impl std::error::Error for OsError {}

impl From<OsError> for std::io::Error {
    fn from(e: OsError) -> Self {
        Self::from_raw_os_error(e.errno)
    }
}

/// Makes the call until it is not interrupted; a negative answer becomes an error.
pub(crate) fn retry(call: &'static str, mut f: impl FnMut() -> libc::c_int) -> Result<libc::c_int, OsError> {
    loop {
        let n = f();
        if n >= 0 {
            return Ok(n);
        }
        let e = OsError::last(call, "");
        if !e.is_interrupted() {
            return Err(e);
        }
    }
}

/// As [`retry`], for calls that answer a number of bytes.
pub(crate) fn retry_size(call: &'static str, mut f: impl FnMut() -> isize) -> Result<usize, OsError> {
    loop {
        let n = f();
        if let Ok(n) = usize::try_from(n) {
            return Ok(n);
        }
        let e = OsError::last(call, "");
        if !e.is_interrupted() {
            return Err(e);
        }
    }
}

/// A path for C. A NUL in it is refused as EINVAL, as the system would for any other impossible path.
pub(crate) fn c_path(call: &'static str, path: &[u8]) -> Result<std::ffi::CString, OsError> {
    std::ffi::CString::new(path)
        .map_err(|_| OsError::new(call, String::from_utf8_lossy(path).into_owned(), libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_sentence_without_numbers() {
        let e = OsError::new("connect", "/run/x", libc::ECONNREFUSED);
        assert_eq!(e.to_string(), "connect of /run/x failed: Connection refused");
        assert_eq!(
            OsError::new("fork", "", libc::EAGAIN).to_string(),
            "fork failed: Resource temporarily unavailable"
        );
    }
}
