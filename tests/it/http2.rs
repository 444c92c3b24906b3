//! HTTP/2: several requests at once on one connection, which httpd runs on threads of its own.

use rwsgi_testkit::{Case, Httpd, Topic, test, until};
use std::process::Command;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        plain_requests_work,
        many_streams_of_one_connection_are_all_answered,
        bodies_go_both_ways,
        a_stream_that_is_cancelled_frees_its_thread,
        statuses_without_a_body_end_their_stream,
    ]);
}

fn httpd(case: &Case, script: &str) -> Httpd {
    case.needs_http2();
    case.httpd()
        .http2()
        .app(script)
        .daemon("threads=8")
        .conf("WSGIChunkedRequest On")
        .children(1)
        .start()
}

fn plain_requests_work(case: &Case) {
    let httpd = httpd(case, "environ.wsgi");
    let reply = httpd
        .curl("/x?y")
        .http2()
        .with(&["-H", "Cookie: a=1", "-H", "Cookie: b=2"])
        .run();
    assert_eq!(
        (reply.exit, reply.status, reply.version.as_str()),
        (0, 200, "2"),
        "{reply:?}"
    );
    let environ = rwsgi_testkit::from_slice(&reply.body);
    assert_eq!(
        (&environ["SERVER_PROTOCOL"], &environ["PATH_INFO"]),
        (&"HTTP/2.0".into(), &"/x".into())
    );
    assert_eq!(
        (&environ["QUERY_STRING"], &environ["HTTP_COOKIE"]),
        (&"y".into(), &"a=1; b=2".into())
    );
    let head = httpd.curl("/").http2().with(&["--head"]).run();
    assert_eq!((head.exit, head.status), (0, 200), "{head:?}");
}

fn many_streams_of_one_connection_are_all_answered(case: &Case) {
    let httpd = httpd(case, "streams.wsgi");
    let url = format!("http://127.0.0.1:{}/down?bytes=100000", httpd.port());
    let Ok(output) = Command::new("h2load")
        .args(["-n", "300", "-c", "2", "-m", "20", &url])
        .output()
    else {
        case.skip("no h2load program (nghttp2-client)");
    };
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("300 succeeded, 0 failed, 0 errored"), "{told}");
    assert!(told.contains("status codes: 300 2xx"), "{told}");
}

fn bodies_go_both_ways(case: &Case) {
    let httpd = httpd(case, "streams.wsgi");
    let file = httpd.data().join("upload");
    std::fs::write(&file, vec![b'u'; 3_000_000]).expect("upload");
    let reply = httpd
        .curl("/up")
        .http2()
        .with(&["--data-binary", &format!("@{}", file.display())])
        .run();
    assert!(
        reply.body.starts_with(b"3000000 "),
        "{reply:?} {}",
        String::from_utf8_lossy(&reply.body)
    );
}

/// F54
fn a_stream_that_is_cancelled_frees_its_thread(case: &Case) {
    let httpd = httpd(case, "streams.wsgi");
    for number in 1..=4 {
        // curl gives up after a second at the latest; the head and some of the body have come by then.
        let reply = httpd
            .curl("/count_pieces")
            .http2()
            .with(&["--max-filesize", "100000", "--max-time", "1"])
            .run();
        assert_ne!(reply.exit, 0);
        until("the application to be ended", Duration::from_secs(10), || {
            std::fs::read(httpd.data().join("ended")).is_ok_and(|text| text.len() >= number)
        });
    }
    assert_eq!(httpd.get("/pid").status, 200);
    httpd.announce("AH10");
}

fn statuses_without_a_body_end_their_stream(case: &Case) {
    let httpd = httpd(case, "response.wsgi");
    for (path, status) in [
        ("/status_204", 204),
        ("/status_304", 304),
        ("/empty", 200),
        ("/empty_generator", 200),
    ] {
        let reply = httpd.curl(path).http2().run();
        assert_eq!(
            (reply.exit, reply.status, reply.body.len()),
            (0, status, 0),
            "{path} {reply:?}"
        );
    }
}
