//! Events: who is told what, with which keys and values.

use crate::api_metrics::tells_of_threads;
use rwsgi_testkit::{Case, Httpd, Signal, Topic, Value, json, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        subscribing_returns_the_callback,
        a_request_is_told_from_its_start_to_its_finish,
        what_is_read_and_written_is_counted,
        an_exception_of_the_application_is_told,
        a_script_that_cannot_be_loaded_is_no_event,
        the_application_may_be_replaced,
        what_a_callback_returns_is_told_to_the_next,
        a_callback_that_raises_is_logged_and_passed_over,
        the_list_of_callbacks_is_looked_at_anew,
        the_end_of_the_process_is_told,
    ]);
    topic.daemon(test![signals_of_a_worker_are_told, the_reason_of_the_end_is_told]);
}

/// Writes every event that it is told to `data/events`, one JSON list on a line; objects become the names of their types.
const RECORDER: &str = "
import json, mod_wsgi, os
EVENTS = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data', 'events')
def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (int, float, str, type(None))):
        return value
    return 'a ' + type(value).__name__
def record(name, **event):
    if 'request_environ' in event:
        event['request_environ'] = 'a dict' if type(event['request_environ']) is dict else 'something else'
    with open(EVENTS, 'a') as file:
        file.write(json.dumps([name, plain(event)]) + chr(10))
";

fn start(case: &Case, body: &str) -> Httpd {
    let source = format!("{RECORDER}{body}");
    case.httpd()
        .daemon("threads=1")
        .children(1)
        .source("/", "app.wsgi", &source)
        .start()
}

/// The events of that name that were recorded so far.
fn recorded(httpd: &Httpd, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(httpd.data().join("events")).unwrap_or_default();
    let all = text
        .lines()
        .map(|line| rwsgi_testkit::from_slice(line.as_bytes()));
    all.filter(|event: &Value| event[0] == name)
        .map(|event| event[1].clone())
        .collect()
}

fn keys(event: &Value) -> Vec<&str> {
    event
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

fn number(event: &Value, key: &str) -> f64 {
    event[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is no number: {event}"))
}

const OK: &str = "
mod_wsgi.subscribe_events(record)
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-A', 'b')])
    return [environ['mod_wsgi.request_id'].encode(), b' ', str(environ['mod_wsgi.thread_id']).encode()]
";

fn subscribing_returns_the_callback(case: &Case) {
    let httpd = start(
        case,
        "def application(environ, start_response):
    start_response('200 OK', [])
    kinds = [type(names) is list for names in (mod_wsgi.event_callbacks, mod_wsgi.shutdown_callbacks, mod_wsgi.signal_callbacks)]
    def callback(name, **event): pass
    same = [f(callback) is callback for f in (mod_wsgi.subscribe_events, mod_wsgi.subscribe_shutdown, mod_wsgi.subscribe_signals)]
    there = [callback in names for names in (mod_wsgi.event_callbacks, mod_wsgi.shutdown_callbacks, mod_wsgi.signal_callbacks)]
    return [json.dumps([kinds, same, there]).encode()]
",
    );
    // Signals are for daemon processes; httpd's children say so and ignore it.
    let signals = !case.embedded();
    let all = json!([true, true, true]);
    assert_eq!(httpd.get("/").json(), json!([all, all, [true, true, signals]]));
    if case.embedded() {
        let log = httpd.log();
        let said = log
            .iter()
            .find(|line| line.text.contains("ignal") && line.level == "info");
        assert!(
            said.is_some_and(|line| line.module.contains("wsgi")),
            "nothing was said"
        );
    }
}

fn a_request_is_told_from_its_start_to_its_finish(case: &Case) {
    let httpd = start(case, OK);
    let text = httpd.get("/").text();
    let (id, thread) = text.split_once(' ').expect("two words");
    httpd.get("/");
    let started = &recorded(&httpd, "request_started")[0];
    let mut expected = vec![
        "application_object",
        "application_start",
        "callable_object",
        "daemon_connects",
        "daemon_restarts",
        "daemon_start",
        "queue_start",
        "request_data",
        "request_environ",
        "request_id",
        "request_start",
        "server_pid",
        "thread_id",
    ];
    expected.sort_unstable();
    assert_eq!(keys(started), expected);
    assert_eq!(
        (&started["request_id"], started["thread_id"].to_string().as_str()),
        (&json!(id), thread)
    );
    assert_eq!(started["application_object"], "a function");
    assert_eq!(
        (&started["callable_object"], &started["request_environ"]),
        (&json!("application"), &json!("a dict"))
    );
    assert_eq!(started["request_data"], json!({}));
    let children: Vec<u32> = httpd.children().iter().map(|child| child.pid).collect();
    assert!(
        children.iter().any(|pid| started["server_pid"] == *pid),
        "{started} {children:?}"
    );
    let (request, queue, daemon, application) = (
        number(started, "request_start"),
        number(started, "queue_start"),
        number(started, "daemon_start"),
        number(started, "application_start"),
    );
    if case.embedded() {
        assert_eq!((queue, daemon), (0.0, 0.0));
        assert_eq!(
            (&started["daemon_connects"], &started["daemon_restarts"]),
            (&json!(0), &json!(0))
        );
        assert!(request <= application, "{started}");
    } else {
        assert_eq!(
            (&started["daemon_connects"], &started["daemon_restarts"]),
            (&json!(1), &json!(0))
        );
        assert!(
            request <= queue && queue <= daemon && daemon <= application,
            "{started}"
        );
    }
    response_and_finish(case, &httpd, started);
}

fn response_and_finish(case: &Case, httpd: &Httpd, started: &Value) {
    let response = &recorded(httpd, "response_started")[0];
    let headers = json!([["Content-Type", "text/plain"], ["X-A", "b"]]);
    let expected = json!({
        "request_id": started["request_id"], "response_status": "200 OK", "response_headers": headers, "exception_info": null,
        "request_data": {},
    });
    assert_eq!(*response, expected);
    let finished = &recorded(httpd, "request_finished")[1];
    let mut expected = vec![
        "application_finish",
        "application_time",
        "cpu_system_time",
        "cpu_time",
        "cpu_user_time",
        "daemon_start",
        "gil_wait_count",
        "gil_wait_time",
        "input_length",
        "input_reads",
        "input_time",
        "output_length",
        "output_time",
        "output_writes",
        "queue_start",
        "request_data",
        "request_id",
        "request_start",
        "server_pid",
        "status",
        "thread_id",
    ];
    expected.sort_unstable();
    assert_eq!(keys(finished), expected);
    let again = &recorded(httpd, "request_started")[1];
    for key in [
        "request_id",
        "thread_id",
        "server_pid",
        "request_start",
        "queue_start",
        "daemon_start",
    ] {
        assert_eq!(finished[key], again[key], "{key}");
    }
    assert_eq!(finished["status"], 200);
    assert!(number(finished, "application_finish") >= number(again, "application_start"));
    assert!(number(finished, "application_time") >= 0.0 && number(finished, "application_time") < 10.0);
    for key in [
        "cpu_user_time",
        "cpu_system_time",
        "cpu_time",
        "gil_wait_time",
        "input_time",
        "output_time",
    ] {
        assert!(number(finished, key) >= 0.0, "{key}: {finished}");
    }
    // Without output that blocks nothing is waited for here.
    let counts = case.theirs() && tells_of_threads(case);
    assert!(number(finished, "gil_wait_count") >= if counts { 1.0 } else { 0.0 });
}

fn what_is_read_and_written_is_counted(case: &Case) {
    let httpd = start(
        case,
        "
mod_wsgi.subscribe_events(record)
def application(environ, start_response):
    body = environ['wsgi.input'].read(4) + environ['wsgi.input'].read()
    write = start_response('200 OK', [('Content-Length', '5')])
    write(b'ab')
    return [b'cd', b'', b'efg']
",
    );
    let body = "x".repeat(100_000);
    assert_eq!(httpd.post("/", body).text(), "abcde");
    httpd.get("/");
    httpd.provoked(&[crate::codes::LENGTH]);
    // An event may come after the answer, and after that of the next request.
    let finished =
        &rwsgi_testkit::until_some("the upload's event", std::time::Duration::from_secs(10), || {
            let events = recorded(&httpd, "request_finished");
            events.into_iter().find(|event| event["input_length"] == 100_000)
        });
    assert!(
        number(finished, "input_reads") >= 2.0 && number(finished, "input_time") > 0.0,
        "{finished}"
    );
    // What is beyond the declared length counts, too: it was offered.
    assert_eq!(
        (&finished["output_length"], &finished["output_writes"]),
        (&json!(7), &json!(3)),
        "{finished}"
    );
    assert!(number(finished, "output_time") > 0.0, "{finished}");
}

fn an_exception_of_the_application_is_told(case: &Case) {
    let httpd = start(
        case,
        "
mod_wsgi.subscribe_events(record)
def application(environ, start_response):
    mod_wsgi.request_data()['mine'] = 1
    if environ['PATH_INFO'] == '/begun':
        start_response('200 OK', [])
    if environ['PATH_INFO'] == '/iterated':
        start_response('201 Made', [])
        def blocks():
            yield b'one'
            raise KeyError('two')
        return blocks()
    raise ValueError('on purpose')
",
    );
    assert_eq!((httpd.get("/").status, httpd.get("/begun").status), (500, 500));
    httpd.raw_get("/iterated").reply();
    let exceptions = recorded(&httpd, "request_exception");
    for (event, class) in exceptions.iter().zip(["ValueError", "ValueError", "KeyError"]) {
        assert_eq!(keys(event), ["exception_info", "request_data", "request_id"]);
        assert_eq!(
            event["exception_info"],
            json!(["a type", format!("a {class}"), "a traceback"])
        );
        assert_eq!(event["request_data"], json!({ "mine": 1 }));
    }
    assert_eq!(exceptions.len(), 3);
    let statuses: Vec<Value> = recorded(&httpd, "request_finished")
        .iter()
        .map(|event| event["status"].clone())
        .collect();
    // The original tells the status that was not sent.
    let begun = if case.theirs() { 200 } else { 500 };
    assert_eq!(statuses, [json!(500), json!(begun), json!(201)]);
    httpd.provoked(&[crate::codes::APPLICATION]);
    httpd.announce_traceback();
}

fn a_script_that_cannot_be_loaded_is_no_event(case: &Case) {
    let httpd = start(
        case,
        "mod_wsgi.subscribe_events(record)\nraise ValueError('on purpose')\n",
    );
    assert_eq!(httpd.get("/").status, 500);
    assert!(
        recorded(&httpd, "request_exception").is_empty() && recorded(&httpd, "request_finished").is_empty()
    );
    httpd.provoked(&[crate::codes::APPLICATION]);
    httpd.announce_traceback();
}

fn the_application_may_be_replaced(case: &Case) {
    let httpd = start(
        case,
        "
def other(environ, start_response):
    start_response('200 OK', [])
    return [b'the other']
@mod_wsgi.subscribe_events
def replace(name, **event):
    if name == 'request_started':
        return {'application_object': other}
def application(environ, start_response):
    raise ValueError('not called')
",
    );
    assert_eq!(httpd.get("/").text(), "the other");
}

fn what_a_callback_returns_is_told_to_the_next(case: &Case) {
    let httpd = start(
        case,
        "
seen = []
@mod_wsgi.subscribe_events
def first(name, **event):
    return {'added': name}
@mod_wsgi.subscribe_events
def second(name, **event):
    seen.append(event.get('added'))
    return 'no dict'
def application(environ, start_response):
    start_response('200 OK', [])
    return [json.dumps(seen).encode()]
",
    );
    assert_eq!(
        httpd.get("/").json(),
        json!(["request_started", "response_started"])
    );
}

fn a_callback_that_raises_is_logged_and_passed_over(case: &Case) {
    let httpd = start(
        case,
        "
seen = []
@mod_wsgi.subscribe_events
def raises(name, **event):
    raise ValueError('in ' + name)
@mod_wsgi.subscribe_events
def exits(name, **event):
    raise SystemExit(3)
@mod_wsgi.subscribe_events
def after(name, **event):
    seen.append(name)
def application(environ, start_response):
    start_response('200 OK', [])
    return [json.dumps(seen).encode()]
",
    );
    assert_eq!(
        httpd.get("/").json(),
        json!(["request_started", "response_started"])
    );
    assert_eq!(httpd.wait_log("ValueError: in request_started").level, "error");
    httpd.wait_log(case.said("RW0660", "WSGI0112"));
    httpd.provoked(&[crate::codes::CALLBACK]);
    httpd.announce_traceback();
}

fn the_list_of_callbacks_is_looked_at_anew(case: &Case) {
    let httpd = start(
        case,
        "
seen = []
def callback(name, **event):
    seen.append(name)
def application(environ, start_response):
    if environ['PATH_INFO'] == '/late':
        mod_wsgi.event_callbacks.append(callback)
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/off':
        mod_wsgi.event_callbacks.remove(callback)
    return [json.dumps(seen).encode()]
",
    );
    assert_eq!(httpd.get("/").json(), json!([]));
    assert_eq!(httpd.get("/late").json(), json!(["response_started"]));
    assert_eq!(httpd.get("/").json().as_array().map(Vec::len), Some(4));
    assert_eq!(httpd.get("/off").json().as_array().map(Vec::len), Some(7));
    assert_eq!(httpd.get("/").json().as_array().map(Vec::len), Some(7));
}

fn the_end_of_the_process_is_told(case: &Case) {
    let httpd = start(
        case,
        "
mod_wsgi.subscribe_shutdown(record)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
",
    );
    assert_eq!(httpd.get("/").text(), "hello");
    httpd.stop();
    // An httpd child has no reason of its own.
    let reason = if case.embedded() { "" } else { "shutdown_signal" };
    assert_eq!(
        recorded(&httpd, "process_stopping"),
        [json!({ "shutdown_reason": reason })]
    );
    assert!(recorded(&httpd, "request_started").is_empty());
}

fn signals_of_a_worker_are_told(case: &Case) {
    let httpd = start(
        case,
        "
mod_wsgi.subscribe_signals(record)
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
",
    );
    let before = httpd.get("/").text();
    let worker = httpd
        .workers()
        .into_iter()
        .find(|worker| worker.pid.to_string() == before);
    let worker = worker.expect("the worker");
    for (signal, name, number) in [(Signal::SIGHUP, "SIGHUP", 1), (Signal::SIGUSR2, "SIGUSR2", 12)] {
        worker.signal(signal);
        let expected = json!({ "signame": name, "signum": number });
        until(name, Duration::from_secs(10), || {
            recorded(&httpd, "process_signal").contains(&expected)
        });
    }
    // The original tells what a sub-interpreter has subscribed to once more for the main interpreter.
    let times = if case.theirs() { 4 } else { 2 };
    assert!(recorded(&httpd, "process_signal").len() <= times);
    assert_eq!(httpd.get("/").text(), before, "the worker goes on");
}

fn the_reason_of_the_end_is_told(case: &Case) {
    let source = format!(
        "{RECORDER}
mod_wsgi.subscribe_shutdown(record)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
"
    );
    let httpd = case
        .httpd()
        .daemon("threads=1 maximum-requests=1")
        .source("/", "app.wsgi", &source)
        .start();
    assert_eq!(httpd.get("/").text(), "hello");
    let expected = json!({ "shutdown_reason": "maximum_requests" });
    until("the event", Duration::from_secs(10), || {
        recorded(&httpd, "process_stopping").contains(&expected)
    });
}
