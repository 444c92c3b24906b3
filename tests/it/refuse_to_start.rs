//! What is not known refuses to start with a sentence that names it: nothing is silently ignored.

use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        historical_directives_are_unknown,
        the_file_and_line_are_named,
    ]);
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
