//! `bytes` objects that are written in place, without the GIL.

use std::mem::MaybeUninit;

use pyo3::ffi;

use super::error::PyResult;
use super::object::{Attached, Object};

/// The bytes of an object that nobody else has seen yet.
pub struct Room<'a> {
    bytes: &'a mut [MaybeUninit<u8>],
    filled: usize,
}

impl Room<'_> {
    /// How many more bytes fit.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.filled
    }

    /// Appends what fits and returns the rest.
    pub fn put<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(self.left()));
        let place = self.bytes.get_mut(self.filled..).unwrap_or_default();
        // SAFETY: `now` fits into `place`, which is borrowed mutably and so is not the same memory.
        unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), place.as_mut_ptr().cast::<u8>(), now.len()) };
        self.filled += now.len();
        rest
    }
}

impl<'py> Attached<'py> {
    /// `bytes` of at most `capacity`: `fill` writes them without the GIL, and what it leaves empty is left out. The inner error
    /// is `fill`'s.
    pub fn bytes_filled<E: Send>(
        self,
        capacity: usize,
        fill: impl FnOnce(&mut Room<'_>) -> Result<(), E> + Send,
    ) -> PyResult<'py, Result<Object<'py>, E>> {
        let size = ffi::Py_ssize_t::try_from(capacity).unwrap_or(ffi::Py_ssize_t::MAX);
        // SAFETY: P1; without a source the bytes are left as they are.
        let ptr = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), size) };
        // SAFETY: P3.
        let object = unsafe { Object::from_new(self, ptr) }?;
        // SAFETY: a bytes object.
        let start = unsafe { ffi::PyBytes_AsString(object.as_ptr()) };
        // SAFETY: `capacity` bytes, which may be written as long as the only reference is ours (P7 begins when it is handed out).
        let bytes = unsafe { std::slice::from_raw_parts_mut(start.cast::<MaybeUninit<u8>>(), capacity) };
        let mut room = Room { bytes, filled: 0 };
        if let Err(why) = self.detach(|| fill(&mut room)) {
            return Ok(Err(why));
        }
        let filled = room.filled;
        if filled == capacity {
            return Ok(Ok(object));
        }
        let written = object.as_bytes().and_then(|bytes| bytes.get(..filled));
        self.bytes(written.unwrap_or_default()).map(Ok)
    }
}
