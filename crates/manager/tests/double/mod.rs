//! httpd as the manager sees it, and Pythons that are shell scripts: they say on descriptor 4 what a worker would.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_os::process::{self, Pid};
use rwsgi_os::socket::{self, Kind, Mode};
use rwsgi_os::{ids, message, poll, spawn};
use rwsgi_wire::base::Base;
use rwsgi_wire::control::{Answer, Ask, Begin, FromHttpd, Group, NO_LOG, ToHttpd};
use rwsgi_wire::frame::{self, Decoder};
use rwsgi_wire::life::Life;
use rwsgi_wire::response::{Abort, AbortReason};
use rwsgi_wire::scale::Scale;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A started manager with a directory of its own; ended when dropped.
pub struct Httpd {
    pub place: PathBuf,
    pub control: OwnedFd,
    pub keeper: Pid,
    generation: u32,
    pub max_workers: u32,
    /// Of the next configuration.
    pub bases: Vec<Base>,
    gone: bool,
    /// Last, so that it is given up last.
    _alone: MutexGuard<'static, ()>,
}

/// Control groups are named after httpd's process, which is that of the tests: managers of two tests at once would take each other's workers for
/// what is left of their own.
static ALONE: Mutex<()> = Mutex::new(());

/// The user that workers run as: another one when root.
pub fn worker_uid() -> u32 {
    match ids::user_ids().effective {
        0 => 65534,
        own => own,
    }
}

/// Polls until `found` answers something.
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(t) = found() {
            return t;
        }
        assert!(Instant::now() < end, "did not happen: {what}");
        std::thread::yield_now();
        let _ = poll::poll(&mut [], Some(Duration::from_millis(2)));
    }
}

impl Httpd {
    /// Starts a manager; no configuration yet.
    pub fn start(name: &str) -> Self {
        Self::start_by(name, env!("CARGO_BIN_EXE_rwsgi-manager"))
    }

    /// As [`start`](Self::start), by a program that executes the manager.
    pub fn start_by(name: &str, program: &str) -> Self {
        // What a failed test has left of it is as good.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let place = std::env::temp_dir().join(format!("rwsgi-m-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir(&place).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(place.join("log"), "").unwrap();
        std::fs::write(place.join("gateway"), "").unwrap();
        let (control, theirs) = socket::pair(Kind::SeqPacket, Mode::Blocking).unwrap();
        socket::pass_credentials(&theirs).unwrap();
        let log = append(&place);
        let keeper = spawn::spawn_manager(program.as_bytes(), &theirs, &log, Some(b"UTC")).unwrap();
        Self {
            place,
            control,
            keeper,
            generation: 0,
            max_workers: 0,
            bases: Vec::new(),
            gone: false,
            _alone: alone,
        }
    }

    /// The manager, which the keeper has started, and maybe others before it.
    pub fn manager(&self) -> Pid {
        eventually("a manager", || {
            let manages = |pid: &Pid| {
                let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                words.split(|b| *b == 0).nth(1) == Some(b"manage") && is_alive(*pid)
            };
            children(self.keeper).into_iter().find(manages)
        })
    }

    /// Kills the manager and waits for the next one to go on.
    pub fn next_manager(&self) {
        let said = self.log().matches("RW0410").count();
        kill(self.manager());
        self.logged("RW0410", said + 1);
    }

    /// A stand-in for Python: `bin/python3` of a prefix, a shell script. Answers the prefix.
    pub fn python(&self, name: &str, script: &str) -> String {
        let bin = self.place.join(name).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let program = bin.join("python3");
        let new = bin.join("python3.new");
        std::fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(new, program).unwrap();
        self.place.join(name).to_str().unwrap().to_owned()
    }

    /// A group of this name whose Python is `home`.
    pub fn group(&self, name: &str, home: &str) -> Group {
        Group {
            name: name.into(),
            log: 0,
            log_level: 7,
            uid: worker_uid(),
            gid: if ids::user_ids().effective == 0 {
                65534
            } else {
                ids::group_ids().effective
            },
            groups: Vec::new(),
            user: b"nobody".to_vec(),
            user_home: b"/".to_vec(),
            shell: b"/bin/sh".to_vec(),
            processes: 1,
            threads: 1,
            python_home: home.into(),
            listen_backlog: 10,
            life: Life {
                shutdown_timeout: 2,
                graceful_timeout: 2,
                ..Life::default()
            },
            scale: Scale {
                min_processes: u32::MAX,
                idle_timeout: 0,
            },
            ..Group::default()
        }
    }

    pub fn runtime_dir(&self) -> String {
        self.place.join("run").to_str().unwrap().to_owned()
    }

    /// Sends a configuration and answers what the manager said to it.
    pub fn configure(&mut self, groups: &[Group]) -> ToHttpd {
        self.generation += 1;
        // As httpd does: what was said before the question is no answer to it.
        while message::try_receive(&self.control, &mut [0; 16]).is_ok_and(|n| n > 0) {}
        self.send(groups);
        loop {
            match self.answer() {
                ToHttpd::Started => self.send(groups),
                other => return other,
            }
        }
    }

    fn send(&self, groups: &[Group]) {
        let begin = Begin {
            generation: self.generation,
            server_uid: ids::user_ids().effective,
            server_gid: ids::group_ids().effective,
            runtime_dir: self.runtime_dir().into_bytes(),
            gateway: self.place.join("gateway").to_str().unwrap().into(),
            log: 0,
            log_level: 7,
            audit: NO_LOG,
            max_workers: self.max_workers,
            max_memory: 0,
            httpd: Default::default(),
        };
        let log = append(&self.place);
        message::send_descriptors(&self.control, &FromHttpd::Begin(begin).encode(), &[log.as_fd()]).unwrap();
        for group in groups {
            self.say(&FromHttpd::Group(Box::new(group.clone())));
        }
        for base in &self.bases {
            self.say(&FromHttpd::Base(Box::new(base.clone())));
        }
        self.say(&FromHttpd::Commit);
    }

    fn answer(&self) -> ToHttpd {
        assert!(
            poll::readable(&self.control, Some(PATIENCE)).unwrap(),
            "no answer to the configuration\n{}",
            self.log()
        );
        let mut buffer = vec![0; 65536];
        let n = message::receive(&self.control, &mut buffer).unwrap();
        ToHttpd::decode(&buffer[..n]).unwrap()
    }

    pub fn say(&self, message: &FromHttpd) {
        message::send(&self.control, &message.encode()).unwrap();
    }

    /// A child's question on a connection of its own.
    pub fn ask(&self, question: &Ask) -> Answer {
        let path = format!("{}/manager.sock", self.runtime_dir());
        let socket = socket::connect(Kind::SeqPacket, path.as_bytes(), Mode::Blocking).unwrap();
        message::send(&socket, &question.encode()).unwrap();
        assert!(
            poll::readable(&socket, Some(PATIENCE)).unwrap(),
            "no answer to a question"
        );
        let mut buffer = vec![0; 65536];
        let n = message::receive(&socket, &mut buffer).unwrap();
        Answer::decode(&buffer[..n]).unwrap()
    }

    /// Path of the pool of a group's application group `app`.
    pub fn pool(&self, group: &str) -> Vec<u8> {
        match self.ask(&question(group)) {
            Answer::Pool { path } => path,
            other => panic!("{other:?}"),
        }
    }

    /// Connects to a pool and answers the abort that comes.
    pub fn abort_from(&self, path: &[u8]) -> (AbortReason, u32, String) {
        let socket = socket::connect(Kind::Stream, path, Mode::Blocking).unwrap();
        // As a child would: the request is sent before the answer is looked at.
        let _ = message::send(&socket, &[0; 4096]);
        let mut decoder = Decoder::new();
        loop {
            assert!(
                poll::readable(&socket, Some(PATIENCE)).unwrap(),
                "no abort\n{}",
                self.log()
            );
            let n = message::receive(&socket, decoder.space()).unwrap();
            assert!(n > 0, "closed without an abort\n{}", self.log());
            decoder.filled(n);
            if let Some(frame) = decoder.next().unwrap() {
                assert_eq!(frame.kind, frame::Kind::Abort);
                let abort = Abort::decode(frame.payload).unwrap();
                return (
                    abort.reason,
                    abort.retry_after,
                    String::from_utf8_lossy(abort.text).into_owned(),
                );
            }
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.join("log")).unwrap_or_default()
    }

    /// Waits until the log holds `text` `times` times.
    pub fn logged(&self, text: &str, times: usize) {
        let end = Instant::now() + PATIENCE;
        while self.log().matches(text).count() < times {
            assert!(
                Instant::now() < end,
                "{text:?} not {times} times in the log:\n{}",
                self.log()
            );
            let _ = poll::poll(&mut [], Some(Duration::from_millis(2)));
        }
    }

    /// The workers that have said that they are ready, in order.
    pub fn ready(&self) -> Vec<Pid> {
        let log = self.log();
        let said = log
            .lines()
            .filter_map(|l| l.split_once("] worker ")?.1.strip_suffix(" is ready"));
        said.map(|pid| Pid(pid.parse().unwrap())).collect()
    }

    /// Waits for the n-th ready worker.
    pub fn nth_ready(&self, n: usize) -> Pid {
        self.logged(" is ready\n", n);
        self.ready()[n - 1]
    }

    /// Tells the manager to stop and waits for its end.
    pub fn stop(&mut self) -> process::End {
        self.gone = true;
        let _ = message::send(&self.control, &FromHttpd::Stop.encode());
        eventually("the end of the manager", || process::reap(self.keeper).unwrap())
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        if !self.gone {
            self.stop();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.place);
        }
    }
}

/// The question for the pool of a group.
pub fn question(group: &str) -> Ask {
    Ask::Pool {
        generation: 1,
        group: group.into(),
        application_group: b"app".to_vec(),
        script: Vec::new(),
    }
}

/// The children of a process, without those that write its logs.
pub fn children(of: Pid) -> Vec<Pid> {
    let text = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    let all = text.split_whitespace().map(|pid| Pid(pid.parse().unwrap()));
    all.filter(|pid| !is_scribe(*pid)).collect()
}

fn is_scribe(pid: Pid) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).nth(1) == Some(b"scribe")
}

/// Whether a process exists and is no zombie.
pub fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn append(place: &std::path::Path) -> OwnedFd {
    std::fs::OpenOptions::new()
        .append(true)
        .open(place.join("log"))
        .unwrap()
        .into()
}

/// Says that it is ready and waits to be asked to end.
pub const SERVE: &str = r"printf '\001' >&4; trap 'exit 0' TERM
    # A packet on descriptor 4 that begins with 2 says to leave, and so does its end.
    (while said=$(dd bs=65536 count=1 <&4 2>/dev/null | od -An -tu1 -N1) && [ ${said:-2} -ne 2 ]; do :; done; kill $$) & wait";

/// As [`SERVE`], of a worker that does not end with the manager.
pub const SERVE_ON: &str = r#"[ -n "$ON" ] || ON=1 exec setpriv --pdeathsig clear "$0"
    printf '' >&4; trap 'exit 0' TERM
    (while said=$(dd bs=65536 count=1 <&4 2>/dev/null | od -An -tu1 -N1) && [ ${said:-2} -ne 2 ]; do :; done; kill $$) & wait"#;

/// The signal that kills.
pub fn kill(pid: Pid) {
    let end = process::open(pid).unwrap();
    process::signal(&end, rwsgi_os::signal::Signal::KILL).unwrap();
}
