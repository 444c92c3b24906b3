//! Providers for httpd's authentication and authorisation, and the access hook.

use core::ffi::{CStr, c_char, c_int, c_void};

use super::bindings as c;
use super::entry::guard;
use super::request::Request;
use super::table;
use crate::hooks;
use crate::hooks::auth::{Access, Group, Hash, Password};

/// A provider record, which httpd keeps a pointer to.
#[repr(transparent)]
struct Record<T>(T);

// SAFETY: pointers to functions; httpd only reads it.
unsafe impl<T> Sync for Record<T> {}

static USERS: Record<c::authn_provider> = Record(c::authn_provider {
    check_password: Some(check_password),
    get_realm_hash: Some(get_realm_hash),
});

static GROUPS: Record<c::authz_provider> = Record(c::authz_provider {
    check_authorization: Some(check_authorization),
    parse_require_line: None,
});

/// `AuthBasicProvider wsgi`, `AuthDigestProvider wsgi`, `Require wsgi-group`. httpd asks them anew for subrequests and internal redirects,
/// for the scripts may decide by the URL.
///
/// # Safety
/// * `p` is the pool given to the hook that registers hooks (H1).
pub(super) unsafe fn register(p: *mut c::apr_pool_t) {
    let anew = c::AP_AUTH_INTERNAL_PER_URI as c_int;
    let version = c"0".as_ptr();
    let users = (&raw const USERS).cast::<c_void>();
    // SAFETY: the caller's promise; all names and records are static.
    unsafe { c::ap_register_auth_provider(p, c"authn".as_ptr(), c"wsgi".as_ptr(), version, users, anew) };
    let groups = (&raw const GROUPS).cast::<c_void>();
    // SAFETY: as above.
    unsafe {
        c::ap_register_auth_provider(
            p,
            c"authz".as_ptr(),
            c"wsgi-group".as_ptr(),
            version,
            groups,
            anew,
        )
    };
}

/// The bytes of an argument that httpd gives to a provider.
///
/// # Safety
/// * `text` is null or a NUL-terminated string that lives during the call (H1, H2).
unsafe fn argument<'a>(text: *const c_char) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { table::bytes(text) }.unwrap_or_default()
}

unsafe extern "C" fn check_password(
    r: *mut c::request_rec,
    user: *const c_char,
    password: *const c_char,
) -> c::authn_status {
    guard(c::AUTH_GENERAL_ERROR, || {
        // SAFETY: H1, H2.
        let user = unsafe { argument(user) };
        // SAFETY: H1, H2.
        let password = unsafe { argument(password) };
        Request::lend(r, c::AUTH_GENERAL_ERROR, |r| {
            match hooks::auth::check_password(r, user, password) {
                Password::Right => c::AUTH_GRANTED,
                Password::Wrong => c::AUTH_DENIED,
                Password::UnknownUser => c::AUTH_USER_NOT_FOUND,
                Password::Failed => c::AUTH_GENERAL_ERROR,
            }
        })
    })
}

unsafe extern "C" fn get_realm_hash(
    r: *mut c::request_rec,
    user: *const c_char,
    realm: *const c_char,
    hash: *mut *mut c_char,
) -> c::authn_status {
    guard(c::AUTH_GENERAL_ERROR, || {
        // SAFETY: H1, H2.
        let user = unsafe { argument(user) };
        // SAFETY: H1, H2.
        let realm = unsafe { argument(realm) };
        Request::lend(r, c::AUTH_GENERAL_ERROR, |r| {
            match hooks::auth::realm_hash(r, user, realm) {
                Hash::Known(found) => {
                    // SAFETY: H1: httpd lends the place for the answer.
                    unsafe { *hash = r.pool().c_string(&found) };
                    c::AUTH_USER_FOUND
                }
                Hash::UnknownUser => c::AUTH_USER_NOT_FOUND,
                Hash::Failed => c::AUTH_GENERAL_ERROR,
            }
        })
    })
}

unsafe extern "C" fn check_authorization(
    r: *mut c::request_rec,
    require_line: *const c_char,
    _parsed: *const c_void,
) -> c::authz_status {
    guard(c::AUTHZ_DENIED, || {
        // SAFETY: H1, H2.
        let wanted = unsafe { argument(require_line) };
        Request::lend(r, c::AUTHZ_DENIED, |r| match hooks::auth::in_group(r, wanted) {
            Group::Yes => c::AUTHZ_GRANTED,
            Group::No => c::AUTHZ_DENIED,
            Group::NoUser => c::AUTHZ_DENIED_NO_USER,
        })
    })
}

pub(super) unsafe extern "C" fn access_checker(r: *mut c::request_rec) -> c_int {
    let forbidden = c::HTTP_FORBIDDEN as c_int;
    guard(forbidden, || {
        Request::lend(r, forbidden, |r| match hooks::auth::access(r) {
            Access::Allowed => c::OK as c_int,
            Access::NoOpinion => c::DECLINED,
            Access::Forbidden => forbidden,
        })
    })
}

impl<'r> Request<'r> {
    /// The client's name, where `HostnameLookups` finds one.
    pub fn remote_host(&self) -> Option<&'r [u8]> {
        let (connection, directory) = (self.rec().connection, self.rec().per_dir_config);
        let (kind, is_ip) = (c::REMOTE_HOST as c_int, core::ptr::null_mut());
        // SAFETY: H1.
        let host = unsafe { c::ap_get_remote_host(connection, directory.cast(), kind, is_ip) };
        // SAFETY: H2.
        unsafe { table::bytes(host) }
    }

    /// The user goes on under this name.
    pub fn set_user(&self, name: &[u8]) {
        let name = self.pool().c_string(name);
        // SAFETY: H1: a provider may; the name is in the request's pool.
        unsafe { (*self.raw()).user = name };
    }

    /// Another rule may still let the client in (`Satisfy Any`).
    pub fn may_be_satisfied_otherwise(&self) -> bool {
        // SAFETY: H1.
        let satisfies = unsafe { c::ap_satisfies(self.raw()) };
        // SAFETY: H1.
        satisfies == c::SATISFY_ANY as c_int && unsafe { c::ap_some_auth_required(self.raw()) } != 0
    }

    /// `ServerSignature`, as text for the bottom of a page.
    pub fn signature(&self) -> &'r [u8] {
        // SAFETY: H1: made in the request's pool.
        let text = unsafe { c::ap_psignature(c"".as_ptr(), self.raw()) };
        // SAFETY: H2.
        unsafe { table::bytes(text) }.unwrap_or_default()
    }

    /// A variable of mod_ssl; `None` without mod_ssl.
    pub fn ssl_variable(&self, name: &CStr) -> Option<&'r [u8]> {
        // SAFETY: H1; the name is only read.
        let value = unsafe { c::rw_ssl_variable(self.raw(), name.as_ptr()) };
        // SAFETY: H2: mod_ssl makes it in the request's pool, or it is static.
        unsafe { table::bytes(value) }
    }
}
