//! Python values from Rust values and back.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;

use pyo3::ffi;

use super::error::{Exception, PyResult, Raise};
use super::object::{Attached, Object};
use super::symbols::symbols;

fn size(len: usize) -> ffi::Py_ssize_t {
    // A Rust slice is never longer than isize::MAX.
    ffi::Py_ssize_t::try_from(len).unwrap_or(ffi::Py_ssize_t::MAX)
}

impl<'py> Attached<'py> {
    /// `None`
    pub fn none(self) -> Object<'py> {
        // SAFETY: the address of a static object.
        let none = unsafe { ffi::Py_None() };
        // SAFETY: it is live for ever.
        unsafe { Object::from_borrowed(self, none) }.unwrap_or_else(|| unreachable!("None exists"))
    }

    /// `True` or `False`
    pub fn bool(self, value: bool) -> Object<'py> {
        // SAFETY: P1.
        let ptr = unsafe { ffi::PyBool_FromLong(value.into()) };
        // SAFETY: P3; it does not fail.
        unsafe { Object::from_new(self, ptr) }.unwrap_or_else(|_| unreachable!("booleans exist"))
    }

    /// `int`
    pub fn int(self, value: i64) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1.
        let ptr = unsafe { ffi::PyLong_FromLongLong(value) };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// `float`
    pub fn float(self, value: f64) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1.
        let ptr = unsafe { ffi::PyFloat_FromDouble(value) };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// `bytes`
    pub fn bytes(self, value: &[u8]) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1; copies `len` readable bytes.
        let ptr = unsafe { ffi::PyBytes_FromStringAndSize(value.as_ptr().cast(), size(value.len())) };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// A capsule without a name. What is at the address is for who takes it out; nothing is done with it here.
    pub fn capsule(self, address: NonNull<c_void>) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1; CPython keeps the address and, without a destructor, never follows it.
        let ptr = unsafe { ffi::PyCapsule_New(address.as_ptr(), std::ptr::null(), None) };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// `str` from UTF-8.
    pub fn text(self, value: &str) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1; copies `len` readable bytes.
        let ptr = unsafe { ffi::PyUnicode_FromStringAndSize(value.as_ptr().cast(), size(value.len())) };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// `str`, each byte one character (ISO-8859-1), as PEP 3333 wants it.
    pub fn latin1(self, value: &[u8]) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1; copies `len` readable bytes; null stands for "strict".
        let ptr = unsafe {
            ffi::PyUnicode_DecodeLatin1(value.as_ptr().cast(), size(value.len()), std::ptr::null())
        };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// `str` in the encoding of file names, with surrogate escapes.
    pub fn file_name(self, value: &[u8]) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1; copies `len` readable bytes.
        let ptr = unsafe { ffi::PyUnicode_DecodeFSDefaultAndSize(value.as_ptr().cast(), size(value.len())) };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// `str`, interned: for keys and attribute names.
    pub fn interned(self, value: &CStr) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1; the text ends in NUL.
        let ptr = unsafe { ffi::PyUnicode_InternFromString(value.as_ptr()) };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// `tuple`
    pub fn tuple(self, items: &[&Object<'py>]) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1.
        let ptr = unsafe { ffi::PyTuple_New(size(items.len())) };
        // SAFETY: P3.
        let tuple = unsafe { Object::from_new(self, ptr) }?;
        for (i, item) in items.iter().enumerate() {
            let item = (*item).clone().into_ptr();
            // SAFETY: a new tuple nobody else has seen, an index below its size, a reference that is given away.
            unsafe { ffi::PyTuple_SetItem(tuple.as_ptr(), size(i), item) };
        }
        Ok(tuple)
    }

    /// An empty `list`.
    pub fn list(self) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1.
        let ptr = unsafe { ffi::PyList_New(0) };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// An empty `dict`.
    pub fn dict(self) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1.
        let ptr = unsafe { ffi::PyDict_New() };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// `import name` (the innermost module of a dotted name).
    pub fn import(self, name: &CStr) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1; the name ends in NUL.
        let ptr = unsafe { ffi::PyImport_ImportModule(name.as_ptr()) };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }

    /// `sys.modules`
    pub fn modules(self) -> PyResult<'py, Object<'py>> {
        self.import(c"sys")?.attribute(c"modules")
    }

    /// Executes compiled code as the module `name` from the file `path`, through the import machinery: the module is in
    /// `sys.modules` while it runs, and stays there unless the code raises.
    pub fn execute_module(
        self,
        name: &Object<'py>,
        code: &Object<'py>,
        path: &Object<'py>,
    ) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1, P2; the last argument may be null.
        let ptr = unsafe {
            ffi::PyImport_ExecCodeModuleObject(
                name.as_ptr(),
                code.as_ptr(),
                path.as_ptr(),
                std::ptr::null_mut(),
            )
        };
        // SAFETY: P3.
        unsafe { Object::from_new(self, ptr) }
    }
}

impl<'py> Object<'py> {
    /// Whether it is `None`.
    pub fn is_none(&self) -> bool {
        // SAFETY: the address of a static object.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    /// Whether it is a `str` or of a subclass.
    pub fn is_text(&self) -> bool {
        // SAFETY: P1, P2.
        unsafe { ffi::PyUnicode_Check(self.as_ptr()) != 0 }
    }

    /// Whether it is a `list` or of a subclass.
    pub fn is_list(&self) -> bool {
        // SAFETY: P1, P2.
        unsafe { ffi::PyList_Check(self.as_ptr()) != 0 }
    }

    /// Whether it is exactly a `list`.
    pub fn is_exact_list(&self) -> bool {
        // SAFETY: P1, P2.
        unsafe { ffi::PyList_CheckExact(self.as_ptr()) != 0 }
    }

    /// Whether it is a `tuple` or of a subclass.
    pub fn is_tuple(&self) -> bool {
        // SAFETY: P1, P2.
        unsafe { ffi::PyTuple_Check(self.as_ptr()) != 0 }
    }

    /// Whether it is exactly a `tuple`.
    pub fn is_exact_tuple(&self) -> bool {
        // SAFETY: P1, P2.
        unsafe { ffi::PyTuple_CheckExact(self.as_ptr()) != 0 }
    }

    /// The bytes of a `bytes` object or of a subclass; `None` for anything else (P7).
    pub fn as_bytes(&self) -> Option<&[u8]> {
        // SAFETY: P1, P2.
        if unsafe { ffi::PyBytes_Check(self.as_ptr()) } == 0 {
            return None;
        }
        // SAFETY: it is a bytes object.
        let start = unsafe { ffi::PyBytes_AsString(self.as_ptr()) };
        // SAFETY: it is a bytes object.
        let len = unsafe { ffi::PyBytes_Size(self.as_ptr()) };
        // SAFETY: P7; lives as long as `self` is borrowed.
        Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), usize::try_from(len).unwrap_or(0)) })
    }

    /// The UTF-8 form of a `str`; `TypeError` for anything else, `UnicodeEncodeError` for a lone surrogate.
    pub fn to_utf8(&self) -> PyResult<'py, &str> {
        let Some(as_utf8) = symbols().as_utf8_and_size else {
            return Err(Exception::new(
                self.py(),
                Raise::Runtime,
                "PyUnicode_AsUTF8AndSize is missing",
            ));
        };
        if !self.is_text() {
            let message = format!("str expected, not {}", self.type_name());
            return Err(Exception::new(self.py(), Raise::Type, &message));
        }
        let mut len = 0;
        // SAFETY: P1, P2; a place for the length.
        let start: *const c_char = unsafe { as_utf8(self.as_ptr(), &raw mut len) };
        if start.is_null() {
            return Err(Exception::fetch(self.py()));
        }
        // SAFETY: the form is kept in the str object, which never changes, for its life.
        let bytes =
            unsafe { std::slice::from_raw_parts(start.cast::<u8>(), usize::try_from(len).unwrap_or(0)) };
        // SAFETY: CPython made it as UTF-8.
        Ok(unsafe { std::str::from_utf8_unchecked(bytes) })
    }

    /// The characters of a `str` as bytes, if all are ASCII; `None` for any other object, too.
    pub fn as_ascii(&self) -> Option<&[u8]> {
        let utf8 = self.to_utf8().ok()?;
        // SAFETY: P1, P2; a str, or it would have no UTF-8 form.
        let characters = unsafe { ffi::PyUnicode_GetLength(self.as_ptr()) };
        // Only ASCII has one byte for each.
        (usize::try_from(characters) == Ok(utf8.len())).then_some(utf8.as_bytes())
    }

    /// A `str` as an owned string, lone surrogates escaped.
    pub fn to_text(&self) -> PyResult<'py, String> {
        if let Ok(text) = self.to_utf8() {
            return Ok(text.to_owned());
        }
        let py = self.py();
        let bytes = self.call_method(c"encode", &[&py.text("utf-8")?, &py.text("backslashreplace")?])?;
        Ok(String::from_utf8_lossy(bytes.as_bytes().unwrap_or_default()).into_owned())
    }

    /// `str(self)`
    pub fn to_display(&self) -> PyResult<'py, String> {
        // SAFETY: P1, P2.
        let ptr = unsafe { ffi::PyObject_Str(self.as_ptr()) };
        // SAFETY: P3.
        unsafe { Object::from_new(self.py(), ptr) }?.to_text()
    }

    /// `repr(self)`, at most about `limit` characters.
    pub fn to_repr(&self, limit: usize) -> String {
        // SAFETY: P1, P2.
        let ptr = unsafe { ffi::PyObject_Repr(self.as_ptr()) };
        // SAFETY: P3.
        let text = unsafe { Object::from_new(self.py(), ptr) }.and_then(|r| r.to_text());
        match text {
            Ok(text) if text.chars().count() <= limit => text,
            Ok(text) => text.chars().take(limit).chain("…".chars()).collect(),
            Err(_) => format!("<{}>", self.type_name()),
        }
    }

    /// An `int` (or what has `__index__`) as `i64`; raises as Python would.
    pub fn to_int(&self) -> PyResult<'py, i64> {
        // SAFETY: P1, P2.
        let index = unsafe { ffi::PyNumber_Index(self.as_ptr()) };
        // SAFETY: P3.
        let index = unsafe { Object::from_new(self.py(), index) }?;
        // SAFETY: P1, P2.
        let value = unsafe { ffi::PyLong_AsLongLong(index.as_ptr()) };
        if value == -1 {
            if let Some(exception) = Exception::pending(self.py()) {
                return Err(exception);
            }
        }
        Ok(value)
    }

    /// Number of items of a `tuple` or `list`; 0 for anything else.
    pub fn len(&self) -> usize {
        let n = if self.is_tuple() {
            // SAFETY: it is a tuple.
            unsafe { ffi::PyTuple_Size(self.as_ptr()) }
        } else if self.is_list() {
            // SAFETY: it is a list.
            unsafe { ffi::PyList_Size(self.as_ptr()) }
        } else {
            0
        };
        usize::try_from(n).unwrap_or(0)
    }

    /// Whether [`len`](Self::len) is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Item of a `tuple` or `list`; `None` beyond its end and for anything else.
    pub fn item(&self, index: usize) -> Option<Object<'py>> {
        if index >= self.len() {
            return None;
        }
        let ptr = if self.is_tuple() {
            // SAFETY: a tuple, and the index is inside.
            unsafe { ffi::PyTuple_GetItem(self.as_ptr(), size(index)) }
        } else {
            // SAFETY: a list (others have length 0), and the index is inside.
            unsafe { ffi::PyList_GetItem(self.as_ptr(), size(index)) }
        };
        // SAFETY: a borrowed reference to a live item.
        unsafe { Object::from_borrowed(self.py(), ptr) }
    }

    /// Both items of a `tuple` of two; `None` for anything else.
    pub fn pair(&self) -> Option<(Object<'py>, Object<'py>)> {
        // SAFETY: the second is asked only for a tuple.
        if !self.is_tuple() || unsafe { ffi::PyTuple_Size(self.as_ptr()) } != 2 {
            return None;
        }
        let item = |index| {
            // SAFETY: a tuple, and both indices are inside.
            let ptr = unsafe { ffi::PyTuple_GetItem(self.as_ptr(), index) };
            // SAFETY: a borrowed reference to a live item.
            unsafe { Object::from_borrowed(self.py(), ptr) }
        };
        Some((item(0)?, item(1)?))
    }

    /// `list.append(item)`
    pub fn append(&self, item: &Object<'py>) -> PyResult<'py, ()> {
        // SAFETY: P1, P2; CPython checks that it is a list.
        Exception::check(self.py(), unsafe {
            ffi::PyList_Append(self.as_ptr(), item.as_ptr())
        })
    }

    /// `dict[key] = value`
    pub fn set(&self, key: &Object<'py>, value: &Object<'py>) -> PyResult<'py, ()> {
        // SAFETY: P1, P2; CPython checks that it is a dict.
        let status = unsafe { ffi::PyDict_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) };
        Exception::check(self.py(), status)
    }

    /// `dict[key]`, or `None` when there is none (exceptions of `__hash__` and `__eq__` are reported).
    pub fn lookup(&self, key: &Object<'py>) -> PyResult<'py, Option<Object<'py>>> {
        // SAFETY: P1, P2; CPython checks that it is a dict.
        let ptr = unsafe { ffi::PyDict_GetItemWithError(self.as_ptr(), key.as_ptr()) };
        if ptr.is_null() {
            return Exception::pending(self.py()).map_or(Ok(None), Err);
        }
        // SAFETY: a borrowed reference to a live value.
        Ok(unsafe { Object::from_borrowed(self.py(), ptr) })
    }

    /// `del dict[key]`
    pub fn remove(&self, key: &Object<'py>) -> PyResult<'py, ()> {
        // SAFETY: P1, P2; CPython checks that it is a dict.
        Exception::check(self.py(), unsafe {
            ffi::PyDict_DelItem(self.as_ptr(), key.as_ptr())
        })
    }

    /// `dict.copy()`
    pub fn copy_dict(&self) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1, P2; CPython checks that it is a dict.
        let ptr = unsafe { ffi::PyDict_Copy(self.as_ptr()) };
        // SAFETY: P3.
        unsafe { Object::from_new(self.py(), ptr) }
    }
}
