//! Forking a process with a running Python.
//!
//! Making and deleting a thread state locks a list of Python's. A thread that forks has the GIL, which does not keep other threads of ours
//! from that; and in the new process CPython 3.11 and older wait for that lock before they make it anew: for ever, if another
//! thread had it. So that happens [in one piece](in_one_piece), and Python's forks wait for it.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::ffi;
use rwsgi_os::OsError;
use rwsgi_os::fork::{Side, orphan};
use rwsgi_os::process::exit_now;

use super::class::free_function;
use super::error::PyResult;
use super::object::Attached;

/// Held by who is in one piece, and by a thread that forks. CPython 3.13 takes the lock in question before a fork, so this one comes
/// before that.
static GATE: Mutex<()> = Mutex::new(());

thread_local! {
    /// The gate, while this thread forks.
    static FORKING: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

fn gate() -> MutexGuard<'static, ()> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `f` while no interpreter with [guarded forks](guard_forks) forks. To be called without the GIL; `f` must not wait for it.
pub(super) fn in_one_piece<R>(f: impl FnOnce() -> R) -> R {
    let _gate = gate();
    f()
}

/// Has this interpreter's forks wait for what is in one piece. Where it is the first to ask for that, it is the last before the fork.
pub fn guard_forks(py: Attached<'_>) -> PyResult<'_, ()> {
    // A fork of another thread may have the gate, and wait for the GIL to come this far.
    let hold = free_function(py, c"hold_threads", |py, _| {
        py.detach(|| FORKING.set(Some(gate())));
        Ok(py.none())
    })?;
    let let_go = free_function(py, c"let_go_threads", |py, _| {
        drop(FORKING.take());
        Ok(py.none())
    })?;
    let hooks = py.dict()?;
    hooks.set(&py.text("before")?, &hold)?;
    for after in ["after_in_parent", "after_in_child"] {
        hooks.set(&py.text(after)?, &let_go)?;
    }
    let register = py.import(c"os")?.attribute(c"register_at_fork")?;
    register.call_with(&[], &hooks).map(drop)
}

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
