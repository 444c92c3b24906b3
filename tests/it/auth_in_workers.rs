//! Access, authentication and group scripts in process groups: httpd's children hold no Python. mod_wsgi cannot do that.

use crate::codes;
use crate::gate::{BASIC, behind, get_as};
use rwsgi_testkit::{Case, Httpd, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        httpds_children_hold_no_python,
        the_script_runs_as_the_user_of_its_group,
        a_worker_that_dies_is_no_yes,
        a_group_whose_python_is_missing_is_no_yes,
        a_slow_script_is_no_yes,
        a_right_password_is_remembered_for_a_while,
        groups_are_remembered_for_a_while
    ]);
    topic.embedded(test![a_right_password_is_remembered_in_httpd_too]);
}

const SCRIPT: &str = "import os\n\
    def allow_access(environ, host):\n    return None\n\
    def check_password(environ, user, password):\n    \
        with open('@DATA@/asked', 'a') as f:\n        f.write(str(os.getuid()) + '\\n')\n    \
        return password == 'right'\n\
    def groups_for_user(environ, user):\n    \
        with open('@DATA@/groups', 'a') as f:\n        f.write('x\\n')\n    \
        return ['staff']\n";

fn guarded(case: &Case, rules: &str) -> rwsgi_testkit::Builder {
    case.needs_ours("its scripts run in httpd's children only, and nothing is remembered");
    let builder = behind(case, "", rules);
    let script = SCRIPT.replace("@DATA@", &builder.root().join("data").display().to_string());
    builder.file("scripts/gate.py", script)
}

fn times(httpd: &Httpd, file: &str) -> usize {
    let text = std::fs::read_to_string(httpd.data().join(file)).unwrap_or_default();
    text.lines().count()
}

fn httpds_children_hold_no_python(case: &Case) {
    let rules = format!("{BASIC}\nWSGIAccessScript @GATE@").replace(
        "Require valid-user",
        "Require wsgi-group staff\nWSGIAuthGroupScript @GATE@",
    );
    let httpd = guarded(case, &rules).conf("WSGIRestrictEmbedded On").start();
    assert_eq!(get_as(&httpd, "/a.txt", "joe:right").status, 200);
    for child in httpd.children() {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.pid)).unwrap_or_default();
        assert!(!maps.contains("libpython"), "a child has loaded Python");
    }
}

fn the_script_runs_as_the_user_of_its_group(case: &Case) {
    case.needs_root();
    let httpd = guarded(case, BASIC).daemon("threads=2 user=games").start();
    assert_eq!(get_as(&httpd, "/a.txt", "joe:right").status, 200);
    let asked = std::fs::read_to_string(httpd.data().join("asked")).expect("a note");
    let output = std::process::Command::new("id")
        .args(["-u", "games"])
        .output()
        .expect("id");
    assert_eq!(asked, String::from_utf8_lossy(&output.stdout));
}

fn a_worker_that_dies_is_no_yes(case: &Case) {
    case.needs_ours("its scripts run in httpd's children only");
    let script = "import os\ndef check_password(environ, user, password):\n    os._exit(3)\n";
    let httpd = behind(case, script, BASIC).start();
    assert_eq!(get_as(&httpd, "/a.txt", "joe:right").status, 500);
    httpd.provoked(&[codes::CALLS, codes::DEATH]);
    let line = httpd.wait_log("RW0051").text;
    assert!(
        line.contains("check_password()") && line.contains("gate.py") && line.contains("RW0300"),
        "{line}"
    );
}

fn a_group_whose_python_is_missing_is_no_yes(case: &Case) {
    let httpd = guarded(
        case,
        &BASIC.replace("@GATE@", "@SCRIPTS@/gate.py process-group=broken"),
    )
    .conf("WSGIDaemonProcess broken python-home=/nothing/here")
    .start();
    assert_eq!(get_as(&httpd, "/a.txt", "joe:right").status, 500);
    httpd.provoked(&[codes::CALLS, codes::PYTHON_HOME, codes::BACK_OFF]);
    httpd.wait_log("RW0051");
}

fn a_slow_script_is_no_yes(case: &Case) {
    case.needs_ours("its scripts run in httpd's children only");
    let script =
        "import time\ndef check_password(environ, user, password):\n    time.sleep(3)\n    return True\n";
    let httpd = behind(case, script, BASIC)
        .daemon("threads=2 socket-timeout=1")
        .start();
    assert_eq!(get_as(&httpd, "/a.txt", "joe:right").status, 500);
    httpd.provoked(&[codes::CALLS, codes::LATE]);
    httpd.wait_log("RW0051");
}

fn remembered(case: &Case) {
    let rules = BASIC.replace("@GATE@", "@GATE@ cache=3");
    let httpd = guarded(case, &rules).children(1).start();
    let get = |credentials: &str| get_as(&httpd, "/a.txt", credentials).status;
    assert_eq!(
        (get("joe:right"), get("joe:right"), times(&httpd, "asked")),
        (200, 200, 1)
    );
    assert_eq!((get("joe:wrong"), get("joe:"), get("eve:wrong")), (401, 401, 401));
    assert_eq!(
        times(&httpd, "asked"),
        4,
        "only a yes is remembered, for its own password"
    );
    assert_eq!(
        (get("eve:right"), times(&httpd, "asked")),
        (200, 5),
        "and for its own user"
    );
    until("the time to be over", Duration::from_secs(10), || {
        get("joe:right") == 200 && times(&httpd, "asked") > 5
    });
    httpd.announce("AH01617");
}

fn a_right_password_is_remembered_for_a_while(case: &Case) {
    remembered(case);
}

fn a_right_password_is_remembered_in_httpd_too(case: &Case) {
    remembered(case);
}

fn groups_are_remembered_for_a_while(case: &Case) {
    let rules = BASIC.replace(
        "Require valid-user",
        "Require wsgi-group staff\nWSGIAuthGroupScript @GATE@ cache=600",
    );
    let httpd = guarded(case, &rules).children(1).start();
    for _ in 0..3 {
        assert_eq!(get_as(&httpd, "/a.txt", "joe:right").status, 200);
    }
    assert_eq!((times(&httpd, "asked"), times(&httpd, "groups")), (3, 1));
}
