//! The acceptor: takes a connection only when a seat can serve it. Otherwise connections stay in the backlog, where the other
//! workers of the pool find them, so that no request waits behind a busy worker while another is idle.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rwsgi_os::poll::{Events, Watch, poll};
use rwsgi_os::socket::{self, Mode};
use rwsgi_os::{OsError, OwnedFd};
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::Level;

use super::Worker;
use crate::codes;
use crate::exchange::socket::Connection;

/// Accepts until the worker leaves.
pub fn run(worker: &Worker) {
    let mut failures = 0;
    while worker.seats.wait_for_room() {
        let mut watches = [
            Watch::new(worker.listener.as_fd(), Events::READ),
            Watch::new(worker.wake.as_fd(), Events::READ),
        ];
        if poll(&mut watches, None).is_err() {
            return;
        }
        if watches.iter().any(|watch| watch.found().is_hung_up()) && worker.is_leaving() {
            return;
        }
        let mut failure = None;
        worker
            .seats
            .seat(|| match socket::accept(&worker.listener, Mode::Blocking) {
                Ok(stream) => welcome(worker, stream),
                // Another worker was faster.
                Err(error) if error.is_would_block() => None,
                Err(error) => {
                    failure = Some(error);
                    None
                }
            });
        // Not while the seats are held: those who serve need them.
        match failure {
            None => failures = 0,
            Some(error) => {
                failures += 1;
                not_accepted(worker, &error, failures);
            }
        }
    }
}

/// Between two tries when accepting fails.
const PAUSE: Duration = Duration::from_millis(200);
/// After so many tries in vain another worker has to take what waits.
const TRIES: u32 = 5;

/// Usually the limit of descriptors. The connection waits for another worker, or for this one.
fn not_accepted(worker: &Worker, error: &OsError, failures: u32) {
    if failures == 1 {
        let text = format!("{}: {error}", codes::NOT_ACCEPTED);
        worker.control.say(Level::Warn, &text);
    }
    if failures == TRIES {
        worker.leave(LeaveReason::CannotAccept);
    }
    std::thread::sleep(PAUSE);
}

/// The connection, if it is httpd's.
fn welcome(worker: &Worker, stream: OwnedFd) -> Option<Arc<Connection>> {
    let peer = socket::peer(&stream).ok()?;
    if peer.uid != worker.start.server_uid && peer.uid != 0 {
        let text = format!(
            "{}: refused a connection of process {} of user id {}, which is not httpd's {}",
            codes::STRANGER_REFUSED,
            peer.pid,
            peer.uid,
            worker.start.server_uid
        );
        worker.control.say(Level::Warn, &text);
        return None;
    }
    if worker.start.send_buffer != 0 {
        socket::set_send_buffer(&stream, worker.start.send_buffer).ok()?;
    }
    // Its request may end this process, which then was ready.
    worker.control.ready();
    Some(Connection::new(stream))
}
