//! The iterable that an application returned: its blocks sent as they come, its `close()` called once.

use std::borrow::Cow;
use std::sync::Arc;

use rwsgi_wire::response::{AbortReason, Level};

use super::fault::{Fault, application_raised, report_exception, rule_broken};
use super::file::RegularFile;
use super::head::Head;
use super::request::{Request, lock};
use super::state::State;
use super::validate::Status;
use crate::codes;
use crate::cpython::{Attached, Exception, Object, Raise};
use crate::exchange::Exchange;

/// Everything the blocks need.
pub struct Answer<'a> {
    /// The request.
    pub request: &'a Arc<Request>,
    /// Its exchange.
    pub exchange: &'a dyn Exchange,
    /// The script, for messages.
    pub script: &'a [u8],
    /// Nobody will see a body.
    pub head_only: bool,
    /// The interpreter's.
    pub state: &'a State,
}

/// Sends the blocks of `result`, then calls its `close()`.
pub fn send_all<'py>(
    py: Attached<'py>,
    answer: &Answer<'_>,
    result: &Object<'py>,
    state: &State,
) -> Result<(), Fault> {
    // A list or tuple cannot have a `close` and runs no code of the application: its blocks may travel together.
    if result.is_exact_list() || result.is_exact_tuple() {
        let mut index = 0;
        while let Some(block) = result.item(index) {
            if !answer.block(py, result, &block, false)? {
                break;
            }
            index += 1;
        }
        return Ok(());
    }
    let sent = match RegularFile::of(py, result, state).map(|file| file.send(py, answer)) {
        Some(Ok(true)) => Ok(()),
        Some(Err(fault)) => Err(fault),
        Some(Ok(false)) | None => answer.blocks(py, result),
    };
    state.keys.close.with(py, |close| answer.close(result, close));
    sent
}

impl Answer<'_> {
    fn blocks<'py>(&self, py: Attached<'py>, result: &Object<'py>) -> Result<(), Fault> {
        let raised = |exception| self.raised(&exception);
        let iterator =
            result
                .iterate()
                .map_err(|exception| match exception.is(Raise::Type) && !has_iter(result) {
                    true => rule_broken(self.request, &not_iterable(&self.script(), result)),
                    // Its own `__iter__` raised.
                    false => raised(exception),
                })?;
        while let Some(block) = iterator.advance().map_err(raised)? {
            if !self.block(py, result, &block, true)? {
                break;
            }
        }
        Ok(())
    }

    /// Sends a block of `result`; false when nobody waits for more.
    pub fn block<'py>(
        &self,
        py: Attached<'py>,
        result: &Object<'py>,
        block: &Object<'py>,
        now: bool,
    ) -> Result<bool, Fault> {
        let Some(data) = block.as_bytes() else {
            return Err(rule_broken(
                self.request,
                &not_bytes(&self.script(), result, block),
            ));
        };
        if data.is_empty() {
            return Ok(true);
        }
        let mut output = lock(py, &self.request.output);
        if !output.has_head() {
            return Err(self.no_start_response());
        }
        let start = self.request.call_start();
        Ok(output.add(py, self.exchange, data, now, start).is_ok())
    }

    /// The script, for messages.
    pub fn script(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.script)
    }

    fn note(&self, exception: &Exception<'_>) {
        if exception.is(Raise::Memory) {
            self.state.memory_error.set(true);
        }
    }

    /// The fault of an application that raised.
    pub fn raised<'py>(&self, exception: &Exception<'py>) -> Fault {
        self.note(exception);
        let py = exception.value().py();
        if self.state.events.are_wanted(py) {
            // Fails only by another RequestTimeout, for want of memory, or if the module was replaced.
            let _ = self.state.events.request_exception(py, self.request, exception);
        }
        let class = &self.state.request_timeout;
        let timed_out = class.with(py, |class| exception.is_instance(class));
        if timed_out {
            let script = self.script();
            let text = format!("the request of '{script}' was ended by mod_wsgi.RequestTimeout");
            self.request.report(Level::Info, &text);
            return Fault(AbortReason::Timeout);
        }
        application_raised(self.request, self.script, exception)
    }

    /// What a fault comes to: a request that `RequestTimeout` has ended before its head is answered, 504 with nothing in it.
    pub fn interrupted(&self, py: Attached<'_>, fault: Fault) -> Result<(), Fault> {
        let mut output = lock(py, &self.request.output);
        if fault.0 != AbortReason::Timeout || output.is_committed() {
            return Err(fault);
        }
        let mut head = Head::new(Status {
            code: 504,
            reason: b"Gateway Timeout",
        });
        head.declare(0);
        output.set_head(head);
        output.commit(self.exchange);
        Ok(())
    }

    /// The status that the client gets, or got.
    pub fn status(&self, py: Attached<'_>, outcome: Result<(), Fault>) -> u16 {
        let output = lock(py, &self.request.output);
        match output.status() {
            Some(status) if outcome.is_ok() || output.is_committed() => status,
            _ => 500,
        }
    }

    /// The fault of an answer without a head.
    pub fn no_start_response(&self) -> Fault {
        let text = format!(
            "the application in '{}' produced its answer without having called start_response (PEP 3333: \"the \
             start_response() invocation must occur before the iterable yields its first body bytestring\")",
            self.script()
        );
        super::fault::report(self.request, &codes::NO_START_RESPONSE, &text);
        Fault(rwsgi_wire::response::AbortReason::Application)
    }

    /// Calls `close()` if there is one. What it raises is logged and changes nothing.
    fn close<'py>(&self, result: &Object<'py>, name: &Object<'py>) {
        let failed = match result.attribute_named(name) {
            Ok(close) => close.call(&[]).err(),
            Err(exception) if exception.is(Raise::Attribute) => None,
            Err(exception) => Some(exception),
        };
        if let Some(exception) = failed {
            self.note(&exception);
            let script = self.script();
            let what = format!(
                "close() of the response of '{script}' raised {}",
                exception.type_name()
            );
            report_exception(self.request, &codes::CLOSE_RAISED, &what, &exception);
        }
    }
}

fn has_iter(result: &Object<'_>) -> bool {
    result.attribute(c"__iter__").is_ok()
}

fn not_iterable(script: &str, result: &Object<'_>) -> String {
    format!(
        "the application in '{script}' returned {}, which is not iterable (PEP 3333: \"the application object must return an iterable \
         yielding zero or more bytestrings\"); {}",
        result.type_name(),
        if result.is_none() {
            "a return statement is missing"
        } else {
            "return a list of bytes, such as [b'Hello']"
        }
    )
}

fn not_bytes(script: &str, result: &Object<'_>, block: &Object<'_>) -> String {
    let remedy = if result.as_bytes().is_some() {
        "a bytes object was returned itself; put it into a list: return [b'...']"
    } else if block.is_text() {
        "text must be encoded: return [b'...'] or return [text.encode('utf-8')]"
    } else {
        "return [b'...']"
    };
    format!(
        "the response of '{script}' must consist of bytes, not {} ({}) (PEP 3333: \"the application object must return an iterable yielding \
         zero or more bytestrings\"); {remedy}",
        block.type_name(),
        block.to_repr(60)
    )
}
