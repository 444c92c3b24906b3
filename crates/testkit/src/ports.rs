//! Ports for private servers: a range, and one lock file for each, so that parallel test runs do not meet.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::fcntl::{Flock, FlockArg};

/// Below the range from which kernels take ephemeral ports.
const FIRST: u16 = 21_000;
const COUNT: u16 = 600;

/// A port that no other test of this machine uses while this value lives.
pub struct Port {
    /// The number.
    pub number: u16,
    _lock: Flock<File>,
}

impl Port {
    /// Takes the next free port of the range.
    pub fn take() -> Port {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let directory = std::env::temp_dir().join("rwsgi-test-ports");
        std::fs::create_dir_all(&directory).expect("lock directory");
        // Shared by all users of the machine, like the ports themselves; fails harmlessly when it is another's.
        let _ = std::fs::set_permissions(&directory, Permissions::from_mode(0o777));
        let offset = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let number = FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let path = directory.join(number.to_string());
            let Ok(file) = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
            else {
                continue;
            };
            let _ = std::fs::set_permissions(&path, Permissions::from_mode(0o666));
            if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                return Port { number, _lock: lock };
            }
        }
        panic!("all {COUNT} ports from {FIRST} are locked by other tests");
    }
}
