//! A process that httpd's parent watches for us, and what it remembers over restarts.

use core::ffi::{CStr, c_int, c_void};

use super::bindings as c;
use super::entry::guard;
use super::pool::Pool;
use super::server::Server;

/// What the parent remembers over restarts, in the pool of the process. Plain data: this library may be another one by then (H7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Memory {
    /// Our end of the control socket, or -1.
    pub fd: i32,
    /// The manager, or 0.
    pub pid: i32,
    /// Counts the configurations sent.
    pub generation: u32,
}

/// The memory in which children count requests, as [`Memory`] is kept: one for all configurations, for old children count in it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Counting {
    /// The file, or -1.
    pub fd: i32,
    /// Children that fit.
    pub rows: u32,
    /// Requests of each.
    pub places: u32,
}

/// Names what is in the record: a changed layout needs a new name.
const KEY: &CStr = c"rwsgi.manager.1";
/// The same for [`Counting`].
const COUNTING: &CStr = c"rwsgi.counting.1";

impl Server<'_> {
    /// Reads and writes the record; made, empty, at its first use.
    pub fn with_memory<T>(&self, body: impl FnOnce(&mut Memory) -> T) -> T {
        let empty = Memory {
            fd: -1,
            pid: 0,
            generation: 0,
        };
        // SAFETY: `KEY` is for this type.
        unsafe { self.with_record(KEY, empty, body) }
    }

    /// The same for the memory in which children count requests.
    pub fn with_counting<T>(&self, body: impl FnOnce(&mut Counting) -> T) -> T {
        let empty = Counting {
            fd: -1,
            rows: 0,
            places: 0,
        };
        // SAFETY: `COUNTING` is for this type.
        unsafe { self.with_record(COUNTING, empty, body) }
    }

    /// # Safety
    /// * `key` is for records of this type only.
    unsafe fn with_record<R: Copy, T>(&self, key: &CStr, empty: R, body: impl FnOnce(&mut R) -> T) -> T {
        const { assert!(align_of::<R>() <= 8) };
        let pool = self.process_pool();
        let mut found = core::ptr::null_mut();
        // SAFETY: H1: the process pool; `found` is writable.
        unsafe { c::apr_pool_userdata_get(&raw mut found, key.as_ptr(), pool) };
        if found.is_null() {
            // SAFETY: H5.
            found = unsafe { c::apr_palloc(pool, size_of::<R>()) };
            // SAFETY: fresh memory, large and aligned enough (APR aligns to 8 bytes).
            unsafe { found.cast::<R>().write(empty) };
            // SAFETY: the key is copied.
            unsafe { c::apr_pool_userdata_set(found, key.as_ptr(), None, pool) };
        }
        // SAFETY: the caller's promise. H9: only the parent's only thread, or a child's first, uses the record; not reentrant: `body` gets no
        // server.
        body(unsafe { &mut *found.cast::<R>() })
    }
}

type OnDeath = Box<dyn FnMut(Pool<'_>, Server<'_>) + 'static>;

struct Watch {
    process: c::apr_proc_t,
    pconf: *mut c::apr_pool_t,
    on_death: OnDeath,
    armed: bool,
}

/// Calls `on_death` from the parent's main loop when the child process `pid` has ended without `pconf` having been cleared before.
pub fn watch_child(pconf: &Pool<'_>, pid: i32, on_death: impl FnMut(Pool<'_>, Server<'_>) + 'static) {
    let process = c::apr_proc_t { pid, ..no_process() };
    let watch = Watch {
        process,
        pconf: pconf.raw(),
        on_death: Box::new(on_death),
        armed: true,
    };
    let watch = pconf.own(watch);
    // SAFETY: `own` returns a live value.
    let process = unsafe { &raw mut (*watch).process };
    let data = watch.cast::<c_void>();
    // SAFETY: H4: the record and its owner live in `pconf`; httpd unregisters it when that is cleared.
    unsafe {
        c::apr_proc_other_child_register(process, Some(maintain), data, core::ptr::null_mut(), pconf.raw())
    };
}

fn no_process() -> c::apr_proc_t {
    // SAFETY: numbers and nullable pointers only.
    unsafe { core::mem::zeroed() }
}

unsafe extern "C" fn maintain(reason: c_int, data: *mut c_void, _status: c_int) {
    guard((), || {
        let watch = data.cast::<Watch>();
        if reason as u32 != c::APR_OC_REASON_DEATH && reason as u32 != c::APR_OC_REASON_LOST {
            return;
        }
        // SAFETY: H4: the watch lives as long as its registration.
        let armed = unsafe { core::mem::replace(&mut (*watch).armed, false) };
        if !armed {
            return;
        }
        // SAFETY: takes the dead process from APR's list; may call us again with another reason, which returns above.
        unsafe { c::apr_proc_other_child_unregister(data) };
        // SAFETY: H4: the watch is still there: its pool owns it.
        let pconf = unsafe { (*watch).pconf };
        // SAFETY: H4: alive as long as the registration was.
        let Some(pconf) = (unsafe { Pool::lend(pconf) }) else {
            return;
        };
        // SAFETY: as above; nobody else borrows the closure: it runs once.
        let on_death = unsafe { &mut (*watch).on_death };
        with_main_server(|main| on_death(pconf, main));
    });
}

/// Lends the main server to code that httpd calls without one.
pub fn with_main_server(body: impl FnOnce(Server<'_>)) {
    // SAFETY: H1: httpd's own pointer to it.
    let s = unsafe { c::ap_server_conf };
    if !s.is_null() {
        // SAFETY: H1.
        body(unsafe { Server::lend(s) });
    }
}
