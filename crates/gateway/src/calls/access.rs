//! `allow_access(environ, host)`.

use rwsgi_wire::call::{Said, Verdict};
use rwsgi_wire::head::Head;

use super::Asked;
use crate::cpython::Object;
use crate::wsgi::fault::Fault;

const FUNCTION: &str = "allow_access";

/// `True`, `False` or `None`, and nothing that only looks like it.
pub(super) fn verdict<'py>(
    asked: &Asked<'_, 'py>,
    environ: &Object<'py>,
    head: &Head<'_>,
) -> Result<Verdict, Fault> {
    let [host] = asked.arguments(FUNCTION, head)?;
    let result = asked.call(FUNCTION, &[environ, &host])?;
    let py = asked.py;
    let said = match () {
        () if result.is_none() => Said::Nothing,
        () if result.is(&py.bool(true)) => Said::Yes,
        () if result.is(&py.bool(false)) => Said::No,
        () => return Err(asked.wrong(FUNCTION, &result, "True, False or None")),
    };
    Ok(Verdict::plain(said))
}
