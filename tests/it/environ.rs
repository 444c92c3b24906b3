//! Every key of the environ, where it comes from and what it must not contain.

use rwsgi_testkit::{Case, Httpd, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        cgi_variables_of_a_plain_request,
        wsgi_variables_of_a_plain_request,
        names_of_the_module_are_there,
        headers_become_variables,
        dangerous_headers_are_dropped,
        authorization_is_passed_only_when_asked_for,
        pass_authorization_on_an_alias_wins,
        server_variables_are_visible,
        computed_variables_win_over_set_env,
        https_is_read_from_the_environment,
        request_uri_is_raw_and_path_info_decoded,
        server_name_and_port_follow_the_host_header,
        escapes_of_the_path_are_refused_or_kept_as_httpd_does,
        chunked_requests_say_so,
        authenticated_users_are_named,
        each_request_has_its_own_environ,
    ]);
}

fn environ_of(httpd: &Httpd, path: &str) -> Value {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[track_caller]
fn same(environ: &Value, expected: &[(&str, &str)]) {
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

fn headers_become_variables(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    let mut raw = httpd.raw();
    raw.send(
        "POST /x HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\nContent-Type: text/weird; a=b\r\n\
         Content-Length: 3\r\nX-One: 1\r\nX-one: 2\r\nX-Latin: caf\u{e9}\r\nCookie: a=1\r\nCookie: b=2\r\n\
         X-Empty:\r\nAccept: */*\r\n\r\nabc",
    );
    let reply = raw.reply();
    let environ: Value = rwsgi_testkit::from_slice(&reply.body);
    same(
        &environ,
        &[
            ("REQUEST_METHOD", "POST"),
            ("CONTENT_TYPE", "text/weird; a=b"),
            ("CONTENT_LENGTH", "3"),
            ("HTTP_X_ONE", "1, 2"),
            // The test's source is UTF-8: the bytes C3 A9, decoded as Latin-1.
            ("HTTP_X_LATIN", "caf\u{c3}\u{a9}"),
            ("HTTP_COOKIE", "a=1, b=2"),
            ("HTTP_X_EMPTY", ""),
            ("HTTP_HOST", "example.org"),
            ("HTTP_ACCEPT", "*/*"),
        ],
    );
    assert!(environ["HTTP_CONTENT_TYPE"].is_null() && environ["HTTP_CONTENT_LENGTH"].is_null());
}

fn dangerous_headers_are_dropped(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    let environ = httpd
        .request("GET", "/")
        .header("Proxy", "http://attacker")
        .header("X_Under_Score", "1")
        .header("X-Under-Score", "2")
        .header("X.Dot", "1")
        .send()
        .json();
    assert!(environ["HTTP_PROXY"].is_null(), "httpoxy");
    assert_eq!(
        environ["HTTP_X_UNDER_SCORE"], "2",
        "only the name with dashes counts"
    );
    assert!(environ["HTTP_X.DOT"].is_null() && environ["HTTP_X_DOT"].is_null());
}

fn authorization_is_passed_only_when_asked_for(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/on", "environ.wsgi")
        .alias("/off", "environ.wsgi")
        .conf("<Location /on>\nWSGIPassAuthorization On\n</Location>")
        .start();
    let ask = |path: &str| {
        let request = httpd.request("GET", path).header("Authorization", "Basic abc");
        request.header("Proxy-Authorization", "Basic xyz").send().json()
    };
    assert_eq!(ask("/on")["HTTP_AUTHORIZATION"], "Basic abc");
    assert!(ask("/on")["HTTP_PROXY_AUTHORIZATION"].is_null());
    assert!(ask("/off")["HTTP_AUTHORIZATION"].is_null());
}

fn pass_authorization_on_an_alias_wins(case: &Case) {
    let httpd = case
        .httpd()
        .script("environ.wsgi")
        .conf("WSGIPassAuthorization On\nWSGIScriptAlias /off @SCRIPTS@/environ.wsgi pass-authorization=Off\nWSGIScriptAlias / @SCRIPTS@/environ.wsgi")
        .start();
    let ask = |path: &str| {
        httpd
            .request("GET", path)
            .header("Authorization", "Basic abc")
            .send()
            .json()
    };
    assert_eq!(ask("/")["HTTP_AUTHORIZATION"], "Basic abc");
    assert!(ask("/off")["HTTP_AUTHORIZATION"].is_null());
}

fn server_variables_are_visible(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .conf("SetEnv MY_SETTING \"some value\"\nSetEnvIf X-Test . HAS_TEST=yes\nRewriteEngine On\nRewriteRule .* - [E=BY_REWRITE:1]")
        .start();
    let environ = environ_of(&httpd, "/");
    same(
        &environ,
        &[
            ("MY_SETTING", "some value"),
            ("HAS_TEST", "yes"),
            ("BY_REWRITE", "1"),
        ],
    );
    assert!(
        environ["_"]["environment"]["MY_SETTING"].is_null(),
        "SetEnv is per request, not os.environ"
    );
}

fn computed_variables_win_over_set_env(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .conf("SetEnv PATH_INFO wrong\nSetEnv wsgi.input wrong\nSetEnv SERVER_NAME wrong\nSetEnv wsgi.own mine\nSetEnv PATH wrong")
        .start();
    let environ = environ_of(&httpd, "/right");
    same(
        &environ,
        &[
            ("PATH_INFO", "/right"),
            ("SERVER_NAME", "127.0.0.1"),
            ("wsgi.own", "mine"),
        ],
    );
    assert!(
        environ["wsgi.input"].is_array(),
        "SetEnv cannot replace it: {}",
        environ["wsgi.input"]
    );
    assert!(environ["PATH"].is_null());
}

fn https_is_read_from_the_environment(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/on", "environ.wsgi")
        .alias("/one", "environ.wsgi")
        .alias("/off", "environ.wsgi")
        .conf("<Location /on>\nSetEnv HTTPS On\n</Location>\n<Location /one>\nSetEnv HTTPS 1\n</Location>\n<Location /off>\nSetEnv HTTPS off\n</Location>")
        .start();
    for (path, scheme) in [("/on", "https"), ("/one", "https"), ("/off", "http")] {
        let environ = environ_of(&httpd, path);
        assert_eq!(environ["wsgi.url_scheme"], scheme, "{path}");
        assert!(environ["HTTPS"].is_null(), "HTTPS is not passed on");
    }
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

fn escapes_of_the_path_are_refused_or_kept_as_httpd_does(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    assert_eq!(httpd.get("/a%2Fb").status, 404, "AllowEncodedSlashes is off");
    assert_eq!(httpd.get("/a%00b").status, 404, "no NUL");
    httpd.announce("AH00026"); // found %2f in the URI
    httpd.announce("AH10244"); // invalid URI path
    httpd.announce("AH00127");
}

fn chunked_requests_say_so(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .conf("WSGIChunkedRequest On")
        .start();
    let environ = httpd.request("POST", "/").chunked("abc").send().json();
    assert_eq!(environ["HTTP_TRANSFER_ENCODING"], "chunked");
    assert!(environ["CONTENT_LENGTH"].is_null());
}

fn authenticated_users_are_named(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .load("auth_basic")
        .load("authn_core")
        .load("authn_file")
        .load("authz_user")
        // htpasswd -nbs user secret
        .file("passwords", "user:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        .conf("<Location />\nAuthType Basic\nAuthName here\nAuthUserFile @ROOT@/passwords\nRequire valid-user\n</Location>")
        .start();
    let request = httpd
        .request("GET", "/")
        .header("Authorization", "Basic dXNlcjpzZWNyZXQ=");
    let reply = request.send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    same(&reply.json(), &[("REMOTE_USER", "user"), ("AUTH_TYPE", "Basic")]);
    assert_eq!(httpd.get("/").status, 401);
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
