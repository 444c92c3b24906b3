//! Embedded mode: what the interpreter in httpd's children looks like, compared with the command line.

use rwsgi_testkit::{Case, Httpd, Process, Topic, Value, apps_python, test, until};
use std::process::Command;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.embedded(test![
        sys_path_is_that_of_the_command_line,
        text_is_utf_8,
        the_venv_is_in_force,
        the_parent_never_loads_python,
        named_groups_and_the_main_interpreter_live_side_by_side,
        each_child_has_its_own_interpreter,
        threads_of_one_child_share_the_application,
        a_dying_child_is_replaced,
        the_signal_handlers_of_httpd_are_left_alone,
        a_child_of_prefork_ends_in_the_middle_of_a_request,
    ]);
    topic.daemon(test![children_hold_no_python_when_all_is_in_daemon_mode]);
}

fn command_line(program: &str) -> Value {
    let output = Command::new(apps_python())
        .args(["-c", program])
        .env_clear()
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .output()
        .expect("python runs");
    rwsgi_testkit::from_slice(&output.stdout)
}

fn sys_path_is_that_of_the_command_line(case: &Case) {
    case.needs_apps();
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .start();
    let seen = httpd.get("/").json()["_"]["path"].clone();
    let mut expected = command_line("import json, sys; print(json.dumps(sys.path))");
    expected
        .as_array_mut()
        .expect("sys.path")
        .retain(|entry| entry != "");
    assert_eq!(seen, expected);
}

fn text_is_utf_8(case: &Case) {
    let httpd = case
        .httpd()
        .file("data/caf\u{e9}", "found")
        .app("environ.wsgi")
        .source(
            "/file",
            "file.wsgi",
            "import os\nDATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
             def application(environ, start_response):\n    start_response('200 OK', [])\n    \
             return [open(os.path.join(DATA, 'caf\\xe9'), 'rb').read()]\n",
        )
        .conf("WSGIScriptAlias /e @SCRIPTS@/environ.wsgi")
        .start();
    let about = &httpd.get("/e").json()["_"];
    if !case.theirs() {
        // Under httpd's LANG=C the original has ASCII file names.
        assert_eq!(about["encodings"][0], "utf-8");
    }
    let _ = about;
}

fn the_venv_is_in_force(case: &Case) {
    case.needs_apps();
    let httpd = case.httpd().app("environ.wsgi").start();
    let about = &httpd.get("/").json()["_"];
    let expected =
        command_line("import json, sys; print(json.dumps([sys.prefix, sys.base_prefix, sys.executable]))");
    assert_eq!(about["prefix"], expected[0]);
    assert_eq!(about["base_prefix"], expected[1]);
    assert_eq!(about["executable"], expected[2]);
}

fn maps(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default()
}

fn the_parent_never_loads_python(case: &Case) {
    case.needs_ours("it is linked with libpython");
    let httpd = case.httpd().app("hello.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    assert!(!maps(httpd.parent().expect("parent").pid).contains("libpython"));
    let children = httpd.children();
    assert!(children.iter().any(|child| maps(child.pid).contains("libpython")));
    httpd.graceful();
    assert_eq!(httpd.get("/").status, 200);
    assert!(!maps(httpd.parent().expect("parent").pid).contains("libpython"));
}

/// R8
fn children_hold_no_python_when_all_is_in_daemon_mode(case: &Case) {
    case.needs_ours("it is linked with libpython");
    let httpd = case.httpd().app("hello.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    for child in httpd.children() {
        assert!(!maps(child.pid).contains("libpython"), "{child:?}");
    }
}

fn named_groups_and_the_main_interpreter_live_side_by_side(case: &Case) {
    case.needs_ours("on some threads it runs requests for the main interpreter in a sub-interpreter");
    let httpd = case
        .httpd()
        .script("state.wsgi")
        .conf("WSGIScriptAlias /main @SCRIPTS@/state.wsgi application-group=%{GLOBAL}")
        .conf("WSGIScriptAlias /a @SCRIPTS@/state.wsgi application-group=a")
        .conf("WSGIScriptAlias /b @SCRIPTS@/state.wsgi application-group=b")
        .children(1)
        .start();
    for round in 1..=20 {
        for path in ["/main", "/a", "/b"] {
            let answer = httpd.get(path).json();
            assert_eq!(
                (answer["count"].as_u64(), answer["loaded"].as_u64()),
                (Some(round), Some(1)),
                "{path} {answer}"
            );
        }
    }
}

fn each_child_has_its_own_interpreter(case: &Case) {
    let httpd = case.httpd().app("state.wsgi").children(1).start();
    let pid = httpd.get("/").json()["pid"].as_u64();
    assert!(
        httpd
            .children()
            .iter()
            .any(|child| Some(u64::from(child.pid)) == pid),
        "{pid:?} is no child of httpd"
    );
}

fn threads_of_one_child_share_the_application(case: &Case) {
    case.needs_threads();
    let httpd = case.httpd().app("state.wsgi").children(1).start();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..30 {
                    assert_eq!(httpd.get("/").status, 200);
                }
            });
        }
    });
    assert_eq!(httpd.get("/").json()["count"], 181);
}

fn a_dying_child_is_replaced(case: &Case) {
    let httpd = case.httpd().app("streams.wsgi").start();
    let died = httpd.request("GET", "/die?how=segv").try_send();
    assert!(
        died.is_err() || died.is_ok_and(|reply| reply.status >= 500),
        "the connection ends with the child"
    );
    // prefork may be content with the other child.
    until("a child that answers", Duration::from_secs(10), || {
        httpd.get("/pid").status == 200
    });
    httpd.wait_log("AH00052");
}

fn the_signal_handlers_of_httpd_are_left_alone(case: &Case) {
    // Ordinary signals only: glibc sets up its own two when a process first needs them.
    let mask = |child: &Process, field: &str| {
        let mask = child
            .status(field)
            .and_then(|mask| u64::from_str_radix(&mask, 16).ok());
        mask.expect("a mask") & 0x7fff_ffff
    };
    let handled = |httpd: &Httpd| {
        let child = httpd.children().into_iter().next().expect("a child");
        (mask(&child, "SigCgt"), mask(&child, "SigIgn"))
    };
    let without = case.httpd().bare().without_module().start();
    let httpd = case.httpd().app("hello.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    // A child arranges its signals some time after it was forked.
    until(
        "the same signals caught and ignored, with and without Python",
        Duration::from_secs(10),
        || handled(&httpd) == handled(&without),
    );
    without.stop();
    // Interpreters in the children must not keep them from ending: one round of each.
    httpd.graceful();
    assert_eq!(httpd.get("/").status, 200);
    httpd.restart();
    assert_eq!(httpd.get("/").status, 200);
}

fn a_child_of_prefork_ends_in_the_middle_of_a_request(case: &Case) {
    if std::env::var("RWSGI_MPM").as_deref() != Ok("prefork") {
        case.skip("only prefork ends its children from a signal handler");
    }
    if case.theirs() {
        // It finalises Python under the interrupted request, and httpd has to kill the child.
        case.skip("the original does not end here");
    }
    let httpd = case.httpd().app("streams.wsgi").start();
    let _waiting = httpd.raw_get("/slow_compute");
    until("the request to run", Duration::from_secs(10), || {
        httpd.data().join("started").exists()
    });
    // A child that had to be killed would be in the log (AH00045), which fails the test.
    httpd.stop();
}
