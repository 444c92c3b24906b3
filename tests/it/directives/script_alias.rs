//! `WSGIScriptAlias` as a directive; what it maps is tested in `hello.rs`, its groups in `groups.rs`.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        script_alias_needs_two_arguments,
        script_alias_refuses_wrong_options,
        script_alias_stands_in_servers
    ]);
    topic.both(test![
        aliases_of_a_virtual_host_come_first,
        relative_targets_are_below_the_server_root
    ]);
    topic.daemon(test![
        an_alias_with_both_groups_is_loaded_at_start,
        an_alias_with_both_groups_needs_the_group
    ]);
}

fn script_alias_needs_two_arguments(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIScriptAlias", &["two arguments"]),
            ("WSGIScriptAlias /x", &["two arguments"]),
        ],
    );
}

fn script_alias_refuses_wrong_options(case: &Case) {
    refuses(
        case,
        &[
            (
                "WSGIScriptAlias / /a.wsgi proces-group=x",
                &["proces-group", "process-group"],
            ),
            (
                "WSGIScriptAlias / /a.wsgi process-group=",
                &["process-group", "empty"],
            ),
            (
                "WSGIScriptAlias / /a.wsgi application-group=",
                &["application-group", "empty"],
            ),
            (
                "WSGIScriptAlias / /a.wsgi callable-object=",
                &["callable-object", "empty"],
            ),
            (
                "WSGIScriptAlias / /a.wsgi pass-authorization=yes",
                &["pass-authorization", "yes"],
            ),
            ("WSGIScriptAlias / /a.wsgi stray", &["stray"]),
        ],
    );
}

fn script_alias_stands_in_servers(case: &Case) {
    misplaced(case, &["<Location /x>\nWSGIScriptAlias / /a.wsgi\n</Location>"]);
}

fn aliases_of_a_virtual_host_come_first(case: &Case) {
    let httpd = case
        .httpd()
        .script("hello.wsgi")
        .script("environ.wsgi")
        .conf("WSGIScriptAlias / @SCRIPTS@/environ.wsgi")
        .conf("<VirtualHost *:@PORT@>\nServerName x\nWSGIScriptAlias /hello @SCRIPTS@/hello.wsgi\n</VirtualHost>")
        .start();
    assert_eq!(httpd.get("/hello").text(), "Hello World!\n");
    assert_eq!(httpd.get("/other").json()["PATH_INFO"], "/other");
}

fn relative_targets_are_below_the_server_root(case: &Case) {
    case.needs_ours("it takes relative targets as they are");
    let httpd = case
        .httpd()
        .script("hello.wsgi")
        .conf("WSGIScriptAlias / scripts/hello.wsgi")
        .start();
    assert_eq!(httpd.get("/").text(), "Hello World!\n");
}

fn an_alias_with_both_groups_is_loaded_at_start(case: &Case) {
    let httpd = case
        .httpd()
        .file(
            "scripts/early.wsgi",
            "open(__file__.replace('scripts/early.wsgi', 'data/loaded'), 'w').close()\n",
        )
        .conf("WSGIScriptAlias / @SCRIPTS@/early.wsgi process-group=site application-group=%{GLOBAL}")
        .start();
    rwsgi_testkit::until(
        "the script to be loaded without a request",
        std::time::Duration::from_secs(10),
        || httpd.data().join("loaded").exists(),
    );
}

fn an_alias_with_both_groups_needs_the_group(case: &Case) {
    refuses(
        case,
        &[(
            "WSGIScriptAlias / /a.wsgi process-group=none application-group=x",
            &["process-group=none", "WSGIDaemonProcess"],
        )],
    );
}
