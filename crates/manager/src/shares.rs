//! Processor time between users. What competes as a group counts once, however many processes it has; so users are groups as soon as workers of
//! two of them run, and have equal shares. Before that nobody is: a user alone competes with httpd only, and groups cost about a microsecond at each switch.

use rwsgi_os::OsError;
use rwsgi_os::cgroup::{self, Controller, Version};

use crate::groups::{Groups, user_of};
use crate::tree::Branch;

impl Groups {
    /// Users compete as such from now on, if there are several.
    pub(crate) fn share_between_users(&mut self) -> Result<(), OsError> {
        let mut uids = self.applications.values().map(|a| a.uid);
        let first = uids.next();
        if self.shares || uids.all(|uid| Some(uid) == first) {
            return Ok(());
        }
        let names: Vec<Vec<u8>> = self.applications.values().map(|a| a.name.clone()).collect();
        self.share_processor_time(&names)?;
        self.shares = true;
        let all: Vec<u32> = self.applications.values().map(|a| a.uid).collect();
        all.into_iter().try_for_each(|uid| self.weigh(uid))
    }

    /// `cpu-priority` is about the processes of a group among themselves. That it goes on to count between groups, the share of an application is
    /// that of its nice value, and the share of a user that of the first of its applications.
    pub(crate) fn weigh(&mut self, uid: u32) -> Result<(), OsError> {
        if !self.shares {
            return Ok(());
        }
        let own = self.applications.values().filter(|a| a.uid == uid);
        let Some((first, user)) = own.map(|a| (a.nice, user_of(&a.name).to_vec())).min() else {
            return Ok(());
        };
        if self.users.entry(uid).or_default().nice != first {
            self.set_share(&user, first)?;
            self.users.entry(uid).or_default().nice = first;
        }
        let own = self
            .applications
            .iter()
            .filter(|(_, a)| a.uid == uid && a.watch.nice != a.nice);
        let ids: Vec<u64> = own.map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(application) = self.applications.get(&id) {
                self.set_share(&application.name, application.nice)?;
            }
            if let Some(application) = self.applications.get_mut(&id) {
                application.watch.nice = application.nice;
            }
        }
        Ok(())
    }

    fn set_share(&self, name: &[u8], nice: i8) -> Result<(), OsError> {
        let mut branches = self
            .branches
            .iter()
            .filter(|b| b.controllers.contains(&Controller::Cpu));
        branches.try_for_each(|b| cgroup::set_share(&b.group(name), b.version, nice))
    }

    /// The processes of an application compete for processor time as a group, from now on.
    pub(crate) fn share_processor_time(&mut self, names: &[Vec<u8>]) -> Result<(), OsError> {
        self.branches.iter_mut().for_each(Branch::add_processor_time);
        for name in names {
            for branch in &self.branches {
                let user = branch.group(user_of(name));
                if branch.version == Version::Two {
                    branch.pass_on(&user);
                } else if branch.on_demand {
                    cgroup::make(&user)?;
                    cgroup::make(&branch.group(name))?;
                    self.gather(branch, name);
                }
            }
        }
        Ok(())
    }

    /// All processes of an application enter its group in this hierarchy, too.
    fn gather(&self, branch: &Branch, name: &[u8]) {
        let group = branch.group(name);
        let known = self.branches.first().map(|first| first.group(name));
        let known = known.unwrap_or_default();
        // They may fork meanwhile.
        for _ in 0..8 {
            let there = cgroup::members(&group);
            // A worker on its way into its groups has the doors that were needed when it began.
            let own = self.applications.values().filter(|a| a.name == *name);
            let all = own
                .flat_map(|a| a.workers.iter().copied())
                .chain(cgroup::members(&known));
            let mut missing = all.filter(|pid| !there.contains(pid)).peekable();
            if missing.peek().is_none() {
                return;
            }
            // It may end meanwhile.
            missing.for_each(|pid| _ = cgroup::write(&group, "cgroup.procs", &pid.to_string()));
        }
    }
}
