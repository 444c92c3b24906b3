//! `WSGIRestrictProcess`: which process groups a request may use.

use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        a_group_that_is_named_may_be_used,
        a_group_that_is_not_named_may_not,
        without_names_no_group_may_be_used,
        the_last_directive_of_a_scope_and_the_nearest_scope_count
    ]);
    topic.once(test![restrict_process_stands_not_in_htaccess]);
}

const NAMED: [&str; 2] = [
    "WSGIRestrictProcess other SITE",
    "WSGIRestrictProcess other %{GLOBAL}",
];
const NOT_NAMED: [&str; 2] = [
    "WSGIRestrictProcess other %{GLOBAL}",
    "WSGIRestrictProcess other site",
];

fn pick(case: &Case, lines: [&'static str; 2]) -> &'static str {
    lines[usize::from(case.embedded())]
}

fn a_group_that_is_named_may_be_used(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").conf(pick(case, NAMED)).start();
    assert_eq!(httpd.get("/").status, 200);
}

fn a_group_that_is_not_named_may_not(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").conf(pick(case, NOT_NAMED)).start();
    assert_eq!(httpd.get("/").status, 500);
    httpd.wait_log(case.said("RW0050", "WSGI0149"));
}

fn without_names_no_group_may_be_used(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").conf("WSGIRestrictProcess").start();
    assert_eq!(httpd.get("/").status, 500);
    httpd.wait_log(case.said("RW0050", "WSGI0149"));
}

fn the_last_directive_of_a_scope_and_the_nearest_scope_count(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf(pick(case, NAMED))
        .conf(pick(case, NOT_NAMED))
        .conf(&format!("<Location /open>\n{}\n</Location>", pick(case, NAMED)))
        .start();
    assert_eq!(httpd.get("/").status, 500);
    assert_eq!(httpd.get("/open").status, 200);
    httpd.wait_log(case.said("RW0050", "WSGI0149"));
}

fn restrict_process_stands_not_in_htaccess(case: &Case) {
    let httpd = case
        .httpd()
        .file("www/.htaccess", "WSGIRestrictProcess site\n")
        .file("www/a.txt", "a")
        .conf("<Directory @ROOT@/www>\nAllowOverride All\n</Directory>")
        .start();
    assert_eq!(httpd.get("/a.txt").status, 500);
    httpd.wait_log("WSGIRestrictProcess not allowed here");
}
