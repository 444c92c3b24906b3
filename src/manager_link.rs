//! httpd's parent and the manager: start it, tell it the configuration, start it again when it dies, end it with httpd.
//!
//! What is remembered over restarts is plain data in the pool of the process ([`Memory`]): descriptor, process id, generation.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rwsgi_os::message;
use rwsgi_os::poll::readable;
use rwsgi_os::process::{self, Pid};
use rwsgi_os::socket::{self, Kind, Mode};
use rwsgi_os::spawn::spawn_manager;
use rwsgi_os::{OsError, fd, file};
use rwsgi_wire::base::Base;
use rwsgi_wire::control::{Begin, FromHttpd, Group, NO_LOG, ToHttpd};
use rwsgi_wire::limits::CONTROL_MAX;

use crate::codes;
use crate::config::{Run, Site};
use crate::httpd::{self, Level, Memory, Pool, RunState, Server};
use crate::log::log;

/// Why there is no manager.
#[derive(Debug)]
pub enum LinkError {
    /// A file of ours is missing.
    Companion(String),
    /// It cannot be started, or refuses the configuration.
    Manager(String),
}

/// Why a manager has not taken a configuration.
enum Untold {
    /// Nobody listens.
    Nobody,
    /// The manager is of another build, and they cannot talk: why.
    Stranger(String),
    /// It says why.
    Refused(String),
}

/// How long the manager may take to say yes or no to a configuration.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long httpd waits for it when it ends: workers have their `shutdown-timeout`, 5 s unless it is said otherwise, and then it has to clean up.
/// systemd kills whoever is left when httpd has ended.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Most error logs that can be passed on; the rest goes to the main server's.
const LOGS_MAX: usize = 200;

/// Puts a configuration into force: opens the Python half for children, and has the manager know the process groups.
pub fn configure(pconf: Pool<'_>, main: Server<'_>, site: &Arc<Site>) -> Result<(), LinkError> {
    let companions = Companions::find()?;
    if !site.embedded.is_off || site.embedded.is_forced {
        let gateway = File::open(&companions.gateway).map_err(|why| companion(&companions.gateway, &why))?;
        let _ = site.gateway.set(gateway);
    }
    let known = main.with_memory(|memory| memory.pid);
    if site.groups.is_empty() && site.bases.is_empty() && known == 0 {
        return Ok(());
    }
    let generation = main.with_memory(|memory| {
        memory.generation += 1;
        memory.generation
    });
    let mut runtime_dir = site.socket_prefix.clone().into_os_string();
    runtime_dir.push(format!(".{}", std::process::id()));
    let run = Run {
        runtime_dir: PathBuf::from(runtime_dir),
        generation,
        httpd: std::process::id(),
    };
    let _ = site.run.set(run.clone());
    let link = Link {
        site: Arc::clone(site),
        run,
        companions,
    };
    link.bring_up(pconf, main).map_err(LinkError::Manager)?;
    end_with_httpd(pconf);
    Ok(())
}

/// With `httpd -X` the parent serves, as another user from now on, whom the manager does not listen to.
static SERVES: AtomicBool = AtomicBool::new(false);

/// The parent is about to give up its privileges and to serve.
pub fn change_user() {
    SERVES.store(true, Ordering::Relaxed);
}

/// A child gives up the control socket: whoever holds it could speak for httpd.
pub fn forget_in_child(main: Server<'_>) {
    main.with_memory(|memory| {
        if let Ok(socket) = fd::adopt(memory.fd) {
            drop(socket);
        }
        *memory = Memory {
            fd: -1,
            pid: 0,
            ..*memory
        };
    });
}

struct Companions {
    manager: PathBuf,
    gateway: PathBuf,
}

impl Companions {
    /// The files beside our own.
    fn find() -> Result<Self, LinkError> {
        let own = httpd::own_path().and_then(|path| path.canonicalize().ok());
        let own =
            own.ok_or_else(|| LinkError::Companion("the path of mod_rwsgi.so itself is not known".into()))?;
        let beside = |name: &str| {
            let path = own.with_file_name(name);
            match path.metadata() {
                Ok(_) => Ok(path),
                Err(why) => Err(companion(&path, &why)),
            }
        };
        Ok(Self {
            manager: beside("rwsgi-manager")?,
            gateway: beside("_rwsgi.abi3.so")?,
        })
    }
}

fn companion(path: &Path, why: &std::io::Error) -> LinkError {
    LinkError::Companion(format!(
        "{}: {why}; mod_rwsgi.so, rwsgi-manager and _rwsgi.abi3.so belong into one directory",
        path.display()
    ))
}

/// A configuration and what is needed to tell it to a manager, as often as one has to be started.
struct Link {
    site: Arc<Site>,
    run: Run,
    companions: Companions,
}

impl Link {
    /// The manager that runs gets the configuration; if none runs, or it does not listen, a new one does. Then it is watched.
    fn bring_up(self, pconf: Pool<'_>, main: Server<'_>) -> Result<(), String> {
        let told = match main.with_memory(take_socket) {
            None => Err(Untold::Nobody),
            Some(socket) => {
                let told = self.tell(&socket, main);
                main.with_memory(|memory| memory.fd = socket.into_raw_fd());
                told
            }
        };
        match told {
            Ok(()) => {}
            Err(Untold::Refused(refusal)) => return Err(refusal),
            Err(untold) => {
                if let Untold::Stranger(why) = untold {
                    log!(
                        main,
                        Level::Notice,
                        "the manager that runs is of another build ({why}): it ends with its workers, and one of this build is started"
                    );
                    end_manager(main);
                }
                main.with_memory(forget);
                let (pid, socket) = self.start(main)?;
                let told = self.tell(&socket, main);
                main.with_memory(|memory| {
                    memory.fd = socket.into_raw_fd();
                    memory.pid = pid.0;
                });
                told.map_err(|untold| match untold {
                    Untold::Nobody => "rwsgi-manager ended while it read its configuration".into(),
                    Untold::Stranger(why) => {
                        format!("rwsgi-manager and mod_rwsgi.so are of different builds ({why}); install them together")
                    }
                    Untold::Refused(refusal) => refusal,
                })?;
                log!(main, Level::Info, "manager started, kept by pid {}", pid.0);
            }
        }
        let pid = main.with_memory(|memory| memory.pid);
        let mut link = Some(self);
        httpd::watch_child(&pconf, pid, move |pconf, main| {
            if RunState::query() == RunState::Stopping {
                return;
            }
            let Some(link) = link.take() else { return };
            log!(
                main,
                Level::Warning,
                codes::MANAGER_DIED,
                "the manager's keeper (pid {pid}) died, and the manager with it; starting both again"
            );
            main.with_memory(forget);
            if let Err(sentence) = link.bring_up(pconf, main) {
                log!(
                    main,
                    Level::Crit,
                    codes::MANAGER_LOST,
                    "the manager could not be started again: {sentence}"
                );
            }
        });
        Ok(())
    }

    fn start(&self, main: Server<'_>) -> Result<(Pid, OwnedFd), String> {
        let failed = |why: OsError| format!("rwsgi-manager cannot be started: {why}");
        let (ours, theirs) = socket::pair(Kind::SeqPacket, Mode::Blocking).map_err(failed)?;
        // Before anything is sent: or the first message would come from nobody.
        socket::pass_credentials(&theirs).map_err(failed)?;
        let null = file::null().map_err(failed)?;
        let program = self.companions.manager.as_os_str().as_encoded_bytes();
        let time_zone = std::env::var_os("TZ").map(std::ffi::OsString::into_encoded_bytes);
        let pid = match main.error_log() {
            Some(log) => spawn_manager(program, &theirs, log, time_zone.as_deref()),
            None => spawn_manager(program, &theirs, &null, time_zone.as_deref()),
        };
        Ok((pid.map_err(failed)?, ours))
    }

    /// Has the manager take the configuration.
    fn tell(&self, socket: &OwnedFd, main: Server<'_>) -> Result<(), Untold> {
        // What managers that took the place of others have said since the last time.
        while message::try_receive(socket, &mut [0; 16]).is_ok_and(|n| n > 0) {}
        let end = Instant::now() + ANSWER_LIMIT;
        self.send(socket, main)?;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match answer(socket, left)? {
                ToHttpd::Ready => return Ok(()),
                ToHttpd::Refused(text) => return Err(Untold::Refused(sentence(&text))),
                ToHttpd::Unread(text) => return Err(Untold::Stranger(sentence(&text))),
                // One has died in between, and may have taken a part of it along.
                ToHttpd::Started => self.send(socket, main)?,
            }
        }
    }

    /// Sends the whole configuration.
    fn send(&self, socket: &OwnedFd, main: Server<'_>) -> Result<(), Untold> {
        let gone = |_: OsError| Untold::Nobody;
        let logs = Logs::of(main);
        let audit = match &self.site.audit_log {
            Some(path) => Some(open_audit_log(path).map_err(Untold::Refused)?),
            None => None,
        };
        let facts = rwsgi_os::ids::user_ids();
        let (server_uid, server_gid) = match facts.effective {
            0 => httpd::unix_identity(),
            own => (own, rwsgi_os::ids::group_ids().effective),
        };
        let begin = FromHttpd::Begin(Begin {
            generation: self.run.generation,
            server_uid,
            server_gid,
            runtime_dir: self.run.runtime_dir.as_os_str().as_encoded_bytes().to_vec(),
            gateway: self.companions.gateway.as_os_str().as_encoded_bytes().to_vec(),
            log: logs.index(0),
            log_level: main.log_level(),
            audit: match &audit {
                Some(_) => logs.count(),
                None => NO_LOG,
            },
            max_workers: self.site.max_workers,
            max_memory: self.site.max_memory,
            httpd: httpd::facts(),
        });
        let mut descriptors = logs.descriptors.clone();
        descriptors.extend(audit.as_ref().map(AsFd::as_fd));
        message::send_descriptors(socket, &begin.encode(), &descriptors).map_err(gone)?;
        let servers = main.and_following();
        for group in self.site.groups.values() {
            let mut settings = group.settings.clone();
            date_scripts(&mut settings);
            settings.log = logs.index(group.server);
            settings.log_level = servers.get(group.server).map_or(0, Server::log_level);
            let subject = ("WSGIDaemonProcess", group.settings.name.as_slice());
            send_part(socket, &FromHttpd::Group(Box::new(settings)), subject)?;
        }
        for base in &self.site.bases {
            let base = Base {
                pattern: base.pattern.clone(),
                template: Group {
                    log: logs.index(0),
                    log_level: main.log_level(),
                    ..base.group.settings.clone()
                },
                rules: base.rules.clone(),
            };
            let pattern = base.pattern.clone();
            send_part(
                socket,
                &FromHttpd::Base(Box::new(base)),
                ("WSGIUserProcess", &pattern),
            )?;
        }
        message::send(socket, &FromHttpd::Commit.encode()).map_err(gone)?;
        Ok(())
    }
}

/// What the manager says, within this time.
fn answer(socket: &OwnedFd, limit: Duration) -> Result<ToHttpd, Untold> {
    let gone = |_: OsError| Untold::Nobody;
    if !readable(socket, Some(limit)).map_err(gone)? {
        let seconds = ANSWER_LIMIT.as_secs();
        let text = format!("rwsgi-manager gave no answer within {seconds} s");
        return Err(Untold::Refused(text));
    }
    let mut packet = vec![0; CONTROL_MAX];
    let length = message::receive(socket, &mut packet).map_err(gone)?;
    match packet.get(..length) {
        None | Some([]) => Err(Untold::Nobody),
        Some(packet) => ToHttpd::decode(packet)
            .map_err(|error| Untold::Stranger(format!("its answer cannot be read: {error}"))),
    }
}

fn sentence(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// `WSGIAuditLog`, made if it is not there.
fn open_audit_log(path: &Path) -> Result<OwnedFd, String> {
    file::open_to_append(path.as_os_str().as_bytes(), 0o600).map_err(|why| {
        format!(
            "WSGIAuditLog {}: {}; name a regular file, not a link, in a directory that exists",
            path.display(),
            why.reason()
        )
    })
}

/// Sends what one directive says.
fn send_part(socket: &OwnedFd, part: &FromHttpd, (directive, name): (&str, &[u8])) -> Result<(), Untold> {
    let packet = part.encode();
    if packet.len() > CONTROL_MAX {
        let name = String::from_utf8_lossy(name);
        return Err(Untold::Refused(format!(
            "{directive} {name}: its settings are longer than {CONTROL_MAX} bytes; shorten python-path"
        )));
    }
    message::send(socket, &packet)
        .map(drop)
        .map_err(|_| Untold::Nobody)
}

/// A service whose scripts have changed is another one, and is started anew at a restart of httpd.
fn date_scripts(group: &mut Group) {
    if !group.is_service() {
        return;
    }
    for load in &mut group.preload {
        let path = [&group.chroot[..], &load.script].concat();
        let status = std::fs::metadata(OsStr::from_bytes(&path));
        // One that cannot be seen from here, or is not there, is as it was.
        load.mtime = status.map_or(0, |status| {
            let microseconds = status.mtime_nsec() / 1000;
            status
                .mtime()
                .saturating_mul(1_000_000)
                .saturating_add(microseconds)
        });
    }
}

/// The error logs of all servers, each once.
struct Logs<'s> {
    descriptors: Vec<BorrowedFd<'s>>,
    of_server: Vec<u8>,
}

impl<'s> Logs<'s> {
    fn of(main: Server<'s>) -> Self {
        use std::os::fd::AsRawFd;
        let mut logs = Self {
            descriptors: Vec::new(),
            of_server: Vec::new(),
        };
        for server in main.and_following() {
            let index = match server.error_log() {
                None => NO_LOG,
                Some(log) => {
                    let known = logs
                        .descriptors
                        .iter()
                        .position(|other| other.as_raw_fd() == log.as_raw_fd());
                    let place = known.unwrap_or(logs.descriptors.len());
                    if place == logs.descriptors.len() && place < LOGS_MAX {
                        logs.descriptors.push(log);
                    }
                    u8::try_from(place).ok().filter(|_| place < LOGS_MAX).unwrap_or(0)
                }
            };
            logs.of_server.push(index);
        }
        logs
    }

    fn count(&self) -> u8 {
        u8::try_from(self.descriptors.len()).unwrap_or(NO_LOG)
    }

    fn index(&self, server: usize) -> u8 {
        self.of_server.get(server).copied().unwrap_or(NO_LOG)
    }
}

/// The control socket, taken out of the memory.
fn take_socket(memory: &mut Memory) -> Option<OwnedFd> {
    let socket = (memory.pid > 0 && memory.fd >= 0)
        .then(|| fd::adopt(memory.fd).ok())
        .flatten();
    memory.fd = -1;
    socket
}

/// Forgets a manager that is not there any more.
fn forget(memory: &mut Memory) {
    drop(take_socket(memory));
    if memory.pid > 0 {
        // It may be dead and not yet reaped.
        let _ = process::reap(Pid(memory.pid));
    }
    memory.pid = 0;
}

/// When the configuration goes because httpd ends, the manager ends first: a service manager may kill all that is left once httpd's
/// parent is gone.
fn end_with_httpd(pconf: Pool<'_>) {
    let parent = std::process::id();
    pconf.at_end(move || {
        if std::process::id() != parent || RunState::query() != RunState::Stopping {
            return;
        }
        httpd::with_main_server(end_manager);
    });
}

/// Tells the manager to stop, and waits until it has ended with its workers.
fn end_manager(main: Server<'_>) {
    main.with_memory(|memory| {
        let Some(socket) = take_socket(memory) else { return };
        let pid = Pid(memory.pid);
        memory.pid = 0;
        if !SERVES.load(Ordering::Relaxed) {
            let _ = message::send(&socket, &FromHttpd::Stop.encode());
        }
        drop(socket);
        if let Ok(pidfd) = process::open(pid) {
            let _ = readable(&pidfd, Some(END_LIMIT));
        }
        let _ = process::reap(pid);
    });
}
