//! A worker that dies: before the head a 502 whose log line names the cause, after it an answer that looks cut off. (R53)

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        death_before_the_head_is_a_502_that_names_the_signal,
        death_before_the_head_is_a_502_that_names_the_exit_code,
        death_after_one_byte_looks_truncated,
        death_after_more_than_a_frame_looks_truncated,
        death_with_content_length_looks_truncated,
        death_looks_truncated_over_http_2,
        a_request_is_never_run_twice,
        posts_are_never_run_twice,
        the_next_request_is_served_by_a_new_worker,
    ]);
    topic.both(test![
        failing_application_looks_truncated,
        failing_application_looks_truncated_over_http_2,
    ]);
}

fn httpd(case: &Case) -> Httpd {
    case.httpd()
        .http2()
        .app("streams.wsgi")
        .daemon("threads=2 processes=1")
        .start()
}

fn finish(httpd: &Httpd) {
    // The word is different each time; each test asks for the words that matter.
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF, codes::APPLICATION]);
    httpd.announce("AH00052"); // child exit signal, logged by httpd for embedded mode
}

/// The original cannot tell "cut off" from "finished" in daemon mode unless there was a Content-Length.
fn must_look_cut(case: &Case, httpd: &Httpd, path: &str, got: usize) {
    let reply = httpd.raw_get(path).reply();
    let visible = !case.theirs() || case.embedded() || reply.head.header("content-length").is_some();
    assert_eq!(reply.head.status, 200, "{path}");
    assert_eq!(
        reply.complete,
        !visible,
        "{path}: {} bytes came",
        reply.body.len()
    );
    assert!(reply.body.len() <= got, "{path}");
    let curl = httpd.curl(path).run();
    assert_eq!(curl.exit != 0, visible, "{path}: {}", curl.complaint);
}

/// N6, F1
fn death_before_the_head_is_a_502_that_names_the_signal(case: &Case) {
    let httpd = httpd(case);
    for (how, name) in [("kill", "SIGKILL"), ("segv", "SIGSEGV")] {
        for started in ["", "&started"] {
            assert_eq!(
                httpd.get(&format!("/die?how={how}{started}")).status,
                502,
                "{how}{started}"
            );
        }
        if !case.theirs() {
            httpd.wait_log(name);
        }
    }
    finish(&httpd);
}

fn death_before_the_head_is_a_502_that_names_the_exit_code(case: &Case) {
    let httpd = httpd(case);
    assert_eq!(httpd.get("/die?how=exit").status, 502);
    if !case.theirs() {
        httpd.wait_log("status 3");
    }
    finish(&httpd);
}

/// R53
fn death_after_one_byte_looks_truncated(case: &Case) {
    let httpd = httpd(case);
    for how in ["kill", "segv", "exit"] {
        must_look_cut(case, &httpd, &format!("/die?bytes=1&how={how}"), 1);
    }
    finish(&httpd);
}

fn death_after_more_than_a_frame_looks_truncated(case: &Case) {
    let httpd = httpd(case);
    for bytes in [65_536, 65_537, 1_000_000] {
        must_look_cut(case, &httpd, &format!("/die?bytes={bytes}&how=kill"), bytes);
    }
    finish(&httpd);
}

fn death_with_content_length_looks_truncated(case: &Case) {
    let httpd = httpd(case);
    for bytes in [1, 65_537] {
        must_look_cut(
            case,
            &httpd,
            &format!("/die?bytes={bytes}&how=kill&length"),
            bytes,
        );
    }
    finish(&httpd);
}

/// R53, F2
fn death_looks_truncated_over_http_2(case: &Case) {
    case.needs_http2();
    let httpd = httpd(case);
    for (bytes, length) in [(1, ""), (65_537, ""), (1, "&length"), (65_537, "&length")] {
        let curl = httpd
            .curl(&format!("/die?bytes={bytes}&how=kill{length}"))
            .http2()
            .run();
        // A stream that is reset at once may hide even the head.
        assert!(matches!(curl.status, 0 | 200), "{curl:?}");
        if !case.theirs() || !length.is_empty() {
            assert_ne!(
                curl.exit, 0,
                "{bytes}{length}: curl took a cut answer for a whole one"
            );
        }
    }
    let curl = httpd.curl("/die?how=kill").http2().run();
    assert_eq!(curl.status, 502);
    finish(&httpd);
}

fn failing_application_looks_truncated(case: &Case) {
    let httpd = httpd(case);
    for path in ["/die?bytes=1&how=raise", "/die?bytes=65537&how=raise&length"] {
        let reply = httpd.raw_get(path).reply();
        let visible = !case.theirs() || case.embedded() || path.ends_with("length");
        assert_eq!(reply.complete, !visible, "{path} {reply:?}");
    }
    httpd.announce_traceback();
    finish(&httpd);
}

fn failing_application_looks_truncated_over_http_2(case: &Case) {
    case.needs_http2();
    let httpd = httpd(case);
    for path in ["/die?bytes=1&how=raise", "/die?bytes=65537&how=raise&length"] {
        let curl = httpd.curl(path).http2().run();
        assert!(matches!(curl.status, 0 | 200), "{curl:?}");
        // Over HTTP/2 the original's answers end as if they were whole, unless there was a length.
        if !case.theirs() || path.ends_with("length") {
            assert_ne!(curl.exit, 0, "{path}: {curl:?}");
        }
    }
    httpd.announce_traceback();
    finish(&httpd);
}

fn runs(httpd: &Httpd) -> usize {
    std::fs::read(httpd.data().join("ran")).map_or(0, |text| text.len())
}

/// Sends a request that kills its worker; a pool whose workers die too often turns requests away for a while, without running them.
fn one_death(httpd: &Httpd, send: impl Fn() -> u16) {
    let before = runs(httpd);
    until("a request to be run", Duration::from_secs(20), || match send() {
        502 => true,
        503 => {
            assert_eq!(runs(httpd), before, "turned away and yet run");
            false
        }
        other => panic!("status {other}"),
    });
    assert_eq!(runs(httpd), before + 1, "run exactly once");
}

fn a_request_is_never_run_twice(case: &Case) {
    let httpd = httpd(case);
    for _ in 0..8 {
        one_death(&httpd, || httpd.get("/die?how=kill").status);
    }
    finish(&httpd);
}

/// N2
fn posts_are_never_run_twice(case: &Case) {
    let httpd = httpd(case);
    // Connections to the worker exist and are idle when it dies the next time.
    for _ in 0..4 {
        httpd.get("/pid");
        one_death(&httpd, || httpd.post("/die?how=exit", "x".repeat(100)).status);
    }
    finish(&httpd);
}

/// F1
fn the_next_request_is_served_by_a_new_worker(case: &Case) {
    let httpd = httpd(case);
    let before = httpd.get("/pid").text();
    assert_eq!(httpd.get("/die?how=kill").status, 502);
    let after = httpd.get("/pid");
    assert_eq!(after.status, 200, "{}", after.text());
    assert_ne!(after.text(), before);
    until("one worker", Duration::from_secs(5), || {
        httpd.workers().len() == 1
    });
    finish(&httpd);
}
