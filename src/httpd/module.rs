//! The two module records, and what httpd calls through them.
//!
//! The library has two identities over the same hooks: `LoadModule rwsgi_module` and `LoadModule wsgi_module`, the latter so that
//! `<IfModule mod_wsgi.c>` and `LogLevel wsgi:debug` of existing configurations mean this module. Exactly one is loaded at a time.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int, c_void};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Verdict;
use super::auth;
use super::bindings as c;
use super::command;
use super::entry::guard;
use super::next_request;
use super::pool::Pool;
use super::request::Request;
use super::server::{Server, ServerSlot};
use crate::directives::choices::LoadedAs;
use crate::directives::{RawServer, Scoped};
use crate::hooks;

/// A module record: httpd writes index, handle and link into it while it loads modules.
#[repr(transparent)]
pub struct Record(UnsafeCell<c::module>);

// SAFETY: written by httpd's only thread while modules are loaded, read only afterwards.
unsafe impl Sync for Record {}

/// `LoadModule rwsgi_module …`.
#[unsafe(no_mangle)]
pub static rwsgi_module: Record = Record::new(c"mod_rwsgi.c");

/// `LoadModule wsgi_module …`.
#[unsafe(no_mangle)]
pub static wsgi_module: Record = Record::new(c"mod_wsgi.c");

impl Record {
    const fn new(name: &'static CStr) -> Self {
        Self(UnsafeCell::new(c::module {
            version: c::MODULE_MAGIC_NUMBER_MAJOR as c_int,
            minor_version: c::MODULE_MAGIC_NUMBER_MINOR as c_int,
            module_index: -1,
            name: name.as_ptr(),
            dynamic_load_handle: core::ptr::null_mut(),
            next: core::ptr::null_mut(),
            magic: c::MODULE_MAGIC_COOKIE as _,
            rewrite_args: None,
            create_dir_config: Some(create_dir),
            merge_dir_config: Some(merge_dir),
            create_server_config: Some(create_server),
            merge_server_config: Some(merge_server),
            cmds: command::TABLE.first(),
            register_hooks: Some(register_hooks),
            flags: 0,
        }))
    }

    fn index(&self) -> c_int {
        // SAFETY: see `Sync`.
        unsafe { (*self.0.get()).module_index }
    }

    fn is_loaded(&self) -> bool {
        self.index() >= 0
    }
}

/// The record that httpd knows us by.
pub(super) fn record() -> *const c::module {
    if wsgi_module.is_loaded() {
        wsgi_module.0.get()
    } else {
        rwsgi_module.0.get()
    }
}

/// Our index, for log levels.
pub(super) fn index() -> c_int {
    if wsgi_module.is_loaded() {
        wsgi_module.index()
    } else {
        rwsgi_module.index()
    }
}

/// The name in `LoadModule`.
pub fn loaded_as() -> LoadedAs {
    if wsgi_module.is_loaded() {
        LoadedAs::Wsgi
    } else {
        LoadedAs::Rwsgi
    }
}

/// What must not be loaded beside us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BesideUs {
    /// Nothing: all is well.
    Nothing,
    /// This library, under its second name.
    Ourselves,
    /// mod_wsgi.
    Original,
}

/// Looks for what must not be loaded beside us.
pub fn beside_us() -> BesideUs {
    if rwsgi_module.is_loaded() && wsgi_module.is_loaded() {
        return BesideUs::Ourselves;
    }
    for name in [c"mod_wsgi.c", c"mod_rwsgi.c"] {
        // SAFETY: H1: a name in; the list of loaded modules is complete when hooks run.
        let other = unsafe { c::ap_find_linked_module(name.as_ptr()) };
        if !other.is_null() && !core::ptr::eq(other, record()) {
            return BesideUs::Original;
        }
    }
    BesideUs::Nothing
}

/// The path that this library was loaded from.
pub fn own_path() -> Option<PathBuf> {
    let path = rwsgi_os::dl::file_of(record().cast())?;
    Some(PathBuf::from(OsStr::from_bytes(&path)))
}

unsafe extern "C" fn create_dir(p: *mut c::apr_pool_t, _directory: *mut c_char) -> *mut c_void {
    own(p, Scoped::default())
}

unsafe extern "C" fn merge_dir(p: *mut c::apr_pool_t, base: *mut c_void, over: *mut c_void) -> *mut c_void {
    // SAFETY: H6.
    let base = unsafe { base.cast::<Scoped>().as_ref() };
    // SAFETY: H6.
    let over = unsafe { over.cast::<Scoped>().as_ref() };
    match (base, over) {
        (Some(base), Some(over)) => own(p, over.over(base)),
        _ => core::ptr::null_mut(),
    }
}

unsafe extern "C" fn create_server(p: *mut c::apr_pool_t, _s: *mut c::server_rec) -> *mut c_void {
    own(p, ServerSlot::default())
}

unsafe extern "C" fn merge_server(
    p: *mut c::apr_pool_t,
    base: *mut c_void,
    over: *mut c_void,
) -> *mut c_void {
    // SAFETY: H6.
    let base = unsafe { base.cast::<ServerSlot>().as_ref() };
    // SAFETY: H6.
    let over = unsafe { over.cast::<ServerSlot>().as_ref() };
    match (base, over) {
        (Some(base), Some(over)) => own(
            p,
            ServerSlot {
                raw: RawServer::over(&over.raw, &base.raw),
                ..ServerSlot::default()
            },
        ),
        _ => core::ptr::null_mut(),
    }
}

fn own<T: 'static>(p: *mut c::apr_pool_t, value: T) -> *mut c_void {
    guard(core::ptr::null_mut(), || {
        // SAFETY: H1: the pool of the configuration under way.
        match unsafe { Pool::lend(p) } {
            Some(pool) => pool.own(value).cast(),
            None => core::ptr::null_mut(),
        }
    })
}

/// Why each neighbour is named: `hooks`.
unsafe extern "C" fn register_hooks(p: *mut c::apr_pool_t) {
    const MIDDLE: c_int = c::APR_HOOK_MIDDLE as c_int;
    const FIRST: c_int = c::APR_HOOK_REALLY_FIRST;
    let none = core::ptr::null();
    // SAFETY: H1: hooks are registered while modules load; httpd keeps pointers to the name lists, so they are static.
    unsafe { c::ap_hook_pre_config(Some(pre_config), none, none, MIDDLE) };
    // SAFETY: as above.
    unsafe { c::ap_hook_check_config(Some(check_config), none, none, MIDDLE) };
    // SAFETY: as above.
    unsafe { c::ap_hook_post_config(Some(post_config), none, none, MIDDLE) };
    // SAFETY: as above.
    unsafe { c::ap_hook_child_init(Some(child_init), none, none, FIRST) };
    // SAFETY: as above.
    unsafe { c::ap_hook_handler(Some(handler), none, none, MIDDLE) };
    let (after, before) = (AFTER_TLS.0.as_ptr(), BEFORE_HOSTS.0.as_ptr());
    // SAFETY: as above.
    unsafe { c::ap_hook_access_checker(Some(auth::access_checker), after, before, MIDDLE) };
    // SAFETY: the pool of this hook.
    unsafe { auth::register(p) };
    next_request::register();
    const LAST: c_int = c::APR_HOOK_LAST as c_int;
    // SAFETY: as above.
    unsafe { c::ap_hook_map_to_storage(Some(map_to_storage), none, BEFORE_CORE.0.as_ptr(), LAST) };
    // SAFETY: as above.
    unsafe { c::ap_hook_type_checker(Some(type_checker), none, none, FIRST) };
    // SAFETY: as above.
    unsafe { c::ap_hook_fixups(Some(fixups), none, none, MIDDLE) };
    // SAFETY: as above.
    unsafe { c::ap_hook_translate_name(Some(translate_name), AFTER.0.as_ptr(), BEFORE.0.as_ptr(), MIDDLE) };
}

/// Lists of neighbours, which httpd keeps pointers to.
struct Names<const N: usize>([*const c_char; N]);
// SAFETY: pointers to constants.
unsafe impl<const N: usize> Sync for Names<N> {}
static AFTER: Names<2> = Names([c"mod_alias.c".as_ptr(), core::ptr::null()]);
static AFTER_TLS: Names<2> = Names([c"mod_ssl.c".as_ptr(), core::ptr::null()]);
static BEFORE_HOSTS: Names<2> = Names([c"mod_authz_host.c".as_ptr(), core::ptr::null()]);
static BEFORE_CORE: Names<2> = Names([c"core.c".as_ptr(), core::ptr::null()]);
static BEFORE: Names<3> = Names([
    c"mod_userdir.c".as_ptr(),
    c"mod_vhost_alias.c".as_ptr(),
    core::ptr::null(),
]);

const FAILED: c_int = c::HTTP_INTERNAL_SERVER_ERROR as c_int;

unsafe extern "C" fn pre_config(
    _pconf: *mut c::apr_pool_t,
    _plog: *mut c::apr_pool_t,
    _ptemp: *mut c::apr_pool_t,
) -> c_int {
    guard(FAILED, || {
        // SAFETY: H1: httpd has made the main server before modules are loaded.
        let s = unsafe { c::ap_server_conf };
        if s.is_null() {
            return Verdict::Ok.code();
        }
        // SAFETY: H1.
        hooks::pre_config(unsafe { Server::lend(s) }).code()
    })
}

unsafe extern "C" fn check_config(
    pconf: *mut c::apr_pool_t,
    _plog: *mut c::apr_pool_t,
    _ptemp: *mut c::apr_pool_t,
    s: *mut c::server_rec,
) -> c_int {
    guard(FAILED, || {
        // SAFETY: H1.
        let Some(pconf) = (unsafe { Pool::lend(pconf) }) else {
            return FAILED;
        };
        // SAFETY: H1.
        hooks::check_config(pconf, unsafe { Server::lend(s) }).code()
    })
}

unsafe extern "C" fn post_config(
    pconf: *mut c::apr_pool_t,
    _plog: *mut c::apr_pool_t,
    _ptemp: *mut c::apr_pool_t,
    s: *mut c::server_rec,
) -> c_int {
    guard(FAILED, || {
        // SAFETY: H1.
        let Some(pconf) = (unsafe { Pool::lend(pconf) }) else {
            return FAILED;
        };
        // SAFETY: H1.
        hooks::post_config(pconf, unsafe { Server::lend(s) }).code()
    })
}

unsafe extern "C" fn child_init(pchild: *mut c::apr_pool_t, s: *mut c::server_rec) {
    guard((), || {
        // SAFETY: H1.
        let Some(pchild) = (unsafe { Pool::lend(pchild) }) else {
            return;
        };
        // SAFETY: H1.
        hooks::child_init(pchild, unsafe { Server::lend(s) });
    });
}

unsafe extern "C" fn translate_name(r: *mut c::request_rec) -> c_int {
    guard(FAILED, || {
        Request::lend(r, c::DECLINED, |r| hooks::translate_name(r).code())
    })
}

unsafe extern "C" fn map_to_storage(r: *mut c::request_rec) -> c_int {
    guard(FAILED, || {
        Request::lend(r, c::DECLINED, |r| hooks::map_to_storage(r).code())
    })
}

unsafe extern "C" fn type_checker(r: *mut c::request_rec) -> c_int {
    guard(FAILED, || {
        Request::lend(r, c::DECLINED, |r| hooks::type_checker(r).code())
    })
}

unsafe extern "C" fn fixups(r: *mut c::request_rec) -> c_int {
    guard(FAILED, || {
        Request::lend(r, c::DECLINED, |r| hooks::fixups(r).code())
    })
}

unsafe extern "C" fn handler(r: *mut c::request_rec) -> c_int {
    guard(FAILED, || {
        Request::lend(r, c::DECLINED, |r| hooks::handler(r).code())
    })
}
