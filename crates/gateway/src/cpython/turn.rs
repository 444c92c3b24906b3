//! The order in which threads come to the GIL from outside Python: that in which they ask for it. CPython gives the GIL to whoever is there when it is
//! let go, so that with many requests at once some wait for ever so long; and each thread that waits for it interrupts its holder every few
//! milliseconds. So one waits for the GIL itself, and those behind it wait here.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use crate::exchange::socket::is_copy;

/// Those that want the GIL of an interpreter, but for those that come back to it from a call that blocks.
#[derive(Default)]
pub struct Turns(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    /// Somebody has the turn.
    taken: bool,
    waiting: VecDeque<Arc<Waiter>>,
}

struct Waiter {
    thread: Thread,
    is_next: AtomicBool,
}

thread_local! {
    static OWN: RefCell<Option<Arc<Waiter>>> = const { RefCell::new(None) };
}

/// The right to ask for the GIL, until it is dropped.
pub struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn. A copy of this process (`fork`) needs none, for the threads that would pass it on are not there.
    pub fn wait(&self) -> Option<Turn<'_>> {
        if is_copy() {
            return None;
        }
        let waiter = {
            let mut queue = self.lock();
            if !std::mem::replace(&mut queue.taken, true) {
                return Some(Turn(self));
            }
            let waiter = own();
            waiter.is_next.store(false, Ordering::Relaxed);
            queue.waiting.push_back(Arc::clone(&waiter));
            waiter
        };
        while !waiter.is_next.load(Ordering::Acquire) {
            thread::park();
        }
        Some(Turn(self))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        let next = queue.waiting.pop_front();
        queue.taken = next.is_some();
        drop(queue);
        if let Some(next) = next {
            next.is_next.store(true, Ordering::Release);
            next.thread.unpark();
        }
    }
}

/// What this thread waits with.
fn own() -> Arc<Waiter> {
    let make = || {
        Arc::new(Waiter {
            thread: thread::current(),
            is_next: AtomicBool::new(false),
        })
    };
    let kept = OWN.try_with(|own| Arc::clone(own.borrow_mut().get_or_insert_with(make)));
    kept.unwrap_or_else(|_| make())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_the_order_in_which_they_were_asked_for() {
        let turns = Turns::default();
        let first = turns.wait();
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for number in 0..5 {
                let (order, turns) = (&order, &turns);
                scope.spawn(move || {
                    let turn = turns.wait();
                    order.lock().unwrap().push(number);
                    drop(turn);
                });
                while turns.lock().waiting.len() <= number {
                    thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3, 4]);
        assert!(!turns.lock().taken);
    }
}
