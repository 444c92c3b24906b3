//! The request as the Python half receives it.

use crate::bytes::{Fields, Put};
use crate::call::Call;
use crate::frame::HEADER_LEN;
use crate::pairs::Pairs;
use crate::{VERSION, WireError};

/// One request. All strings are bytes as httpd has them; the Python half decodes them (PEP 3333: as Latin-1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// Which try to hand it to a worker this is, from 1; 0 in embedded mode.
    pub connects: u32,
    /// How many workers have refused it because they were about to be replaced.
    pub restarts: u32,
    /// What is asked for.
    pub call: Call,
    /// File that holds the application.
    pub script: &'a [u8],
    /// Name of the callable in it.
    pub callable: &'a [u8],
    /// Application group; empty is the main interpreter. Which interpreter serves, in embedded mode.
    pub application_group: &'a [u8],
    /// Modification time of `script` in microseconds since 1970 as httpd saw it, 0 when the script must not be checked
    /// (`WSGIScriptReloading Off`), or [`MTIME_UNKNOWN`].
    pub script_mtime: i64,
    /// Length of the request body in bytes if the client declared it, else `None` (chunked) — see `has_body`.
    pub content_length: Option<u64>,
    /// Whether there may be a body at all. Without one the worker never asks.
    pub has_body: bool,
    /// The request method is HEAD, whatever `REQUEST_METHOD` says: no body will be sent to the client.
    pub head_only: bool,
    /// It does not count as activity (`WSGIIgnoreActivity`).
    pub ignore_activity: bool,
    /// URL scheme is https.
    pub https: bool,
    /// When httpd received the request, in microseconds since 1970.
    pub request_start: i64,
    /// When it was handed over to this process group, in microseconds since 1970; 0 in embedded mode.
    pub queue_start: i64,
    /// Milliseconds from `queue_start` after which httpd gives up if no worker has taken the request; 0 in embedded mode.
    pub queue_limit: u32,
    /// Level from which on messages of this request are logged (httpd's numbers: 3 error, 6 info, 7 debug).
    pub log_level: u8,
    /// httpd's version, three numbers (`apache.version`).
    pub httpd_version: [u16; 3],
    /// CGI and `mod_wsgi.*` string variables, name and value.
    pub environ: Pairs<'a>,
    /// Arguments behind the environ; none of [`Call::Application`].
    pub arguments: Vec<&'a [u8]>,
    /// Variables of mod_ssl, for who cannot ask it; none of [`Call::Application`].
    pub ssl: Pairs<'a>,
}

/// httpd did not look: whoever loads the script does.
pub const MTIME_UNKNOWN: i64 = -1;

const NO_LENGTH: u64 = u64::MAX;

impl<'a> Head<'a> {
    /// The first variable of that name.
    pub fn variable(&self, name: &[u8]) -> Option<&'a [u8]> {
        let found = self.environ.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    /// Rewrites both counts in a whole `Head` frame.
    pub fn count_tries(frame: &mut [u8], connects: u32, restarts: u32) {
        let place = HEADER_LEN + size_of::<u16>();
        if let Some(counts) = frame.get_mut(place..place + 8) {
            let counts_now = u64::from(connects) | u64::from(restarts) << 32;
            counts.copy_from_slice(&counts_now.to_le_bytes());
        }
    }

    /// Appends the encoded head (a `Head` frame's payload) to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(VERSION);
        out.put_u32(self.connects);
        out.put_u32(self.restarts);
        out.put_u8(self.call as u8);
        out.put_bytes(self.script);
        out.put_bytes(self.callable);
        out.put_bytes(self.application_group);
        out.put_i64(self.script_mtime);
        out.put_u64(self.content_length.unwrap_or(NO_LENGTH));
        out.put_u8(self.has_body.into());
        out.put_u8(self.head_only.into());
        out.put_u8(self.ignore_activity.into());
        out.put_u8(self.https.into());
        out.put_i64(self.request_start);
        out.put_i64(self.queue_start);
        out.put_u32(self.queue_limit);
        out.put_u8(self.log_level);
        for n in self.httpd_version {
            out.put_u16(n);
        }
        self.environ.encode(out);
        if self.call != Call::Application {
            out.put_list(&self.arguments);
            self.ssl.encode(out);
        }
    }

    /// Reads a `Head` frame's payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(payload);
        let theirs = f.u16("version")?;
        if theirs != VERSION {
            return Err(WireError::Version { theirs });
        }
        let mut head = Self {
            connects: f.u32("connects")?,
            restarts: f.u32("restarts")?,
            call: Call::from_wire(f.u8("call")?)?,
            script: f.bytes("script")?,
            callable: f.bytes("callable")?,
            application_group: f.bytes("application group")?,
            script_mtime: f.i64("script mtime")?,
            content_length: Some(f.u64("content length")?).filter(|n| *n != NO_LENGTH),
            has_body: f.bool("has body")?,
            head_only: f.bool("head only")?,
            ignore_activity: f.bool("ignore activity")?,
            https: f.bool("https")?,
            request_start: f.i64("request start")?,
            queue_start: f.i64("queue start")?,
            queue_limit: f.u32("queue limit")?,
            log_level: f.u8("log level")?,
            httpd_version: [
                f.u16("httpd version")?,
                f.u16("httpd version")?,
                f.u16("httpd version")?,
            ],
            environ: Pairs::decode(&mut f)?,
            arguments: Vec::new(),
            ssl: Pairs::default(),
        };
        if head.call != Call::Application {
            head.arguments = f.list("arguments")?;
            head.ssl = Pairs::decode(&mut f)?;
        }
        f.end()?;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::PairList;

    /// `X` with two bytes that are no text.
    const ENVIRON: [(&[u8], &[u8]); 2] = [(b"REQUEST_METHOD", b"POST"), (b"X", b"\xff\x00")];

    fn sample(environ: &PairList) -> Head<'_> {
        Head {
            connects: 1,
            restarts: 0,
            script: b"/srv/app.wsgi",
            callable: b"application",
            application_group: b"",
            script_mtime: 1_700_000_000_000_000,
            content_length: Some(12),
            has_body: true,
            head_only: false,
            ignore_activity: true,
            https: true,
            request_start: 5,
            queue_start: 6,
            queue_limit: 7,
            log_level: 6,
            httpd_version: [2, 4, 71],
            environ: environ.pairs(),
            ..Head::default()
        }
    }

    fn call<'a>(environ: &'a PairList, ssl: &'a PairList) -> Head<'a> {
        Head {
            call: Call::CheckPassword,
            arguments: vec![b"joe", b"secret"],
            ssl: ssl.pairs(),
            ..sample(environ)
        }
    }

    #[test]
    fn a_head_survives_the_round_trip() {
        let (environ, ssl) = (
            PairList::from_iter(ENVIRON),
            PairList::from_iter([(&b"HTTPS"[..], &b"on"[..])]),
        );
        for head in [
            sample(&environ),
            call(&environ, &ssl),
            Head::default(),
            Head {
                content_length: None,
                ..sample(&environ)
            },
        ] {
            let mut bytes = Vec::new();
            head.encode(&mut bytes);
            assert_eq!(Head::decode(&bytes).unwrap(), head);
        }
    }

    #[test]
    fn every_truncation_is_an_error_and_so_is_a_trailing_byte() {
        let (environ, ssl) = (
            PairList::from_iter(ENVIRON),
            PairList::from_iter([(&b"HTTPS"[..], &b"on"[..])]),
        );
        let mut bytes = Vec::new();
        for head in [sample(&environ), call(&environ, &ssl)] {
            bytes.clear();
            head.encode(&mut bytes);
            for cut in 0..bytes.len() {
                assert!(Head::decode(&bytes[..cut]).is_err(), "cut at {cut}");
            }
        }
        bytes.push(0);
        assert_eq!(Head::decode(&bytes), Err(WireError::Trailing { bytes: 1 }));
    }

    #[test]
    fn the_tries_can_be_counted_in_the_frame() {
        let environ = PairList::from_iter(ENVIRON);
        let mut frame = Vec::new();
        crate::frame::put_with(&mut frame, crate::frame::Kind::Head, |out| {
            sample(&environ).encode(out)
        });
        Head::count_tries(&mut frame, 3, 2);
        let expected = Head {
            connects: 3,
            restarts: 2,
            ..sample(&environ)
        };
        assert_eq!(Head::decode(&frame[HEADER_LEN..]).unwrap(), expected);
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = Vec::new();
        sample(&PairList::from_iter(ENVIRON)).encode(&mut bytes);
        bytes[0] = 99;
        assert_eq!(Head::decode(&bytes), Err(WireError::Version { theirs: 99 }));
    }
}
