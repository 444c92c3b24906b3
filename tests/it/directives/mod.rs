//! The directives, a file each: what they take, where they may stand, and how a wrong value is refused.

use rwsgi_testkit::{Case, Topic};

mod application_group;
mod callable_object;
mod cgi_headers;
mod chunked_request;
mod daemon_process;
mod enable_sendfile;
mod error_override;
mod handler_script;
mod import_script;
mod map_head_to_get;
mod pass_authorization;
mod process_group;
mod python_home;
mod python_path;
mod restrict_embedded;
mod restrict_process;
mod script_alias;
mod script_alias_match;
mod script_reloading;
mod socket_prefix;
mod trusted_proxies;
mod trusted_proxy_headers;

pub fn tests(topic: &mut Topic) {
    application_group::tests(topic);
    callable_object::tests(topic);
    cgi_headers::tests(topic);
    chunked_request::tests(topic);
    daemon_process::tests(topic);
    enable_sendfile::tests(topic);
    error_override::tests(topic);
    map_head_to_get::tests(topic);
    handler_script::tests(topic);
    import_script::tests(topic);
    pass_authorization::tests(topic);
    process_group::tests(topic);
    python_home::tests(topic);
    python_path::tests(topic);
    restrict_embedded::tests(topic);
    restrict_process::tests(topic);
    script_alias::tests(topic);
    script_alias_match::tests(topic);
    script_reloading::tests(topic);
    socket_prefix::tests(topic);
    trusted_proxies::tests(topic);
    trusted_proxy_headers::tests(topic);
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
            .split([' ', '\n'])
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
