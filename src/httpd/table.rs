//! httpd's tables of names and values.

use core::ffi::{CStr, c_char};

use super::bindings as c;

/// The bytes of a C string that may be null.
///
/// # Safety
/// * `text` is null or a NUL-terminated string that lives and does not change for `'a` (H2).
pub(super) unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// The value of the first entry of that name (names compare without case).
///
/// # Safety
/// * `table` is null or a live table whose strings live for `'a` (H2).
pub(super) unsafe fn get<'a>(table: *const c::apr_table_t, name: &CStr) -> Option<&'a [u8]> {
    if table.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let value = unsafe { c::apr_table_get(table, name.as_ptr()) };
    // SAFETY: H2: values live as long as the table's pool.
    unsafe { bytes(value) }
}

/// Every entry, in order.
///
/// # Safety
/// * `table` is null or a live table that does not change, and whose strings live, for `'a` (H2).
pub(super) unsafe fn entries<'a>(table: *const c::apr_table_t) -> Vec<(&'a [u8], &'a [u8])> {
    if table.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise.
    let header = unsafe { c::apr_table_elts(table) };
    // SAFETY: a table's array header is never null.
    let header = unsafe { &*header };
    let count = usize::try_from(header.nelts).unwrap_or(0);
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: a table's array holds `nelts` entries of this type.
    let all = unsafe { core::slice::from_raw_parts(header.elts.cast::<c::apr_table_entry_t>(), count) };
    let mut found = Vec::with_capacity(count);
    found.extend(all.iter().filter_map(|entry| {
        // SAFETY: H2: keys live as long as the table's pool.
        let name = unsafe { bytes(entry.key) };
        // SAFETY: H2: values too.
        let value = unsafe { bytes(entry.val) };
        Some((name?, value.unwrap_or_default()))
    }));
    found
}
