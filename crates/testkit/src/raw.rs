//! A client for exact bytes: what it sends is what the test wrote, what it reads is judged strictly.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Status line and headers of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The text after it.
    pub reason: String,
    /// Names in lower case, in the order received; values as Latin-1.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of that name (given in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A whole answer, with the verdict on its end.
#[derive(Clone)]
pub struct RawReply {
    /// Status line and headers.
    pub head: Head,
    /// The body, decoded when chunked.
    pub body: Vec<u8>,
    /// Whether the framing (length, last chunk) says that the body is whole.
    pub complete: bool,
}

impl std::fmt::Debug for RawReply {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let end = if self.complete { "complete" } else { "cut" };
        write!(f, "{:?}, {} bytes, {end}", self.head, self.body.len())
    }
}

/// A connection to httpd.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
    ended: bool,
}

impl Raw {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect to httpd");
        stream
            .set_read_timeout(Some(Duration::from_secs(40)))
            .expect("timeout");
        stream
            .set_write_timeout(Some(Duration::from_secs(40)))
            .expect("timeout");
        Raw {
            stream,
            read: Vec::new(),
            ended: false,
        }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("send to httpd");
    }

    /// Sends bytes; says whether the other side still took them.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Ends our half of the connection.
    pub fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads once into the buffer; false at the end of the connection (also when it was reset).
    fn fill(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => self.ended = true,
            Ok(count) => self.read.extend_from_slice(&piece[..count]),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!(
                    "no answer within 40 s; so far: {:?}",
                    String::from_utf8_lossy(&self.read)
                );
            }
            Err(_) => self.ended = true,
        }
        !self.ended
    }

    /// The first bytes of what was read. By whole pieces, for a test build is slow with single bytes.
    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.read.split_off(count);
        std::mem::replace(&mut self.read, rest)
    }

    /// Reads once, for whoever asks for it later.
    pub fn read_ahead(&mut self) {
        self.fill();
    }

    /// Reads status line and headers.
    pub fn head(&mut self) -> Head {
        self.try_head()
            .expect("the connection ended before the head of the answer")
    }

    /// Reads status line and headers; nothing when the connection ends before.
    pub fn try_head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                return Some(parse_head(&self.take(end + 4)));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads body bytes as they come, as sent (not decoded): at least one, none at the end.
    pub fn some(&mut self) -> Vec<u8> {
        if self.read.is_empty() {
            self.fill();
        }
        std::mem::take(&mut self.read)
    }

    /// Reads until `text` has come; returns everything up to and with it.
    pub fn until(&mut self, text: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.read, text) {
                return self.take(at + text.len());
            }
            assert!(
                self.fill(),
                "the connection ended before {:?} came",
                String::from_utf8_lossy(text)
            );
        }
    }

    /// Reads the whole body that belongs to `head`.
    pub fn body(&mut self, head: Head) -> RawReply {
        let without = matches!(head.status, 100..=199 | 204 | 304);
        let (body, complete) = if without {
            (Vec::new(), true)
        } else if head
            .header("transfer-encoding")
            .is_some_and(|te| te.eq_ignore_ascii_case("chunked"))
        {
            self.chunks()
        } else if let Some(length) = head.header("content-length") {
            let length: usize = length.parse().expect("Content-Length");
            while self.read.len() < length && self.fill() {}
            let complete = self.read.len() >= length;
            (self.take(length.min(self.read.len())), complete)
        } else {
            while self.fill() {}
            (std::mem::take(&mut self.read), true)
        };
        RawReply { head, body, complete }
    }

    /// Reads a whole answer.
    pub fn reply(&mut self) -> RawReply {
        let head = self.head();
        self.body(head)
    }

    /// Reads the answer to a HEAD request: there must be nothing after the head.
    pub fn reply_to_head(&mut self) -> RawReply {
        let head = self.head();
        while self.fill() {}
        let body = std::mem::take(&mut self.read);
        RawReply {
            head,
            body,
            complete: true,
        }
    }

    fn chunks(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let Some(end) = self.wait_for(b"\r\n") else {
                return (body, false);
            };
            let line = self.take(end + 2);
            let digits = String::from_utf8_lossy(&line)
                .trim()
                .split(';')
                .next()
                .unwrap_or_default()
                .to_owned();
            let size =
                usize::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("bad chunk size {digits:?}"));
            while self.read.len() < size + 2 && self.fill() {}
            if self.read.len() < size + 2 {
                body.append(&mut self.read);
                return (body, false);
            }
            body.append(&mut self.take(size));
            self.take(2);
            if size == 0 {
                return (body, true);
            }
        }
    }

    fn wait_for(&mut self, text: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = find(&self.read, text) {
                return Some(at);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Whether the other side has closed; waits for it.
    pub fn is_closed(&mut self) -> bool {
        while self.fill() {}
        self.read.is_empty()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse_head(bytes: &[u8]) -> Head {
    let text: String = bytes.iter().map(|b| char::from(*b)).collect();
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().splitn(3, ' ');
    assert!(
        first.next().is_some_and(|v| v.starts_with("HTTP/1.")),
        "not an answer: {text:?}"
    );
    let status = first
        .next()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| panic!("no status: {text:?}"));
    let reason = first.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Head {
        status,
        reason,
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canned(answer: &'static [u8]) -> Raw {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            stream.write_all(answer).expect("write");
        });
        Raw::connect(port)
    }

    #[test]
    fn a_missing_last_chunk_is_not_complete() {
        let reply = canned(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").reply();
        assert_eq!((reply.body.as_slice(), reply.complete), (&b"abc"[..], false));
    }

    #[test]
    fn a_last_chunk_completes() {
        let reply =
            canned(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").reply();
        assert_eq!((reply.body.as_slice(), reply.complete), (&b"abc"[..], true));
    }

    #[test]
    fn a_short_body_is_not_complete() {
        let reply = canned(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc").reply();
        assert_eq!((reply.body.as_slice(), reply.complete), (&b"abc"[..], false));
    }
}
