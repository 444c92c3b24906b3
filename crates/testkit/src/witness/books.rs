//! The verdict: what the clients saw beside what the application did.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::visit::{End, Kind, Visit, body_of};

/// Both books of one run.
pub struct Books {
    visits: Vec<Visit>,
    /// How often each number began to run.
    begun: BTreeMap<u64, usize>,
    /// Length and sum of each body that was read.
    read: BTreeMap<u64, (usize, u32)>,
}

impl Books {
    pub(super) fn close(visits: Vec<Visit>, data: &Path, book: usize) -> Books {
        let (mut begun, mut read) = (BTreeMap::new(), BTreeMap::new());
        let prefix = format!("ledger-{book}.");
        for entry in std::fs::read_dir(data).into_iter().flatten().flatten() {
            if !entry.file_name().to_string_lossy().starts_with(&prefix) {
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).expect("a ledger");
            for line in text.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                let number = |at: usize| words[at].parse::<u64>().unwrap_or_else(|_| panic!("{line:?}"));
                match words[0] {
                    "begun" => *begun.entry(number(1)).or_insert(0) += 1,
                    "read" => drop(read.insert(number(1), (number(2) as usize, number(3) as u32))),
                    _ => panic!("a line of the ledger: {line:?}"),
                }
            }
        }
        Books { visits, begun, read }
    }

    /// The requests, in the order in which they ended.
    pub fn visits(&self) -> &[Visit] {
        &self.visits
    }

    /// How many had the right answer.
    pub fn answered(&self) -> usize {
        self.visits.iter().filter(|visit| is_right(visit)).count()
    }

    /// The requests without the right answer.
    pub fn failures(&self) -> Vec<&Visit> {
        self.visits.iter().filter(|visit| !is_right(visit)).collect()
    }

    /// The processes that answered for a site.
    pub fn pids(&self, site: &str) -> BTreeSet<u32> {
        let of_the_site = self.visits.iter().filter(|visit| visit.site == site);
        of_the_site
            .filter_map(|visit| match visit.end {
                End::Right { pid } => Some(pid),
                _ => None,
            })
            .collect()
    }

    /// Within which time 99 of 100 requests of a kind to a site ended.
    pub fn p99(&self, site: &str, kind: Kind) -> Duration {
        let wanted = |visit: &&Visit| visit.site == site && visit.kind == kind;
        let mut all: Vec<Duration> = self.visits.iter().filter(wanted).map(|v| v.took).collect();
        all.sort_unstable();
        all.get((all.len() * 99 / 100).min(all.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    /// Panics unless, whatever happened: no answer that looked whole was wrong, what was answered 200 ran exactly once, with the body
    /// that was sent, nothing ran twice, and nothing ran that nobody asked for. N1, N2
    pub fn balance(&self) {
        assert!(!self.visits.is_empty(), "nobody asked");
        let mut complaints = Vec::new();
        let mut asked = BTreeSet::new();
        for visit in &self.visits {
            asked.insert(visit.number);
            if let End::Wrong(what) = &visit.end {
                complaints.push(format!("{visit:?} has the wrong answer: {what}"));
            }
            if is_right(visit) {
                let times = self.begun.get(&visit.number).copied().unwrap_or_default();
                if times != 1 {
                    complaints.push(format!("{visit:?} ran {times} times"));
                }
                let body = body_of(visit.kind, visit.number);
                if !body.is_empty() && self.read.get(&visit.number) != Some(&(body.len(), adler32(&body))) {
                    complaints.push(format!(
                        "{visit:?} had another body: {:?}",
                        self.read.get(&visit.number)
                    ));
                }
            }
        }
        for (number, times) in &self.begun {
            if *times > 1 {
                complaints.push(format!("{number} ran {times} times"));
            }
            if !asked.contains(number) {
                complaints.push(format!("{number} ran, and nobody asked for it"));
            }
        }
        let first: Vec<_> = complaints.iter().take(10).collect();
        assert!(complaints.is_empty(), "{}: {first:#?}", complaints.len());
    }

    /// Panics unless the books balance and every request had its answer.
    pub fn lossless(&self) {
        self.lost_at_most(0);
    }

    /// Panics unless the books balance and at most `count` requests had no answer: each with status 502 or seen to be cut off.
    pub fn lost_at_most(&self, count: usize) {
        self.balance();
        let failures = self.failures();
        let first: Vec<_> = failures.iter().take(10).collect();
        assert!(
            failures.len() <= count,
            "{} of {} requests failed, {count} may: {first:#?}",
            failures.len(),
            self.visits.len()
        );
        let otherwise: Vec<_> = failures
            .iter()
            .filter(|visit| !matches!(visit.end, End::Cut | End::Status { code: 502, .. }))
            .collect();
        assert!(otherwise.is_empty(), "failed otherwise: {otherwise:#?}");
    }
}

fn is_right(visit: &Visit) -> bool {
    matches!(visit.end, End::Right { .. })
}

/// The sum that Python has as `zlib.adler32`.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    // So many bytes cannot overflow.
    for piece in bytes.chunks(5552) {
        for byte in piece {
            a += u32::from(*byte);
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn books(end: End, times: usize) -> Books {
        let visit = Visit {
            number: 7,
            site: String::new(),
            kind: Kind::Run,
            began: Instant::now(),
            took: Duration::ZERO,
            end,
        };
        let begun = [(7, times)].into_iter().filter(|(_, times)| *times > 0);
        Books {
            visits: vec![visit],
            begun: begun.collect(),
            read: BTreeMap::new(),
        }
    }

    fn holds(check: impl Fn(&Books) + std::panic::UnwindSafe, books: Books) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&books))).is_ok()
    }

    // A verdict that cannot fail would be worth nothing.
    #[test]
    fn books_that_do_not_balance_are_found_out() {
        let right = End::Right { pid: 1 };
        assert!(holds(Books::lossless, books(right.clone(), 1)));
        assert!(
            !holds(Books::balance, books(right.clone(), 0)),
            "answered, not run"
        );
        assert!(!holds(Books::balance, books(right, 2)), "run twice");
        assert!(!holds(Books::balance, books(End::Cut, 2)), "cut, and run twice");
        assert!(!holds(Books::balance, books(End::Wrong("short".into()), 1)));
        let mut foreign = books(End::Cut, 1);
        foreign.begun.insert(8, 1);
        assert!(!holds(Books::balance, foreign));
    }

    #[test]
    fn a_loss_is_forgiven_when_it_was_said() {
        let status = |code| End::Status {
            code,
            retry_after: true,
        };
        assert!(!holds(Books::lossless, books(End::Cut, 1)));
        assert!(holds(|b| b.lost_at_most(1), books(End::Cut, 1)));
        assert!(holds(|b| b.lost_at_most(1), books(status(502), 1)));
        assert!(!holds(|b| b.lost_at_most(1), books(status(503), 0)));
    }

    #[test]
    fn the_sum_is_that_of_zlib() {
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }
}
