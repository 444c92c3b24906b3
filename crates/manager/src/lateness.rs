//! What a request is told that nobody has taken in time: whether a worker is on its way for it.

use std::time::{Duration, Instant};

use rwsgi_wire::control::Answer;
use rwsgi_wire::response::AbortReason;

use crate::pools::Pool;
use crate::supervise::Manager;
use crate::workers::{State, Worker};

/// The bounds, in seconds, of when to come again: nobody knows how long a start takes, and after one half as long as it has taken it may be over.
const COME_AGAIN: (u64, u64) = (2, 30);

impl Manager {
    /// A request has waited for as long as it may. The pool is named where the fault is not that it starts; else when to come again.
    pub(crate) fn on_late(&mut self, group: &[u8], application_group: &[u8]) -> Answer {
        let jitter = self.jitter();
        let found = self.current_pool(group, application_group);
        let since = found
            .and_then(|id| self.pools.get(&id))
            .and_then(|pool| self.coming_since(pool));
        let Some(since) = since else {
            return Answer::Pool { path: Vec::new() };
        };
        let taken = since.elapsed();
        Answer::Refused {
            reason: AbortReason::Starting,
            retry_after: come_again(taken, jitter),
            text: format!(
                "no worker has loaded the application yet: the start has taken {:.1} s so far, and goes on",
                taken.as_secs_f32()
            )
            .into_bytes(),
        }
    }

    /// Since when the first of its workers starts, or waits for its turn to; `None` if one serves, or none is to come.
    fn coming_since(&self, pool: &Pool) -> Option<Instant> {
        let workers = || pool.workers.iter().filter_map(|id| self.workers.get(id));
        if workers().any(|worker| worker.serves() && !worker.is_loading_its_first()) {
            return None;
        }
        let is_template =
            |worker: &Worker| worker.is_template && worker.state != State::Ready && !worker.is_doomed();
        let starting = workers().filter(|worker| worker.is_live() || is_template(worker));
        let coming = starting.map(|worker| worker.since);
        coming.chain(pool.demand.queued_since()).min()
    }
}

impl Worker {
    /// It is ready, and every request to it waits for the first script.
    fn is_loading_its_first(&self) -> bool {
        self.state == State::Ready && self.loads.first().is_some()
    }
}

/// Up to a quarter is added, so that those who were turned away together do not come back together.
fn come_again(taken: Duration, jitter: u8) -> u32 {
    let (least, most) = COME_AGAIN;
    let seconds = (taken.as_secs() / 2).clamp(least, most);
    let more = (seconds + 3) * u64::from(jitter) / 256 / 4;
    u32::try_from(seconds + more).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // F25
    #[test]
    fn who_comes_too_early_is_told_to_come_a_little_later_each_time() {
        let after = |seconds, jitter| come_again(Duration::from_secs(seconds), jitter);
        assert_eq!(
            [0, 4, 10, 60, 300].map(|seconds| after(seconds, 0)),
            [2, 2, 5, 30, 30]
        );
        assert!((2..=3).contains(&after(0, 255)) && (30..=38).contains(&after(300, 255)));
    }
}
