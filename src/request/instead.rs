//! When httpd answers in the application's place: its own error page (`WSGIErrorOverride`), or another of its URLs (`WSGICGIHeaders`).

use super::response::{Broken, Head};

/// Which directions of an application httpd follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `WSGIErrorOverride`.
    pub error_override: bool,
    /// `WSGICGIHeaders`.
    pub cgi_headers: bool,
}

/// What the client gets in place of the application's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// httpd's page, or `ErrorDocument`, of this status.
    Page(u16),
    /// What httpd has at this path.
    Redirect(Vec<u8>),
}

/// Takes out of `head` what is a direction to httpd, and says what httpd does in place of sending the answer, if anything.
pub fn instead(head: &mut Head<'_>, rules: Rules) -> Result<Option<Instead>, Broken> {
    if rules.cgi_headers {
        take_status(head)?;
        if let Some(path) = local_path(head) {
            return Ok(Some(Instead::Redirect(path)));
        }
    }
    let is_error = (400..=599).contains(&head.status);
    Ok((rules.error_override && is_error).then_some(Instead::Page(head.status)))
}

/// A header named `Status` is the answer's status, as for CGI scripts.
fn take_status(head: &mut Head<'_>) -> Result<(), Broken> {
    let is_status = |name: &[u8]| name.eq_ignore_ascii_case(b"Status");
    let Some((_, line)) = head.headers.iter().rev().find(|(name, _)| is_status(name)) else {
        return Ok(());
    };
    let line = line.trim_ascii().to_vec();
    let digits = line.get(..3).unwrap_or_default();
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse::<u16>().ok());
    match number.filter(|_| matches!(line.get(3), None | Some(b' '))) {
        Some(status @ 200..=999) => head.status = status,
        Some(status) => return Err(Broken::Status(status)),
        None => return Err(Broken::StatusHeader(line.escape_ascii().to_string())),
    }
    head.line = line;
    head.headers.retain(|(name, _)| !is_status(name));
    Ok(())
}

/// The path that an answer with status 200 sends httpd to. `//` begins a host, not a path of this server.
fn local_path(head: &Head<'_>) -> Option<Vec<u8>> {
    if head.status != 200 {
        return None;
    }
    let (_, path) = head
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(b"Location"))?;
    (path.starts_with(b"/") && !path.starts_with(b"//")).then(|| path.to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::response::check;
    use super::*;
    use rwsgi_wire::response::Response;

    const CGI: Rules = Rules {
        error_override: false,
        cgi_headers: true,
    };
    const OVERRIDE: Rules = Rules {
        error_override: true,
        cgi_headers: false,
    };

    fn of(
        status: u16,
        headers: &[(&'static [u8], &'static [u8])],
        rules: Rules,
    ) -> (Result<Option<Instead>, Broken>, Head<'static>) {
        let response = Response {
            status,
            reason: b"Fine",
            headers: headers.to_vec(),
        };
        let mut head = check(&response).unwrap();
        (instead(&mut head, rules), head)
    }

    #[test]
    fn without_rules_everything_is_data() {
        let headers: &[(&[u8], &[u8])] = &[(b"Status", b"404"), (b"Location", b"/x")];
        let (done, head) = of(200, headers, Rules::default());
        assert_eq!((done, head.headers.len(), head.status), (Ok(None), 2, 200));
        assert_eq!(of(500, &[], Rules::default()).0, Ok(None));
    }

    #[test]
    fn a_status_header_replaces_the_status_and_is_not_sent() {
        let (done, head) = of(200, &[(b"status", b"404 Gone Fishing"), (b"X", b"y")], CGI);
        assert_eq!(done, Ok(None));
        assert_eq!(
            (head.status, head.line.as_slice()),
            (404, &b"404 Gone Fishing"[..])
        );
        assert_eq!(head.headers, [(&b"X"[..], &b"y"[..])]);
    }

    #[test]
    fn a_status_header_that_is_none_is_refused() {
        for value in [&b"many"[..], b"", b"20", b"2000", b"100 Continue", b"099"] {
            assert!(of(200, &[(b"Status", value)], CGI).0.is_err(), "{value:?}");
        }
    }

    #[test]
    fn only_a_path_with_status_200_is_a_local_redirect() {
        let go = |status, location| of(status, &[(b"Location", location)], CGI).0.unwrap();
        assert_eq!(go(200, b"/a?b"), Some(Instead::Redirect(b"/a?b".to_vec())));
        for location in [
            &b"//host/a"[..],
            b"http://host/a",
            b"a",
            b"",
            b"proxy:http://host/",
        ] {
            assert_eq!(go(200, location), None, "{location:?}");
        }
        for status in [201, 301, 302, 404, 500] {
            assert_eq!(go(status, b"/a"), None);
        }
        let (done, _) = of(200, &[(b"Status", b"302 Found"), (b"Location", b"/a")], CGI);
        assert_eq!(done, Ok(None));
    }

    #[test]
    fn errors_are_overridden_and_nothing_else() {
        for status in [200, 204, 302, 399, 600, 999] {
            assert_eq!(of(status, &[], OVERRIDE).0, Ok(None), "{status}");
        }
        for status in [400, 404, 499, 500, 599] {
            assert_eq!(
                of(status, &[], OVERRIDE).0,
                Ok(Some(Instead::Page(status))),
                "{status}"
            );
        }
    }
}
