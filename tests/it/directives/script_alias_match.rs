//! `WSGIScriptAliasMatch` as a directive; `hello.rs` has the ordinary case.

use super::refuses;
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![script_alias_match_refuses_a_bad_expression]);
    topic.both(test![an_expression_may_match_in_the_middle]);
}

fn script_alias_match_refuses_a_bad_expression(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIScriptAliasMatch ^/a", &["two arguments"]),
            ("WSGIScriptAliasMatch ^/(a /a.wsgi", &["^/(a"]),
            ("WSGIScriptAliasMatch ^/a /a.wsgi nothing=x", &["nothing"]),
        ],
    );
}

fn an_expression_may_match_in_the_middle(case: &Case) {
    let httpd = case
        .httpd()
        .script("environ.wsgi")
        .conf("WSGIScriptAliasMatch x/y @SCRIPTS@/environ.wsgi")
        .start();
    let environ = httpd.get("/aax/y/z").json();
    assert_eq!(
        (&environ["SCRIPT_NAME"], &environ["PATH_INFO"]),
        (&"/aax/y".into(), &"/z".into())
    );
}
