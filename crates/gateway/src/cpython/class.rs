//! Types whose instances carry a Rust value, made anew for each interpreter, and functions that Python can call.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use pyo3::ffi;

use super::error::{Exception, PyResult, Raise};
use super::object::{Attached, Object, Stored};

/// A Rust value that instances of a [`Class`] carry. It may be dropped on any thread that is attached.
pub trait Payload: 'static {
    /// Qualified name of the type, as Python shows it.
    const NAME: &'static CStr;
}

/// A heap type of one interpreter; its instances carry a `T`. It cannot be subclassed or instantiated from Python, and does not
/// take part in garbage collection: a payload must not own containers that could lead back to it.
pub struct Class<T: Payload> {
    class: Stored,
    payload: PhantomData<fn() -> T>,
}

#[repr(C)]
struct Instance<T> {
    header: ffi::PyObject,
    payload: T,
}

/// What a method receives.
pub struct Call<'a, 'py, T> {
    /// The token.
    pub py: Attached<'py>,
    /// The instance's Rust value.
    pub this: &'a T,
    /// The instance itself.
    pub receiver: &'a Object<'py>,
    /// Positional arguments (there are no others).
    pub args: &'a [Object<'py>],
}

impl<'py, T> Call<'_, 'py, T> {
    /// The only argument there may be, as an integer; `default` without one.
    pub fn optional_int(&self, name: &str, default: i64) -> PyResult<'py, i64> {
        match self.args {
            [] => Ok(default),
            [value] => value.to_int(),
            _ => Err(self.wrong_count(name, "at most 1")),
        }
    }

    /// There must be no argument.
    pub fn no_arguments(&self, name: &str) -> PyResult<'py, ()> {
        match self.args {
            [] => Ok(()),
            _ => Err(self.wrong_count(name, "no")),
        }
    }

    /// The exception for a wrong number of arguments.
    pub fn wrong_count(&self, name: &str, wanted: &str) -> Exception<'py> {
        let message = format!("{name}() takes {wanted} argument(s), {} given", self.args.len());
        Exception::new(self.py, Raise::Type, &message)
    }
}

/// A method of a class under construction.
pub struct Method<T> {
    def: ffi::PyMethodDef,
    payload: PhantomData<fn() -> T>,
}

impl<T: Payload> Method<T> {
    /// A method with positional arguments only. `f` must be a plain function or a closure without captures.
    pub fn new<F>(name: &'static CStr, _f: F) -> Self
    where
        F: for<'a, 'py> Fn(Call<'a, 'py, T>) -> PyResult<'py, Object<'py>> + Copy + 'static,
    {
        const { assert!(size_of::<F>() == 0) };
        Self {
            def: definition(name, method::<T, F>),
            payload: PhantomData,
        }
    }
}

/// A read-only attribute of a class under construction.
pub struct Getter<T> {
    def: ffi::PyGetSetDef,
    payload: PhantomData<fn() -> T>,
}

impl<T: Payload> Getter<T> {
    /// An attribute computed by `f`, a plain function or a closure without captures.
    pub fn new<F>(name: &'static CStr, _f: F) -> Self
    where
        F: for<'a, 'py> Fn(Call<'a, 'py, T>) -> PyResult<'py, Object<'py>> + Copy + 'static,
    {
        const { assert!(size_of::<F>() == 0) };
        Self {
            def: ffi::PyGetSetDef {
                name: name.as_ptr(),
                get: Some(getter::<T, F>),
                ..ffi::PyGetSetDef::default()
            },
            payload: PhantomData,
        }
    }
}

/// A function of `T`'s instances that can be bound to one without an attribute look-up, which is what a request needs.
pub struct Function<T> {
    def: &'static ffi::PyMethodDef,
    payload: PhantomData<fn() -> T>,
}

impl<T> Clone for Function<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Function<T> {}

impl<T: Payload> Function<T> {
    /// Keeps the definition for ever: make it once per interpreter.
    pub fn new(method: Method<T>) -> Self {
        Self {
            def: Box::leak(Box::new(method.def)),
            payload: PhantomData,
        }
    }

    /// The function bound to the receiver of a call.
    pub fn bind_to<'py>(self, call: &Call<'_, 'py, T>) -> PyResult<'py, Object<'py>> {
        self.bind_unchecked(call.py, call.receiver)
    }

    fn bind_unchecked<'py>(self, py: Attached<'py>, receiver: &Object<'py>) -> PyResult<'py, Object<'py>> {
        let def = ptr::from_ref(self.def).cast_mut();
        // SAFETY: P1; the definition lives for ever and CPython does not write to it; the receiver carries a `T`.
        let ptr = unsafe { ffi::PyCFunction_NewEx(def, receiver.as_ptr(), ptr::null_mut()) };
        // SAFETY: P3.
        unsafe { Object::from_new(py, ptr) }
    }
}

/// A function that belongs to no class. `f` must be a plain function or a closure without captures.
pub fn free_function<'py, F>(py: Attached<'py>, name: &'static CStr, _f: F) -> PyResult<'py, Object<'py>>
where
    F: for<'a, 'q> Fn(Attached<'q>, &'a [Object<'q>]) -> PyResult<'q, Object<'q>> + Copy + 'static,
{
    const { assert!(size_of::<F>() == 0) };
    let def = Box::leak(Box::new(definition(name, free::<F>)));
    // SAFETY: P1; the definition lives for ever.
    let ptr = unsafe { ffi::PyCFunction_NewEx(def, ptr::null_mut(), ptr::null_mut()) };
    // SAFETY: P3.
    unsafe { Object::from_new(py, ptr) }
}

/// Flag for "called with an array of positional arguments": in CPython since 3.7, in the stable ABI since 3.10.
const METH_FASTCALL: c_int = 0x0080;

type Fast = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
) -> *mut ffi::PyObject;

fn definition(name: &'static CStr, function: Fast) -> ffi::PyMethodDef {
    // SAFETY: both are pointers to C functions; CPython calls it by the signature that the flag below stands for.
    let function = unsafe { std::mem::transmute::<Fast, ffi::PyCFunction>(function) };
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunction: function,
        },
        ml_flags: METH_FASTCALL,
        ml_doc: ptr::null(),
    }
}

impl<T: Payload> Class<T> {
    /// Makes the type.
    pub fn new<'py>(
        py: Attached<'py>,
        methods: Vec<Method<T>>,
        getters: Vec<Getter<T>>,
    ) -> PyResult<'py, Self> {
        Self::build(py, methods, getters, None)
    }

    /// Makes the type; its instances are iterators, `next` is their `__next__` (`None` ends the iteration).
    pub fn iterator<'py, F>(
        py: Attached<'py>,
        methods: Vec<Method<T>>,
        getters: Vec<Getter<T>>,
        _next: F,
    ) -> PyResult<'py, Self>
    where
        F: for<'a, 'q> Fn(Call<'a, 'q, T>) -> PyResult<'q, Option<Object<'q>>> + Copy + 'static,
    {
        const { assert!(size_of::<F>() == 0) };
        Self::build(py, methods, getters, Some(iternext::<T, F> as *mut c_void))
    }

    fn build<'py>(
        py: Attached<'py>,
        methods: Vec<Method<T>>,
        getters: Vec<Getter<T>>,
        next: Option<*mut c_void>,
    ) -> PyResult<'py, Self> {
        const { assert!(align_of::<Instance<T>>() <= 2 * size_of::<usize>()) };
        // CPython keeps pointers to both tables for as long as the type lives.
        let mut method_table: Vec<_> = methods.into_iter().map(|m| m.def).collect();
        method_table.push(ffi::PyMethodDef::zeroed());
        let mut getter_table: Vec<_> = getters.into_iter().map(|g| g.def).collect();
        getter_table.push(ffi::PyGetSetDef::default());
        let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
        let mut slots = vec![
            slot(ffi::Py_tp_dealloc, dealloc::<T> as *mut c_void),
            slot(ffi::Py_tp_methods, method_table.leak().as_mut_ptr().cast()),
            slot(ffi::Py_tp_getset, getter_table.leak().as_mut_ptr().cast()),
        ];
        if let Some(next) = next {
            slots.push(slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void));
            slots.push(slot(ffi::Py_tp_iternext, next));
        }
        slots.push(slot(0, ptr::null_mut()));
        let mut spec = ffi::PyType_Spec {
            name: T::NAME.as_ptr(),
            basicsize: c_int::try_from(size_of::<Instance<T>>()).unwrap_or(c_int::MAX),
            itemsize: 0,
            flags: u32::try_from(ffi::Py_TPFLAGS_DEFAULT).unwrap_or(0),
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: P1; the spec and its slots are read during the call, what they point to lives for ever.
        let ptr = unsafe { ffi::PyType_FromSpec(&raw mut spec) };
        // SAFETY: P3.
        let class = unsafe { Object::from_new(py, ptr) }?;
        Ok(Self {
            class: class.store(),
            payload: PhantomData,
        })
    }

    /// The type object.
    pub fn object<'py>(&self, py: Attached<'py>) -> Object<'py> {
        self.class.get(py)
    }

    /// A new instance.
    pub fn make<'py>(&self, py: Attached<'py>, payload: T) -> PyResult<'py, Object<'py>> {
        let class = self.class.with(py, Object::as_ptr).cast::<ffi::PyTypeObject>();
        // SAFETY: P1; a live type whose instances have the size of `Instance<T>`.
        let ptr = unsafe { ffi::PyType_GenericAlloc(class, 0) };
        let Some(instance) = NonNull::new(ptr.cast::<Instance<T>>()) else {
            return Err(Exception::fetch(py));
        };
        // SAFETY: inside the new allocation.
        let place = unsafe { &raw mut (*instance.as_ptr()).payload };
        // SAFETY: nobody else knows the instance, its payload is not initialised yet.
        unsafe { place.write(payload) };
        // SAFETY: a new reference.
        unsafe { Object::from_new(py, ptr) }
    }

    /// The payload of an instance of exactly this type.
    pub fn payload<'a>(&self, object: &'a Object<'_>) -> Option<&'a T> {
        let class = self.class.with(object.py(), Object::as_ptr);
        // SAFETY: P2.
        let its_class = unsafe { ffi::Py_TYPE(object.as_ptr()) };
        if its_class.cast() != class {
            return None;
        }
        // SAFETY: P5.
        Some(unsafe { payload_of(object.as_ptr()) })
    }

    /// A function bound to an instance of exactly this type.
    pub fn bind<'py>(&self, function: Function<T>, instance: &Object<'py>) -> PyResult<'py, Object<'py>> {
        let py = instance.py();
        if self.payload(instance).is_none() {
            return Err(Exception::new(py, Raise::Type, "the receiver is of another type"));
        }
        function.bind_unchecked(py, instance)
    }
}

/// # Safety
/// `object` is a live instance of a `Class<T>` (P5), for at least `'a`.
unsafe fn payload_of<'a, T>(object: *mut ffi::PyObject) -> &'a T {
    // SAFETY: the caller vouches for the layout.
    unsafe { &(*object.cast::<Instance<T>>()).payload }
}

/// A function item or a closure without captures, out of nothing.
fn conjure<F: Copy + 'static>() -> &'static F {
    const { assert!(size_of::<F>() == 0) };
    // SAFETY: a value of this zero-sized type was passed to the constructor that named it, so one exists.
    unsafe { NonNull::dangling().as_ref() }
}

/// Runs `f`, turning a panic into an exception (P8) and an exception into a null with the exception set.
fn guarded<'py>(
    py: Attached<'py>,
    f: impl FnOnce() -> PyResult<'py, Option<Object<'py>>>,
) -> *mut ffi::PyObject {
    let result = catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| {
        Err(Exception::new(
            py,
            Raise::Runtime,
            "rwsgi failed in itself (a panic; its place is in the error log)",
        ))
    });
    match result {
        Ok(Some(object)) => object.into_ptr(),
        Ok(None) => ptr::null_mut(),
        Err(exception) => {
            exception.restore();
            ptr::null_mut()
        }
    }
}

/// # Safety
/// P4: `args` are `n` live objects until the callback returns.
unsafe fn arguments<'a, 'py>(args: *const *mut ffi::PyObject, n: ffi::Py_ssize_t) -> &'a [Object<'py>] {
    match usize::try_from(n) {
        // SAFETY: an `Object` has the layout of a pointer; behind a shared reference its count is not touched.
        Ok(n) if n > 0 => unsafe { std::slice::from_raw_parts(args.cast::<Object<'py>>(), n) },
        _ => &[],
    }
}

unsafe extern "C" fn method<T: Payload, F>(
    receiver: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    n: ffi::Py_ssize_t,
) -> *mut ffi::PyObject
where
    F: for<'a, 'py> Fn(Call<'a, 'py, T>) -> PyResult<'py, Object<'py>> + Copy + 'static,
{
    // SAFETY: CPython calls back attached (P1).
    let py = unsafe { Attached::assume() };
    // SAFETY: P4.
    let args = unsafe { arguments(args, n) };
    // SAFETY: P5: the method belongs to this class, CPython checks the receiver.
    let this = unsafe { payload_of::<T>(receiver) };
    guarded(py, || {
        // SAFETY: P4; a pointer read as the reference it is, see `arguments`.
        let receiver = unsafe { &*(&raw const receiver).cast::<Object<'_>>() };
        conjure::<F>()(Call {
            py,
            this,
            receiver,
            args,
        })
        .map(Some)
    })
}

unsafe extern "C" fn free<F>(
    _module: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    n: ffi::Py_ssize_t,
) -> *mut ffi::PyObject
where
    F: for<'a, 'q> Fn(Attached<'q>, &'a [Object<'q>]) -> PyResult<'q, Object<'q>> + Copy + 'static,
{
    // SAFETY: CPython calls back attached (P1).
    let py = unsafe { Attached::assume() };
    // SAFETY: P4.
    let args = unsafe { arguments(args, n) };
    guarded(py, || conjure::<F>()(py, args).map(Some))
}

unsafe extern "C" fn getter<T: Payload, F>(
    receiver: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject
where
    F: for<'a, 'py> Fn(Call<'a, 'py, T>) -> PyResult<'py, Object<'py>> + Copy + 'static,
{
    // SAFETY: the same duties, no arguments.
    unsafe { method::<T, F>(receiver, ptr::null(), 0) }
}

unsafe extern "C" fn iternext<T: Payload, F>(receiver: *mut ffi::PyObject) -> *mut ffi::PyObject
where
    F: for<'a, 'py> Fn(Call<'a, 'py, T>) -> PyResult<'py, Option<Object<'py>>> + Copy + 'static,
{
    // SAFETY: CPython calls back attached (P1).
    let py = unsafe { Attached::assume() };
    // SAFETY: P5.
    let this = unsafe { payload_of::<T>(receiver) };
    guarded(py, || {
        // SAFETY: P4, see `method`.
        let receiver = unsafe { &*(&raw const receiver).cast::<Object<'_>>() };
        conjure::<F>()(Call {
            py,
            this,
            receiver,
            args: &[],
        })
    })
}

unsafe extern "C" fn dealloc<T: Payload>(object: *mut ffi::PyObject) {
    // SAFETY: P5; the last reference is gone, so the payload is dropped exactly once.
    let place = unsafe { &raw mut (*object.cast::<Instance<T>>()).payload };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: as above.
        unsafe { place.drop_in_place() }
    }));
    // SAFETY: P4.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: a heap type always has this slot (inherited from `object`).
    let free = unsafe { ffi::PyType_GetSlot(class, ffi::Py_tp_free) };
    if !free.is_null() {
        // SAFETY: `tp_free` has this signature.
        let free = unsafe { std::mem::transmute::<*mut c_void, ffi::freefunc>(free) };
        // SAFETY: allocated by the type's allocator, not used again.
        unsafe { free(object.cast()) };
    }
    // SAFETY: an instance of a heap type owns a reference to its type.
    unsafe { ffi::Py_DecRef(class.cast()) };
}
