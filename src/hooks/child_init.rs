//! The beginning of an httpd child, and the facts of this process.

use std::sync::Arc;
use std::time::Duration;

use once_cell::sync::OnceCell;
use rwsgi_embedding::host::Guest;

use super::admission;
use super::arrival::Arrivals;
use super::client::{file_of, level_of};
use crate::audit;
use crate::backend::embedded::{self, Python};
use crate::backend::pools::Pools;
use crate::codes;
use crate::config::Site;
use crate::httpd::{self, Level, Pool, Server};
use crate::manager_link;

/// What this process knows; filled here, never in a parent that has children.
pub(super) struct Child;

static POOLS: OnceCell<Pools> = OnceCell::new();
static PYTHON: OnceCell<Result<Python, String>> = OnceCell::new();

static ARRIVALS: OnceCell<Arrivals> = OnceCell::new();

/// What Python's settings take from httpd.
static START: OnceCell<embedded::Start> = OnceCell::new();

impl Child {
    /// The pools of workers.
    pub fn pools() -> Option<&'static Pools> {
        POOLS.get()
    }

    /// The time since a request arrived, in microseconds since 1970.
    pub fn since(arrived: i64) -> Duration {
        ARRIVALS.get_or_init(Arrivals::new).since(arrived)
    }

    /// Python in this process, started now if it was not before. The sentence says why there is none.
    pub fn python() -> Result<Guest, &'static str> {
        let python = PYTHON.get_or_init(|| match START.get() {
            Some(start) => {
                let python = Python::start(start);
                if let Err(sentence) = &python {
                    httpd::log_for_process(
                        Level::Crit,
                        httpd::site!(),
                        &codes::Line::line(&codes::PYTHON, sentence),
                    );
                }
                python
            }
            None => Err("this process is not an httpd child".into()),
        });
        python.as_ref().map(Python::guest).map_err(String::as_str)
    }
}

/// First of all hooks of its kind.
pub fn child_init(pchild: Pool<'_>, main: Server<'_>) {
    let site = main.config().map(|config| Arc::clone(&config.site));
    // With `httpd -X` this process is the parent, too.
    let is_parent = |site: &Arc<Site>| site.run.get().is_some_and(|run| run.httpd == std::process::id());
    match site.as_ref().is_some_and(is_parent) {
        true => manager_link::change_user(),
        false => manager_link::forget_in_child(main),
    }
    httpd::log_panics_of_this_process();
    httpd::expect_next_requests();
    let Some(site) = site else { return };
    ARRIVALS.get_or_init(Arrivals::new);
    if let Some(run) = site.run.get() {
        let manager = run
            .runtime_dir
            .join("manager.sock")
            .into_os_string()
            .into_encoded_bytes();
        if site.audit_log.is_some() {
            audit::begin(manager.clone());
        }
        let _ = POOLS.set(Pools::new(manager, run.generation));
    }
    admission::join(main, &site);
    let _ = START.set(embedded::Start {
        python_home: site.embedded.python_home.clone(),
        python: site.embedded.python.clone(),
        gateway: site.gateway.get().and_then(|gateway| gateway.try_clone().ok()),
        httpd: httpd::facts(),
        log_level: main.log_level(),
        preload: site.embedded.preload.clone(),
        look: site.embedded.server_metrics.then_some(httpd::scoreboard),
        log: |log| {
            let (level, text) = (level_of(log.level), String::from_utf8_lossy(log.text));
            let file = file_of(&log.origin);
            let site = match &file {
                Some(file) => httpd::Site {
                    file,
                    line: log.origin.line,
                },
                None => httpd::site!(),
            };
            for line in text.split('\n') {
                httpd::log_for_process(level, site, line);
            }
        },
    });
    if site.embedded.is_expected {
        // A failure is logged there.
        let _ = Child::python();
    }
    // Before the requests under way go with their pools.
    pchild.before_end(|| {
        if let Some(Ok(python)) = PYTHON.get() {
            python.stop();
        }
    });
}
