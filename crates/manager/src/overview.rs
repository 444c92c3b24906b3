//! What administrators are told: pools, workers, process groups, what went wrong.

use std::time::{Duration, Instant};

use rwsgi_os::cgroup::Version;
use rwsgi_os::process;
use rwsgi_wire::admin::{
    Cgroup, GroupReport, Incident, PoolReport, PoolState, SCRIPTS_MAX, Server, WorkerReport, WorkerState,
};
use rwsgi_wire::control::Group;

use crate::commit::Settings;
use crate::incidents::cut;
use crate::place::Place;
use crate::pools::Pool;
use crate::supervise::Manager;
use crate::workers::{State, Worker};

impl Manager {
    pub(crate) fn server_report(&self) -> Server {
        let begin = self.config.as_ref().map(|config| &config.begin);
        Server {
            version: env!("CARGO_PKG_VERSION").into(),
            manager: process::this().0.unsigned_abs(),
            httpd: self.parent.0.unsigned_abs(),
            generation: begin.map_or(0, |begin| begin.generation),
            max_workers: begin.map_or(0, |begin| begin.max_workers),
            max_memory: begin.map_or(0, |begin| begin.max_memory),
        }
    }

    /// Process groups of the configuration whose names come after this one.
    pub(crate) fn group_reports(&self, after: &[u8]) -> impl Iterator<Item = GroupReport> {
        let config = self.config.iter().flat_map(|config| config.groups.values());
        let mut groups: Vec<&Group> = config
            .map(|(settings, _)| &settings.group)
            .filter(|group| &group.name[..] > after)
            .collect();
        groups.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        groups.into_iter().map(|group| GroupReport {
            name: group.name.clone(),
            user: group.user.clone(),
            uid: group.uid,
        })
    }

    pub(crate) fn pool_report(&self, id: u64) -> Option<PoolReport> {
        let pool = self.pools.get(&id)?;
        let group = &pool.settings.group;
        let now = Instant::now();
        let wait = pool.back_off.waiting(now);
        Some(PoolReport {
            id,
            group: group.name.clone(),
            application_group: pool.application_group.clone(),
            user: group.user.clone(),
            uid: group.uid,
            state: self.state_of(id, pool, now),
            wait: wait.map_or(0, |until| millis(until.saturating_duration_since(now))),
            why: pool.trouble.as_deref().map_or("", cut).into(),
            is_service: group.is_service(),
            directory: pool.settings.place().map(Place::path).unwrap_or_default(),
            scripts: self.scripts_of(pool),
        })
    }

    fn state_of(&self, id: u64, pool: &Pool, now: Instant) -> PoolState {
        let (live, _) = self.census(id);
        if !pool.is_current() {
            PoolState::Ending
        } else if self.has_serving(pool) {
            PoolState::Serving
        } else if live > 0 {
            PoolState::Starting
        } else if pool.back_off.waiting(now).is_some() {
            PoolState::BackingOff
        } else if pool.refused.is_some() {
            PoolState::Refused
        } else if pool.demand.is_queued() {
            PoolState::Queued
        } else {
            PoolState::Idle
        }
    }

    /// The script of a user's application; else what is loaded at start, and what workers have loaded.
    fn scripts_of(&self, pool: &Pool) -> Vec<Vec<u8>> {
        let mut scripts: Vec<Vec<u8>> = Vec::new();
        let mut add = |path: Vec<u8>| {
            if scripts.len() < SCRIPTS_MAX && !scripts.contains(&path) {
                scripts.push(path);
            }
        };
        if let Some(place) = pool.settings.place() {
            add(place.script_path());
        }
        let preload = pool.settings.group.preload.iter();
        let own = preload.filter(|p| p.application_group == pool.application_group);
        own.for_each(|p| add(p.script.clone()));
        let workers = pool.workers.iter().filter_map(|id| self.workers.get(id));
        for script in workers.flat_map(|worker| worker.loads.scripts()) {
            add(script.path);
        }
        scripts
    }

    pub(crate) fn worker_report(&self, id: u64) -> Option<WorkerReport> {
        let worker = self.workers.get(&id)?;
        Some(WorkerReport {
            id,
            pool: worker.pool,
            pid: worker.pid.0.unsigned_abs(),
            start: worker.person.start,
            is_template: worker.is_template,
            state: worker_state(worker),
            since: ago(worker.since),
            idle: worker.idle.filter(|_| worker.serves()).map(ago),
            requests: worker.requests,
            why: why_it_leaves(worker).into(),
            cgroups: self.cgroups_of(worker),
        })
    }

    fn cgroups_of(&self, worker: &Worker) -> Vec<Cgroup> {
        let name = self.groups.name_of(worker.cgroup);
        let branches = self.groups.branches.iter().filter(|_| !name.is_empty());
        let groups = branches.map(|branch| Cgroup {
            is_unified: branch.version == Version::Two,
            path: branch.group(name),
        });
        groups.collect()
    }

    pub(crate) fn incident_reports(&self, after: u64) -> impl Iterator<Item = Incident> {
        self.incidents.after(after).map(|incident| Incident {
            number: incident.number,
            ago: ago(incident.at),
            group: incident.group.clone(),
            application_group: incident.application_group.clone(),
            pid: incident.death.map_or(0, |(pid, _)| pid.0.unsigned_abs()),
            death: incident.death.map(|(_, kind)| kind),
            code: incident.code,
            text: incident.text.clone().into(),
        })
    }

    pub(crate) fn settings_of_pool(&self, pool: u64) -> Option<Group> {
        self.pools.get(&pool).map(|pool| whole(&pool.settings))
    }

    pub(crate) fn settings_of_group(&self, name: &[u8]) -> Option<Group> {
        let (settings, _) = self.config.as_ref()?.groups.get(name)?;
        Some(whole(settings))
    }
}

/// With what is kept beside the group because a change of it replaces no worker.
fn whole(settings: &Settings) -> Group {
    Group {
        scale: settings.scale,
        quotas: settings.quotas,
        ..settings.group.clone()
    }
}

fn worker_state(worker: &Worker) -> WorkerState {
    match worker.state {
        _ if worker.is_doomed() => WorkerState::Leaving,
        State::Entering => WorkerState::Entering,
        State::Booting => WorkerState::Booting,
        State::Ready => WorkerState::Ready,
        State::Leaving => WorkerState::Leaving,
    }
}

fn why_it_leaves(worker: &Worker) -> &str {
    match (&worker.known.killed, worker.known.leaving) {
        (Some(why), _) => cut(why),
        (None, Some(reason)) => reason.words(),
        (None, None) => "",
    }
}

fn ago(at: Instant) -> u64 {
    millis(at.elapsed())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
