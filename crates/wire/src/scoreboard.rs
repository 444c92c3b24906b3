//! httpd's scoreboard: what its children and their threads do.

use crate::WireError;
use crate::bytes::{Fields, Put};

/// One look at it. Times are microseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scoreboard {
    /// Slots for children.
    pub server_limit: u32,
    /// Slots for threads of each.
    pub thread_limit: u32,
    /// Which configuration runs; one more after each graceful restart.
    pub generation: u32,
    /// When httpd was started, or restarted last.
    pub restart_time: i64,
    /// When this was looked at.
    pub current_time: i64,
    /// Each slot.
    pub processes: Vec<Process>,
}

/// A slot for a child.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Its process id; 0 when there never was a child.
    pub pid: u32,
    /// The configuration that it serves.
    pub generation: u32,
    /// It takes no more connections.
    pub quiescing: bool,
    /// Each slot for a thread.
    pub workers: Vec<Worker>,
}

/// A slot for a thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worker {
    /// Its number in the child.
    pub thread: u32,
    /// The configuration that it serves.
    pub generation: u32,
    /// What it does, a letter as in mod_status.
    pub status: u8,
    /// Requests that it has served.
    pub access_count: u64,
    /// Bytes that it has sent.
    pub bytes_served: u64,
    /// When its last request began.
    pub start_time: i64,
    /// When its last request ended.
    pub stop_time: i64,
    /// When it was used last.
    pub last_used: i64,
    /// The client of its last request.
    pub client: Vec<u8>,
    /// The first line of it, cut.
    pub request: Vec<u8>,
    /// The server that it was for.
    pub vhost: Vec<u8>,
}

impl Scoreboard {
    /// As bytes, never none.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.server_limit, self.thread_limit, self.generation] {
            out.put_u32(number);
        }
        out.put_i64(self.restart_time);
        out.put_i64(self.current_time);
        out.put_u32(u32::try_from(self.processes.len()).unwrap_or(u32::MAX));
        for process in &self.processes {
            out.put_u32(process.pid);
            out.put_u32(process.generation);
            out.put_u8(process.quiescing.into());
            out.put_u32(u32::try_from(process.workers.len()).unwrap_or(u32::MAX));
            for worker in &process.workers {
                worker.put(&mut out);
            }
        }
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(bytes);
        let mut scoreboard = Self {
            server_limit: f.u32("server limit")?,
            thread_limit: f.u32("thread limit")?,
            generation: f.u32("generation")?,
            restart_time: f.i64("restart time")?,
            current_time: f.i64("current time")?,
            processes: Vec::new(),
        };
        for _ in 0..f.u32("processes")? {
            let mut process = Process {
                pid: f.u32("pid")?,
                generation: f.u32("generation")?,
                quiescing: f.bool("quiescing")?,
                workers: Vec::new(),
            };
            for _ in 0..f.u32("workers")? {
                process.workers.push(Worker::take(&mut f)?);
            }
            scoreboard.processes.push(process);
        }
        f.end()?;
        Ok(scoreboard)
    }
}

impl Worker {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.thread);
        out.put_u32(self.generation);
        out.put_u8(self.status);
        out.put_u64(self.access_count);
        out.put_u64(self.bytes_served);
        for time in [self.start_time, self.stop_time, self.last_used] {
            out.put_i64(time);
        }
        for text in [&self.client, &self.request, &self.vhost] {
            out.put_bytes(text);
        }
    }

    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            thread: f.u32("thread")?,
            generation: f.u32("generation")?,
            status: f.u8("status")?,
            access_count: f.u64("access count")?,
            bytes_served: f.u64("bytes served")?,
            start_time: f.i64("start time")?,
            stop_time: f.i64("stop time")?,
            last_used: f.i64("last used")?,
            client: f.bytes("client")?.into(),
            request: f.bytes("request")?.into(),
            vhost: f.bytes("vhost")?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scoreboard_survives_the_round_trip() {
        let worker = Worker {
            status: b'W',
            client: b"::1".to_vec(),
            ..Worker::default()
        };
        let scoreboard = Scoreboard {
            server_limit: 1,
            processes: vec![Process {
                pid: 7,
                workers: vec![worker],
                ..Process::default()
            }],
            ..Scoreboard::default()
        };
        let bytes = scoreboard.encode();
        assert_eq!(Scoreboard::decode(&bytes).unwrap(), scoreboard);
        assert!((0..bytes.len()).all(|cut| Scoreboard::decode(&bytes[..cut]).is_err()));
    }
}
