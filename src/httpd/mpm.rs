//! What the MPM and the core say about this httpd.

use core::ffi::c_int;

use super::bindings as c;
use super::pool::Pool;
use super::table;
use rwsgi_wire::httpd::Httpd;
use std::ffi::CString;
use std::path::PathBuf;

/// How httpd serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mpm {
    /// Most threads of a child.
    pub threads: u32,
    /// Most children.
    pub children: u32,
}

/// Where httpd is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// The configuration is read for the first of two times: nothing may be started.
    FirstPass,
    /// It is read for good.
    Configuring,
    /// It serves, or is about to.
    Running,
    /// It ends.
    Stopping,
}

impl Mpm {
    /// Asks.
    pub fn query() -> Self {
        let threaded = ask(c::AP_MPMQ_IS_THREADED).is_some_and(|kind| kind > 0);
        let forked = ask(c::AP_MPMQ_IS_FORKED).is_some_and(|kind| kind > 0);
        let many = |query| ask(query).and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
        Self {
            threads: if threaded { many(c::AP_MPMQ_MAX_THREADS) } else { 1 },
            children: if forked { many(c::AP_MPMQ_MAX_DAEMONS) } else { 1 },
        }
    }

    /// As [`query`](Self::query), but what no restart can exceed: `ServerLimit` and `ThreadLimit`.
    pub fn limits() -> Self {
        let many = |query| ask(query).and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
        Self {
            threads: many(c::AP_MPMQ_HARD_LIMIT_THREADS),
            children: many(c::AP_MPMQ_HARD_LIMIT_DAEMONS),
        }
    }

    /// Connections without a request are another thread's affair (MPM event).
    pub fn has_listener() -> bool {
        ask(c::AP_MPMQ_IS_ASYNC).is_some_and(|kind| kind > 0)
    }

    /// The configuration's generation: one more after each restart.
    pub fn generation() -> u32 {
        ask(c::AP_MPMQ_GENERATION)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(0)
    }
}

impl RunState {
    /// Asks.
    pub fn query() -> Self {
        // SAFETY: a plain question.
        let state = unsafe { c::ap_state_query(c::AP_SQ_MAIN_STATE as c_int) };
        let stopping = || ask(c::AP_MPMQ_MPM_STATE) == Some(c::AP_MPMQ_STOPPING as c_int);
        match state as u32 {
            c::AP_SQ_MS_INITIAL_STARTUP | c::AP_SQ_MS_CREATE_PRE_CONFIG => Self::FirstPass,
            c::AP_SQ_MS_EXITING => Self::Stopping,
            _ if stopping() => Self::Stopping,
            c::AP_SQ_MS_RUN_MPM => Self::Running,
            _ => Self::Configuring,
        }
    }

    /// httpd was told to check or show its configuration only.
    pub fn is_dry_run() -> bool {
        // SAFETY: a plain question.
        let mode = unsafe { c::ap_state_query(c::AP_SQ_RUN_MODE as c_int) };
        mode != c::AP_SQ_RM_NORMAL as c_int
    }
}

fn ask(query: u32) -> Option<c_int> {
    let mut answer = 0;
    // SAFETY: a question, and a place for its answer.
    let status = unsafe { c::ap_mpm_query(query as c_int, &raw mut answer) };
    (status == 0).then_some(answer)
}

/// Who httpd's children run as: `User` and `Group`.
pub fn unix_identity() -> (u32, u32) {
    // SAFETY: H1: written while the configuration is read, which is this thread's doing.
    let uid = unsafe { c::ap_unixd_config.user_id };
    // SAFETY: as above.
    let gid = unsafe { c::ap_unixd_config.group_id };
    (uid, gid)
}

/// `SERVER_SOFTWARE`.
pub fn banner() -> &'static [u8] {
    // SAFETY: H1: fixed once httpd serves.
    let banner = unsafe { c::ap_get_server_banner() };
    // SAFETY: H2: lives as long as the configuration, and this library no longer than that.
    unsafe { table::bytes(banner) }.unwrap_or_default()
}

/// httpd's own version.
pub fn httpd_version() -> [u16; 3] {
    let mut version = c::ap_version_t {
        major: 0,
        minor: 0,
        patch: 0,
        add_string: core::ptr::null(),
    };
    // SAFETY: a place for the answer.
    unsafe { c::ap_get_server_revision(&raw mut version) };
    [version.major, version.minor, version.patch].map(|n| u16::try_from(n).unwrap_or(0))
}

/// What applications may ask about this httpd.
pub fn facts() -> Httpd {
    let mpm = Mpm::query();
    // SAFETY: H1: fixed once the configuration has been read.
    let description = unsafe { c::ap_get_server_description() };
    // SAFETY: as above.
    let name = unsafe { c::ap_show_mpm() };
    // SAFETY: a plain question.
    let built = unsafe { c::ap_get_server_built() };
    // SAFETY: H2: all three live as long as the configuration; they are copied.
    let copy = |text| unsafe { table::bytes(text) }.unwrap_or_default().to_vec();
    Httpd {
        version: httpd_version(),
        processes: mpm.children,
        threads: mpm.threads,
        description: copy(description),
        mpm: copy(name),
        built: copy(built),
    }
}

/// Adds `name/version` to the banner.
pub fn add_version_component(pconf: &Pool<'_>, text: &str) {
    let text = pconf.c_string(text.as_bytes());
    // SAFETY: H1, H5.
    unsafe { c::ap_add_version_component(pconf.raw(), text) };
}

/// `name` below `DefaultRuntimeDir`.
pub fn in_runtime_dir(pool: &Pool<'_>, name: &str) -> PathBuf {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: H5.
    to_path(unsafe { c::ap_runtime_dir_relative(pool.raw(), name.as_ptr()) })
}

/// `name` below `ServerRoot`, unless it is absolute.
pub fn in_server_root(pool: &Pool<'_>, name: &str) -> PathBuf {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: H5.
    to_path(unsafe { c::ap_server_root_relative(pool.raw(), name.as_ptr()) })
}

fn to_path(text: *const core::ffi::c_char) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: H2: a string in the pool given, or null for an impossible path.
    let bytes = unsafe { table::bytes(text) }.unwrap_or_default();
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}
