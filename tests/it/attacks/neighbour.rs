//! What one site can do to another, and what anybody learns from a failure.

use super::{USER, hosted};
use crate::codes;
use rwsgi_testkit::{Case, Topic, test, until};
use std::process::Command;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r66_crashes_of_one_site_change_nothing_for_another,
        r73_failures_tell_the_client_nothing,
        r76_processes_tell_other_users_nothing_of_requests,
    ]);
}

const CRASH: &str = "import os, signal, time\ndef application(environ, start_response):\n    os.kill(os.getpid(), signal.SIGSEGV)\n    time.sleep(30)\n";
const WELL: &str = "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [str(os.getpid()).encode()]\n";

/// R66
fn r66_crashes_of_one_site_change_nothing_for_another(case: &Case) {
    case.needs_root();
    let httpd = case
        .httpd()
        .bare()
        .file("scripts/crash.wsgi", CRASH)
        .file("scripts/well.wsgi", WELL)
        .conf("WSGIDaemonProcess one user=games group=games threads=2\nWSGIDaemonProcess two user=daemon group=daemon threads=2")
        .conf("WSGIScriptAlias /crash @SCRIPTS@/crash.wsgi process-group=one")
        .conf("WSGIScriptAlias /well @SCRIPTS@/well.wsgi process-group=two")
        .start();
    let first = httpd.get("/well").text();
    for _ in 0..case.rounds(20, 150) {
        let status = httpd.get("/crash").status;
        assert!([500, 502, 503, 504].contains(&status), "{status}");
        let reply = httpd.get("/well");
        assert_eq!((reply.status, reply.text()), (200, first.clone()));
    }
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF, codes::LATE]);
}

/// Each fails in another way; all know a secret.
const FAILING: &str = r#"
SECRET = "canary-7f3a"
def application(environ, start_response):
    how = environ["PATH_INFO"]
    if how == "/raise":
        raise RuntimeError(SECRET)
    if how == "/status":
        start_response(SECRET, [])
    elif how == "/header":
        start_response("200 OK", [("X-Secret\r\n", SECRET)])
    elif how == "/type":
        return SECRET
    elif how == "/exit":
        import os
        os._exit(7)
    elif how == "/length":
        start_response("200 OK", [("Content-Length", SECRET)])
    return [b""]
"#;

/// R73
fn r73_failures_tell_the_client_nothing(case: &Case) {
    let httpd = hosted(case, "threads=2")
        .source("/", "app.wsgi", FAILING)
        .source(
            "/import",
            "import.wsgi",
            "SECRET = 'canary-7f3a'\nimport canary_not_there\n",
        )
        .source("/syntax", "syntax.wsgi", "canary = = 7f3a\n")
        .start();
    let root = httpd.root().display().to_string();
    for how in [
        "raise", "status", "header", "type", "exit", "length", "import", "syntax",
    ] {
        let reply = httpd.raw_get(&format!("/{how}")).reply();
        assert!(reply.head.status >= 500, "{how}: {}", reply.head.status);
        let page = String::from_utf8_lossy(&reply.body).into_owned();
        let told = format!("{:?}{page}", reply.head.headers);
        for secret in ["canary", &root[..], USER, "Traceback", "python", "File \"", "pid"] {
            assert!(!told.contains(secret), "{how} tells {secret}: {told}");
        }
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION, codes::DEATH, codes::LENGTH, codes::BACK_OFF]);
}

/// R76
fn r76_processes_tell_other_users_nothing_of_requests(case: &Case) {
    const SECRET: &str = "canary-7d1e";
    let httpd = hosted(case, "threads=2")
        .app("streams.wsgi")
        .conf(&format!("SetEnv TOKEN {SECRET}"))
        .start();
    let mut request = httpd.raw_get(&format!("/slow_compute?token={SECRET}"));
    until("the application to run", Duration::from_secs(20), || {
        httpd.data().join("started").exists()
    });
    let all = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /proc/[0-9]*/comm /proc/[0-9]*/status 2>/dev/null || true";
    let seen = Command::new("setpriv")
        .args([
            "--reuid",
            "daemon",
            "--regid",
            "daemon",
            "--clear-groups",
            "sh",
            "-c",
            all,
        ])
        .output()
        .expect("setpriv")
        .stdout;
    std::fs::write(httpd.data().join("go"), "").expect("go");
    assert_eq!(request.reply().head.status, 200);
    let seen = String::from_utf8_lossy(&seen);
    let root = httpd.root().display().to_string();
    assert!(seen.contains(&root), "nothing was seen of this httpd");
    assert!(!seen.contains(SECRET));
}
