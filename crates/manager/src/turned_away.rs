//! Connections that no worker will serve: the manager takes them from the pool's socket, says why, and lets them go gently.

use std::time::{Duration, Instant};

use rwsgi_os::socket::{self, Side};
use rwsgi_os::{OwnedFd, message};
use rwsgi_wire::frame::{self, Kind};
use rwsgi_wire::response::{Abort, AbortReason};

use crate::supervise::{Manager, Token};

/// Most connections that are let go gently at once; further ones are closed at once, and their peer may see a reset.
const GENTLE_MAX: usize = 512;
/// How long a peer has to read its answer and close.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes read from one peer per event.
const GULP: usize = 64 << 10;

/// A connection that has its answer; what the peer still sends is read, for closing with unread bytes would destroy the answer.
pub(crate) struct TurnedAway {
    socket: OwnedFd,
    until: Instant,
}

impl Manager {
    /// Answers `socket` with an abort and waits for the peer to close.
    pub(crate) fn turn_away(&mut self, socket: OwnedFd, reason: AbortReason, retry_after: u32, text: &str) {
        let mut out = Vec::new();
        let abort = Abort {
            reason,
            retry_after,
            text: text.as_bytes(),
        };
        frame::put_with(&mut out, Kind::Abort, |out| abort.encode(out));
        let sent = message::try_send(&socket, &out).is_ok() && socket::shutdown(&socket, Side::Write).is_ok();
        if !sent || self.turned_away.len() >= GENTLE_MAX {
            return;
        }
        let id = self.fresh_id();
        let until = Instant::now() + PATIENCE;
        if self.watch(&socket, Token::TurnedAway(id)).is_ok() {
            self.timers.set(until, Token::TurnedAway(id));
            self.turned_away.insert(id, TurnedAway { socket, until });
        }
    }

    pub(crate) fn on_turned_away(&mut self, id: u64) {
        let Some(away) = self.turned_away.get(&id) else {
            return;
        };
        match message::try_receive(&away.socket, &mut vec![0; GULP]) {
            Ok(n) if n > 0 => {}
            Err(e) if e.is_would_block() => {}
            _ => {
                self.turned_away.remove(&id);
                self.timers.forget(Token::TurnedAway(id));
            }
        }
    }

    pub(crate) fn wake_turned_away(&mut self, id: u64) {
        let now = Instant::now();
        if self.turned_away.get(&id).is_some_and(|away| away.until <= now) {
            self.turned_away.remove(&id);
        }
    }
}
