//! What this version does not have refuses to start with a sentence that names it: nothing is silently ignored.

use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        values_that_are_not_built_are_named,
        historical_directives_are_unknown,
        the_file_and_line_are_named,
    ]);
}

fn values_that_are_not_built_are_named(case: &Case) {
    case.needs_ours("it has them");
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
