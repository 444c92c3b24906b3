//! `WSGIFreeThreading`: says what it would need.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        free_threading_is_on_or_off,
        free_threading_is_for_the_whole_server,
        free_threading_says_what_it_needs,
        free_threading_is_not_for_one_application_group,
        free_threading_off_is_taken,
    ]);
}

fn free_threading_is_on_or_off(case: &Case) {
    refuses(case, &[("WSGIFreeThreading auto", &["'auto'", "Off | On"])]);
}

fn free_threading_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIFreeThreading On\n</VirtualHost>"],
    );
}

fn free_threading_says_what_it_needs(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("WSGIFreeThreading On")
        .start();
    assert_eq!(httpd.get("/").status, 200);
    if case.theirs() {
        // It says so while it reads the configuration, to the console.
        return httpd.announce("WSGI0200");
    }
    let line = httpd.wait_log("RW0040");
    assert!(
        line.text.contains("needs a free-threaded Python"),
        "{}",
        line.text
    );
    assert_eq!(httpd.log_with("RW0040").len(), 1);
}

fn free_threading_is_not_for_one_application_group(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("<WSGIInterpreterOptions application-group=a>\nWSGIFreeThreading On\n</WSGIInterpreterOptions>")
        .start();
    assert_eq!(httpd.get("/").status, 200);
    if case.theirs() {
        httpd.announce("WSGI0200");
        return httpd.announce("WSGI0201");
    }
    let line = httpd.wait_log("RW0040");
    assert!(line.text.contains("application-group"), "{}", line.text);
}

fn free_threading_off_is_taken(case: &Case) {
    super::accepts(case, &["WSGIFreeThreading Off"]);
}
