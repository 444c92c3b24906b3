//! What the C library keeps of the memory that this process has freed.

/// Returns it to the system, whole pages of it, as far as the library can (glibc). After much has been freed at once: else it stays, in pieces
/// between what is in use, as long as the process lives.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes locks of the allocator's own alone, and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
