//! What hosted code can do to get out of its user.

use super::hosted;
use rwsgi_testkit::{Case, Topic, json, test};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r22_there_is_no_way_back_to_root,
        r25_programs_of_hosted_code_inherit_no_descriptor,
    ]);
}

/// Tries everything and says how each ended.
const SCRIPT: &str = r#"
import ctypes, json, os, shutil, signal, subprocess, sys
from urllib.parse import parse_qs

libc = ctypes.CDLL(None, use_errno=True)

def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")

def application(environ, start_response):
    asked = parse_qs(environ["QUERY_STRING"])
    manager, helper = int(asked["manager"][0]), asked["helper"][0]
    tries = {
        "setuid": lambda: os.setuid(0),
        "seteuid": lambda: os.seteuid(0),
        "setgid": lambda: os.setgid(0),
        "setgroups": lambda: os.setgroups([0]),
        "chroot": lambda: os.chroot("/"),
        "chown": lambda: os.chown("/proc/self/cwd", 0, 0),
        "nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, -20),
        "mount": lambda: called(libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
        "kill the manager": lambda: os.kill(manager, signal.SIGKILL),
        "trace the manager": lambda: called(libc.ptrace(16, manager, None, None)),
        "read the manager": lambda: open("/proc/%d/mem" % manager, "rb"),
        "environment of the manager": lambda: open("/proc/%d/environ" % manager, "rb").read(1),
        "descriptors of the manager": lambda: os.listdir("/proc/%d/fd" % manager),
        "shadow": lambda: open("/etc/shadow"),
    }
    became = {}
    for name, attempt in tries.items():
        try:
            attempt()
            became[name] = "done"
        except OSError as error:
            became[name] = error.errno
    # A program that belongs to root and has the set-user-id bit.
    became["helper"] = subprocess.run([helper, "-u"], capture_output=True, text=True).stdout.strip()
    became["after"] = [os.getresuid(), os.getresgid()]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(became).encode()]
"#;

/// R22, R24
fn r22_there_is_no_way_back_to_root(case: &Case) {
    use std::os::unix::fs::PermissionsExt as _;
    let httpd = hosted(case, "threads=1").source("/", "app.wsgi", SCRIPT).start();
    let helper = httpd.root().join("helper");
    std::fs::copy("/usr/bin/id", &helper).expect("a copy of id");
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o4755)).expect("chmod");
    // The original has httpd's parent in the manager's place.
    let manager = httpd.manager().or(httpd.parent()).expect("a process of root").pid;
    let became = httpd
        .get(&format!("/?manager={manager}&helper={}", helper.display()))
        .json();
    let (eperm, eacces) = (1, 13);
    for (what, error) in became.as_object().expect("an object") {
        match &what[..] {
            "helper" | "after" => {}
            _ => assert!(error == eperm || error == eacces, "{what}: {error}"),
        }
    }
    let uid = became["after"][0][0].to_string();
    let number = &became["after"][0][0];
    assert_eq!(became["after"][0], json!([number, number, number]));
    assert_ne!(uid, "0");
    assert_eq!(
        became["helper"],
        if case.theirs() { "0" } else { &uid },
        "a set-user-id program gives privilege on the original only"
    );
    assert_eq!(
        httpd
            .get(&format!("/?manager={manager}&helper={}", helper.display()))
            .status,
        200
    );
}

const CHILD: &str = r#"
import subprocess
def application(environ, start_response):
    listing = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)))"
    said = subprocess.run(["/usr/bin/env", "python3", "-c", listing], close_fds=False, capture_output=True).stdout
    start_response("200 OK", [])
    return [said.strip()]
"#;

/// R25
fn r25_programs_of_hosted_code_inherit_no_descriptor(case: &Case) {
    let httpd = hosted(case, "threads=2").source("/", "app.wsgi", CHILD).start();
    let seen = httpd.get("/").text();
    if case.theirs() {
        // The original leaves some of httpd's open.
        assert_ne!(seen, "");
    } else {
        assert_eq!(seen, "[0, 1, 2]");
    }
}
