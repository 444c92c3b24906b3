//! The entering process by itself: the real program in its second form, started as the manager starts it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rwsgi_manager::entry::Entry;
use rwsgi_manager::journey::Event;
use rwsgi_manager::report::Reader;
use rwsgi_os::process::End;
use rwsgi_os::spawn::Spawn;
use rwsgi_os::{fd, file, poll, process};

/// How long a journey may take on a busy machine before it is taken for one that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a journey. Answers what its Python wrote, and what it told.
#[allow(dead_code)] // Some have another program start it.
pub fn travel(entry: &Entry) -> (String, Vec<Event>) {
    let manager = env!("CARGO_BIN_EXE_rwsgi-manager");
    let (_, events, said) = travel_by(manager, &["rwsgi-manager", "enter"], &[], entry);
    (said, events)
}

/// The same, started by a program; answers how it ended, too.
pub fn travel_by(
    program: &str,
    arguments: &[&str],
    environment: &[Vec<u8>],
    entry: &Entry,
) -> (End, Vec<Event>, String) {
    let null = file::null().unwrap();
    let (output, output_theirs) = fd::pipe().unwrap();
    let (status, status_theirs) = fd::pipe().unwrap();
    let settings = fd::memory_file("settings").unwrap();
    fd::write_all(&settings, &entry.encode()).unwrap();
    let arguments: Vec<Vec<u8>> = arguments
        .iter()
        .map(|argument| argument.as_bytes().to_vec())
        .collect();
    let pid = Spawn {
        program: program.as_bytes(),
        arguments: &arguments,
        environment,
        descriptors: &[
            null.as_fd(),
            output_theirs.as_fd(),
            output_theirs.as_fd(),
            null.as_fd(),
            null.as_fd(),
            null.as_fd(),
            status_theirs.as_fd(),
            settings.as_fd(),
            // One that nobody needs, and that must not reach the Python.
            null.as_fd(),
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
    (process::wait(pid).unwrap(), events, said)
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
