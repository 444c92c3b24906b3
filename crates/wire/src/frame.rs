//! Frames: four bytes of payload length (little-endian), one byte of kind, three zero bytes, the payload.

use crate::WireError;
use crate::limits::{CHUNK_MAX, HEAD_MAX, RESPONSE_MAX, SCOREBOARD_MAX, TEXT_MAX};
use crate::response::ORIGIN_MAX;

/// Bytes before each payload.
pub const HEADER_LEN: usize = 8;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal, max $max:expr;)*) => {
        /// What a frame is. Unknown kinds end the exchange.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $value,)* }

        impl Kind {
            /// The kind with this number on the wire.
            pub fn from_wire(value: u8) -> Option<Self> {
                match value { $($value => Some(Self::$name),)* _ => None }
            }
            /// Largest payload of this kind, in bytes.
            pub fn max(self) -> usize {
                match self { $(Self::$name => $max,)* }
            }
        }
    };
}

kinds! {
    /// To the worker: the request, [`crate::head::Head`].
    Head = 1, max HEAD_MAX;
    /// To the worker: bytes of the request body, never empty, in answer to `Want`.
    Body = 2, max CHUNK_MAX;
    /// To the worker: the request body is complete.
    BodyEnd = 3, max 0;
    /// To the worker: the request body broke off, [`crate::response::BodyAbort`]. The application's read raises.
    BodyAbort = 4, max TEXT_MAX + 64;
    /// To the worker: the file has been sent as far as it ever will be, in answer to a `File` that asked for this.
    Sent = 5, max 0;
    /// To the worker: a [`crate::scoreboard::Scoreboard`] in answer to `Ask`, or nothing when the process group may not see it.
    Scoreboard = 6, max SCOREBOARD_MAX;
    /// To the worker: as `Body`, but the bytes lie in the memory that is shared, [`crate::region::Part`].
    SharedBody = 7, max 8;
    /// To the child: the worker runs this request from now on, [`crate::response::Taken`]. Said of the first request of a connection; of
    /// later ones the child knows by whom, and a head that the worker has read is taken unless it says [`Kind::Stale`].
    Taken = 16, max 64;
    /// To the child, instead of `Taken`: this worker's code is older than the script; nothing has run; repeat elsewhere.
    Stale = 17, max 0;
    /// To the child: send up to this many bytes of body, [`crate::response::Want`].
    Want = 18, max 64;
    /// To the child: status and headers, [`crate::response::Response`].
    Response = 19, max RESPONSE_MAX;
    /// To the child: bytes of the answer.
    Data = 20, max CHUNK_MAX;
    /// To the child: the answer is complete; the connection may carry the next `Head`.
    End = 21, max 0;
    /// To the child: no (complete) answer will come, [`crate::response::Abort`]; the worker closes.
    Abort = 22, max TEXT_MAX + 64;
    /// To the child: a line for the error log of this request, [`crate::response::Log`].
    Log = 23, max TEXT_MAX + ORIGIN_MAX + 64;
    /// To the child: the rest of the answer is part of a file, [`crate::response::File`], whose descriptor comes with the frame.
    File = 24, max 64;
    /// To the child: what a script said to a call, [`crate::call::Verdict`]; in place of `Response` and `Data`.
    Verdict = 25, max RESPONSE_MAX;
    /// To the child: what does httpd's scoreboard hold?
    Ask = 26, max 0;
    /// To the child: as `Data`, but the bytes lie in the memory that is shared, [`crate::region::Part`].
    SharedData = 27, max 8;
}

/// Appends one whole frame to `out`. `payload` must be within `kind.max()` (the receiver refuses more).
pub fn put(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    out.extend_from_slice(&header(kind, payload.len()));
    out.extend_from_slice(payload);
}

/// Appends one frame whose payload is written by `fill`.
pub fn put_with(out: &mut Vec<u8>, kind: Kind, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&header(kind, 0));
    fill(out);
    let len = out.len() - start - HEADER_LEN;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    }
}

/// The header of a frame, for senders that write the payload from where it lies.
pub fn header(kind: Kind, len: usize) -> [u8; HEADER_LEN] {
    let len = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    [len[0], len[1], len[2], len[3], kind as u8, 0, 0, 0]
}

/// One received frame; the payload borrows the decoder's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Bytes in, frames out. Receive into [`space`](Decoder::space), say how many with [`filled`](Decoder::filled), then take
/// frames with [`next`](Decoder::next) until it has none.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// A receive has filled all the room that there was.
    has_bulk: bool,
}

/// Room offered as long as it is enough: small exchanges are most, and each connection keeps its buffer.
const ROOM_FIRST: usize = 8 * 1024;
/// Room offered for one receive after that: a frame of the largest chunk with its header, and the small frames around it.
const ROOM: usize = CHUNK_MAX + 1024;

impl Decoder {
    /// An empty decoder; it allocates at the first `space`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the next received bytes go; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 && self.buffer.len() - self.end < self.room() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let wanted = self.wanted().max(self.room());
        if self.buffer.len() < self.end + wanted {
            self.buffer.resize(self.end + wanted, 0);
        } else if self.end == 0 && self.buffer.len() > 4 * ROOM {
            // One huge head must not keep its memory for the life of the connection.
            self.buffer.truncate(ROOM);
            self.buffer.shrink_to_fit();
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// `n` bytes were received into [`space`](Decoder::space).
    pub fn filled(&mut self, n: usize) {
        self.end = (self.end + n).min(self.buffer.len());
        // More may be there than there was room for.
        self.has_bulk |= self.end == self.buffer.len();
    }

    /// The next whole frame, if it is there. An error is final: the stream cannot be read on.
    #[allow(clippy::should_implement_trait)] // Not an iterator: what it returns borrows the decoder.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        let Some((kind, len)) = self.peek()? else {
            return Ok(None);
        };
        let from = self.start + HEADER_LEN;
        if self.end < from + len {
            return Ok(None);
        }
        self.start = from + len;
        let payload = self.buffer.get(from..from + len).unwrap_or_default();
        Ok(Some(Frame { kind, payload }))
    }

    /// The kind of the next frame, though it may not be whole yet.
    pub fn next_kind(&self) -> Result<Option<Kind>, WireError> {
        Ok(self.peek()?.map(|(kind, _)| kind))
    }

    /// All whole frames that are there, borrowing the decoder together. An error is final, also for the frames before it.
    pub fn batch(&mut self) -> Result<Vec<Frame<'_>>, WireError> {
        let mut places = Vec::new();
        while let Some((kind, len)) = self.peek()? {
            let from = self.start + HEADER_LEN;
            if self.end < from + len {
                break;
            }
            self.start = from + len;
            places.push((kind, from..from + len));
        }
        Ok(places
            .into_iter()
            .map(|(kind, at)| Frame {
                kind,
                payload: self.buffer.get(at).unwrap_or_default(),
            })
            .collect())
    }

    /// Whether no byte is waiting: true between exchanges.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn peek(&self) -> Result<Option<(Kind, usize)>, WireError> {
        let held = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some((header, _)) = held.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let [a, b, c, d, kind, x, y, z] = *header;
        if [x, y, z] != [0, 0, 0] {
            return Err(WireError::Value {
                field: "frame padding",
                found: u64::from(x | y | z),
            });
        }
        let kind = Kind::from_wire(kind).ok_or(WireError::Value {
            field: "frame kind",
            found: kind.into(),
        })?;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if len > kind.max() {
            return Err(WireError::TooLarge {
                field: "frame",
                size: len as u64,
                limit: kind.max() as u64,
            });
        }
        Ok(Some((kind, len)))
    }

    fn room(&self) -> usize {
        if self.has_bulk { ROOM } else { ROOM_FIRST }
    }

    /// How many bytes the frame under way still lacks.
    fn wanted(&self) -> usize {
        match self.peek() {
            Ok(Some((_, len))) => (HEADER_LEN + len).saturating_sub(self.end - self.start),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(decoder: &mut Decoder, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = decoder.space();
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            decoder.filled(n);
            bytes = &bytes[n..];
        }
    }

    #[test]
    fn who_says_little_takes_little_room() {
        let mut bytes = Vec::new();
        put(&mut bytes, Kind::Data, b"little");
        let mut decoder = Decoder::new();
        for _ in 0..1000 {
            feed(&mut decoder, &bytes);
            assert_eq!(decoder.next().unwrap().unwrap().payload, b"little");
        }
        assert_eq!(decoder.buffer.len(), ROOM_FIRST);
        let much = vec![7; CHUNK_MAX];
        bytes.clear();
        put(&mut bytes, Kind::Data, &much);
        feed(&mut decoder, &bytes);
        assert_eq!(decoder.next().unwrap().unwrap().payload, much);
        assert!(decoder.space().len() >= ROOM);
    }

    #[test]
    fn every_truncation_point_waits_for_more() {
        let mut bytes = Vec::new();
        put(&mut bytes, Kind::Data, b"hello");
        put_with(&mut bytes, Kind::Log, |out| out.extend_from_slice(b"xyz"));
        put(&mut bytes, Kind::End, b"");
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::new();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                feed(&mut decoder, part);
                while let Some(f) = decoder.next().expect("well-formed") {
                    seen.push((f.kind, f.payload.to_vec()));
                }
            }
            assert_eq!(
                seen,
                [
                    (Kind::Data, b"hello".to_vec()),
                    (Kind::Log, b"xyz".to_vec()),
                    (Kind::End, vec![])
                ],
                "cut at {cut}"
            );
            assert!(decoder.is_empty());
        }
    }

    #[test]
    fn a_batch_holds_every_whole_frame_and_leaves_the_rest() {
        let mut bytes = Vec::new();
        put(&mut bytes, Kind::Data, b"a");
        put(&mut bytes, Kind::Data, b"b");
        put(&mut bytes, Kind::End, b"");
        let mut decoder = Decoder::new();
        feed(&mut decoder, &bytes[..bytes.len() - 1]);
        let batch: Vec<_> = decoder
            .batch()
            .unwrap()
            .iter()
            .map(|f| f.payload.to_vec())
            .collect();
        assert_eq!(batch, [b"a".to_vec(), b"b".to_vec()]);
        feed(&mut decoder, &bytes[bytes.len() - 1..]);
        assert_eq!(
            decoder.batch().unwrap(),
            [Frame {
                kind: Kind::End,
                payload: b""
            }]
        );
        assert!(decoder.is_empty() && decoder.batch().unwrap().is_empty());
    }

    #[test]
    fn frames_longer_than_the_first_receive_arrive_whole() {
        let big = vec![7u8; 300_000];
        let mut bytes = Vec::new();
        put(&mut bytes, Kind::Head, &big);
        put(&mut bytes, Kind::BodyEnd, b"");
        let mut decoder = Decoder::new();
        for part in bytes.chunks(10_000) {
            feed(&mut decoder, part);
            if decoder
                .peek()
                .unwrap()
                .is_some_and(|(_, n)| decoder.end - decoder.start >= n + HEADER_LEN)
            {
                break;
            }
        }
        let frame = decoder.next().unwrap().expect("the head");
        assert_eq!(frame.payload, &big[..]);
    }

    #[test]
    fn refuses_unknown_kinds_oversize_and_dirty_padding() {
        for bad in [
            [0, 0, 0, 0, 99, 0, 0, 0],
            [1, 0, 0, 0, Kind::End as u8, 0, 0, 0],
            [1, 0, 1, 0, Kind::Data as u8, 0, 0, 0],
            [0, 0, 0, 0, Kind::End as u8, 0, 1, 0],
        ] {
            let mut decoder = Decoder::new();
            feed(&mut decoder, &bad);
            assert!(decoder.next().is_err(), "{bad:?}");
        }
    }
}
