//! What went wrong lately, by process group, for administrators who ask: the same messages as in the error log, with worker and cause of death.

use std::collections::VecDeque;
use std::time::Instant;

use rwsgi_os::process::{self, Pid};
use rwsgi_wire::admin::WORDS_MAX;
use rwsgi_wire::control::DeathKind;
use rwsgi_wire::response::Level;

use crate::deaths::Cause;
use crate::notes;
use crate::supervise::Manager;
use crate::workers::Worker;

/// How many are remembered.
const REMEMBERED: usize = 1024;
/// How many of one process group, so that one which fails all the time leaves room for the others.
const OF_ONE_GROUP: usize = 16;

/// Something that went wrong.
#[derive(Debug, Clone)]
pub(crate) struct Incident {
    pub(crate) number: u64,
    pub(crate) at: Instant,
    pub(crate) group: Vec<u8>,
    /// Empty where it is about the user as a whole, too.
    pub(crate) application_group: Vec<u8>,
    /// The worker that died, and of what.
    pub(crate) death: Option<(Pid, DeathKind)>,
    pub(crate) code: u16,
    pub(crate) text: String,
}

/// The last ones, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Incidents {
    all: VecDeque<Incident>,
    last_number: u64,
}

impl Incidents {
    /// Remembers one. Its number is given here.
    pub(crate) fn record(&mut self, incident: Incident) {
        let is_same = |other: &Incident| other.group == incident.group;
        if self.all.iter().filter(|other| is_same(other)).count() >= OF_ONE_GROUP {
            let oldest = self.all.iter().position(is_same);
            oldest.and_then(|oldest| self.all.remove(oldest));
        }
        if self.all.len() >= REMEMBERED {
            self.all.pop_front();
        }
        self.last_number += 1;
        self.all.push_back(Incident {
            number: self.last_number,
            ..incident
        });
    }

    /// Those that came after the one of this number.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &Incident> {
        self.all.iter().filter(move |incident| incident.number > number)
    }
}

impl Manager {
    /// A message about the death of a worker goes to the log, to that of its user, and is remembered.
    pub(crate) fn died(&mut self, worker: &Worker, cause: &Cause, level: Level, code: u16, text: &str) {
        worker.target.coded(level, code, text);
        self.note(
            worker.pool,
            &notes::line(process::this(), &format!("RW{code:04}: {text}")),
        );
        self.remember(worker.pool, Some((worker.pid, cause.kind)), code, text);
    }

    /// A message about what a pool cannot do goes to the log, and is remembered.
    pub(crate) fn failed(&mut self, pool: u64, code: u16, text: &str) {
        if let Some(pool) = self.pools.get(&pool) {
            pool.target.coded(Level::Error, code, text);
        }
        self.remember(pool, None, code, text);
    }

    fn remember(&mut self, pool: u64, death: Option<(Pid, DeathKind)>, code: u16, text: &str) {
        let Some(pool) = self.pools.get(&pool) else {
            return;
        };
        let (group, application_group) = (pool.settings.group.name.clone(), pool.application_group.clone());
        self.remember_of(group, application_group, death, code, text);
    }

    /// Remembers a message about a process group that need not have a pool; the log has it.
    pub(crate) fn remember_of(
        &mut self,
        group: Vec<u8>,
        application_group: Vec<u8>,
        death: Option<(Pid, DeathKind)>,
        code: u16,
        text: &str,
    ) {
        self.incidents.record(Incident {
            number: 0,
            at: Instant::now(),
            group,
            application_group,
            death,
            code,
            text: cut(text).to_owned(),
        });
    }
}

/// As much of a text as is told.
pub(crate) fn cut(text: &str) -> &str {
    let ends = (0..=WORDS_MAX).rev();
    ends.filter_map(|end| text.get(..end)).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(group: &str, code: u16) -> Incident {
        Incident {
            number: 0,
            at: Instant::now(),
            group: group.into(),
            application_group: Vec::new(),
            death: None,
            code,
            text: String::new(),
        }
    }

    // F57
    #[test]
    fn one_group_that_fails_all_the_time_does_not_push_out_the_others() {
        let mut incidents = Incidents::default();
        incidents.record(incident("quiet", 1));
        for code in 0..5000 {
            incidents.record(incident("noisy", code));
        }
        let of = |group: &str| {
            let all = incidents.after(0).filter(|i| i.group == group.as_bytes());
            all.map(|i| i.code).collect::<Vec<_>>()
        };
        assert_eq!(of("quiet"), [1]);
        assert_eq!(of("noisy"), (4984..5000).collect::<Vec<_>>());
        for user in 0..5000 {
            incidents.record(incident(&format!("~user{user}"), 2));
        }
        assert_eq!(incidents.all.len(), REMEMBERED);
        let numbers: Vec<u64> = incidents.after(10_000).map(|i| i.number).collect();
        assert_eq!(numbers, [10_001]);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(cut("short"), "short");
        let long = format!("x{}", "é".repeat(WORDS_MAX));
        assert_eq!(cut(&long).len(), WORDS_MAX - 1);
    }
}
