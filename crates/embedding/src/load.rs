//! Opening libpython and the Python half in this process.

use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

use crate::host::Guest;
use crate::table::{GUEST_ENTRY, GuestEntry, TEXT_ROOM};

/// Opens `libpython` (a path, or a bare file name for the loader's search path) with its symbols visible to all, then `gateway`, and
/// returns the guest found in it. Both stay open for the life of the process. The sentence says what went wrong.
///
/// A process can hold one Python only: when another libpython is in it already, its symbols would win without a word
/// (measured), so that is refused.
pub fn guest(libpython: &Path, gateway: &Path) -> Result<Guest, String> {
    let python = open(libpython, libc::RTLD_NOW | libc::RTLD_GLOBAL)?;
    let probe = c"Py_InitializeEx";
    let ours = symbol(python.as_ptr(), probe).ok_or_else(|| {
        format!(
            "{} is not a Python library: it has no {}",
            libpython.display(),
            probe.to_string_lossy()
        )
    })?;
    if symbol(libc::RTLD_DEFAULT, probe) != Some(ours) {
        return Err(format!(
            "another Python library is loaded in this httpd already, so {} cannot be used; remove the other module that brings \
             Python (mod_wsgi, mod_python, a LoadFile of libpython), or make both use the same library",
            libpython.display()
        ));
    }
    let library = open(gateway, libc::RTLD_NOW | libc::RTLD_LOCAL)?;
    let entry = symbol(library.as_ptr(), GUEST_ENTRY).ok_or_else(|| {
        format!(
            "{} is not the Python half of rwsgi; install all files of rwsgi anew",
            gateway.display()
        )
    })?;
    // SAFETY: the symbol of this name is a `GuestEntry` in every build of the Python half.
    let entry = unsafe { std::mem::transmute::<NonNull<c_void>, GuestEntry>(entry) };
    // SAFETY: the entry returns a static of a library that is never closed.
    let table = unsafe { &*entry() };
    Guest::checked(table)
}

fn open(path: &Path, flags: libc::c_int) -> Result<NonNull<c_void>, String> {
    let c_path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| format!("{} contains a NUL byte", path.display()))?;
    // SAFETY: a NUL-terminated path; initialisers of the library are those of Python or of our own build.
    let handle = unsafe { libc::dlopen(c_path.as_ptr(), flags) };
    NonNull::new(handle).ok_or_else(last_error)
}

fn symbol(handle: *mut c_void, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the handle is open (or RTLD_DEFAULT), the name ends in NUL.
    NonNull::new(unsafe { libc::dlsym(handle, name.as_ptr()) })
}

fn last_error() -> String {
    // SAFETY: dlerror has no precondition; its text is this thread's.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "the loader gave no reason".into();
    }
    // SAFETY: a non-null text ends in NUL and lives until the next dl call of this thread.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Copies as much of `sentence` as fits.
///
/// # Safety
/// - `text` is writable for [`TEXT_ROOM`] bytes and `text_len` for one `usize`, and nobody else uses them meanwhile.
pub(crate) unsafe fn fill_text(sentence: &str, text: *mut u8, text_len: *mut usize) {
    let mut cut = sentence.len().min(TEXT_ROOM);
    while !sentence.is_char_boundary(cut) {
        cut -= 1;
    }
    // SAFETY: the caller's promise; `cut` is at most `TEXT_ROOM`.
    unsafe { text.copy_from_nonoverlapping(sentence.as_ptr(), cut) };
    // SAFETY: the caller's promise.
    unsafe { text_len.write(cut) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let error = guest(
            Path::new("/nowhere/libpython3.99.so"),
            Path::new("/nowhere/_rwsgi.so"),
        )
        .err()
        .unwrap();
        assert!(error.contains("/nowhere/libpython3.99.so"), "{error}");
    }
}
