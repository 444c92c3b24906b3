//! `WSGIAuthGroupScript` with `Require wsgi-group`, and `WSGIGroupAuthoritative`.

use super::{accepts, misplaced, refuses};
use crate::codes;
use crate::gate::{BASIC, behind, get_as};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        auth_group_script_refuses_wrong_options,
        auth_group_script_stands_in_directories,
        group_authoritative_is_on_or_off_and_without_effect,
        without_a_group_script_nobody_is_in_a_group
    ]);
    topic.both(test![
        one_of_the_required_groups_is_enough,
        what_a_group_script_does_wrong_is_no_group,
        without_a_user_the_client_is_asked_for_one
    ]);
}

fn auth_group_script_refuses_wrong_options(case: &Case) {
    for (line, word) in [
        ("WSGIAuthGroupScript", "has no script"),
        ("WSGIAuthGroupScript /a.py group=x", "group"),
    ] {
        refuses(case, &[(&format!("<Location /x>\n{line}\n</Location>"), &[word])]);
    }
}

fn auth_group_script_stands_in_directories(case: &Case) {
    misplaced(case, &["WSGIAuthGroupScript /a.py", "WSGIGroupAuthoritative On"]);
}

const SCRIPT: &str = "def check_password(environ, user, password):\n    return True\n\
    GROUPS = {'joe': ['staff', b'Wheel'], 'eve': (), 'text': 'ab', 'number': 7, 'mixed': ['staff', 7], 'wide': ['\\u20ac']}\n\
    def groups_for_user(environ, user):\n    \
        if user == 'broken':\n        raise RuntimeError('on purpose')\n    \
        return iter(GROUPS[user]) if user == 'joe' else GROUPS[user]\n";

fn rules(groups: &str) -> String {
    let groups = format!("WSGIAuthGroupScript @GATE@\nRequire wsgi-group {groups}");
    BASIC.replace("Require valid-user", &groups)
}

fn one_of_the_required_groups_is_enough(case: &Case) {
    let in_group = |groups: &str, user: &str| {
        let httpd = behind(case, SCRIPT, &rules(groups)).start();
        let status = get_as(&httpd, "/a.txt", &format!("{user}:x")).status;
        if status == 401 {
            // Both say who is not in which group; httpd itself does not.
            httpd.wait_log(case.said("RW0057", "WSGI0"));
            httpd.announce("AH01631");
        }
        status
    };
    assert_eq!(in_group("other staff", "joe"), 200);
    assert_eq!(in_group("STAFF", "joe"), 200, "letters of either case");
    assert_eq!(in_group("'wheel'", "joe"), 200, "bytes, and quotes");
    assert_eq!(in_group("other", "joe"), 401);
    assert_eq!(in_group("staff", "eve"), 401, "no group at all");
    assert_eq!(in_group("b", "text"), 200, "text is an iterable of letters");
}

fn what_a_group_script_does_wrong_is_no_group(case: &Case) {
    let httpd = behind(case, SCRIPT, &rules("staff")).start();
    for user in ["broken", "number", "mixed", "wide", "unheard-of"] {
        let status = get_as(&httpd, "/a.txt", &format!("{user}:x")).status;
        assert_eq!(status, 401, "{user}");
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::CALLS]);
    httpd.announce("AH01631");
}

fn without_a_user_the_client_is_asked_for_one(case: &Case) {
    let httpd = behind(case, SCRIPT, &rules("staff")).start();
    assert_eq!(httpd.get("/a.txt").status, 401);
}

fn without_a_group_script_nobody_is_in_a_group(case: &Case) {
    let rules = rules("staff").replace("WSGIAuthGroupScript @GATE@\n", "");
    let httpd = behind(case, SCRIPT, &rules).start();
    assert_eq!(get_as(&httpd, "/a.txt", "joe:x").status, 401);
    httpd.announce("AH01631");
    httpd.wait_log(case.said("RW0054", "WSGI0"));
}

fn group_authoritative_is_on_or_off_and_without_effect(case: &Case) {
    let line = "<Location /x>\nWSGIGroupAuthoritative maybe\n</Location>";
    refuses(case, &[(line, &["maybe", "Off | On"])]);
    accepts(case, &["<Location /x>\nWSGIGroupAuthoritative Off\n</Location>"]);
}
