//! httpd's regular expressions.

use core::ffi::CStr;
use core::ptr::NonNull;
use std::ffi::CString;

use super::bindings as c;
use super::pool::Pool;
use super::table;

/// A compiled expression, freed by the configuration pool that it was made in.
pub struct Regex(NonNull<c::ap_regex_t>);

// SAFETY: a compiled expression is read only, and freed when no request is served any more (H3).
unsafe impl Send for Regex {}
// SAFETY: as above: searching does not change it.
unsafe impl Sync for Regex {}

impl Regex {
    /// Compiles `pattern`; `None` when it is not a regular expression.
    pub fn compile(pconf: &Pool<'_>, pattern: &str) -> Option<Self> {
        let pattern = CString::new(pattern).ok()?;
        // SAFETY: H5; the pattern is copied.
        let raw = unsafe { c::ap_pregcomp(pconf.raw(), pattern.as_ptr(), 0) };
        NonNull::new(raw).map(Self)
    }

    /// Searches `text`: how far the match reaches from the beginning of `text`, and `template` with `$0` to `$9` replaced.
    pub fn replace(&self, pool: &Pool<'_>, text: &CStr, template: &CStr) -> Option<(usize, Vec<u8>)> {
        let mut found = [c::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; 10];
        let count = found.len();
        // SAFETY: the expression is live (see `Sync`), and `found` has room for `count` groups.
        let status = unsafe { c::ap_regexec(self.0.as_ptr(), text.as_ptr(), count, found.as_mut_ptr(), 0) };
        if status != 0 {
            return None;
        }
        let end = usize::try_from(found[0].rm_eo).ok()?;
        // SAFETY: H5; `found` describes `text` and has `count` groups.
        let made = unsafe {
            c::ap_pregsub(
                pool.raw(),
                template.as_ptr(),
                text.as_ptr(),
                count,
                found.as_mut_ptr(),
            )
        };
        // SAFETY: H2: a string in `pool`, or null when it would be too long.
        let made = unsafe { table::bytes(made) }?;
        Some((end, made.to_vec()))
    }
}
