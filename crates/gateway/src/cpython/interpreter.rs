//! Interpreters, and thread states kept per (thread, interpreter).

use std::cell::{Cell, RefCell, UnsafeCell};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use pyo3::ffi;

use super::fork::in_one_piece;
use super::object::Attached;
use super::turn::Turns;

/// The interpreter is being closed or is closed: nothing can be run in it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// One Python interpreter with the state `S` that we keep for it. `S` is created, used and dropped attached to it.
///
/// Clones are handles of the same interpreter.
pub struct Interpreter<S: 'static> {
    core: Arc<Core>,
    state: Arc<Kept<S>>,
}

impl<S> Clone for Interpreter<S> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            state: Arc::clone(&self.state),
        }
    }
}

/// Touched only while attached: by `enter`, `state` and `clear`. What `clear` has not dropped is never dropped.
struct Kept<S>(UnsafeCell<ManuallyDrop<Option<S>>>);

// SAFETY: the content is reached only with the GIL of its interpreter held, which one thread at a time does; what is handed out
// are shared references whose lifetime ends with that attachment.
unsafe impl<S> Sync for Kept<S> {}
// SAFETY: as above; it is dropped by `clear`, attached, or not at all.
unsafe impl<S> Send for Kept<S> {}

/// The part that thread states refer to.
struct Core {
    id: u64,
    raw: NonNull<ffi::PyInterpreterState>,
    /// Number of threads that are inside, plus [`CLOSED`] once closing has begun.
    inside: AtomicUsize,
    states: Mutex<Vec<ThreadState>>,
    turns: Turns,
}

// SAFETY: the raw pointer is the interpreter's identity; it is only passed to functions that take it without the GIL
// (PyThreadState_New) or by a thread that is attached.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ThreadState(pub(super) NonNull<ffi::PyThreadState>);

// SAFETY: the pointer moves between threads only inside the registry, for the thread that closes the interpreter (P6).
unsafe impl Send for ThreadState {}

impl ThreadState {
    /// For a thread of an interpreter that is alive. Without the GIL.
    pub(super) unsafe fn new(interpreter: *mut ffi::PyInterpreterState) -> Self {
        // SAFETY: the caller's promise.
        let raw = in_one_piece(|| unsafe { ffi::PyThreadState_New(interpreter) });
        Self(NonNull::new(raw).unwrap_or_else(|| unreachable!("PyThreadState_New aborts for want of memory")))
    }
}

const CLOSED: usize = 1 << (usize::BITS - 1);

thread_local! {
    static MINE: Mine = const { Mine(RefCell::new(Vec::new())) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static WAITS: Cell<Waits> = const { Cell::new(Waits { times: 0, time: Duration::ZERO }) };
}

/// The thread states of this thread; gives them up when the thread ends.
struct Mine(RefCell<Vec<(u64, ThreadState, Weak<Core>)>>);

impl<S: 'static> Interpreter<S> {
    /// The interpreter this thread is attached to; `make` builds its state.
    pub fn current<'py, E>(
        py: Attached<'py>,
        make: impl FnOnce(Attached<'py>) -> Result<S, E>,
    ) -> Result<Self, E> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let state = make(py)?;
        // SAFETY: P1; it returns the current interpreter, never null.
        let raw = unsafe { ffi::PyInterpreterState_Get() };
        let raw = NonNull::new(raw).unwrap_or_else(|| unreachable!("an attached thread has an interpreter"));
        Ok(Self {
            core: Arc::new(Core {
                id: NEXT.fetch_add(1, Ordering::Relaxed),
                raw,
                inside: AtomicUsize::new(0),
                states: Mutex::new(Vec::new()),
                turns: Turns::default(),
            }),
            state: Arc::new(Kept(UnsafeCell::new(ManuallyDrop::new(Some(state))))),
        })
    }

    /// Attaches this thread, with its own thread state (made at the first time and kept until the thread ends), and runs `f`.
    /// Blocks until the GIL is free. Must not be called by a thread that is attached already.
    pub fn enter<R: Send>(&self, f: impl for<'py> FnOnce(Attached<'py>, &'py S) -> R) -> Result<R, Closed> {
        let _inside = self.core.come_in()?;
        let state = self.core.thread_state();
        let _attached = Attachment::begin(state, &self.core.turns);
        // SAFETY: the attachment above lasts until the end of this function.
        let py = unsafe { Attached::assume() };
        // SAFETY: attached; only `close` takes it out, after nobody is inside any more.
        let ours = unsafe { &*self.state.0.get() };
        let ours = ours.as_ref().ok_or(Closed)?;
        Ok(f(py, ours))
    }

    /// The state, for a thread that CPython attached; `None` when it is attached to another interpreter.
    pub fn state<'py>(&'py self, _py: Attached<'py>) -> Option<&'py S> {
        // SAFETY: P1.
        if unsafe { ffi::PyInterpreterState_Get() } != self.core.raw.as_ptr() {
            return None;
        }
        // SAFETY: attached to this interpreter.
        unsafe { &*self.state.0.get() }.as_ref()
    }

    pub(super) fn raw(&self) -> *mut ffi::PyInterpreterState {
        self.core.raw.as_ptr()
    }

    /// Keeps the thread state that the interpreter was made with until [`clear`](Self::clear), though no thread uses it: an
    /// interpreter that is left without any cannot get a new one (fatal on 3.11).
    pub(super) fn keep(&self, state: ThreadState) {
        self.core.lock().push(state);
    }

    /// Lets nobody in any more and waits until nobody is inside, at most until `deadline`. False when somebody stays: then the
    /// interpreter must not be ended.
    pub fn shut(&self, deadline: Instant) -> bool {
        self.core.inside.fetch_or(CLOSED, Ordering::SeqCst);
        loop {
            if self.core.inside.load(Ordering::SeqCst) == CLOSED {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// After [`shut`](Self::shut): drops the state and the thread states that threads have left behind. The calling thread is
    /// attached to this interpreter by other means.
    pub fn clear(&self, py: Attached<'_>) {
        if self.state(py).is_some() {
            // SAFETY: attached, shut, and therefore no reference to the state is alive elsewhere.
            let kept = unsafe { &mut *self.state.0.get() };
            let state = kept.take();
            drop(state);
        }
        let states = std::mem::take(&mut *self.core.lock());
        for state in states {
            // SAFETY: P1; the thread it belongs to is outside and cannot come in again.
            unsafe { ffi::PyThreadState_Clear(state.0.as_ptr()) };
            // SAFETY: cleared, not current.
            unsafe { ffi::PyThreadState_Delete(state.0.as_ptr()) };
        }
    }
}

/// One thread inside; leaving is counted even when a panic passes.
struct Inside<'a>(&'a Core);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Core {
    fn come_in(&self) -> Result<Inside<'_>, Closed> {
        let before = self.inside.fetch_add(1, Ordering::SeqCst);
        let inside = Inside(self);
        if before & CLOSED == 0 {
            Ok(inside)
        } else {
            Err(Closed)
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ThreadState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This thread's state for this interpreter.
    fn thread_state(self: &Arc<Self>) -> ThreadState {
        MINE.with(|mine| {
            let mut mine = mine.0.borrow_mut();
            if let Some((_, state, _)) = mine.iter().find(|(id, ..)| *id == self.id) {
                return *state;
            }
            // SAFETY: the interpreter is alive, since this thread is counted as inside.
            let state = unsafe { ThreadState::new(self.raw.as_ptr()) };
            mine.push((self.id, state, Arc::downgrade(self)));
            self.lock().push(state);
            state
        })
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        for (_, state, core) in self.0.borrow_mut().drain(..) {
            let Some(core) = core.upgrade() else { continue };
            let Ok(_inside) = core.come_in() else { continue };
            core.lock().retain(|s| *s != state);
            // SAFETY: P6: our own thread, not attached.
            unsafe { ffi::PyEval_RestoreThread(state.0.as_ptr()) };
            // SAFETY: attached with it; clearing runs destructors of thread-local objects.
            unsafe { ffi::PyThreadState_Clear(state.0.as_ptr()) };
            // SAFETY: attached; gives the GIL up.
            unsafe { ffi::PyEval_SaveThread() };
            // SAFETY: cleared, no longer current, known to nobody else.
            in_one_piece(|| unsafe { ffi::PyThreadState_Delete(state.0.as_ptr()) });
        }
    }
}

/// How often a thread has waited for the GIL, and how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// Times.
    pub times: u64,
    /// Together.
    pub time: Duration,
}

static MEASURES_WAITS: AtomicBool = AtomicBool::new(false);

/// From now on all waiting for the GIL is measured.
pub fn measure_waits() {
    MEASURES_WAITS.store(true, Ordering::Relaxed);
}

/// What the calling thread has waited since it is measured.
pub fn waits() -> Waits {
    WAITS.get()
}

fn waiting(wait: impl FnOnce()) {
    if !MEASURES_WAITS.load(Ordering::Relaxed) {
        return wait();
    }
    let start = Instant::now();
    wait();
    let before = WAITS.get();
    WAITS.set(Waits {
        times: before.times + 1,
        time: before.time + start.elapsed(),
    });
}

/// Attached until dropped.
struct Attachment;

impl Attachment {
    fn begin(state: ThreadState, turns: &Turns) -> Self {
        debug_assert_eq!(DEPTH.get(), 0, "a thread attaches once");
        waiting(|| {
            let _turn = turns.wait();
            // SAFETY: P6; not attached.
            unsafe { ffi::PyEval_RestoreThread(state.0.as_ptr()) };
        });
        DEPTH.set(1);
        Self
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        DEPTH.set(0);
        // SAFETY: attached since `begin`; every `detach` in between has attached again.
        unsafe { ffi::PyEval_SaveThread() };
    }
}

/// Detached until dropped.
struct Detachment(NonNull<ffi::PyThreadState>);

impl Drop for Detachment {
    fn drop(&mut self) {
        // SAFETY: the state this thread was attached with.
        waiting(|| unsafe { ffi::PyEval_RestoreThread(self.0.as_ptr()) });
    }
}

impl Attached<'_> {
    /// Runs `f` without the GIL: for everything that blocks. It cannot touch Python (what is `Send` holds no reference).
    pub fn detach<R: Send>(self, f: impl FnOnce() -> R + Send) -> R {
        // SAFETY: P1.
        let state = unsafe { ffi::PyEval_SaveThread() };
        let state = NonNull::new(state).unwrap_or_else(|| unreachable!("an attached thread has a state"));
        let _detached = Detachment(state);
        f()
    }
}
