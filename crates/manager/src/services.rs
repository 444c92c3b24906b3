//! Services: pools whose workers take no requests. They run the scripts that they load, and are started again when those have ended.
//!
//! No more of them run than are asked for: where another worker would be replaced before it has ended, here the end comes first.

use std::time::Instant;

use rwsgi_wire::control::Answer;
use rwsgi_wire::response::AbortReason;

use crate::lines::escape;
use crate::pools::Pool;
use crate::supervise::{Manager, Token};

/// The answer to a child that asks for a service.
pub(crate) fn takes_no_requests(group: &[u8]) -> Answer {
    let text = format!("process group '{}' takes no requests (threads=0)", escape(group));
    Answer::Refused {
        reason: AbortReason::Refused,
        retry_after: 0,
        text: text.into_bytes(),
    }
}

impl Manager {
    pub(crate) fn is_service_group(&self, name: &[u8]) -> bool {
        let config = self.config.as_ref();
        config
            .and_then(|config| config.groups.get(name))
            .is_some_and(|(settings, _)| settings.group.is_service())
    }

    pub(crate) fn is_service(&self, pool: u64) -> bool {
        self.pools.get(&pool).is_some_and(|pool| pool.entrance.is_none())
    }

    /// What is to end runs still: so many of its own workers, or any that it succeeds.
    fn is_still_running(&self, id: u64) -> bool {
        let Some(pool) = self.pools.get(&id) else {
            return false;
        };
        let runs = |other: &Pool| !other.is_current() && other.is_named_as(pool) && !other.workers.is_empty();
        pool.workers.len() >= pool.settings.group.processes as usize || self.pools.values().any(runs)
    }

    /// Starts what is missing of a service, whose turn it always is: no request waits for another in its place.
    pub(crate) fn start_service(&mut self, id: u64) {
        while self.lacks(id, false) && !self.is_still_running(id) && self.start_worker(id, None) {}
    }

    /// A service is gone: the one that takes its place may start.
    pub(crate) fn succeed(&mut self, gone: &Pool) {
        let current = |(_, pool): &(&u64, &Pool)| pool.is_current() && pool.is_named_as(gone);
        let next = self.pools.iter().find(current).map(|(id, _)| *id);
        if let Some(next) = next {
            self.tend(next, false);
        }
    }

    /// The scripts of a service have returned: it runs again in a moment.
    pub(crate) fn service_ended(&mut self, id: u64) {
        let (now, jitter) = (Instant::now(), self.jitter());
        if let Some(pool) = self.pools.get_mut(&id) {
            let pause = pool.back_off.rests(now, jitter);
            self.timers.set(now + pause, Token::Pool(id));
        }
    }
}
