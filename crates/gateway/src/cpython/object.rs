//! The token for "attached" and references to Python objects.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use pyo3::ffi;

use super::error::{Exception, PyResult};

/// Proof that this thread holds the GIL of the interpreter `'py` (P1). Neither `Send` nor `Sync`.
#[derive(Clone, Copy)]
pub struct Attached<'py>(PhantomData<(&'py (), *mut ())>);

impl<'py> Attached<'py> {
    /// # Safety
    /// The caller is attached for at least `'py` (P1).
    pub(super) unsafe fn assume() -> Self {
        Self(PhantomData)
    }
}

/// An owned reference, usable while attached. Its layout is that of a pointer, so that an argument array can be read in place.
#[repr(transparent)]
pub struct Object<'py> {
    ptr: NonNull<ffi::PyObject>,
    py: Attached<'py>,
}

impl<'py> Object<'py> {
    /// Takes over a new reference, or the exception that is set instead (P3).
    ///
    /// # Safety
    /// `ptr` is a new reference, or null with an exception set.
    pub(super) unsafe fn from_new(py: Attached<'py>, ptr: *mut ffi::PyObject) -> PyResult<'py, Self> {
        match NonNull::new(ptr) {
            Some(ptr) => Ok(Self { ptr, py }),
            None => Err(Exception::fetch(py)),
        }
    }

    /// Makes an own reference of a borrowed one; `None` for null.
    ///
    /// # Safety
    /// `ptr` is null or a live object.
    pub(super) unsafe fn from_borrowed(py: Attached<'py>, ptr: *mut ffi::PyObject) -> Option<Self> {
        let ptr = NonNull::new(ptr)?;
        // SAFETY: the caller vouches for the object, `py` for the GIL.
        unsafe { ffi::Py_IncRef(ptr.as_ptr()) };
        Some(Self { ptr, py })
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.ptr.as_ptr()
    }

    /// Gives the reference away (to a function that steals it, or to CPython as a return value).
    pub(super) fn into_ptr(self) -> *mut ffi::PyObject {
        let ptr = self.ptr.as_ptr();
        std::mem::forget(self);
        ptr
    }

    /// The token.
    pub fn py(&self) -> Attached<'py> {
        self.py
    }

    /// Keeps the object beyond this attachment.
    pub fn store(self) -> Stored {
        Stored {
            ptr: {
                let ptr = self.ptr;
                std::mem::forget(self);
                ptr
            },
        }
    }

    /// Whether both are the same object (`is`).
    pub fn is(&self, other: &Object<'_>) -> bool {
        self.ptr == other.ptr
    }

    /// Whether `class` is its type, not a base of it.
    pub fn is_exactly(&self, class: &Object<'_>) -> bool {
        // SAFETY: P2.
        let its_class = unsafe { ffi::Py_TYPE(self.as_ptr()) };
        its_class.cast() == class.as_ptr()
    }

    /// Whether `class` is its type or a base of it, without asking any `__instancecheck__`.
    pub fn is_of(&self, class: &Object<'_>) -> bool {
        // SAFETY: P2.
        let its_class = unsafe { ffi::Py_TYPE(self.as_ptr()) };
        // SAFETY: P1, P2; callers pass a type.
        its_class.cast() == class.as_ptr()
            || unsafe { ffi::PyType_IsSubtype(its_class, class.as_ptr().cast()) } != 0
    }

    /// How many references there are. Only good for "nobody but us".
    pub fn references(&self) -> usize {
        // SAFETY: P2; the GIL is held, so the count does not change while it is read.
        let count = unsafe { ffi::Py_REFCNT(self.as_ptr()) };
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// `getattr(self, name)`.
    pub fn attribute(&self, name: &CStr) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1, P2; the name ends in NUL.
        let ptr = unsafe { ffi::PyObject_GetAttrString(self.as_ptr(), name.as_ptr()) };
        // SAFETY: P3.
        unsafe { Object::from_new(self.py, ptr) }
    }

    /// `getattr(self, name)` with a name that is at hand as an object.
    pub fn attribute_named(&self, name: &Object<'py>) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1, P2.
        let ptr = unsafe { ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr()) };
        // SAFETY: P3.
        unsafe { Object::from_new(self.py, ptr) }
    }

    /// `setattr(self, name, value)`.
    pub fn set_attribute(&self, name: &CStr, value: &Object<'py>) -> PyResult<'py, ()> {
        // SAFETY: P1, P2; the name ends in NUL.
        let status = unsafe { ffi::PyObject_SetAttrString(self.as_ptr(), name.as_ptr(), value.as_ptr()) };
        Exception::check(self.py, status)
    }

    /// `self(*args)`.
    pub fn call(&self, args: &[&Object<'py>]) -> PyResult<'py, Object<'py>> {
        let args = self.py.tuple(args)?;
        // SAFETY: P1, P2.
        let ptr = unsafe { ffi::PyObject_CallObject(self.as_ptr(), args.as_ptr()) };
        // SAFETY: P3.
        unsafe { Object::from_new(self.py, ptr) }
    }

    /// `self(*args, **keywords)`.
    pub fn call_with(&self, args: &[&Object<'py>], keywords: &Object<'py>) -> PyResult<'py, Object<'py>> {
        let args = self.py.tuple(args)?;
        // SAFETY: P1, P2; `keywords` is checked by CPython to be a dict.
        let ptr = unsafe { ffi::PyObject_Call(self.as_ptr(), args.as_ptr(), keywords.as_ptr()) };
        // SAFETY: P3.
        unsafe { Object::from_new(self.py, ptr) }
    }

    /// `self.name(*args)`.
    pub fn call_method(&self, name: &CStr, args: &[&Object<'py>]) -> PyResult<'py, Object<'py>> {
        self.attribute(name)?.call(args)
    }

    /// `callable(self)`.
    pub fn is_callable(&self) -> bool {
        // SAFETY: P1, P2.
        unsafe { ffi::PyCallable_Check(self.as_ptr()) != 0 }
    }

    /// `iter(self)`.
    pub fn iterate(&self) -> PyResult<'py, Object<'py>> {
        // SAFETY: P1, P2.
        let ptr = unsafe { ffi::PyObject_GetIter(self.as_ptr()) };
        // SAFETY: P3.
        unsafe { Object::from_new(self.py, ptr) }
    }

    /// `next(self)` of an iterator made by [`iterate`](Self::iterate); `None` at its end.
    pub fn advance(&self) -> PyResult<'py, Option<Object<'py>>> {
        // SAFETY: P1, P2; `PyObject_GetIter` refuses what has no `__next__`.
        let ptr = unsafe { ffi::PyIter_Next(self.as_ptr()) };
        if ptr.is_null() {
            return Exception::pending(self.py).map_or(Ok(None), Err);
        }
        // SAFETY: just checked, a new reference.
        unsafe { Object::from_new(self.py, ptr) }.map(Some)
    }

    /// `bool(self)`.
    pub fn is_true(&self) -> PyResult<'py, bool> {
        // SAFETY: P1, P2.
        let truth = unsafe { ffi::PyObject_IsTrue(self.as_ptr()) };
        Exception::check(self.py, truth)?;
        Ok(truth != 0)
    }

    /// Name of the type, as in messages.
    pub fn type_name(&self) -> String {
        self.attribute(c"__class__")
            .and_then(|class| class.attribute(c"__name__"))
            .and_then(|name| name.to_text())
            .unwrap_or_else(|_| "object".into())
    }
}

impl Clone for Object<'_> {
    fn clone(&self) -> Self {
        // SAFETY: P1, P2.
        unsafe { ffi::Py_IncRef(self.as_ptr()) };
        Self {
            ptr: self.ptr,
            py: self.py,
        }
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: P1, P2: this reference is ours to give up.
        unsafe { ffi::Py_DecRef(self.as_ptr()) };
    }
}

/// An owned reference kept beyond one attachment: in an interpreter's state, or in the payload of an instance. Both are dropped
/// attached to the object's interpreter, and it is not `Send`, so it cannot get elsewhere.
pub struct Stored {
    ptr: NonNull<ffi::PyObject>,
}

impl Stored {
    /// Another reference to the same object.
    pub fn get<'py>(&self, py: Attached<'py>) -> Object<'py> {
        // SAFETY: P1, P2.
        unsafe { ffi::Py_IncRef(self.ptr.as_ptr()) };
        Object { ptr: self.ptr, py }
    }

    /// The object, without another reference.
    pub fn with<'py, R>(&self, py: Attached<'py>, f: impl FnOnce(&Object<'py>) -> R) -> R {
        let object = std::mem::ManuallyDrop::new(Object { ptr: self.ptr, py });
        f(&object)
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        // SAFETY: see the type: dropped attached, and this reference is ours.
        unsafe { ffi::Py_DecRef(self.ptr.as_ptr()) };
    }
}
