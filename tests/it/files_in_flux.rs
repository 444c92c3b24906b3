//! Files that change while they are sent, clients that are slow, filters in between: nothing may break, hang, leak or look whole.

use crate::{codes, files};
use rwsgi_testkit::{Builder, Case, Httpd, Process, Raw, Topic, test, until};
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        a_file_that_shrinks_looks_truncated_and_harms_nobody,
        a_file_that_grows_is_sent_as_long_as_it_was,
        a_file_goes_through_tls,
        a_file_goes_through_compression,
        a_file_goes_over_http_2,
        a_file_that_shrinks_behind_filters_looks_truncated,
        no_descriptor_is_left,
        a_client_that_goes_away_is_noticed,
    ]);
    topic.daemon(test![slow_clients_keep_no_worker]);
}

/// More than every buffer between the application and the client.
const LARGE: u64 = 64 << 20;

fn path(httpd: &Httpd) -> PathBuf {
    httpd.data().join("file")
}

fn resize(httpd: &Httpd, size: u64) {
    let file = File::options().write(true).open(path(httpd)).expect("open");
    file.set_len(size).expect("ftruncate");
}

fn large(builder: Builder) -> Httpd {
    let httpd = files::start(builder);
    resize(&httpd, LARGE);
    httpd
}

fn whole_body(reply: &rwsgi_testkit::CurlReply) -> bool {
    reply.body.starts_with(b"0123456789") && reply.body.len() as u64 == LARGE
}

/// A client that has read no more than the head.
fn slow(httpd: &Httpd, query: &str) -> Raw {
    let mut raw = httpd.raw_get(&format!("/serve?{query}"));
    let head = raw.head();
    assert_eq!(head.header("content-length"), Some(LARGE.to_string().as_str()));
    raw
}

fn rest(mut raw: Raw) -> u64 {
    let mut got = 0;
    loop {
        match raw.some().len() {
            0 => return got,
            n => got += n as u64,
        }
    }
}

/// Whether all of these children are still there; prefork may have made more.
fn all_live(httpd: &Httpd, before: &[u32]) -> bool {
    let now = children(httpd);
    before.iter().all(|pid| now.contains(pid))
}

/// The original logs that, as an exception of the application.
fn clients_went_away(httpd: &Httpd) {
    httpd.announce("failed to write response data");
    httpd.announce("client connection closed");
    httpd.announce_traceback();
    httpd.provoked(&[]);
}

fn children(httpd: &Httpd) -> Vec<u32> {
    httpd.children().iter().map(|child| child.pid).collect()
}

/// R33
fn a_file_that_shrinks_looks_truncated_and_harms_nobody(case: &Case) {
    if !case.embedded() {
        case.needs_ours("its daemons map the file, and may be killed by SIGBUS");
    }
    for setting in ["", "EnableMMAP Off", "WSGIEnableSendfile On"] {
        let httpd = large(case.httpd().children(1).conf(setting));
        let before = children(&httpd);
        for query in ["", "keep=1"] {
            resize(&httpd, LARGE);
            let raw = slow(&httpd, query);
            resize(&httpd, 1000);
            assert!(rest(raw) < LARGE, "{setting} {query}");
        }
        assert_eq!(httpd.get("/class").status, 200);
        assert!(all_live(&httpd, &before), "{setting}: somebody has died");
        if !case.theirs() {
            until("both log lines", Duration::from_secs(10), || {
                httpd.log_with("RW0325").len() == 2
            });
        }
        httpd.provoked(&[codes::FILE]);
        clients_went_away(&httpd);
    }
}

/// R33
fn a_file_that_grows_is_sent_as_long_as_it_was(case: &Case) {
    let httpd = large(case.httpd());
    for query in ["", "keep=1"] {
        resize(&httpd, LARGE);
        let raw = slow(&httpd, query);
        resize(&httpd, 2 * LARGE);
        assert_eq!(rest(raw), LARGE, "{query}");
    }
}

/// Starts with TLS; curl's arguments for it follow.
fn with_tls(case: &Case, conf: &str) -> Httpd {
    let builder = case
        .httpd()
        .children(1)
        .load("socache_shmcb")
        .load("ssl")
        .conf(conf);
    if !crate::neighbours::certificate(&builder) {
        case.skip("no openssl program");
    }
    let httpd = large(builder.conf(
        "SSLEngine On\nSSLSessionCache none\nSSLCertificateFile @ROOT@/certificate.pem\n\
         SSLCertificateKeyFile @ROOT@/key.pem",
    ));
    httpd.announce("[ssl:warn]");
    httpd
}

/// The exit code of curl over TLS, and what came.
fn curl_tls(httpd: &Httpd, query: &str, arguments: &[&str]) -> (i32, Vec<u8>) {
    let output = Command::new("curl")
        .args(["-sSk", "--max-time", "60"])
        .args(arguments)
        .arg(format!("https://127.0.0.1:{}/serve?{query}", httpd.port()))
        .output()
        .expect("curl");
    (output.status.code().unwrap_or(-1), output.stdout)
}

fn a_file_goes_through_tls(case: &Case) {
    for setting in ["", "WSGIEnableSendfile On"] {
        let httpd = with_tls(case, setting);
        for query in ["", "keep=1"] {
            let (exit, body) = curl_tls(&httpd, query, &[]);
            assert_eq!((exit, body.len() as u64), (0, LARGE), "{query}");
            assert!(body.starts_with(b"0123456789") && body[90_000..].starts_with(b"0123456789"));
        }
        if !case.theirs() || case.embedded() {
            let (exit, body) = curl_tls(&httpd, "", &["--range", "99995-200004"]);
            assert!(exit == 0 && body.len() == 100_010 && body.starts_with(b"56789\0"));
        }
    }
}

fn compressing(builder: Builder) -> Builder {
    builder
        .load("filter")
        .load("deflate")
        .conf("AddOutputFilterByType DEFLATE text/plain")
}

fn a_file_goes_through_compression(case: &Case) {
    let httpd = large(compressing(case.httpd().children(1)));
    for query in ["", "keep=1"] {
        let reply = httpd
            .curl(&format!("/serve?{query}"))
            .with(&["--compressed"])
            .run();
        assert!(reply.exit == 0 && whole_body(&reply), "{reply:?}");
        let plain = httpd.curl(&format!("/serve?{query}")).run();
        assert!(plain.exit == 0 && whole_body(&plain), "{plain:?}");
    }
    let ranged = httpd
        .curl("/serve")
        .with(&["--range", "5-9", "-H", "Accept-Encoding: gzip"])
        .run();
    assert_eq!(
        (ranged.exit, ranged.status),
        (0, 200),
        "what is compressed has no ranges"
    );
}

fn a_file_goes_over_http_2(case: &Case) {
    case.needs_http2();
    let httpd = large(case.httpd().children(1).http2());
    for query in ["", "keep=1", "kind=raw"] {
        let reply = httpd.curl(&format!("/serve?{query}")).http2().run();
        assert_eq!((reply.exit, reply.version.as_str()), (0, "2"), "{reply:?}");
        assert!(whole_body(&reply), "{reply:?}");
    }
    if !case.theirs() || case.embedded() {
        let reply = httpd
            .curl("/serve")
            .http2()
            .with(&["--range", "99999-163840"])
            .run();
        assert_eq!(
            (reply.exit, reply.status, reply.body.len()),
            (0, 206, 63_842),
            "{reply:?}"
        );
    }
    // The original answers HEAD with a body, which HTTP/2 does not forgive.
    if !case.theirs() {
        let head = httpd.curl("/serve").http2().with(&["--head"]).run();
        assert_eq!((head.exit, head.status), (0, 200), "{head:?}");
    }
    clients_went_away(&httpd);
}

fn a_file_that_shrinks_behind_filters_looks_truncated(case: &Case) {
    // The original maps the file: over TLS its child is killed by SIGBUS.
    case.needs_ours("httpd's child may die of it");
    let shrunk = |httpd: &Httpd, mut curl: Command, query: &str| {
        let before = children(httpd);
        resize(httpd, LARGE);
        let got = httpd.root().join("got");
        let _ = std::fs::remove_file(&got);
        let mut running = curl
            .args(["-sSk", "--max-time", "60", "--limit-rate", "1M", "-o"])
            .arg(&got)
            .spawn()
            .expect("curl");
        until("the first bytes", Duration::from_secs(20), || {
            got.metadata().is_ok_and(|meta| meta.len() > 0)
        });
        resize(httpd, 1000);
        let exit = running.wait().expect("curl ends");
        let came = got.metadata().map_or(0, |meta| meta.len());
        assert!(!exit.success(), "{query}: it looks whole, {came} bytes");
        assert!(all_live(httpd, &before), "{query}: somebody has died");
        httpd.provoked(&[codes::FILE]);
        httpd.announce("AH10298"); // mod_deflate could not read
    };
    let curl = |httpd: &Httpd, scheme: &str, query: &str, arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(arguments);
        curl.arg(format!("{scheme}://127.0.0.1:{}/serve?{query}", httpd.port()));
        curl
    };
    let tls = with_tls(case, "");
    let compressed = large(compressing(case.httpd().children(1)));
    for query in ["", "keep=1"] {
        shrunk(&tls, curl(&tls, "https", query, &[]), query);
        // What is random does not shrink, so that it takes its time.
        let noise = File::open("/dev/urandom").expect("urandom");
        let mut made = File::create(path(&compressed)).expect("file");
        std::io::copy(&mut std::io::Read::take(noise, LARGE), &mut made).expect("noise");
        shrunk(
            &compressed,
            curl(&compressed, "http", query, &["-H", "Accept-Encoding: gzip"]),
            query,
        );
    }
    if has_http2() {
        let http2 = large(case.httpd().children(1).http2());
        for query in ["", "keep=1"] {
            shrunk(
                &http2,
                curl(&http2, "http", query, &["--http2-prior-knowledge"]),
                query,
            );
        }
        http2.announce("[http2:");
    }
}

fn has_http2() -> bool {
    std::env::var("RWSGI_MPM").as_deref() != Ok("prefork")
}

fn descriptors(processes: &[Process]) -> usize {
    processes.iter().map(Process::descriptors).sum()
}

/// A round of everything that hands a descriptor over.
fn traffic(httpd: &Httpd) {
    for query in [
        "",
        "keep=1",
        "kind=raw",
        "kind=text",
        "kind=named_temporary",
        "kind=gzip",
        "wrapper=closing",
        "Content-Length=70000",
        "Content-Length=300000",
        "status=304+Not",
        "seek=99990",
    ] {
        let path = format!("/serve?{query}");
        let _ = httpd.request("GET", &path).try_send();
        let _ = httpd.request("HEAD", &path).try_send();
        let _ = httpd
            .request("GET", &path)
            .header("Range", "bytes=1-2,30000-90000")
            .try_send();
    }
    drop(httpd.raw_get("/serve"));
}

/// R33
fn no_descriptor_is_left(case: &Case) {
    for setting in ["", "WSGIEnableSendfile On", "EnableMMAP Off"] {
        let httpd = files::start(
            case.httpd()
                .children(1)
                .daemon("processes=1 threads=4")
                .conf(setting),
        );
        for _ in 0..3 {
            traffic(&httpd);
        }
        // Of connections some come and go; of files one is kept.
        let mut processes = httpd.children();
        processes.extend(httpd.workers());
        let before = descriptors(&processes);
        for _ in 0..10 {
            traffic(&httpd);
        }
        until("the descriptors to be closed", Duration::from_secs(15), || {
            descriptors(&processes) <= before + 4
        });
        httpd.provoked(&[codes::LENGTH]);
        clients_went_away(&httpd);
    }
}

fn a_client_that_goes_away_is_noticed(case: &Case) {
    let httpd = large(case.httpd().children(1).daemon("processes=1 threads=4"));
    let notes = |n: usize| {
        until("close()", Duration::from_secs(20), || {
            std::fs::read(httpd.data().join("notes")).is_ok_and(|notes| notes.len() >= n * "closed;".len())
        });
    };
    for n in 1..4 {
        drop(slow(&httpd, "keep=1"));
        notes(n);
        drop(slow(&httpd, ""));
    }
    until("the wrappers to be gone", Duration::from_secs(10), || {
        httpd.get("/references").json()[0] == 0
    });
    clients_went_away(&httpd);
}

/// R58
fn slow_clients_keep_no_worker(case: &Case) {
    case.needs_ours("its only worker would be busy with the first");
    let httpd = large(case.httpd().daemon("processes=1 threads=1"));
    let clients: Vec<Raw> = (0..4).map(|_| slow(&httpd, "")).collect();
    assert_eq!(httpd.get("/class").status, 200);
    for client in clients {
        assert_eq!(rest(client), LARGE);
    }
}
