//! A value that Python objects may use while a call lasts. They may be kept longer than that, and passed to other threads; then
//! they find nothing.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use crate::exchange::host::Calls;

/// What was lent, as the borrowers hold it.
pub struct Lent {
    owner: ThreadId,
    /// Empty once the call is over.
    place: Mutex<Option<NonNull<dyn Calls>>>,
}

// SAFETY: the pointer is followed on the owner's thread only, under the lock.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

/// Lends `value` for the duration of `f`.
pub fn lend<'a, R>(value: &'a mut (dyn Calls + 'a), f: impl FnOnce(&Arc<Lent>) -> R) -> R {
    let pointer: NonNull<dyn Calls + 'a> = NonNull::from(value);
    // SAFETY: only the lifetime changes; `_returned` takes the pointer back before `'a` ends, in a panic too.
    let pointer =
        unsafe { std::mem::transmute::<NonNull<dyn Calls + 'a>, NonNull<dyn Calls + 'static>>(pointer) };
    let lent = Arc::new(Lent {
        owner: thread::current().id(),
        place: Mutex::new(Some(pointer)),
    });
    let _returned = Returned(&lent);
    f(&lent)
}

struct Returned<'a>(&'a Lent);

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        *self.0.place.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Lent {
    /// Uses the value; `None` on another thread, once the call is over, or while it is in use.
    pub fn with<R>(&self, f: impl FnOnce(&mut dyn Calls) -> R) -> Option<R> {
        if thread::current().id() != self.owner {
            return None;
        }
        let place = self.place.try_lock().ok()?;
        let mut pointer = (*place)?;
        // SAFETY: lent until the place is emptied, which the lock prevents now; the lock also makes this the only reference.
        Some(f(unsafe { pointer.as_mut() }))
    }
}
