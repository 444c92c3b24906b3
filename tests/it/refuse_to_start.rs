//! What this version does not have refuses to start with a sentence that names it: nothing is silently ignored.

use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        directives_that_are_not_built_are_named,
        options_that_are_not_built_are_named,
        historical_directives_are_unknown,
        the_file_and_line_are_named,
    ]);
}

const NOT_BUILT: &[&str] = &["WSGIServerMetrics On"];

const OPTIONS_NOT_BUILT: &[&str] = &["server-metrics=On"];

fn directives_that_are_not_built_are_named(case: &Case) {
    case.needs_ours("it has them");
    for line in NOT_BUILT {
        let text = case.httpd().bare().conf(line).refused();
        let name = line
            .split([' ', '\n', '<', '>'])
            .find(|word| word.starts_with("WSGI"))
            .expect("a directive");
        assert!(
            text.contains(name) && text.contains("not built in this version"),
            "{line}: {text}"
        );
    }
}

fn options_that_are_not_built_are_named(case: &Case) {
    case.needs_ours("it has them");
    for option in OPTIONS_NOT_BUILT {
        let text = case
            .httpd()
            .bare()
            .conf(&format!("WSGIDaemonProcess g {option}"))
            .refused();
        let name = option.split('=').next().unwrap_or_default();
        let named = text.contains("WSGIDaemonProcess") && text.contains(name);
        assert!(
            named && text.contains("not built in this version"),
            "{option}: {text}"
        );
    }
    let text = case
        .httpd()
        .bare()
        .conf("WSGIDaemonProcess g threads=0")
        .refused();
    assert!(text.contains("threads=0") && text.contains("not built"), "{text}");
}

fn historical_directives_are_unknown(case: &Case) {
    for line in [
        "WSGILazyInitialization On",
        "WSGIPy3kWarningFlag On",
        "WSGIUserAuthoritative On",
        "WSGIReloadMechanism x",
    ] {
        let text = case.httpd().bare().conf(line).refused();
        assert!(text.contains("Invalid command"), "{line}: {text}");
    }
}

fn the_file_and_line_are_named(case: &Case) {
    let text = case.httpd().bare().conf("WSGIScriptReloading maybe").refused();
    assert!(text.contains("httpd.conf") && text.contains("line "), "{text}");
}
