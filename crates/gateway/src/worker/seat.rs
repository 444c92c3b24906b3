//! One serving thread: connection after connection, request after request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rwsgi_os::process;
use rwsgi_wire::call::Call;
use rwsgi_wire::head::Head;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::{AbortReason, Level};

use super::Worker;
use super::renewal::Place;
use crate::calls;
use crate::codes;
use crate::exchange::Exchange;
use crate::exchange::socket::{Connection, NoHead, is_copy};
use crate::wsgi::serve::{Circumstances, now, serve};

/// Serves on seat `index` until the worker leaves.
pub fn run(worker: &Worker, index: usize) {
    let thread = worker.interpreter.enter(|py, _| {
        let ident = py
            .import(c"_thread")
            .and_then(|module| module.call_method(c"get_ident", &[]));
        ident.and_then(|ident| ident.to_int()).ok()
    });
    let mut seat = Seat {
        worker,
        index,
        thread: thread.ok().flatten(),
        head: Vec::new(),
    };
    while let Some(connection) = worker.seats.next_connection(index) {
        while seat.one_request(&connection) {}
        connection.dismiss();
    }
}

/// In microseconds: after so long a wait it is looked whether anybody still waits.
const LONG_WAIT: i64 = 20_000;

struct Seat<'a> {
    worker: &'a Worker,
    index: usize,
    thread: Option<i64>,
    /// The encoded head of the request, kept for its memory.
    head: Vec<u8>,
}

impl Seat<'_> {
    /// Waits for a request and answers it; false when the connection cannot carry another.
    fn one_request(&mut self, connection: &Arc<Connection>) -> bool {
        let worker = self.worker;
        match connection.next_head(&mut self.head) {
            Ok(()) => {}
            Err(NoHead::Closed) => return false,
            Err(NoHead::Broken(error)) => {
                self.protocol_broken(&error);
                return false;
            }
        }
        let mut head = match Head::decode(&self.head) {
            Ok(head) => head,
            Err(error) => {
                self.protocol_broken(&error);
                return false;
            }
        };
        let counts = !head.ignore_activity;
        if !worker.seats.begin(self.index, self.thread, counts) {
            connection.refuse_as_stale();
            return false;
        }
        // Other scripts than that of an application are loaded anew where they are.
        worker.idleness.stir(counts);
        let is_application = head.call == Call::Application;
        let place = match is_application {
            true => worker.place_for(&head),
            false => Place::Here,
        };
        if place == Place::Elsewhere {
            connection.refuse_as_stale();
            worker.seats.nothing_runs(self.index);
            worker.seats.end(self.index, counts);
            return false;
        }
        if is_application {
            // What is loaded serves: a newer version is loaded by another worker.
            head.script_mtime = 0;
        }
        if !head.has_body {
            connection.no_body();
        }
        // The peer may have given up while the request waited. Then nothing has run, and nothing must.
        let now = now();
        let waited = now.saturating_sub(head.queue_start) >= LONG_WAIT;
        let taken = connection.take(worker.pid, waited).is_ok();
        if !taken {
            worker.seats.nothing_runs(self.index);
        }
        let complete = taken && self.answer(connection, &head, place, now);
        let over = worker.seats.end(self.index, counts);
        if over.interrupted {
            self.forget_interruption();
        }
        let served = worker.served.fetch_add(1, Ordering::Relaxed) + 1;
        if worker.start.life.maximum_requests != 0 && served >= worker.start.life.maximum_requests {
            worker.leave(LeaveReason::MaximumRequests);
            return false;
        }
        complete && over.reusable
    }

    /// Runs the application; whether the answer is complete.
    fn answer(&self, connection: &Arc<Connection>, head: &Head<'_>, place: Place, now: i64) -> bool {
        let exchange: Arc<dyn Exchange> = connection.clone();
        let circumstances = Circumstances {
            thread_id: self.index as i64 + 1,
            daemon_start: now,
            record: None,
        };
        let mut memory_error = false;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.worker.interpreter.enter(|py, state| {
                let outcome = match head.call {
                    Call::Application => serve(py, state, &exchange, head, circumstances),
                    _ => calls::serve(py, state, &exchange, head, circumstances),
                };
                memory_error = state.memory_error.take();
                outcome
            })
        }));
        if is_copy() {
            // The application forked and came back here: this is the copy, and the answer is the other's to give.
            process::exit_now(i32::from(!matches!(outcome, Ok(Ok(Ok(()))))));
        }
        if memory_error && self.worker.start.memory_is_limited {
            // What it keeps, or lets fall to pieces, may leave too little for the next request, which must not come here.
            self.worker.leave(LeaveReason::MemoryLimit);
        }
        match outcome {
            Ok(Ok(Ok(()))) => connection.end().is_ok(),
            Ok(Ok(Err(fault))) => {
                if place == Place::First && matches!(fault.0, AbortReason::Import | AbortReason::Callable) {
                    self.worker.control.not_loaded(head.script, "");
                }
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
        if let Some(thread) = self.thread {
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
