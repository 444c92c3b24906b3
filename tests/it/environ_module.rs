//! The keys that the module itself adds, value by value, and that there are no others; CGI variables are in `environ.rs`.

use std::collections::BTreeSet;

use crate::environ::{environ_of, same};
use rwsgi_testkit::{Case, Topic, Value, test, until_some};
use std::time::{Duration, SystemTime};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        a_plain_request_has_these_keys_and_no_others,
        times_of_a_request_are_in_order,
        requests_and_connections_have_the_numbers_of_httpds_log,
        the_listener_is_named,
        threads_are_numbered,
        the_handler_and_the_callable_are_those_of_the_request,
        redirected_requests_keep_where_they_came_from,
        apache_version_is_that_of_httpd,
    ]);
    topic.daemon(test![a_worker_for_one_request_says_run_once]);
}

fn typed(environ: &Value, key: &str) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or("absent").to_owned();
    (text(&environ[key][0]), text(&environ[key][1]))
}

#[track_caller]
fn seconds(environ: &Value, key: &str) -> f64 {
    let (kind, value) = typed(environ, key);
    assert_eq!(kind, "float", "{key} in {environ:#}");
    value.parse().expect("a float")
}

/// Variables of httpd that depend on how it was built or is run.
const NOT_OURS: [&str; 1] = ["mod_wsgi.connection_id"];

fn a_plain_request_has_these_keys_and_no_others(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    let mut raw = httpd.raw();
    raw.send("GET /x HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n");
    let environ: Value = rwsgi_testkit::from_slice(&raw.reply().body);
    let keys = environ.as_object().expect("an object").keys();
    let found: BTreeSet<&str> = keys
        .map(String::as_str)
        .filter(|key| *key != "_" && !NOT_OURS.contains(key))
        .collect();
    let text = [
        "CONTEXT_DOCUMENT_ROOT",
        "CONTEXT_PREFIX",
        "DOCUMENT_ROOT",
        "HTTP_HOST",
        "PATH_INFO",
        "QUERY_STRING",
        "REMOTE_ADDR",
        "REMOTE_PORT",
        "REQUEST_METHOD",
        "REQUEST_SCHEME",
        "REQUEST_URI",
        "SCRIPT_FILENAME",
        "SCRIPT_NAME",
        "SERVER_ADDR",
        "SERVER_ADMIN",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "SERVER_SOFTWARE",
        "mod_wsgi.application_group",
        "mod_wsgi.callable_object",
        "mod_wsgi.handler_script",
        "mod_wsgi.listener_host",
        "mod_wsgi.listener_port",
        "mod_wsgi.path_info",
        "mod_wsgi.process_group",
        "mod_wsgi.request_handler",
        "mod_wsgi.request_id",
        "mod_wsgi.script_name",
        "mod_wsgi.server_pid",
        "wsgi.url_scheme",
    ];
    // Headers of the connection are not passed on here (R43).
    let text: Vec<&str> = text
        .into_iter()
        .chain(case.theirs().then_some("HTTP_CONNECTION"))
        .collect();
    for key in &text {
        assert!(environ[*key].is_string(), "{key} is text: {}", environ[*key]);
    }
    let objects = [
        ("apache.version", "tuple"),
        ("mod_wsgi.application_start", "float"),
        ("mod_wsgi.daemon_start", "float"),
        ("mod_wsgi.queue_start", "float"),
        ("mod_wsgi.request_start", "float"),
        ("mod_wsgi.thread_id", "int"),
        ("mod_wsgi.version", "tuple"),
        ("wsgi.file_wrapper", "type"),
        ("wsgi.input_terminated", "bool"),
        ("wsgi.multiprocess", "bool"),
        ("wsgi.multithread", "bool"),
        ("wsgi.run_once", "bool"),
        ("wsgi.version", "tuple"),
    ];
    for (key, kind) in objects {
        assert_eq!(typed(&environ, key).0, kind, "{key}");
    }
    let streams = ["wsgi.errors", "wsgi.input"];
    let all = text.into_iter().chain(objects.map(|(key, _)| key)).chain(streams);
    assert_eq!(found, all.collect());
}

fn times_of_a_request_are_in_order(case: &Case) {
    let now = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.expect("after 1970").as_secs_f64()
    };
    let httpd = case.httpd().app("environ.wsgi").start();
    environ_of(&httpd, "/");
    let before = now();
    let environ = environ_of(&httpd, "/");
    let after = now();
    let request = seconds(&environ, "mod_wsgi.request_start");
    let queue = seconds(&environ, "mod_wsgi.queue_start");
    let daemon = seconds(&environ, "mod_wsgi.daemon_start");
    let application = seconds(&environ, "mod_wsgi.application_start");
    assert!(
        before <= request && application <= after,
        "{before} {environ:#} {after}"
    );
    if case.embedded() {
        assert_eq!((queue, daemon), (0.0, 0.0));
        assert!(request <= application, "{environ:#}");
    } else {
        let times = [request, queue, daemon, application];
        assert!(times.is_sorted(), "{times:?}");
    }
}

fn requests_and_connections_have_the_numbers_of_httpds_log(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "environ.wsgi")
        .conf("CustomLog @ROOT@/numbers.log \"%U %L %{c}L\"")
        .start();
    let mut raw = httpd.raw();
    let mut ask = |path: &str| {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: example.org\r\n\r\n"));
        raw.reply().body
    };
    let logged = |path: &str| -> (String, String) {
        until_some("the line of the log", Duration::from_secs(10), || {
            let text = std::fs::read_to_string(httpd.root().join("numbers.log")).ok()?;
            let line = text.lines().find(|line| line.starts_with(path))?;
            let mut words = line.split(' ').skip(1).map(str::to_owned);
            Some((words.next()?, words.next()?))
        })
    };
    let first: Value = rwsgi_testkit::from_slice(&ask("/app/first"));
    assert_eq!(first["mod_wsgi.request_id"], logged("/app/first").0.as_str());
    // httpd numbers a connection when there is something to say about it.
    ask("/missing");
    let (_, connection) = logged("/missing");
    let second: Value = rwsgi_testkit::from_slice(&ask("/app/second"));
    let (request, _) = logged("/app/second");
    assert_eq!(second["mod_wsgi.request_id"], request.as_str());
    assert_ne!(second["mod_wsgi.request_id"], first["mod_wsgi.request_id"]);
    assert_eq!(second["mod_wsgi.connection_id"], connection.as_str());
}

fn the_listener_is_named(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    let reply = httpd
        .request("GET", "/")
        .header("Host", "example.org:8080")
        .send();
    let port = httpd.port().to_string();
    same(
        &reply.json(),
        &[
            ("mod_wsgi.listener_host", "127.0.0.1"),
            ("mod_wsgi.listener_port", &port),
        ],
    );
}

fn threads_are_numbered(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .children(1)
        .daemon("threads=2")
        .start();
    for _ in 0..10 {
        let (kind, number) = typed(&environ_of(&httpd, "/"), "mod_wsgi.thread_id");
        assert_eq!(kind, "int");
        let number: u32 = number.parse().expect("a number");
        assert!(
            (1..=64).contains(&number),
            "{number} is no number that the module gave"
        );
    }
}

fn the_handler_and_the_callable_are_those_of_the_request(case: &Case) {
    let httpd = case
        .httpd()
        .script("environ.wsgi")
        .conf(
            "Alias /by-type @SCRIPTS@/environ.wsgi\nWSGIScriptAlias / @SCRIPTS@/environ.wsgi callable-object=application\n\
             <Location /by-type>\nAddType application/x-httpd-wsgi .wsgi\nOptions ExecCGI\nWSGICallableObject application\n</Location>\n\
             SetEnv other application\n<Location /by-env>\nWSGICallableObject %{ENV:other}\n</Location>",
        )
        .start();
    for (path, handler) in [
        ("/", "wsgi-script"),
        ("/by-type", "application/x-httpd-wsgi"),
        ("/by-env", "wsgi-script"),
    ] {
        same(
            &environ_of(&httpd, path),
            &[
                ("mod_wsgi.request_handler", handler),
                ("mod_wsgi.callable_object", "application"),
            ],
        );
    }
}

fn redirected_requests_keep_where_they_came_from(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "environ.wsgi")
        .load("auth_basic")
        .load("authn_core")
        .load("authn_file")
        .load("authz_user")
        // htpasswd -nbs user secret
        .file("passwords", "user:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        .conf(
            "<Location />\nAuthType Basic\nAuthName here\nAuthUserFile @ROOT@/passwords\n</Location>\n\
             <Location /missing>\nErrorDocument 404 /app/error\nRequire valid-user\n</Location>\n\
             <Location /gone>\nErrorDocument 404 /app/closed\nQualifyRedirectURL On\nRequire valid-user\n</Location>\n\
             <Location /app/closed>\nRequire valid-user\n</Location>",
        )
        .start();
    let ask = |path: &str| {
        let request = httpd.request("GET", path);
        let reply = request.header("Authorization", "Basic dXNlcjpzZWNyZXQ=").send();
        assert_eq!(reply.status, 200, "the application's own status");
        reply.json()
    };
    let environ = ask("/missing/page?a=1");
    same(
        &environ,
        &[
            ("REDIRECT_STATUS", "404"),
            ("REDIRECT_URL", "/missing/page"),
            ("REDIRECT_QUERY_STRING", "a=1"),
            ("REDIRECT_REMOTE_USER", "user"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/missing/page?a=1"),
            ("SCRIPT_NAME", "/app"),
            ("PATH_INFO", "/error"),
        ],
    );
    assert!(
        environ["REMOTE_USER"].is_null(),
        "this one was let in without: {environ:#}"
    );
    let environ = ask("/gone/page");
    same(
        &environ,
        &[("REMOTE_USER", "user"), ("REDIRECT_URL", "/gone/page")],
    );
    assert!(environ["REDIRECT_REMOTE_USER"].is_null() && environ["REDIRECT_QUERY_STRING"].is_null());
}

fn apache_version_is_that_of_httpd(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    let environ = environ_of(&httpd, "/");
    let software = environ["SERVER_SOFTWARE"].as_str().expect("text");
    let version = software
        .trim_start_matches("Apache/")
        .split(' ')
        .next()
        .expect("a version");
    let (_, tuple) = typed(&environ, "apache.version");
    assert_eq!(tuple, format!("({})", version.replace('.', ", ")));
}

fn a_worker_for_one_request_says_run_once(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .daemon("threads=1 maximum-requests=1")
        .start();
    let environ = environ_of(&httpd, "/");
    assert_eq!(typed(&environ, "wsgi.run_once"), ("bool".into(), "True".into()));
    assert_eq!(
        typed(&environ, "wsgi.multithread"),
        ("bool".into(), "False".into())
    );
}
