//! From directory to directory by descriptor: what has been looked at is what is used, whatever becomes of the names meanwhile.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::OsError;
use crate::error::c_path;
use crate::fd::own;

/// What is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory, only to go on from or to look at.
    Directory,
    /// Something to read. A FIFO or a device does not block it.
    File,
}

/// The root directory (`open` with O_PATH).
pub fn root() -> Result<OwnedFd, OsError> {
    open(None, b"/", libc::O_PATH | libc::O_DIRECTORY)
}

/// What this name is in a directory, a symbolic link itself included (`openat` with O_PATH and O_NOFOLLOW).
pub fn component(directory: impl AsFd, name: &[u8]) -> Result<OwnedFd, OsError> {
    open(Some(directory.as_fd()), name, libc::O_PATH | libc::O_NOFOLLOW)
}

fn open(directory: Option<BorrowedFd<'_>>, name: &[u8], flags: libc::c_int) -> Result<OwnedFd, OsError> {
    let c = c_path("open", name)?;
    let at = directory.map_or(libc::AT_FDCWD, |d| d.as_raw_fd());
    loop {
        // SAFETY: an open directory or AT_FDCWD, a C string, flags without O_CREAT.
        let fd = unsafe { libc::openat(at, c.as_ptr(), flags | libc::O_CLOEXEC) };
        if fd >= 0 {
            return Ok(own(fd));
        }
        let e = OsError::last_on("open", name);
        if !e.is_interrupted() {
            return Err(e);
        }
    }
}

/// Where a symbolic link that was opened by [`component`] points; ENOENT: it is none (`readlinkat`).
pub fn target(link: impl AsFd) -> Result<Vec<u8>, OsError> {
    let mut target = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: an open descriptor, an empty C string, and a buffer writable for its length.
    let n = unsafe {
        libc::readlinkat(
            link.as_fd().as_raw_fd(),
            c"".as_ptr(),
            target.as_mut_ptr().cast(),
            target.len(),
        )
    };
    let n = usize::try_from(n).map_err(|_| OsError::last("readlink", ""))?;
    target.truncate(n);
    Ok(target)
}

/// Opens what is below a directory and nowhere else: through no symbolic link (ELOOP), not upwards (EXDEV), through nothing of /proc
/// (`openat2` with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS).
pub fn beneath(directory: impl AsFd, path: &[u8], kind: Kind) -> Result<OwnedFd, OsError> {
    let c = c_path("openat2", path)?;
    let flags = match kind {
        Kind::Directory => libc::O_PATH | libc::O_DIRECTORY,
        Kind::File => libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY,
    };
    // SAFETY: all zeroes is a valid open_how.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_NOFOLLOW | libc::O_CLOEXEC).unsigned_abs().into();
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    loop {
        // SAFETY: an open directory, a C string, and a structure readable for the size that is said.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                directory.as_fd().as_raw_fd(),
                c.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        match libc::c_int::try_from(fd) {
            Ok(fd) if fd >= 0 => return Ok(own(fd)),
            _ => {}
        }
        let e = OsError::last_on("openat2", path);
        // EAGAIN: something was renamed meanwhile, and the kernel could not be sure.
        if !e.is_interrupted() && e.errno != libc::EAGAIN {
            return Err(e);
        }
    }
}

/// Makes an open directory the working directory (`fchdir`).
pub fn enter(directory: impl AsFd) -> Result<(), OsError> {
    // SAFETY: an open descriptor.
    if unsafe { libc::fchdir(directory.as_fd().as_raw_fd()) } < 0 {
        Err(OsError::last("fchdir", ""))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;
    use std::os::unix::fs::symlink;

    // R30, C12
    #[test]
    fn r30_nothing_outside_of_a_directory_is_reached_from_it() {
        let place = std::env::temp_dir().join(format!("rwsgi-os-walk-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(place.join("base/in")).unwrap();
        std::fs::write(place.join("base/in/file"), "x").unwrap();
        std::fs::write(place.join("base2"), "x").unwrap();
        symlink("in", place.join("base/link")).unwrap();
        symlink("/proc/self/root/etc", place.join("base/magic")).unwrap();
        let mut base = root().unwrap();
        for name in place.join("base").components().skip(1) {
            base = component(&base, name.as_os_str().as_encoded_bytes()).unwrap();
        }
        let file = beneath(&base, b"in/file", Kind::File).unwrap();
        assert!(file::status(&file).unwrap().is_file());
        let errno = |path: &[u8], kind| beneath(&base, path, kind).unwrap_err().errno;
        assert_eq!(errno(b"../base2", Kind::File), libc::EXDEV);
        assert_eq!(errno(b"in/../../base2", Kind::File), libc::EXDEV);
        assert_eq!(errno(b"/etc/passwd", Kind::File), libc::EXDEV);
        // The kernel has two answers to the same refusal.
        assert!([libc::ELOOP, libc::ENOTDIR].contains(&errno(b"link", Kind::Directory)));
        assert_eq!(errno(b"link/file", Kind::File), libc::ELOOP);
        assert_eq!(errno(b"magic/passwd", Kind::File), libc::ELOOP);
        assert_eq!(errno(b"in/file", Kind::Directory), libc::ENOTDIR);
        assert_eq!(errno(b"in/gone", Kind::File), libc::ENOENT);
        let link = component(&base, b"link").unwrap();
        assert!(file::status(&link).unwrap().is_link());
        assert_eq!(target(&link).unwrap(), b"in");
        assert!(target(&base).is_err());
        std::fs::remove_dir_all(place).unwrap();
    }
}
