//! Python inside a process that is not Python: its start on a thread of its own, further interpreters, its end.

use std::ffi::{CStr, OsStr, OsString, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;
use std::time::Instant;

use pyo3::ffi;

use super::interpreter::{Interpreter, ThreadState};
use super::object::Attached;
use super::own_gil;
use super::symbols::{find, set_int, symbols};

/// From what Python is to find itself.
#[derive(Debug, Clone, Default)]
pub struct StartUp {
    /// Path of the program that the command line would be (`<venv>/bin/python3`).
    pub program: Vec<u8>,
    /// A prefix without a program, or empty.
    pub home: Vec<u8>,
    /// Python's UTF-8 mode is on.
    pub utf8: bool,
    /// `sys.flags.optimize`.
    pub optimize: u8,
    /// No `.pyc` files are written.
    pub dont_write_bytecode: bool,
    /// Warning filters, as after `-W`.
    pub warnings: Vec<Vec<u8>>,
    /// As `PYTHONHASHSEED`; empty to leave that alone.
    pub hash_seed: Vec<u8>,
}

/// Which GIL a further interpreter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gil {
    /// That of the main interpreter.
    Shared,
    /// One of its own; see [`own_gil_is_possible`](super::own_gil_is_possible).
    Own,
}

/// Python, started by this thread, which Python takes for its main thread. It is detached in between, and must be ended here.
pub struct Embedded {
    state: NonNull<ffi::PyThreadState>,
}

/// `wchar_t`: four bytes on every Linux.
type Wide = u32;
type SetPath = unsafe extern "C" fn(*const Wide);

impl Embedded {
    /// Starts Python. No signal handler is installed. CPython ends the process when its own standard library is not there, so the
    /// caller has checked the home.
    pub fn start(with: &StartUp) -> Result<Self, String> {
        // SAFETY: callable at any time.
        if unsafe { ffi::Py_IsInitialized() } != 0 {
            return Err("Python is running in this process already, started by another module".into());
        }
        // Without the symbol Python decides by the locale alone.
        set_int(c"Py_UTF8Mode", c_int::from(with.utf8));
        set_path(c"Py_SetProgramName", &with.program)?;
        if !with.home.is_empty() {
            set_path(c"Py_SetPythonHome", &with.home)?;
        }
        set_options(with)?;
        let seed = HashSeed::set(&with.hash_seed);
        // SAFETY: not initialised, and this is the only thread that does it. 0: no signal handlers.
        unsafe { ffi::Py_InitializeEx(0) };
        drop(seed);
        // SAFETY: initialised by this thread, which is attached now.
        let state = unsafe { ffi::PyEval_SaveThread() };
        NonNull::new(state)
            .map(|state| Self { state })
            .ok_or_else(|| "Python has no main thread state".into())
    }

    /// Attaches to the main interpreter.
    pub fn attach<R>(&mut self, f: impl FnOnce(Attached<'_>) -> R) -> R {
        // SAFETY: the state of this thread (the type is not `Send`), not attached.
        unsafe { ffi::PyEval_RestoreThread(self.state.as_ptr()) };
        let _again = Detach;
        // SAFETY: attached until `_again` is dropped.
        f(unsafe { Attached::assume() })
    }

    /// Ends an interpreter made by [`another`]: waits for its non-daemon threads, runs its exit functions. An interpreter in which
    /// Python threads go on (daemon threads) cannot be ended; it stays.
    /// `first` runs before anything else, attached to it.
    pub fn end<S>(
        &mut self,
        interpreter: &Interpreter<S>,
        deadline: Instant,
        first: impl FnOnce(Attached<'_>),
    ) -> End {
        if !interpreter.shut(deadline) {
            return End::Busy;
        }
        // SAFETY: the state of this thread, not attached.
        unsafe { ffi::PyEval_RestoreThread(self.state.as_ptr()) };
        // All others go before the end, that of the thread that imported `threading` too: it holds a lock that the end waits for.
        // SAFETY: the interpreter is alive until it is ended below.
        let state = unsafe { ffi::PyThreadState_New(interpreter.raw()) };
        // SAFETY: attached, with a new state. Where GILs differ, one is given up and the other taken; so below.
        unsafe { ffi::PyThreadState_Swap(state) };
        // SAFETY: attached to it.
        let py = unsafe { Attached::assume() };
        first(py);
        interpreter.clear(py);
        run_exit_functions(py);
        let end = if is_only_state(interpreter, state) {
            // SAFETY: the only thread state of the interpreter; CPython ends the process if one is left.
            unsafe { ffi::Py_EndInterpreter(state) };
            End::Ended
        } else {
            End::Stays
        };
        // SAFETY: ours belongs to the main interpreter.
        unsafe { ffi::PyThreadState_Swap(self.state.as_ptr()) };
        // SAFETY: attached.
        unsafe { ffi::PyEval_SaveThread() };
        end
    }

    /// Leaves an interpreter made by [`another`] as it is; only lets nobody in any more. `first` runs attached to it.
    pub fn leave<S>(
        &mut self,
        interpreter: &Interpreter<S>,
        deadline: Instant,
        first: impl FnOnce(Attached<'_>),
    ) -> End {
        if !interpreter.shut(deadline) {
            return End::Busy;
        }
        // SAFETY: the interpreter is alive until the process ends.
        let state = unsafe { ThreadState::new(interpreter.raw()) };
        // SAFETY: our own new state, not attached.
        unsafe { ffi::PyEval_RestoreThread(state.0.as_ptr()) };
        // SAFETY: attached.
        first(unsafe { Attached::assume() });
        // SAFETY: attached.
        unsafe { ffi::PyEval_SaveThread() };
        End::Stays
    }

    /// Ends Python: runs exit functions, waits for its non-daemon threads. If other interpreters stay, which CPython cannot finalise, or
    /// if nothing is to be ended, this thread keeps the GIL instead, so that no Python code runs while the process ends.
    /// `first` runs before anything else, attached to the main interpreter.
    pub fn finalise<S>(
        self,
        main: &Interpreter<S>,
        others: Others,
        deadline: Instant,
        first: impl FnOnce(Attached<'_>),
    ) -> End {
        if !main.shut(deadline) {
            return End::Busy;
        }
        // SAFETY: the state of this thread, not attached.
        unsafe { ffi::PyEval_RestoreThread(self.state.as_ptr()) };
        // SAFETY: attached.
        let py = unsafe { Attached::assume() };
        first(py);
        if others == Others::Leave {
            return End::Stays;
        }
        main.clear(py);
        if others == Others::Stay {
            run_exit_functions(py);
            return End::Stays;
        }
        // SAFETY: attached on the main thread, nobody else is inside. Its result says only whether output could be flushed.
        unsafe { ffi::Py_FinalizeEx() };
        End::Ended
    }
}

/// `PYTHONHASHSEED` in the environment of the process, which is the only place where Python looks for it; put back when dropped.
/// Whoever reads the environment in another thread at that moment is in danger, as with every `os.environ[…] = …` of an application.
struct HashSeed(Option<Option<OsString>>);

impl HashSeed {
    const NAME: &'static str = "PYTHONHASHSEED";

    fn set(seed: &[u8]) -> Self {
        if seed.is_empty() {
            return Self(None);
        }
        let before = std::env::var_os(Self::NAME);
        // SAFETY: see the type.
        unsafe { std::env::set_var(Self::NAME, OsStr::from_bytes(seed)) };
        Self(Some(before))
    }
}

impl Drop for HashSeed {
    fn drop(&mut self) {
        match self.0.take() {
            None => {}
            // SAFETY: see the type.
            Some(Some(before)) => unsafe { std::env::set_var(Self::NAME, before) },
            // SAFETY: see the type.
            Some(None) => unsafe { std::env::remove_var(Self::NAME) },
        }
    }
}

/// What the command line's options would do. Python is not running yet.
fn set_options(with: &StartUp) -> Result<(), String> {
    let missing = |directive: &str| {
        format!("this Python has no way to apply {directive}; remove it, or use a process group")
    };
    if with.optimize > 0 && !set_int(c"Py_OptimizeFlag", with.optimize.into()) {
        return Err(missing("WSGIPythonOptimize"));
    }
    if with.dont_write_bytecode && !set_int(c"Py_DontWriteBytecodeFlag", 1) {
        return Err(missing("WSGIDontWriteBytecode"));
    }
    for filter in &with.warnings {
        let function = find(c"PySys_AddWarnOption").ok_or_else(|| missing("WSGIPythonWarnings"))?;
        // SAFETY: it has had this signature in every Python 3 that has it.
        let function = unsafe { std::mem::transmute::<*mut c_void, SetPath>(function) };
        // SAFETY: a string that ends in 0, which is copied; callable before Python is initialised.
        unsafe { function(wide(filter).as_ptr()) };
    }
    Ok(())
}

/// What has become of the other interpreters when the main one is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They are gone.
    Ended,
    /// One at least goes on.
    Stay,
    /// Nothing has been ended, nor shall the main one be.
    Leave,
}

/// How the end of an interpreter went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is gone.
    Ended,
    /// Its exit functions have run, but it stays since Python threads go on in it.
    Stays,
    /// A request was still running at the deadline; nothing was done.
    Busy,
}

/// Takes the GIL of an interpreter that has one of its own and stays, so that none of its code runs while the process ends. Waits until
/// `deadline` for it.
pub fn halt<S: 'static>(interpreter: &Interpreter<S>, deadline: Instant) {
    let (tell, told) = std::sync::mpsc::channel();
    let interpreter = interpreter.clone();
    let thread = std::thread::Builder::new().name("rwsgi halt".into());
    let spawned = thread.spawn(move || {
        // SAFETY: an interpreter that stays is alive until the process ends.
        let state = unsafe { ThreadState::new(interpreter.raw()) };
        // SAFETY: our own new state, not attached.
        unsafe { ffi::PyEval_RestoreThread(state.0.as_ptr()) };
        let _ = tell.send(());
        loop {
            std::thread::park();
        }
    });
    if spawned.is_ok() {
        // Without it the process ends all the same.
        let _ = told.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// What CPython does first when an interpreter ends; done a second time it finds nothing left.
fn run_exit_functions(py: Attached<'_>) {
    for (module, function) in [(c"threading", c"_shutdown"), (c"atexit", c"_run_exitfuncs")] {
        let called = py
            .import(module)
            .and_then(|module| module.call_method(function, &[]));
        if let Err(exception) = called {
            // To the log of the process, like everything that ends there.
            let stderr = py.import(c"sys").and_then(|sys| sys.attribute(c"stderr"));
            let text = py.text(&exception.traceback());
            if let (Ok(stderr), Ok(text)) = (stderr, text) {
                let _ = stderr.call_method(c"write", &[&text]);
            }
        }
    }
}

/// Whether an interpreter has no other thread state. The calling thread is attached with it.
fn is_only_state<S>(interpreter: &Interpreter<S>, state: *mut ffi::PyThreadState) -> bool {
    let (Some(head), Some(next)) = (symbols().thread_head, symbols().thread_next) else {
        return false;
    };
    // SAFETY: the interpreter is alive, the GIL is held.
    let first = unsafe { head(interpreter.raw()) };
    // SAFETY: a live thread state, the GIL is held.
    first == state && unsafe { next(first) }.is_null()
}

struct Detach;

impl Drop for Detach {
    fn drop(&mut self) {
        // SAFETY: attached by the state that `attach` restored.
        unsafe { ffi::PyEval_SaveThread() };
    }
}

/// Makes an interpreter; `make` builds its state. The calling thread is not attached.
pub fn another<M, S>(
    main: &Interpreter<M>,
    gil: Gil,
    make: impl for<'py> FnOnce(Attached<'py>) -> Result<S, String>,
) -> Result<Interpreter<S>, String> {
    // Entering first makes this thread's state for the main interpreter, which is then the one that extensions find through
    // PyGILState; the other way round they would end up in the wrong interpreter.
    let entered = main.enter(|_py, _| {
        // SAFETY: attached.
        let before = unsafe { ffi::PyThreadState_Get() };
        let state = match gil {
            // SAFETY: attached; null if it failed, and then `before` is current again.
            Gil::Shared => unsafe { ffi::Py_NewInterpreter() },
            // SAFETY: as above.
            Gil::Own => unsafe { own_gil::new_interpreter() },
        };
        let Some(state) = NonNull::new(state) else {
            // SAFETY: as it was.
            unsafe { ffi::PyThreadState_Swap(before) };
            return Err("Python cannot make another interpreter".to_owned());
        };
        // SAFETY: attached to the new interpreter.
        let py = unsafe { Attached::assume() };
        let made = Interpreter::current(py, make);
        match &made {
            Ok(interpreter) => interpreter.keep(ThreadState(state)),
            // SAFETY: attached with its only thread state, nothing of it is kept.
            Err(_) => unsafe { ffi::Py_EndInterpreter(state.as_ptr()) },
        }
        // SAFETY: the state this thread was attached with. Where GILs differ, one is given up and the other taken.
        unsafe { ffi::PyThreadState_Swap(before) };
        made
    });
    entered.unwrap_or_else(|_| Err("Python is ending in this process".into()))
}

/// Calls a function that takes a path as wide characters and keeps the pointer.
fn set_path(name: &CStr, path: &[u8]) -> Result<(), String> {
    let function = find(name).ok_or_else(|| {
        format!(
            "this Python has no {}; it is newer than this build of rwsgi can embed",
            name.to_string_lossy()
        )
    })?;
    // SAFETY: both functions have had this signature in every Python 3 that has them.
    let function = unsafe { std::mem::transmute::<*mut c_void, SetPath>(function) };
    let wide = wide(path).leak();
    // SAFETY: a string that ends in 0 and lives for ever; Python is not initialised.
    unsafe { function(wide.as_ptr()) };
    Ok(())
}

/// Bytes as Python decodes file names in UTF-8 mode: what is not UTF-8 becomes surrogates that stand for the bytes. Ends in 0.
fn wide(bytes: &[u8]) -> Vec<Wide> {
    let mut wide = Vec::with_capacity(bytes.len() + 1);
    for chunk in bytes.utf8_chunks() {
        wide.extend(chunk.valid().chars().map(Wide::from));
        wide.extend(chunk.invalid().iter().map(|byte| 0xdc00 + Wide::from(*byte)));
    }
    wide.push(0);
    wide
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_that_are_not_utf8_become_the_surrogates_that_python_knows() {
        assert_eq!(super::wide(b"/\xc3\xa9\xff"), [0x2f, 0xe9, 0xdcff, 0]);
    }
}
