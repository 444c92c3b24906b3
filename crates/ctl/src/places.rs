//! Which managers there are: the kernel lists who listens on a `ctl.sock`, wherever `WSGISocketPrefix` has put it.

use rwsgi_os::file::{self, Links};
use rwsgi_os::{fd, ids};
use rwsgi_wire::admin::SOCKET;
use rwsgi_wire::text::escape;

use crate::failure::Failure;

/// Where the kernel lists sockets, those of this network namespace.
const SOCKETS: &[u8] = b"/proc/net/unix";
/// Largest list, bytes.
const SOCKETS_MAX: usize = 64 << 20;

/// The path of the socket to ask: in `directory`, or of the one manager whose runtime directory is below it, or is called so with a dot and a number
/// behind (`WSGISocketPrefix`, which may end in a slash), or of the one manager there is.
pub(crate) fn choose(directory: Option<&[u8]>) -> Result<Vec<u8>, Failure> {
    let prefix = match directory {
        None => Vec::new(),
        Some(path) if file::status_of(path).is_ok_and(|status| status.is_directory()) => {
            let below = [path.strip_suffix(b"/").unwrap_or(path), b"/"].concat();
            let exact = [&below[..], SOCKET].concat();
            if file::status_of_link(&exact).is_ok() {
                return Ok(exact);
            }
            below
        }
        Some(path) => [path, b"."].concat(),
    };
    let list = file::open(SOCKETS, Links::Follow).and_then(|list| fd::read_all(&list, SOCKETS_MAX));
    let list = list.map_err(|e| Failure::NoManager(format!("that can be found ({e})")))?;
    let mut found: Vec<&[u8]> = listening(&list)
        .filter(|path| path.starts_with(&prefix) && is_trustworthy(directory_of(path)))
        .collect();
    found.sort_unstable();
    found.dedup();
    match (&found[..], directory) {
        ([one], _) => Ok(one.to_vec()),
        ([], Some(directory)) => Err(Failure::NoManager(format!(
            "in {}, below it, or in {0}.*",
            escape(directory)
        ))),
        ([], None) => Err(Failure::NoManager("here".to_owned())),
        (several, _) => {
            let places = several.iter().map(|path| escape(directory_of(path)));
            Err(Failure::Several(places.collect()))
        }
    }
}

pub(crate) fn directory_of(path: &[u8]) -> &[u8] {
    path.get(..path.len().saturating_sub(SOCKET.len() + 1))
        .unwrap_or_default()
}

/// The paths of sockets named as ours that somebody listens on.
fn listening(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    /// `SO_ACCEPTCON` and `SOCK_SEQPACKET`, as the kernel prints them.
    const LISTENS: &[u8] = b"00010000";
    const SEQPACKET: &[u8] = b"0005";
    list.split(|b| *b == b'\n').filter_map(|line| {
        // Number, references, protocol, flags, type, state, inode, each with one space behind it or more; then the path, which may hold anything.
        let mut rest = line;
        let mut fields = [&b""[..]; 7];
        for field in &mut fields {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|b| *b == b' ')?;
            (*field, rest) = rest.split_at(end);
        }
        let path = rest.strip_prefix(b" ")?;
        let is_ours = path.starts_with(b"/") && path.ends_with(&[b"/", SOCKET].concat());
        (fields[3] == LISTENS && fields[4] == SEQPACKET && is_ours).then_some(path)
    })
}

/// Anybody may listen on a socket of this name, in a place of their own; a manager makes its directory where nobody else can.
fn is_trustworthy(directory: &[u8]) -> bool {
    const EACCES: i32 = 13;
    let own = ids::user_ids().effective;
    match file::status_of_link(directory) {
        Ok(status) => {
            status.is_directory() && (status.uid == 0 || status.uid == own) && status.mode & 0o022 == 0
        }
        // Closed to this user, who is told so when it comes to connecting.
        Err(e) => e.errno == EACCES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_of_the_name_are_found_and_no_others() {
        let list = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0005 01 12345 /run/apache2/rwsgi.7/ctl.sock\n\
            0000000000000000: 00000002 00000000 00010000 0005 01  2345 /run/a b/rwsgi.8/ctl.sock\n\
            0000000000000000: 00000003 00000000 00000000 0005 03 12346 /run/connected/ctl.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12347 /run/stream/ctl.sock\n\
            0000000000000000: 00000002 00000000 00010000 0005 01 12348 @/run/abstract/ctl.sock\n\
            0000000000000000: 00000002 00000000 00010000 0005 01 12349 /run/apache2/rwsgi.7/manager.sock\n\
            0000000000000000: 00000002 00000000 00010000 0005 01 12350\n\
            0000000000000000: 00000002 00000000 00010000 0005 01 12351 /run/not-ctl.sock";
        let found: Vec<&[u8]> = listening(list).collect();
        let expected: [&[u8]; 2] = [b"/run/apache2/rwsgi.7/ctl.sock", b"/run/a b/rwsgi.8/ctl.sock"];
        assert_eq!(found, expected);
        assert_eq!(directory_of(found[0]), b"/run/apache2/rwsgi.7");
    }

    // R28
    #[test]
    fn a_directory_that_others_can_write_is_not_a_managers() {
        assert!(is_trustworthy(b"/") && !is_trustworthy(b"/tmp") && !is_trustworthy(b"/none"));
    }

    #[test]
    fn where_nobody_listens_there_is_no_manager() {
        let failure = choose(Some(b"/run/nobody-made-this")).unwrap_err();
        assert_eq!(failure.status(), 3, "{failure}");
    }
}
