//! Forking a process with a running Python.

use pyo3::ffi;
use rwsgi_os::OsError;
use rwsgi_os::fork::{Side, orphan};
use rwsgi_os::process::exit_now;

use super::object::Attached;

impl Attached<'_> {
    /// As `os.fork()`, with what modules and applications have registered for it; but the new process is
    /// [nobody's child here](rwsgi_os::fork::orphan), and there must be no other thread. `first` is what happens in it before anything
    /// else; it must not use Python. To be called on Python's main thread.
    pub fn fork_orphan(self, first: impl FnOnce() -> Result<(), OsError>) -> Result<Side, OsError> {
        // SAFETY: P1; each fork is preceded by this and followed by one of those below, on the thread that is attached.
        unsafe { ffi::PyOS_BeforeFork() };
        let side = orphan();
        if side == Ok(Side::Copy) && first().is_err() {
            exit_now(1);
        }
        match side {
            // SAFETY: in the new process, on its only thread, which holds what the call before has locked.
            Ok(Side::Copy) => unsafe { ffi::PyOS_AfterFork_Child() },
            // SAFETY: in the process that forked, or did not.
            _ => unsafe { ffi::PyOS_AfterFork_Parent() },
        }
        side
    }
}
