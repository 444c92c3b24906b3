//! The two entrances: `_rwsgi` as Python imports it, a multi-phase module with one function, and the C table for httpd children.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi;

use super::class::free_function;
use super::error::{Exception, PyResult, Raise};
use super::object::{Attached, Object};
use super::symbols::symbols;

/// `Py_mod_multiple_interpreters` (3.12) with "own GIL supported", `Py_mod_gil` (3.13) with "needs the GIL". Older versions
/// refuse slots that they do not know, so the array is made for the version that is running.
const MULTIPLE_INTERPRETERS: (c_int, usize, u32) = (3, 2, 12);
const GIL: (c_int, usize, u32) = (4, 0, 13);

/// What the Apache half looks up when it opens this library in an httpd child ([`rwsgi_embedding::table::GUEST_ENTRY`]).
#[unsafe(no_mangle)]
pub extern "C" fn rwsgi_guest() -> *const rwsgi_embedding::table::GuestTable {
    rwsgi_embedding::guest::table::<crate::embedded::Guest>()
}

struct Definition(*mut ffi::PyModuleDef);
// SAFETY: a pointer to a leaked definition, which CPython alone writes to, under the GIL.
unsafe impl Send for Definition {}
// SAFETY: as above.
unsafe impl Sync for Definition {}

/// What `import _rwsgi` calls.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit__rwsgi() -> *mut ffi::PyObject {
    static DEFINITION: OnceLock<Definition> = OnceLock::new();
    let definition = DEFINITION.get_or_init(|| Definition(Box::leak(Box::new(definition()))));
    // SAFETY: called by the import machinery, attached; the definition lives for ever.
    unsafe { ffi::PyModuleDef_Init(definition.0) }
}

fn definition() -> ffi::PyModuleDef {
    let execute: unsafe extern "C" fn(*mut ffi::PyObject) -> c_int = execute;
    let mut slots = vec![ffi::PyModuleDef_Slot {
        slot: ffi::Py_mod_exec,
        value: execute as *mut c_void,
    }];
    for (slot, value, since) in [MULTIPLE_INTERPRETERS, GIL] {
        if symbols().minor >= since {
            let value = ptr::without_provenance_mut(value);
            slots.push(ffi::PyModuleDef_Slot { slot, value });
        }
    }
    slots.push(ffi::PyModuleDef_Slot::default());
    ffi::PyModuleDef {
        m_base: ffi::PyModuleDef_HEAD_INIT,
        m_name: c"_rwsgi".as_ptr(),
        m_doc: c"The Python half of rwsgi.".as_ptr(),
        m_size: 0,
        m_methods: ptr::null_mut(),
        m_slots: slots.leak().as_mut_ptr(),
        m_traverse: None,
        m_clear: None,
        m_free: None,
    }
}

unsafe extern "C" fn execute(module: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the import machinery, attached.
    let py = unsafe { Attached::assume() };
    // SAFETY: the new module, alive during the call (P4).
    let Some(module) = (unsafe { Object::from_borrowed(py, module) }) else {
        return -1;
    };
    match free_function(py, c"serve", serve).and_then(|f| module.set_attribute(c"serve", &f)) {
        Ok(()) => 0,
        Err(exception) => {
            exception.restore();
            -1
        }
    }
}

fn serve<'py>(py: Attached<'py>, args: &[Object<'py>]) -> PyResult<'py, Object<'py>> {
    match args {
        [listener, control] => crate::worker::serve(py, listener.to_int()?, control.to_int()?),
        _ => Err(Exception::new(
            py,
            Raise::Type,
            "serve() takes 2 arguments: listener and control descriptor",
        )),
    }
}
