//! `process_group(environ)`, `application_group(environ)`, `callable_object(environ)`: each may be missing, and may leave things as they
//! are.

use rwsgi_wire::call::{Said, Verdict};

use super::{Asked, name_bytes};
use crate::cpython::Object;
use crate::wsgi::fault::Fault;

const FUNCTIONS: [&str; 3] = ["process_group", "application_group", "callable_object"];

/// What each of the functions chooses.
pub(super) fn verdict<'py>(asked: &Asked<'_, 'py>, environ: &Object<'py>) -> Result<Verdict, Fault> {
    let mut values = Vec::with_capacity(FUNCTIONS.len());
    for function in FUNCTIONS {
        values.push(match asked.find(function)? {
            Some(_) => chosen(asked, function, environ)?,
            None => None,
        });
    }
    Ok(Verdict {
        said: Said::Values,
        values,
    })
}

fn chosen<'py>(
    asked: &Asked<'_, 'py>,
    function: &str,
    environ: &Object<'py>,
) -> Result<Option<Vec<u8>>, Fault> {
    let result = asked.call(function, &[environ])?;
    if result.is_none() {
        return Ok(None);
    }
    let name = name_bytes(&result);
    let wrong = || asked.wrong(function, &result, "None or a name (str in ISO-8859-1, or bytes)");
    name.map(Some).ok_or_else(wrong)
}
