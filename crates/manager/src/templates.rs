//! Templates: workers that have loaded an application, serve nobody, and fork those that do (`preload=On`).
//!
//! A forked worker is a child of the manager, which adopts orphans. Which process it is, is not believed from a message: the kernel says
//! so with the first one, and it must be a child. It has a connection of its own from then on, and rights like every worker.

use std::time::{Duration, Instant};

use rwsgi_os::process::{self, Pid};
use rwsgi_os::socket::{self, Credentials};
use rwsgi_os::{AsFd, OsError, OwnedFd, message};
use rwsgi_wire::control::{FromWorker, ToWorker};
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::limits::CONTROL_MAX;
use rwsgi_wire::response::Level;

use crate::codes;
use crate::launch::{Channels, Ends};
use crate::lines::escape;
use crate::pools::Pool;
use crate::renewals::Renewal;
use crate::supervise::{Manager, Token};
use crate::workers::Person;

/// So long a pool goes without a template after one has failed.
const WITHOUT: Duration = Duration::from_secs(60);
/// How long a template may take to fork. Functions of the application run before.
const FORK_LIMIT: Duration = Duration::from_secs(10);
/// Most scripts that are remembered for a template because requests were for them.
const ASKED_MAX: usize = 4;
/// The longest path of those, bytes.
const PATH_MAX: usize = 4096;

/// The template of a pool.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    /// It loads what it must.
    coming: Option<u64>,
    /// It forks.
    there: Option<u64>,
    /// Until then workers start each by itself.
    without: Option<Instant>,
    /// Why, as last told in the log.
    told: Option<String>,
    /// Since when no worker runs and none is needed.
    unneeded: Option<Instant>,
    /// Scripts that requests were for before there was one.
    pub(crate) asked: Vec<Vec<u8>>,
}

impl Templates {
    /// Workers of the pool start when it is there.
    pub(crate) fn is_awaited(&self) -> bool {
        self.coming.is_some() && self.there.is_none()
    }

    /// That worker has ended, if it was one of these.
    pub(crate) fn forget(&mut self, id: u64) {
        for held in [&mut self.coming, &mut self.there] {
            *held = held.filter(|held| *held != id);
        }
    }

    /// It is coming, having been started.
    pub(crate) fn begins(&mut self, id: u64) {
        self.coming = Some(id);
    }
}

/// How a worker is started.
pub(crate) enum Way {
    /// By itself.
    Alone,
    /// After a template, which is to be started.
    Template,
    /// By this template.
    From(u64),
}

/// A worker that a template has been told to fork.
pub(crate) struct Unborn {
    pub(crate) pool: u64,
    template: u64,
    control: OwnedFd,
    output: OwnedFd,
    pub(crate) renewal: Option<Renewal>,
    until: Instant,
}

impl Pool {
    /// How its next worker starts.
    pub(crate) fn way_to_start(&self, renewal: Option<&Renewal>) -> Way {
        let Templates {
            coming,
            there,
            without,
            ..
        } = &self.templates;
        if let (Some(template), None) = (there, renewal) {
            return Way::From(*template);
        }
        let knows_scripts = renewal.is_some() || !self.scripts_in_advance(None, true).is_empty();
        let may = renewal.is_some() || without.is_none_or(|until| until <= Instant::now());
        match self.settings.group.template && knows_scripts && may && coming.is_none() {
            true => Way::Template,
            false => Way::Alone,
        }
    }
}

impl Manager {
    /// A request is on its way that is for this script.
    pub(crate) fn note_script(&mut self, group: &[u8], application_group: &[u8], script: Vec<u8>) {
        let Some(id) = self.current_pool(group, application_group) else {
            return;
        };
        let pool = self.pools.get_mut(&id);
        let Some(pool) = pool.filter(|pool| pool.settings.group.template) else {
            return;
        };
        let Templates { asked, there, .. } = &mut pool.templates;
        let is_news = there.is_none() && asked.len() < ASKED_MAX && !asked.contains(&script);
        if is_news && !script.is_empty() && script.len() <= PATH_MAX {
            asked.push(script);
            self.keep_pool(id);
        }
    }

    /// A template has loaded everything: it takes the place of the one before.
    pub(crate) fn on_preloaded(&mut self, id: u64, pool_id: u64, renewal: Option<Renewal>) {
        let Some(pool) = self.pools.get_mut(&pool_id) else {
            return;
        };
        let templates = &mut pool.templates;
        templates.coming = None;
        (templates.without, templates.told) = (None, None);
        if let Some(before) = templates.there.replace(id) {
            self.drain(before, LeaveReason::ScriptReload);
        }
        match renewal {
            Some(renewal) => {
                let version = renewal.version.clone();
                if !self.order(id, pool_id, Some(renewal)) {
                    self.not_renewed(pool_id, &version, "no worker could be started for it");
                }
            }
            None => self.tend(pool_id, false),
        }
    }

    /// A template has loaded everything, but cannot fork.
    pub(crate) fn on_cannot_fork(&mut self, id: u64, pool_id: u64, renewal: Option<Renewal>, why: &[u8]) {
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.templates.forget(id);
        }
        self.without_template(pool_id, &escape(why));
        if let Some(renewal) = renewal {
            self.renew_alone(pool_id, renewal);
        }
    }

    fn renew_alone(&mut self, pool_id: u64, renewal: Renewal) {
        let version = renewal.version.clone();
        if !self.start_alone(pool_id, Some(renewal), false) {
            self.not_renewed(pool_id, &version, "no worker could be started for it");
        }
    }

    /// Workers of a pool start each by itself for a while.
    pub(crate) fn without_template(&mut self, pool_id: u64, why: &str) {
        let Some(pool) = self.pools.get_mut(&pool_id) else {
            return;
        };
        pool.templates.without = Some(Instant::now() + WITHOUT);
        if pool.templates.told.as_deref() != Some(why) {
            let text = format!(
                "{} has no template: {why}; its workers start each by itself",
                pool.title()
            );
            pool.target.say(Level::Warn, codes::NO_TEMPLATE, &text);
            pool.templates.told = Some(why.to_owned());
        }
        self.tend(pool_id, false);
    }

    /// Tells a template to fork a worker; `false` if no worker could be started at all.
    pub(crate) fn order(&mut self, template: u64, pool_id: u64, renewal: Option<Renewal>) -> bool {
        let Channels { control, output } = match self.ask_to_fork(template, pool_id) {
            Ok(ours) => ours,
            Err(e) => {
                self.dismiss(template, pool_id);
                self.without_template(pool_id, &format!("it cannot be told to fork ({e})"));
                return self.start_alone(pool_id, renewal, false);
            }
        };
        let id = self.fresh_id();
        let until = Instant::now() + FORK_LIMIT;
        // A descriptor that cannot be watched leaves a worker that is given up in time.
        let _ = self.watch(&control, Token::Worker(id));
        self.timers.set(until, Token::Worker(id));
        self.unborn.insert(
            id,
            Unborn {
                pool: pool_id,
                template,
                control,
                output,
                renewal,
                until,
            },
        );
        true
    }

    fn ask_to_fork(&self, template: u64, pool_id: u64) -> Result<Channels, OsError> {
        let (Some(pool), Some(template)) = (self.pools.get(&pool_id), self.workers.get(&template)) else {
            return Err(OsError::new("sendmsg", "a template that has ended", 3));
        };
        let (ours, theirs) = Channels::make()?;
        socket::pass_credentials(&ours.control)?;
        let start = self.start_of(pool, None, false, true);
        message::send(&ours.control, &ToWorker::Start(Box::new(start)).encode())?;
        let descriptors = [theirs.control.as_fd(), theirs.output.as_fd()];
        message::send_descriptors(template.control(), &ToWorker::Fork.encode(), &descriptors)?;
        Ok(ours)
    }

    /// What is said on the control socket of a worker that is not known yet.
    pub(crate) fn on_unborn(&mut self, id: u64) {
        let Some(unborn) = self.unborn.get(&id) else {
            return;
        };
        let mut buffer = vec![0; CONTROL_MAX];
        let said = match message::receive_packet(&unborn.control, &mut buffer) {
            Err(e) if e.is_would_block() => return,
            Ok(got) if !got.truncated && got.fds.is_empty() => {
                let said = FromWorker::decode(buffer.get(..got.len).unwrap_or_default());
                said.ok().zip(got.sender)
            }
            _ => None,
        };
        match said {
            Some((FromWorker::Born, sender)) if self.may_be_born(unborn, sender) => {
                self.is_born(id, Pid(sender.pid));
            }
            Some((FromWorker::CannotServe(why), _)) => self.is_not_forked(id, &escape(&why)),
            _ => self.is_lost(id, "a worker that it was to fork did not begin"),
        }
    }

    /// It is of the right user, a child, and none that is known.
    fn may_be_born(&self, unborn: &Unborn, sender: Credentials) -> bool {
        let uid = self.pools.get(&unborn.pool).map(|pool| pool.settings.group.uid);
        let pid = Pid(sender.pid);
        uid == Some(sender.uid) && !self.by_pid.contains_key(&pid) && process::is_child(pid)
    }

    fn is_born(&mut self, id: u64, pid: Pid) {
        let Some(unborn) = self.unborn.remove(&id) else {
            return;
        };
        let Some(pool) = self.pools.get(&unborn.pool) else {
            return;
        };
        let template = self.workers.get(&unborn.template);
        let cgroup = template.and_then(|template| template.cgroup);
        let scripts = template.map(|template| template.loads.scripts());
        let template = template.map_or(Pid(0), |template| template.pid);
        pool.target.note(Level::Info, || {
            format!(
                "worker {pid} starts for {}, forked by template {template}",
                pool.title()
            )
        });
        let Ok(person) = Person::own(pid) else {
            return;
        };
        let ends = Ends {
            person,
            cgroup,
            control: unborn.control,
            output: unborn.output,
            status: None,
        };
        self.take_in(id, unborn.pool, ends, unborn.renewal, false);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.loads.has(scripts.unwrap_or_default());
        }
        // It may have said more.
        self.on_worker(id);
    }

    /// The template lives, but the system has no process for a worker.
    fn is_not_forked(&mut self, id: u64, why: &str) {
        let Some(unborn) = self.unborn.remove(&id) else {
            return;
        };
        if let Some(renewal) = unborn.renewal {
            return self.not_renewed(unborn.pool, &renewal.version, why);
        }
        if let Some(pool) = self.pools.get(&unborn.pool) {
            let text = format!("{}: a worker cannot be forked: {why}", pool.title());
            pool.target.say(Level::Error, codes::NOT_FORKED, &text);
        }
        self.back_off(unborn.pool, &format!("a worker cannot be forked: {why}"));
    }

    /// No worker came of it: the template is no good.
    fn is_lost(&mut self, id: u64, why: &str) {
        let Some(unborn) = self.unborn.remove(&id) else {
            return;
        };
        // It may have died, and its death is the reason. A failure to look is told by the loop, which looks again.
        let _ = self.reap_all();
        if self.workers.contains_key(&unborn.template) {
            self.dismiss(unborn.template, unborn.pool);
            self.without_template(unborn.pool, why);
        }
        match unborn.renewal {
            Some(renewal) => self.renew_alone(unborn.pool, renewal),
            None => self.tend(unborn.pool, false),
        }
    }

    /// Looks whether a worker has been born that is not known yet.
    pub(crate) fn hear_unborn(&mut self) {
        let ids: Vec<u64> = self.unborn.keys().copied().collect();
        for id in ids {
            self.on_unborn(id);
        }
    }

    pub(crate) fn wake_unborn(&mut self, id: u64) {
        let now = Instant::now();
        if self.unborn.get(&id).is_some_and(|unborn| unborn.until <= now) {
            self.is_lost(id, "it did not fork a worker within 10 s");
        }
    }

    /// Ends a template, from which nothing more is wanted.
    fn dismiss(&mut self, id: u64, pool_id: u64) {
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.templates.forget(id);
        }
        self.drain(id, LeaveReason::IdleTimeout);
    }

    /// Remembers since when a template has nothing to do. One of a user ends at once: the place of its worker may be another application's
    /// already, and a user with many applications is not to have a template of each.
    pub(crate) fn note_unneeded(&mut self, pool_id: u64) {
        let forks = self.unborn.values().any(|unborn| unborn.pool == pool_id);
        let Some(pool) = self.pools.get_mut(&pool_id).filter(|p| p.is_elastic()) else {
            return;
        };
        let Some(template) = pool.templates.there else {
            return;
        };
        let others = forks || pool.workers.iter().any(|worker| *worker != template);
        let idle = !others && pool.demand.wanted == 0;
        if idle && pool.settings.application.is_some() {
            return self.dismiss(template, pool_id);
        }
        let unneeded = idle && pool.settings.scale.idle_timeout > 0;
        if !unneeded {
            pool.templates.unneeded = None;
        } else if pool.templates.unneeded.is_none() {
            let (now, limit) = (Instant::now(), pool.settings.scale.idle_timeout);
            pool.templates.unneeded = Some(now);
            self.timers
                .set(now + Duration::from_secs(limit.into()), Token::Pool(pool_id));
        }
    }

    /// Ends a template that has had nothing to do for too long.
    pub(crate) fn end_unneeded(&mut self, pool_id: u64) {
        let Some(pool) = self.pools.get_mut(&pool_id) else {
            return;
        };
        let limit = Duration::from_secs(pool.settings.scale.idle_timeout.into());
        let over = pool
            .templates
            .unneeded
            .is_some_and(|since| since + limit <= Instant::now());
        if let (true, Some(template)) = (over, pool.templates.there) {
            pool.templates.unneeded = None;
            self.dismiss(template, pool_id);
        }
    }
}
