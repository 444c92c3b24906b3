//! How many requests are under way, of an application and of a user, in all of httpd's children together; and no more than may be.
//!
//! Children share a file in memory. Each has a row of places in it, and a request that is under way has a place, in which its application
//! and its user are written. Who is about to let one in writes it down first and counts then, so two cannot both be the last.
//! Nothing is subtracted from a common number: the row of a child that was killed is ignored, and cleared by the next child that takes it.
//! Nobody waits for anybody. Only httpd's children have this memory: its parent makes the file and never looks into it, and
//! workers and the manager do not get it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{
    AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};

use rwsgi_os::{OsError, clock, shared};

use super::pools::PoolName;

/// How large the memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows: children that can live at the same time.
    pub rows: u32,
    /// Places of a row: requests that a child can serve at the same time.
    pub places: u32,
}

/// Limits that can be reached at the same time and be remembered.
const TURNS: usize = 64;
/// Numbers of each: what it is about, requests refused, when it was reached, when one was refused last (both in ms).
const TURN: usize = 4;
/// A limit counts as reached until nobody has been refused for so long, in ms.
const QUIET: u64 = 5000;
/// How often a request tries that only lost a race.
const TRIES: u32 = 3;

/// A place somebody is about to write to.
const TAKEN: u64 = 1;

impl Shape {
    /// Room for these children, twice over because of restarts, and for these threads. HTTP/2 has threads of its own, `H2MaxWorkers`.
    pub fn of(children: u32, threads: u32) -> Self {
        Self {
            rows: children.saturating_mul(2).saturating_add(16),
            places: threads.saturating_mul(4).max(64),
        }
    }

    fn numbers(self) -> usize {
        let (rows, places) = (self.rows as usize, self.places as usize);
        rows + rows * places * 2 + 1 + TURNS * TURN
    }

    /// The file, for children to share.
    pub fn make(self) -> Result<OwnedFd, OsError> {
        shared::make("rwsgi-requests", self.numbers())
    }
}

/// Whose requests are counted, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    application: u64,
    user: u64,
}

impl Who {
    /// An application, by its pool, and a user, by its name.
    pub fn new(pool: &PoolName, user: &[u8]) -> Self {
        Self {
            // What a user has tuned makes no other one of it.
            application: number((&pool.group, &pool.application_group)),
            user: number(user),
        }
    }
}

/// In ms, the same for all children.
fn now() -> u64 {
    u64::try_from(clock::monotonic().as_millis()).unwrap_or(u64::MAX)
}

/// The same in all children of a run, for they have the same program.
fn number(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish().max(TAKEN + 1)
}

/// The most requests; `None`: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// Of the application.
    pub application: Option<u32>,
    /// Of the user.
    pub user: Option<u32>,
}

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// The application.
    Application,
    /// The user.
    User,
}

/// Something to be logged, once for all children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This is the first request that is refused.
    Reached(Limited),
    /// It has been over for a while.
    Over {
        /// Which one.
        of: Limited,
        /// Requests that were refused.
        refused: u64,
        /// From the first of them to the last.
        seconds: u64,
    },
}

/// Whether a request may go on, and what there is to say.
pub struct Entry<'c> {
    /// Its place; `None`: there is none for it.
    pub place: Option<Place<'c>>,
    /// In order.
    pub changes: Vec<Change>,
}

/// A request that is under way; it no longer is when this is dropped.
pub struct Place<'c> {
    application: &'c AtomicU64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.application.store(0, Release);
    }
}

/// The memory, in a child.
pub struct Caps {
    file: OwnedFd,
    numbers: &'static [AtomicU64],
    shape: Shape,
    own: u32,
}

impl Caps {
    /// Takes a row of the memory for this process. `Ok(None)`: all are taken.
    pub fn join(file: OwnedFd, shape: Shape) -> Result<Option<Self>, OsError> {
        let numbers = shared::map(file.as_fd(), shape.numbers())?;
        for own in 0..shape.rows {
            if shared::take_part(&file, own)? {
                let caps = Self {
                    file,
                    numbers,
                    shape,
                    own,
                };
                // Whoever had it before is dead, and so are its requests.
                caps.places(own).iter().for_each(|number| number.store(0, SeqCst));
                return Ok(Some(caps));
            }
        }
        Ok(None)
    }

    /// Lets a request in if there are less than `most`.
    pub fn enter(&self, who: Who, most: Most) -> Entry<'_> {
        let mut changes = Vec::new();
        let is_crowded = self.refusing().load(Relaxed) != 0;
        for round in 0..TRIES {
            // While others are refused: look before writing, so that a crowd does not keep out the one that may come in.
            if is_crowded || round > 0 {
                if let Some(of) = self.exceeded(who, most, 1) {
                    return self.refuse(of, who, changes);
                }
            }
            let Some(place) = self.take(who) else { break };
            if self.exceeded(who, most, 0).is_none() {
                if is_crowded {
                    self.admit(who, most, &mut changes);
                }
                let place = Some(place);
                return Entry { place, changes };
            }
            drop(place);
            std::thread::yield_now();
        }
        let of = self.exceeded(who, most, 1).unwrap_or(match most.application {
            Some(_) => Limited::Application,
            None => Limited::User,
        });
        changes.clear();
        self.refuse(of, who, changes)
    }

    /// The limit that `more` requests would exceed.
    fn exceeded(&self, who: Who, most: Most, more: u32) -> Option<Limited> {
        let over = |(application, user): (u32, u32)| {
            let beyond = |count: u32, most: Option<u32>| most.is_some_and(|most| count + more > most);
            match () {
                () if beyond(application, most.application) => Some(Limited::Application),
                () if beyond(user, most.user) => Some(Limited::User),
                () => None,
            }
        };
        // The dead are looked for only when they would matter.
        over(self.count(who, false)).and_then(|_| over(self.count(who, true)))
    }

    fn count(&self, who: Who, only_living: bool) -> (u32, u32) {
        let (mut application, mut user) = (0, 0);
        for row in 0..self.shape.rows {
            let used = self.used(row);
            if used == 0 {
                continue;
            }
            let (mut of_application, mut of_user) = (0, 0);
            for place in self.places(row).chunks_exact(2).take(used) {
                let [first, second] = place else { continue };
                // Sequentially consistent with `take`: of two that enter at once at least one sees the other.
                let holder = first.load(SeqCst);
                if holder > TAKEN {
                    of_application += u32::from(holder == who.application);
                    of_user += u32::from(second.load(Relaxed) == who.user);
                }
            }
            if of_application + of_user > 0 && (!only_living || self.is_alive(row)) {
                application += of_application;
                user += of_user;
            }
        }
        (application, user)
    }

    fn is_alive(&self, row: u32) -> bool {
        row == self.own || shared::is_taken(&self.file, row).unwrap_or(true)
    }

    /// Writes a request down.
    fn take(&self, who: Who) -> Option<Place<'_>> {
        for (at, place) in self.places(self.own).chunks_exact(2).enumerate() {
            let [application, user] = place else { continue };
            if application.load(Relaxed) != 0
                || application.compare_exchange(0, TAKEN, Acquire, Relaxed).is_err()
            {
                continue;
            }
            user.store(who.user, Relaxed);
            if let Some(used) = self.numbers.get(self.own as usize) {
                used.fetch_max(at as u64 + 1, SeqCst);
            }
            application.store(who.application, SeqCst);
            return Some(Place { application });
        }
        None
    }

    /// How many places of a row have ever been used; the lowest free one is taken, so this is about as many as matter.
    fn used(&self, row: u32) -> usize {
        let used = self.numbers.get(row as usize).map_or(0, |used| used.load(SeqCst));
        usize::try_from(used).unwrap_or(usize::MAX)
    }

    fn places(&self, row: u32) -> &[AtomicU64] {
        let of_row = self.shape.places as usize * 2;
        let start = self.shape.rows as usize + row as usize * of_row;
        self.numbers.get(start..start + of_row).unwrap_or_default()
    }

    /// How many limits count as reached.
    fn refusing(&self) -> &AtomicU64 {
        &self.turns()[0]
    }

    /// That number, and what there is of each.
    fn turns(&self) -> &[AtomicU64] {
        let start = self.shape.rows as usize * (1 + self.shape.places as usize * 2);
        self.numbers.get(start..).unwrap_or_default()
    }

    fn turn(&self, key: u64) -> Option<&[AtomicU64]> {
        let mut turns = self.turns()[1..].chunks_exact(TURN);
        turns.find(|turn| turn[0].load(Acquire) == key)
    }

    fn refuse(&self, of: Limited, who: Who, mut changes: Vec<Change>) -> Entry<'_> {
        let (key, now) = (key(of, who), now());
        let known = self.turn(key);
        let turn = known.or_else(|| {
            let mut turns = self.turns()[1..].chunks_exact(TURN);
            // One child wins; another that was as fast has a second line, which does no harm.
            let free = turns.find(|turn| turn[0].compare_exchange(0, key, SeqCst, Relaxed).is_ok())?;
            free[1].store(0, Relaxed);
            free[2].store(now, Relaxed);
            self.refusing().fetch_add(1, SeqCst);
            changes.push(Change::Reached(of));
            Some(free)
        });
        if let Some(turn) = turn {
            turn[1].fetch_add(1, Relaxed);
            turn[3].store(now, Relaxed);
        }
        Entry { place: None, changes }
    }

    /// A request was let in: whatever kept others out may be over.
    fn admit(&self, who: Who, most: Most, changes: &mut Vec<Change>) {
        let limits = [
            (Limited::Application, most.application),
            (Limited::User, most.user),
        ];
        for (of, _) in limits.into_iter().filter(|(_, most)| most.is_some()) {
            let key = key(of, who);
            let Some([holder, refused, since, last]) = self.turn(key) else {
                continue;
            };
            let (since, last) = (since.load(Relaxed), last.load(Relaxed));
            let refused = refused.load(Relaxed);
            let is_over = now().saturating_sub(last) >= QUIET;
            if is_over && holder.compare_exchange(key, 0, SeqCst, Relaxed).is_ok() {
                self.refusing().fetch_sub(1, SeqCst);
                let seconds = last.saturating_sub(since).div_ceil(1000);
                changes.push(Change::Over { of, refused, seconds });
            }
        }
    }
}

fn key(of: Limited, who: Who) -> u64 {
    match of {
        Limited::Application => who.application,
        Limited::User => who.user,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps() -> Caps {
        let shape = Shape { rows: 4, places: 8 };
        Caps::join(shape.make().unwrap(), shape).unwrap().unwrap()
    }

    fn who(application: &str, user: &str) -> Who {
        let pool = PoolName::of_group(b"g", application.as_bytes());
        Who::new(&pool, user.as_bytes())
    }

    fn most(application: u32, user: u32) -> Most {
        let limit = |n| (n > 0).then_some(n);
        Most {
            application: limit(application),
            user: limit(user),
        }
    }

    #[test]
    fn r59_an_application_has_its_number_and_no_more() {
        let caps = caps();
        let first = caps.enter(who("a", "ann"), most(2, 0));
        let second = caps.enter(who("a", "ann"), most(2, 0));
        assert!(first.place.is_some() && second.place.is_some());
        let third = caps.enter(who("a", "ann"), most(2, 0));
        assert!(third.place.is_none());
        assert_eq!(third.changes, [Change::Reached(Limited::Application)]);
        // Said once.
        assert!(caps.enter(who("a", "ann"), most(2, 0)).changes.is_empty());
        assert!(caps.enter(who("b", "ann"), most(2, 0)).place.is_some());
        drop(first);
        assert!(caps.enter(who("a", "ann"), most(2, 0)).place.is_some());
    }

    #[test]
    fn r59_a_user_has_a_number_for_all_its_applications() {
        let caps = caps();
        let held: Vec<_> = ["a", "b"]
            .map(|app| caps.enter(who(app, "ann"), most(2, 2)))
            .into();
        assert!(held.iter().all(|entry| entry.place.is_some()));
        let refused = caps.enter(who("c", "ann"), most(2, 2));
        assert!(refused.place.is_none());
        assert_eq!(refused.changes, [Change::Reached(Limited::User)]);
        assert!(caps.enter(who("d", "bob"), most(2, 2)).place.is_some());
    }

    #[test]
    fn r59_the_end_of_a_limit_is_said_with_the_number_of_those_that_were_refused() {
        let caps = caps();
        let held = caps.enter(who("a", "ann"), most(1, 0));
        for _ in 0..3 {
            assert!(caps.enter(who("a", "ann"), most(1, 0)).place.is_none());
        }
        drop(held);
        assert!(caps.enter(who("a", "ann"), most(1, 0)).changes.is_empty());
        let turn = caps.turn(who("a", "ann").application).unwrap();
        turn[2].fetch_sub(9000, SeqCst);
        turn[3].fetch_sub(6000, SeqCst);
        let over = caps.enter(who("a", "ann"), most(1, 0));
        assert!(
            matches!(over.changes[..], [Change::Over { of: Limited::Application, refused: 3, seconds }] if seconds >= 3),
            "{:?}",
            over.changes
        );
        assert_eq!(caps.refusing().load(SeqCst), 0);
    }

    // R59, F33: rows of which nobody holds the lock belonged to processes that are dead.
    #[test]
    fn f33_what_the_dead_had_does_not_count_and_is_cleared_with_their_row() {
        let caps = caps();
        let ann = who("a", "ann");
        caps.numbers[2].store(1, SeqCst);
        caps.places(2)[0].store(ann.application, SeqCst);
        caps.places(2)[1].store(ann.user, SeqCst);
        assert_eq!(caps.count(ann, false), (1, 1));
        assert_eq!(caps.count(ann, true), (0, 0));
        assert!(caps.enter(ann, most(1, 1)).place.is_some());
        let (file, shape) = (caps.file.try_clone().unwrap(), caps.shape);
        drop(caps);
        // This process may have every row: locks of the same process do not meet.
        let again = Caps {
            own: 2,
            ..Caps::join(file, shape).unwrap().unwrap()
        };
        again.places(2).iter().for_each(|number| number.store(0, SeqCst));
        assert_eq!(again.count(ann, false), (0, 0));
    }

    #[test]
    fn r59_many_at_once_never_are_more_than_the_limit() {
        let caps = caps();
        let under_way = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let entry = caps.enter(who("a", "ann"), most(3, 0));
                        if entry.place.is_some() {
                            assert!(under_way.fetch_add(1, SeqCst) < 3);
                            under_way.fetch_sub(1, SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(caps.count(who("a", "ann"), false), (0, 0));
    }
}
