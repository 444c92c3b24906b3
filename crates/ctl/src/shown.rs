//! What is shown. The JSON has the shape of these structures; it does not change but that fields are added.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use rwsgi_os::clock;
use rwsgi_wire::admin::{self, Cgroup, GroupReport, PoolReport, PoolState, Query, WorkerReport, WorkerState};
use rwsgi_wire::text::escape;
use serde::Serialize;

use crate::failure::Failure;
use crate::link::Link;
use crate::options::{self, Options};
use crate::usage;

/// Number of the shape: another one when fields are changed or taken away.
pub const SCHEMA: u32 = 1;

/// What `rwsgictl list` shows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Overview {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Who was asked.
    pub manager: Manager,
    /// By user, process group and application group.
    pub applications: Vec<Application>,
}

/// What `rwsgictl show` shows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Detail {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Who was asked.
    pub manager: Manager,
    /// Of the process group, or the one of the process.
    pub applications: Vec<Application>,
    /// What went wrong, the oldest first.
    pub incidents: Vec<Incident>,
}

/// What `rwsgictl restart` and `rwsgictl stop` show.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Done {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Who was told.
    pub manager: Manager,
    /// `restart` or `stop`.
    pub order: &'static str,
    /// The applications that it was done to, as they are now.
    pub applications: Vec<Application>,
}

/// A manager.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Manager {
    /// Its runtime directory, as for `--runtime-dir`.
    pub runtime_dir: String,
    /// Process id.
    pub pid: u32,
    /// Process id of httpd's parent.
    pub httpd_pid: u32,
    /// Version of the program.
    pub version: String,
    /// Number of httpd's configuration, which each graceful restart raises.
    pub generation: u32,
    /// `WSGIMaxWorkers`; 0 is "no limit".
    pub max_workers: u32,
    /// `WSGIMaxMemory`; 0 is "no limit".
    pub max_memory_bytes: u64,
}

/// An application group of a process group.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Application {
    /// Process group; that of a user's applications is `~` and the login name.
    pub group: String,
    /// Application group; `null`: nobody has asked for one of this process group.
    pub application_group: Option<String>,
    /// Login name of the user.
    pub user: String,
    /// User id.
    pub uid: u32,
    /// `idle`, `queued`, `starting`, `serving`, `backing-off`, `refused` or `ending`.
    pub state: &'static str,
    /// For `backing-off`: seconds until the next try.
    pub next_try_seconds: Option<f64>,
    /// Why it does not serve, or why its last try to start a worker failed.
    pub why: Option<String>,
    /// It takes no requests (`threads=0`).
    pub service: bool,
    /// Directory of the application of a user.
    pub directory: Option<String>,
    /// Its scripts, as far as they are known, at most four.
    pub scripts: Vec<String>,
    /// Its workers, by process id.
    pub workers: Vec<Worker>,
    /// Of its workers together.
    pub memory: Memory,
    /// Of its workers together, so far.
    pub cpu_seconds: f64,
    /// Of all its processes together, in this control group's life; `null` where there are no control groups.
    pub control_group: Option<GroupUsage>,
    /// What holds for its workers; only `rwsgictl show` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
    #[serde(skip)]
    pub(crate) pool: u64,
}

/// A worker.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Worker {
    /// Process id.
    pub pid: u32,
    /// `entering`, `booting`, `ready` or `leaving`.
    pub state: &'static str,
    /// It serves nobody, and forks those that do (`preload=On`).
    pub template: bool,
    /// Since when it is ready, or was started if it is not: RFC 3339, UTC.
    pub since: String,
    /// The same in seconds.
    pub seconds: f64,
    /// For how long it has had no request, where workers come and go with requests (`min-processes`); `null`: it has one, or does not say.
    pub idle_seconds: Option<f64>,
    /// Requests that it had finished when it last said so, at most ten seconds ago; `null`: it does not say (`deadlock-timeout=0`, a template).
    pub requests: Option<u64>,
    /// Requests that it ran then.
    pub running: Option<u32>,
    /// Why it leaves.
    pub why: Option<String>,
    /// Its memory.
    pub memory: Memory,
    /// Processor time so far; `null`: not known.
    pub cpu_seconds: Option<f64>,
}

/// Memory of processes; `null`: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident, what is shared counted for each.
    pub rss_bytes: Option<u64>,
    /// Resident, what is shared divided among those who share it; only `rwsgictl show` has it.
    pub pss_bytes: Option<u64>,
}

/// What a control group has counted; `null`: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct GroupUsage {
    /// Memory in use, files in the page cache counted.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Processor time.
    pub cpu_seconds: Option<f64>,
}

/// Something that went wrong since the manager was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// RFC 3339, UTC.
    pub time: String,
    /// Code of the message, as in `docs/codes.md`.
    pub code: String,
    /// Application group; `null`: it is about the user as a whole.
    pub application_group: Option<String>,
    /// The worker that died.
    pub pid: Option<u32>,
    /// What it died of: `signal`, `exit`, `memory`, `limit`, `asked` or `unknown`; `null`: nobody did.
    pub death: Option<&'static str>,
    /// The message.
    pub text: String,
}

impl Application {
    /// Nothing of it runs any more.
    pub(crate) fn has_stopped(&mut self) {
        self.state = pool_word(PoolState::Idle);
        self.workers.clear();
        (self.memory, self.cpu_seconds, self.control_group) = (Memory::default(), 0.0, None);
    }
}

impl Overview {
    /// All that the manager knows, or what runs as `user`.
    pub(crate) fn of(link: &Link, user: Option<&[u8]>) -> Result<Self, Failure> {
        let known = Known::of(link)?;
        let is_wanted = |name: &[u8]| user.is_none_or(|user| is_named(name, user));
        Ok(Self {
            schema: SCHEMA,
            manager: manager(link),
            applications: known.applications(|_, user| is_wanted(user), false),
        })
    }
}

impl Detail {
    /// A process group, or the application of a process.
    pub(crate) fn of(link: &Link, what: &[u8]) -> Result<Self, Failure> {
        let known = Known::of(link)?;
        let incidents = link.incidents()?;
        let pid = std::str::from_utf8(what)
            .ok()
            .and_then(|text| text.parse::<u32>().ok());
        let worker = known.workers.iter().find(|worker| Some(worker.pid) == pid);
        let (mut applications, incidents): (Vec<_>, Vec<_>) = match worker {
            Some(worker) => {
                let mut one = known.applications(|pool, _| pool == Some(worker.pool), true);
                one.iter_mut()
                    .for_each(|a| a.workers.retain(|w| w.pid == worker.pid));
                (one, incidents.iter().filter(|i| i.pid == worker.pid).collect())
            }
            None => {
                let its =
                    |i: &&admin::Incident| is_named(&i.group, what) || (i.pid > 0 && Some(i.pid) == pid);
                let all = known.applications_of_group(what, true);
                (all, incidents.iter().filter(its).collect())
            }
        };
        if applications.is_empty() && incidents.is_empty() {
            let what = escape(what);
            return Err(Failure::NotFound(match pid {
                Some(_) => format!(
                    "process {what} is no worker, and none that died lately, and no process group has that name"
                ),
                None => {
                    format!("there is no process group {what}, or nobody has asked for an application of it")
                }
            }));
        }
        for application in &mut applications {
            let query = match application.pool {
                0 => Query::GroupSettings {
                    name: known.name_of(application),
                },
                pool => Query::PoolSettings { pool },
            };
            application.options = link.settings(&query)?.map(|group| options::of(&group));
        }
        Ok(Self {
            schema: SCHEMA,
            manager: manager(link),
            applications,
            incidents: incidents.into_iter().map(incident).collect(),
        })
    }
}

/// All that the manager has told.
pub(crate) struct Known {
    groups: Vec<GroupReport>,
    pub(crate) pools: Vec<PoolReport>,
    pub(crate) workers: Vec<WorkerReport>,
}

impl Known {
    pub(crate) fn of(link: &Link) -> Result<Self, Failure> {
        Ok(Self {
            groups: link.groups()?,
            // A worker that comes meanwhile belongs to a pool that is known, or is not shown; one that goes leaves a pool without it.
            pools: link.pools()?,
            workers: link.workers()?,
        })
    }

    /// The process group is in the configuration.
    pub(crate) fn has_group(&self, name: &[u8]) -> bool {
        self.groups.iter().any(|group| is_named(&group.name, name))
    }

    fn applications_of_group(&self, name: &[u8], in_full: bool) -> Vec<Application> {
        let pools = self.pools.iter().filter(|pool| is_named(&pool.group, name));
        let ids: Vec<u64> = pools.map(|pool| pool.id).collect();
        let mut all = self.applications(|pool, _| pool.is_some_and(|id| ids.contains(&id)), in_full);
        if all.is_empty() {
            let idle = self.groups.iter().filter(|group| is_named(&group.name, name));
            all.extend(idle.map(unused));
        }
        all
    }

    /// Those that are wanted, by number of the pool (`None`: it has none) and login name.
    pub(crate) fn applications(
        &self,
        is_wanted: impl Fn(Option<u64>, &[u8]) -> bool,
        in_full: bool,
    ) -> Vec<Application> {
        let mut workers: HashMap<u64, Vec<&WorkerReport>> = HashMap::new();
        for worker in &self.workers {
            workers.entry(worker.pool).or_default().push(worker);
        }
        let pools = self
            .pools
            .iter()
            .filter(|pool| is_wanted(Some(pool.id), &pool.user));
        let mut all: Vec<Application> = pools
            .map(|pool| {
                application(
                    pool,
                    workers.get(&pool.id).map_or(&[][..], Vec::as_slice),
                    in_full,
                )
            })
            .collect();
        let with_pools: HashSet<&[u8]> = self.pools.iter().map(|pool| &pool.group[..]).collect();
        let idle = self
            .groups
            .iter()
            .filter(|group| is_wanted(None, &group.user) && !with_pools.contains(&group.name[..]));
        all.extend(idle.map(unused));
        all.sort_by(|a, b| {
            let key = |a: &Application| {
                (
                    a.user.clone(),
                    a.group.clone(),
                    a.application_group.clone(),
                    a.pool,
                )
            };
            key(a).cmp(&key(b))
        });
        all
    }

    /// The name as the manager has it.
    fn name_of(&self, application: &Application) -> Vec<u8> {
        let group = self
            .groups
            .iter()
            .find(|group| escape(&group.name) == application.group);
        group.map(|group| group.name.clone()).unwrap_or_default()
    }
}

/// As it is, or as it is shown.
pub(crate) fn is_named(name: &[u8], given: &[u8]) -> bool {
    name == given || escape(name).as_bytes() == given
}

pub(crate) fn manager(link: &Link) -> Manager {
    let server = &link.server;
    Manager {
        runtime_dir: link.directory(),
        pid: server.manager,
        httpd_pid: server.httpd,
        version: escape(&server.version),
        generation: server.generation,
        max_workers: server.max_workers,
        max_memory_bytes: server.max_memory,
    }
}

fn application(pool: &PoolReport, workers: &[&WorkerReport], in_full: bool) -> Application {
    let cgroups: &[Cgroup] = workers.last().map_or(&[], |worker| &worker.cgroups);
    let mut workers: Vec<Worker> = workers.iter().map(|report| worker(report, in_full)).collect();
    workers.sort_by_key(|worker| worker.pid);
    let sum = |part: fn(&Memory) -> Option<u64>| {
        let known: Vec<u64> = workers.iter().filter_map(|worker| part(&worker.memory)).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    };
    let used = workers.iter().filter_map(|worker| worker.cpu_seconds);
    // The sum of none would be -0.
    let cpu_seconds = used.fold(0.0, |sum, seconds| sum + seconds);
    Application {
        group: escape(&pool.group),
        application_group: Some(escape(&pool.application_group)),
        user: escape(&pool.user),
        uid: pool.uid,
        state: pool_word(pool.state),
        next_try_seconds: (pool.state == PoolState::BackingOff).then_some(seconds(pool.wait)),
        why: words(&pool.why),
        service: pool.is_service,
        directory: words(&pool.directory),
        scripts: pool.scripts.iter().map(|script| escape(script)).collect(),
        memory: Memory {
            rss_bytes: sum(|memory| memory.rss_bytes),
            pss_bytes: sum(|memory| memory.pss_bytes),
        },
        cpu_seconds,
        workers,
        control_group: usage::of_groups(cgroups),
        options: None,
        pool: pool.id,
    }
}

/// A process group of the configuration that nobody has asked for.
fn unused(group: &GroupReport) -> Application {
    Application {
        group: escape(&group.name),
        user: escape(&group.user),
        uid: group.uid,
        state: pool_word(PoolState::Idle),
        ..Application::default()
    }
}

fn worker(report: &WorkerReport, in_full: bool) -> Worker {
    let usage = usage::of_worker(report, in_full);
    Worker {
        pid: report.pid,
        state: match report.state {
            WorkerState::Entering => "entering",
            WorkerState::Booting => "booting",
            WorkerState::Ready => "ready",
            WorkerState::Leaving => "leaving",
        },
        template: report.is_template,
        since: time(report.since),
        seconds: seconds(report.since),
        idle_seconds: report.idle.map(seconds),
        requests: report.requests.map(|requests| requests.served),
        running: report.requests.map(|requests| requests.running),
        why: words(&report.why),
        memory: usage.memory,
        cpu_seconds: usage.cpu_seconds,
    }
}

fn incident(incident: &admin::Incident) -> Incident {
    Incident {
        time: time(incident.ago),
        code: format!("RW{:04}", incident.code),
        application_group: words(&incident.application_group),
        pid: (incident.pid > 0).then_some(incident.pid),
        death: incident.death.map(|kind| kind.word()),
        text: escape(&incident.text),
    }
}

fn pool_word(state: PoolState) -> &'static str {
    match state {
        PoolState::Idle => "idle",
        PoolState::Queued => "queued",
        PoolState::Starting => "starting",
        PoolState::Serving => "serving",
        PoolState::BackingOff => "backing-off",
        PoolState::Refused => "refused",
        PoolState::Ending => "ending",
    }
}

fn words(text: &[u8]) -> Option<String> {
    (!text.is_empty()).then(|| escape(text))
}

fn seconds(millis: u64) -> f64 {
    Duration::from_millis(millis).as_secs_f64()
}

/// So many milliseconds ago.
fn time(ago: u64) -> String {
    let then = SystemTime::now().checked_sub(Duration::from_millis(ago));
    clock::utc(then.unwrap_or(SystemTime::UNIX_EPOCH))
}
