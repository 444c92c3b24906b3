//! `WSGIServerMetrics`, and the option `server-metrics`: who may see httpd's scoreboard.

use super::{accepts, misplaced, refuses};
use crate::codes;
use crate::files_hostile::CONNECTION;
use crate::gate::behind;
use rwsgi_testkit::{Builder, Case, Httpd, Topic, Value, json, test, until};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        server_metrics_is_on_or_off,
        server_metrics_is_for_the_whole_server
    ]);
    topic.both(test![
        the_scoreboard_is_seen_when_it_may_be,
        the_scoreboard_is_not_seen_otherwise,
        without_extended_status_the_scoreboard_says_less,
        a_request_body_is_read_around_a_look_at_the_scoreboard,
        outside_of_a_request_httpds_children_see_the_scoreboard,
        scripts_that_httpd_asks_see_the_scoreboard_like_applications,
    ]);
    topic.daemon(test![
        a_worker_that_asks_for_the_scoreboard_and_does_not_listen_is_given_up
    ]);
}

const APP: &str = "
import json, mod_wsgi

def application(environ, start_response):
    body = environ['wsgi.input']
    first = body.read(3)
    metrics = mod_wsgi.server_metrics()
    rest = body.read()
    start_response('200 OK', [('X-Body', '%d %d' % (len(first), len(rest)))])
    return [json.dumps(metrics).encode()]
";

/// Whether the scoreboard may be seen where the application runs, and in the other mode.
fn allowing(case: &Case, builder: Builder, here: &str, elsewhere: &str) -> Builder {
    let (daemon, embedded) = if case.embedded() {
        (elsewhere, here)
    } else {
        (here, elsewhere)
    };
    builder
        .daemon(&format!("threads=2 server-metrics={daemon}"))
        .children(1)
        .conf(&format!("WSGIServerMetrics {embedded}"))
}

fn start(case: &Case, here: &str, elsewhere: &str) -> Httpd {
    let builder = case.httpd().source("/", "app.wsgi", APP);
    allowing(case, builder, here, elsewhere)
        .conf("ExtendedStatus On")
        .start()
}

fn server_metrics_is_on_or_off(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIServerMetrics", &["one argument"]),
            ("WSGIServerMetrics yes", &["yes", "Off | On"]),
            (
                "WSGIDaemonProcess g server-metrics=yes",
                &["server-metrics=yes", "Off | On"],
            ),
        ],
    );
    accepts(
        case,
        &[
            "WSGIServerMetrics on",
            "WSGIDaemonProcess g server-metrics=ON",
            "WSGIDaemonProcess h server-metrics=Off",
        ],
    );
}

fn server_metrics_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &[
            "<VirtualHost *:@PORT@>\nWSGIServerMetrics On\n</VirtualHost>",
            "<Location /x>\nWSGIServerMetrics On\n</Location>",
        ],
    );
}

fn keys(object: &Value) -> BTreeSet<&str> {
    let object = object
        .as_object()
        .unwrap_or_else(|| panic!("no object: {object}"));
    object.keys().map(String::as_str).collect()
}

fn list<'v>(object: &'v Value, key: &str) -> &'v Vec<Value> {
    object[key]
        .as_array()
        .unwrap_or_else(|| panic!("{key} is no list: {object}"))
}

fn the_scoreboard_is_seen_when_it_may_be(case: &Case) {
    let httpd = start(case, "On", "Off");
    let (mut board, mut served) = (httpd.get("/seen").json(), 0);
    // httpd counts a request when it has been logged, after the client has its answer.
    until("a request to be counted", Duration::from_secs(10), || {
        board = httpd.get("/seen").json();
        served = served_by(&board);
        served > 0
    });
    let whole = [
        "server_limit",
        "thread_limit",
        "running_generation",
        "restart_time",
        "current_time",
        "running_time",
        "processes",
    ];
    assert_eq!(keys(&board), whole.into());
    assert!(board["running_time"].is_i64() && board["running_generation"] == 0);
    let since = |key: &str| board[key].as_f64().expect("a time");
    assert!(since("restart_time") <= since("current_time") && since("restart_time") > 1e9);
    let processes = list(&board, "processes");
    assert_eq!(board["server_limit"], processes.len());
    let pid = httpd.children().first().expect("a child").pid;
    let child = processes.iter().find(|process| process["pid"] == pid);
    let child = child.unwrap_or_else(|| panic!("no child {pid}: {board}"));
    let of_process = ["process_num", "pid", "generation", "quiescing", "workers"];
    assert_eq!(keys(child), of_process.into());
    assert_eq!(child["quiescing"], false);
    let workers = list(child, "workers");
    assert_eq!(board["thread_limit"], workers.len());
    let of_worker = [
        "thread_num",
        "generation",
        "status",
        "access_count",
        "bytes_served",
        "start_time",
        "stop_time",
        "last_used",
        "client",
        "request",
        "vhost",
    ];
    let busy = workers
        .iter()
        .find(|worker| worker["status"] == "W" && worker["request"] == "GET /seen HTTP/1.1");
    let busy = busy.unwrap_or_else(|| panic!("nobody serves this request: {child}"));
    assert_eq!(keys(busy), of_worker.into());
    assert_eq!(
        (busy["client"].as_str(), busy["request"].as_str()),
        (Some("127.0.0.1"), Some("GET /seen HTTP/1.1"))
    );
    assert!(busy["start_time"].is_f64() && busy["vhost"].is_string());
    assert_eq!(workers.iter().filter_map(count).sum::<u64>(), served);
}

fn count(worker: &Value) -> Option<u64> {
    worker["access_count"].as_u64()
}

/// Requests that all children have counted.
fn served_by(board: &Value) -> u64 {
    let processes = list(board, "processes").iter();
    let workers = processes.flat_map(|process| list(process, "workers"));
    workers.filter_map(count).sum()
}

fn the_scoreboard_is_not_seen_otherwise(case: &Case) {
    assert_eq!(start(case, "Off", "On").get("/").json(), Value::Null);
    let unset = case.httpd().source("/", "app.wsgi", APP).start();
    assert_eq!(unset.get("/").json(), Value::Null);
}

fn a_request_body_is_read_around_a_look_at_the_scoreboard(case: &Case) {
    let httpd = start(case, "On", "Off");
    for length in [2, 200_000] {
        let answer = httpd.post("/", vec![b'x'; length]);
        assert!(answer.json().is_object());
        let expected = format!("{} {}", length.min(3), length.saturating_sub(3));
        assert_eq!(answer.header("x-body"), Some(expected.as_str()));
    }
}

fn without_extended_status_the_scoreboard_says_less(case: &Case) {
    let builder = case.httpd().source("/", "app.wsgi", APP);
    let httpd = allowing(case, builder, "On", "Off")
        .conf("ExtendedStatus Off")
        .start();
    httpd.get("/first");
    let board = httpd.get("/seen").json();
    let pid = httpd.children().first().expect("a child").pid;
    let processes = list(&board, "processes");
    let child = processes.iter().find(|process| process["pid"] == pid);
    let workers = list(child.expect("the child"), "workers");
    assert!(workers.iter().any(|worker| worker["status"] == "W"), "{board}");
    for worker in workers {
        let said = [&worker["access_count"], &worker["bytes_served"]];
        assert_eq!(said, [0, 0], "{worker}");
        assert_eq!(worker["request"], "", "{worker}");
    }
}

const OUTSIDE: &str = "
import json, threading, mod_wsgi

seen = {'import': mod_wsgi.server_metrics() is not None}

def look(name):
    seen[name] = mod_wsgi.server_metrics() is not None

@mod_wsgi.subscribe_events
def told(name, **event):
    look(name)

def application(environ, start_response):
    look('application')
    thread = threading.Thread(target=look, args=('thread',))
    thread.start()
    thread.join()
    start_response('200 OK', [])
    return [json.dumps(seen).encode()]
";

fn outside_of_a_request_httpds_children_see_the_scoreboard(case: &Case) {
    let builder = case.httpd().source("/", "app.wsgi", OUTSIDE);
    let httpd = allowing(case, builder, "On", "Off").start();
    httpd.get("/");
    // By now the first request has said all about itself.
    let seen = httpd.get("/").json();
    // A worker of ours has to ask httpd's child, which listens to the thread of a request.
    let anywhere = case.theirs() || case.embedded();
    let expected = json!({
        // The script is loaded for a request.
        "import": true,
        "request_started": true,
        "application": true,
        "thread": anywhere,
        "response_started": true,
        "request_finished": true,
    });
    assert_eq!(seen, expected);
}

fn scripts_that_httpd_asks_see_the_scoreboard_like_applications(case: &Case) {
    let script = "import mod_wsgi\n\
        def allow_access(environ, host):\n    return mod_wsgi.server_metrics() is not None\n";
    for (here, elsewhere, status) in [("On", "Off", 200), ("Off", "On", 403)] {
        // The original asks in httpd's children only.
        let (here, elsewhere) = if case.theirs() && !case.embedded() {
            (elsewhere, here)
        } else {
            (here, elsewhere)
        };
        let builder = behind(case, script, "WSGIAccessScript @GATE@");
        let httpd = allowing(case, builder, here, elsewhere).start();
        assert_eq!(httpd.get("/a.txt").status, status, "{here}");
        if status == 403 {
            httpd.provoked(&[codes::CALLS]);
        }
    }
}

/// An application that asks httpd's child again and again by itself, and reads no answer.
const DEAF: &str = r#"
WANT, ASK = 18, 26

QUESTIONS = {
    "/asks": frame(ASK),
    "/wants": frame(WANT, struct.pack("<I", 65536)),
    "/asks_oddly": frame(ASK, b"x"),
}

def application(environ, start_response):
    question = QUESTIONS.get(environ["PATH_INFO"])
    if question is not None:
        with connection() as httpd:
            httpd.sendall(question * 2000)
            ended = select.poll()
            ended.register(httpd, select.POLLRDHUP)
            ended.poll(30000)
    start_response("200 OK", [])
    return [b"fine"]
"#;

/// R40: it costs one thread of httpd's child one `socket-timeout`.
fn a_worker_that_asks_for_the_scoreboard_and_does_not_listen_is_given_up(case: &Case) {
    case.needs_ours("it has another protocol");
    // Each child of prefork has a connection of its own to the worker, and the script could not tell them apart.
    case.needs_threads();
    for (metrics, path, status) in [
        ("On", "/asks", 504),
        ("Off", "/asks", 504),
        ("Off", "/wants", 504),
        ("On", "/asks_oddly", 500),
    ] {
        let httpd = case
            .httpd()
            .children(1)
            .daemon(&format!(
                "processes=1 threads=1 socket-timeout=2 server-metrics={metrics}"
            ))
            .source("/", "app.wsgi", &format!("{CONNECTION}{DEAF}"))
            .file("www/a.txt", "from httpd")
            .conf("Alias /a.txt @ROOT@/www/a.txt")
            .start();
        assert_eq!(httpd.get("/").text(), "fine");
        let child = httpd.children().first().expect("a child").pid;
        let (since, httpd) = (Instant::now(), &httpd);
        std::thread::scope(|scope| {
            let body = if path == "/wants" { 16 << 20 } else { 0 };
            let asking = scope.spawn(move || httpd.post(path, vec![b'x'; body]));
            assert_eq!(httpd.get("/a.txt").text(), "from httpd");
            assert_eq!(asking.join().expect("an answer").status, status, "{path}");
        });
        assert!(since.elapsed() < Duration::from_secs(15), "{path}");
        assert_eq!(httpd.get("/").text(), "fine", "{path}");
        assert_eq!(httpd.children().first().map(|child| child.pid), Some(child));
        httpd.provoked(&[&["RW0304", "RW0306"]]);
    }
}
