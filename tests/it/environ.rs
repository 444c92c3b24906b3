//! Every key of the environ that a plain request has; what headers and `SetEnv` add is in `environ_sources.rs`.

use rwsgi_testkit::{Case, Httpd, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        cgi_variables_of_a_plain_request,
        wsgi_variables_of_a_plain_request,
        names_of_the_module_are_there,
        request_uri_is_raw_and_path_info_decoded,
        server_name_and_port_follow_the_host_header,
        escapes_of_the_path_are_refused_or_kept_as_httpd_does,
        chunked_requests_have_no_length,
        each_request_has_its_own_environ,
    ]);
}

pub fn environ_of(httpd: &Httpd, path: &str) -> Value {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[track_caller]
pub fn same(environ: &Value, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(environ[key].as_str(), Some(*value), "{key} in {environ:#}");
    }
}

fn cgi_variables_of_a_plain_request(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "environ.wsgi")
        .conf("ServerAdmin me@example.org")
        .start();
    let environ = environ_of(&httpd, "/app/x%20y?a=1&b=%20");
    let root = httpd.root().display().to_string();
    same(
        &environ,
        &[
            ("REQUEST_METHOD", "GET"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REQUEST_SCHEME", "http"),
            ("QUERY_STRING", "a=1&b=%20"),
            ("REQUEST_URI", "/app/x%20y?a=1&b=%20"),
            ("SCRIPT_NAME", "/app"),
            ("PATH_INFO", "/x y"),
            ("SERVER_NAME", "127.0.0.1"),
            ("SERVER_PORT", &httpd.port().to_string()),
            ("SERVER_ADDR", "127.0.0.1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("SERVER_ADMIN", "me@example.org"),
            ("DOCUMENT_ROOT", &format!("{root}/www")),
            ("SCRIPT_FILENAME", &format!("{root}/scripts/environ.wsgi")),
            ("CONTEXT_PREFIX", ""),
            ("CONTEXT_DOCUMENT_ROOT", &format!("{root}/www")),
            ("HTTP_X_TEST", &case.name),
        ],
    );
    assert!(
        environ["SERVER_SOFTWARE"]
            .as_str()
            .is_some_and(|s| s.starts_with("Apache")),
        "{environ:#}"
    );
    assert!(
        environ["REMOTE_PORT"]
            .as_str()
            .is_some_and(|p| p.parse::<u16>().is_ok()),
        "{environ:#}"
    );
    for absent in [
        "GATEWAY_INTERFACE",
        "PATH_TRANSLATED",
        "REMOTE_HOST",
        "REMOTE_IDENT",
        "SERVER_SIGNATURE",
        "PATH",
        "HTTPS",
        "REMOTE_USER",
        "AUTH_TYPE",
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "LD_LIBRARY_PATH",
    ] {
        assert!(
            environ[absent].is_null(),
            "{absent} must be absent: {}",
            environ[absent]
        );
    }
}

fn wsgi_variables_of_a_plain_request(case: &Case) {
    let httpd = case.httpd().daemon("threads=4").app("environ.wsgi").start();
    let environ = environ_of(&httpd, "/");
    let typed = |key: &str| {
        let value = &environ[key];
        (
            value[0].as_str().unwrap_or("absent").to_owned(),
            value[1].as_str().unwrap_or("absent").to_owned(),
        )
    };
    let is = |kind: &str, repr: &str| (kind.to_owned(), repr.to_owned());
    assert_eq!(environ["_"]["type"], "dict");
    assert_eq!(typed("wsgi.version"), is("tuple", "(1, 0)"));
    assert_eq!(environ["wsgi.url_scheme"], "http");
    let prefork = std::env::var("RWSGI_MPM").is_ok_and(|mpm| mpm == "prefork");
    let threads = if case.embedded() && prefork {
        "False"
    } else {
        "True"
    };
    assert_eq!(typed("wsgi.multithread"), is("bool", threads));
    assert_eq!(
        typed("wsgi.multiprocess"),
        is("bool", if case.embedded() { "True" } else { "False" })
    );
    assert_eq!(typed("wsgi.run_once"), is("bool", "False"));
    assert_eq!(typed("wsgi.input_terminated"), is("bool", "True"));
    if case.theirs() {
        // PEP 3333 asks for what they can do, not for a type; `logging.rs` and `input.rs` test that.
        assert_eq!(typed("wsgi.errors").0, "TextIOWrapper");
        assert_eq!(typed("wsgi.input").0, "Input");
    }
    assert_eq!(typed("wsgi.file_wrapper").0, "type");
    assert_eq!(typed("apache.version").0, "tuple");
}

fn names_of_the_module_are_there(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .conf("WSGIApplicationGroup shop")
        .start();
    let environ = environ_of(&httpd, "/x");
    let group = if case.embedded() { "" } else { "site" };
    same(
        &environ,
        &[
            ("mod_wsgi.process_group", group),
            ("mod_wsgi.application_group", "shop"),
            ("mod_wsgi.callable_object", "application"),
            ("mod_wsgi.request_handler", "wsgi-script"),
            ("mod_wsgi.handler_script", ""),
            ("mod_wsgi.script_name", ""),
            ("mod_wsgi.path_info", "/x"),
            ("mod_wsgi.listener_port", &httpd.port().to_string()),
        ],
    );
    assert_eq!(environ["mod_wsgi.version"][1], "(6, 1, 1)");
    assert_eq!(environ["mod_wsgi.request_start"][0], "float");
    assert_eq!(environ["mod_wsgi.application_start"][0], "float");
    assert!(environ["mod_wsgi.request_id"].is_string(), "{environ:#}");
    let server_pid: u32 = environ["mod_wsgi.server_pid"]
        .as_str()
        .and_then(|p| p.parse().ok())
        .expect("server_pid");
    assert!(
        httpd.children().iter().any(|child| child.pid == server_pid),
        "{server_pid} is no child of httpd"
    );
    let hidden = environ
        .as_object()
        .expect("object")
        .keys()
        .any(|key| key.starts_with("mod_wsgi.x-"));
    assert!(!hidden, "{environ:#}");
    let name = environ["_"]["name"].as_str().expect("name");
    assert!(
        name.starts_with("_mod_wsgi_"),
        "__name__ is never __main__: {name}"
    );
    assert_eq!(environ["_"]["argv"], rwsgi_testkit::json!(["mod_wsgi"]));
}

fn request_uri_is_raw_and_path_info_decoded(case: &Case) {
    let httpd = case.httpd().alias("/app", "environ.wsgi").start();
    let environ = environ_of(&httpd, "/app//a/%C3%BC/%7Eb?q=%C3%BC");
    same(
        &environ,
        &[
            ("REQUEST_URI", "/app//a/%C3%BC/%7Eb?q=%C3%BC"),
            ("PATH_INFO", "/a/\u{c3}\u{bc}/~b"),
            ("QUERY_STRING", "q=%C3%BC"),
        ],
    );
}

fn server_name_and_port_follow_the_host_header(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    let environ = httpd
        .request("GET", "/")
        .header("Host", "example.org:8080")
        .send()
        .json();
    same(
        &environ,
        &[
            ("SERVER_NAME", "example.org"),
            ("SERVER_PORT", "8080"),
            ("HTTP_HOST", "example.org:8080"),
        ],
    );
    let mut raw = httpd.raw();
    raw.send("GET / HTTP/1.0\r\n\r\n");
    let environ: Value = rwsgi_testkit::from_slice(&raw.reply().body);
    same(
        &environ,
        &[("SERVER_NAME", "127.0.0.1"), ("SERVER_PROTOCOL", "HTTP/1.0")],
    );
    assert!(environ["HTTP_HOST"].is_null());
}

/// R49.
fn escapes_of_the_path_are_refused_or_kept_as_httpd_does(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    assert_eq!(httpd.get("/a%2Fb").status, 404, "AllowEncodedSlashes is off");
    assert_eq!(httpd.get("/a%00b").status, 404, "no NUL");
    httpd.announce("AH00026"); // found %2f in the URI
    httpd.announce("AH10244"); // invalid URI path
    httpd.announce("AH00127");
}

fn chunked_requests_have_no_length(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .conf("WSGIChunkedRequest On")
        .start();
    let environ = httpd.request("POST", "/").chunked("abc").send().json();
    assert!(environ["CONTENT_LENGTH"].is_null());
    assert_eq!(environ["wsgi.input_terminated"][1], "True");
    // The body is decoded: an application that is told of chunks may decode it again (R43).
    let told = environ["HTTP_TRANSFER_ENCODING"].as_str();
    assert_eq!(told, case.theirs().then_some("chunked"));
}

fn each_request_has_its_own_environ(case: &Case) {
    let httpd = case
        .httpd()
        .source(
            "/",
            "own.wsgi",
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    seen = 'stain' in environ\n    environ['stain'] = 1\n    environ['wsgi.version'] = None\n    return [str(seen).encode()]\n",
        )
        .children(1)
        .daemon("threads=1")
        .start();
    for _ in 0..5 {
        assert_eq!(httpd.get("/").text(), "False");
    }
}
