//! What workers died of, in words, and the memory of those that died a moment ago.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rwsgi_os::process::{End, Pid};
use rwsgi_os::signal::Signal;
use rwsgi_wire::control::DeathKind;
use rwsgi_wire::life::LeaveReason;

/// How many deaths are remembered.
const REMEMBERED: usize = 4096;
/// For how long: a child asks as soon as it finds its connection closed, and what a worker has left behind is ended with it.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// A cause of death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Which way.
    pub kind: DeathKind,
    /// A phrase that follows "the worker" or "it": "was killed by signal 11 (…)".
    pub text: String,
}

/// What the supervisor knows about a worker that has ended.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The supervisor killed it, for this reason ("did not end within shutdown-timeout").
    pub killed: Option<String>,
    /// It had announced to leave.
    pub leaving: Option<LeaveReason>,
    /// It had been asked to end.
    pub asked: bool,
    /// The limit on memory for which processes of its application have just been killed.
    pub limit: Option<String>,
    /// The kernel has killed for want of memory since it was started.
    pub memory: bool,
}

/// How a process ended, after its name.
pub fn words(end: End) -> String {
    match end {
        End::Exit(status) => format!("exited with status {status}"),
        End::Signal(n) => format!("was killed by {}", Signal(n).describe()),
    }
}

/// Puts together how a process ended and what is known about it.
pub fn cause(end: End, known: &Known) -> Cause {
    let cause = |kind, text: String| Cause { kind, text };
    if let Some(why) = &known.killed {
        return cause(
            DeathKind::TimeLimit,
            format!("was killed by the manager because it {why}"),
        );
    }
    let planned = known.asked || known.leaving.is_some();
    match end {
        End::Exit(_) if known.leaving.is_some_and(LeaveReason::is_time_limit) => {
            let words = known.leaving.map_or("", LeaveReason::words);
            cause(DeathKind::TimeLimit, format!("ended because {words}"))
        }
        End::Signal(9 | 24) if known.leaving == Some(LeaveReason::CpuTimeLimit) => cause(
            DeathKind::TimeLimit,
            "was killed by the kernel because it used more processor time than cpu-time-limit".to_owned(),
        ),
        End::Exit(_) if known.leaving.is_some_and(LeaveReason::is_own_end) => {
            let words = known.leaving.map_or("", LeaveReason::words);
            cause(DeathKind::Asked, format!("ended because {words}"))
        }
        End::Exit(_) if planned => cause(DeathKind::Asked, "ended as it was asked to".to_owned()),
        End::Signal(15) if known.asked => cause(DeathKind::Asked, "ended as it was asked to".to_owned()),
        End::Signal(9) if known.limit.is_some() => {
            let limit = known.limit.as_deref().unwrap_or_default();
            cause(DeathKind::Memory, format!("was killed, {limit}"))
        }
        End::Signal(9) if known.memory => cause(
            DeathKind::Memory,
            "was killed by the kernel because memory ran out".to_owned(),
        ),
        End::Exit(_) => cause(DeathKind::Exit, words(end)),
        End::Signal(_) => cause(DeathKind::Signal, words(end)),
    }
}

/// The last deaths by process id.
#[derive(Debug, Default)]
pub struct Deaths {
    by_pid: HashMap<Pid, (Instant, Cause)>,
    order: VecDeque<(Instant, Pid)>,
}

impl Deaths {
    /// Remembers one that became known now.
    pub fn record(&mut self, now: Instant, pid: Pid, cause: Cause) {
        self.by_pid.insert(pid, (now, cause));
        self.order.push_back((now, pid));
        while let Some((at, oldest)) = self.order.front().copied() {
            if self.order.len() <= REMEMBERED && now < at + REMEMBERED_FOR {
                break;
            }
            self.order.pop_front();
            // Another process may have had the number since.
            if self.by_pid.get(&oldest).is_some_and(|(its, _)| *its == at) {
                self.by_pid.remove(&oldest);
            }
        }
    }

    /// What the process died of, if it is remembered.
    pub fn of(&self, pid: Pid) -> Option<&Cause> {
        self.by_pid.get(&pid).map(|(_, cause)| cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_die_has_its_kind_and_its_words() {
        let known = Known::default();
        let c = cause(End::Signal(11), &known);
        assert_eq!(c.kind, DeathKind::Signal);
        assert_eq!(c.text, "was killed by signal 11 (SIGSEGV, invalid memory access)");
        assert_eq!(cause(End::Exit(3), &known).text, "exited with status 3");

        let memory = Known {
            memory: true,
            ..Known::default()
        };
        assert_eq!(cause(End::Signal(9), &memory).kind, DeathKind::Memory);
        assert_eq!(cause(End::Signal(11), &memory).kind, DeathKind::Signal);

        let limited = Known {
            limit: Some("memory limit of the application (64 MiB)".into()),
            ..Known::default()
        };
        let c = cause(End::Signal(9), &limited);
        assert_eq!(
            (c.kind, &c.text[..]),
            (
                DeathKind::Memory,
                "was killed, memory limit of the application (64 MiB)"
            )
        );

        let late = Known {
            killed: Some("did not end within shutdown-timeout".into()),
            asked: true,
            ..Known::default()
        };
        assert_eq!(cause(End::Signal(9), &late).kind, DeathKind::TimeLimit);

        let asked = Known {
            asked: true,
            ..Known::default()
        };
        assert_eq!(cause(End::Exit(0), &asked).kind, DeathKind::Asked);
        assert_eq!(cause(End::Signal(11), &asked).kind, DeathKind::Signal);

        let timeout = Known {
            leaving: Some(LeaveReason::RequestTimeout),
            ..Known::default()
        };
        assert_eq!(cause(End::Exit(0), &timeout).kind, DeathKind::TimeLimit);
    }

    #[test]
    fn the_oldest_death_is_forgotten_first() {
        let (mut deaths, t) = (Deaths::default(), Instant::now());
        let known = Known::default();
        for pid in 0..=REMEMBERED as i32 {
            deaths.record(t, Pid(pid), cause(End::Exit(1), &known));
        }
        assert!(deaths.of(Pid(0)).is_none() && deaths.of(Pid(1)).is_some());
    }

    // F57: thousands of deaths in a day are not thousands in memory.
    #[test]
    fn deaths_are_forgotten_when_nobody_asks_for_them_any_more() {
        let (mut deaths, t) = (Deaths::default(), Instant::now());
        let known = Known::default();
        for second in 0..1000 {
            let at = t + Duration::from_secs(second);
            deaths.record(at, Pid(second as i32 + 2), cause(End::Exit(1), &known));
            // Its number comes again and again.
            deaths.record(at, Pid(1), cause(End::Exit(second as i32), &known));
        }
        assert_eq!(
            deaths.of(Pid(1)).map(|c| &c.text[..]),
            Some("exited with status 999")
        );
        let seconds = REMEMBERED_FOR.as_secs() as usize;
        assert!(deaths.of(Pid(1000)).is_some() && deaths.of(Pid(2)).is_none());
        assert!(deaths.by_pid.len() <= seconds + 1, "{}", deaths.by_pid.len());
        assert!(deaths.order.len() <= 2 * seconds, "{}", deaths.order.len());
    }
}
