//! A running private httpd: its start and its restarts. What a test does with it is in `faces`, how it ends in `ending`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::case::UnderTest;
use crate::cgroup::{Cgroup, trees_of};
use crate::conf::Builder;
use crate::error_log::{self, Announced};
use crate::family::Family;
use crate::places;
use crate::poll::until_some;
use crate::ports::Port;
use crate::root::{ServerRoot, write_readable};

mod ending;
mod faces;

const READY: &str = "resuming normal operations";

/// What became of a start.
pub(crate) enum Outcome {
    Running(Box<Httpd>),
    Refused(String),
}

/// A private httpd. Dropping it stops it and checks what it leaves behind.
pub struct Httpd {
    root: Arc<ServerRoot>,
    port: Port,
    test: String,
    under_test: UnderTest,
    child: Mutex<Child>,
    family: Family,
    announced: Mutex<Announced>,
    descriptors: usize,
    /// Where the groups of its manager are, or would be.
    control_groups: Vec<PathBuf>,
    stopped: AtomicBool,
}

impl Httpd {
    pub(crate) fn start(builder: Builder) -> Outcome {
        loop {
            let port = Port::take();
            write_readable(
                &builder.root.join("httpd.conf"),
                builder.text(port.number).as_bytes(),
            );
            for log in ["error.log", "console.log", "httpd.pid"] {
                let _ = std::fs::remove_file(builder.root.join(log));
            }
            let cgroup = Cgroup::make();
            let child = launch(&builder.root, cgroup.as_ref(), &builder.launcher);
            let family = Family::new(child.id(), cgroup);
            let httpd = Httpd {
                root: Arc::clone(&builder.root),
                port,
                test: builder.test.clone(),
                under_test: builder.under_test,
                child: Mutex::new(child),
                family,
                announced: Mutex::default(),
                descriptors: 0,
                control_groups: Vec::new(),
                stopped: AtomicBool::new(false),
            };
            match httpd.wait_for_start() {
                Ok(httpd) => return Outcome::Running(Box::new(httpd)),
                // Somebody else of this machine has the port: once more, in the same server root.
                Err(text) if text.contains("Address already in use") => {}
                Err(text) => return Outcome::Refused(text),
            }
        }
    }

    fn wait_for_start(mut self) -> Result<Httpd, String> {
        let start = Instant::now();
        loop {
            let ended = self.ended();
            if ended.is_some() || start.elapsed() > Duration::from_secs(40) {
                self.family.kill_all();
                let _ = self.child.lock().expect("child").wait();
                self.stopped.store(true, Ordering::Relaxed);
                let text = self.words();
                let left = if ended.is_none() {
                    "(it neither started nor ended in 40 s)\n"
                } else {
                    ""
                };
                return Err(format!("{left}{text}"));
            }
            if error_log::read(&self.error_log_path())
                .iter()
                .any(|line| line.text.contains(READY))
            {
                self.control_groups = trees_of(self.family.head);
                self.descriptors = self.parent().map_or(0, |parent| parent.descriptors());
                return Ok(self);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Graceful restart (USR1); returns when the new generation serves.
    pub fn graceful(&self) {
        self.signal_and_wait(Signal::SIGUSR1);
    }

    /// Full restart (HUP); returns when the new generation serves.
    pub fn restart(&self) {
        self.signal_and_wait(Signal::SIGHUP);
    }

    fn signal_and_wait(&self, signal: Signal) {
        let before = self.log_with(READY).len();
        self.parent().expect("httpd runs").signal(signal);
        until_some(
            "httpd to resume normal operations",
            Duration::from_secs(30),
            || {
                let ended = self.ended();
                assert!(ended.is_none(), "httpd ended at a restart:\n{}", self.words());
                (self.log_with(READY).len() > before).then_some(())
            },
        );
    }
}

/// Starts httpd in a session of its own, inside `cgroup`, to be ended when this thread ends.
fn launch(root: &Path, cgroup: Option<&Cgroup>, launcher: &[String]) -> Child {
    let console = std::fs::File::create(root.join("console.log")).expect("console.log");
    let join = cgroup.map_or_else(PathBuf::new, Cgroup::procs);
    let script = r#"[ -z "$1" ] || echo $$ >"$1"; shift; exec setsid setpriv --pdeathsig TERM "$@""#;
    Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(join)
        .args(launcher)
        .arg(places::httpd())
        .arg("-f")
        .arg(root.join("httpd.conf"))
        .arg("-DFOREGROUND")
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LANG", "C")
        // No worker may see what httpd was started with.
        .env("RWSGI_TEST_SECRET", "of httpd alone")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(console.try_clone().expect("console.log"))
        .stderr(console)
        .spawn()
        .expect("httpd starts")
}
