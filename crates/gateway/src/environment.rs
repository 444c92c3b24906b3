//! `os.environ` of the interpreters in an httpd child.
//!
//! Python fills the `os.environ` of a new interpreter from the environment of the process, into which every interpreter writes what
//! it sets. So that a site never sees what another one has set, further interpreters begin with what the main one had before any
//! application ran. The environment of the process itself (what extension modules see with `getenv`, and child programs that
//! are started without `env=`) is one for all of them; only daemon mode separates that.

use crate::cpython::{Attached, Object, PyResult};

/// A copy of `os.environ`, without Python.
#[derive(Debug, Default)]
pub struct Snapshot(Vec<(Vec<u8>, Vec<u8>)>);

/// The dictionary behind `os.environ` and `os.environb`; changing it does not touch the process.
fn dictionary(py: Attached<'_>) -> PyResult<'_, Object<'_>> {
    py.import(c"posix")?.attribute(c"environ")
}

/// Sets `PYTHON_EGG_CACHE` in the interpreter and the process.
pub fn set_egg_cache<'py>(py: Attached<'py>, directory: &[u8]) -> PyResult<'py, ()> {
    if directory.is_empty() {
        return Ok(());
    }
    let environ = py.import(c"os")?.attribute(c"environ")?;
    let name = py.text("PYTHON_EGG_CACHE")?;
    environ
        .call_method(c"__setitem__", &[&name, &py.file_name(directory)?])
        .map(drop)
}

/// `PYTHONHASHSEED` was meant for Python's start alone: `os.environ` gets what was there before.
pub fn take_out_hash_seed<'py>(py: Attached<'py>, before: Option<&[u8]>) -> PyResult<'py, ()> {
    let name = py.bytes(b"PYTHONHASHSEED")?;
    match before {
        Some(value) => dictionary(py)?.set(&name, &py.bytes(value)?),
        None => dictionary(py)?
            .call_method(c"pop", &[&name, &py.none()])
            .map(drop),
    }
}

impl Snapshot {
    /// What the interpreter has now.
    pub fn take(py: Attached<'_>) -> PyResult<'_, Self> {
        let items = dictionary(py)?.call_method(c"items", &[])?;
        let items = py.import(c"builtins")?.call_method(c"list", &[&items])?;
        let text = |pair: &Object<'_>, index| {
            let value = pair.item(index)?;
            value.as_bytes().map(<[u8]>::to_vec)
        };
        let pairs = (0..items.len()).filter_map(|index| {
            let pair = items.item(index)?;
            Some((text(&pair, 0)?, text(&pair, 1)?))
        });
        Ok(Self(pairs.collect()))
    }

    /// Makes a new interpreter begin with it.
    pub fn put<'py>(&self, py: Attached<'py>) -> PyResult<'py, ()> {
        let environ = dictionary(py)?;
        environ.call_method(c"clear", &[])?;
        for (name, value) in &self.0 {
            environ.set(&py.bytes(name)?, &py.bytes(value)?)?;
        }
        Ok(())
    }
}
