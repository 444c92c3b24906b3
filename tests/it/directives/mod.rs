//! The directives, a file each: what they take, where they may stand, and how a wrong value is refused.

use rwsgi_testkit::{Builder, Case, Httpd, Topic};
use std::os::unix::fs::PermissionsExt;

mod accept_mutex;
mod access_script;
mod application_group;
mod audit_log;
mod auth_group_script;
mod auth_user_script;
mod callable_object;
mod case_sensitivity;
mod cgi_headers;
mod chunked_request;
mod daemon_process;
mod destroy_interpreter;
mod dispatch_script;
mod dont_write_bytecode;
mod embedded_request_limit;
mod enable_sendfile;
mod error_override;
mod free_threading;
mod handler_script;
mod import_script;
mod interpreter_options;
mod map_head_to_get;
mod max_memory;
mod max_workers;
mod pass_apache_request;
mod pass_authorization;
mod per_interpreter_gil;
mod process_group;
mod python_eggs;
mod python_hash_seed;
mod python_home;
mod python_optimize;
mod python_path;
mod python_warnings;
mod request_buffering;
mod response_buffering;
mod restrict_embedded;
mod restrict_process;
mod restrict_signal;
mod restrict_stdin;
mod restrict_stdout;
mod script_alias;
mod script_alias_match;
mod script_reloading;
mod server_metrics;
mod socket_prefix;
mod socket_rotation;
mod switch_interval;
mod telemetry;
mod trusted_proxies;
mod trusted_proxy_headers;
mod user_options;
mod user_process;
mod verbose_debugging;

pub fn tests(topic: &mut Topic) {
    accept_mutex::tests(topic);
    access_script::tests(topic);
    application_group::tests(topic);
    audit_log::tests(topic);
    auth_group_script::tests(topic);
    auth_user_script::tests(topic);
    callable_object::tests(topic);
    case_sensitivity::tests(topic);
    cgi_headers::tests(topic);
    chunked_request::tests(topic);
    daemon_process::tests(topic);
    destroy_interpreter::tests(topic);
    dont_write_bytecode::tests(topic);
    embedded_request_limit::tests(topic);
    enable_sendfile::tests(topic);
    error_override::tests(topic);
    free_threading::tests(topic);
    interpreter_options::tests(topic);
    map_head_to_get::tests(topic);
    max_memory::tests(topic);
    max_workers::tests(topic);
    dispatch_script::tests(topic);
    handler_script::tests(topic);
    import_script::tests(topic);
    pass_apache_request::tests(topic);
    pass_authorization::tests(topic);
    per_interpreter_gil::tests(topic);
    process_group::tests(topic);
    python_eggs::tests(topic);
    python_hash_seed::tests(topic);
    python_home::tests(topic);
    python_optimize::tests(topic);
    python_path::tests(topic);
    python_warnings::tests(topic);
    request_buffering::tests(topic);
    response_buffering::tests(topic);
    restrict_embedded::tests(topic);
    restrict_process::tests(topic);
    restrict_signal::tests(topic);
    restrict_stdin::tests(topic);
    restrict_stdout::tests(topic);
    script_alias::tests(topic);
    script_alias_match::tests(topic);
    script_reloading::tests(topic);
    server_metrics::tests(topic);
    socket_prefix::tests(topic);
    socket_rotation::tests(topic);
    switch_interval::tests(topic);
    telemetry::tests(topic);
    trusted_proxies::tests(topic);
    trusted_proxy_headers::tests(topic);
    user_options::tests(topic);
    user_process::tests(topic);
    verbose_debugging::tests(topic);
}

/// Each line of configuration must be refused. Ours must name the directive, each of the words (the value among them) and, after a
/// semicolon, the remedy; the original is only asked to refuse.
fn refuses(case: &Case, lines: &[(&str, &[&str])]) {
    for (line, words) in lines {
        let text = case.httpd().bare().conf(line).refused();
        if case.theirs() {
            continue;
        }
        let directive = line
            .split([' ', '\n', '<', '>'])
            .find(|word| word.starts_with("WSGI"))
            .expect("a directive");
        for word in [directive].iter().chain(*words) {
            assert!(text.contains(word), "{line}: does not say {word:?}: {text}");
        }
        assert!(text.contains(';'), "{line}: does not say what to do: {text}");
    }
}

/// Each line must be refused by httpd itself, because it stands where it may not.
fn misplaced(case: &Case, lines: &[&str]) {
    for line in lines {
        let text = case.httpd().bare().conf(line).refused();
        let told = ["not allowed", "cannot occur"]
            .iter()
            .any(|words| text.contains(words));
        assert!(told, "{line}: {text}");
    }
}

/// Each line must be taken.
fn accepts(case: &Case, lines: &[&str]) {
    let httpd = case.httpd().bare().conf(&lines.join("\n")).start();
    httpd.stop();
}

/// A line that has nothing to do here: it is taken, and the log says once at start what takes its place.
fn replaced(case: &Case, line: &str) {
    let httpd = case.httpd().app("hello.wsgi").conf(line).start();
    assert_eq!(httpd.get("/").status, 200);
    if !case.theirs() {
        let directive = line.split(' ').next().unwrap_or_default();
        let told = httpd.log_with(&format!("{directive} has nothing to do here:"));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].text.contains(":notice]"), "{}", told[0].text);
    }
}

/// Starts a site whose `WSGISpoolDirectory` is `@DATA@/spool`.
fn with_spool(site: Builder) -> Httpd {
    let httpd = site.start();
    let spool = httpd.data().join("spool");
    std::fs::create_dir(&spool).expect("spool");
    std::fs::set_permissions(&spool, std::fs::Permissions::from_mode(0o777)).expect("spool");
    httpd
}

/// Where `sys.stdout` is restricted, the original's Python complains when it flushes it at its end.
fn announce_restricted_end(case: &Case, httpd: &Httpd) {
    if case.theirs() {
        httpd.announce("Exception ignored in: <mod_wsgi.Restricted");
        httpd.announce("OSError: sys.stdout access restricted");
    }
}
