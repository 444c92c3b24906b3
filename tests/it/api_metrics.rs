//! `process_metrics()` and `request_metrics()`: every key, and what it counts.

use rwsgi_testkit::{Case, Httpd, Topic, Value, json, mpm, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        nothing_is_recorded_before_it_is_asked_for,
        the_process_is_described,
        requests_are_counted_since_the_last_call,
        phases_have_means_extremes_and_distributions,
        threads_are_told_one_by_one,
    ]);
}

/// The original measures nothing on the only thread of a child of prefork: neither waits for the GIL nor what the thread did.
pub fn tells_of_threads(case: &Case) -> bool {
    !(case.theirs() && case.embedded() && mpm() == "prefork")
}

fn start(case: &Case, top: &str) -> Httpd {
    let source = format!(
        "
import json, mod_wsgi, time
{top}
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/slow':
        time.sleep(0.3)
    environ['wsgi.input'].read()
    status = {{'/missing': '404 Not Found', '/broken': '500 Broken'}}.get(path, '200 OK')
    start_response(status, [])
    if path == '/process':
        return [json.dumps(mod_wsgi.process_metrics()).encode()]
    if path == '/requests':
        return [json.dumps(mod_wsgi.request_metrics()).encode()]
    if path == '/start':
        return [json.dumps([mod_wsgi.start_recording_metrics(), mod_wsgi.start_recording_metrics()]).encode()]
    return [b'hello']
"
    );
    case.httpd()
        .daemon("threads=2")
        .children(1)
        .source("/", "app.wsgi", &source)
        .start()
}

const RECORD: &str = "mod_wsgi.start_recording_metrics()";

fn keys(metrics: &Value) -> Vec<&str> {
    metrics
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

fn number(metrics: &Value, key: &str) -> f64 {
    metrics[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is no number: {metrics}"))
}

fn nothing_is_recorded_before_it_is_asked_for(case: &Case) {
    let httpd = start(case, "");
    assert_eq!(
        (httpd.get("/process").json(), httpd.get("/requests").json()),
        (Value::Null, Value::Null)
    );
    assert_eq!(httpd.get("/start").json(), json!([null, null]));
    assert!(httpd.get("/process").json().is_object() && httpd.get("/requests").json().is_object());
}

fn the_process_is_described(case: &Case) {
    let httpd = start(case, RECORD);
    httpd.get("/");
    httpd.get("/slow");
    let metrics = httpd.get("/process").json();
    let mut expected = vec![
        "pid",
        "request_busy_time",
        "request_count",
        "memory_max_rss",
        "memory_rss",
        "cpu_user_time",
        "cpu_system_time",
        "cpu_time",
        "restart_time",
        "current_time",
        "running_time",
        "request_threads",
        "active_requests",
        "threads",
    ];
    expected.sort_unstable();
    assert_eq!(keys(&metrics), expected);
    let processes = if case.embedded() {
        httpd.children()
    } else {
        httpd.workers()
    };
    assert!(
        processes.iter().any(|process| metrics["pid"] == process.pid),
        "{metrics}"
    );
    assert!(number(&metrics, "request_busy_time") >= 0.3, "{metrics}");
    assert_eq!(
        (&metrics["request_count"], &metrics["active_requests"]),
        (&json!(2), &json!(1))
    );
    for key in ["memory_max_rss", "memory_rss"] {
        assert!(
            number(&metrics, key) > 1e6 && number(&metrics, key) < 1e11,
            "{key}: {metrics}"
        );
    }
    let sum = number(&metrics, "cpu_user_time") + number(&metrics, "cpu_system_time");
    assert!((sum - number(&metrics, "cpu_time")).abs() < 1e-6, "{metrics}");
    let age = number(&metrics, "current_time") - number(&metrics, "restart_time");
    assert!(
        metrics["running_time"].is_i64() && (age - number(&metrics, "running_time")).abs() <= 1.0,
        "{metrics}"
    );
    let threads = metrics["threads"].as_array().expect("a list");
    assert_eq!(metrics["request_threads"], threads.len());
    let counts = threads.iter().map(|thread| {
        assert_eq!(keys(thread), ["request_count", "thread_id"]);
        number(thread, "request_count")
    });
    // The original counts the request under way here, and not in `request_count`.
    assert_eq!(counts.sum::<f64>(), if case.theirs() { 3.0 } else { 2.0 });
}

fn requests_are_counted_since_the_last_call(case: &Case) {
    let httpd = start(case, RECORD);
    httpd.get("/");
    httpd.get("/requests");
    httpd.post("/", "x".repeat(5000));
    httpd.get("/missing");
    httpd.get("/broken");
    httpd.get("/slow");
    let metrics = httpd.get("/requests").json();
    let mut expected: Vec<String> = [
        "pid",
        "start_time",
        "stop_time",
        "sample_period",
        "cpu_user_utilization",
        "cpu_system_utilization",
        "cpu_utilization",
        "cpu_user_time",
        "cpu_system_time",
        "cpu_time",
        "memory_max_rss",
        "memory_rss",
        "request_threads_maximum",
        "request_threads_started",
        "request_threads_active",
        "capacity_utilization",
        "request_count",
        "request_throughput",
        "status_1xx",
        "status_2xx",
        "status_3xx",
        "status_4xx",
        "status_5xx",
        "input_bytes",
        "input_reads",
        "output_bytes",
        "output_writes",
        "gil_wait_count",
        "request_threads_completed",
        "request_threads_buckets",
        "request_threads_busy_time",
        "request_threads_cpu_time",
        "request_threads_current_elapsed",
        "request_threads_max_duration",
    ]
    .map(str::to_owned)
    .to_vec();
    for phase in PHASES {
        expected.extend(
            ["time", "time_min_us", "time_max_us", "time_buckets"].map(|what| format!("{phase}_{what}")),
        );
    }
    expected.sort_unstable();
    assert_eq!(keys(&metrics), expected);
    // The call before, which ended after the numbers were taken, is among them.
    let counts = [
        "request_count",
        "status_1xx",
        "status_2xx",
        "status_3xx",
        "status_4xx",
        "status_5xx",
        "input_bytes",
    ];
    assert_eq!(
        counts.map(|key| number(&metrics, key)),
        [5.0, 0.0, 3.0, 0.0, 1.0, 1.0, 5000.0],
        "{metrics}"
    );
    assert!(
        number(&metrics, "output_bytes") > 20.0 && number(&metrics, "output_writes") == 5.0,
        "{metrics}"
    );
    assert!(
        number(&metrics, "input_reads") >= 1.0
            && (number(&metrics, "gil_wait_count") >= 5.0 || !tells_of_threads(case)),
        "{metrics}"
    );
    let period = number(&metrics, "sample_period");
    let length = number(&metrics, "stop_time") - number(&metrics, "start_time");
    // The original gives the same moment twice.
    let expected = if case.theirs() { 0.0 } else { period };
    assert!(period >= 0.3 && (length - expected).abs() < 0.05, "{metrics}");
    assert!(
        (number(&metrics, "request_throughput") * period - 5.0).abs() < 0.5,
        "{metrics}"
    );
    for kind in ["cpu_user", "cpu_system", "cpu"] {
        assert_eq!(
            metrics[format!("{kind}_time")],
            metrics[format!("{kind}_utilization")]
        );
    }
    let capacity = number(&metrics, "capacity_utilization");
    let threads = number(&metrics, "request_threads_maximum");
    assert!(
        capacity * period * threads >= 0.29 && capacity <= 1.0,
        "{metrics}"
    );
}

const PHASES: [&str; 8] = [
    "server",
    "queue",
    "daemon",
    "application",
    "request",
    "gil_wait",
    "input_read",
    "output_write",
];

fn phases_have_means_extremes_and_distributions(case: &Case) {
    let httpd = start(case, RECORD);
    httpd.get("/");
    httpd.get("/slow");
    let metrics = httpd.get("/requests").json();
    for phase in PHASES {
        let key = |what: &str| metrics[format!("{phase}_{what}")].clone();
        let buckets = key("time_buckets");
        let buckets: Vec<u64> = buckets
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_u64)
            .collect();
        assert_eq!(buckets.len(), 65, "{phase}");
        if case.embedded() && matches!(phase, "queue" | "daemon") {
            assert_eq!(
                (key("time"), key("time_min_us"), key("time_max_us")),
                (Value::Null, Value::Null, Value::Null)
            );
            assert_eq!(buckets.iter().sum::<u64>(), 0);
            continue;
        }
        if phase == "gil_wait" && !tells_of_threads(case) {
            assert_eq!(buckets.iter().sum::<u64>(), 0);
            continue;
        }
        assert_eq!(buckets.iter().sum::<u64>(), 2, "{phase}: {metrics}");
        let mean = key("time").as_f64().expect("a number") * 1e6;
        let (least, most) = (key("time_min_us").as_f64(), key("time_max_us").as_f64());
        let (least, most) = (least.expect("a number"), most.expect("a number"));
        assert!(least <= mean + 1.0 && mean <= most + 1.0, "{phase}: {metrics}");
    }
    // 0.3 s are in the octave from 256 ms, or, on a busy machine, in one above.
    let slow = metrics["application_time_buckets"].as_array().expect("a list");
    assert!(slow.iter().skip(32).any(|n| *n == 1), "{metrics}");
    assert!(number(&metrics, "application_time_max_us") >= 300_000.0);
}

fn threads_are_told_one_by_one(case: &Case) {
    if !tells_of_threads(case) {
        case.skip("the original does not, under prefork");
    }
    let httpd = start(case, RECORD);
    httpd.get("/");
    httpd.get("/slow");
    let metrics = httpd.get("/requests").json();
    let floats = |key: &str| -> Vec<f64> {
        let list = metrics[format!("request_threads_{key}")]
            .as_array()
            .expect("a list")
            .clone();
        list.iter().filter_map(Value::as_f64).collect()
    };
    let maximum = number(&metrics, "request_threads_maximum");
    assert_eq!(
        maximum,
        if !case.embedded() {
            2.0
        } else if mpm() == "prefork" {
            1.0
        } else {
            8.0
        }
    );
    for key in [
        "completed",
        "buckets",
        "busy_time",
        "cpu_time",
        "current_elapsed",
        "max_duration",
    ] {
        assert_eq!(floats(key).len() as f64, maximum, "{key}");
    }
    assert_eq!(floats("completed").iter().sum::<f64>(), 2.0);
    assert_eq!(
        metrics["request_threads_completed"],
        metrics["request_threads_buckets"]
    );
    assert!(
        floats("busy_time").iter().sum::<f64>() >= 0.3
            && floats("max_duration").iter().any(|time| *time >= 0.3),
        "{metrics}"
    );
    // The one that asks.
    assert_eq!(
        floats("current_elapsed")
            .iter()
            .filter(|time| **time > 0.0)
            .count(),
        1,
        "{metrics}"
    );
    assert!(
        number(&metrics, "request_threads_started") >= 1.0
            && number(&metrics, "request_threads_active") >= 1.0
    );
}
