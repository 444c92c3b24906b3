//! Memory in which large bodies are handed over, for two more copies through a socket are most of what they cost.
//!
//! Each side makes its own for a connection, its length sealed, writes there alone, and passes the other a descriptor: the child with a `Head` or a `Body`, for
//! request bodies, the worker with its first `SharedData`, for answers. A frame says which bytes are the next ones, [`Part`], so their order, and how a
//! body or an answer ends, are those of the frames. The child writes when it is asked for body (`Want`); the worker goes on behind what it has lent,
//! and begins anew when all of that has come back, which the child counts. Who has not been asked for anything for a while gives its memory back.

use crate::WireError;
use crate::bytes::{Fields, Put};

/// Most bytes that lie in either.
pub const ROOM: usize = 1 << 20;
/// Where the child, behind its own, counts the `SharedData` frames that it has done with (a number of four bytes). When that is as high as the worker's own
/// count, all that was lent has come back.
pub const RETURNED: usize = ROOM;
/// Bytes of the child's memory.
pub const BODY_LENGTH: usize = ROOM + 4096;
/// Bytes of the worker's.
pub const ANSWER_LENGTH: usize = ROOM;

/// Bytes that lie there, never none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// From where.
    pub from: u32,
    /// How many.
    pub length: u32,
}

impl Part {
    /// Appends the payload of a `SharedBody` or `SharedData` frame to `out`.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.put_u32(self.from);
        out.put_u32(self.length);
    }

    /// Reads such a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(payload);
        let part = Self {
            from: f.u32("part")?,
            length: f.u32("length of the part")?,
        };
        f.end()?;
        let end = u64::from(part.from) + u64::from(part.length);
        if part.length == 0 || end > ROOM as u64 {
            return Err(WireError::Value {
                field: "end of the part",
                found: end,
            });
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_within_the_memory_and_never_empty() {
        let decoded = |from, length| {
            let mut out = Vec::new();
            Part { from, length }.encode(&mut out);
            Part::decode(&out)
        };
        let room = ROOM as u32;
        for (from, length) in [(0, 1), (0, room), (room - 1, 1)] {
            assert_eq!(decoded(from, length), Ok(Part { from, length }));
        }
        for (from, length) in [(0, 0), (5, 0), (0, room + 1), (room, 1), (u32::MAX, u32::MAX)] {
            assert!(decoded(from, length).is_err(), "{from}+{length}");
        }
    }
}
