//! Exceptions raised in other threads.

use std::ffi::c_long;

use pyo3::ffi;

use super::object::{Attached, Object};

impl Attached<'_> {
    /// Raises an exception of `class` in another thread, by Python's number of it, when that next runs Python code; whether there is such
    /// a thread in this interpreter. An exception that has not been raised yet is replaced.
    pub fn raise_in_thread(self, thread: i64, class: &Object<'_>) -> bool {
        // SAFETY: P1, P2; it takes a reference of its own.
        let found = unsafe { ffi::PyThreadState_SetAsyncExc(thread as c_long, class.as_ptr()) };
        found > 0
    }

    /// Takes back what [`raise_in_thread`](Self::raise_in_thread) has sent to a thread and has not been raised yet.
    pub fn forget_raised(self, thread: i64) {
        // SAFETY: P1; null takes the exception back.
        unsafe {
            ffi::PyThreadState_SetAsyncExc(thread as c_long, std::ptr::null_mut());
        }
    }
}
