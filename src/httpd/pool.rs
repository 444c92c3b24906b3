//! Pools as lifetimes.

use core::ffi::{c_char, c_void};
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::bindings as c;
use super::entry::guard;

/// A pool of httpd's, lent for a callback. Not sendable, and nothing borrowed from it can leave the callback.
///
/// ```compile_fail
/// fn sendable<T: Send>() {}
/// sendable::<mod_rwsgi::httpd::Pool<'static>>();
/// ```
#[derive(Clone, Copy)]
pub struct Pool<'p> {
    raw: NonNull<c::apr_pool_t>,
    life: PhantomData<&'p mut &'p ()>,
}

impl<'p> Pool<'p> {
    /// # Safety
    /// * `raw` is a live pool for at least `'p`, used on this thread only (H3).
    pub(super) unsafe fn lend(raw: *mut c::apr_pool_t) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self {
            raw,
            life: PhantomData,
        })
    }

    pub(super) fn raw(&self) -> *mut c::apr_pool_t {
        self.raw.as_ptr()
    }

    /// Copies bytes into the pool and ends them with NUL.
    pub(super) fn c_string(&self, bytes: &[u8]) -> *mut c_char {
        // SAFETY: H5; the slice is readable for its length.
        unsafe { c::apr_pstrmemdup(self.raw(), bytes.as_ptr().cast(), bytes.len()) }
    }

    /// Gives a value to the pool, which drops it when it is destroyed.
    pub(super) fn own<T: 'static>(&self, value: T) -> *mut T {
        let owned = Box::into_raw(Box::new(value));
        // SAFETY: H4; `drop_owned::<T>` takes back exactly the box made above, once.
        unsafe {
            c::apr_pool_cleanup_register(
                self.raw(),
                owned.cast::<c_void>(),
                Some(drop_owned::<T>),
                Some(c::apr_pool_cleanup_null),
            );
        }
        owned
    }

    /// Runs `last` when the pool is destroyed.
    pub fn at_end(&self, last: impl FnOnce() + 'static) {
        self.own(AtEnd(Some(last)));
    }

    /// Runs `first` when the pool's destruction begins: before its sub-pools go, whose own ends come before [`at_end`](Self::at_end).
    pub fn before_end(&self, first: impl FnOnce() + 'static) {
        fn register<T: 'static>(pool: &Pool<'_>, value: T) {
            let owned = Box::into_raw(Box::new(value)).cast::<c_void>();
            // SAFETY: H4; `drop_owned::<T>` takes back exactly the box made above, once.
            unsafe { c::apr_pool_pre_cleanup_register(pool.raw(), owned, Some(drop_owned::<T>)) };
        }
        register(self, AtEnd(Some(first)));
    }
}

struct AtEnd<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}

unsafe extern "C" fn drop_owned<T>(data: *mut c_void) -> c::apr_status_t {
    guard(0, || {
        // SAFETY: H4: called once, with the pointer that `own` registered.
        drop(unsafe { Box::from_raw(data.cast::<T>()) });
        0
    })
}
