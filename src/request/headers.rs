//! Which headers of a request become variables of the environ.

use rwsgi_wire::field::is_token;

use super::View;
use crate::directives::proxies::ProxyHeader;

/// Headers that the client's `Connection` header says are for the connection alone.
pub fn named_by_connection<'r>(view: &View<'r>) -> Vec<&'r [u8]> {
    let mut named = Vec::new();
    for (name, value) in &view.headers {
        if !name.eq_ignore_ascii_case(b"Connection") {
            continue;
        }
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let is_plain = option.is_empty()
                || option.eq_ignore_ascii_case(b"close")
                || option.eq_ignore_ascii_case(b"keep-alive");
            if !is_plain && !is_end_to_end(option) {
                named.push(option);
            }
        }
    }
    named
}

/// Headers that no client may take away by naming them in `Connection`: what a proxy adds behind the client's back, and what decides
/// about the meaning of the request.
fn is_end_to_end(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [
        b"Host",
        b"Content-Length",
        b"Content-Type",
        b"Cookie",
        b"Authorization",
    ];
    ProxyHeader::of(name).is_some() || NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a header becomes a variable; `named` is what [`named_by_connection`] found.
pub fn passes(view: &View<'_>, named: &[&[u8]], name: &[u8]) -> bool {
    is_plain(name)
        && !is_hop_by_hop(name)
        && !named.iter().any(|other| other.eq_ignore_ascii_case(name))
        && !view.told.hides(name)
        && !view.filtered.hides(name)
        && is_permitted(view, name)
}

/// Letters, digits and `-` only: anything else could be mistaken for another header once `-` is `_`.
fn is_plain(name: &[u8]) -> bool {
    // Without leaving early, so that no byte waits for the one before it.
    let plain = |plain: bool, byte: &u8| plain & (in_variable(*byte) != 0);
    !name.is_empty() && name.iter().fold(true, plain)
}

/// What a byte of a header's name is in the name of its variable; 0 for one that has none.
pub fn in_variable(byte: u8) -> u8 {
    const ALL: [u8; 256] = {
        let mut all = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            all[byte] = match byte as u8 {
                b'-' => b'_',
                plain if plain.is_ascii_alphanumeric() => plain.to_ascii_uppercase(),
                _ => 0,
            };
            byte += 1;
        }
        all
    };
    ALL.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Headers between the client and httpd, which httpd has dealt with (RFC 9110, 7.6.1), and `Proxy`, which would become `HTTP_PROXY`,
/// which libraries take for the way to the internet. `Proxy-Authorization` is up to [`is_permitted`].
fn is_hop_by_hop(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 7] = [
        b"Connection",
        b"Expect",
        b"Keep-Alive",
        b"TE",
        b"Trailer",
        b"Transfer-Encoding",
        b"Upgrade",
    ];
    match name.first().map(u8::to_ascii_lowercase) {
        Some(b'p') => {
            let front = name.get(..5).unwrap_or_default();
            front.eq_ignore_ascii_case(b"Proxy")
                && matches!(name.get(5), None | Some(b'-'))
                && !name.eq_ignore_ascii_case(b"Proxy-Authorization")
        }
        Some(b'c' | b'e' | b'k' | b't' | b'u') => NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)),
        _ => false,
    }
}

/// Passwords are passed where the configuration says so.
fn is_permitted(view: &View<'_>, name: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(b"Authorization") {
        view.pass_all_auth || view.pass_authorization
    } else if name.eq_ignore_ascii_case(b"Proxy-Authorization") {
        view.pass_all_auth
    } else {
        true
    }
}

/// Whether a `Content-Type` is two, which httpd has joined: which of them counts would be a guess.
pub fn is_doubled_type(value: &[u8]) -> bool {
    let begins_a_type = |text: &[u8]| {
        let end = text
            .iter()
            .position(|byte| matches!(byte, b';' | b' ' | b','))
            .unwrap_or(text.len());
        let mut halves = text
            .get(..end)
            .unwrap_or_default()
            .splitn(2, |byte| *byte == b'/');
        matches!((halves.next(), halves.next()), (Some(a), Some(b)) if is_token(a) && is_token(b))
    };
    value
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| *pair == b", ")
        .any(|(at, _)| begins_a_type(value.get(at + 2..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed<'r>(headers: &[(&'r [u8], &'r [u8])]) -> Vec<&'r [u8]> {
        let view = View {
            headers: headers.to_vec(),
            ..View::default()
        };
        let named = named_by_connection(&view);
        let names = headers.iter().map(|header| header.0);
        names.filter(|name| passes(&view, &named, name)).collect()
    }

    #[test]
    fn headers_of_the_connection_stay_with_it() {
        for name in [
            "Connection",
            "keep-alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Expect",
            "Proxy",
            "Proxy-Connection",
            "proxy-anything",
            "Proxy-Authorization",
            "Authorization",
        ] {
            assert!(passed(&[(name.as_bytes(), b"x")]).is_empty(), "{name}");
        }
        for name in [
            "Proxied",
            "Teapot",
            "Upgrade-Insecure-Requests",
            "Expect-CT",
            "T",
            "P",
        ] {
            assert_eq!(passed(&[(name.as_bytes(), b"x")]).len(), 1, "{name}");
        }
    }

    #[test]
    fn what_connection_names_is_dropped_unless_it_is_not_the_clients_to_take_away() {
        let headers: &[(&[u8], &[u8])] = &[
            (b"Connection", b"close, X-One ,, cookie, X-Forwarded-For,host"),
            (b"x-one", b"1"),
            (b"X-Two", b"2"),
            (b"Cookie", b"a"),
            (b"X-Forwarded-For", b"1.2.3.4"),
            (b"Host", b"h"),
        ];
        assert_eq!(
            passed(headers),
            [&b"X-Two"[..], b"Cookie", b"X-Forwarded-For", b"Host"]
        );
    }

    #[test]
    fn two_types_are_told_from_one_with_a_comma() {
        for one in [
            &b"text/plain"[..],
            b"",
            b"multipart/form-data; boundary=a,b",
            b"multipart/form-data; boundary=\"a, b\"",
            b"text/plain; a=b, c",
        ] {
            assert!(!is_doubled_type(one), "{one:?}");
        }
        for two in [
            &b"text/plain, text/html"[..],
            b"a/b; c=d, e/f; g=h",
            b"a/b, c, d/e",
        ] {
            assert!(is_doubled_type(two), "{two:?}");
        }
    }
}
