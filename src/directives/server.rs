//! Settings of the whole server.

use std::sync::Arc;

use super::accepted::Accepted;
use super::calls::CallScript;
use super::cap::Cap;
use super::daemon::RawGroup;
use super::import::Load;
use super::interpreter::Interpreters;
use super::kinds::{Absolute, BelowServerRoot, Bytes, Count, OnOff};
use super::python::Python;
use super::script::Alias;
use super::users::RawBase;
use super::{Scoped, Target, Wrong, settings};

settings! {
    /// Settings of the main server; unset is `None`.
    pub struct Global;

    /// The Python for embedded mode, and for every `WSGIDaemonProcess` without `python-home`: a virtual environment, or the prefix
    /// of a Python installation (`/usr` for the distribution's).
    python_home: Absolute = c"WSGIPythonHome" in Global;

    /// Beginning of the name of the directory that holds the sockets of the workers; relative to `ServerRoot`. The process id of httpd is
    /// added. Default: `rwsgi` in `DefaultRuntimeDir`. The directory it is in must exist; httpd's user needs to be able to pass through it.
    socket_prefix: BelowServerRoot = c"WSGISocketPrefix" in Global;

    /// On: applications run in daemon processes only, and httpd's children hold no Python. A request without a process group is answered
    /// with 500. Default Off.
    restrict_embedded: OnOff = c"WSGIRestrictEmbedded" in Global;

    /// Where request bodies and answers are kept that `WSGIRequestBuffering` and `WSGIResponseBuffering` let wait, if they are larger than 64 KiB: in
    /// files that have no name, so they are gone when the request is over, whatever happens. httpd's user must be able to write there, and the file system must have
    /// unnamed files (`O_TMPFILE`; all usual local ones have). Default `/var/tmp`.
    spool_directory: Absolute = c"WSGISpoolDirectory" in Global;

    /// Most requests of one application in embedded mode, an application group, that may be under way in all of httpd's children together: a number, or a share
    /// of `MaxRequestWorkers` such as `25%`. Further ones are answered 503 with `Retry-After` at once, so that an application that hangs leaves threads of
    /// httpd to others. Default 0: no limit. For daemon processes there are the options `request-limit` and `user-request-limit`.
    embedded_request_limit: Cap = c"WSGIEmbeddedRequestLimit" in Global;

    /// On: applications in embedded mode may see httpd's scoreboard, by `mod_wsgi.server_metrics()`: what each child and thread does, with
    /// the client and the first line of requests, those of other sites included. Default Off: the function returns `None`. For daemon
    /// processes there is the option `server-metrics`.
    server_metrics: OnOff = c"WSGIServerMetrics" in Global;

    /// Most worker processes of all process groups together. Default 0: no limit. When one more is needed, the worker that has been idle
    /// for longest ends, among those above the `min-processes` of their group; those of another user end only for a user with less than an equal
    /// share of the workers. While none is idle, requests to applications that have no worker wait for `startup-timeout`, or for 30 seconds; then the client gets 503 with `Retry-After`. A worker that is being
    /// replaced and its successor count as one, and services (`threads=0`) do not count.
    max_workers: Count<0> = c"WSGIMaxWorkers" in Global;

    /// Most memory of all worker processes and their children together, in bytes, at least 64 MiB (67108864). Default 0: no limit. Before one more worker starts, as much memory as the others
    /// use on average must be free below this; as with `WSGIMaxWorkers`, workers that have been idle for longest end for it, and requests to applications without a worker wait, then
    /// get 503 with `Retry-After`. Those of another user end only for a user with less than an equal share of the workers. No worker is killed when those that run grow beyond it: for that there are `application-memory-limit` and
    /// `user-memory-limit`. Measured by control groups, else by the resident memory of the workers that they do not share.
    max_memory: Bytes<67_108_864> = c"WSGIMaxMemory" in Global;

    /// File that says for each worker when it was started, became ready, was told to go, was killed and ended, why, and what it had used, and
    /// has every message of the manager at warning or above, and the code, request and file of each of httpd's children: one JSON object per line. Relative to `ServerRoot`. Made with mode 0600 if
    /// it is not there, never by following a link, and appended to; opened anew at each restart of httpd, graceful or not, so that it can be
    /// rotated. Names and texts are escaped as in the error log; headers, bodies, query strings and environments are never in it. Default: none.
    audit_log: BelowServerRoot = c"WSGIAuditLog" in Global;
}

impl Global {
    fn settings_of<'a>(target: &'a mut Target<'_>) -> Result<&'a mut Self, Wrong> {
        Ok(&mut target.server()?.global)
    }
}

/// Everything written for the main server or a virtual host.
#[derive(Clone, Debug, Default)]
pub struct RawServer {
    /// Settings that directories may override.
    pub scoped: Scoped,
    /// Settings of the main server; unset everywhere else.
    pub global: Global,
    /// How Python is started and ended; of the main server.
    pub python: Python,
    /// `WSGIPythonWarnings`; of the main server.
    pub warnings: Vec<String>,
    /// What is said of interpreters; of the main server.
    pub interpreters: Interpreters,
    /// What has no effect; of the main server.
    pub accepted: Accepted,
    /// Directives of telemetry; of the main server.
    pub telemetry: Vec<&'static str>,
    /// Aliases in the order in which they are tried.
    pub aliases: Vec<Alias>,
    /// Process groups declared here.
    pub groups: Vec<RawGroup>,
    /// Bases of users, in the order in which they are tried; of the main server.
    pub bases: Vec<RawBase>,
    /// What is written here to be loaded at start, in order.
    pub loads: Vec<Load>,
    /// Scripts that httpd asks, written here or in sections within.
    pub calls: Vec<Arc<CallScript>>,
}

impl RawServer {
    /// A virtual host's settings over those of the main server. Process groups, and what is loaded at start, stay where they are written.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        Self {
            scoped: self.scoped.over(&base.scoped),
            global: self.global.over(&base.global),
            aliases: self.aliases.iter().chain(&base.aliases).cloned().collect(),
            groups: self.groups.clone(),
            loads: self.loads.clone(),
            calls: self.calls.clone(),
            ..Self::default()
        }
    }
}
