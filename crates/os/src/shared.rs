//! Memory that a process and its children share: numbers that each may read and write, and who of them lives.
//!
//! The memory is a file without a name. A process that takes part holds a lock on it, which the kernel takes back when the process ends,
//! however that happens; nobody ever waits for one.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use crate::OsError;
use crate::fd::{is_sealed, sealed_memory};
use crate::file::{is_byte_locked, status, try_lock_byte};

/// A file for `count` numbers, all 0, close-on-exec. Its length can never change. It costs memory only where it is written.
pub fn make(name: &str, count: usize) -> Result<OwnedFd, OsError> {
    sealed_memory(name, count.saturating_mul(size_of::<AtomicU64>()))
}

/// The numbers of such a file, for the rest of this process's life (`mmap`). Errors: EINVAL when it is not one, or has less than `count`.
pub fn map(file: BorrowedFd<'_>, count: usize) -> Result<&'static [AtomicU64], OsError> {
    let bytes = count.saturating_mul(size_of::<AtomicU64>());
    if !is_sealed(file) || status(file)?.size < bytes as u64 || bytes == 0 {
        return Err(OsError::new("mmap", "shared memory", libc::EINVAL));
    }
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(OsError::last("mmap", "shared memory"));
    }
    // SAFETY: mapped above for good and page-aligned; the seals keep the file as long as it is; any bits are a number, and others change them
    // by atomic operations or, if they are hostile, harm no more than the numbers.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), count) })
}

/// Takes part as number `who`; `false`: another process is that.
pub fn take_part(file: impl AsFd, who: u32) -> Result<bool, OsError> {
    try_lock_byte(file.as_fd(), who.into())
}

/// Whether another process takes part as number `who`.
pub fn is_taken(file: impl AsFd, who: u32) -> Result<bool, OsError> {
    is_byte_locked(file.as_fd(), who.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn two_mappings_show_the_same_numbers_and_the_length_is_fixed() {
        let file = make("test", 600).unwrap();
        let (one, two) = (map(file.as_fd(), 600).unwrap(), map(file.as_fd(), 600).unwrap());
        one[599].store(7, Ordering::SeqCst);
        assert_eq!(two[599].load(Ordering::SeqCst), 7);
        // SAFETY: integers only.
        assert!(unsafe { libc::ftruncate(file.as_raw_fd(), 0) } < 0);
        assert!(map(file.as_fd(), 1200).is_err());
        assert!(map(crate::fd::memory_file("other").unwrap().as_fd(), 1).is_err());
    }

    #[test]
    fn who_takes_part_is_seen_until_it_dies() {
        let file = make("test", 1).unwrap();
        assert!(!is_taken(&file, 3).unwrap());
        // A process of its own, for locks of the same process do not meet.
        let script = "import fcntl, os, struct, sys\n\
            fcntl.fcntl(0, fcntl.F_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 3, 1, 0))\n\
            print('has it', flush=True)\n\
            import time; time.sleep(60)\n";
        let mut child = std::process::Command::new("python3")
            .args(["-c", script])
            .stdin(file.try_clone().unwrap())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        assert_eq!(line, "has it\n");
        assert!(is_taken(&file, 3).unwrap());
        assert!(!is_taken(&file, 4).unwrap());
        assert!(!take_part(&file, 3).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_taken(&file, 3).unwrap());
        assert!(take_part(&file, 3).unwrap());
    }
}
