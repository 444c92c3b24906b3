//! What stands between clients and workers: caches and compressors in front of answers that are cut, heads and bodies at their limits,
//! configurations that are wrong.

use crate::codes;
use rwsgi_testkit::{Case, Topic, test, until};
use std::process::Command;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f02_an_answer_that_was_cut_is_in_no_cache_and_in_no_whole_stream,
        f52_heads_and_bodies_are_limited_by_httpd_alone,
    ]);
    topic.once(test![
        f39_whatever_is_wrong_with_a_configuration_is_found_by_its_test,
    ]);
}

const SLOW: Duration = Duration::from_secs(40);

/// F2, R53
fn f02_an_answer_that_was_cut_is_in_no_cache_and_in_no_whole_stream(case: &Case) {
    case.needs_ours("it ends such an answer as if it were whole");
    let httpd = case
        .httpd()
        .load("cache")
        .load("cache_disk")
        .load("filter")
        .load("deflate")
        .file("cache/empty", "")
        .conf("CacheRoot @ROOT@/cache\nCacheEnable disk /cached\nCacheIgnoreNoLastMod On\nCacheDefaultExpire 3600\nCacheIgnoreCacheControl On")
        .conf("<Location /squeezed>\nSetOutputFilter DEFLATE\n</Location>")
        .daemon("processes=1 threads=2 queue-timeout=30")
        .script("streams.wsgi")
        .conf("WSGIScriptAlias /cached @SCRIPTS@/streams.wsgi\nWSGIScriptAlias /squeezed @SCRIPTS@/streams.wsgi")
        .start();
    let cache = httpd.root().join("cache");
    // httpd's user writes there.
    let open = Command::new("chmod").arg("777").arg(&cache).status();
    assert!(open.is_ok_and(|status| status.success()));
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF]);
    let ran = || std::fs::read(httpd.data().join("ran")).map_or(0, |text| text.len());
    for (round, bytes) in [1, 1000, 65_537, 300_000].into_iter().enumerate() {
        for time in 0..2 {
            let path = format!("/cached/die?bytes={bytes}&how=kill");
            let mut raw = httpd.raw_get(&path);
            until("an answer", SLOW, || ran() > 2 * round + time);
            assert!(!raw.reply().complete, "{path}");
        }
        // It was asked again: nothing was kept of the first.
        assert_eq!(ran(), 2 * (round + 1));
    }
    for bytes in [1000, 300_000] {
        let curl = httpd
            .curl(&format!("/squeezed/die?bytes={bytes}&how=kill"))
            .with(&["--compressed"])
            .run();
        assert!(
            curl.exit != 0 || curl.status >= 500,
            "{bytes}: {}",
            curl.complaint
        );
    }
}

/// F52
fn f52_heads_and_bodies_are_limited_by_httpd_alone(case: &Case) {
    let httpd = case
        .httpd()
        .conf("LimitRequestFieldSize 60000\nLimitRequestFields 400\nLimitRequestLine 60000\nLimitRequestBody 100000")
        .source(
            "/",
            "app.wsgi",
            "def application(environ, start_response):\n    \
             size = sum(len(v) for n, v in environ.items() if n.startswith('HTTP_X_'))\n    \
             size += len(environ['QUERY_STRING']) + len(environ['wsgi.input'].read())\n    \
             start_response('200 OK', [])\n    return [b'%d' % size]\n",
        )
        .start();
    let ask = |line: &str, head: &str, body: &str| {
        let mut raw = httpd.raw();
        raw.try_send(format!(
            "{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{head}\r\n{body}"
        ));
        let reply = raw.reply();
        (
            reply.head.status,
            String::from_utf8_lossy(&reply.body).into_owned(),
        )
    };
    // The field's name, a colon and a blank count.
    let field = |size: usize| format!("X-A: {}\r\n", "v".repeat(size - 5));
    assert_eq!(ask("GET /", &field(60_000), ""), (200, "59995".into()));
    assert_eq!(ask("GET /", &field(60_001 + 2), "").0, 400);
    // Host and Connection are two of them.
    let fields = |count: usize| {
        (0..count - 2)
            .map(|n| format!("X-{n}: v\r\n"))
            .collect::<String>()
    };
    assert_eq!(ask("GET /", &fields(400), ""), (200, "398".into()));
    assert_eq!(ask("GET /", &fields(401), "").0, 400);
    assert_eq!(
        ask(&format!("GET /?{}", "q".repeat(50_000)), "", ""),
        (200, "50000".into())
    );
    // All at once: more than any one buffer of a gateway is wont to hold.
    let much = (0..30)
        .map(|n| format!("X-{n}: {}\r\n", "v".repeat(50_000)))
        .collect::<String>();
    assert_eq!(ask("GET /", &much, ""), (200, "1500000".into()));
    let body = |size: usize| (format!("Content-Length: {size}\r\n"), "b".repeat(size));
    let (head, full) = body(100_000);
    assert_eq!(ask("POST /", &head, &full), (200, "100000".into()));
    assert_eq!(ask("POST /", "Content-Length: 100001\r\n", "").0, 413);
    assert_eq!(ask("POST /", "Content-Length: 10000000000\r\n", "").0, 413);
}

/// F39
fn f39_whatever_is_wrong_with_a_configuration_is_found_by_its_test(case: &Case) {
    case.needs_ours("it finds some of it at the first request");
    let wrong = [
        "WSGIDaemonProcess g user=nobody-of-this-name",
        "WSGIDaemonProcess g group=no-group-of-this-name",
        "WSGIDaemonProcess g processes=0",
        "WSGIDaemonProcess g processes=many",
        "WSGIDaemonProcess g threads=-1",
        "WSGIDaemonProcess g request-timeout=soon",
        "WSGIDaemonProcess g an-option-of-nobody=1",
        "WSGIDaemonProcess g processes",
        "WSGIDaemonProcess g\nWSGIDaemonProcess g",
        "WSGIDaemonProcess ~g",
        "WSGIDaemonProcess",
        "WSGIMaxWorkers many",
        "WSGIMaxMemory lots",
        "WSGIMaxWorkers 1\nWSGIDaemonProcess g processes=2",
        "WSGIScriptAlias /only-one-argument",
        "WSGIScriptAliasMatch ( /x.wsgi",
        "WSGIScriptAlias / /x.wsgi no-option-of-this-name=1",
        "WSGIUserProcess",
        "WSGIUserProcess /home/without-a-star",
        "WSGISocketPrefix",
        "WSGIRestrictEmbedded Perhaps",
        "WSGIScriptReloading Perhaps",
        "WSGILazyInitialisation On",
    ];
    let httpd = case.httpd().app("hello.wsgi").start();
    let good = std::fs::read_to_string(httpd.root().join("httpd.conf")).expect("httpd.conf");
    let program = std::fs::read_link(format!("/proc/{}/exe", httpd.parent().expect("httpd").pid));
    let program = program.expect("httpd's program");
    let tested = |text: &str| {
        let text = text.to_owned();
        httpd.rewrite_conf(|_| text);
        let done = Command::new(&program)
            .args(["-t", "-f"])
            .arg(httpd.root().join("httpd.conf"))
            .output()
            .expect("httpd -t");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.success(), said)
    };
    assert!(tested(&good).0, "{}", tested(&good).1);
    for line in wrong {
        let (passed, said) = tested(&format!("{good}\n{line}\n"));
        let directive = line
            .split([' ', '\n', '<', '>'])
            .find(|word| word.starts_with("WSGI"));
        assert!(!passed, "{line} passes");
        assert!(said.contains(directive.expect("a directive")), "{line}: {said}");
        // Who runs is not touched by that.
        assert_eq!(httpd.get("/").status, 200);
    }
    // What the manager alone would refuse, and what may still be made.
    let open = httpd.root().join("open");
    std::fs::create_dir(&open).expect("mkdir");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("chmod");
    let (passed, said) = tested(&format!("{good}\nWSGISocketPrefix open/wsgi\n"));
    assert!(
        !passed && said.contains("RW0062") && said.contains("can be changed by others"),
        "{said}"
    );
    let (passed, said) = tested(&format!("{good}\nWSGISocketPrefix nowhere/wsgi\n"));
    assert!(
        passed && said.contains("RW0062") && said.contains("does not exist"),
        "{said}"
    );
    let text = good.clone();
    httpd.rewrite_conf(|_| text);
    httpd.graceful();
    assert_eq!(httpd.get("/").status, 200);
}
