//! A value that Python objects may use while a call lasts. They may be kept longer than that, and passed to other threads; then
//! they find nothing.
//!
//! One use of it is open to another thread, [beside](Lent::beside) its owner: while that is elsewhere, and never without its knowing.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, ThreadId};

use super::fork::in_one_piece;
use crate::exchange::Gone;
use crate::exchange::host::{Calls, Offered};

/// What was lent, as the borrowers hold it.
pub struct Lent {
    owner: ThreadId,
    /// The owner is using it: set and asked by the owner alone.
    in_use: AtomicBool,
    /// Empty once the call is over.
    place: Mutex<Option<NonNull<dyn Calls>>>,
}

// SAFETY: the pointer is followed under the lock only: on the owner's thread, or for `Calls::offer`, which any thread may call that has the
// exchange for itself.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

/// Why there is nothing to be had beside the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The owner is using it.
    InUse,
    /// The call is over.
    Over,
}

/// Lends `value` for the duration of `f`.
pub fn lend<'a, R>(value: &'a mut (dyn Calls + 'a), f: impl FnOnce(&Arc<Lent>) -> R) -> R {
    let pointer: NonNull<dyn Calls + 'a> = NonNull::from(value);
    // SAFETY: only the lifetime changes; `_returned` takes the pointer back before `'a` ends, in a panic too.
    let pointer =
        unsafe { std::mem::transmute::<NonNull<dyn Calls + 'a>, NonNull<dyn Calls + 'static>>(pointer) };
    let lent = Arc::new(Lent {
        owner: thread::current().id(),
        in_use: AtomicBool::new(false),
        place: Mutex::new(Some(pointer)),
    });
    let _returned = Returned(&lent);
    f(&lent)
}

struct Returned<'a>(&'a Lent);

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        // Waits for who is beside: after this nobody is.
        *self.0.lock() = None;
    }
}

/// The owner has done with it.
struct Used<'a>(&'a AtomicBool);

impl Drop for Used<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Lent {
    /// Whether this thread is the owner's.
    pub fn is_own(&self) -> bool {
        thread::current().id() == self.owner
    }

    /// Uses the value; `None` on another thread, once the call is over, or while it is in use. Waits for who is beside.
    pub fn with<R>(&self, f: impl FnOnce(&mut dyn Calls) -> R) -> Option<R> {
        if !self.is_own() || self.in_use.swap(true, Ordering::Relaxed) {
            return None;
        }
        let _used = Used(&self.in_use);
        let place = self.lock();
        let mut pointer = (*place)?;
        // SAFETY: lent until the place is emptied, which the lock prevents now; the lock also makes this the only reference.
        Some(f(unsafe { pointer.as_mut() }))
    }

    /// Uses what may be used on another thread than the owner's: [`Calls::offer`], if the owner is not using anything. The owner waits
    /// meanwhile if it wants to, and so do forks: a copy has no lock that nobody will ever open.
    pub fn beside<R>(
        &self,
        f: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<Option<Offered>, Gone>) -> R,
    ) -> Result<R, Taken> {
        in_one_piece(|| {
            let place = match self.place.try_lock() {
                Ok(place) => place,
                Err(TryLockError::Poisoned(place)) => place.into_inner(),
                Err(TryLockError::WouldBlock) => return Err(Taken::InUse),
            };
            let mut pointer = (*place).ok_or(Taken::Over)?;
            // SAFETY: as in `with`; the owner is not in any function of the host, and cannot enter one before the lock is open.
            let calls = unsafe { pointer.as_mut() };
            Ok(f(&mut |bytes| calls.offer(bytes)))
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<NonNull<dyn Calls>>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
