//! The modules that applications may import: `mod_wsgi`, which `rwsgi` is another name of, and `apache`.
//!
//! What is Python in them is Python (`*.py`, executed in the module's namespace, once per interpreter); what they need of this process
//! is [`native`]; what it tells them is [`events`]. Nothing of it is shared by interpreters but numbers.

pub mod events;
pub mod native;

use rwsgi_wire::code::Code;
use rwsgi_wire::httpd::Httpd;

use crate::codes;
use crate::cpython::{Attached, Object, PyResult};
use crate::wsgi::state::SetUp;
use native::Native;

/// The Python parts, in the order in which they are executed.
const PARTS: &[(&str, &str)] = &[
    ("<mod_wsgi/names>", include_str!("names.py")),
    ("<mod_wsgi/events>", include_str!("events.py")),
    ("<mod_wsgi/metrics>", include_str!("metrics.py")),
];

/// What their messages begin with.
const CODES: &[(&std::ffi::CStr, Code)] = &[
    (c"_APACHE_NOT_IMPORTED", codes::APACHE_NOT_IMPORTED),
    (c"_CALLBACK_RAISED", codes::CALLBACK_RAISED),
];

/// Completes the module `mod_wsgi` of an interpreter, which gets its second name.
pub fn install<'py>(
    py: Attached<'py>,
    module: &Object<'py>,
    with: &SetUp<'_>,
    number: u64,
) -> PyResult<'py, ()> {
    module.set_attribute(c"_native", &Native::new(with, number).make(py)?)?;
    for (name, code) in CODES {
        module.set_attribute(name, &py.text(&code.to_string())?)?;
    }
    let builtins = py.import(c"builtins")?;
    let namespace = module.attribute(c"__dict__")?;
    for (file, source) in PARTS {
        let arguments = [&py.text(source)?, &py.text(file)?, &py.text("exec")?];
        let code = builtins.call_method(c"compile", &arguments)?;
        builtins.call_method(c"exec", &[&code, &namespace])?;
    }
    module.call_method(c"_adopt_package", &[])?;
    py.modules()?.set(&py.text("rwsgi")?, module)
}

/// Makes the module `apache`, once `sys.path` is complete. In an httpd child (`embedded`) one that can be imported is its base.
pub fn install_apache<'py>(py: Attached<'py>, httpd: &Httpd, embedded: bool) -> PyResult<'py, ()> {
    let facts = facts(py, httpd)?;
    let module = py.import(c"mod_wsgi")?;
    module.call_method(c"_make_apache", &[&facts, &py.bool(embedded)])?;
    Ok(())
}

/// The names of the module `apache`.
fn facts<'py>(py: Attached<'py>, httpd: &Httpd) -> PyResult<'py, Object<'py>> {
    let [major, minor, patch] = httpd.version.map(i64::from);
    let version = py.tuple(&[&py.int(major)?, &py.int(minor)?, &py.int(patch)?])?;
    let dict = py.dict()?;
    for (name, value) in [
        ("version", version),
        ("maximum_processes", py.int(httpd.processes.into())?),
        ("threads_per_process", py.int(httpd.threads.into())?),
        ("description", py.latin1(&httpd.description)?),
        ("mpm_name", py.latin1(&httpd.mpm)?),
        ("build_date", py.latin1(&httpd.built)?),
    ] {
        dict.set(&py.text(name)?, &value)?;
    }
    Ok(dict)
}
