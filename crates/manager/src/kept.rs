//! What manager and keeper say to each other, one message per packet. To the keeper records are bytes without meaning, so that a newer
//! manager can be started by an older keeper: what is here stays as it is.

use rwsgi_os::process::{End, Pid};
use rwsgi_wire::WireError;
use rwsgi_wire::bytes::{Fields, Put};

/// Longest packet: a record holds at most one control message and little else.
pub const PACKET_MAX: usize = rwsgi_wire::limits::CONTROL_MAX + (16 << 10);

/// From the manager to the keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToKeeper {
    /// Keep this record with the descriptors that come along, instead of what was kept under this number.
    Keep {
        /// Chosen by the manager.
        id: u64,
        /// The process that it is about, or 0.
        pid: Pid,
        /// The record.
        record: Vec<u8>,
    },
    /// The record is another one; its descriptors are the same.
    Amend {
        /// As in `Keep`.
        id: u64,
        /// The record.
        record: Vec<u8>,
    },
    /// Nobody needs it any more.
    Forget {
        /// As in `Keep`.
        id: u64,
    },
}

impl ToKeeper {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Keep { id, pid, record } => {
                out.put_u8(1);
                out.put_u64(*id);
                out.put_i64(pid.0.into());
                out.put_bytes(record);
            }
            Self::Amend { id, record } => {
                out.put_u8(2);
                out.put_u64(*id);
                out.put_bytes(record);
            }
            Self::Forget { id } => {
                out.put_u8(3);
                out.put_u64(*id);
            }
        }
        out
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(packet);
        let kind = f.u8("message")?;
        let id = f.u64("id")?;
        let message = match kind {
            1 => Self::Keep {
                id,
                pid: pid(&mut f)?,
                record: f.bytes("record")?.into(),
            },
            2 => Self::Amend {
                id,
                record: f.bytes("record")?.into(),
            },
            3 => Self::Forget { id },
            found => return unknown(found),
        };
        f.end()?;
        Ok(message)
    }
}

/// From the keeper to the manager: to a new one all that is kept, then `All`; later what it cannot see itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromKeeper {
    /// A record; its descriptors come along.
    Kept {
        /// As in [`ToKeeper`].
        id: u64,
        /// How its process has ended, if it has.
        end: Option<End>,
        /// The record.
        record: Vec<u8>,
    },
    /// That was all.
    All {
        /// The manager before this one, and how it ended.
        before: Option<(Pid, End)>,
    },
    /// The process of a record, which is not the manager's own child, has ended.
    Ended {
        /// As in [`ToKeeper`].
        id: u64,
        /// How.
        end: End,
    },
}

impl FromKeeper {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Kept { id, end, record } => {
                out.put_u8(1);
                out.put_u64(*id);
                put_end(&mut out, *end);
                out.put_bytes(record);
            }
            Self::All { before } => {
                out.put_u8(2);
                out.put_i64(before.map_or(0, |(pid, _)| pid.0.into()));
                put_end(&mut out, before.map(|(_, end)| end));
            }
            Self::Ended { id, end } => {
                out.put_u8(3);
                out.put_u64(*id);
                put_end(&mut out, Some(*end));
            }
        }
        out
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(packet);
        let message = match f.u8("message")? {
            1 => Self::Kept {
                id: f.u64("id")?,
                end: end(&mut f)?,
                record: f.bytes("record")?.into(),
            },
            2 => {
                let pid = pid(&mut f)?;
                Self::All {
                    before: end(&mut f)?.map(|end| (pid, end)),
                }
            }
            3 => {
                let id = f.u64("id")?;
                let end = end(&mut f)?;
                Self::Ended {
                    id,
                    end: end.ok_or(WireError::Short { field: "end" })?,
                }
            }
            found => return unknown(found),
        };
        f.end()?;
        Ok(message)
    }
}

fn unknown<T>(found: u8) -> Result<T, WireError> {
    Err(WireError::Value {
        field: "message",
        found: found.into(),
    })
}

fn number(f: &mut Fields<'_>, field: &'static str) -> Result<i32, WireError> {
    let number = f.i64(field)?;
    i32::try_from(number).map_err(|_| WireError::Value {
        field,
        found: number.unsigned_abs(),
    })
}

fn pid(f: &mut Fields<'_>) -> Result<Pid, WireError> {
    number(f, "process").map(Pid)
}

fn put_end(out: &mut Vec<u8>, end: Option<End>) {
    let (kind, number) = match end {
        None => (0, 0),
        Some(End::Exit(status)) => (1, status),
        Some(End::Signal(signal)) => (2, signal),
    };
    out.put_u8(kind);
    out.put_i64(number.into());
}

fn end(f: &mut Fields<'_>) -> Result<Option<End>, WireError> {
    let kind = f.u8("end")?;
    let number = number(f, "end")?;
    match kind {
        0 => Ok(None),
        1 => Ok(Some(End::Exit(number))),
        2 => Ok(Some(End::Signal(number))),
        found => unknown(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_round_trip_and_no_part_of_one_is_taken_for_it() {
        let record = b"bytes".to_vec();
        for message in [
            ToKeeper::Keep {
                id: 1 << 40,
                pid: Pid(7),
                record: record.clone(),
            },
            ToKeeper::Amend {
                id: 2,
                record: record.clone(),
            },
            ToKeeper::Forget { id: 3 },
        ] {
            let bytes = message.encode();
            assert_eq!(ToKeeper::decode(&bytes).unwrap(), message);
            assert!((0..bytes.len()).all(|cut| ToKeeper::decode(&bytes[..cut]).is_err()));
        }
        for message in [
            FromKeeper::Kept {
                id: 1,
                end: Some(End::Signal(9)),
                record,
            },
            FromKeeper::All { before: None },
            FromKeeper::All {
                before: Some((Pid(9), End::Exit(1))),
            },
            FromKeeper::Ended {
                id: 4,
                end: End::Exit(3),
            },
        ] {
            let bytes = message.encode();
            assert_eq!(FromKeeper::decode(&bytes).unwrap(), message);
            assert!((0..bytes.len()).all(|cut| FromKeeper::decode(&bytes[..cut]).is_err()));
        }
    }
}
