//! Interpreters with a GIL of their own (3.12 and newer).

use std::ffi::{c_char, c_int};
use std::ptr;

use pyo3::ffi;

use super::symbols::{find, symbols};

/// `PyInterpreterConfig` of 3.12 and newer.
#[repr(C)]
struct Config {
    use_main_obmalloc: c_int,
    allow_fork: c_int,
    allow_exec: c_int,
    allow_threads: c_int,
    allow_daemon_threads: c_int,
    check_multi_interp_extensions: c_int,
    gil: c_int,
}

/// `PyInterpreterConfig_OWN_GIL`
const OWN: c_int = 2;

/// `PyStatus`: of kind 0 when all is well.
#[repr(C)]
struct Status {
    kind: c_int,
    function: *const c_char,
    message: *const c_char,
    exit: c_int,
}

/// `Py_NewInterpreterFromConfig`, in the C API since 3.12.
type New = unsafe extern "C" fn(*mut *mut ffi::PyThreadState, *const Config) -> Status;

/// Whether the running Python can have them.
pub fn is_possible() -> bool {
    symbols().minor >= 12 && find(c"Py_NewInterpreterFromConfig").is_some()
}

/// Makes one; the calling thread is attached, and is attached to the new one afterwards. Null when that failed: then it is attached as
/// before.
///
/// # Safety
/// The calling thread is attached (P1).
pub(super) unsafe fn new_interpreter() -> *mut ffi::PyThreadState {
    let Some(function) = find(c"Py_NewInterpreterFromConfig").filter(|_| symbols().minor >= 12) else {
        return ptr::null_mut();
    };
    // SAFETY: the symbol of this name has this signature in every CPython that has it.
    let new = unsafe { std::mem::transmute::<*mut std::ffi::c_void, New>(function) };
    // What applications are used to from interpreters that share a GIL is allowed: to fork, to execute programs, daemon threads.
    let config = Config {
        use_main_obmalloc: 0,
        allow_fork: 1,
        allow_exec: 1,
        allow_threads: 1,
        allow_daemon_threads: 1,
        check_multi_interp_extensions: 1,
        gil: OWN,
    };
    let mut state = ptr::null_mut();
    // SAFETY: the caller is attached; both pointers are valid for the call.
    let status = unsafe { new(&raw mut state, &raw const config) };
    if status.kind == 0 { state } else { ptr::null_mut() }
}
