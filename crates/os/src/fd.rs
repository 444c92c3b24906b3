//! Descriptors: taking over inherited ones, flags, pipes, memory files, plain reads and writes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::OsError;
use crate::error::{c_path, retry, retry_size};

/// Takes ownership of a descriptor that this process got under an agreed number (by exec or by its parent's contract), and
/// makes it close-on-exec. Call it once per number: whoever owned the number before no longer does.
///
/// Errors: EBADF when it is not open.
pub fn adopt(number: RawFd) -> Result<OwnedFd, OsError> {
    // SAFETY: F_SETFD takes an int; any number is allowed, a closed one is an error.
    let done = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if done < 0 {
        return Err(OsError::last("fcntl", format!("descriptor {number}")));
    }
    Ok(own(number))
}

/// A descriptor fresh from a successful call becomes owned.
pub(crate) fn own(number: RawFd) -> OwnedFd {
    // SAFETY: callers pass a descriptor that a successful call has just made, or one given to this process for keeps.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Lends descriptor 0, 1 or 2, which are open for the whole life of a process (the runtime opens missing ones).
pub fn standard(number: Standard) -> BorrowedFd<'static> {
    // SAFETY: the Rust runtime makes sure that 0 to 2 are open before main, and nothing here closes them.
    unsafe { BorrowedFd::borrow_raw(number as RawFd) }
}

/// The three standard descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Standard {
    /// Standard input.
    In = 0,
    /// Standard output.
    Out = 1,
    /// Standard error.
    Err = 2,
}

/// Sets or clears close-on-exec (`fcntl(F_SETFD)`).
pub fn set_close_on_exec(fd: impl AsFd, on: bool) -> Result<(), OsError> {
    let flags = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: F_SETFD takes an int; the descriptor is borrowed, hence open.
    retry("fcntl", || unsafe {
        libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFD, flags)
    })
    .map(drop)
}

/// Sets or clears O_NONBLOCK (`fcntl(F_SETFL)`). The flag belongs to the open file, so every holder of it sees the change.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> Result<(), OsError> {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: F_GETFL takes no argument; the descriptor is open.
    let flags = retry("fcntl", || unsafe { libc::fcntl(raw, libc::F_GETFL) })?;
    let wanted = if on {
        flags | libc::O_NONBLOCK
    } else {
        flags & !libc::O_NONBLOCK
    };
    // SAFETY: F_SETFL takes an int; the descriptor is open.
    retry("fcntl", || unsafe { libc::fcntl(raw, libc::F_SETFL, wanted) }).map(drop)
}

/// A second descriptor of the same open file, numbered `least` or higher, close-on-exec (`fcntl(F_DUPFD_CLOEXEC)`).
pub fn duplicate(fd: impl AsFd, least: RawFd) -> Result<OwnedFd, OsError> {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: F_DUPFD_CLOEXEC takes an int; the descriptor is open.
    retry("fcntl", || unsafe {
        libc::fcntl(raw, libc::F_DUPFD_CLOEXEC, least)
    })
    .map(own)
}

/// A second descriptor of the open file behind a number that somebody else owns, close-on-exec. EBADF when it is not open.
pub fn duplicate_number(number: RawFd) -> Result<OwnedFd, OsError> {
    // SAFETY: F_DUPFD_CLOEXEC takes an int; any number is allowed, a closed one is an error.
    retry("fcntl", || unsafe {
        libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3)
    })
    .map(own)
}

/// The position of an open file, which all its descriptors share (`lseek`).
pub fn position(fd: impl AsFd) -> Result<i64, OsError> {
    seek(fd, 0, libc::SEEK_CUR)
}

/// Sets the position of an open file for all its descriptors (`lseek`).
pub fn set_position(fd: impl AsFd, position: i64) -> Result<(), OsError> {
    seek(fd, position, libc::SEEK_SET).map(drop)
}

fn seek(fd: impl AsFd, offset: i64, from: libc::c_int) -> Result<i64, OsError> {
    // SAFETY: integers only; the descriptor is open.
    let position = unsafe { libc::lseek(fd.as_fd().as_raw_fd(), offset, from) };
    if position < 0 {
        Err(OsError::last("lseek", ""))
    } else {
        Ok(position)
    }
}

/// Makes `number` another descriptor of the same file, closing what it was, **not** close-on-exec (`dup2`). For programs that lay
/// out their descriptors before exec; whoever owns `number` in this process loses it.
pub fn place(fd: impl AsFd, number: RawFd) -> Result<(), OsError> {
    let raw = fd.as_fd().as_raw_fd();
    if raw == number {
        return set_close_on_exec(fd, false);
    }
    // SAFETY: dup2 takes two ints; the source is open.
    retry("dup2", || unsafe { libc::dup2(raw, number) }).map(drop)
}

/// Makes `target` another descriptor of the file of `source`, under the number that it has, closing what it was; close-on-exec (`dup3`).
pub fn replace(target: impl AsFd, source: impl AsFd) -> Result<(), OsError> {
    let (target, raw) = (target.as_fd().as_raw_fd(), source.as_fd().as_raw_fd());
    // SAFETY: integers; both are open, and whoever owns the target owns an open descriptor afterwards, too.
    retry("dup3", || unsafe { libc::dup3(raw, target, libc::O_CLOEXEC) }).map(drop)
}

/// Closes every descriptor from `first` on (`close_range`). For programs about to exec: whoever owns one of them must not use
/// it afterwards.
pub fn close_from(first: u32) -> Result<(), OsError> {
    close_range(first, 0)
}

fn close_range(first: u32, flags: u32) -> Result<(), OsError> {
    // SAFETY: three integers; by syscall number because older C libraries lack the wrapper.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if done < 0 {
        Err(OsError::last("close_range", ""))
    } else {
        Ok(())
    }
}

/// A pipe: (read end, write end), close-on-exec (`pipe2`).
pub fn pipe() -> Result<(OwnedFd, OwnedFd), OsError> {
    let mut ends = [0 as RawFd; 2];
    // SAFETY: the array has room for the two descriptors that pipe2 writes.
    let done = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    if done < 0 {
        return Err(OsError::last("pipe2", ""));
    }
    let [read, write] = ends;
    Ok((own(read), own(write)))
}

/// How much a pipe holds, in bytes, at least (`fcntl(F_SETPIPE_SZ)`). EPERM beyond what the system allows.
pub fn set_pipe_size(pipe: impl AsFd, bytes: u32) -> Result<(), OsError> {
    let raw = pipe.as_fd().as_raw_fd();
    // SAFETY: F_SETPIPE_SZ takes an int; the descriptor is open.
    retry("fcntl(F_SETPIPE_SZ)", || unsafe {
        libc::fcntl(raw, libc::F_SETPIPE_SZ, bytes)
    })
    .map(drop)
}

/// An anonymous file in memory, close-on-exec (`memfd_create`).
pub fn memory_file(name: &str) -> Result<OwnedFd, OsError> {
    memory_file_with(name, libc::MFD_CLOEXEC)
}

fn memory_file_with(name: &str, flags: libc::c_uint) -> Result<OwnedFd, OsError> {
    let c = c_path("memfd_create", name.as_bytes())?;
    // SAFETY: the name is a C string that outlives the call.
    let fd = unsafe { libc::memfd_create(c.as_ptr(), flags) };
    if fd < 0 {
        Err(OsError::last("memfd_create", ""))
    } else {
        Ok(own(fd))
    }
}

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// As [`memory_file`], of so many bytes, all 0; its length can never change (`F_ADD_SEALS`).
pub fn sealed_memory(name: &str, bytes: usize) -> Result<OwnedFd, OsError> {
    let file = memory_file_with(name, libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)?;
    let bytes = libc::off_t::try_from(bytes).unwrap_or(libc::off_t::MAX);
    // SAFETY: integers only; the descriptor is open.
    if unsafe { libc::ftruncate(file.as_raw_fd(), bytes) } < 0 {
        return Err(OsError::last("ftruncate", ""));
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) } < 0 {
        return Err(OsError::last("fcntl(F_ADD_SEALS)", ""));
    }
    Ok(file)
}

/// Whether a file is such a one. One of huge pages is not: where there are none left, to read it is SIGBUS.
pub fn is_sealed(file: BorrowedFd<'_>) -> bool {
    // SAFETY: F_GET_SEALS takes no argument; the descriptor is open.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & SEALS == SEALS && is_in_tmpfs(file)
}

fn is_in_tmpfs(file: BorrowedFd<'_>) -> bool {
    // SAFETY: all zeroes is a valid statfs.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is writable; the descriptor is open.
    let done = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut found) };
    done == 0 && found.f_type == libc::TMPFS_MAGIC
}

/// An event counter, close-on-exec and non-blocking (`eventfd`). [`notify`] makes it readable, [`clear`] unreadable.
pub fn event() -> Result<OwnedFd, OsError> {
    // SAFETY: two integers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        Err(OsError::last("eventfd", ""))
    } else {
        Ok(own(fd))
    }
}

/// Makes an [`event`] readable. A counter at its limit is readable already, so nothing can fail.
pub fn notify(event: impl AsFd) {
    let _ = write(event, &1u64.to_ne_bytes());
}

/// Makes an [`event`] unreadable.
pub fn clear(event: impl AsFd) {
    let _ = read(event, &mut [0; 8]);
}

/// Reads up to `buffer.len()` bytes (`read`); 0 is the end.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize, OsError> {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: the buffer is writable for its length; the descriptor is open.
    retry_size("read", || unsafe {
        libc::read(raw, buffer.as_mut_ptr().cast(), buffer.len())
    })
}

/// Reads up to `buffer.len()` bytes from a position, leaving the file's own position alone (`pread`).
pub fn read_at(fd: impl AsFd, buffer: &mut [u8], position: i64) -> Result<usize, OsError> {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: the buffer is writable for its length; the descriptor is open.
    retry_size("pread", || unsafe {
        libc::pread(raw, buffer.as_mut_ptr().cast(), buffer.len(), position)
    })
}

/// Everything from the start of a file, at most `limit` bytes (EFBIG beyond).
pub fn read_all(fd: impl AsFd, limit: usize) -> Result<Vec<u8>, OsError> {
    let mut all = Vec::new();
    let mut chunk = [0u8; 8192];
    loop {
        let position = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let n = read_at(fd.as_fd(), &mut chunk, position)?;
        let Some(got) = chunk.get(..n).filter(|got| !got.is_empty()) else {
            return Ok(all);
        };
        all.extend_from_slice(got);
        if all.len() > limit {
            return Err(OsError::new("pread", "", libc::EFBIG));
        }
    }
}

/// Writes some of `bytes` (`write`); answers how many. SIGPIPE must be ignored by the process if `fd` is a pipe.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> Result<usize, OsError> {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: the bytes are readable for their length; the descriptor is open.
    retry_size("write", || unsafe {
        libc::write(raw, bytes.as_ptr().cast(), bytes.len())
    })
}

/// Writes all of `bytes`.
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<(), OsError> {
    while !bytes.is_empty() {
        let n = write(fd.as_fd(), bytes)?;
        if n == 0 {
            return Err(OsError::new("write", "", libc::EIO));
        }
        bytes = bytes.get(n..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_carries_bytes_and_its_end() {
        let (read_end, write_end) = pipe().unwrap();
        write_all(&write_end, b"abc").unwrap();
        drop(write_end);
        let mut buffer = [0; 8];
        assert_eq!(read(&read_end, &mut buffer).unwrap(), 3);
        assert_eq!(read(&read_end, &mut buffer).unwrap(), 0);
    }

    #[test]
    fn an_empty_nonblocking_pipe_would_block() {
        let (read_end, _write_end) = pipe().unwrap();
        set_nonblocking(&read_end, true).unwrap();
        assert!(read(&read_end, &mut [0; 1]).unwrap_err().is_would_block());
    }

    #[test]
    fn a_memory_file_is_read_back_from_its_start() {
        let file = memory_file("test").unwrap();
        write_all(&file, &[7; 20_000]).unwrap();
        assert_eq!(read_all(&file, 20_000).unwrap(), [7; 20_000]);
        assert_eq!(read_all(&file, 100).unwrap_err().errno, libc::EFBIG);
    }

    #[test]
    fn a_closed_number_cannot_be_adopted() {
        assert_eq!(adopt(99_999).unwrap_err().errno, libc::EBADF);
        assert_eq!(duplicate_number(99_999).unwrap_err().errno, libc::EBADF);
    }

    #[test]
    fn duplicates_share_their_position() {
        let file = memory_file("test").unwrap();
        let other = duplicate_number(file.as_raw_fd()).unwrap();
        set_position(&other, 7).unwrap();
        assert_eq!(position(&file).unwrap(), 7);
    }

    #[test]
    fn an_event_is_readable_until_cleared() {
        let event = event().unwrap();
        notify(&event);
        assert!(crate::poll::readable(&event, Some(std::time::Duration::ZERO)).unwrap());
        clear(&event);
        assert!(!crate::poll::readable(&event, Some(std::time::Duration::ZERO)).unwrap());
    }
}
