//! One serving thread: request after request, from whichever connection has one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rwsgi_os::process;
use rwsgi_wire::call::Call;
use rwsgi_wire::head::Head;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::{AbortReason, Level};

use super::Worker;
use super::renewal::Place;
use super::seats::Claim;
use crate::calls;
use crate::codes;
use crate::exchange::Exchange;
use crate::exchange::socket::{Connection, NoHead, is_copy};
use crate::wsgi::serve::{Circumstances, now, serve};

/// Serves as thread `number` until the worker leaves.
pub fn run(worker: &Worker, number: usize, served: &AtomicU64) {
    let ident = worker.interpreter.enter(|py, _| {
        let ident = py
            .import(c"_thread")
            .and_then(|module| module.call_method(c"get_ident", &[]));
        ident.and_then(|ident| ident.to_int()).ok()
    });
    let mut thread = Thread {
        worker,
        number,
        ident: ident.ok().flatten(),
        served,
        head: Vec::new(),
    };
    let (seats, mut found) = (&worker.seats, Vec::new());
    while seats.lead.take(number) {
        loop {
            let Some(claim) = seats.next(thread.ident, &mut found) else {
                return;
            };
            seats.lead.begin();
            let took = thread.one_request(&claim);
            if !seats.lead.end(number, took) {
                break;
            }
        }
    }
}

/// The child that sent it may have given up: its client has had time to go, or `queue-timeout` to pass.
fn is_old(head: &Head<'_>) -> bool {
    now().saturating_sub(head.queue_start) > 100_000
}

struct Thread<'a> {
    worker: &'a Worker,
    number: usize,
    /// Python's number of it.
    ident: Option<i64>,
    /// Requests of the whole worker.
    served: &'a AtomicU64,
    /// The encoded head of the request, kept for its memory.
    head: Vec<u8>,
}

impl Thread<'_> {
    /// Answers the request that has arrived; how long that took.
    fn one_request(&mut self, claim: &Claim) -> Duration {
        let (worker, connection) = (self.worker, &claim.connection);
        let mut encoded = std::mem::take(&mut self.head);
        let head = match connection.next_head(&mut encoded) {
            Ok(()) => Head::decode(&encoded).map_err(NoHead::Broken),
            Err(none) => Err(none),
        };
        let took = match head {
            Ok(head) => self.run(claim, head),
            Err(none) => {
                if let NoHead::Broken(error) = none {
                    self.protocol_broken(&error);
                }
                worker.seats.end(claim, false, false).took
            }
        };
        self.head = encoded;
        took
    }

    fn run(&self, claim: &Claim, mut head: Head<'_>) -> Duration {
        let (worker, connection) = (self.worker, &claim.connection);
        let counts = !head.ignore_activity;
        worker.seats.begin(claim, counts);
        // Other scripts than that of an application are loaded anew where they are.
        worker.idleness.stir(counts);
        let is_application = head.call == Call::Application;
        if is_application && worker.place_for(&head) == Place::Elsewhere {
            connection.refuse_as_stale();
            return worker.seats.end(claim, counts, false).took;
        }
        if is_application {
            // What is loaded serves: a newer version is loaded by another worker.
            head.script_mtime = 0;
        }
        if !head.has_body {
            connection.no_body();
        }
        // The peer may have given up while the request waited. Then nothing has run, and nothing must.
        let complete = connection.take(worker.pid, is_old(&head)).is_ok() && self.answer(connection, &head);
        let served = self.served.fetch_add(1, Ordering::Relaxed) + 1;
        let maximum = worker.start.life.maximum_requests;
        if maximum != 0 && served >= maximum {
            worker.leave(LeaveReason::MaximumRequests);
        }
        let over = worker.seats.end(claim, counts, complete);
        if over.interrupted {
            self.forget_interruption();
        }
        over.took
    }

    /// Runs the application; whether the answer is complete.
    fn answer(&self, connection: &Arc<Connection>, head: &Head<'_>) -> bool {
        let exchange: Arc<dyn Exchange> = connection.clone();
        let circumstances = Circumstances {
            thread_id: self.number as i64 + 1,
            daemon_start: now(),
            record: None,
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.worker.interpreter.enter(|py, state| match head.call {
                Call::Application => serve(py, state, &exchange, head, circumstances),
                _ => calls::serve(py, state, &exchange, head, circumstances),
            })
        }));
        if is_copy() {
            // The application forked and came back here: this is the copy, and the answer is the other's to give.
            process::exit_now(i32::from(!matches!(outcome, Ok(Ok(Ok(()))))));
        }
        match outcome {
            Ok(Ok(Ok(()))) => connection.end().is_ok(),
            Ok(Ok(Err(fault))) => {
                // Before the client hears of it: its next request must not come here.
                if fault.0 == AbortReason::Import && self.worker.versions.is_spoiled() {
                    self.worker.leave(LeaveReason::ImportFailed);
                }
                connection.abort(fault.0, "");
                false
            }
            Ok(Err(_)) => {
                connection.abort(AbortReason::Draining, "the worker is ending");
                false
            }
            Err(_) => {
                connection.abort(AbortReason::Internal, "the worker failed in itself");
                false
            }
        }
    }

    /// The exception for a request that has ended meanwhile must not be raised in the next.
    fn forget_interruption(&self) {
        if let Some(thread) = self.ident {
            let _ = self.worker.interpreter.enter(|py, _| py.forget_raised(thread));
        }
    }

    fn protocol_broken(&self, error: &rwsgi_wire::WireError) {
        let text = format!(
            "{}: a request of httpd cannot be read: {error}",
            codes::PROTOCOL_BROKEN
        );
        self.worker.control.say(Level::Error, &text);
    }
}
