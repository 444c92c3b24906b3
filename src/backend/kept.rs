//! Verdicts that an httpd child keeps for the time that `cache=` states.
//!
//! What a verdict is for is told apart by a hash with a salt of this process: user and password are in it, so a verdict is found by the very
//! same password only, and no password is kept. Only a yes is kept: what fails or is refused is asked again each time.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_wire::call::{Said, Verdict};
use sha2::{Digest as _, Sha256};

/// Verdicts kept at most.
pub const MOST: usize = 1024;

/// What a verdict is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// The verdicts of this process.
pub struct Kept {
    salt: [u8; 32],
    verdicts: Mutex<HashMap<Key, (Instant, Verdict)>>,
}

impl Kept {
    /// None yet, with a new salt. `None` when the system has no random numbers: then nothing can be kept.
    pub fn new() -> Option<Self> {
        let mut salt = [0; 32];
        File::open("/dev/urandom").ok()?.read_exact(&mut salt).ok()?;
        Some(Self {
            salt,
            verdicts: Mutex::default(),
        })
    }

    /// The key of everything that the verdict depends on.
    pub fn key(&self, parts: &[&[u8]]) -> Key {
        let mut inner = Sha256::new_with_prefix(self.salt);
        for part in parts {
            inner.update((part.len() as u64).to_be_bytes());
            inner.update(part);
        }
        // The salt on both sides: what follows cannot be appended to what is known.
        let outer = Sha256::new_with_prefix(self.salt).chain_update(inner.finalize());
        Key(outer.finalize().into())
    }

    /// The verdict, unless its time is over.
    pub fn get(&self, key: &Key, now: Instant) -> Option<Verdict> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, verdict) = verdicts.get(key)?;
        (now < *until).then(|| verdict.clone())
    }

    /// Keeps a yes for `time`.
    pub fn put(&self, key: Key, verdict: &Verdict, now: Instant, time: Duration) {
        if !matches!(verdict.said, Said::Yes | Said::Values) {
            return;
        }
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= MOST && !verdicts.contains_key(&key) {
            verdicts.retain(|_, (until, _)| now < *until);
        }
        if verdicts.len() >= MOST && !verdicts.contains_key(&key) {
            let first = verdicts.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(first) = first.map(|(key, _)| *key) {
                verdicts.remove(&first);
            }
        }
        verdicts.insert(key, (now + time, verdict.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn yes() -> Verdict {
        Verdict::plain(Said::Yes)
    }

    #[test]
    fn a_verdict_is_found_by_the_same_parts_until_its_time_is_over() {
        let kept = Kept::new().unwrap();
        let now = Instant::now();
        let key = kept.key(&[b"joe", b"secret"]);
        kept.put(key, &yes(), now, MINUTE);
        assert_eq!(kept.get(&kept.key(&[b"joe", b"secret"]), now), Some(yes()));
        for other in [[b"joe", &b"Secret"[..]], [b"joes", b"ecret"], [b"eve", b"secret"]] {
            assert_eq!(kept.get(&kept.key(&other), now), None);
        }
        assert_eq!(kept.get(&key, now + MINUTE), None);
    }

    #[test]
    fn each_process_has_a_salt_of_its_own() {
        let (one, other) = (Kept::new().unwrap(), Kept::new().unwrap());
        assert_ne!(one.key(&[b"joe"]), other.key(&[b"joe"]));
    }

    #[test]
    fn only_a_yes_is_kept() {
        let kept = Kept::new().unwrap();
        let now = Instant::now();
        for said in [Said::No, Said::Nothing] {
            let key = kept.key(&[&[said as u8]]);
            kept.put(key, &Verdict::plain(said), now, MINUTE);
            assert_eq!(kept.get(&key, now), None);
        }
    }

    #[test]
    fn their_number_is_bounded_and_the_oldest_go_first() {
        let kept = Kept::new().unwrap();
        let now = Instant::now();
        let key = |n: usize| kept.key(&[&n.to_be_bytes()]);
        for n in 0..MOST + 10 {
            let n_millis = Duration::from_millis(n as u64);
            kept.put(key(n), &yes(), now + n_millis, MINUTE);
        }
        assert_eq!(kept.verdicts.lock().unwrap().len(), MOST);
        assert_eq!(kept.get(&key(0), now), None);
        assert!(kept.get(&key(MOST + 9), now).is_some());
    }
}
