//! An application below a base, as the handler has it: whose it is, what it has, and how it is asked.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use once_cell::sync::Lazy;
use rwsgi_wire::base::Tuning;

use super::users::base_of;
use crate::backend::pools::{Below, PoolName};
use crate::codes;
use crate::config::{Base, ServerConfig};
use crate::directives::users::UserOptions;
use crate::httpd::{Level, Request};
use crate::log::log;
use crate::request::target::{Settings, Target};

/// An application of a user.
pub(super) struct UserApplication<'c> {
    /// The base that it is below.
    pub base: &'c Base,
    /// Its pool.
    pub pool: PoolName,
    /// As other applications have it.
    pub target: Target,
    /// Another worker may start when a request waits.
    pub can_grow: bool,
}

/// The application that the file of a request is, if it is below a base and the configuration names nobody else for it.
pub(super) fn of<'c>(
    request: &Request<'_>,
    config: &'c ServerConfig,
    settings: &Settings<'_>,
    callable: impl FnOnce() -> String,
) -> Option<UserApplication<'c>> {
    if config.site.bases.is_empty() || settings.names_process_group() {
        return None;
    }
    let ((number, base), place) = base_of(config, request.filename())?;
    // What is no path of a script is nobody's, and the manager says so.
    let (directory, script) = place.script().unwrap_or_default();
    let tuning = tuned(request, &settings.user_options(), base);
    let group = [b"~", place.user].concat();
    let target = Target {
        process_group: String::from_utf8_lossy(&group).into_owned(),
        application_group: String::from_utf8_lossy(request.filename()).into_owned(),
        callable: callable(),
    };
    let template = &base.group.settings;
    let processes = tuning.processes.unwrap_or(template.processes);
    let least = tuning.min_processes.unwrap_or(template.scale.min_processes);
    Some(UserApplication {
        base,
        pool: PoolName {
            group,
            application_group: request.filename().to_vec(),
            below: Some(Below {
                base: u32::try_from(number).unwrap_or(u32::MAX),
                user: place.user.to_vec(),
                directory: directory.to_vec(),
                script: script.to_vec(),
                tuning,
            }),
        },
        target,
        can_grow: least < processes,
    })
}

/// What the user has written, within the base's limits (R20).
fn tuned(request: &Request<'_>, options: &UserOptions, base: &Base) -> Tuning {
    let wanted = options.tuning();
    let tuning = wanted.within(&base.group.settings);
    if tuning != wanted && is_new(request.filename(), wanted) {
        log!(
            request,
            Level::Warning,
            codes::CLAMPED,
            "WSGIUserOptions for {} asks for more than WSGIUserProcess {} allows; the application has {}",
            request.filename().escape_ascii(),
            String::from_utf8_lossy(&base.pattern),
            told(wanted, tuning)
        );
    }
    tuning
}

/// The options that differ, as they are in force.
fn told(wanted: Tuning, tuning: Tuning) -> String {
    let all = [
        ("processes", wanted.processes, tuning.processes),
        ("min-processes", wanted.min_processes, tuning.min_processes),
        ("threads", wanted.threads, tuning.threads),
        ("idle-timeout", wanted.idle_timeout, tuning.idle_timeout),
        ("request-timeout", wanted.request_timeout, tuning.request_timeout),
        (
            "maximum-requests",
            wanted.maximum_requests,
            tuning.maximum_requests,
        ),
    ];
    let differing = all.into_iter().filter(|(_, wanted, has)| wanted != has);
    let told: Vec<String> = differing
        .filter_map(|(name, wanted, has)| Some(format!("{name}={} instead of {}", has?, wanted?)))
        .collect();
    told.join(", ")
}

/// Most sentences that are remembered as said.
const SAID_MAX: usize = 4096;

/// Whether this child has not said it yet.
fn is_new(script: &[u8], wanted: Tuning) -> bool {
    static SAID: Lazy<Mutex<HashSet<u64>>> = Lazy::new(Mutex::default);
    let mut hasher = DefaultHasher::new();
    (script, wanted).hash(&mut hasher);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() >= SAID_MAX {
        said.clear();
    }
    said.insert(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lowered_is_told_with_both_values() {
        let wanted = Tuning {
            threads: Some(99),
            processes: Some(1),
            ..Tuning::default()
        };
        let tuning = Tuning {
            threads: Some(5),
            ..wanted
        };
        assert_eq!(told(wanted, tuning), "threads=5 instead of 99");
    }

    #[test]
    fn the_same_is_said_once() {
        let wanted = Tuning::default();
        assert!(is_new(b"/said/once", wanted) && !is_new(b"/said/once", wanted));
        assert!(is_new(b"/said/twice", wanted));
    }
}
