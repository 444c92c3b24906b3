//! Limits of applications and users: put on their groups, changed while workers run, and told of when they bite.

use std::time::{Duration, Instant};

use rwsgi_os::OsError;
use rwsgi_os::cgroup::{self, Controller, Events, Limit};
use rwsgi_wire::quota::{Quota, Quotas};
use rwsgi_wire::response::Level;

use crate::codes;
use crate::commit::Settings;
use crate::groups::{Application, Groups, user_of};
use crate::lines::escape;
use crate::log::Target;
use crate::supervise::Manager;
use crate::tree::Branch;

/// How often it is looked whether a limit bites.
pub(crate) const POLL: Duration = Duration::from_secs(5);
/// After so long without biting it has stopped.
const CALM: Duration = Duration::from_secs(60);
/// Less waiting for processor time than this between two looks is nothing to tell of.
const NOTABLE: Duration = Duration::from_millis(500);
/// How long after a kill for want of memory other processes of the application that die have died of it, too.
const TOGETHER: Duration = Duration::from_secs(3);

/// What is known of the limits of a group.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// What the kernel has been told.
    applied: Quota,
    seen: Events,
    kills: Bout,
    refusals: Bout,
    waits: Bout,
    /// When and for which limit the kernel killed a member last.
    fatal: Option<(Instant, String)>,
    /// Memory could not be limited as far as it should be, and this was told.
    is_late: bool,
    /// The nice value that its share of processor time is that of.
    pub(crate) nice: i8,
}

/// A time in which a limit bites.
#[derive(Debug, Default)]
struct Bout {
    since: Option<Instant>,
    last: Option<Instant>,
    amount: u64,
}

/// What a look at a limit shows.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    None,
    /// It begins to bite.
    Begins,
    /// It has not bitten for a while, having bitten so much for so long.
    Ends(u64, Duration),
}

impl Watch {
    /// Of a group that has been limited for a while; what it has counted is known.
    pub(crate) fn since(seen: Events) -> Self {
        Self {
            seen,
            ..Self::default()
        }
    }
}

impl Bout {
    fn note(&mut self, grown: u64, now: Instant) -> Change {
        self.amount += grown;
        if grown > 0 {
            self.last = Some(now);
            if self.since.is_none() {
                self.since = Some(now);
                return Change::Begins;
            }
            return Change::None;
        }
        match (self.since, self.last) {
            (Some(since), Some(last)) if last + CALM <= now => {
                let amount = std::mem::take(&mut self.amount);
                *self = Self::default();
                Change::Ends(amount, last.saturating_duration_since(since))
            }
            _ => Change::None,
        }
    }
}

impl Groups {
    /// Somebody has limits that cannot be kept: says why.
    pub(crate) fn cannot_keep(&mut self, quotas: &Quotas) -> Option<String> {
        let all = quotas.application.stricter(quotas.user);
        if all.is_empty() {
            return None;
        }
        if let Some(why) = &self.why_not {
            return Some(why.clone());
        }
        if all.cpu > 0 {
            self.branches.iter_mut().for_each(|b| b.add_processor_time());
        }
        let needed = [
            (all.memory > 0, Controller::Memory),
            (all.processes > 0, Controller::Pids),
            (all.cpu > 0, Controller::Cpu),
        ];
        let is_there = |c: Controller| self.branches.iter().any(|b| b.controllers.contains(&c));
        let missing = needed.into_iter().find(|(needed, c)| *needed && !is_there(*c));
        missing.map(|(_, c)| {
            format!(
                "the controller {} is not there for httpd's control group",
                c.name()
            )
        })
    }

    /// The limits on a user: the strictest that come with one of the running applications.
    pub(crate) fn user_quota(&self, uid: u32) -> Quota {
        let own = self.applications.values().filter(|a| a.uid == uid);
        own.fold(Quota::default(), |all, a| all.stricter(a.quotas.user))
    }

    /// Puts the limits of an application and of its user into force, as far as they are not.
    pub(crate) fn apply(&mut self, id: u64) -> Result<(), OsError> {
        let Some(application) = self.applications.get(&id) else {
            return Ok(());
        };
        let uid = application.uid;
        self.share_between_users()?;
        let user = self.user_quota(uid);
        self.apply_to_user(uid, user)?;
        let own: Vec<u64> = self
            .applications
            .iter()
            .filter(|(_, a)| a.uid == uid)
            .map(|(id, _)| *id)
            .collect();
        for id in own {
            self.apply_to_application(id, user)?;
        }
        self.weigh(uid)
    }

    fn apply_to_user(&mut self, uid: u32, quota: Quota) -> Result<(), OsError> {
        let names: Vec<Vec<u8>> = self
            .applications
            .values()
            .filter(|a| a.uid == uid)
            .map(|a| a.name.clone())
            .collect();
        let Some(name) = names.first().map(|name| user_of(name).to_vec()) else {
            return Ok(());
        };
        let mut watch = self.users.remove(&uid).unwrap_or_default();
        let mut done = Ok(());
        if watch.applied.cpu != quota.cpu {
            done = self.share_processor_time(&names);
            // With version 1 no group below may have more.
            names.iter().for_each(|name| _ = self.set(name, Limit::Cpu(0)));
            for application in self.applications.values_mut().filter(|a| a.uid == uid) {
                application.watch.applied.cpu = 0;
            }
        }
        let done = done.and_then(|()| self.apply_to(&name, &mut watch, quota));
        self.users.insert(uid, watch);
        done
    }

    fn apply_to_application(&mut self, id: u64, user: Quota) -> Result<(), OsError> {
        let Some(application) = self.applications.get_mut(&id) else {
            return Ok(());
        };
        let mut quota = application.quotas.application;
        if quota.cpu > 0 && user.cpu > 0 {
            quota.cpu = quota.cpu.min(user.cpu);
        }
        let mut watch = std::mem::take(&mut application.watch);
        let name = application.name.clone();
        let mut done = Ok(());
        if quota.cpu > 0 || user.cpu > 0 {
            done = self.share_processor_time(std::slice::from_ref(&name));
        }
        let done = done.and_then(|()| self.apply_to(&name, &mut watch, quota));
        if let Some(application) = self.applications.get_mut(&id) {
            application.watch = watch;
        }
        done
    }

    /// What is not limited yet as it should be is. Memory that is in use and cannot be taken away is limited later.
    fn apply_to(&self, name: &[u8], watch: &mut Watch, quota: Quota) -> Result<(), OsError> {
        /// "Device or resource busy", the same number on every Linux.
        const EBUSY: i32 = 16;
        if watch.applied.processes != quota.processes {
            self.set(name, Limit::Processes(quota.processes))?;
            watch.applied.processes = quota.processes;
        }
        if watch.applied.cpu != quota.cpu {
            self.set(name, Limit::Cpu(quota.cpu))?;
            watch.applied.cpu = quota.cpu;
        }
        if watch.applied.memory != quota.memory {
            match self.set(name, Limit::Memory(quota.memory)) {
                Err(e) if e.errno == EBUSY => return Ok(()),
                other => other?,
            }
            watch.applied.memory = quota.memory;
        }
        watch.is_late = false;
        Ok(())
    }

    /// Sets a limit where its controller is.
    fn set(&self, name: &[u8], limit: Limit) -> Result<(), OsError> {
        let mut branches = self
            .branches
            .iter()
            .filter(|b| b.controllers.contains(&limit.controller()));
        branches.try_for_each(|b| match limit.set(&b.group(name), b.version) {
            // Nobody has needed the group in this hierarchy.
            Err(e) if e.is_not_found() && b.on_demand => Ok(()),
            other => other,
        })
    }

    /// What all workers and their children use; `None` where that is not known.
    pub(crate) fn memory(&self) -> Option<u64> {
        let counts = |b: &&Branch| b.controllers.contains(&Controller::Memory);
        let branch = self.branches.iter().find(counts)?;
        cgroup::memory(&branch.root, branch.version)
    }

    pub(crate) fn events_of(&self, name: &[u8]) -> Events {
        let mut all = Events::default();
        for branch in &self.branches {
            let some = cgroup::events(&branch.group(name), branch.version, &branch.controllers);
            all = Events {
                kills: all.kills + some.kills,
                full: all.full + some.full,
                refusals: all.refusals + some.refusals,
                throttled: all.throttled + some.throttled,
            };
        }
        all
    }

    /// Which limit on memory a process of this application has just been killed for: of whom, and how much.
    pub(crate) fn killed_for_memory(&mut self, id: Option<u64>) -> Option<String> {
        let id = id?;
        let (uid, name) = self.applications.get(&id).map(|a| (a.uid, a.name.clone()))?;
        let (user, limits) = (self.users.get(&uid)?, self.events_of(&name));
        let of_user = (
            user.applied.memory,
            self.events_of(user_of(&name)).full > user.seen.full,
        );
        let application = self.applications.get_mut(&id)?;
        let (watch, now) = (&mut application.watch, Instant::now());
        if limits.kills > watch.seen.kills && (watch.applied.memory > 0 || of_user.0 > 0) {
            let own =
                watch.applied.memory > 0 && (limits.full > watch.seen.full || !of_user.1 || of_user.0 == 0);
            let text = match own {
                true => format!(
                    "memory limit of the application ({})",
                    bytes(watch.applied.memory)
                ),
                false => format!("memory limit of the user ({})", bytes(of_user.0)),
            };
            watch.fatal = Some((now, text));
            watch.kills.amount += limits.kills - watch.seen.kills;
            watch.seen.kills = limits.kills;
            watch.seen.full = limits.full;
            // The kernel does so by itself with version 2.
            application.is_doomed = true;
            for branch in self.branches.iter().take(1) {
                cgroup::kill(&branch.group(&name), branch.version);
            }
        }
        let watch = &self.applications.get(&id)?.watch;
        let fatal = watch.fatal.as_ref().filter(|(at, _)| *at + TOGETHER > now);
        fatal.map(|(_, text)| text.clone())
    }

    /// What there is to tell of limits; empty most of the time.
    fn look(&mut self, now: Instant) -> Vec<Told> {
        let mut told = Vec::new();
        let ids: Vec<u64> = self.applications.keys().copied().collect();
        for id in ids {
            let Some(application) = self.applications.get(&id) else {
                continue;
            };
            let user = self
                .users
                .get(&application.uid)
                .map(|u| u.applied)
                .unwrap_or_default();
            let own = application.watch.applied;
            if own.is_empty() && user.is_empty() {
                continue;
            }
            let (title, target, name) = (
                application.title(),
                application.target.clone(),
                application.name.clone(),
            );
            let wanted = application.quotas.application;
            let before = application.watch.fatal.clone();
            if let Some(text) = self
                .killed_for_memory(Some(id))
                .filter(|_| self.fatal_of(id) != before)
            {
                told.push(Told::killed(&target, &title, &text));
            }
            let events = self.events_of(&name);
            let Some(application) = self.applications.get_mut(&id) else {
                continue;
            };
            let watch = &mut application.watch;
            if wanted.memory != watch.applied.memory && !std::mem::replace(&mut watch.is_late, true) {
                told.push(Told::late(&target, &title, wanted.memory));
            }
            // With version 1 it is the application that is refused something, whosever limit it is.
            let limits = own.stricter(user);
            watch.compare(events, limits, now, |change, what| {
                told.extend(Told::of(&target, &title, change, what))
            });
        }
        let users: Vec<u32> = self.users.keys().copied().collect();
        for uid in users {
            let Some(name) = self
                .applications
                .values()
                .find(|a| a.uid == uid)
                .map(|a| user_of(&a.name).to_vec())
            else {
                self.users.remove(&uid);
                continue;
            };
            let events = self.events_of(&name);
            let target = self
                .applications
                .values()
                .find(|a| a.uid == uid)
                .map(|a| a.target.clone());
            if let (Some(watch), Some(target)) = (self.users.get_mut(&uid), target) {
                let (limits, title) = (watch.applied, format!("user '{}'", escape(&name)));
                if !limits.is_empty() {
                    watch.compare(events, limits, now, |change, what| {
                        told.extend(Told::of(&target, &title, change, what))
                    });
                }
            }
        }
        told
    }

    fn fatal_of(&self, id: u64) -> Option<(Instant, String)> {
        self.applications.get(&id)?.watch.fatal.clone()
    }

    /// Somebody has limits, so there is something to look at.
    pub(crate) fn has_quotas(&self) -> bool {
        self.applications.values().any(|a| a.quotas != Quotas::default())
    }
}

/// Which limit bites.
enum What {
    Processes(u32),
    Cpu(u32),
}

impl Watch {
    /// Compares what the kernel has counted with what was seen before.
    fn compare(&mut self, events: Events, limits: Quota, now: Instant, mut tell: impl FnMut(Change, What)) {
        let refused = events.refusals.saturating_sub(self.seen.refusals);
        let waited = events.throttled.saturating_sub(self.seen.throttled);
        let waited = if waited >= NOTABLE { waited.as_millis() } else { 0 };
        self.seen = Events {
            // Looked at elsewhere.
            kills: self.seen.kills,
            ..events
        };
        if limits.processes > 0 {
            tell(
                self.refusals.note(refused, now),
                What::Processes(limits.processes),
            );
        }
        if limits.cpu > 0 {
            let waited = u64::try_from(waited).unwrap_or(u64::MAX);
            tell(self.waits.note(waited, now), What::Cpu(limits.cpu));
        }
    }
}

/// A line for a log.
struct Told(Target, Level, Option<&'static rwsgi_wire::code::Code>, String);

impl Told {
    fn killed(target: &Target, title: &str, limit: &str) -> Self {
        let text = format!("{title}: all processes are killed, {limit}");
        Self(target.clone(), Level::Warn, Some(&codes::MEMORY_REACHED), text)
    }

    fn late(target: &Target, title: &str, wanted: u64) -> Self {
        let text = format!(
            "{title} uses more memory than its new limit of {}: it will hold as soon as there is less",
            bytes(wanted)
        );
        Self(target.clone(), Level::Warn, Some(&codes::MEMORY_IN_USE), text)
    }

    fn of(target: &Target, title: &str, change: Change, what: What) -> Option<Self> {
        let line = |level, code, text| Some(Self(target.clone(), level, code, text));
        match (change, what) {
            (Change::None, _) => None,
            (Change::Begins, What::Processes(limit)) => line(
                Level::Warn,
                Some(&codes::PROCESSES_REACHED),
                format!("{title} is refused more processes and threads: the limit is {limit}"),
            ),
            (Change::Begins, What::Cpu(percent)) => line(
                Level::Warn,
                Some(&codes::CPU_REACHED),
                format!("{title} waits for processor time: the limit is {percent} % of one processor"),
            ),
            (Change::Ends(count, time), What::Processes(_)) => line(
                Level::Notice,
                None,
                format!(
                    "{title} was refused {count} processes and threads in {} s, and none for a minute",
                    time.as_secs()
                ),
            ),
            (Change::Ends(millis, time), What::Cpu(_)) => line(
                Level::Notice,
                None,
                format!(
                    "the processes of {title} waited {} s for processor time in {} s, and have not for a minute",
                    millis / 1000,
                    time.as_secs()
                ),
            ),
        }
    }
}

/// "64 MiB".
fn bytes(count: u64) -> String {
    match count % (1 << 20) {
        0 => format!("{} MiB", count >> 20),
        _ => format!("{count} bytes"),
    }
}

impl Application {
    /// It is that of this user, process group and application group.
    pub(crate) fn is_of(&self, settings: &Settings, application_group: &[u8]) -> bool {
        let group = &settings.group;
        (self.uid, &self.process_group[..], &self.application_group[..])
            == (group.uid, &group.name[..], application_group)
    }

    /// For messages, as of its pool.
    fn title(&self) -> String {
        let group = escape(&self.process_group);
        let application = escape(&self.application_group);
        format!("process group '{group}', application group '{application}'")
    }
}

impl Manager {
    /// After a new configuration: changed limits hold at once, for the workers there are.
    pub(crate) fn adjust_quotas(&mut self) {
        let Some(config) = &self.config else {
            return;
        };
        let missing = config.groups.values().filter_map(|(settings, _)| {
            let why = self.groups.cannot_keep(&settings.quotas)?;
            Some((escape(&settings.group.name), why))
        });
        // The same one each time, for it is told of once.
        let missing = missing.min();
        for pool in self.pools.values().filter(|pool| pool.is_current()) {
            let settings = &pool.settings;
            for application in self.groups.applications.values_mut() {
                if application.is_of(settings, &pool.application_group) {
                    application.quotas = settings.quotas;
                    application.nice = settings.group.bounds.priority;
                    application.target = pool.target.clone();
                }
            }
        }
        if let Some((name, why)) = missing.filter(|missing| self.groups.told.as_ref() != Some(missing)) {
            let text = format!(
                "the limits that process group '{name}' has for applications or users cannot be kept: {why}"
            );
            self.log.say(Level::Warn, codes::LIMITS_NOT_KEPT, &text);
            self.groups.told = Some((name, why));
        }
        self.apply_quotas();
    }

    fn apply_quotas(&mut self) {
        let ids: Vec<u64> = self.groups.applications.keys().copied().collect();
        for id in ids {
            if let Err(e) = self.groups.apply(id) {
                self.log.say(
                    Level::Error,
                    codes::QUOTA_FAILED,
                    &format!("a limit cannot be changed: {e}"),
                );
            }
        }
        self.tend_groups();
    }

    /// Tells what limits have done, and tries once more what could not be limited.
    pub(crate) fn watch_quotas(&mut self, now: Instant) {
        for Told(target, level, code, text) in self.groups.look(now) {
            match code {
                Some(code) => target.say(level, *code, &text),
                None => target.note(level, || text),
            }
        }
        let late = self
            .groups
            .applications
            .iter()
            .filter(|(_, a)| a.watch.is_late)
            .map(|(id, _)| *id);
        for id in late.collect::<Vec<_>>() {
            let _ = self.groups.apply(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_bites_is_told_of_when_it_begins_and_when_it_has_stopped() {
        let (mut bout, t) = (Bout::default(), Instant::now());
        let at = |seconds| t + Duration::from_secs(seconds);
        assert_eq!(bout.note(0, t), Change::None);
        assert_eq!(bout.note(3, at(5)), Change::Begins);
        assert_eq!(bout.note(4, at(30)), Change::None);
        assert_eq!(bout.note(0, at(89)), Change::None);
        assert_eq!(bout.note(0, at(90)), Change::Ends(7, Duration::from_secs(25)));
        assert_eq!(bout.note(0, at(500)), Change::None);
        assert_eq!(bout.note(1, at(501)), Change::Begins);
    }

    #[test]
    fn memory_is_told_in_the_unit_it_is_written_in() {
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(70_000_000), "70000000 bytes");
    }
}
