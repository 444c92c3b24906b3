//! The threads of this process that serve requests: which request each runs, and how many it has run. Shared by all interpreters.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::wsgi::request::Request;

/// A thread that has served at least one request.
pub struct Thread {
    /// `mod_wsgi.thread_id`
    pub number: i64,
    current: Mutex<Option<Arc<Request>>>,
    finished: AtomicU64,
}

static ALL: Mutex<Vec<Arc<Thread>>> = Mutex::new(Vec::new());

thread_local! {
    static THIS: OnceCell<Arc<Thread>> = const { OnceCell::new() };
}

/// All of them, in the order of their first requests.
pub fn all() -> Vec<Arc<Thread>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Thread {
    fn new(number: i64) -> Arc<Self> {
        let thread = Arc::new(Self {
            number,
            current: Mutex::new(None),
            finished: AtomicU64::new(0),
        });
        ALL.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&thread));
        thread
    }

    /// The request that it runs.
    pub fn current(&self) -> Option<Arc<Request>> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many requests it has finished.
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    fn replace(&self, request: Option<Arc<Request>>) -> Option<Arc<Request>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, request)
    }
}

/// The request that the calling thread runs.
pub fn current_request() -> Option<Arc<Request>> {
    THIS.with(|this| this.get().and_then(|thread| thread.current()))
}

/// Makes a request that of the calling thread, which has this number, until the guard is dropped.
pub fn serve(request: &Arc<Request>, number: i64) -> Serving {
    let thread = THIS.with(|this| Arc::clone(this.get_or_init(|| Thread::new(number))));
    let before = thread.replace(Some(Arc::clone(request)));
    Serving { thread, before }
}

/// Until dropped, the thread serves a request; then what it served before.
pub struct Serving {
    thread: Arc<Thread>,
    before: Option<Arc<Request>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.thread.replace(self.before.take()));
        self.thread.finished.fetch_add(1, Ordering::Relaxed);
    }
}
