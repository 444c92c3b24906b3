//! The memory of idle connections ([`rwsgi_wire::region`]): kept for a while, since to have it anew costs more than all the rest of a large body, and then
//! given back, by a thread for this whole process.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use rwsgi_os::region::Region;
use rwsgi_os::{OsError, signal};
use rwsgi_wire::region::ROOM;

/// How long it is kept.
const KEEP: Duration = Duration::from_secs(10);

/// The memory of all idle connections.
struct Resting {
    keep: Duration,
    all: Mutex<All>,
    wake: Condvar,
}

#[derive(Default)]
struct All {
    /// In the order in which they became idle.
    regions: VecDeque<(Instant, Weak<Region>)>,
    /// The thread waits for the first of them.
    sleeps: bool,
}

static RESTING: OnceCell<Resting> = OnceCell::new();

/// Its connection is idle from now on.
pub fn begin(region: &Arc<Region>) {
    match RESTING.get_or_try_init(start) {
        Ok(resting) => resting.begin(region),
        // Nobody would do it later.
        Err(_) => region.clear(ROOM),
    }
}

/// Its connection carries a request again: what is written there from now on stays.
pub fn end(region: &Arc<Region>) {
    if let Some(resting) = RESTING.get() {
        resting.end(region);
    }
}

fn start() -> Result<Resting, OsError> {
    signal::without_signals("rwsgi rest", || RESTING.wait().give_back())?;
    Ok(Resting::new(KEEP))
}

impl Resting {
    fn new(keep: Duration) -> Self {
        Self {
            keep,
            all: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    fn begin(&self, region: &Arc<Region>) {
        let mut all = self.lock();
        if std::mem::take(&mut all.sleeps) {
            self.wake.notify_one();
        }
        all.regions.push_back((Instant::now(), Arc::downgrade(region)));
    }

    fn end(&self, region: &Arc<Region>) {
        self.lock()
            .regions
            .retain(|(_, other)| other.as_ptr() != Arc::as_ptr(region));
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        // It is whole at every moment, so a panic elsewhere has not harmed it.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self) -> ! {
        let mut all = self.lock();
        loop {
            let Some((since, region)) = all.regions.front() else {
                all.sleeps = true;
                all = self.wake.wait(all).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = self.keep.saturating_sub(since.elapsed());
            if !left.is_zero() {
                let waited = self.wake.wait_timeout(all, left);
                all = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            // Locked meanwhile: its connection may be about to carry a request.
            if let Some(region) = region.upgrade() {
                region.clear(ROOM);
            }
            all.regions.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rwsgi_os::AsFd;
    use rwsgi_os::region::View;

    #[test]
    fn only_memory_of_connections_that_stay_idle_is_given_back() {
        const SHORT: Duration = Duration::from_millis(300);
        let resting: &'static Resting = Box::leak(Box::new(Resting::new(SHORT)));
        std::thread::spawn(|| resting.give_back());
        let made: Vec<_> = (0..3)
            .map(|_| {
                let (region, file) = Region::make("test", ROOM).unwrap();
                region.write(0, b"x");
                (Arc::new(region), View::map(file.as_fd(), ROOM).unwrap())
            })
            .collect();
        let kept = |number: usize| made[number].1.trusted(0, 1) == Some(b"x");
        let given_back = |number: usize| {
            let start = Instant::now();
            while kept(number) {
                assert!(start.elapsed() < 100 * SHORT);
                std::thread::sleep(SHORT / 20);
            }
            start.elapsed()
        };
        resting.begin(&made[0].0);
        resting.begin(&made[1].0);
        resting.end(&made[1].0);
        assert!(given_back(0) >= SHORT / 2 && kept(1) && kept(2));
        // One that is gone is passed over, and the thread goes on.
        let (gone, _) = Region::make("test", ROOM).unwrap();
        resting.begin(&Arc::new(gone));
        resting.begin(&made[2].0);
        given_back(2);
        assert!(kept(1));
    }
}
