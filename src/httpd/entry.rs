//! The one way in from C: nothing that httpd calls may unwind.

use std::panic::{self, AssertUnwindSafe};

use super::log::{self, Level};
use crate::codes::{self, Line};

/// Runs the body of a callback; a panic becomes `fallback` and one log line (H8).
pub(super) fn guard<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            let text = payload_text(payload.as_ref());
            log::process(Level::Crit, log::site!(), &codes::PANIC.line(&text));
            // Dropping a payload may run foreign code and panic again.
            std::mem::forget(payload);
            fallback
        }
    }
}

/// Replaces Rust's panic message on stderr by one in httpd's error log, with the place of the panic. For httpd children only: in
/// the parent this library is unloaded at every restart and must leave nothing behind (H7).
pub fn log_panics_of_this_process() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        log::process(Level::Crit, log::site!(), &codes::PANIC_PLACE.line(&place));
    }));
}

fn payload_text(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}
