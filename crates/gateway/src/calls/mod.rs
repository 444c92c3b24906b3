//! What httpd asks scripts before it answers a request: one call of a function, one verdict.
//!
//! - [`access`]: `allow_access`; [`auth`]: `check_password`, `get_realm_hash`, `groups_for_user`; [`dispatch`]: the three functions of a
//!   dispatch script
//! - [`ssl`]: `mod_ssl.is_https` and `mod_ssl.var_lookup` of their environ
//!
//! A call that fails has no verdict: the other half takes that for a refusal, never for a yes. Arguments may be passwords, so no message
//! shows a value.

mod access;
mod auth;
mod dispatch;
pub mod ssl;

use std::sync::Arc;

use rwsgi_wire::call::{Call, Verdict};
use rwsgi_wire::head::Head;
use rwsgi_wire::limits::RESPONSE_MAX;
use rwsgi_wire::response::AbortReason;

use crate::codes;
use crate::cpython::{Attached, Object, PyResult};
use crate::exchange::Exchange;
use crate::threads;
use crate::wsgi::environ::version;
use crate::wsgi::fault::{Fault, report, report_exception};
use crate::wsgi::request::{About, Request};
use crate::wsgi::serve::Circumstances;
use crate::wsgi::state::State;

/// Calls the script. The verdict is held back in `exchange`, which the caller ends or aborts, detached.
pub fn serve<'py>(
    py: Attached<'py>,
    state: &State,
    exchange: &Arc<dyn Exchange>,
    head: &Head<'_>,
    circumstances: Circumstances,
) -> Result<(), Fault> {
    let about = About {
        interpreter: state.number,
        log_level: head.log_level,
        ..About::default()
    };
    let request = Request::new(Arc::clone(exchange), about);
    let serving = threads::serve(&request, circumstances.thread_id);
    let outcome = run(py, state, &request, head, circumstances);
    request.finish(py);
    drop(serving);
    let verdict = outcome?;
    let mut payload = Vec::new();
    verdict.encode(&mut payload);
    if payload.len() > RESPONSE_MAX {
        let text = format!(
            "the script '{}' returned {} bytes of names; at most {RESPONSE_MAX} can be passed on",
            String::from_utf8_lossy(head.script),
            payload.len()
        );
        report(&request, &codes::CALL_RESULT, &text);
        return Err(Fault(AbortReason::Application));
    }
    exchange.verdict(&payload);
    Ok(())
}

fn run<'py>(
    py: Attached<'py>,
    state: &State,
    request: &Arc<Request>,
    head: &Head<'_>,
    circumstances: Circumstances,
) -> Result<Verdict, Fault> {
    let globals = state.scripts.very_latest(py, request, head)?;
    let asked = Asked {
        py,
        request,
        script: head.script,
        globals,
    };
    let failed = |exception| asked.raised("the environ", &exception);
    let errors = state.logs.errors(py, request).map_err(failed)?;
    let environ = environ(py, state, request, head, &errors.stream).map_err(failed)?;
    circumstances.add_record(py, &environ).map_err(failed)?;
    let verdict = match head.call {
        Call::Dispatch => dispatch::verdict(&asked, &environ),
        Call::AllowAccess => access::verdict(&asked, &environ, head),
        Call::CheckPassword => auth::check_password(&asked, &environ, head),
        Call::RealmHash => auth::realm_hash(&asked, &environ, head),
        Call::GroupsForUser => auth::groups_for_user(&asked, &environ, head),
        // The callers tell these apart.
        Call::Application => Err(Fault(AbortReason::Internal)),
    };
    drop(environ);
    request.flush_lines();
    state.logs.give_back(errors);
    verdict
}

fn environ<'py>(
    py: Attached<'py>,
    state: &State,
    request: &Arc<Request>,
    head: &Head<'_>,
    errors: &Object<'py>,
) -> PyResult<'py, Object<'py>> {
    let environ = py.dict()?;
    for (name, value) in &head.environ {
        environ.set(&py.latin1(name)?, &py.latin1(value)?)?;
    }
    state.keys.errors.with(py, |key| environ.set(key, errors))?;
    if head.call == Call::Dispatch {
        return Ok(environ);
    }
    let [major, minor, patch] = head.httpd_version.map(i64::from);
    let httpd = py.tuple(&[&py.int(major)?, &py.int(minor)?, &py.int(patch)?])?;
    state
        .keys
        .httpd_version
        .with(py, |key| environ.set(key, &httpd))?;
    environ.set(&py.text("mod_wsgi.version")?, &version(py)?)?;
    state.ssl.add(py, &environ, request, head)?;
    Ok(environ)
}

/// The script under way.
struct Asked<'a, 'py> {
    py: Attached<'py>,
    request: &'a Request,
    script: &'a [u8],
    globals: Object<'py>,
}

impl<'py> Asked<'_, 'py> {
    fn script(&self) -> String {
        String::from_utf8_lossy(self.script).into_owned()
    }

    /// A function of the script that may be missing.
    fn find(&self, function: &str) -> Result<Option<Object<'py>>, Fault> {
        let name = self.py.text(function);
        name.and_then(|name| self.globals.lookup(&name))
            .map_err(|exception| self.raised(function, &exception))
    }

    /// Calls a function of the script that must be there.
    fn call(&self, function: &str, args: &[&Object<'py>]) -> Result<Object<'py>, Fault> {
        let Some(callable) = self.find(function)? else {
            let text = format!("the script '{}' does not define {function}()", self.script());
            report(self.request, &codes::NO_CALL_FUNCTION, &text);
            return Err(Fault(AbortReason::Callable));
        };
        callable
            .call(args)
            .map_err(|exception| self.raised(&format!("{function}()"), &exception))
    }

    /// The arguments behind the environ, as text: bytes for characters, like everything in an environ.
    fn arguments<const N: usize>(&self, function: &str, head: &Head<'_>) -> Result<[Object<'py>; N], Fault> {
        let text = |index: usize| {
            let bytes = head.arguments.get(index).copied();
            self.py.latin1(bytes.unwrap_or_default())
        };
        let arguments: Vec<Object<'py>> = (0..N)
            .map(text)
            .collect::<PyResult<'py, _>>()
            .map_err(|exception| self.raised(function, &exception))?;
        arguments.try_into().map_err(|_| Fault(AbortReason::Internal))
    }

    fn raised(&self, what: &str, exception: &crate::cpython::Exception<'py>) -> Fault {
        let text = format!(
            "{} raised by {what} of the script '{}'",
            exception.type_name(),
            self.script()
        );
        report_exception(self.request, &codes::CALL_RAISED, &text, exception);
        Fault(AbortReason::Application)
    }

    /// The function returned what it may not; `wanted` is what it may.
    fn wrong(&self, function: &str, result: &Object<'py>, wanted: &str) -> Fault {
        let text = format!(
            "{function}() of the script '{}' returned {}; it must return {wanted}",
            self.script(),
            result.type_name()
        );
        report(self.request, &codes::CALL_RESULT, &text);
        Fault(AbortReason::Application)
    }
}

/// `bytes` as they are, `str` as ISO-8859-1; `None` for anything else, and for what has NUL in it.
fn name_bytes(value: &Object<'_>) -> Option<Vec<u8>> {
    let bytes = match value.as_bytes() {
        Some(bytes) => bytes.to_vec(),
        None if value.is_text() => {
            let text = value.to_utf8().ok()?;
            let narrow = text.chars().map(|c| u8::try_from(u32::from(c)).ok());
            narrow.collect::<Option<Vec<u8>>>()?
        }
        None => return None,
    };
    (!bytes.contains(&0)).then_some(bytes)
}
