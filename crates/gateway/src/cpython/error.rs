//! Python exceptions as Rust values.

use std::ffi::{CString, c_int};
use std::ptr;

use pyo3::ffi;

use super::object::{Attached, Object};

/// A result whose error is a Python exception.
pub type PyResult<'py, T> = Result<T, Exception<'py>>;

/// A raised exception, fetched (no longer "set" in the thread) and normalised.
pub struct Exception<'py> {
    value: Object<'py>,
}

/// Built-in exception types that this crate raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raise {
    /// `TypeError`
    Type,
    /// `ValueError`
    Value,
    /// `RuntimeError`
    Runtime,
    /// `OSError`
    Os,
    /// `AttributeError`
    Attribute,
    /// `SystemExit`
    SystemExit,
    /// `MemoryError`
    Memory,
}

impl Raise {
    fn class(self) -> *mut ffi::PyObject {
        // Each is a pointer that CPython sets up once and never changes; the types are shared by all interpreters.
        match self {
            // SAFETY: as above, for this and the following.
            Self::Type => unsafe { ffi::PyExc_TypeError },
            // SAFETY: as above.
            Self::Value => unsafe { ffi::PyExc_ValueError },
            // SAFETY: as above.
            Self::Runtime => unsafe { ffi::PyExc_RuntimeError },
            // SAFETY: as above.
            Self::Os => unsafe { ffi::PyExc_OSError },
            // SAFETY: as above.
            Self::Attribute => unsafe { ffi::PyExc_AttributeError },
            // SAFETY: as above.
            Self::SystemExit => unsafe { ffi::PyExc_SystemExit },
            // SAFETY: as above.
            Self::Memory => unsafe { ffi::PyExc_MemoryError },
        }
    }
}

impl<'py> Exception<'py> {
    /// A new exception of a built-in type with a message.
    pub fn new(py: Attached<'py>, kind: Raise, message: &str) -> Self {
        let text = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // SAFETY: P1; the class is a live type, the text ends in NUL and is UTF-8.
        unsafe { ffi::PyErr_SetString(kind.class(), text.as_ptr()) };
        Self::fetch(py)
    }

    /// Takes the exception that is set in this thread; when none is, one that says so.
    pub(super) fn fetch(py: Attached<'py>) -> Self {
        match Self::pending(py) {
            Some(exception) => exception,
            None => {
                // SAFETY: P1; a static text.
                unsafe {
                    ffi::PyErr_SetString(
                        Raise::Runtime.class(),
                        c"a call failed without an exception".as_ptr(),
                    );
                }
                Self::pending(py).unwrap_or_else(|| unreachable!("PyErr_SetString sets an exception"))
            }
        }
    }

    /// Takes the exception that is set in this thread, if any.
    pub(super) fn pending(py: Attached<'py>) -> Option<Self> {
        let (mut class, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: P1; three places for new references or null.
        unsafe { ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback) };
        if class.is_null() {
            return None;
        }
        // SAFETY: P1; what was just fetched; the references stay ours.
        unsafe { ffi::PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback) };
        if !traceback.is_null() {
            // SAFETY: P1; a normalised exception and its traceback. It can only fail for objects of other types.
            unsafe { ffi::PyException_SetTraceback(value, traceback) };
            // SAFETY: P1; our own reference from the fetch.
            unsafe { ffi::Py_DecRef(traceback) };
        }
        // SAFETY: P1; our own reference from the fetch.
        unsafe { ffi::Py_DecRef(class) };
        // SAFETY: after normalisation the value is a new reference, never null.
        unsafe { Object::from_new(py, value) }
            .ok()
            .map(|value| Self { value })
    }

    /// Turns CPython's -1 into the exception.
    pub(super) fn check(py: Attached<'py>, status: c_int) -> PyResult<'py, ()> {
        if status < 0 { Err(Self::fetch(py)) } else { Ok(()) }
    }

    /// Takes an exception instance, for instance from an `exc_info` tuple; `Err` gives the object back when it is none.
    pub fn from_instance(value: Object<'py>) -> Result<Self, Object<'py>> {
        // SAFETY: P1, P2.
        let is_exception = unsafe { ffi::PyExceptionInstance_Check(value.as_ptr()) } != 0;
        if is_exception {
            Ok(Self { value })
        } else {
            Err(value)
        }
    }

    /// Sets it again in this thread, for CPython to find after a callback returned null.
    pub(super) fn restore(self) {
        let py = self.value.py();
        let value = self.value.into_ptr();
        // SAFETY: P1, P2.
        let class = unsafe { ffi::PyExceptionInstance_Class(value) };
        // SAFETY: P1; the class of a live instance.
        unsafe { ffi::Py_IncRef(class) };
        // SAFETY: P1, P2; returns a new reference or null.
        let traceback = unsafe { ffi::PyException_GetTraceback(value) };
        let _ = py;
        // SAFETY: P1; steals the three references, all ours.
        unsafe { ffi::PyErr_Restore(class, value, traceback) };
    }

    /// The exception instance.
    pub fn value(&self) -> &Object<'py> {
        &self.value
    }

    /// Whether it is of this type or a subtype.
    pub fn is(&self, kind: Raise) -> bool {
        // SAFETY: P1, P2; a live type.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.value.as_ptr(), kind.class()) != 0 }
    }

    /// Whether it is of this type or a subtype.
    pub fn is_instance(&self, class: &Object<'py>) -> bool {
        // SAFETY: P1, P2.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.value.as_ptr(), class.as_ptr()) != 0 }
    }

    /// Name of its type.
    pub fn type_name(&self) -> String {
        self.value.type_name()
    }

    /// `type: text`, for messages without a traceback.
    pub fn sentence(&self) -> String {
        let text = self.value.to_display().unwrap_or_default();
        if text.is_empty() {
            self.type_name()
        } else {
            format!("{}: {text}", self.type_name())
        }
    }

    /// Its lines as Python would print them, with chained exceptions. Falls back to [`sentence`](Self::sentence).
    pub fn traceback(&self) -> String {
        self.format().unwrap_or_else(|_| self.sentence())
    }

    fn format(&self) -> PyResult<'py, String> {
        let py = self.value.py();
        let class = self.value.attribute(c"__class__")?;
        let traceback = self.value.attribute(c"__traceback__")?;
        let lines = py
            .import(c"traceback")?
            .call_method(c"format_exception", &[&class, &self.value, &traceback])?;
        py.text("")?.call_method(c"join", &[&lines])?.to_text()
    }
}

impl std::fmt::Debug for Exception<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sentence())
    }
}
