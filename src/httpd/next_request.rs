//! The next request of a client that asks again at once: the thread that has answered waits for it for a moment.
//!
//! With MPM event a connection without a request goes to the listener and comes back to another thread: both are woken, for a small answer by the
//! daemon a tenth of what it costs. So a client whose answers follow each other quickly ([`QUICK`]: a proxy in front, a program, a page of many parts)
//! is waited for as long as [`PATIENCE`] says. Others are not kept waiting for the thread: half of a child's threads may wait so at once, and from time to
//! time ([`IN_A_ROW`]) a connection goes to the listener like any other. Where clients queue for threads, or for Python, answers do not follow
//! each other quickly, and nobody is waited for.

use core::cell::Cell;
use core::ffi::CStr;
use core::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rwsgi_os::poll::{Events, Watch, poll_once};

use super::bindings as c;
use super::brigade::EAGAIN;
use super::connection::Connection;
use super::entry::guard;
use super::module;
use super::mpm::Mpm;
use super::pool::Pool;
use super::request::Request;

/// For so long is a request waited for.
const PATIENCE: Duration = Duration::from_millis(2);
/// Answers of one connection follow each other quickly.
const QUICK: Duration = Duration::from_millis(3);
/// Of so many requests, one after the other, the last is left to the listener.
const IN_A_ROW: u32 = 64;
const NAME: &CStr = c"RWSGI_NEXT_REQUEST";

/// The threads of this child that may wait at once; none where the MPM has no listener that would do it for them.
static MOST: AtomicU32 = AtomicU32::new(0);
static WAITING: AtomicU32 = AtomicU32::new(0);

/// What is known of a connection.
#[derive(Default)]
struct Habit {
    /// When the last answer was complete, in microseconds since 1970.
    answered: Cell<i64>,
    /// Answers that have followed each other quickly.
    in_a_row: Cell<u32>,
    /// An answer has just been completed, and the next request may be waited for.
    expects: Cell<bool>,
}

impl Habit {
    /// An answer is complete.
    fn answer(&self, now: i64) {
        let since = u64::try_from(now.saturating_sub(self.answered.replace(now)));
        let is_quick = since.is_ok_and(|since| Duration::from_micros(since) <= QUICK);
        let in_a_row = if is_quick { self.in_a_row.get() + 1 } else { 0 };
        self.in_a_row.set(in_a_row % IN_A_ROW);
        self.expects.set(self.in_a_row.get() > 0);
    }
}

/// To be called in each child.
pub fn prepare_child() {
    let threads = if Mpm::has_listener() {
        Mpm::query().threads
    } else {
        0
    };
    MOST.store(threads / 2, Ordering::Relaxed);
}

/// To be called when hooks are registered.
pub(super) fn register() {
    // SAFETY: H1: httpd copies the name, and forgets the function before this library is unloaded.
    unsafe { c::ap_register_input_filter(NAME.as_ptr(), Some(read), None, c::AP_FTYPE_CONNECTION) };
}

impl Request<'_> {
    /// The answer is complete: if httpd finds no further request on the connection, it may wait a moment for it.
    pub fn expect_next(&self) {
        let connection = self.connection();
        if MOST.load(Ordering::Relaxed) == 0 || connection.is_secondary() || !connection.is_kept_alive() {
            return;
        }
        if let Some(habit) = connection.habit() {
            // SAFETY: a plain question.
            habit.answer(unsafe { c::apr_time_now() });
        }
    }
}

impl Connection<'_> {
    /// What is known of it; from then on what httpd reads of it comes through [`read`].
    fn habit(&self) -> Option<&Habit> {
        let configs = self.rec().conn_config;
        // SAFETY: H6.
        let slot = unsafe { c::ap_get_module_config(configs, module::record()) }.cast::<Habit>();
        // SAFETY: H6: our slot holds what is stored below, which lives as long as the connection.
        if let Some(habit) = unsafe { slot.as_ref() } {
            return Some(habit);
        }
        // SAFETY: H3: the connection is this thread's while it serves one of its requests.
        let pool = unsafe { Pool::lend(self.rec().pool) }?;
        let habit = pool.own(Habit::default());
        // SAFETY: H6: the slot is ours.
        unsafe { c::ap_set_module_config(configs, module::record(), habit.cast()) };
        // SAFETY: H1: the name is registered; the context lives as long as the connection, and with it the filter.
        unsafe { c::ap_add_input_filter(NAME.as_ptr(), habit.cast(), core::ptr::null_mut(), self.raw) };
        // SAFETY: made above.
        unsafe { habit.as_ref() }
    }

    /// Waits for the next request if that is expected; whether something has come.
    fn waits(&self, habit: &Habit) -> bool {
        // It waits for the rest of its answer first, which is the MPM's affair.
        if !habit.expects.replace(false) || self.send_kept() != Ok(true) {
            return false;
        }
        let Some(socket) = self.socket() else { return false };
        let may = WAITING.fetch_add(1, Ordering::Relaxed) < MOST.load(Ordering::Relaxed);
        let has_come =
            may && poll_once(&mut [Watch::new(socket, Events::READ)], Some(PATIENCE)).is_ok_and(|n| n > 0);
        WAITING.fetch_sub(1, Ordering::Relaxed);
        has_come
    }
}

/// What httpd reads of a connection.
unsafe extern "C" fn read(
    filter: *mut c::ap_filter_t,
    brigade: *mut c::apr_bucket_brigade,
    mode: c::ap_input_mode_t,
    block: c::apr_read_type_e,
    bytes: c::apr_off_t,
) -> c::apr_status_t {
    guard(c::APR_EGENERAL as c::apr_status_t, || {
        let next = || {
            // SAFETY: H1. Looked up each time: the next filter may take itself out of the chain.
            let below = unsafe { (*filter).next };
            // SAFETY: H1: with what httpd has called this with.
            unsafe { c::ap_get_brigade(below, brigade, mode, block, bytes) }
        };
        let status = next();
        // Where httpd looks for another request it neither waits nor takes anything.
        if mode != c::AP_MODE_SPECULATIVE || block != c::APR_NONBLOCK_READ {
            return status;
        }
        // SAFETY: H1: a live brigade.
        let is_empty = status == 0 && unsafe { c::rw_brigade_first(brigade) }.is_null();
        // SAFETY: H1.
        let context = unsafe { (*filter).ctx }.cast::<Habit>();
        // SAFETY: what `habit` has given to the filter, which lives as long as its connection.
        let habit = unsafe { context.as_ref() };
        // SAFETY: H1.
        let raw = unsafe { (*filter).c };
        let connection = Connection {
            raw,
            life: PhantomData,
        };
        let has_come = (status == EAGAIN || is_empty) && habit.is_some_and(|habit| connection.waits(habit));
        if has_come { next() } else { status }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_again_at_once_is_expected_and_nobody_else_is() {
        let habit = Habit::default();
        let mut now = 1_000_000;
        let mut answer = |pause| {
            now += pause;
            habit.answer(now);
            habit.expects.get()
        };
        assert!(!answer(0));
        assert!(answer(2_000));
        assert!(answer(3_000));
        assert!(!answer(3_001));
        assert!(answer(1));
        // The clock was set.
        assert!(!answer(-3_600_000_000));
        assert!(answer(1));
    }

    #[test]
    fn from_time_to_time_it_goes_to_the_listener() {
        let habit = Habit::default();
        let left: Vec<i64> = (1..=200)
            .filter(|now| {
                habit.answer(*now);
                !habit.expects.get()
            })
            .collect();
        assert_eq!(left, [1, 2, 3].map(|times| times * i64::from(IN_A_ROW)));
    }
}
