//! Shared libraries: opening them, finding symbols, finding the file of an address.

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::ptr::NonNull;

/// The loader refused; the text is its own, a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DlError(pub String);

impl fmt::Display for DlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DlError {}

/// Who sees the symbols of a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Libraries opened later may use them (RTLD_GLOBAL): what libpython needs.
    Global,
    /// Only who asks for them (RTLD_LOCAL).
    Local,
}

/// An open library. It is never closed: neither libpython nor what starts threads can be unloaded.
#[derive(Debug, Clone, Copy)]
pub struct Library(NonNull<c_void>);

// SAFETY: a handle is a token of the loader, which locks for itself.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

/// The address of a symbol. What it points to, only the caller can know; two symbols are equal if they are one and the same object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol(NonNull<c_void>);

// SAFETY: an address may be known to any thread; what is done with it is up to the door that uses it.
unsafe impl Send for Symbol {}
// SAFETY: as above.
unsafe impl Sync for Symbol {}

impl Symbol {
    /// The address, for the doors: it stays valid for ever, since libraries are not closed.
    pub fn address(self) -> NonNull<c_void> {
        self.0
    }
}

/// Opens a library, resolving all it needs now (`dlopen` with RTLD_NOW). Runs its constructors: open only files that
/// the configuration names.
pub fn open(path: &[u8], visibility: Visibility) -> Result<Library, DlError> {
    let c = CString::new(path).map_err(|_| DlError("the path of a library holds a NUL".into()))?;
    let flags = libc::RTLD_NOW
        | match visibility {
            Visibility::Global => libc::RTLD_GLOBAL,
            Visibility::Local => libc::RTLD_LOCAL,
        };
    // SAFETY: a C string and flags; the library's constructors are trusted by the contract above.
    let handle = unsafe { libc::dlopen(c.as_ptr(), flags) };
    NonNull::new(handle).map(Library).ok_or_else(last_error)
}

impl Library {
    /// The symbol of this library (or of what it depends on), if there is one (`dlsym`).
    pub fn symbol(self, name: &CStr) -> Option<Symbol> {
        // SAFETY: a handle that is never closed, and a C string.
        let at = unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) };
        NonNull::new(at).map(Symbol)
    }
}

/// The symbol that the whole process sees under this name, if there is one (`dlsym` of RTLD_DEFAULT).
pub fn global_symbol(name: &CStr) -> Option<Symbol> {
    // SAFETY: RTLD_DEFAULT is a valid pseudo-handle; a C string.
    let at = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    NonNull::new(at).map(Symbol)
}

/// The path of the file that holds the code or data at `address`, as it was loaded (`dladdr`); `None` for an address of no file.
/// Pass the address of a function or static of one's own library to learn where that lies.
pub fn file_of(address: *const ()) -> Option<Vec<u8>> {
    // SAFETY: all zeroes is a valid Dl_info.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: any address may be asked about; the structure is writable.
    if unsafe { libc::dladdr(address.cast(), &raw mut info) } == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr set it to a C string that lives as long as the library.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(name.to_bytes().to_vec())
}

fn last_error() -> DlError {
    // SAFETY: no arguments; the answer is null or a C string valid until the next call of this thread.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return DlError("the loader gave no reason".into());
    }
    // SAFETY: not null, see above.
    let text = unsafe { CStr::from_ptr(text) };
    DlError(text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named_in_the_error() {
        let e = open(b"/nonexistent/lib.so", Visibility::Local).unwrap_err();
        assert!(e.to_string().contains("/nonexistent/lib.so"), "{e}");
    }

    #[test]
    fn a_library_has_its_symbols_and_an_address_has_its_file() {
        let library = open(b"libc.so.6", Visibility::Local).unwrap();
        let found = library.symbol(c"getpid").unwrap();
        assert_eq!(global_symbol(c"getpid"), Some(found));
        assert_eq!(library.symbol(c"no_such_symbol_here"), None);
        let file = file_of(found.address().as_ptr().cast()).unwrap();
        assert!(
            file.windows(4).any(|w| w == b"libc"),
            "{}",
            String::from_utf8_lossy(&file)
        );
    }
}
