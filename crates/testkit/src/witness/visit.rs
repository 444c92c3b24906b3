//! One numbered request, and what became of it.

use std::time::{Duration, Instant};

use crate::raw::{Raw, RawReply};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The number, with GET.
    Run,
    /// The process dies of it.
    Die,
    /// 64 KiB, with POST, to be sent back.
    Echo,
    /// 20 pieces without a length; some of them let wait.
    Stream,
    /// The number after so many seconds.
    Slow(u32),
    /// 256 KiB, sent within about a second, to be sent back.
    Upload,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// 200, and every byte is right. The application's process.
    Right {
        /// Its id.
        pid: u32,
    },
    /// Another status: complete, and said so.
    Status {
        /// The status.
        code: u16,
        /// Whether it came with `Retry-After`.
        retry_after: bool,
    },
    /// The connection ended before the answer did, and the client knows it.
    Cut,
    /// 200 and complete, but it is not the answer: the worst that can happen.
    Wrong(String),
}

/// A request that has ended.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its number, unique within its book.
    pub number: u64,
    /// Where the application is mounted.
    pub site: String,
    /// What was asked.
    pub kind: Kind,
    /// When.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub end: End,
}

impl Visit {
    pub(super) fn pay(port: u16, site: &str, kind: Kind, book: usize, number: u64) -> Visit {
        let began = Instant::now();
        let end = judge(&kind.ask(port, site, book, number), kind, number);
        Visit {
            number,
            site: site.to_owned(),
            kind,
            began,
            took: began.elapsed(),
            end,
        }
    }
}

/// Bytes that no other request has.
pub(super) fn body_of(kind: Kind, number: u64) -> Vec<u8> {
    let size = match kind {
        Kind::Echo => 64 << 10,
        Kind::Upload => 256 << 10,
        _ => return Vec::new(),
    };
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut body = Vec::with_capacity(size);
    while body.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body
}

impl Kind {
    fn path(self) -> String {
        match self {
            Kind::Run => "run".into(),
            Kind::Die => "die".into(),
            Kind::Echo | Kind::Upload => "echo".into(),
            Kind::Stream => "stream".into(),
            Kind::Slow(seconds) => format!("slow/{seconds}"),
        }
    }

    fn expected(self, number: u64) -> Vec<u8> {
        match self {
            Kind::Echo | Kind::Upload => body_of(self, number),
            Kind::Stream => (0..20)
                .flat_map(|index| format!("{number}.{index} ").repeat(200).into_bytes())
                .collect(),
            _ => number.to_string().into_bytes(),
        }
    }

    fn ask(self, port: u16, site: &str, book: usize, number: u64) -> Option<RawReply> {
        let mut raw = Raw::connect(port);
        let body = body_of(self, number);
        let method = if body.is_empty() { "GET" } else { "POST" };
        let mut head = format!(
            "{method} {site}/{}?{book}-{number} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Test: {book}-{number}\r\nConnection: close\r\n",
            self.path()
        );
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        // A server that has answered already may take no more; what it said is still to be read.
        let mut taken = raw.try_send(format!("{head}\r\n"));
        for piece in body.chunks(32 << 10) {
            taken = taken && raw.try_send(piece);
            if self == Kind::Upload {
                std::thread::sleep(Duration::from_millis(120));
            }
        }
        let head = raw.try_head()?;
        Some(raw.body(head))
    }
}

fn judge(reply: &Option<RawReply>, kind: Kind, number: u64) -> End {
    let Some(reply) = reply else { return End::Cut };
    let head = &reply.head;
    match head.status {
        _ if !reply.complete => End::Cut,
        200 => {
            let expected = kind.expected(number);
            if head.header("x-number") != Some(&number.to_string()) || reply.body != expected {
                let (had, wanted) = (reply.body.len(), expected.len());
                return End::Wrong(format!("{had} bytes instead of {wanted}, {head:?}"));
            }
            let pid = head.header("x-pid").and_then(|pid| pid.parse().ok());
            End::Right {
                pid: pid.unwrap_or_default(),
            }
        }
        code => End::Status {
            code,
            retry_after: head.header("retry-after").is_some(),
        },
    }
}
