//! Bytes over sockets, alone or with descriptors and credentials. No send ever raises SIGPIPE.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::OsError;
use crate::error::retry_size;
use crate::fd::own;
use crate::socket::Credentials;

/// Most descriptors in one message.
pub const DESCRIPTORS_MAX: usize = 250;

/// Receives up to `buffer.len()` bytes (`recv`); 0 is the end. Waits unless the descriptor is non-blocking (EAGAIN then).
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<usize, OsError> {
    receive_flagged(socket, buffer, 0)
}

/// As [`receive`], but never waits: EAGAIN when nothing is there.
pub fn try_receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<usize, OsError> {
    receive_flagged(socket, buffer, libc::MSG_DONTWAIT)
}

/// As [`try_receive`], but what is read stays there to be read again.
pub fn try_peek(socket: impl AsFd, buffer: &mut [u8]) -> Result<usize, OsError> {
    receive_flagged(socket, buffer, libc::MSG_DONTWAIT | libc::MSG_PEEK)
}

fn receive_flagged(socket: impl AsFd, buffer: &mut [u8], flags: libc::c_int) -> Result<usize, OsError> {
    let raw = socket.as_fd().as_raw_fd();
    // SAFETY: the buffer is writable for its length; the descriptor is open.
    retry_size("recv", || unsafe {
        libc::recv(raw, buffer.as_mut_ptr().cast(), buffer.len(), flags)
    })
}

/// Sends some of `bytes` (`send`); answers how many. Waits unless the descriptor is non-blocking. EPIPE: the peer has closed.
pub fn send(socket: impl AsFd, bytes: &[u8]) -> Result<usize, OsError> {
    send_with(socket, bytes, 0)
}

/// As [`send`], but never waits: EAGAIN when there is no room.
pub fn try_send(socket: impl AsFd, bytes: &[u8]) -> Result<usize, OsError> {
    send_with(socket, bytes, libc::MSG_DONTWAIT)
}

fn send_with(socket: impl AsFd, bytes: &[u8], flags: libc::c_int) -> Result<usize, OsError> {
    let raw = socket.as_fd().as_raw_fd();
    // SAFETY: the bytes are readable for their length; the descriptor is open.
    retry_size("send", || unsafe {
        libc::send(
            raw,
            bytes.as_ptr().cast(),
            bytes.len(),
            flags | libc::MSG_NOSIGNAL,
        )
    })
}

/// Sends all of `bytes` over a blocking stream. EAGAIN: its send timeout passed.
pub fn send_all(socket: impl AsFd, mut bytes: &[u8]) -> Result<(), OsError> {
    while !bytes.is_empty() {
        let n = send(socket.as_fd(), bytes)?;
        bytes = bytes.get(n..).unwrap_or_default();
    }
    Ok(())
}

/// Sends several pieces in one call (`sendmsg`); answers how many bytes went. At most 1024 pieces are looked at.
pub fn send_vectored(socket: impl AsFd, pieces: &[IoSlice<'_>]) -> Result<usize, OsError> {
    send_pieces(socket, pieces, 0)
}

fn send_pieces(socket: impl AsFd, pieces: &[IoSlice<'_>], flags: libc::c_int) -> Result<usize, OsError> {
    let pieces = pieces.get(..1024).unwrap_or(pieces);
    let mut header = empty_header();
    // IoSlice has the layout of iovec, by its documentation; sendmsg does not write through it.
    header.msg_iov = pieces.as_ptr().cast_mut().cast();
    header.msg_iovlen = pieces.len() as _;
    let raw = socket.as_fd().as_raw_fd();
    // SAFETY: the header names `pieces`, which are readable and outlive the call.
    retry_size("sendmsg", || unsafe {
        libc::sendmsg(raw, &raw const header, flags | libc::MSG_NOSIGNAL)
    })
}

/// Sends one packet with descriptors (`sendmsg` with SCM_RIGHTS); the peer gets descriptors of its own. Waits unless the
/// descriptor is non-blocking.
pub fn send_descriptors(socket: impl AsFd, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), OsError> {
    if fds.is_empty() {
        return send(socket, packet).map(drop);
    }
    if fds.len() > DESCRIPTORS_MAX {
        return Err(OsError::new("sendmsg", "descriptors", libc::EMSGSIZE));
    }
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let payload = std::mem::size_of_val(&numbers[..]);
    let mut control = Control::new(space(payload));
    let mut piece = libc::iovec {
        iov_base: packet.as_ptr().cast_mut().cast(),
        iov_len: packet.len(),
    };
    let mut header = empty_header();
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = space(payload) as _;
    // SAFETY: the header names a control buffer of msg_controllen bytes.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    let filled = libc::cmsghdr {
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
        cmsg_len: length(payload) as _,
    };
    // SAFETY: `first` points into the control buffer, which has room for a header and is aligned for it.
    unsafe { first.write(filled) };
    // SAFETY: `first` points to the header just written.
    let data = unsafe { libc::CMSG_DATA(first) };
    // SAFETY: the buffer has room for `payload` bytes of data after the header, and does not overlap `numbers`.
    unsafe { std::ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), data, payload) };
    let raw = socket.as_fd().as_raw_fd();
    // SAFETY: the header names the packet and the control buffer, both alive through the call.
    retry_size("sendmsg", || unsafe {
        libc::sendmsg(raw, &raw const header, libc::MSG_NOSIGNAL)
    })
    .map(drop)
}

/// As [`send_vectored`], with one descriptor that arrives with the first byte; the peer gets a descriptor of its own.
pub fn send_vectored_with(
    socket: impl AsFd,
    pieces: &[IoSlice<'_>],
    passed: BorrowedFd<'_>,
) -> Result<usize, OsError> {
    let mut control = OneDescriptor::new(passed.as_raw_fd());
    let mut header = empty_header();
    // IoSlice has the layout of iovec, by its documentation; sendmsg does not write through it.
    header.msg_iov = pieces.as_ptr().cast_mut().cast();
    header.msg_iovlen = pieces.len() as _;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = length(std::mem::size_of::<RawFd>()) as _;
    let raw = socket.as_fd().as_raw_fd();
    // SAFETY: the header names `pieces` and the control message, all alive through the call.
    retry_size("sendmsg", || unsafe {
        libc::sendmsg(raw, &raw const header, libc::MSG_NOSIGNAL)
    })
}

/// What one receive from a stream gave.
#[derive(Debug)]
pub struct Part {
    /// How many bytes; 0 is the end.
    pub len: usize,
    /// A descriptor that came with them, close-on-exec.
    pub passed: Option<OwnedFd>,
    /// More descriptors came than one; the kernel has closed those.
    pub surplus: bool,
}

/// As [`try_receive`], for a stream whose peer may pass descriptors, one at a time. Whatever the peer does, at most one descriptor is
/// taken in by each call.
pub fn try_receive_with(socket: impl AsFd, buffer: &mut [u8]) -> Result<Part, OsError> {
    let mut control = OneDescriptor::new(-1);
    let mut piece = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut header = empty_header();
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    let raw = socket.as_fd().as_raw_fd();
    let len = retry_size("recvmsg", || {
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = length(std::mem::size_of::<RawFd>()) as _;
        // SAFETY: the header names the buffer and the control message, both writable for the lengths given.
        unsafe { libc::recvmsg(raw, &raw mut header, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC) }
    })?;
    let came = header.msg_controllen >= length(std::mem::size_of::<RawFd>()) as _
        && control.head.cmsg_level == libc::SOL_SOCKET
        && control.head.cmsg_type == libc::SCM_RIGHTS;
    Ok(Part {
        len,
        passed: came.then(|| own(control.number)),
        surplus: header.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// A control message of one descriptor: the data follow the header at once, for a header's size is a multiple of its alignment.
#[repr(C)]
struct OneDescriptor {
    head: libc::cmsghdr,
    number: RawFd,
}

impl OneDescriptor {
    fn new(number: RawFd) -> Self {
        let head = libc::cmsghdr {
            cmsg_len: length(std::mem::size_of::<RawFd>()) as _,
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        };
        Self { head, number }
    }
}

/// A received packet.
#[derive(Debug)]
pub struct Received {
    /// How many bytes are in the buffer; 0 is the end of the connection.
    pub len: usize,
    /// Descriptors that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// The sender, if [`pass_credentials`](crate::socket::pass_credentials) is on.
    pub sender: Option<Credentials>,
    /// The packet was longer than the buffer, or more descriptors came than there was room for: it must not be used.
    pub truncated: bool,
}

/// Receives one packet with what travels along (`recvmsg`), never waiting if the descriptor is non-blocking.
///
/// A peer that closes with packets unread leaves ECONNRESET *before* its own last packets in a SEQPACKET socket; here it is passed over, so
/// that its last words are heard.
pub fn receive_packet(socket: impl AsFd, buffer: &mut [u8]) -> Result<Received, OsError> {
    let room =
        space(DESCRIPTORS_MAX * std::mem::size_of::<RawFd>()) + space(std::mem::size_of::<libc::ucred>());
    let mut control = Control::new(room);
    let mut piece = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut header = empty_header();
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    let raw = socket.as_fd().as_raw_fd();
    let mut receive = || {
        retry_size("recvmsg", || {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = room as _;
            // SAFETY: the header names the buffer and the control buffer, both writable for the lengths given.
            unsafe { libc::recvmsg(raw, &raw mut header, libc::MSG_CMSG_CLOEXEC) }
        })
    };
    let len = match receive() {
        // The peer closed without having read all that it was sent. What it had said before is still there.
        Err(e) if e.errno == libc::ECONNRESET => receive()?,
        other => other?,
    };
    let mut received = Received {
        len,
        fds: Vec::new(),
        sender: None,
        truncated: header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
    };
    // SAFETY: recvmsg has set msg_control and msg_controllen to what it wrote.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !at.is_null() {
        // SAFETY: a non-null pointer of the CMSG walk points to a whole header in the control buffer.
        let head = unsafe { at.read() };
        // SAFETY: as above; the data follow the header.
        let data: *const u8 = unsafe { libc::CMSG_DATA(at) };
        let payload = (head.cmsg_len as usize).saturating_sub(length(0));
        take_control(&head, data, payload, &mut received);
        // SAFETY: `at` is a header of this message.
        at = unsafe { libc::CMSG_NXTHDR(&raw const header, at) };
    }
    Ok(received)
}

fn take_control(head: &libc::cmsghdr, data: *const u8, payload: usize, received: &mut Received) {
    match (head.cmsg_level, head.cmsg_type) {
        (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
            for i in 0..payload / std::mem::size_of::<RawFd>() {
                // SAFETY: `i` is within the payload, which the kernel filled with descriptors.
                let place = unsafe { data.cast::<RawFd>().add(i) };
                // SAFETY: the place is inside the control buffer; unaligned reads are allowed for.
                let number = unsafe { place.read_unaligned() };
                received.fds.push(own(number));
            }
        }
        (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if payload >= std::mem::size_of::<libc::ucred>() => {
            // SAFETY: the kernel filled the payload with a ucred; unaligned reads are allowed for.
            let sender = unsafe { data.cast::<libc::ucred>().read_unaligned() };
            received.sender = Some(Credentials {
                pid: sender.pid,
                uid: sender.uid,
                gid: sender.gid,
            });
        }
        _ => {}
    }
}

/// A control buffer, aligned for its headers.
struct Control(Vec<libc::cmsghdr>);

impl Control {
    fn new(bytes: usize) -> Self {
        let zero = libc::cmsghdr {
            cmsg_len: 0,
            cmsg_level: 0,
            cmsg_type: 0,
        };
        Self(vec![zero; bytes.div_ceil(std::mem::size_of::<libc::cmsghdr>())])
    }
}

fn empty_header() -> libc::msghdr {
    // SAFETY: all zeroes is a valid msghdr: null pointers and lengths of zero.
    unsafe { std::mem::zeroed() }
}

fn space(payload: usize) -> usize {
    // SAFETY: arithmetic only.
    unsafe { libc::CMSG_SPACE(payload as libc::c_uint) as usize }
}

fn length(payload: usize) -> usize {
    // SAFETY: arithmetic only.
    unsafe { libc::CMSG_LEN(payload as libc::c_uint) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd;
    use crate::socket::{Kind, Mode, pair, pass_credentials};

    #[test]
    fn descriptors_and_credentials_travel_with_a_packet() {
        let (a, b) = pair(Kind::SeqPacket, Mode::Blocking).unwrap();
        pass_credentials(&b).unwrap();
        let (read_end, write_end) = fd::pipe().unwrap();
        send_descriptors(&a, b"take", &[write_end.as_fd(), read_end.as_fd()]).unwrap();
        drop(write_end);
        let mut buffer = [0; 16];
        let got = receive_packet(&b, &mut buffer).unwrap();
        assert_eq!(
            (&buffer[..got.len], got.fds.len(), got.truncated),
            (&b"take"[..], 2, false)
        );
        assert_eq!(got.sender.unwrap().pid, std::process::id() as i32);
        fd::write_all(&got.fds[0], b"x").unwrap();
        assert_eq!(fd::read(&read_end, &mut buffer).unwrap(), 1);
    }

    #[test]
    fn a_stream_takes_in_one_descriptor_at_a_time_and_says_when_there_were_more() {
        let (a, b) = pair(Kind::Stream, Mode::Blocking).unwrap();
        let (read_end, write_end) = fd::pipe().unwrap();
        assert_eq!(
            send_vectored_with(&a, &[IoSlice::new(b"ta"), IoSlice::new(b"ke")], write_end.as_fd()).unwrap(),
            4
        );
        send(&a, b"on").unwrap();
        drop(write_end);
        let mut buffer = [0; 16];
        let first = try_receive_with(&b, &mut buffer).unwrap();
        assert!(buffer.starts_with(b"take") && !first.surplus);
        fd::write_all(first.passed.unwrap(), b"x").unwrap();
        assert_eq!(
            fd::read(&read_end, &mut [0; 2]).unwrap(),
            1,
            "the very same pipe, and the last writer is gone"
        );
        assert_eq!(fd::read(&read_end, &mut [0; 2]).unwrap(), 0);
        if first.len == 4 {
            assert!(try_receive_with(&b, &mut buffer).unwrap().passed.is_none());
        }
        let many = [read_end.as_fd(), read_end.as_fd(), read_end.as_fd()];
        send_descriptors(&a, b"three", &many).unwrap();
        let three = try_receive_with(&b, &mut buffer).unwrap();
        assert!(three.surplus && three.passed.is_some());
    }

    #[test]
    fn the_last_words_of_a_peer_that_left_packets_unread_are_heard() {
        let (a, b) = pair(Kind::SeqPacket, Mode::Blocking).unwrap();
        send(&a, b"unread").unwrap();
        send(&b, b"last words").unwrap();
        drop(b);
        let mut buffer = [0; 16];
        assert_eq!(receive_packet(&a, &mut buffer).unwrap().len, 10);
        assert_eq!(receive_packet(&a, &mut buffer).unwrap().len, 0);
    }

    #[test]
    fn a_packet_longer_than_the_buffer_is_marked() {
        let (a, b) = pair(Kind::SeqPacket, Mode::Blocking).unwrap();
        send(&a, b"12345").unwrap();
        assert!(receive_packet(&b, &mut [0; 3]).unwrap().truncated);
    }

    #[test]
    fn sending_to_a_closed_peer_is_an_error_not_a_signal() {
        let (a, b) = pair(Kind::Stream, Mode::Blocking).unwrap();
        drop(b);
        assert_eq!(send(&a, b"x").unwrap_err().errno, libc::EPIPE);
    }

    #[test]
    fn pieces_go_out_in_one_call_in_their_order() {
        let (a, b) = pair(Kind::SeqPacket, Mode::Blocking).unwrap();
        send_vectored(&a, &[IoSlice::new(b"ab"), IoSlice::new(b"c")]).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(try_peek(&b, &mut buffer).unwrap(), 3);
        assert_eq!(receive(&b, &mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"abc");
        assert!(try_receive(&b, &mut buffer).unwrap_err().is_would_block());
    }
}
