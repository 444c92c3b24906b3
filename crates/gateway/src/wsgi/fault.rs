//! What went wrong with a request, as log lines and as a reason to abort.

use rwsgi_wire::code::Code;
use rwsgi_wire::response::{AbortReason, Level};

use super::request::Request;
use crate::codes;
use crate::cpython::{Exception, Raise};

/// The answer cannot be given or completed. The log has the details already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault(pub AbortReason);

/// Logs a coded message.
pub fn report(request: &Request, code: &Code, text: &str) {
    request.report(Level::Error, &format!("{code}: {text}"));
}

/// Logs an exception with its traceback, one entry per line.
pub fn report_exception(request: &Request, code: &Code, what: &str, exception: &Exception<'_>) {
    let text = format!("{code}: {what}\n{}", exception.traceback());
    request.report(Level::Error, &text);
}

/// The application raised.
pub fn application_raised(request: &Request, script: &[u8], exception: &Exception<'_>) -> Fault {
    let script = String::from_utf8_lossy(script);
    let what = if exception.is(Raise::SystemExit) {
        format!(
            "the application in '{script}' raised SystemExit; a request cannot end the process, so it counts as an error"
        )
    } else {
        format!(
            "{} raised by the application in '{script}'",
            exception.type_name()
        )
    };
    report_exception(request, &codes::APPLICATION_RAISED, &what, exception);
    Fault(AbortReason::Application)
}

/// The application broke a rule; `text` quotes it.
pub fn rule_broken(request: &Request, text: &str) -> Fault {
    report(request, &codes::RULE_BROKEN, text);
    Fault(AbortReason::Application)
}
