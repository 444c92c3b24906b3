//! The entering process by itself: the real program in its second form, started as the manager starts it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rwsgi_manager::entry::Entry;
use rwsgi_manager::journey::Event;
use rwsgi_manager::report::Reader;
use rwsgi_os::spawn::Spawn;
use rwsgi_os::{fd, file, poll, process};

/// How long a journey may take on a busy machine before it is taken for one that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a journey. Answers what its Python wrote, and what it told.
pub fn travel(entry: &Entry) -> (String, Vec<Event>) {
    let null = file::null().unwrap();
    let (output, output_theirs) = fd::pipe().unwrap();
    let (status, status_theirs) = fd::pipe().unwrap();
    let settings = fd::memory_file("settings").unwrap();
    fd::write_all(&settings, &entry.encode()).unwrap();
    let pid = Spawn {
        program: env!("CARGO_BIN_EXE_rwsgi-manager").as_bytes(),
        arguments: &[b"rwsgi-manager".to_vec(), b"enter".to_vec()],
        environment: &[],
        descriptors: &[
            null.as_fd(),
            output_theirs.as_fd(),
            output_theirs.as_fd(),
            null.as_fd(),
            null.as_fd(),
            null.as_fd(),
            status_theirs.as_fd(),
            settings.as_fd(),
        ],
        dies_with_parent: true,
    }
    .start()
    .unwrap();
    drop((output_theirs, status_theirs));
    let mut reader = Reader::default();
    reader.push(&whole(&status));
    let events = std::iter::from_fn(|| reader.next().unwrap()).collect();
    let said = String::from_utf8_lossy(&whole(&output)).into_owned();
    process::wait(pid).unwrap();
    (said, events)
}

/// What comes until the end.
fn whole(pipe: &OwnedFd) -> Vec<u8> {
    let end = Instant::now() + PATIENCE;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        assert!(poll::readable(pipe, Some(left)).unwrap(), "the journey hangs");
        match fd::read(pipe, &mut buffer).unwrap() {
            0 => return bytes,
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}
