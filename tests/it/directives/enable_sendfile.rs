//! `WSGIEnableSendfile`: which system call sends a file.

use super::{accepts, refuses};
use crate::files;
use rwsgi_testkit::{Builder, Case, Topic, test, until};
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.once(test![enable_sendfile_is_on_or_off, it_may_stand_in_htaccess]);
    topic.both(test![files_are_sent_with_sendfile_when_it_is_on]);
}

fn enable_sendfile_is_on_or_off(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIEnableSendfile", &["one argument"]),
            ("WSGIEnableSendfile yes", &["yes", "Off | On"]),
            ("WSGIEnableSendfile On Off", &["one argument"]),
        ],
    );
    accepts(
        case,
        &[
            "WSGIEnableSendfile on",
            "<Location /x>\nWSGIEnableSendfile OFF\n</Location>",
        ],
    );
}

fn it_may_stand_in_htaccess(case: &Case) {
    let httpd = files::start(
        case.httpd()
            .file("scripts/.htaccess", "WSGIEnableSendfile On\n")
            .conf("<Directory @SCRIPTS@>\nAllowOverride FileInfo\n</Directory>"),
    );
    assert!(httpd.get("/serve").body == files::content());
}

fn files_are_sent_with_sendfile_when_it_is_on(case: &Case) {
    // Through the worker of the original there is no file in httpd's child to be sent.
    let may = !case.theirs() || case.embedded();
    for (conf, expected) in [
        ("WSGIEnableSendfile On", may),
        ("WSGIEnableSendfile Off", false),
        ("", false),
        ("EnableSendfile On", false),
        ("<Location /serve>\nWSGIEnableSendfile On\n</Location>", may),
    ] {
        assert_eq!(uses_sendfile(case, case.httpd().conf(conf)), expected, "{conf}");
    }
}

/// Whether httpd's child calls sendfile for a file of 100,000 bytes.
fn uses_sendfile(case: &Case, builder: Builder) -> bool {
    let httpd = files::start(builder.children(1));
    httpd.get("/class");
    let child = httpd.children().first().expect("a child").pid.to_string();
    let trace = httpd.root().join("trace");
    let strace = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-s",
            "600",
            "-e",
            "trace=sendfile,write,writev,sendmsg",
            "-p",
            &child,
            "-o",
        ])
        .arg(&trace)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut strace) = strace else {
        case.skip("no strace program");
    };
    let text = || std::fs::read_to_string(&trace).unwrap_or_default();
    until("strace to see a request", Duration::from_secs(20), || {
        if strace.try_wait().is_ok_and(|ended| ended.is_some()) {
            case.skip("strace may not be used here");
        }
        httpd.get("/class");
        !text().is_empty()
    });
    assert!(httpd.get("/serve").body == files::content());
    until(
        "the head of the answer in the trace",
        Duration::from_secs(20),
        || text().contains("Content-Length: 100000") || text().contains("sendfile("),
    );
    // Whoever is traced goes on.
    strace.kill().expect("strace can be ended");
    strace.wait().expect("strace ends");
    text().contains("sendfile(")
}
