//! What the configuration says of one interpreter, applied to it: directories on `sys.path`, the switch interval.

use rwsgi_wire::python::{Interpreters, Settled};

use super::request::ProcessLog;
use crate::cpython::{Attached, PyResult};
use crate::script::{add_to_path, path_not_added};

/// Puts the directories in front of `sys.path`, the most specific ones first. `option` is where those outside of sections were written.
pub fn add_paths<'py>(
    py: Attached<'py>,
    interpreters: &Interpreters,
    application_group: &[u8],
    option: &str,
    log: &dyn ProcessLog,
) -> PyResult<'py, ()> {
    for directories in interpreters.of(application_group).path {
        if let Some((directory, exception)) = add_to_path(py, directories)? {
            let is_base = directories == interpreters.base.path.as_slice();
            let option = if is_base { option } else { "WSGIPythonPath" };
            path_not_added(log, option, &directory, &exception);
        }
    }
    Ok(())
}

/// `sys.setswitchinterval`, which holds for all interpreters that share a GIL.
pub fn set_switch_interval<'py>(py: Attached<'py>, settled: &Settled<'_>) -> PyResult<'py, ()> {
    let Some(microseconds) = settled.switch_interval else {
        return Ok(());
    };
    // Exact: a configured interval is at most a year.
    let seconds = py.float(microseconds as f64 / 1e6)?;
    py.import(c"sys")?
        .call_method(c"setswitchinterval", &[&seconds])
        .map(drop)
}
