//! `WSGIScriptReloading`: On serves a touched script's new version, Off keeps the old one.

use super::refuses;
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![script_reloading_is_on_or_off]);
    topic.both(test![
        a_touched_script_is_loaded_again,
        without_reloading_the_old_version_stays
    ]);
}

fn script_reloading_is_on_or_off(case: &Case) {
    refuses(case, &[("WSGIScriptReloading maybe", &["maybe", "Off | On"])]);
}

fn saying(what: &str) -> String {
    format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{what}']\n"
    )
}

fn a_touched_script_is_loaded_again(case: &Case) {
    let httpd = case.httpd().source("/", "app.wsgi", &saying("version 0")).start();
    assert_eq!(httpd.get("/").text(), "version 0");
    for version in 1..4 {
        httpd.rewrite_script("app.wsgi", &saying(&format!("version {version}")));
        for _ in 0..4 {
            assert_eq!(httpd.get("/").text(), format!("version {version}"));
        }
    }
}

fn without_reloading_the_old_version_stays(case: &Case) {
    let httpd = case
        .httpd()
        .source("/", "app.wsgi", &saying("old"))
        .conf("WSGIScriptReloading Off")
        .children(1)
        .start();
    assert_eq!(httpd.get("/").text(), "old");
    httpd.rewrite_script("app.wsgi", &saying("new"));
    for _ in 0..4 {
        assert_eq!(httpd.get("/").text(), "old");
    }
}
