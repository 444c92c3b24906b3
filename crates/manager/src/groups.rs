//! Control groups of applications: `<user>/<application>` in the [tree](crate::tree). A worker enters its application's group before it becomes
//! the user, and what it starts stays in it, whatever it does. When an application's last worker has ended, so does everything else in the group.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rwsgi_os::cgroup::{self, Version};
use rwsgi_os::process::Pid;
use rwsgi_os::{OsError, OwnedFd};
use rwsgi_wire::quota::Quotas;
use rwsgi_wire::response::Level;

use crate::commit::Settings;
use crate::log::Target;
use crate::quotas::{POLL, Watch};
use crate::supervise::{Manager, Token};
use crate::tree::{self, Branch};

/// How soon it is seen whether the processes of an ended group have gone; longer each time.
const LOOK: Duration = Duration::from_millis(20);
const LOOK_LONGEST: Duration = Duration::from_secs(2);
/// How long the manager waits at its own end for processes that it has killed.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// All groups of this manager.
pub(crate) struct Groups {
    pub(crate) branches: Vec<Branch>,
    /// Why there are none.
    pub(crate) why_not: Option<String>,
    pub(crate) applications: HashMap<u64, Application>,
    /// What is known of limits on users with applications.
    pub(crate) users: HashMap<u32, Watch>,
    /// Users compete for processor time as such.
    pub(crate) shares: bool,
    /// Whose limits cannot be kept and why, as told last.
    pub(crate) told: Option<(String, String)>,
    /// When it is looked at what limits have done.
    watch: Option<Instant>,
    ending: Vec<Ending>,
    last_id: u64,
}

/// The group of an application that has, or is about to have, workers.
pub(crate) struct Application {
    pub(crate) uid: u32,
    pub(crate) process_group: Vec<u8>,
    pub(crate) application_group: Vec<u8>,
    /// `<user>/<application>`.
    pub(crate) name: Vec<u8>,
    /// Those in the group, or on their way into it.
    pub(crate) workers: HashSet<Pid>,
    pub(crate) quotas: Quotas,
    /// `cpu-priority` of its workers.
    pub(crate) nice: i8,
    pub(crate) watch: Watch,
    pub(crate) target: Target,
    /// All in it have been killed: no worker enters it any more.
    pub(crate) is_doomed: bool,
}

/// Groups that are to be emptied and removed, with those below.
struct Ending {
    groups: Vec<(Version, Vec<u8>)>,
    /// When it is looked at again, and how long after that.
    look: (Instant, Duration),
}

impl Groups {
    /// Finds out what is possible; afterwards what dead managers have left is being removed. `root`: workers become somebody else, so that
    /// they cannot write to what this process makes. `delegated`: see [`tree::delegated`].
    pub(crate) fn new(httpd: Pid, root: bool, delegated: &[u8]) -> Self {
        let made = match root {
            true => tree::make(httpd, delegated),
            false => Err("httpd was not started as root".into()),
        };
        let mut groups = Self {
            branches: Vec::new(),
            why_not: None,
            applications: HashMap::new(),
            users: HashMap::new(),
            shares: false,
            told: None,
            watch: None,
            ending: Vec::new(),
            last_id: 0,
        };
        match made {
            Ok((branches, left)) => {
                // With version 2 nothing but what is there before 5.14 is tried; that it is not there shows by itself.
                let left = left
                    .into_iter()
                    .map(|group| (branches.first().map_or(Version::One, |b| b.version), group));
                groups.end(left.collect());
                groups.branches = branches;
                groups.last_id = groups.highest_id();
            }
            Err(why) => groups.why_not = Some(why),
        }
        groups
    }

    /// The highest number that an earlier manager of this httpd has given: what it has left must not be taken for something new.
    fn highest_id(&self) -> u64 {
        let applications = self.branches.iter().flat_map(|branch| {
            let users = cgroup::children(&branch.root).into_iter();
            users.flat_map(|user| cgroup::children(&branch.group(&user)))
        });
        applications.filter_map(|name| id_of(&name)).max().unwrap_or(0)
    }

    /// What limits can be put on, in words, or why on nothing.
    pub(crate) fn describe(&self) -> Result<String, String> {
        if let Some(why) = &self.why_not {
            return Err(why.clone());
        }
        let places = self.branches.iter().map(|branch| {
            let controllers = branch.controllers.iter().map(|c| c.name()).collect::<Vec<_>>();
            let root = String::from_utf8_lossy(&branch.root);
            format!(
                "{root} ({})",
                if controllers.is_empty() {
                    "nothing".into()
                } else {
                    controllers.join(", ")
                }
            )
        });
        Ok(places.collect::<Vec<_>>().join(", "))
    }

    /// The group for one more worker of an application, made if it is the first; `None` where there are no groups.
    pub(crate) fn of(
        &mut self,
        settings: &Settings,
        application_group: &[u8],
        target: &Target,
    ) -> Result<Option<u64>, OsError> {
        if self.branches.is_empty() {
            return Ok(None);
        }
        let group = &settings.group;
        let mut there = self.applications.iter();
        let known = there.find(|(_, a)| a.is_of(settings, application_group) && !a.is_doomed);
        if let Some((id, _)) = known {
            return Ok(Some(*id));
        }
        self.last_id += 1;
        let id = self.last_id;
        let application = Application {
            uid: group.uid,
            process_group: group.name.clone(),
            application_group: application_group.to_vec(),
            name: [
                &user_name(group.uid, &group.user)[..],
                b"/",
                &application_name(id, &group.name)[..],
            ]
            .concat(),
            workers: HashSet::new(),
            quotas: settings.quotas,
            nice: group.bounds.priority,
            watch: Watch::default(),
            target: target.clone(),
            is_doomed: false,
        };
        let made = self.make(&application);
        self.applications.insert(id, application);
        match made.and_then(|()| self.apply(id)) {
            Ok(()) => Ok(Some(id)),
            Err(e) => {
                self.end_if_unused(id);
                Err(e)
            }
        }
    }

    /// The group that a worker of an earlier manager is in, and its limits, with which this one goes on; `None` for none.
    pub(crate) fn adopt(
        &mut self,
        settings: &Settings,
        application_group: &[u8],
        target: &Target,
        name: &[u8],
    ) -> Option<u64> {
        let id = id_of(name.rsplit(|b| *b == b'/').next()?)?;
        if self.branches.is_empty() || self.applications.contains_key(&id) {
            return (!self.branches.is_empty()).then_some(id);
        }
        let uid = settings.group.uid;
        if !self.users.contains_key(&uid) {
            let seen = Watch::since(self.events_of(user_of(name)));
            self.users.insert(uid, seen);
        }
        let application = Application {
            uid,
            process_group: settings.group.name.clone(),
            application_group: application_group.to_vec(),
            name: name.to_vec(),
            workers: HashSet::new(),
            quotas: settings.quotas,
            nice: settings.group.bounds.priority,
            // What was told already is not told again.
            watch: Watch::since(self.events_of(name)),
            target: target.clone(),
            is_doomed: false,
        };
        self.last_id = self.last_id.max(id);
        self.applications.insert(id, application);
        // What fails now is tried again with the configuration.
        let _ = self.apply(id);
        if self.shares {
            let _ = self.share_processor_time(&[name.to_vec()]);
        }
        Some(id)
    }

    /// The process is in the group that is called so; where it was in none, or there are none, nothing is asked of it.
    pub(crate) fn holds(&self, name: &[u8], process: Pid) -> bool {
        let Some(first) = self.branches.first().filter(|_| !name.is_empty()) else {
            return true;
        };
        cgroup::members(&first.group(name)).contains(&process)
    }

    /// `<user>/<application>`; empty for none.
    pub(crate) fn name_of(&self, id: Option<u64>) -> &[u8] {
        let application = id.and_then(|id| self.applications.get(&id));
        application.map_or(&[], |application| &application.name)
    }

    fn make(&self, application: &Application) -> Result<(), OsError> {
        for branch in self.branches.iter().filter(|b| !b.on_demand || self.shares) {
            let user = branch.group(user_of(&application.name));
            if let Err(e) = cgroup::make(&user) {
                // Somebody has removed the tree.
                cgroup::make(&branch.root).map_err(|_| e)?;
                branch.pass_on(&branch.root);
                cgroup::make(&user)?;
            }
            branch.pass_on(&user);
            cgroup::make(&branch.group(&application.name))?;
        }
        Ok(())
    }

    /// What a worker enters the group by.
    pub(crate) fn doors(&self, id: Option<u64>) -> Result<Vec<OwnedFd>, OsError> {
        let Some(application) = id.and_then(|id| self.applications.get(&id)) else {
            return Ok(Vec::new());
        };
        let quotas = &application.quotas;
        let limited = quotas.application.cpu > 0 || self.user_quota(application.uid).cpu > 0;
        let shares = self.shares || limited;
        let branches = self.branches.iter().filter(|b| !b.on_demand || shares);
        branches
            .map(|b| cgroup::door(&b.group(&application.name)))
            .collect()
    }

    /// A worker is in the group, or on its way.
    pub(crate) fn entered(&mut self, id: Option<u64>, worker: Pid) {
        if let Some(application) = id.and_then(|id| self.applications.get_mut(&id)) {
            application.workers.insert(worker);
        }
    }

    /// A worker has ended.
    pub(crate) fn left(&mut self, id: Option<u64>, worker: Pid) {
        let Some(id) = id else {
            return;
        };
        if let Some(application) = self.applications.get_mut(&id) {
            application.workers.remove(&worker);
        }
        self.end_if_unused(id);
    }

    /// Without workers an application has ended: so does what its workers have left behind, and the group. The next worker gets a new one.
    pub(crate) fn end_if_unused(&mut self, id: u64) {
        let Some(application) = self.applications.get(&id).filter(|a| a.workers.is_empty()) else {
            return;
        };
        let groups = self
            .branches
            .iter()
            .map(|b| (b.version, b.group(&application.name)))
            .collect();
        let uid = application.uid;
        self.applications.remove(&id);
        self.end(groups);
        // What remains of the user may be less urgent. If it cannot be told now, it is with the next application.
        let _ = self.weigh(uid);
    }

    fn end(&mut self, groups: Vec<(Version, Vec<u8>)>) {
        if groups.is_empty() {
            return;
        }
        let mut ending = Ending {
            groups,
            look: (Instant::now(), LOOK),
        };
        if !ending.is_over() {
            self.ending.push(ending);
        }
    }

    /// Ends what is in the tree and belongs to no application: an earlier manager of this httpd has left it.
    pub(crate) fn sweep(&mut self) {
        let mut left = Vec::new();
        for branch in &self.branches {
            for user in cgroup::children(&branch.root) {
                for application in cgroup::children(&branch.group(&user)) {
                    let name = [&user[..], b"/", &application[..]].concat();
                    if !self.applications.values().any(|a| a.name == name) {
                        left.push((branch.version, branch.group(&name)));
                    }
                }
            }
        }
        self.end(left);
    }

    /// Goes on with removing what has ended; answers when it is to be looked at again.
    fn tend(&mut self, now: Instant) -> Option<Instant> {
        self.ending
            .retain_mut(|ending| ending.look.0 > now || !ending.is_over());
        self.remove_users();
        self.ending.iter().map(|ending| ending.look.0).min()
    }

    /// Removes the groups of users that have no application any more. The kernel refuses the others.
    fn remove_users(&mut self) {
        for branch in &self.branches {
            for user in cgroup::children(&branch.root) {
                if self.applications.values().any(|a| user_of(&a.name) == user) {
                    continue;
                }
                let uid = id_of(&user).and_then(|id| u32::try_from(id).ok());
                if let (Ok(()), Some(uid)) = (cgroup::remove(&branch.group(&user)), uid) {
                    // A group that is made anew has none of the limits.
                    self.users.remove(&uid);
                }
            }
        }
    }

    /// The manager ends: nothing of the tree stays. Waits, shortly, for those that are killed.
    pub(crate) fn finish(&mut self) {
        let all = self
            .branches
            .iter()
            .map(|b| (b.version, b.root.clone()))
            .collect();
        self.applications.clear();
        self.ending.clear();
        self.end(all);
        let until = Instant::now() + LAST_WAIT;
        while !self.ending.iter_mut().all(Ending::is_over) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Ending {
    /// Kills the members and removes the groups; `true` when all are gone.
    fn is_over(&mut self) -> bool {
        // From the last to the first: the first, of all processes, is the one that says whom to kill.
        self.groups
            .retain(|(version, group)| !is_gone(group, *version, 3));
        let pause = (self.look.1 * 2).min(LOOK_LONGEST);
        self.look = (Instant::now() + self.look.1, pause);
        self.groups.is_empty()
    }
}

/// Kills the members of a group and of those below, so many levels deep, and removes them; `false`: not everything is gone yet.
fn is_gone(group: &[u8], version: Version, levels: usize) -> bool {
    if levels > 0 {
        for child in cgroup::children(group) {
            is_gone(&[group, b"/", &child[..]].concat(), version, levels - 1);
        }
    }
    if cgroup::remove(group).is_ok() {
        return true;
    }
    cgroup::kill(group, version);
    cgroup::remove(group).is_ok()
}

pub(crate) fn user_of(name: &[u8]) -> &[u8] {
    name.split(|b| *b == b'/').next().unwrap_or_default()
}

/// Begins with a number, so that it is no file of the kernel's.
fn user_name(uid: u32, login: &[u8]) -> Vec<u8> {
    [uid.to_string().as_bytes(), b"-", &plain(login)[..]].concat()
}

fn application_name(id: u64, process_group: &[u8]) -> Vec<u8> {
    [id.to_string().as_bytes(), b"-", &plain(process_group)[..]].concat()
}

/// The number that the name of a group begins with.
fn id_of(name: &[u8]) -> Option<u64> {
    let digits = name.split(|b| *b == b'-').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Fit for the name of a directory.
fn plain(name: &[u8]) -> Vec<u8> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let plain = name.iter().take(64).map(|b| if is_plain(*b) { *b } else { b'_' });
    plain.collect()
}

impl Manager {
    /// Says which groups there can be, and ends those that an earlier manager has left.
    pub(crate) fn begin_groups(&mut self) {
        match self.groups.describe() {
            Ok(places) => self
                .log
                .note(Level::Info, || format!("workers are in control groups below {places}")),
            Err(why) => self.log.note(Level::Notice, || {
                format!("no control groups: {why}; limits are those of each worker, and what leaves the session of a worker outlives it")
            }),
        }
        self.groups.sweep();
        self.tend_groups();
    }

    /// Goes on with the groups of ended applications, and looks what limits have done; comes back while there are some.
    pub(crate) fn tend_groups(&mut self) {
        let now = Instant::now();
        if let Some(at) = self.groups.tend(now) {
            self.timers.set(at, Token::Groups);
        }
        if self.groups.watch.is_some_and(|at| at <= now) {
            self.groups.watch = None;
            self.watch_quotas(now);
        }
        if self.groups.watch.is_none() && self.groups.has_quotas() {
            self.groups.watch = Some(now + POLL);
            self.timers.set(now + POLL, Token::Groups);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_directories_and_of_no_file_of_the_kernel() {
        assert_eq!(user_name(1000, b"ann"), b"1000-ann");
        assert_eq!(user_name(1000, b""), b"1000-");
        assert_eq!(application_name(7, b"../a b/c\n"), b"7-.._a_b_c_");
        assert_eq!(
            (id_of(b"7-.._a_b_c_"), id_of(b"x-7"), id_of(b"")),
            (Some(7), None, None)
        );
        assert_eq!(user_of(b"1000-ann/7-site"), b"1000-ann");
        assert_eq!(plain(&[b'x'; 500]).len(), 64);
    }
}
