//! Unix sockets: listening, connecting, accepting, who is at the other end.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use crate::OsError;
use crate::error::{c_path, retry};
use crate::fd::own;

/// The two kinds rwsgi uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A byte stream.
    Stream,
    /// Whole packets, in order, with an end.
    SeqPacket,
}

impl Kind {
    fn number(self) -> libc::c_int {
        match self {
            Self::Stream => libc::SOCK_STREAM,
            Self::SeqPacket => libc::SOCK_SEQPACKET,
        }
    }
}

/// Whether calls on a descriptor wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They wait.
    Blocking,
    /// They answer EAGAIN instead.
    NonBlocking,
}

impl Mode {
    fn flag(self) -> libc::c_int {
        match self {
            Self::Blocking => 0,
            Self::NonBlocking => libc::SOCK_NONBLOCK,
        }
    }
}

/// Owner, group and mode of a socket file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Owner; `None` leaves it to be the process's own.
    pub uid: Option<u32>,
    /// Group; `None` leaves it.
    pub gid: Option<u32>,
}

/// Most bytes in a socket's path; the kernel's field has one more for the end.
pub const PATH_MAX: usize = 107;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// Process id.
    pub pid: i32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

fn new(kind: Kind, mode: Mode) -> Result<OwnedFd, OsError> {
    // SAFETY: three integers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, kind.number() | libc::SOCK_CLOEXEC | mode.flag(), 0) };
    if fd < 0 {
        Err(OsError::last("socket", ""))
    } else {
        Ok(own(fd))
    }
}

fn address(call: &'static str, path: &[u8]) -> Result<(libc::sockaddr_un, libc::socklen_t), OsError> {
    let text = || String::from_utf8_lossy(path).into_owned();
    if path.len() > PATH_MAX {
        return Err(OsError::new(call, text(), libc::ENAMETOOLONG));
    }
    if path.is_empty() || path.contains(&0) {
        return Err(OsError::new(call, text(), libc::EINVAL));
    }
    let mut address = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as libc::sa_family_t,
        sun_path: [0; PATH_MAX + 1],
    };
    for (to, from) in address.sun_path.iter_mut().zip(path) {
        *to = *from as libc::c_char;
    }
    let len = std::mem::size_of::<libc::sa_family_t>() + path.len() + 1;
    Ok((address, len as libc::socklen_t))
}

/// Binds a socket file and listens, close-on-exec and non-blocking (`socket`, `fchmod`, `bind`, `lchown`, `chmod`, `listen`). Until
/// its owner and mode are set nobody but the maker can connect. The file must not exist (EADDRINUSE) and its directory must
/// not be writable by others, since the later steps name the path.
pub fn listen(kind: Kind, path: &[u8], access: Access, backlog: u32) -> Result<OwnedFd, OsError> {
    let socket = new(kind, Mode::NonBlocking)?;
    let (address, len) = address("bind", path)?;
    let raw = socket.as_raw_fd();
    // SAFETY: two integers; a socket's mode becomes that of the file that bind makes.
    if unsafe { libc::fchmod(raw, 0o600) } < 0 {
        return Err(OsError::last_on("fchmod", path));
    }
    // SAFETY: the address lives through the call and `len` is within it.
    if unsafe { libc::bind(raw, (&raw const address).cast(), len) } < 0 {
        return Err(OsError::last_on("bind", path));
    }
    let c = c_path("bind", path)?;
    // The mode first: of what belongs to another only CAP_FOWNER could change it.
    // SAFETY: a C string and an integer.
    if unsafe { libc::chmod(c.as_ptr(), access.mode) } < 0 {
        return Err(OsError::last_on("chmod", path));
    }
    if access.uid.is_some() || access.gid.is_some() {
        // -1 leaves an id alone.
        let (uid, gid) = (access.uid.unwrap_or(u32::MAX), access.gid.unwrap_or(u32::MAX));
        // SAFETY: a C string and two integers.
        if unsafe { libc::lchown(c.as_ptr(), uid, gid) } < 0 {
            return Err(OsError::last_on("chown", path));
        }
    }
    let backlog = libc::c_int::try_from(backlog).unwrap_or(libc::c_int::MAX);
    // SAFETY: two integers.
    if unsafe { libc::listen(raw, backlog) } < 0 {
        return Err(OsError::last_on("listen", path));
    }
    Ok(socket)
}

/// Connects. Blocking: waits for room in the backlog. Non-blocking: a full backlog is EAGAIN (`is_would_block`), and the
/// descriptor stays non-blocking. ECONNREFUSED: nobody listens; ENOENT: no such file.
pub fn connect(kind: Kind, path: &[u8], mode: Mode) -> Result<OwnedFd, OsError> {
    let socket = new(kind, mode)?;
    connect_socket(&socket, path)?;
    Ok(socket)
}

/// Connects, waiting at most `limit` (not zero) for room in the backlog (EAGAIN after that); the descriptor is blocking and
/// its sends have no limit.
pub fn connect_within(kind: Kind, path: &[u8], limit: Duration) -> Result<OwnedFd, OsError> {
    let socket = new(kind, Mode::Blocking)?;
    set_send_timeout(&socket, Some(limit))?;
    connect_socket(&socket, path)?;
    set_send_timeout(&socket, None)?;
    Ok(socket)
}

fn connect_socket(socket: &OwnedFd, path: &[u8]) -> Result<(), OsError> {
    let (address, len) = address("connect", path)?;
    loop {
        // SAFETY: the address lives through the call and `len` is within it.
        if unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) } == 0 {
            return Ok(());
        }
        // An interrupted connect of a unix socket has not begun, so it is simply made again.
        let e = OsError::last_on("connect", path);
        if !e.is_interrupted() {
            return Err(e);
        }
    }
}

/// The next waiting connection, close-on-exec (`accept4`). EAGAIN when `listener` is non-blocking and none waits.
pub fn accept(listener: impl AsFd, mode: Mode) -> Result<OwnedFd, OsError> {
    let raw = listener.as_fd().as_raw_fd();
    // SAFETY: null for the address is allowed; the descriptor is open.
    retry("accept4", || unsafe {
        libc::accept4(
            raw,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            libc::SOCK_CLOEXEC | mode.flag(),
        )
    })
    .map(own)
}

/// Two connected sockets, close-on-exec (`socketpair`).
pub fn pair(kind: Kind, mode: Mode) -> Result<(OwnedFd, OwnedFd), OsError> {
    let mut ends = [0; 2];
    let kind = kind.number() | libc::SOCK_CLOEXEC | mode.flag();
    // SAFETY: the array has room for the two descriptors that socketpair writes.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } < 0 {
        return Err(OsError::last("socketpair", ""));
    }
    let [a, b] = ends;
    Ok((own(a), own(b)))
}

/// Who connected (for an accepted socket) or listens (for a connected one), as of then (`SO_PEERCRED`).
pub fn peer(socket: impl AsFd) -> Result<Credentials, OsError> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = std::mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the structure is writable for `len` bytes, which is its size.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    if done < 0 {
        return Err(OsError::last("getsockopt", "SO_PEERCRED"));
    }
    Ok(Credentials {
        pid: peer.pid,
        uid: peer.uid,
        gid: peer.gid,
    })
}

/// From now on every message received carries its sender's credentials (`SO_PASSCRED`). Set it before the first message is sent, or that
/// one has none.
pub fn pass_credentials(socket: impl AsFd) -> Result<(), OsError> {
    set(socket, libc::SO_PASSCRED, "SO_PASSCRED", &1 as &libc::c_int)
}

/// Most bytes that are sent and not yet received (`SO_SNDBUF`). The kernel doubles the number for its own needs, and cuts it to
/// `net.core.wmem_max`.
pub fn set_send_buffer(socket: impl AsFd, bytes: u32) -> Result<(), OsError> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SO_SNDBUF, "SO_SNDBUF", &bytes)
}

/// Most bytes that are sent and not yet received, as the kernel counts them ([`unread_by_peer`]).
pub fn send_buffer(socket: impl AsFd) -> Result<u32, OsError> {
    let mut bytes: libc::c_int = 0;
    let mut size = std::mem::size_of_val(&bytes) as libc::socklen_t;
    // SAFETY: the option writes one int, for which there is room.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            (&raw mut bytes).cast(),
            &raw mut size,
        )
    };
    if done < 0 {
        return Err(OsError::last("getsockopt", "SO_SNDBUF"));
    }
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// Longest time a send waits (EAGAIN after that); `None` is for ever. Microseconds count; zero is taken as one of them.
pub fn set_send_timeout(socket: impl AsFd, limit: Option<Duration>) -> Result<(), OsError> {
    set(socket, libc::SO_SNDTIMEO, "SO_SNDTIMEO", &timeval(limit))
}

/// Longest time a receive waits (EAGAIN after that); `None` is for ever. Microseconds count; zero is taken as one of them.
pub fn set_receive_timeout(socket: impl AsFd, limit: Option<Duration>) -> Result<(), OsError> {
    set(socket, libc::SO_RCVTIMEO, "SO_RCVTIMEO", &timeval(limit))
}

fn timeval(limit: Option<Duration>) -> libc::timeval {
    let limit = limit.map_or(Duration::ZERO, |d| d.max(Duration::from_micros(1)));
    libc::timeval {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: limit.subsec_micros().into(),
    }
}

fn set<T>(socket: impl AsFd, option: libc::c_int, name: &'static str, value: &T) -> Result<(), OsError> {
    // SAFETY: the value is readable for its size, which is what the option expects (each caller passes the type of its option).
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            std::mem::size_of::<T>() as libc::socklen_t,
        )
    };
    if done < 0 {
        Err(OsError::last("setsockopt", name))
    } else {
        Ok(())
    }
}

/// How many bytes that were sent over a unix socket still wait for the peer to read them (`SIOCOUTQ`), the kernel's bookkeeping included:
/// 0 means that it has read all. A peer that has closed has dropped what it had not read: that is no longer counted.
pub fn unread_by_peer(socket: impl AsFd) -> Result<u32, OsError> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int to the place given.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done < 0 {
        return Err(OsError::last("ioctl", "SIOCOUTQ"));
    }
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// Which direction [`shutdown`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// No more bytes will be read.
    Read,
    /// The peer sees the end after what was sent.
    Write,
    /// Both.
    Both,
}

/// Ends one or both directions for all holders of the socket (`shutdown`). On a listening socket, `Read` wakes every waiting
/// accept.
pub fn shutdown(socket: impl AsFd, side: Side) -> Result<(), OsError> {
    let how = match side {
        Side::Read => libc::SHUT_RD,
        Side::Write => libc::SHUT_WR,
        Side::Both => libc::SHUT_RDWR,
    };
    // SAFETY: two integers.
    let done = unsafe { libc::shutdown(socket.as_fd().as_raw_fd(), how) };
    if done < 0 {
        Err(OsError::last("shutdown", ""))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{file, message};

    fn directory() -> Vec<u8> {
        let name = format!(
            "rwsgi-os-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let dir = std::env::temp_dir().join(name.replace(['(', ')'], ""));
        std::fs::create_dir_all(&dir).unwrap();
        dir.into_os_string().into_encoded_bytes()
    }

    const PRIVATE: Access = Access {
        mode: 0o600,
        uid: None,
        gid: None,
    };

    #[test]
    fn a_full_backlog_would_block_and_a_bounded_connect_gives_up() {
        let dir = directory();
        let path = [&dir[..], b"/full"].concat();
        let listener = listen(Kind::Stream, &path, PRIVATE, 0).unwrap();
        let mut held = Vec::new();
        let full = loop {
            match connect(Kind::Stream, &path, Mode::NonBlocking) {
                Ok(fd) => held.push(fd),
                Err(e) => break e,
            }
        };
        assert!(full.is_would_block(), "{full}");
        let late = connect_within(Kind::Stream, &path, Duration::from_millis(5)).unwrap_err();
        assert!(late.is_would_block(), "{late}");
        drop(listener);
        std::fs::remove_dir_all(String::from_utf8(dir).unwrap()).unwrap();
    }

    #[test]
    fn the_peer_of_a_connection_is_known_and_the_mode_is_as_asked() {
        let dir = directory();
        let path = [&dir[..], b"/peer"].concat();
        let listener = listen(
            Kind::SeqPacket,
            &path,
            Access {
                mode: 0o660,
                ..PRIVATE
            },
            5,
        )
        .unwrap();
        assert_eq!(file::status_of(&path).unwrap().mode & 0o777, 0o660);
        assert!(accept(&listener, Mode::Blocking).unwrap_err().is_would_block());
        let client = connect(Kind::SeqPacket, &path, Mode::Blocking).unwrap();
        let server = accept(&listener, Mode::Blocking).unwrap();
        assert_eq!(peer(&server).unwrap().pid, std::process::id() as i32);
        assert_eq!(peer(&client).unwrap().uid, crate::ids::user_ids().effective);
        std::fs::remove_dir_all(String::from_utf8(dir).unwrap()).unwrap();
    }

    #[test]
    fn what_the_peer_has_not_read_is_known_and_a_close_over_it_is_a_reset() {
        let (a, b) = pair(Kind::Stream, Mode::Blocking).unwrap();
        assert_eq!(unread_by_peer(&a).unwrap(), 0);
        message::send_all(&a, b"one").unwrap();
        assert!(unread_by_peer(&a).unwrap() > 0);
        message::receive(&b, &mut [0; 2]).unwrap();
        assert!(unread_by_peer(&a).unwrap() > 0, "in part is not all");
        message::receive(&b, &mut [0; 2]).unwrap();
        assert_eq!(unread_by_peer(&a).unwrap(), 0);
        message::send_all(&a, b"two").unwrap();
        drop(b);
        let reset = message::try_receive(&a, &mut [0]).unwrap_err();
        assert_eq!(reset.errno, libc::ECONNRESET);
        let (a, b) = pair(Kind::Stream, Mode::Blocking).unwrap();
        message::send_all(&a, b"three").unwrap();
        message::receive(&b, &mut [0; 8]).unwrap();
        drop(b);
        assert_eq!(message::try_receive(&a, &mut [0]).unwrap(), 0);
    }

    #[test]
    fn reading_can_be_ended_without_losing_what_has_arrived_or_the_way_back() {
        let (a, b) = pair(Kind::Stream, Mode::Blocking).unwrap();
        message::send_all(&a, b"late").unwrap();
        shutdown(&b, Side::Read).unwrap();
        assert!(message::send_all(&a, b"too late").is_err());
        assert_eq!(message::receive(&b, &mut [0; 8]).unwrap(), 4);
        assert_eq!(message::receive(&b, &mut [0; 8]).unwrap(), 0);
        message::send_all(&b, b"no").unwrap();
        assert_eq!(message::receive(&a, &mut [0; 8]).unwrap(), 2);
    }

    #[test]
    fn a_receive_waits_no_longer_than_its_timeout() {
        let (a, _b) = pair(Kind::Stream, Mode::Blocking).unwrap();
        set_receive_timeout(&a, Some(Duration::from_millis(5))).unwrap();
        assert!(message::receive(&a, &mut [0]).unwrap_err().is_would_block());
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_before_any_call() {
        let e = connect(Kind::Stream, &[b'x'; 108], Mode::Blocking).unwrap_err();
        assert_eq!(e.errno, libc::ENAMETOOLONG);
    }
}
