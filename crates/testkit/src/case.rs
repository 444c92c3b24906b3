//! What a test is told: its name, the mode, and whose module it runs against.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::unistd::geteuid;

use crate::conf::{self, Builder};
use crate::places;

/// Who runs the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A worker process of a `WSGIDaemonProcess` group.
    Daemon,
    /// An interpreter inside httpd's own children.
    Embedded,
}

/// Whose module is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderTest {
    /// The module built from this repository.
    Ours,
    /// mod_wsgi from PyPI, as the reference of behaviour.
    Theirs,
}

impl UnderTest {
    /// From `RWSGI_UNDER_TEST`: `ours` (the default) or `theirs`.
    pub fn chosen() -> UnderTest {
        match std::env::var("RWSGI_UNDER_TEST").as_deref() {
            Err(_) | Ok("ours" | "") => UnderTest::Ours,
            Ok("theirs") => UnderTest::Theirs,
            Ok(other) => panic!("RWSGI_UNDER_TEST is `{other}`; it may be `ours` or `theirs`"),
        }
    }
}

/// Carried by a panic that means "this test cannot run here".
pub(crate) struct Skip(pub String);

/// One run of one test.
pub struct Case {
    /// `topic::test_name[mode]`; sent with each request as `X-Test`.
    pub name: String,
    /// The mode that this run is for.
    pub mode: Mode,
    /// Whose module it is.
    pub under_test: UnderTest,
    /// After so many seconds it hangs.
    pub(crate) seconds: Arc<AtomicU64>,
}

impl Case {
    /// A fixture of this case's mode, to be configured and started.
    pub fn httpd(&self) -> Builder {
        if let Err(why) = places::module(self.under_test) {
            self.skip(&why);
        }
        Builder::new(self)
    }

    /// Whether the original is under test. Use it where the two differ on purpose, with a comment that says why.
    pub fn theirs(&self) -> bool {
        self.under_test == UnderTest::Theirs
    }

    /// Whether the application runs in httpd's children.
    pub fn embedded(&self) -> bool {
        self.mode == Mode::Embedded
    }

    /// Chooses between what our module and what the original says in the log.
    pub fn said<'a>(&self, ours: &'a str, theirs: &'a str) -> &'a str {
        if self.theirs() { theirs } else { ours }
    }

    /// Ends the test here; the summary counts it as skipped, with the reason.
    pub fn skip(&self, why: &str) -> ! {
        std::panic::panic_any(Skip(why.to_owned()))
    }

    /// Skips unless this process is root.
    pub fn needs_root(&self) {
        if !geteuid().is_root() {
            self.skip("needs root");
        }
    }

    /// Skips under the original, which does not have what is tested.
    pub fn needs_ours(&self, why: &str) {
        if self.theirs() {
            self.skip(&format!("not for the original: {why}"));
        }
    }

    /// Skips under prefork, for which mod_http2 does not work.
    pub fn needs_http2(&self) {
        if conf::mpm() == "prefork" {
            self.skip("prefork has no HTTP/2");
        }
    }

    /// Skips under prefork, whose children have one thread.
    pub fn needs_threads(&self) {
        if conf::mpm() == "prefork" {
            self.skip("prefork has no threads");
        }
    }

    /// How many rounds an attack takes: `few` in the ordinary suite, `many` when `RWSGI_FAULTS=long` asks for all of them.
    pub fn rounds(&self, few: usize, many: usize) -> usize {
        match std::env::var("RWSGI_FAULTS").as_deref() {
            Ok("long") => many,
            Ok("") | Err(_) => few,
            Ok(other) => panic!("RWSGI_FAULTS is `{other}`; it may be `long`"),
        }
    }

    /// Allows the test more time than others have, counted from its beginning.
    pub fn may_take(&self, time: Duration) {
        self.seconds.store(time.as_secs(), Ordering::Relaxed);
    }

    /// Skips unless `tests/prepare.sh` made the venv with the frameworks.
    pub fn needs_apps(&self) {
        if places::apps_venv().is_none() {
            self.skip("no .venvs/apps: run tests/prepare.sh");
        }
    }
}
