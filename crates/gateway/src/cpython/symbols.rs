//! Functions newer than the stable ABI of 3.9, looked up once in the running process.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use pyo3::ffi::{self, Py_ssize_t, PyObject};

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// `PyUnicode_AsUTF8AndSize`: in every CPython from 3.3, in the stable ABI from 3.10.
type AsUtf8AndSize = unsafe extern "C" fn(*mut PyObject, *mut Py_ssize_t) -> *const c_char;

/// `PyInterpreterState_ThreadHead`: in every CPython 3, outside the stable ABI.
type ThreadHead = unsafe extern "C" fn(*mut ffi::PyInterpreterState) -> *mut ffi::PyThreadState;
/// `PyThreadState_Next`: as above.
type ThreadNext = unsafe extern "C" fn(*mut ffi::PyThreadState) -> *mut ffi::PyThreadState;

pub(super) struct Symbols {
    pub(super) thread_head: Option<ThreadHead>,
    pub(super) thread_next: Option<ThreadNext>,
    pub(super) as_utf8_and_size: Option<AsUtf8AndSize>,
    /// Minor version of the running Python 3.
    pub(super) minor: u32,
}

/// The functions of this process (function addresses only: no Python object is kept here).
pub(super) fn symbols() -> &'static Symbols {
    static SYMBOLS: OnceLock<Symbols> = OnceLock::new();
    SYMBOLS.get_or_init(|| Symbols {
        as_utf8_and_size: find(c"PyUnicode_AsUTF8AndSize").map(|f| {
            // SAFETY: the symbol of this name has had this signature in every CPython from 3.3.
            unsafe { std::mem::transmute::<*mut c_void, AsUtf8AndSize>(f) }
        }),
        thread_head: find(c"PyInterpreterState_ThreadHead").map(|f| {
            // SAFETY: as above.
            unsafe { std::mem::transmute::<*mut c_void, ThreadHead>(f) }
        }),
        thread_next: find(c"PyThreadState_Next").map(|f| {
            // SAFETY: as above.
            unsafe { std::mem::transmute::<*mut c_void, ThreadNext>(f) }
        }),
        minor: minor_version(),
    })
}

/// The address of a symbol visible in this process.
pub(super) fn find(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a null handle is RTLD_DEFAULT with glibc and musl, the name ends in NUL.
    let address = unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// Writes an exported `int` of the library, such as `Py_UTF8Mode`; false when there is none of that name.
pub(super) fn set_int(name: &CStr, value: c_int) -> bool {
    let Some(address) = find(name) else { return false };
    // SAFETY: CPython's configuration variables are plain exported ints, and Python is not running yet.
    unsafe { *address.cast::<c_int>() = value };
    true
}

fn minor_version() -> u32 {
    // SAFETY: callable at any time, returns a static string.
    let version = unsafe { ffi::Py_GetVersion() };
    // SAFETY: it ends in NUL.
    let version = unsafe { CStr::from_ptr(version) };
    parse_minor(version.to_bytes()).unwrap_or(9)
}

fn parse_minor(version: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(version).ok()?;
    let minor = text.split('.').nth(1)?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    minor.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_minor_version_is_read_from_any_version_string() {
        for (text, minor) in [("3.9.18 (main)", 9), ("3.13.0rc1+", 13), ("3.14", 14)] {
            assert_eq!(super::parse_minor(text.as_bytes()), Some(minor));
        }
        assert_eq!(super::parse_minor(b"x"), None);
    }
}
