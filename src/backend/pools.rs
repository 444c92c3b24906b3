//! The pools of workers as one httpd child knows them: where they listen, which connections are idle.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_os::poll::readable;
use rwsgi_os::socket::{Kind, Mode, connect, connect_within};
use rwsgi_os::{OsError, message};
use rwsgi_wire::base::Tuning;
use rwsgi_wire::call::Call;
use rwsgi_wire::control::{Answer, Ask, DeathKind};
use rwsgi_wire::frame::HEADER_LEN;
use rwsgi_wire::head::Head;
use rwsgi_wire::limits::CONTROL_MAX;
use rwsgi_wire::response::AbortReason;

use super::Fault;
use super::lines::Lines;
use super::link::{Link, Worker};

/// How long an answer of the manager may take. It answers at once, but for a death that it waits up to a second to see.
const MANAGER_LIMIT: Duration = Duration::from_secs(3);

/// The same when it has to look a user up, for which it has five seconds itself.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(8);

/// How long a manager that is being restarted is waited for.
const MANAGER_RESTART: Duration = Duration::from_secs(4);

/// The same while its socket is out of reach: a manager that starts opens its directory a moment after it has made it.
const MANAGER_OPENS: Duration = Duration::from_millis(250);

/// So often the manager may go away upon one question before that is taken for the question's doing.
const GONE_MAX: u32 = 3;

/// So long an application is set aside after that.
const SET_ASIDE: Duration = Duration::from_secs(30);

/// How often connections are looked through for closed ones, at most.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// How often the manager is told which version of a script is on disk while its pool waits after failures.
const SEEN_EVERY: Duration = Duration::from_millis(250);

/// Pools that are remembered even if there is no connection to them.
const KEPT_UNUSED: usize = 256;

/// Names a pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolName {
    /// Process group.
    pub group: Vec<u8>,
    /// Application group, expanded.
    pub application_group: Vec<u8>,
    /// It is that of a user's application.
    pub below: Option<Below>,
}

/// Names a user's application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Below {
    /// Number of the base that it is below.
    pub base: u32,
    /// The user's name, as the path has it.
    pub user: Vec<u8>,
    /// Its directory, below the user's.
    pub directory: Vec<u8>,
    /// Its script there.
    pub script: Vec<u8>,
    /// What the user has changed.
    pub tuning: Tuning,
}

impl PoolName {
    /// A pool of a process group.
    pub fn of_group(group: &[u8], application_group: &[u8]) -> Self {
        Self {
            group: group.to_vec(),
            application_group: application_group.to_vec(),
            below: None,
        }
    }

    fn question(&self, generation: u32, head: &[u8]) -> Ask {
        match &self.below {
            None => Ask::Pool {
                generation,
                group: self.group.clone(),
                application_group: self.application_group.clone(),
                script: application_of(head),
            },
            Some(below) => Ask::Application {
                generation,
                base: below.base,
                user: below.user.clone(),
                directory: below.directory.clone(),
                script: below.script.clone(),
                tuning: below.tuning,
            },
        }
    }

    /// How long the manager may take to say where it is.
    fn answer_limit(&self) -> Duration {
        match &self.below {
            None => MANAGER_LIMIT,
            Some(_) => LOOK_UP_LIMIT,
        }
    }
}

/// A pool this child has asked for.
pub struct Pool {
    /// Where it listens.
    pub path: Vec<u8>,
    idle: Mutex<Vec<Link>>,
    /// Those that have said who they are and have connections.
    workers: Mutex<Vec<Arc<Worker>>>,
    /// When the manager was last told what is on disk.
    seen: Mutex<Option<Instant>>,
}

impl Pool {
    /// A connection to the worker that has the fewest requests; of several the one that was put back last, for its worker's memory is warm.
    pub fn take_idle(&self) -> Option<Link> {
        let mut idle = lock(&self.idle);
        let load = |link: &Link| link.worker().map_or(0, |worker| worker.under_way());
        let places = idle.iter().enumerate();
        let (place, _) = places.min_by_key(|(place, link)| (load(link), Reverse(*place)))?;
        let mut link = idle.remove(place);
        link.begin();
        Some(link)
    }

    /// The worker at the other end of a connection has taken a request from it and said who it is.
    pub fn introduce(&self, link: &mut Link, pid: u32) {
        if link.worker().is_some_and(|worker| worker.pid == pid) {
            return;
        }
        let mut workers = lock(&self.workers);
        // Without connections only this knows them.
        workers.retain(|worker| Arc::strong_count(worker) > 1);
        let known = workers.iter().find(|worker| worker.pid == pid);
        let worker = known.cloned().unwrap_or_else(|| Worker::new(pid));
        if known.is_none() {
            workers.push(Arc::clone(&worker));
        }
        link.introduce(worker);
    }

    /// Keeps a connection for the next request, unless the worker has closed it.
    pub fn put_back(&self, mut link: Link) {
        link.settle();
        link.end();
        if link.is_clean() {
            lock(&self.idle).push(link);
        }
    }

    /// Closes idle connections that workers have closed.
    pub fn forget_closed(&self) {
        lock(&self.idle).retain(Link::is_clean);
    }
}

/// All pools of this child, and the way to the manager.
pub struct Pools {
    manager: Vec<u8>,
    generation: u32,
    known: Mutex<BTreeMap<PoolName, Arc<Pool>>>,
    /// Applications upon whose question the manager goes away each time, and until when they are not asked for (F29).
    set_aside: Mutex<BTreeMap<PoolName, Instant>>,
    tidied: Mutex<Instant>,
    /// What workers write to the error log for requests.
    pub lines: Lines,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole at every moment, so a panic elsewhere has not harmed it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pools {
    /// Knows nothing yet. `manager` is the path of the manager's socket, `generation` that of the configuration.
    pub fn new(manager: Vec<u8>, generation: u32) -> Self {
        Self {
            manager,
            generation,
            known: Mutex::default(),
            set_aside: Mutex::default(),
            tidied: Mutex::new(Instant::now()),
            lines: Lines::default(),
        }
    }

    /// The pool of this name; asks the manager the first time. `head` is the frame of the request that needs it.
    pub fn find(&self, name: &PoolName, head: &[u8]) -> Result<Arc<Pool>, Fault> {
        if let Some(pool) = lock(&self.known).get(name) {
            return Ok(Arc::clone(pool));
        }
        self.may_be_asked_for(name)?;
        let question = name.question(self.generation, head);
        self.tidy();
        let answer = self.ask(&question, name.answer_limit(), MANAGER_RESTART);
        match answer.map_err(|silence| self.note_silence(name, silence))? {
            Answer::Pool { path } => {
                let pool = Arc::new(Pool {
                    path,
                    idle: Mutex::default(),
                    workers: Mutex::default(),
                    seen: Mutex::default(),
                });
                Ok(Arc::clone(lock(&self.known).entry(name.clone()).or_insert(pool)))
            }
            Answer::Refused {
                reason,
                retry_after,
                text,
            } => Err(refused(reason, retry_after, &text)),
            Answer::Death { .. } => Err(Fault::ManagerSilent(
                "rwsgi-manager answered another question".into(),
            )),
        }
    }

    /// Whether the manager would live through it, as far as is known.
    pub(super) fn may_be_asked_for(&self, name: &PoolName) -> Result<(), Fault> {
        let mut set_aside = lock(&self.set_aside);
        if set_aside.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        set_aside.retain(|_, until| now < *until);
        match set_aside.contains_key(name) {
            true => Err(Fault::ManagerSilent(format!(
                "this application is set aside: within the last {} s rwsgi-manager has gone away each time when it was asked for",
                SET_ASIDE.as_secs()
            ))),
            false => Ok(()),
        }
    }

    fn note_silence(&self, name: &PoolName, silence: Silence) -> Fault {
        let mut text = format!("rwsgi-manager cannot be asked: {}", silence.text);
        if silence.gone >= GONE_MAX {
            lock(&self.set_aside).insert(name.clone(), Instant::now() + SET_ASIDE);
            text = format!(
                "rwsgi-manager has gone away {GONE_MAX} times when it was asked for this application, which is set aside for {} s: report it, with \
                 the lines of the manager's death",
                SET_ASIDE.as_secs()
            );
        }
        Fault::ManagerSilent(text)
    }

    /// Nobody has taken a request in time: whether that is because no worker has started yet.
    pub fn start_under_way(&self, name: &PoolName) -> Option<Fault> {
        let question = Ask::Late {
            group: name.group.clone(),
            application_group: name.application_group.clone(),
        };
        match self.ask(&question, MANAGER_LIMIT, Duration::ZERO) {
            Ok(Answer::Refused {
                reason,
                retry_after,
                text,
            }) => Some(refused(reason, retry_after, &text)),
            _ => None,
        }
    }

    /// Now and then, when one more pool is asked for: closes what workers have closed, and forgets pools that nobody uses if there are many.
    /// Workers that come and go would leave a descriptor here each.
    fn tidy(&self) {
        {
            let mut tidied = lock(&self.tidied);
            if tidied.elapsed() < TIDY_EVERY {
                return;
            }
            *tidied = Instant::now();
        }
        let all: Vec<Arc<Pool>> = lock(&self.known).values().cloned().collect();
        all.iter().for_each(|pool| pool.forget_closed());
        drop(all);
        let mut known = lock(&self.known);
        if known.len() > KEPT_UNUSED {
            known.retain(|_, pool| Arc::strong_count(pool) > 1 || !lock(&pool.idle).is_empty());
        }
    }

    /// Nobody listens there any more: ask again next time.
    pub fn forget(&self, name: &PoolName, pool: &Arc<Pool>) {
        let mut known = lock(&self.known);
        if known.get(name).is_some_and(|held| Arc::ptr_eq(held, pool)) {
            known.remove(name);
        }
    }

    /// Tells the manager that a request waits for a worker of this pool. Nothing is lost if it cannot be told: it will be told again.
    pub fn tell_waiting(&self, name: &PoolName) {
        let word = Ask::Waits {
            group: name.group.clone(),
            application_group: name.application_group.clone(),
        };
        if let Ok(socket) = connect(Kind::SeqPacket, &self.manager, Mode::NonBlocking) {
            let _ = message::try_send(&socket, &word.encode());
        }
    }

    /// A request was turned away because the pool waits after failures: whether it need not wait any longer, since another version of the
    /// script is on disk than the one that failed. The manager is asked now and then only.
    pub fn is_changed(&self, name: &PoolName, pool: &Pool, head: &[u8]) -> bool {
        let head = Head::decode(head.get(HEADER_LEN..).unwrap_or_default());
        let Some(head) = head.ok().filter(|head| head.script_mtime != 0) else {
            return false;
        };
        {
            let now = Instant::now();
            let mut seen = lock(&pool.seen);
            if seen.is_some_and(|at| now < at + SEEN_EVERY) {
                return false;
            }
            *seen = Some(now);
        }
        let restart = match &name.below {
            Some(_) => restart_of(head.script),
            None => 0,
        };
        let question = Ask::Seen {
            group: name.group.clone(),
            application_group: name.application_group.clone(),
            mtime: head.script_mtime.wrapping_add(restart),
        };
        matches!(
            self.ask(&question, MANAGER_LIMIT, Duration::ZERO),
            Ok(Answer::Pool { .. })
        )
    }

    /// What a worker died of: a phrase, and whether one of our time limits killed it.
    pub fn death(&self, pid: u32) -> (String, bool) {
        match self.ask(&Ask::Death { pid }, MANAGER_LIMIT, Duration::ZERO) {
            Ok(Answer::Death { kind, text }) => (
                format!("worker {pid} {}", String::from_utf8_lossy(&text)),
                kind == DeathKind::TimeLimit,
            ),
            _ => (
                format!("worker {pid} closed the connection, and rwsgi-manager could not be asked why"),
                false,
            ),
        }
    }

    /// Asks the manager, which has `limit` to answer; tries for `patience` while nobody listens there.
    fn ask(&self, question: &Ask, limit: Duration, patience: Duration) -> Result<Answer, Silence> {
        let start = Instant::now();
        let mut gone = 0;
        loop {
            let silence = match self.ask_once(question, limit) {
                Ok(packet) => {
                    return Answer::decode(&packet)
                        .map_err(|e| format!("its answer cannot be read: {e}").into());
                }
                Err(silence) => silence,
            };
            gone += silence.gone;
            if gone >= GONE_MAX || start.elapsed() >= patience.min(silence.patience) {
                return Err(Silence { gone, ..silence });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask_once(&self, question: &Ask, limit: Duration) -> Result<Vec<u8>, Silence> {
        let socket = connect_within(Kind::SeqPacket, &self.manager, MANAGER_LIMIT)?;
        message::send_all(&socket, &question.encode())?;
        if !readable(&socket, Some(limit))? {
            // It hangs: longer than this no request waits for it.
            return Err(Silence {
                text: format!("no answer within {} s", limit.as_secs()),
                patience: Duration::ZERO,
                gone: 0,
            });
        }
        let mut packet = vec![0; CONTROL_MAX];
        // A manager that dies with the question unread resets the connection, and one that has read it closes it.
        let n = message::try_receive(&socket, &mut packet).unwrap_or(0);
        if n == 0 {
            let closed = Silence::from("it closed the connection".to_owned());
            return Err(Silence { gone: 1, ..closed });
        }
        packet.truncate(n);
        Ok(packet)
    }
}

fn refused(reason: AbortReason, retry_after: u32, text: &[u8]) -> Fault {
    Fault::Aborted {
        reason,
        retry_after,
        text: String::from_utf8_lossy(text).into_owned(),
    }
}

/// The script of an application that a request is for; empty when it asks for another call.
fn application_of(head: &[u8]) -> Vec<u8> {
    let head = Head::decode(head.get(HEADER_LEN..).unwrap_or_default());
    let application = head.ok().filter(|head| head.call == Call::Application);
    application.map_or_else(Vec::new, |head| head.script.to_vec())
}

/// Modification time of the file that a user touches to renew an application, in microseconds since 1970; 0: there is none that can be seen.
fn restart_of(script: &[u8]) -> i64 {
    let file = Path::new(OsStr::from_bytes(script)).with_file_name("tmp/restart.txt");
    std::fs::metadata(file).map_or(0, |status| {
        let seconds = status.mtime().saturating_mul(1_000_000);
        seconds.saturating_add(status.mtime_nsec() / 1000)
    })
}

/// Why the manager gave no answer, and how long that may pass by itself.
struct Silence {
    text: String,
    patience: Duration,
    /// How often it has gone away with the question.
    gone: u32,
}

impl From<String> for Silence {
    fn from(text: String) -> Self {
        let patience = Duration::MAX;
        Self {
            text,
            patience,
            gone: 0,
        }
    }
}

impl From<OsError> for Silence {
    fn from(error: OsError) -> Self {
        if !is_forbidden(&error) {
            return error.to_string().into();
        }
        Self {
            text: format!("{error}; {OPEN_UP}"),
            patience: MANAGER_OPENS,
            gone: 0,
        }
    }
}

/// What to do about a socket that this process may not reach.
pub const OPEN_UP: &str =
    "let httpd's user pass through every directory on the way, or set WSGISocketPrefix to another place";

/// The error is one of permissions.
pub fn is_forbidden(error: &OsError) -> bool {
    let kind = std::io::Error::from_raw_os_error(error.errno).kind();
    kind == std::io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;
    use rwsgi_os::socket::{Access, listen};

    #[test]
    fn the_worker_with_the_fewest_requests_gets_the_next() {
        let path = std::env::temp_dir().join(format!("rwsgi-pools-{}", std::process::id()));
        let path = path.as_os_str().as_bytes().to_vec();
        let access = Access {
            mode: 0o600,
            uid: None,
            gid: None,
        };
        let listener = listen(Kind::Stream, &path, access, 8).unwrap();
        let pool = Pool {
            path,
            idle: Mutex::default(),
            workers: Mutex::default(),
            seen: Mutex::default(),
        };
        let connect = |pid| {
            let mut link = Link::connect(&pool.path, Duration::from_secs(1), None).unwrap();
            pool.introduce(&mut link, pid);
            link
        };
        let (links, busy) = ([1, 2, 1].map(connect), connect(1));
        links.into_iter().for_each(|link| pool.put_back(link));
        let pid = |link: &Link| link.worker().unwrap().pid;
        // One request each then, and of the equal ones the last that was put back.
        let (second, third) = (pool.take_idle().unwrap(), pool.take_idle().unwrap());
        assert_eq!((pid(&second), pid(&third)), (2, 1));
        drop(busy);
        pool.put_back(third);
        pool.put_back(second);
        let next = pool.take_idle().unwrap();
        assert_eq!((pid(&next), next.worker().unwrap().under_way()), (2, 1));
        std::fs::remove_file(OsStr::from_bytes(&pool.path)).unwrap();
        drop(listener);
    }
}
