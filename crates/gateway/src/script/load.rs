//! One script, from the file to a module in `sys.modules`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::md5::md5;
use crate::cpython::{Attached, Exception, Object};

/// Why a script is not there.
pub enum NotLoaded<'py> {
    /// Opening or reading it failed.
    NotRead(io::Error),
    /// It is not valid Python.
    NotCompiled(Exception<'py>),
    /// Executing it raised.
    Raised(Exception<'py>),
}

/// Loads a script as a new module and answers it with the modification time (microseconds) of what was read. The name that was
/// in `sys.modules` before is replaced; if this fails, nothing of that name is there.
pub fn load<'py>(py: Attached<'py>, script: &[u8]) -> Result<(Object<'py>, i64), NotLoaded<'py>> {
    let (source, mtime) = py.detach(|| read(script)).map_err(NotLoaded::NotRead)?;
    let path = py.file_name(script).map_err(NotLoaded::Raised)?;
    let code = compile(py, &source, &path).map_err(NotLoaded::NotCompiled)?;
    drop(source);
    let module = execute(py, script, &code, &path).map_err(NotLoaded::Raised)?;
    let time = py.int(mtime).map_err(NotLoaded::Raised)?;
    module
        .set_attribute(c"__mtime__", &time)
        .map_err(NotLoaded::Raised)?;
    Ok((module, mtime))
}

/// Name of the module of a script.
pub fn module_name(script: &[u8]) -> String {
    let digits = md5(script).map(|byte| format!("{byte:02x}")).concat();
    format!("_mod_wsgi_{digits}")
}

/// Modification time of a file in microseconds since 1970.
pub fn mtime_of(script: &[u8]) -> Option<i64> {
    std::fs::metadata(path_of(script))
        .ok()
        .map(|status| microseconds(&status))
}

fn path_of(script: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(script))
}

fn microseconds(status: &std::fs::Metadata) -> i64 {
    status
        .mtime()
        .saturating_mul(1_000_000)
        .saturating_add(status.mtime_nsec() / 1000)
}

fn read(script: &[u8]) -> io::Result<(Vec<u8>, i64)> {
    let mut file = File::open(path_of(script))?;
    let mtime = microseconds(&file.metadata()?);
    let mut source = Vec::new();
    file.read_to_end(&mut source)?;
    Ok((source, mtime))
}

fn compile<'py>(py: Attached<'py>, source: &[u8], path: &Object<'py>) -> Result<Object<'py>, Exception<'py>> {
    // Bytes, so that Python honours the coding cookie and a byte order mark.
    let arguments: [&Object<'py>; 5] = [
        &py.bytes(source)?,
        path,
        &py.text("exec")?,
        &py.int(0)?,
        &py.bool(true),
    ];
    py.import(c"builtins")?.call_method(c"compile", &arguments)
}

fn execute<'py>(
    py: Attached<'py>,
    script: &[u8],
    code: &Object<'py>,
    path: &Object<'py>,
) -> Result<Object<'py>, Exception<'py>> {
    let name = py.text(&module_name(script))?;
    // A reload must not find the names of the old version.
    let modules = py.modules()?;
    if modules.lookup(&name)?.is_some() {
        modules.remove(&name)?;
    }
    py.execute_module(&name, code, path)
}
