//! Pools: made when first asked for, kept while their settings stay, answered for while they cannot serve.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rwsgi_os::OwnedFd;
use rwsgi_os::file;
use rwsgi_os::socket::{self, Kind, Mode};
use rwsgi_wire::control::Answer;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::{AbortReason, Level};

use crate::asking::later;
use crate::back_off::BackOff;
use crate::codes;
use crate::commit::{Config, Settings};
use crate::demand::Demand;
use crate::log::Target;
use crate::place::Place;
use crate::records::Standing;
use crate::renewals::Renewals;
use crate::runtime_dir::RuntimeDir;
use crate::services::takes_no_requests;
use crate::starts::CROWDED_RETRY;
use crate::supervise::{Manager, Token};
use crate::templates::Templates;
use crate::undying;
use crate::workers::State;

/// Most pools at once.
const POOLS_MAX: usize = 4096;
/// Longest name of an application group, bytes.
const NAME_MAX: usize = 4096;
/// After a refusal, so long before a connection causes the next try.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// How long a pool's connections are left alone when descriptors have run out.
const LOOK_AWAY: Duration = Duration::from_millis(500);
/// How long a superseded pool goes on serving when nobody asks for the new one. Old children find that one too.
const SUPERSEDED_GRACE: Duration = Duration::from_secs(10);

/// Workers that serve one application group of one process group with the same settings.
pub(crate) struct Pool {
    pub(crate) settings: Rc<Settings>,
    pub(crate) application_group: Vec<u8>,
    pub(crate) target: Target,
    /// Where connections come; a service has none.
    pub(crate) entrance: Option<Entrance>,
    pub(crate) workers: HashSet<u64>,
    pub(crate) back_off: BackOff,
    pub(crate) renewals: Renewals,
    pub(crate) templates: Templates,
    pub(crate) demand: Demand,
    /// Why it cannot serve, as last told in the log.
    pub(crate) trouble: Option<String>,
    /// Since when the configuration is known to be wrong.
    pub(crate) refused: Option<Instant>,
    /// Workers of it that were killed and do not end.
    pub(crate) undying: u32,
    /// The manager takes its connections.
    watched: bool,
    phase: Phase,
}

/// The socket of a pool.
pub(crate) struct Entrance {
    directory: Rc<RuntimeDir>,
    path: Vec<u8>,
    pub(crate) listener: OwnedFd,
}

impl Entrance {
    pub(crate) fn new(directory: Rc<RuntimeDir>, path: Vec<u8>, listener: OwnedFd) -> Self {
        Self {
            directory,
            path,
            listener,
        }
    }

    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Nobody finds it any more.
    pub(crate) fn remove(&self) {
        self.directory.remove(&self.path);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Children of the configuration in force use it.
    Current,
    /// Only older children do, until then.
    Superseded(Instant),
    /// Its workers are ending.
    Retired,
}

impl Pool {
    /// Without workers. `asked`: a request is on its way.
    pub(crate) fn new(
        settings: &Rc<Settings>,
        application_group: &[u8],
        target: &Target,
        entrance: Option<Entrance>,
        asked: bool,
    ) -> Self {
        Self {
            settings: Rc::clone(settings),
            application_group: application_group.to_vec(),
            target: target.clone(),
            entrance,
            workers: HashSet::new(),
            back_off: BackOff::default(),
            renewals: Renewals::default(),
            templates: Templates::default(),
            demand: Demand::new(settings, asked),
            trouble: None,
            undying: 0,
            refused: None,
            watched: false,
            phase: Phase::Current,
        }
    }

    /// How it stands to the configuration, for its record.
    pub(crate) fn standing(&self) -> Standing {
        match self.phase {
            Phase::Current => Standing::Current,
            Phase::Superseded(_) => Standing::Superseded,
            Phase::Retired => Standing::Retired,
        }
    }

    /// As it stood to an earlier manager. One that is superseded is so for another while, until the answer.
    pub(crate) fn stands(&mut self, standing: Standing) -> Option<Instant> {
        let until = Instant::now() + SUPERSEDED_GRACE;
        self.phase = match standing {
            Standing::Current => Phase::Current,
            Standing::Superseded => Phase::Superseded(until),
            Standing::Retired => Phase::Retired,
        };
        (standing == Standing::Superseded).then_some(until)
    }

    /// "process group 'g', application group 'a'" for messages.
    pub(crate) fn title(&self) -> String {
        let group = crate::lines::escape(&self.settings.group.name);
        let application = crate::lines::escape(&self.application_group);
        format!("process group '{group}', application group '{application}'")
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.phase == Phase::Retired
    }

    pub(crate) fn is_current(&self) -> bool {
        self.phase == Phase::Current
    }

    /// It belongs to the same groups.
    pub(crate) fn is_named_as(&self, other: &Self) -> bool {
        self.settings.group.name == other.settings.group.name
            && self.application_group == other.application_group
    }

    /// It has these settings, and is found where `config` says.
    fn is_as_wanted(&self, settings: &Rc<Settings>, config: &Config) -> bool {
        let entrance = self.entrance.as_ref();
        let is_reachable = entrance.is_none_or(|e| Rc::ptr_eq(&e.directory, &config.directory));
        is_reachable && *settings == self.settings
    }
}

impl Manager {
    /// The answer to a child that asks for a pool; makes the pool if it is the first.
    pub(crate) fn pool_for(&mut self, group: &[u8], application_group: &[u8]) -> Answer {
        if self.ending {
            return later("httpd is stopping");
        }
        let found = self.current_pool(group, application_group);
        if let Some(answer) = found.and_then(|id| self.way_to(id)) {
            return answer;
        }
        if self.is_service_group(group) {
            return takes_no_requests(group);
        }
        match self.make_pool(group, application_group, true) {
            Ok(path) => Answer::Pool { path },
            Err(answer) => answer,
        }
    }

    /// The answer to who has asked for a pool that there is; `None` if it was spoiled and is gone now.
    fn way_to(&mut self, id: u64) -> Option<Answer> {
        let pool = self.pools.get(&id)?;
        let Some(entrance) = &pool.entrance else {
            return Some(takes_no_requests(&pool.settings.group.name));
        };
        if file::status_of_link(&entrance.path).is_ok_and(|s| s.is_socket()) {
            return Some(Answer::Pool {
                path: entrance.path.clone(),
            });
        }
        let text = format!(
            "the socket of {} has vanished: the pool is made anew",
            pool.title()
        );
        pool.target.say(Level::Warn, codes::SPOILED_POOL, &text);
        self.retire(id);
        None
    }

    /// The answer to a child that asks for an application below a base, for which these settings hold now.
    pub(crate) fn pool_of(&mut self, settings: &Rc<Settings>, target: &Target) -> Answer {
        if self.ending {
            return later("httpd is stopping");
        }
        let script = settings.place().map(Place::script_path).unwrap_or_default();
        if let Some(id) = self.current_pool(&settings.group.name, &script) {
            let (now, config) = (Instant::now(), self.config.as_ref());
            let Some(pool) = self.pools.get_mut(&id) else {
                return later("the pool is being made");
            };
            if config.is_some_and(|config| pool.is_as_wanted(settings, config)) {
                pool.settings = Rc::clone(settings);
                pool.demand.adjust(settings);
                if let Some(answer) = self.way_to(id) {
                    return answer;
                }
            } else {
                pool.phase = Phase::Superseded(now + SUPERSEDED_GRACE);
                self.timers.set(now + SUPERSEDED_GRACE, Token::Pool(id));
                self.keep_pool(id);
            }
        }
        match self.make_pool_of(settings, target, &script, true) {
            Ok(path) => Answer::Pool { path },
            Err(answer) => answer,
        }
    }

    pub(crate) fn current_pool(&self, group: &[u8], application_group: &[u8]) -> Option<u64> {
        let found = self.pools.iter().find(|(_, p)| {
            p.is_current() && p.settings.group.name == group && p.application_group == application_group
        });
        found.map(|(id, _)| *id)
    }

    /// Makes a pool; answers the path of its socket, which that of a service has not. `asked`: a request is on its way.
    fn make_pool(&mut self, group: &[u8], application_group: &[u8], asked: bool) -> Result<Vec<u8>, Answer> {
        let Some(config) = &self.config else {
            return Err(later("the manager has no configuration yet"));
        };
        let Some((settings, target)) = config.groups.get(group).cloned() else {
            return Err(Answer::Refused {
                reason: AbortReason::Refused,
                retry_after: 0,
                text: format!("there is no process group '{}'", crate::lines::escape(group)).into_bytes(),
            });
        };
        self.make_pool_of(&settings, &target, application_group, asked)
    }

    fn make_pool_of(
        &mut self,
        settings: &Rc<Settings>,
        target: &Target,
        application_group: &[u8],
        asked: bool,
    ) -> Result<Vec<u8>, Answer> {
        if self.pools.len() >= POOLS_MAX {
            self.put_one_away(&settings.group.name);
        }
        let Some(config) = &self.config else {
            return Err(later("the manager has no configuration yet"));
        };
        if self.pools.len() >= POOLS_MAX || application_group.len() > NAME_MAX {
            let text =
                "more application groups are in use than the manager keeps, or the name of one is too long";
            if self.may_tell_peer() {
                target.say(Level::Error, codes::TOO_MANY_POOLS, text);
            }
            return Err(later(text));
        }
        let entrance = match settings.group.is_service() {
            true => None,
            false => Some(config.entrance(settings, target)?),
        };
        let path = entrance.as_ref().map_or_else(Vec::new, |e| e.path.clone());
        let pool = Pool::new(settings, application_group, target, entrance, asked);
        let id = self.fresh_id();
        self.pools.insert(id, pool);
        self.keep_pool(id);
        self.tend(id, false);
        Ok(path)
    }

    /// After a new configuration: pools that are as before are kept, others are superseded, those to be started at once are made.
    pub(crate) fn adjust_pools(&mut self) {
        let now_hold: HashMap<u64, (Rc<Settings>, Target)> = self
            .pools
            .iter()
            .filter_map(|(id, pool)| Some((*id, self.settings_like(&pool.settings)?)))
            .collect();
        let Some(config) = &self.config else {
            return;
        };
        let now = Instant::now();
        let (mut superseded, mut kept) = (Vec::new(), Vec::new());
        for (id, pool) in self.pools.iter_mut().filter(|(_, p)| p.is_current()) {
            let settings = now_hold.get(id);
            match settings.filter(|(settings, _)| pool.is_as_wanted(settings, config)) {
                Some((settings, _)) => {
                    // Somebody may have put right what was wrong: the next connection tries at once.
                    pool.refused = pool.refused.map(|_| now - REFUSED_PAUSE);
                    pool.settings = Rc::clone(settings);
                    pool.demand.adjust(settings);
                    kept.push(*id);
                }
                None => {
                    // Nobody has to find another way than to a service, and two of it must not run at once.
                    let grace = match pool.entrance {
                        Some(_) => SUPERSEDED_GRACE,
                        None => Duration::ZERO,
                    };
                    pool.phase = Phase::Superseded(now + grace);
                    superseded.push((*id, now + grace));
                }
            }
        }
        // The error logs may have been opened anew (rotated): what still runs writes to those.
        for (id, pool) in &mut self.pools {
            let Some((_, target)) = now_hold.get(id) else {
                continue;
            };
            pool.target = target.clone();
            for worker in &pool.workers {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.target = target.clone();
                }
            }
        }
        let wanted: Vec<(Vec<u8>, Vec<u8>)> = config
            .groups
            .values()
            .filter(|(s, _)| Demand::new(s, false).wanted > 0)
            .flat_map(|(s, _)| {
                s.group
                    .preload
                    .iter()
                    .map(|p| (s.group.name.clone(), p.application_group.clone()))
            })
            .collect();
        for (id, at) in superseded {
            self.timers.set(at, Token::Pool(id));
            self.keep_pool(id);
        }
        for (group, application_group) in wanted {
            if self.current_pool(&group, &application_group).is_none() {
                // What failed is in the log, and is tried again when a request comes.
                let _ = self.make_pool(&group, &application_group, false);
            }
        }
        for id in kept {
            self.keep_pool(id);
            self.tend(id, false);
            self.wake_idle(id);
        }
    }

    /// What holds now for what had these settings.
    fn settings_like(&self, settings: &Settings) -> Option<(Rc<Settings>, Target)> {
        match &settings.application {
            Some(application) => self.resolve(application).ok(),
            None => self.config.as_ref()?.groups.get(&settings.group.name).cloned(),
        }
    }

    /// Has started what is missing, and takes the pool's connections while it has nobody else to take them. `demand`: a connection waits.
    pub(crate) fn tend(&mut self, id: u64, demand: bool) {
        let Some(pool) = self.pools.get_mut(&id).filter(|_| !self.ending) else {
            return;
        };
        if pool.phase == Phase::Retired {
            if pool.workers.is_empty() {
                self.remove_pool(id);
            }
            return;
        }
        if demand {
            pool.demand.wanted = pool.demand.wanted.max(1);
        }
        if self.is_service(id) {
            self.start_service(id);
        } else if self.lacks(id, demand) {
            self.want_start(id);
        }
        self.watch_while_empty(id);
        self.note_empty(id);
        self.note_unneeded(id);
    }

    /// Whether one more worker should be started, and may be.
    pub(crate) fn lacks(&self, id: u64, demand: bool) -> bool {
        let now = Instant::now();
        let (live, starting) = self.census(id);
        let Some(pool) = self.pools.get(&id).filter(|p| p.phase != Phase::Retired) else {
            return false;
        };
        let refused = pool
            .refused
            .is_some_and(|since| !demand || now < since + REFUSED_PAUSE);
        let doubtful = pool.refused.is_some() || pool.back_off.is_doubtful();
        let waits = pool.templates.is_awaited() || doubtful && starting > 0;
        let kept_out = live > 0 && pool.renewals.keeps_others_out(now);
        live < pool.demand.wanted
            && !refused
            && !pool.hangs()
            && !pool.demand.is_crowded(now)
            && pool.back_off.waiting(now).is_none()
            && !kept_out
            && !waits
    }

    /// Workers that serve or will, and how many of them are not ready yet.
    pub(crate) fn census(&self, id: u64) -> (usize, usize) {
        let Some(pool) = self.pools.get(&id) else {
            return (0, 0);
        };
        let states = pool.workers.iter().filter_map(|w| self.workers.get(w));
        let to_be_forked = self.to_be_forked(id);
        let (mut live, mut starting) = (to_be_forked, to_be_forked);
        for worker in states.filter(|w| w.is_live()) {
            match worker.state {
                State::Ready => live += 1,
                State::Entering | State::Booting => {
                    live += 1;
                    starting += 1;
                }
                State::Leaving => {}
            }
        }
        (live, starting)
    }

    /// Workers that a template has been told to fork. One at least comes after a template that is awaited.
    pub(crate) fn to_be_forked(&self, id: u64) -> usize {
        let unborn = self.unborn.values().filter(|unborn| unborn.pool == id).count();
        let pool = self.pools.get(&id);
        unborn + usize::from(pool.is_some_and(|pool| pool.templates.is_awaited()))
    }

    pub(crate) fn watch_while_empty(&mut self, id: u64) {
        let (live, _) = self.census(id);
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        // A rest is so short that connections wait for its end; and they wait for a worker whose turn to start will come.
        let wanted = live == 0
            && pool.phase != Phase::Retired
            && !pool.back_off.is_resting()
            && !pool.demand.is_queued();
        if wanted == pool.watched || pool.entrance.is_none() {
            return;
        }
        pool.watched = wanted;
        let Some(entrance) = self.pools.get(&id).and_then(|pool| pool.entrance.as_ref()) else {
            return;
        };
        // Both fail only if it is so already.
        let _ = if wanted {
            self.watch(&entrance.listener, Token::Pool(id))
        } else {
            self.epoll.remove(&entrance.listener)
        };
    }

    /// A connection waits and there is no worker for it.
    pub(crate) fn on_pool(&mut self, id: u64) {
        for _ in 0..32 {
            self.tend(id, true);
            let now = Instant::now();
            let Some(pool) = self.pools.get(&id).filter(|p| p.watched) else {
                return;
            };
            let Some(entrance) = &pool.entrance else {
                return;
            };
            let text = match &pool.trouble {
                _ if pool.demand.is_crowded(now) => self.crowd(id).to_owned(),
                _ if pool.hangs() => {
                    "its workers hang in the kernel, most likely on a file system that does not answer"
                        .to_owned()
                }
                Some(trouble) => trouble.clone(),
                None => "no worker is running".to_owned(),
            };
            let (reason, retry_after) = match pool.back_off.waiting(now) {
                None if pool.demand.is_crowded(now) => (AbortReason::Crowded, CROWDED_RETRY),
                Some(until) => {
                    let left = until
                        .saturating_duration_since(now)
                        .as_millis()
                        .div_ceil(1000)
                        .max(1);
                    (AbortReason::BackOff, u32::try_from(left).unwrap_or(u32::MAX))
                }
                None if pool.hangs() => (AbortReason::BackOff, undying::RETRY),
                None => (AbortReason::Refused, 0),
            };
            match socket::accept(&entrance.listener, Mode::NonBlocking) {
                Ok(connection) => self.turn_away(connection, reason, retry_after, &text),
                Err(e) if e.is_would_block() => return,
                Err(_) => {
                    // Out of descriptors: look away for a while instead of being woken for ever.
                    let _ = self.epoll.remove(&entrance.listener);
                    if let Some(pool) = self.pools.get_mut(&id) {
                        pool.watched = false;
                    }
                    self.timers.set(now + LOOK_AWAY, Token::Pool(id));
                    return;
                }
            }
        }
    }

    /// The pool cannot serve until something is changed. Told once per reason.
    pub(crate) fn refuse(&mut self, id: u64, code: u16, text: &str) {
        let (live, _) = self.census(id);
        let Some(pool) = self.pools.get(&id) else {
            return;
        };
        if pool.trouble.as_deref() != Some(text) {
            let text = format!("{} cannot serve: {text}", pool.title());
            self.failed(id, code, &text);
        }
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        pool.demand.calm_down(&pool.settings);
        if live > 0 || pool.entrance.is_none() {
            // Others still serve, or it is a service: no connection will ask for the next try.
            self.back_off(id, text);
            return;
        }
        pool.trouble = Some(text.to_owned());
        pool.refused = Some(Instant::now());
    }

    /// A start has failed: the pool waits before the next. Told when it begins.
    pub(crate) fn back_off(&mut self, id: u64, text: &str) {
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.demand.calm_down(&pool.settings);
        }
        self.wait(id, text, BackOff::failed);
    }

    /// A ready worker has died: if that happens too often, the pool rests for a moment.
    pub(crate) fn crashed(&mut self, id: u64, text: &str) {
        let now = Instant::now();
        if self.pools.get_mut(&id).is_some_and(|p| p.back_off.crashed(now)) {
            self.wait(
                id,
                &format!("its workers die too often; the last one, {text}"),
                BackOff::rests,
            );
        }
    }

    /// A worker leaves because its script did not load, or its application has no memory left, which is in the log: if that happens too often,
    /// further requests wait for a moment.
    pub(crate) fn fails_often(&mut self, id: u64) {
        let (now, jitter) = (Instant::now(), self.jitter());
        if let Some(pool) = self.pools.get_mut(&id) {
            if pool.back_off.crashed(now) {
                let pause = pool.back_off.rests(now, jitter);
                self.timers.set(now + pause, Token::Pool(id));
            }
        }
    }

    fn wait(&mut self, id: u64, text: &str, how_long: fn(&mut BackOff, Instant, u8) -> Duration) {
        let jitter = self.jitter();
        let now = Instant::now();
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        let pause = how_long(&mut pool.back_off, now, jitter);
        if pool.trouble.is_none() {
            let title = pool.title();
            let seconds = pause.as_secs_f32();
            let text = format!("{title} waits {seconds:.1} s before it tries again: {text}");
            pool.target.say(Level::Warn, codes::BACKING_OFF, &text);
        }
        pool.trouble = Some(text.to_owned());
        pool.refused = None;
        self.timers.set(now + pause, Token::Pool(id));
    }

    /// One of its workers is ready, so what it supersedes may end.
    pub(crate) fn recovered(&mut self, id: u64) {
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.back_off.recovered();
            pool.refused = None;
            if pool.trouble.take().is_some() {
                let title = pool.title();
                // That a service begins does not mean that it gets any further than before.
                if pool.entrance.is_some() {
                    pool.target
                        .note(Level::Notice, || format!("{title} serves again"));
                }
            }
        }
        for superseded in self.superseded_by(id) {
            self.retire(superseded);
        }
        self.tend(id, false);
    }

    fn superseded_by(&self, id: u64) -> Vec<u64> {
        let Some(new) = self.pools.get(&id).filter(|p| p.is_current()) else {
            return Vec::new();
        };
        let old = self
            .pools
            .iter()
            .filter(|(_, p)| matches!(p.phase, Phase::Superseded(_)) && p.is_named_as(new));
        old.map(|(id, _)| *id).collect()
    }

    pub(crate) fn wake_pool(&mut self, id: u64) {
        let over = self
            .pools
            .get(&id)
            .is_some_and(|p| matches!(p.phase, Phase::Superseded(until) if until <= Instant::now()));
        if over || self.is_long_empty(id) {
            self.retire(id);
        } else {
            self.end_unneeded(id);
            self.tend(id, false);
            self.renew(id);
        }
    }

    /// Ends a pool: nobody connects any more, its workers finish what they have.
    pub(crate) fn retire(&mut self, id: u64) {
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        pool.phase = Phase::Retired;
        if let Some(entrance) = &pool.entrance {
            entrance.remove();
        }
        let workers: Vec<u64> = pool.workers.iter().copied().collect();
        self.unborn.retain(|_, unborn| unborn.pool != id);
        self.keep_pool(id);
        self.watch_while_empty(id);
        for worker in workers {
            self.drain(worker, LeaveReason::ShutdownSignal);
        }
        self.tend(id, false);
    }

    fn remove_pool(&mut self, id: u64) {
        let Some(pool) = self.pools.remove(&id) else {
            return;
        };
        self.timers.forget(Token::Pool(id));
        self.forget(id);
        match &pool.entrance {
            Some(entrance) => {
                if pool.watched {
                    let _ = self.epoll.remove(&entrance.listener);
                }
                entrance.remove();
            }
            None => self.succeed(&pool),
        }
    }
}

impl Config {
    /// A new socket for a pool.
    fn entrance(&self, settings: &Settings, target: &Target) -> Result<Entrance, Answer> {
        let name = self.directory.fresh_name();
        let backlog = settings.group.listen_backlog.max(1);
        let made = self
            .directory
            .listen(Kind::Stream, &name, backlog, settings.group.socket_user);
        let (path, listener) = made.map_err(|e| {
            let text = format!("a socket for a pool cannot be made: {e}");
            target.say(Level::Error, codes::NO_SOCKET, &text);
            later(&text)
        })?;
        Ok(Entrance::new(Rc::clone(&self.directory), path, listener))
    }
}
