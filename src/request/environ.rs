//! CGI and `mod_wsgi.*` variables of a request, in the order in which the Python half puts them into a dict: later ones replace
//! earlier ones of the same name.

use rwsgi_wire::pairs::{PairList, Pairs};

use super::View;
use super::headers;
use super::target::{Target, script_name, single_slashes};

pub mod call;

/// The variables, written as they travel.
#[derive(Debug, Default)]
pub struct Environ(PairList);

impl Environ {
    /// All variables of `view`.
    pub fn of(view: &View<'_>, target: &Target) -> Self {
        let mut environ = Self::with_room(view);
        // Nothing else has names like these, and what identifies the request is looked up first.
        environ.put_module(view, target);
        environ.put_environment(view);
        environ.put_headers(view);
        environ.put_cgi(view);
        environ.put_told(view);
        environ
    }

    fn with_room(view: &View<'_>) -> Self {
        let of = |(name, value): &(&[u8], &[u8])| name.len() + value.len() + 16;
        let given = view.headers.iter().chain(&view.environment).map(of);
        Self(PairList::with_capacity(2048 + given.sum::<usize>()))
    }

    /// Name and value of each variable, in order.
    pub fn pairs(&self) -> Pairs<'_> {
        self.0.pairs()
    }

    fn put(&mut self, name: &[u8], value: &[u8]) {
        self.0.put(name, value);
    }

    fn put_number(&mut self, name: &[u8], number: u32) {
        let mut digits = [0; 10];
        self.put(name, decimal(number, &mut digits));
    }

    /// httpd's own environment, without what belongs to us or would leak the server's: `PATH`, `HTTPS`, `mod_wsgi.*`.
    fn put_environment(&mut self, view: &View<'_>) {
        for (name, value) in &view.environment {
            let ours = matches!(*name, b"PATH" | b"HTTPS") || name.starts_with(b"mod_wsgi.");
            if !ours && !RESERVED.contains(name) {
                self.put(name, value);
            }
        }
    }

    /// See [`headers`].
    fn put_headers(&mut self, view: &View<'_>) {
        let named = headers::named_by_connection(view);
        for (name, value) in &view.headers {
            if !headers::passes(view, &named, name) {
                continue;
            }
            match view.filtered.codings {
                Some([]) if name.eq_ignore_ascii_case(b"Content-Encoding") => {}
                Some(left) if name.eq_ignore_ascii_case(b"Content-Encoding") => self.put_header(name, left),
                _ => self.put_header(name, value),
            }
        }
    }

    fn put_header(&mut self, name: &[u8], value: &[u8]) {
        let own_key =
            name.eq_ignore_ascii_case(b"Content-Type") || name.eq_ignore_ascii_case(b"Content-Length");
        let put_name = |out: &mut Vec<u8>| {
            if !own_key {
                out.extend_from_slice(b"HTTP_");
            }
            out.extend(name.iter().map(|byte| headers::in_variable(*byte)));
        };
        self.0.put_named(put_name, value);
    }

    fn put_cgi(&mut self, view: &View<'_>) {
        let method = if view.head_as_get && view.method == b"HEAD" {
            b"GET"
        } else {
            view.method
        };
        self.put(b"REQUEST_METHOD", method);
        self.put(b"REQUEST_SCHEME", view.scheme);
        self.put(b"SERVER_PROTOCOL", view.protocol);
        self.put(b"QUERY_STRING", view.query);
        self.put(
            b"REQUEST_URI",
            view.current_uri
                .unwrap_or_else(|| original_uri(view.request_line)),
        );
        self.put(b"SCRIPT_NAME", &script_name(view.uri, view.path_info));
        self.put(b"PATH_INFO", &single_slashes(view.path_info));
        self.put(b"SCRIPT_FILENAME", view.filename);
        self.put(b"DOCUMENT_ROOT", view.document_root);
        self.put(b"CONTEXT_PREFIX", view.context_prefix);
        self.put(b"CONTEXT_DOCUMENT_ROOT", view.context_document_root);
        self.put(b"SERVER_NAME", view.server_name);
        self.put_number(b"SERVER_PORT", view.server_port.into());
        self.put(b"SERVER_ADDR", view.local_ip);
        self.put(b"SERVER_SOFTWARE", view.software);
        self.put(b"REMOTE_ADDR", view.client_ip);
        self.put_number(b"REMOTE_PORT", view.client_port.into());
        self.put_if(b"SERVER_ADMIN", view.server_admin);
        self.put_if(b"REMOTE_USER", view.user);
        self.put_if(b"AUTH_TYPE", view.auth_type);
        if let Some(redirected) = &view.redirected {
            self.put_if(
                b"REDIRECT_REMOTE_USER",
                redirected.user.filter(|_| view.user.is_none()),
            );
            self.put(b"REDIRECT_URL", redirected.uri);
            self.put_if(b"REDIRECT_QUERY_STRING", redirected.query);
        }
    }

    fn put_module(&mut self, view: &View<'_>, target: &Target) {
        self.put(b"mod_wsgi.request_id", view.request_id);
        self.put(b"mod_wsgi.process_group", target.process_group.as_bytes());
        self.put(b"mod_wsgi.application_group", target.application_group.as_bytes());
        // A dispatch script is asked before it is known.
        if !target.callable.is_empty() {
            self.put(b"mod_wsgi.callable_object", target.callable.as_bytes());
        }
        self.put(b"mod_wsgi.request_handler", view.handler);
        self.put(b"mod_wsgi.handler_script", view.handler_script);
        self.put(b"mod_wsgi.script_name", &script_name(view.uri, view.path_info));
        self.put(b"mod_wsgi.path_info", &single_slashes(view.path_info));
        self.put(b"mod_wsgi.listener_host", view.local_host);
        self.put_number(b"mod_wsgi.listener_port", view.local_port.into());
        self.put_number(b"mod_wsgi.server_pid", view.server_pid);
        self.put_if(b"mod_wsgi.connection_id", view.connection_id);
    }

    /// Replaces what was computed by what trusted proxies know better.
    fn put_told(&mut self, view: &View<'_>) {
        let told = &view.told;
        self.put_if(b"REMOTE_ADDR", told.client);
        self.put_if(b"HTTP_X_FORWARDED_FOR", told.forwarded_for.as_deref());
        self.put_if(b"HTTP_HOST", told.host);
        self.put_if(b"SERVER_NAME", told.server);
        self.put_if(b"SERVER_PORT", told.port);
        self.put_if(b"SCRIPT_NAME", told.script);
        self.put_if(b"mod_wsgi.mount_point", told.script);
    }

    fn put_if(&mut self, name: &[u8], value: Option<&[u8]>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
}

/// What the Python half sets for each interpreter or request; other names that begin so are anybody's.
const RESERVED: [&[u8]; 10] = [
    b"apache.version",
    b"wsgi.errors",
    b"wsgi.file_wrapper",
    b"wsgi.input",
    b"wsgi.input_terminated",
    b"wsgi.multiprocess",
    b"wsgi.multithread",
    b"wsgi.run_once",
    b"wsgi.url_scheme",
    b"wsgi.version",
];

/// `wsgi.url_scheme` is https: a trusted proxy says so; else mod_ssl does, or the environment (`HTTPS` is `on` or `1`).
pub fn is_https(view: &View<'_>) -> bool {
    if let Some(https) = view.told.https {
        return https;
    }
    let told = view.environment.iter().rev().find(|(name, _)| *name == b"HTTPS");
    view.is_https || told.is_some_and(|(_, value)| value.eq_ignore_ascii_case(b"on") || *value == b"1")
}

/// A number as text.
fn decimal(mut number: u32, room: &mut [u8; 10]) -> &[u8] {
    let mut start = room.len();
    for place in room.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    room.get(start..).unwrap_or_default()
}

/// The second word of the request line: path and query as the client wrote them.
fn original_uri(request_line: &[u8]) -> &[u8] {
    request_line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .nth(1)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            process_group: "site".into(),
            application_group: String::new(),
            callable: "application".into(),
        }
    }

    /// What a dict would hold.
    fn value(view: &View<'_>, name: &str) -> Option<String> {
        let environ = Environ::of(view, &target());
        let found = environ
            .pairs()
            .iter()
            .filter(|(found, _)| *found == name.as_bytes());
        found
            .last()
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    fn view<'r>() -> View<'r> {
        View {
            method: b"GET",
            request_line: b"GET /app/a%20b?x=1 HTTP/1.1",
            uri: b"/app//a b",
            path_info: b"//a b",
            query: b"x=1",
            server_port: 8000,
            ..View::default()
        }
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 9, 10, 65_535, u32::MAX] {
            assert_eq!(decimal(number, &mut [0; 10]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn headers_become_variables_and_two_have_names_of_their_own() {
        let mut view = view();
        view.headers = vec![
            (b"Content-Type", b"text/plain"),
            (b"content-length", b"3"),
            (b"X-One-Two", b"v"),
        ];
        assert_eq!(value(&view, "CONTENT_TYPE").as_deref(), Some("text/plain"));
        assert_eq!(value(&view, "CONTENT_LENGTH").as_deref(), Some("3"));
        assert_eq!(value(&view, "HTTP_X_ONE_TWO").as_deref(), Some("v"));
    }

    #[test]
    fn a_header_with_an_underscore_cannot_stand_in_for_another() {
        let mut view = view();
        view.headers = vec![(b"X_One_Two", b"evil"), (b"X-A.B", b"evil"), (b"X B", b"evil")];
        assert_eq!(value(&view, "HTTP_X_ONE_TWO"), None);
        assert_eq!(value(&view, "HTTP_X_A.B"), None);
    }

    #[test]
    fn the_proxy_header_never_becomes_http_proxy() {
        let mut view = view();
        view.headers = vec![(b"PROXY", b"http://evil")];
        assert_eq!(value(&view, "HTTP_PROXY"), None);
    }

    #[test]
    fn authorization_needs_permission() {
        let mut view = view();
        view.headers = vec![
            (b"Authorization", b"Basic x"),
            (b"Proxy-Authorization", b"Basic y"),
        ];
        assert_eq!(value(&view, "HTTP_AUTHORIZATION"), None);
        view.pass_authorization = true;
        assert!(value(&view, "HTTP_AUTHORIZATION").is_some());
        assert_eq!(value(&view, "HTTP_PROXY_AUTHORIZATION"), None);
        view.pass_all_auth = true;
        assert!(value(&view, "HTTP_PROXY_AUTHORIZATION").is_some());
    }

    #[test]
    fn computed_variables_replace_those_that_the_configuration_sets() {
        let mut view = view();
        view.environment = vec![
            (b"REQUEST_METHOD", b"FAKE"),
            (b"PATH", b"/bin"),
            (b"HTTPS", b"on"),
            (b"MINE", b"1"),
            (b"mod_wsgi.x-magic", b"1"),
            (b"wsgi.url_scheme", b"https"),
            (b"wsgi.mine", b"1"),
        ];
        assert_eq!(value(&view, "REQUEST_METHOD").as_deref(), Some("GET"));
        assert_eq!(value(&view, "MINE").as_deref(), Some("1"));
        assert_eq!(value(&view, "wsgi.mine").as_deref(), Some("1"));
        for hidden in ["PATH", "HTTPS", "mod_wsgi.x-magic", "wsgi.url_scheme"] {
            assert_eq!(value(&view, hidden), None, "{hidden}");
        }
        assert!(is_https(&view));
    }

    #[test]
    fn the_path_is_split_and_its_slashes_are_single() {
        let view = view();
        assert_eq!(value(&view, "SCRIPT_NAME").as_deref(), Some("/app"));
        assert_eq!(value(&view, "PATH_INFO").as_deref(), Some("/a b"));
        assert_eq!(value(&view, "REQUEST_URI").as_deref(), Some("/app/a%20b?x=1"));
        assert_eq!(value(&view, "SERVER_PORT").as_deref(), Some("8000"));
    }

    #[test]
    fn head_is_get_only_in_front_of_a_filter_that_needs_the_body() {
        let mut view = view();
        view.method = b"HEAD";
        assert_eq!(value(&view, "REQUEST_METHOD").as_deref(), Some("HEAD"));
        view.head_as_get = true;
        assert_eq!(value(&view, "REQUEST_METHOD").as_deref(), Some("GET"));
    }

    #[test]
    fn only_on_and_1_mean_https() {
        for (text, https) in [
            ("on", true),
            ("ON", true),
            ("1", true),
            ("true", false),
            ("", false),
        ] {
            let view = View {
                environment: vec![(b"HTTPS", text.as_bytes())],
                ..view()
            };
            assert_eq!(is_https(&view), https, "{text}");
        }
    }
}
