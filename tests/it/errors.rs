//! Broken scripts and broken applications: one clear 500 each, and a log entry that says which rule was broken.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        import_error_is_a_500_with_its_traceback,
        syntax_error_names_file_and_line,
        exit_at_import_is_a_500,
        missing_callable_is_named,
        not_callable_is_named,
        unreadable_script_is_named,
        a_script_that_failed_is_loaded_again_when_mended,
        wrong_return_values_are_500,
        exceptions_before_output_are_500,
        exceptions_after_output_look_truncated,
        bad_statuses_are_500,
        bad_headers_are_500,
        bad_lengths_are_500,
        error_documents_apply_to_failures,
        the_traceback_is_logged_whole_with_its_request,
        broken_rules_name_the_script,
        a_type_error_of_the_iterable_itself_has_its_traceback,
    ]);
}

/// The answer must be httpd's own page: nothing of the application, nothing injected, and the server lives on.
fn expect_500(httpd: &Httpd, path: &str) {
    let reply = httpd.raw_get(path).reply();
    assert_eq!(
        reply.head.status,
        500,
        "{path}: {}",
        String::from_utf8_lossy(&reply.body)
    );
    assert!(reply.complete, "{path}");
    let page = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(page.contains("Internal Server Error"), "{path}: {page}");
    assert!(
        !page.contains("Traceback") && !page.contains("ValueError"),
        "no internals for the client: {page}"
    );
    for leak in ["x-injected", "x-secret"] {
        assert_eq!(reply.head.header(leak), None, "{path}");
    }
}

/// What our log must say about a broken rule; the original has only the exception.
fn log_quotes(case: &Case, httpd: &Httpd, words: &[&str]) {
    if !case.theirs() {
        for word in words {
            httpd.wait_log(word);
        }
    }
}

fn finish(httpd: &Httpd) {
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION, codes::LENGTH]);
}

fn broken(case: &Case, source: &str) -> Httpd {
    case.httpd().source("/", "broken.wsgi", source).start()
}

fn import_error_is_a_500_with_its_traceback(case: &Case) {
    let httpd = broken(case, "import no_such_module_here\n");
    expect_500(&httpd, "/");
    expect_500(&httpd, "/again");
    httpd.wait_log("ModuleNotFoundError: No module named 'no_such_module_here'");
    httpd.wait_log("broken.wsgi");
    log_quotes(
        case,
        &httpd,
        &[
            "; this is Python 3.",
            "name the venv that has it with python-home",
        ],
    );
    finish(&httpd);
}

fn syntax_error_names_file_and_line(case: &Case) {
    let httpd = broken(case, "def application(environ, start_response):\n    return [\n");
    expect_500(&httpd, "/");
    httpd.wait_log("SyntaxError");
    httpd.wait_log("broken.wsgi\", line 2");
    finish(&httpd);
}

fn exit_at_import_is_a_500(case: &Case) {
    let httpd = broken(case, "import sys\nsys.exit(7)\n");
    expect_500(&httpd, "/");
    httpd.wait_log("SystemExit");
    finish(&httpd);
}

fn missing_callable_is_named(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("WSGICallableObject no_such_thing")
        .start();
    let status = httpd.get("/").status;
    // The original answers 404 in embedded mode.
    assert_eq!(
        status,
        if case.theirs() && case.embedded() {
            404
        } else {
            500
        }
    );
    httpd.wait_log("no_such_thing");
    finish(&httpd);
}

fn not_callable_is_named(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("WSGICallableObject not_callable")
        .start();
    expect_500(&httpd, "/");
    httpd.wait_log("not callable");
    log_quotes(case, &httpd, &["not_callable"]);
    finish(&httpd);
}

fn unreadable_script_is_named(case: &Case) {
    case.needs_root();
    let httpd = case.httpd().app("hello.wsgi").start();
    let script = httpd.root().join("scripts/hello.wsgi");
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&script, closed).expect("chmod");
    expect_500(&httpd, "/");
    httpd.wait_log("hello.wsgi");
    httpd.wait_log("ermission denied");
    let quoted = ["may not read it; it is of uid 0 with mode 0600", "chmod o+r"];
    log_quotes(case, &httpd, &quoted);
    finish(&httpd);
}

fn a_script_that_failed_is_loaded_again_when_mended(case: &Case) {
    let httpd = broken(case, "raise ValueError('not yet')\n");
    expect_500(&httpd, "/");
    httpd.rewrite_script(
        "broken.wsgi",
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'mended']\n",
    );
    assert_eq!(httpd.get("/").text(), "mended");
    httpd.wait_log("not yet");
    finish(&httpd);
}

fn table(case: &Case) -> Httpd {
    case.httpd().app("errors.wsgi").start()
}

/// Asks for every path of the table and checks that the log then names what was wrong.
fn all_500(case: &Case, paths: &[(&str, &str)]) {
    let httpd = table(case);
    for (path, words) in paths {
        expect_500(&httpd, path);
        log_quotes(case, &httpd, &[words]);
    }
    assert!(httpd.get("/fine").text().starts_with("fine"), "it serves on");
    finish(&httpd);
}

fn wrong_return_values_are_500(case: &Case) {
    all_500(
        case,
        &[
            ("/list_of_str", "bytes"),
            ("/bare_str", "bytes"),
            ("/bare_bytes", "bytes"),
            ("/none", "iterable"),
            ("/number", "iterable"),
            ("/list_of_numbers", "bytes"),
            ("/no_start_response", "start_response"),
            ("/write_str", "bytes"),
        ],
    );
}

fn broken_rules_name_the_script(case: &Case) {
    let httpd = table(case);
    for path in ["/none", "/bare_bytes", "/no_start_response"] {
        expect_500(&httpd, path);
    }
    // 0601 to 0609: rules of PEP 3333.
    let lines = httpd.log_with(case.said(" RW060", "WSGI0174"));
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines.iter().all(|line| line.text.contains("errors.wsgi'")),
        "{lines:?}"
    );
    finish(&httpd);
}

fn a_type_error_of_the_iterable_itself_has_its_traceback(case: &Case) {
    let httpd = table(case);
    expect_500(&httpd, "/iterable_with_a_mistake");
    httpd.wait_log("TypeError: a mistake in __iter__");
    finish(&httpd);
}

fn exceptions_before_output_are_500(case: &Case) {
    let httpd = table(case);
    for (path, words) in [
        ("/raises", "ValueError: before anything"),
        ("/raises_after_start", "ValueError: after start_response"),
        ("/raises_chained", "KeyError: 'the cause'"),
        ("/exits", "SystemExit"),
        ("/interrupts", "KeyboardInterrupt"),
        ("/recursion", "RecursionError"),
    ] {
        expect_500(&httpd, path);
        httpd.wait_log(words);
    }
    httpd.wait_log("RuntimeError: the effect");
    finish(&httpd);
}

fn exceptions_after_output_look_truncated(case: &Case) {
    let httpd = table(case);
    let reply = httpd.raw_get("/raises_in_iteration").reply();
    assert_eq!((reply.head.status, reply.body.as_slice()), (200, &b"begun"[..]));
    // The original's daemon mode ends such an answer as if it were whole.
    assert_eq!(reply.complete, case.theirs() && !case.embedded());
    let reply = httpd.raw_get("/raises_after_write").reply();
    assert!(reply.body.starts_with(b"written"));
    if !case.theirs() {
        // The original's embedded mode appends httpd's error page to what was written.
        assert_eq!((reply.body.as_slice(), reply.complete), (&b"written"[..], false));
    }
    httpd.wait_log("ValueError: in the middle");
    httpd.wait_log("ValueError: after write");
    finish(&httpd);
}

fn bad_statuses_are_500(case: &Case) {
    all_500(
        case,
        &[
            ("/status_none", "status"),
            ("/status_bytes", "status"),
            ("/status_number", "status"),
            ("/status_two_digits", "status"),
            ("/status_four_digits", "status"),
            ("/status_newline", "status"),
            ("/status_control", "status"),
            ("/status_not_latin", "status"),
            ("/exc_info_wrong", "exc_info"),
            ("/start_without_headers", "argument"),
        ],
    );
}

/// R50.
fn bad_headers_are_500(case: &Case) {
    let mut paths = vec![
        ("/headers_none", "header"),
        ("/headers_tuple", "header"),
        ("/header_no_pair", "header"),
        ("/header_list", "header"),
        ("/header_number", "header"),
        ("/header_bytes", "header"),
        ("/header_empty_name", "header"),
        ("/header_name_newline", "header"),
        ("/header_name_space", "header"),
        ("/header_name_not_latin", "header"),
        ("/header_value_newline", "header"),
        ("/header_value_lone_cr", "header"),
        ("/header_value_not_latin", "header"),
    ];
    if !case.theirs() {
        // The original lets a NUL cut the value short.
        paths.push(("/header_value_control", "header"));
    }
    all_500(case, &paths);
}

/// R52.
fn bad_lengths_are_500(case: &Case) {
    all_500(
        case,
        &[
            ("/length_not_a_number", "Content-Length"),
            ("/length_negative", "Content-Length"),
        ],
    );
}

fn error_documents_apply_to_failures(case: &Case) {
    let httpd = case
        .httpd()
        .app("errors.wsgi")
        .conf("ErrorDocument 500 \"our own apology\"")
        .start();
    let reply = httpd.get("/raises");
    assert_eq!((reply.status, reply.text().as_str()), (500, "our own apology"));
    httpd.wait_log("ValueError: before anything");
    finish(&httpd);
}

fn the_traceback_is_logged_whole_with_its_request(case: &Case) {
    let httpd = table(case);
    expect_500(&httpd, "/raises_chained");
    httpd.wait_log("RuntimeError: the effect");
    for part in [
        "Traceback (most recent call last)",
        "raises_chained",
        "errors.wsgi",
        "direct cause",
    ] {
        httpd.wait_log(part);
    }
    let line = httpd.wait_log("RuntimeError: the effect");
    // The original's daemons tag their lines with [remote …], its children with [client …].
    let tag = if case.theirs() && !case.embedded() {
        "[remote 127.0.0.1"
    } else {
        "[client 127.0.0.1"
    };
    assert!(line.text.contains(tag), "belongs to a request: {}", line.text);
    finish(&httpd);
}
