//! What a worker says about a request: taken, wanting body, the answer's head, log lines, aborts.

use crate::WireError;
use crate::bytes::{Fields, Put};
use crate::limits::{RESPONSE_HEADERS_MAX, TEXT_MAX, WANT_MAX};

/// Status and headers of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response<'a> {
    /// Three digits.
    pub status: u16,
    /// Text after the digits; may be empty.
    pub reason: &'a [u8],
    /// Name and value, in the application's order, repeats included.
    pub headers: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Response<'a> {
    /// Appends a `Response` frame's payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut draft = Draft::new(self.status, self.reason);
        for (name, value) in &self.headers {
            draft.put(name, value);
        }
        out.extend_from_slice(draft.payload());
    }

    /// Reads a `Response` frame's payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(payload);
        let status = f.u16("status")?;
        let reason = f.bytes("reason")?;
        let count = f.u32("header count")? as usize;
        if count > RESPONSE_HEADERS_MAX {
            let (size, limit) = (count as u64, RESPONSE_HEADERS_MAX as u64);
            return Err(WireError::TooLarge {
                field: "number of response headers",
                size,
                limit,
            });
        }
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            headers.push((f.bytes("header name")?, f.bytes("header value")?));
        }
        f.end()?;
        Ok(Self {
            status,
            reason,
            headers,
        })
    }
}

/// A [`Response`] that is written header by header.
#[derive(Debug)]
pub struct Draft {
    payload: Vec<u8>,
    count: u32,
    /// Where the count is in the payload.
    count_at: usize,
}

/// Room for the headers of most answers.
const ROOM: usize = 1024;

impl Draft {
    /// Without headers.
    pub fn new(status: u16, reason: &[u8]) -> Self {
        let mut payload = Vec::with_capacity(ROOM);
        payload.put_u16(status);
        payload.put_bytes(reason);
        let count_at = payload.len();
        payload.put_u32(0);
        Self {
            payload,
            count: 0,
            count_at,
        }
    }

    /// One more header.
    pub fn put(&mut self, name: &[u8], value: &[u8]) {
        self.payload.put_bytes(name);
        self.payload.put_bytes(value);
        self.count += 1;
        let count = self.count.to_le_bytes();
        if let Some(place) = self.payload.get_mut(self.count_at..self.count_at + count.len()) {
            place.copy_from_slice(&count);
        }
    }

    /// The payload of a `Response` frame.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// The worker with this process id runs the request from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Its process id, with which the manager is asked for the cause of its death.
    pub pid: u32,
}

impl Taken {
    /// Appends a `Taken` frame's payload to `out`.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.put_u32(self.pid);
    }
    /// Reads a `Taken` frame's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(payload);
        let taken = Self { pid: f.u32("pid")? };
        f.end()?;
        Ok(taken)
    }
}

/// Credit for body bytes, 1 to [`WANT_MAX`]; at most one is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// How many bytes may be sent.
    pub bytes: u32,
}

impl Want {
    /// Appends a `Want` frame's payload to `out`.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.put_u32(self.bytes);
    }
    /// Reads a `Want` frame's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(payload);
        let bytes = f.u32("want")?;
        f.end()?;
        if bytes == 0 || bytes as usize > WANT_MAX {
            return Err(WireError::Value {
                field: "want",
                found: bytes.into(),
            });
        }
        Ok(Self { bytes })
    }
}

/// The rest of the answer is part of an open regular file. Its descriptor travels with the bytes of the frame (`SCM_RIGHTS`), one for
/// each such frame. Only `Log`, `End` and `Abort` may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// From where, in bytes.
    pub from: u64,
    /// How many bytes.
    pub length: u64,
    /// The worker waits for `Sent` before it lets the file go.
    pub wait: bool,
}

impl File {
    /// Appends a `File` frame's payload to `out`.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.put_u64(self.from);
        out.put_u64(self.length);
        out.put_u8(self.wait.into());
    }
    /// Reads a `File` frame's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(payload);
        let file = Self {
            from: f.u64("file position")?,
            length: f.u64("file length")?,
            wait: f.bool("wait")?,
        };
        f.end()?;
        match file.from.checked_add(file.length) {
            Some(end) if i64::try_from(end).is_ok() => Ok(file),
            _ => Err(WireError::Value {
                field: "end of the file",
                found: file.from.saturating_add(file.length),
            }),
        }
    }
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $field:literal { $($(#[$vdoc:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $value,)* }

        impl $name {
            /// The variant with this number on the wire.
            pub fn from_wire(value: u8) -> Result<Self, WireError> {
                match value {
                    $($value => Ok(Self::$variant),)*
                    _ => Err(WireError::Value { field: $field, found: value.into() }),
                }
            }
        }
    };
}
pub(crate) use numbered;

numbered! {
    /// Why an exchange was aborted by the worker's side.
    AbortReason, "abort reason" {
        /// The application raised, or broke the protocol; the log has the details already. 500.
        Application = 1,
        /// The script could not be loaded (missing, unreadable, syntax error, exception); logged already. 500.
        Import = 2,
        /// The script has no such callable, or it is not callable; logged already. 500.
        Callable = 3,
        /// The request ran longer than `request-timeout`. 504.
        Timeout = 4,
        /// The worker is going away before having run the request; repeat elsewhere if nothing was taken. 503 otherwise.
        Draining = 5,
        /// From the manager: this pool cannot start for a reason that lies in the configuration; text says which and the remedy. 500.
        Refused = 6,
        /// From the manager: this pool keeps failing and is waiting before it tries again. 503 with Retry-After.
        BackOff = 7,
        /// The worker failed in itself. 500.
        Internal = 8,
        /// From the manager: no worker could be started in time, because of how many there are already. 503 with Retry-After.
        Crowded = 9,
        /// No worker of this pool has loaded the application yet, and one is on its way, or will be: this one's time is over. 503 with
        /// Retry-After.
        Starting = 10,
    }
}

/// No (complete) answer will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort<'a> {
    /// Why.
    pub reason: AbortReason,
    /// For `BackOff`, `Crowded` and `Starting`: seconds until a new try makes sense; else 0.
    pub retry_after: u32,
    /// A sentence for the error log, UTF-8; empty when the log has it already.
    pub text: &'a [u8],
}

impl<'a> Abort<'a> {
    /// Appends an `Abort` frame's payload to `out`; the text is cut at [`TEXT_MAX`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.reason as u8);
        out.put_u32(self.retry_after);
        out.put_bytes(self.text.get(..TEXT_MAX).unwrap_or(self.text));
    }
    /// Reads an `Abort` frame's payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(payload);
        let abort = Self {
            reason: AbortReason::from_wire(f.u8("abort reason")?)?,
            retry_after: f.u32("retry after")?,
            text: f.bytes("abort text")?,
        };
        f.end()?;
        Ok(abort)
    }
}

numbered! {
    /// Why the request body broke off.
    BodyFault, "body fault" {
        /// The client closed or broke its connection.
        ClientGone = 1,
        /// The client was slower than httpd's `Timeout`.
        ClientSlow = 2,
        /// The body is larger than `LimitRequestBody`; httpd has answered already.
        TooLarge = 3,
        /// The body's framing was wrong.
        Malformed = 4,
    }
}

/// The request body broke off; the application's read raises `OSError` with this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyAbort<'a> {
    /// Why.
    pub fault: BodyFault,
    /// A sentence, UTF-8.
    pub text: &'a [u8],
}

impl<'a> BodyAbort<'a> {
    /// Appends a `BodyAbort` frame's payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.fault as u8);
        out.put_bytes(self.text.get(..TEXT_MAX).unwrap_or(self.text));
    }
    /// Reads a `BodyAbort` frame's payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(payload);
        let abort = Self {
            fault: BodyFault::from_wire(f.u8("body fault")?)?,
            text: f.bytes("body abort text")?,
        };
        f.end()?;
        Ok(abort)
    }
}

numbered! {
    /// Level of a log line, as httpd's `LogLevel` names them.
    Level, "log level" {
        /// A group or child cannot serve.
        Crit = 2,
        /// One request failed, or the application wrote to `wsgi.errors`.
        Error = 3,
        /// An operator should act.
        Warn = 4,
        /// Unusual but normal.
        Notice = 5,
        /// Life of workers.
        Info = 6,
        /// Decisions.
        Debug = 7,
    }
}

/// Where in the application's source a log line comes from, for `%F` of `ErrorLogFormat`; empty when it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Source file; empty for none. At most [`ORIGIN_MAX`] bytes, the last of a longer one.
    pub file: &'a [u8],
    /// Line in it.
    pub line: u32,
}

/// Longest file name of an [`Origin`], in bytes.
pub const ORIGIN_MAX: usize = 4096;

impl<'a> Origin<'a> {
    /// The end of the file name, which says most, as far as it may be sent.
    fn sendable(&self) -> &'a [u8] {
        let surplus = self.file.len().saturating_sub(ORIGIN_MAX);
        self.file.get(surplus..).unwrap_or_default()
    }
}

/// A line for the error log of the request (without line end), or several that belong together, with line ends between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log<'a> {
    /// How severe.
    pub level: Level,
    /// Where it comes from.
    pub origin: Origin<'a>,
    /// The text, at most [`TEXT_MAX`] bytes; longer lines are split by the sender.
    pub text: &'a [u8],
}

impl<'a> Log<'a> {
    /// Appends a `Log` frame's payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.level as u8);
        out.put_bytes(self.origin.sendable());
        out.put_u32(self.origin.line);
        out.put_bytes(self.text.get(..TEXT_MAX).unwrap_or(self.text));
    }
    /// Reads a `Log` frame's payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(payload);
        let log = Self {
            level: Level::from_wire(f.u8("log level")?)?,
            origin: Origin {
                file: f.bytes("log file")?,
                line: f.u32("log line")?,
            },
            text: f.bytes("log text")?,
        };
        f.end()?;
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_round_trip_and_no_truncation_is_accepted() {
        let mut bytes = Vec::new();
        let response = Response {
            status: 200,
            reason: b"OK",
            headers: vec![(b"A", b"1"), (b"A", b"")],
        };
        response.encode(&mut bytes);
        assert_eq!(Response::decode(&bytes).unwrap(), response);
        assert!((0..bytes.len()).all(|cut| Response::decode(&bytes[..cut]).is_err()));

        bytes.clear();
        let abort = Abort {
            reason: AbortReason::BackOff,
            retry_after: 4,
            text: b"why",
        };
        abort.encode(&mut bytes);
        assert_eq!(Abort::decode(&bytes).unwrap(), abort);
        assert!((0..bytes.len()).all(|cut| Abort::decode(&bytes[..cut]).is_err()));

        bytes.clear();
        let log = Log {
            level: Level::Error,
            origin: Origin {
                file: b"/app.wsgi",
                line: 7,
            },
            text: b"line",
        };
        log.encode(&mut bytes);
        assert_eq!(Log::decode(&bytes).unwrap(), log);

        bytes.clear();
        let fault = BodyAbort {
            fault: BodyFault::ClientSlow,
            text: b"slow",
        };
        fault.encode(&mut bytes);
        assert_eq!(BodyAbort::decode(&bytes).unwrap(), fault);

        bytes.clear();
        Taken { pid: 7 }.encode(&mut bytes);
        assert_eq!(Taken::decode(&bytes).unwrap(), Taken { pid: 7 });
    }

    #[test]
    fn a_part_of_a_file_ends_where_files_can_end() {
        let file = File {
            from: 5,
            length: 7,
            wait: true,
        };
        let mut bytes = Vec::new();
        file.encode(&mut bytes);
        assert_eq!(File::decode(&bytes), Ok(file));
        assert!((0..bytes.len()).all(|cut| File::decode(&bytes[..cut]).is_err()));
        for (from, length) in [(u64::MAX, 1), (1, i64::MAX as u64), (u64::MAX, 0)] {
            bytes.clear();
            File {
                from,
                length,
                wait: false,
            }
            .encode(&mut bytes);
            assert!(File::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_want_of_nothing_or_of_more_than_the_credit_is_refused() {
        for bytes in [0, WANT_MAX as u32 + 1] {
            let mut out = Vec::new();
            Want { bytes }.encode(&mut out);
            assert!(Want::decode(&out).is_err());
        }
    }
}
