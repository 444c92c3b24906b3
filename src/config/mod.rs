//! What the configuration means: raw settings become resolved ones, once, when all of it has been read.
//!
//! Pure but for the user database: [`resolve`] looks names up through `rwsgi_os::users`. Nothing is changed afterwards.

pub mod bases;
pub mod group;
pub mod identity;
pub mod privileged;
pub mod python;
pub mod remarks;
pub mod remembered;
pub mod resolve;
pub mod sockets;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rwsgi_wire::control::Preload;
use rwsgi_wire::python::Python;

use crate::directives::Scoped;
use crate::directives::cap::Cap;
use crate::directives::script::Alias;
pub use bases::Base;
pub use group::{Group, Owner};

/// What holds for the whole process.
#[derive(Debug)]
pub struct Site {
    /// Process groups by name.
    pub groups: BTreeMap<String, Group>,
    /// Bases of users, in the order in which they are tried.
    pub bases: Vec<Base>,
    /// Most workers of all groups together; 0: no limit.
    pub max_workers: u32,
    /// Where request bodies wait.
    pub spool_directory: PathBuf,
    /// Most memory of all workers together, bytes; 0: no limit.
    pub max_memory: u64,
    /// Embedded mode.
    pub embedded: Embedded,
    /// `WSGIAuditLog`.
    pub audit_log: Option<PathBuf>,
    /// The sockets' directory, without the process id that is added to its name.
    pub socket_prefix: PathBuf,
    /// The manager's part in it, once it is known.
    pub run: OnceLock<Run>,
    /// `_rwsgi.abi3.so`, opened for children that may not be able to.
    pub gateway: OnceLock<File>,
}

impl Site {
    /// The requests of some application are counted over all children.
    pub fn is_capped(&self) -> bool {
        let of_users = self.bases.iter().map(|base| &base.group);
        self.embedded.request_limit != Cap::None || self.groups.values().chain(of_users).any(Group::is_capped)
    }

    /// `WSGICaseSensitivity Off`, which holds for the whole server.
    pub fn folds_case(&self) -> bool {
        self.embedded.python.fold_case
    }
}

/// Where this run's sockets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Directory of the sockets.
    pub runtime_dir: PathBuf,
    /// Number of the configuration.
    pub generation: u32,
    /// Process id of httpd's parent.
    pub httpd: u32,
}

/// Embedded mode, resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Embedded {
    /// `WSGIRestrictEmbedded On`: httpd's children hold no Python.
    pub is_off: bool,
    /// `WSGIPythonHome`.
    pub python_home: Option<PathBuf>,
    /// How Python is started, set up and ended there.
    pub python: Python,
    /// Something in the configuration of servers runs in embedded mode for certain: start Python with the child, not at the
    /// first request.
    pub is_expected: bool,
    /// Something in it needs Python in httpd's children whatever `is_off` says of requests.
    pub is_forced: bool,
    /// `WSGIEmbeddedRequestLimit`.
    pub request_limit: Cap,
    /// `WSGIServerMetrics On`.
    pub server_metrics: bool,
    /// Scripts loaded when Python starts, in order.
    pub preload: Vec<Preload>,
}

/// A server's resolved configuration. Virtual hosts for which nothing of ours is written share the main server's.
#[derive(Debug)]
pub struct ServerConfig {
    /// What holds for the whole process.
    pub site: Arc<Site>,
    /// Its settings, over which directories lay theirs.
    pub scoped: Scoped,
    /// Its aliases, in the order in which they are tried.
    pub aliases: Vec<Alias>,
}

impl ServerConfig {
    /// The process group of that name, if it takes requests and the server that asks may use it: groups of the main server are for all, others for
    /// servers of the same `ServerName`.
    pub fn group(&self, name: &str, server_name: &str, is_virtual: bool) -> Result<&Group, NoGroup> {
        let group = self.site.groups.get(name).ok_or(NoGroup::Unknown)?;
        if !group.is_visible_to(server_name, is_virtual) {
            return Err(NoGroup::OfAnotherServer);
        }
        if group.settings.is_service() {
            return Err(NoGroup::Service);
        }
        Ok(group)
    }
}

/// Why a process group cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoGroup {
    /// No `WSGIDaemonProcess` defines it.
    Unknown,
    /// It belongs to a virtual host of another `ServerName`.
    OfAnotherServer,
    /// It takes no requests (`threads=0`).
    Service,
}

/// Why a configuration cannot be used: a sentence with directive, value and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where it was written.
    pub place: String,
    /// Directive and value.
    pub subject: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            subject,
            problem,
            remedy,
        } = self;
        if place.is_empty() {
            write!(f, "{subject} {problem}; {remedy}")
        } else {
            write!(f, "{subject} {problem}; {remedy} ({place})")
        }
    }
}
