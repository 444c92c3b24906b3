//! Files and directories: opening without following links, what they are, removing them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::OsError;
use crate::error::c_path;
use crate::fd::own;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Device and inode: which file it is.
    pub identity: (u64, u64),
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Modification time in microseconds since 1970.
    pub modified: i64,
}

impl Status {
    /// A directory.
    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }
    /// A symbolic link.
    pub fn is_link(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }
    /// A socket.
    pub fn is_socket(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFSOCK
    }

    /// A directory in which others than root and this user can exchange what is there.
    pub fn is_open_to_others(&self, user: u32) -> bool {
        let is_sticky = self.mode & 0o1000 != 0;
        (self.mode & 0o022 != 0 && !is_sticky) || (self.uid != 0 && self.uid != user)
    }

    fn from(s: &libc::stat) -> Self {
        Self {
            identity: (s.st_dev, s.st_ino),
            mode: s.st_mode,
            uid: s.st_uid,
            gid: s.st_gid,
            size: u64::try_from(s.st_size).unwrap_or(0),
            modified: s.st_mtime * 1_000_000 + s.st_mtime_nsec / 1000,
        }
    }
}

/// Whether the last component of a path may be a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// It is followed.
    Follow,
    /// It is refused (ELOOP, or ENOTDIR where a directory is opened).
    Refuse,
}

/// Opens `/dev/null` for reading and writing.
pub fn null() -> Result<OwnedFd, OsError> {
    open_at(None, b"/dev/null", libc::O_RDWR, Links::Follow)
}

/// Opens a file for reading, close-on-exec; a FIFO or device cannot block it (`openat` with O_NONBLOCK).
pub fn open(path: &[u8], links: Links) -> Result<OwnedFd, OsError> {
    open_at(
        None,
        path,
        libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY,
        links,
    )
}

/// Opens a file that exists for writing, close-on-exec.
pub fn open_to_write(path: &[u8]) -> Result<OwnedFd, OsError> {
    open_at(None, path, libc::O_WRONLY | libc::O_NOCTTY, Links::Follow)
}

/// Opens a regular file for appending, close-on-exec; makes it with this mode, less the umask, if it is not there. A link at the end of
/// the path is not followed (ELOOP). EINVAL: it is something other than a regular file.
pub fn open_to_append(path: &[u8], mode: u32) -> Result<OwnedFd, OsError> {
    let c = c_path("open", path)?;
    let flags = libc::O_WRONLY
        | libc::O_APPEND
        | libc::O_CREAT
        | libc::O_NOFOLLOW
        | libc::O_NONBLOCK
        | libc::O_NOCTTY
        | libc::O_CLOEXEC;
    // SAFETY: a C string, and the mode that O_CREAT wants.
    let fd = unsafe { libc::open(c.as_ptr(), flags, mode) };
    if fd < 0 {
        return Err(OsError::last_on("open", path));
    }
    let file = own(fd);
    if !status(&file)?.is_file() {
        let path = String::from_utf8_lossy(path).into_owned();
        return Err(OsError::new("open", path, libc::EINVAL));
    }
    Ok(file)
}

/// The names in a directory, without `.` and `..`, in no order.
pub fn names_in(path: &[u8]) -> Result<Vec<Vec<u8>>, OsError> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let failed = |e: std::io::Error| {
        let errno = e.raw_os_error().unwrap_or(libc::EIO);
        OsError::new("readdir", String::from_utf8_lossy(path).into_owned(), errno)
    };
    let entries = std::fs::read_dir(std::ffi::OsStr::from_bytes(path)).map_err(failed)?;
    entries
        .map(|entry| Ok(entry.map_err(failed)?.file_name().into_vec()))
        .collect()
}

/// A new file in a directory, for reading and writing, that has no name and gets none (`openat` with O_TMPFILE). EOPNOTSUPP or EISDIR: the file
/// system has no such files.
pub fn unnamed(directory: &[u8]) -> Result<OwnedFd, OsError> {
    let c = c_path("open", directory)?;
    let flags = libc::O_TMPFILE | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC;
    // SAFETY: a C string and integers; the mode is there because the file is new.
    let fd = unsafe { libc::open(c.as_ptr(), flags, 0o600 as libc::c_uint) };
    if fd < 0 {
        Err(OsError::last_on("open", directory))
    } else {
        Ok(own(fd))
    }
}

/// Opens a directory for reading (`openat` with O_DIRECTORY). ENOTDIR: it is something else.
pub fn open_directory(path: &[u8], links: Links) -> Result<OwnedFd, OsError> {
    open_at(None, path, libc::O_RDONLY | libc::O_DIRECTORY, links)
}

fn open_at(
    directory: Option<BorrowedFd<'_>>,
    path: &[u8],
    flags: libc::c_int,
    links: Links,
) -> Result<OwnedFd, OsError> {
    let c = c_path("open", path)?;
    let directory = directory.map_or(libc::AT_FDCWD, |d| d.as_raw_fd());
    let links = if links == Links::Refuse {
        libc::O_NOFOLLOW
    } else {
        0
    };
    loop {
        // SAFETY: an open directory or AT_FDCWD, a C string, flags without O_CREAT.
        let fd = unsafe { libc::openat(directory, c.as_ptr(), flags | links | libc::O_CLOEXEC) };
        if fd >= 0 {
            return Ok(own(fd));
        }
        let e = OsError::last_on("open", path);
        if !e.is_interrupted() {
            return Err(e);
        }
    }
}

/// What an open file is (`fstat`).
pub fn status(fd: impl AsFd) -> Result<Status, OsError> {
    // SAFETY: all zeroes is a valid stat.
    let mut s: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is writable; the descriptor is open.
    let done = unsafe { libc::fstat(fd.as_fd().as_raw_fd(), &raw mut s) };
    if done < 0 {
        Err(OsError::last("fstat", ""))
    } else {
        Ok(Status::from(&s))
    }
}

/// On which file system an open file is, as far as the kernel knows by itself: no server of one is asked, which might not answer (`statx`).
pub fn device_of(fd: impl AsFd) -> Result<(u32, u32), OsError> {
    // SAFETY: all zeroes is a valid statx.
    let mut s: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: an empty C string, an open descriptor, and a structure that is writable.
    let done = unsafe { libc::statx(fd.as_fd().as_raw_fd(), c"".as_ptr(), flags, 0, &raw mut s) };
    if done < 0 {
        Err(OsError::last("statx", ""))
    } else {
        Ok((s.stx_dev_major, s.stx_dev_minor))
    }
}

/// Whether an open file is a regular one that can be read, and whose reads wait for nothing but a disk or a server that the
/// administrator mounted: not write-only, not O_PATH, not in a FUSE file system, behind which any user's process may stand.
pub fn is_plain(fd: impl AsFd) -> Result<bool, OsError> {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: F_GETFL takes no argument; the descriptor is open.
    let flags = unsafe { libc::fcntl(raw, libc::F_GETFL) };
    if flags < 0 {
        return Err(OsError::last("fcntl", ""));
    }
    if flags & libc::O_PATH != 0 || flags & libc::O_ACCMODE == libc::O_WRONLY {
        return Ok(false);
    }
    // SAFETY: all zeroes is a valid statfs.
    let mut system: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is writable; the descriptor is open. FUSE answers other users, and O_PATH was refused, by itself.
    if unsafe { libc::fstatfs(raw, &raw mut system) } < 0 {
        return Err(OsError::last("fstatfs", ""));
    }
    // Before fstat, which would ask the process behind a FUSE file system.
    if system.f_type == libc::FUSE_SUPER_MAGIC {
        return Ok(false);
    }
    status(fd).map(|status| status.is_file())
}

/// Opens an open file once more, for reading, with a position of its own (by `/proc/self/fd`). Fails where /proc is not there, or the
/// file may not be opened any more.
pub fn reopen(fd: impl AsFd) -> Result<OwnedFd, OsError> {
    let fd = fd.as_fd();
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let again = open_at(None, path.as_bytes(), flags, Links::Follow)?;
    if status(&again)?.identity == status(fd)?.identity {
        Ok(again)
    } else {
        Err(OsError::new("open", path, libc::ESTALE))
    }
}

/// What a path leads to, following links (`stat`). For messages and tests; what is to be used must be opened and asked by
/// [`status`].
pub fn status_of(path: &[u8]) -> Result<Status, OsError> {
    status_with(path, 0, "stat")
}

/// What a path is, a link itself included (`lstat`).
pub fn status_of_link(path: &[u8]) -> Result<Status, OsError> {
    status_with(path, libc::AT_SYMLINK_NOFOLLOW, "lstat")
}

fn status_with(path: &[u8], flags: libc::c_int, call: &'static str) -> Result<Status, OsError> {
    let c = c_path(call, path)?;
    // SAFETY: all zeroes is a valid stat.
    let mut s: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a C string and a writable structure.
    let done = unsafe { libc::fstatat(libc::AT_FDCWD, c.as_ptr(), &raw mut s, flags) };
    if done < 0 {
        Err(OsError::last_on(call, path))
    } else {
        Ok(Status::from(&s))
    }
}

/// An extended attribute of a file (`getxattr`), up to 64 bytes; `None` where there is none, or none that may be read.
pub fn attribute(path: &[u8], name: &std::ffi::CStr) -> Option<Vec<u8>> {
    let c = c_path("getxattr", path).ok()?;
    let mut value = vec![0u8; 64];
    // SAFETY: two C strings, and a buffer writable for its length.
    let n = unsafe { libc::getxattr(c.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(n).ok()?);
    Some(value)
}

/// Where a symbolic link points, or `None` if the path is something else (`readlinkat`).
pub fn read_link(path: &[u8]) -> Result<Option<Vec<u8>>, OsError> {
    let c = c_path("readlink", path)?;
    let mut target = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: a C string, and a buffer writable for its length.
    let n = unsafe {
        libc::readlinkat(
            libc::AT_FDCWD,
            c.as_ptr(),
            target.as_mut_ptr().cast(),
            target.len(),
        )
    };
    match usize::try_from(n) {
        Ok(n) => {
            target.truncate(n);
            Ok(Some(target))
        }
        Err(_) => match OsError::last_on("readlink", path) {
            e if e.errno == libc::EINVAL => Ok(None),
            e => Err(e),
        },
    }
}

/// What a right is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Reading.
    Read,
    /// Executing a file, passing through a directory.
    Execute,
}

/// Whether this process, by its effective ids, has a right on a path (`faccessat` with AT_EACCESS). EACCES: it has not.
pub fn check(path: &[u8], right: Right) -> Result<(), OsError> {
    let c = c_path("access", path)?;
    let mode = match right {
        Right::Read => libc::R_OK,
        Right::Execute => libc::X_OK,
    };
    // SAFETY: a C string and integers.
    let done = unsafe { libc::faccessat(libc::AT_FDCWD, c.as_ptr(), mode, libc::AT_EACCESS) };
    if done < 0 {
        Err(OsError::last_on("access", path))
    } else {
        Ok(())
    }
}

/// Makes a directory (`mkdir`). EEXIST: something has the name.
pub fn make_directory(path: &[u8], mode: u32) -> Result<(), OsError> {
    let c = c_path("mkdir", path)?;
    // SAFETY: a C string and an integer.
    let done = unsafe { libc::mkdir(c.as_ptr(), mode) };
    if done < 0 {
        Err(OsError::last_on("mkdir", path))
    } else {
        Ok(())
    }
}

/// Owner, group (-1 by `None` leaves one) and mode of an open file (`fchown`, `fchmod`).
pub fn set_access(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>, mode: u32) -> Result<(), OsError> {
    let raw = fd.as_fd().as_raw_fd();
    if uid.is_some() || gid.is_some() {
        // SAFETY: integers only.
        if unsafe { libc::fchown(raw, uid.unwrap_or(u32::MAX), gid.unwrap_or(u32::MAX)) } < 0 {
            return Err(OsError::last("fchown", ""));
        }
    }
    // SAFETY: integers only.
    let done = unsafe { libc::fchmod(raw, mode) };
    if done < 0 {
        Err(OsError::last("fchmod", ""))
    } else {
        Ok(())
    }
}

/// Removes a name that is not a directory from a directory (`unlinkat`).
pub fn remove_in(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), OsError> {
    remove_with(directory.as_raw_fd(), name, 0)
}

/// Removes a name that is not a directory (`unlink`).
pub fn remove(path: &[u8]) -> Result<(), OsError> {
    remove_with(libc::AT_FDCWD, path, 0)
}

/// Removes an empty directory (`rmdir`).
pub fn remove_directory(path: &[u8]) -> Result<(), OsError> {
    remove_with(libc::AT_FDCWD, path, libc::AT_REMOVEDIR)
}

fn remove_with(directory: libc::c_int, name: &[u8], flags: libc::c_int) -> Result<(), OsError> {
    let c = c_path("unlink", name)?;
    // SAFETY: an open directory or AT_FDCWD, a C string and an integer.
    let done = unsafe { libc::unlinkat(directory, c.as_ptr(), flags) };
    if done < 0 {
        Err(OsError::last_on("unlink", name))
    } else {
        Ok(())
    }
}

/// Takes the lock that processes hold while they write what belongs together to a file; `false`: another has it. It is this process's,
/// not the thread's, and nobody is obliged to ask for it. Errors: EINVAL and EBADF where there is nothing to lock (a pipe).
pub fn try_lock(fd: impl AsFd) -> Result<bool, OsError> {
    try_lock_byte(fd.as_fd(), NO_BYTE)
}

/// Gives it back.
pub fn unlock(fd: impl AsFd) -> Result<(), OsError> {
    lock(fd.as_fd(), libc::F_SETLK, libc::F_UNLCK, NO_BYTE).map(drop)
}

/// A byte that no file has, so that it is nobody else's.
const NO_BYTE: libc::off_t = libc::off_t::MAX - 1;

/// As [`try_lock`], of one byte.
pub(crate) fn try_lock_byte(fd: BorrowedFd<'_>, at: libc::off_t) -> Result<bool, OsError> {
    match lock(fd, libc::F_SETLK, libc::F_WRLCK, at) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.errno, libc::EAGAIN | libc::EACCES) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes the lock of an open file or directory as a whole, which lasts as long as any descriptor of that opening does; `false`: another opening
/// has it (`flock`).
pub fn try_lock_whole(fd: impl AsFd) -> Result<bool, OsError> {
    // SAFETY: integers only; the descriptor is open while it is borrowed.
    let done = unsafe { libc::flock(fd.as_fd().as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if done == 0 {
        return Ok(true);
    }
    match OsError::last("flock", "") {
        e if e.is_would_block() => Ok(false),
        e => Err(e),
    }
}

/// Whether another process has the lock of that byte.
pub(crate) fn is_byte_locked(fd: BorrowedFd<'_>, at: libc::off_t) -> Result<bool, OsError> {
    let found = lock(fd, libc::F_GETLK, libc::F_WRLCK, at)?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

fn lock(fd: BorrowedFd<'_>, command: i32, kind: i32, at: libc::off_t) -> Result<libc::flock, OsError> {
    // SAFETY: all fields are numbers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = at;
    lock.l_len = 1;
    // SAFETY: the descriptor is open while it is borrowed; the kernel reads the struct, and for F_GETLK writes it.
    let done = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut lock) };
    if done < 0 {
        Err(OsError::last("fcntl(F_SETLK)", ""))
    } else {
        Ok(lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_that_can_be_read_are_plain() {
        let plain = crate::fd::memory_file("plain").unwrap();
        assert!(is_plain(&plain).unwrap());
        assert!(!is_plain(null().unwrap()).unwrap());
        assert!(!is_plain(crate::fd::pipe().unwrap().0).unwrap());
        assert!(!is_plain(open_directory(b"/", Links::Follow).unwrap()).unwrap());
        let path_only = open_at(None, b"/etc/passwd", libc::O_PATH, Links::Follow).unwrap();
        assert!(!is_plain(path_only).unwrap());
        let write_only = open_at(
            None,
            format!("/proc/self/fd/{}", plain.as_raw_fd()).as_bytes(),
            libc::O_WRONLY,
            Links::Follow,
        );
        assert!(!is_plain(write_only.unwrap()).unwrap());
    }

    #[test]
    fn a_file_opened_again_has_a_position_of_its_own() {
        let file = crate::fd::memory_file("again").unwrap();
        crate::fd::write_all(&file, b"abc").unwrap();
        let again = reopen(&file).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(crate::fd::read(&again, &mut buffer).unwrap(), 3);
        assert_eq!(crate::fd::read(&file, &mut buffer).unwrap(), 0);
    }

    #[test]
    fn a_link_is_refused_when_links_are() {
        let dir = std::env::temp_dir().join(format!("rwsgi-os-file-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.join("link")).unwrap();
        let path = dir.join("link").into_os_string().into_encoded_bytes();
        assert_eq!(open(&path, Links::Refuse).unwrap_err().errno, libc::ELOOP);
        assert!(status(open(&path, Links::Follow).unwrap()).unwrap().is_file());
        assert!(!status_of_link(&path).unwrap().is_file());
        let parent = open_directory(dir.to_str().unwrap().as_bytes(), Links::Refuse).unwrap();
        remove_in(parent.as_fd(), b"link").unwrap();
        remove_directory(dir.to_str().unwrap().as_bytes()).unwrap();
    }
}
