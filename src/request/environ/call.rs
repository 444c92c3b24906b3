//! What a script is told that httpd asks before it answers: less than an application, for less is known then.

use super::{Environ, original_uri};
use crate::request::View;
use crate::request::target::Target;

/// Who runs the script.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Process group; empty is an httpd child.
    pub process_group: &'a str,
    /// Application group; empty is the main interpreter.
    pub application_group: &'a str,
}

impl Environ {
    /// For an access, authentication or group script. `remote_host` is the client's name, if httpd knows it.
    pub fn for_auth(view: &View<'_>, place: Place<'_>, remote_host: Option<&[u8]>, signature: &[u8]) -> Self {
        let mut environ = Self::with_room(view);
        environ.put_headers(view);
        environ.put(b"REQUEST_METHOD", view.method);
        environ.put(b"SERVER_PROTOCOL", view.protocol);
        environ.put(b"QUERY_STRING", view.query);
        let uri = view
            .current_uri
            .unwrap_or_else(|| original_uri(view.request_line));
        environ.put(b"REQUEST_URI", uri);
        environ.put(
            b"SCRIPT_NAME",
            view.uri.strip_suffix(view.path_info).unwrap_or(view.uri),
        );
        environ.put(b"PATH_INFO", view.path_info);
        environ.put(b"DOCUMENT_ROOT", view.document_root);
        environ.put(b"SERVER_NAME", view.server_name);
        environ.put_number(b"SERVER_PORT", view.server_port.into());
        environ.put(b"SERVER_ADDR", view.local_ip);
        environ.put(b"SERVER_SOFTWARE", view.software);
        environ.put(b"SERVER_SIGNATURE", signature);
        environ.put(b"REMOTE_ADDR", view.client_ip);
        environ.put_number(b"REMOTE_PORT", view.client_port.into());
        environ.put_if(b"REMOTE_HOST", remote_host);
        environ.put_if(b"SERVER_ADMIN", view.server_admin);
        environ.put(b"mod_wsgi.process_group", place.process_group.as_bytes());
        environ.put(b"mod_wsgi.application_group", place.application_group.as_bytes());
        environ
    }

    /// For a dispatch script: as for the application, which is not chosen yet.
    pub fn for_dispatch(view: &View<'_>, place: Place<'_>, is_https: bool) -> Self {
        let target = Target {
            process_group: place.process_group.to_owned(),
            application_group: place.application_group.to_owned(),
            callable: String::new(),
        };
        let mut environ = Self::of(view, &target);
        if is_https {
            environ.put(b"HTTPS", b"1");
        }
        environ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'static> = Place {
        process_group: "",
        application_group: "shop",
    };

    fn names(environ: &Environ) -> Vec<String> {
        let names = environ.pairs().iter().map(|(name, _)| name.to_vec());
        names
            .map(|name| String::from_utf8_lossy(&name).into_owned())
            .collect()
    }

    #[test]
    fn an_auth_script_sees_no_credentials_and_no_environment() {
        let view = View {
            uri: b"/a//b",
            path_info: b"//b",
            headers: vec![(b"Authorization", b"Basic x"), (b"X-A", b"1")],
            environment: vec![(b"MINE", b"1")],
            user: Some(b"joe"),
            ..View::default()
        };
        let environ = Environ::for_auth(&view, HERE, None, b"");
        let names = names(&environ);
        for absent in [
            "HTTP_AUTHORIZATION",
            "MINE",
            "REMOTE_USER",
            "SCRIPT_FILENAME",
            "REMOTE_HOST",
        ] {
            assert!(!names.iter().any(|name| name == absent), "{absent}");
        }
        assert!(names.iter().any(|name| name == "HTTP_X_A"));
        let entries: Vec<_> = environ.pairs().iter().collect();
        assert!(entries.contains(&(b"SCRIPT_NAME", b"/a")) && entries.contains(&(b"PATH_INFO", b"//b")));
    }

    #[test]
    fn a_dispatch_script_sees_what_the_application_will() {
        let view = View {
            environment: vec![(b"MINE", b"1")],
            ..View::default()
        };
        let environ = Environ::for_dispatch(&view, HERE, true);
        let entries: Vec<_> = environ.pairs().iter().collect();
        assert!(entries.contains(&(b"MINE", b"1")) && entries.contains(&(b"HTTPS", b"1")));
        assert!(entries.contains(&(b"mod_wsgi.application_group", b"shop")));
        assert!(
            !names(&environ)
                .iter()
                .any(|name| name == "mod_wsgi.callable_object")
        );
    }
}
