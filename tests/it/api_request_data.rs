//! `mod_wsgi.request_data()` and `mod_wsgi.active_requests`: the data that belong to a request.

use rwsgi_testkit::{Case, Httpd, Topic, json, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        the_data_belong_to_the_request_and_go_with_it,
        outside_of_a_request_there_are_none,
        all_running_requests_are_there,
    ]);
}

fn start(case: &Case, source: &str) -> Httpd {
    case.httpd()
        .daemon("threads=4")
        .children(1)
        .source("/", "app.wsgi", &format!("import json, mod_wsgi\n{source}"))
        .start()
}

fn the_data_belong_to_the_request_and_go_with_it(case: &Case) {
    let httpd = start(
        case,
        "def application(environ, start_response):
    data = mod_wsgi.request_data()
    was_empty, data['x'] = not data, 1
    start_response('200 OK', [])
    request_id = environ['mod_wsgi.request_id']
    yield json.dumps([was_empty, mod_wsgi.request_data() is data, mod_wsgi.active_requests == {request_id: {'x': 1}},
        mod_wsgi.active_requests[request_id] is data, type(mod_wsgi.active_requests) is dict]).encode()
",
    );
    for _ in 0..3 {
        assert_eq!(httpd.get("/").json(), json!([true, true, true, true, true]));
    }
}

fn outside_of_a_request_there_are_none(case: &Case) {
    let httpd = start(
        case,
        "import threading
def said():
    try:
        return str(mod_wsgi.request_data())
    except RuntimeError as error:
        return 'RuntimeError'
def application(environ, start_response):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(said()))
    thread.start()
    thread.join()
    start_response('200 OK', [])
    return [json.dumps(answers).encode()]
",
    );
    assert_eq!(httpd.get("/").json(), json!(["RuntimeError"]));
}

fn all_running_requests_are_there(case: &Case) {
    case.needs_threads();
    let httpd = start(
        case,
        "import threading
entered, released = threading.Event(), threading.Event()
def application(environ, start_response):
    if environ['PATH_INFO'] == '/wait':
        entered.set()
        released.wait(60)
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/count':
        entered.wait(60)
        count = len(mod_wsgi.active_requests)
        return [json.dumps([count, environ['mod_wsgi.request_id'] in mod_wsgi.active_requests]).encode()]
    released.set()
    return [str(len(mod_wsgi.active_requests)).encode()]
",
    );
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| httpd.get("/wait").status);
        // Nobody has looked at the dict before; the request that waits is in it.
        assert_eq!(httpd.get("/count").json(), json!([2, true]));
        httpd.get("/release");
        assert_eq!(waiting.join().expect("the request"), 200);
    });
    until("the others to have gone", Duration::from_secs(10), || {
        httpd.get("/").text() == "1"
    });
}
