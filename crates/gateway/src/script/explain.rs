//! What lies behind a script that does not load, in words: which directory keeps this user out, which Python lacks the module.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rwsgi_os::file::{Right, check};

use super::version::path_of;
use crate::cpython::{Exception, PyResult};

/// Why a file cannot be read, and what to do.
pub fn unreadable(script: &[u8], error: &io::Error) -> String {
    let path = path_of(script);
    let uid = rwsgi_os::ids::user_ids().effective;
    let way = match error.kind() {
        io::ErrorKind::PermissionDenied => what_keeps_out(path),
        io::ErrorKind::NotFound => {
            return format!("{error}: it was there when httpd looked; correct the path");
        }
        _ => return error.to_string(),
    };
    match way {
        Some((directory, owner, mode)) if directory != path => format!(
            "{error}: this process (uid {uid}) may not pass through '{}', which is of uid {owner} with mode {mode:04o}; \
             give it the right to (chmod o+x), or choose another user",
            directory.display()
        ),
        Some((_, owner, mode)) => format!(
            "{error}: this process (uid {uid}) may not read it; it is of uid {owner} with mode {mode:04o}: give it the right to \
             (chmod o+r), or choose another user"
        ),
        None => {
            format!("{error}: something else than its mode keeps uid {uid} out (SELinux, AppArmor, an ACL)")
        }
    }
}

/// The first of the directories above a file, or the file, on which this process lacks a right, with owner and mode.
fn what_keeps_out(path: &Path) -> Option<(&Path, u32, u32)> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let closed = |place: &Path, right| check(place.as_os_str().as_bytes(), right).is_err();
    let place = above
        .into_iter()
        .find(|directory| closed(directory, Right::Execute))
        .or_else(|| closed(path, Right::Read).then_some(path))?;
    let status = place.metadata().ok()?;
    Some((place, status.uid(), status.mode() & 0o7777))
}

/// A hint that follows the sentence of an exception, or nothing.
pub fn hint(exception: &Exception<'_>) -> String {
    if exception.type_name() != "ModuleNotFoundError" {
        return String::new();
    }
    python_of(exception).map_or_else(
        |_| String::new(),
        |python| {
            format!(
                "; this is {python}: install the module there, name the venv that has it with python-home (WSGIPythonHome for \
                 embedded mode), or add its directory to python-path (WSGIPythonPath)"
            )
        },
    )
}

fn python_of<'py>(exception: &Exception<'py>) -> PyResult<'py, String> {
    let sys = exception.value().py().import(c"sys")?;
    let version = sys.attribute(c"version_info")?;
    let part = |index: usize| {
        version
            .item(index)
            .and_then(|part| part.to_int().ok())
            .unwrap_or(0)
    };
    let prefix = sys.attribute(c"prefix")?.to_display()?;
    Ok(format!(
        "Python {}.{}.{} of '{prefix}'",
        part(0),
        part(1),
        part(2)
    ))
}
