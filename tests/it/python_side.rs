//! What an application finds around it: the `mod_wsgi` module, its own name, threads, signals, and its end.

use rwsgi_testkit::{Case, Httpd, Topic, Value, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        mod_wsgi_can_be_imported,
        modules_of_the_script_are_imported_once,
        exit_functions_run_at_the_end,
        background_threads_run_between_requests,
        signal_handlers_of_an_application_are_not_installed,
        thread_locals_and_context_last_as_long_as_their_thread,
        the_scripts_directory_is_not_on_the_path,
        source_encodings_are_honoured,
        subprocesses_work,
        asyncio_runs_inside_a_request,
        concurrent_first_requests_load_the_script_once,
    ]);
}

fn app(case: &Case, source: &str) -> Httpd {
    case.httpd()
        .daemon("threads=2")
        .source("/", "app.wsgi", source)
        .children(1)
        .start()
}

/// A script whose function `answer(environ)` gives what is sent as JSON.
fn answering(source: &str) -> String {
    format!(
        "import json, os\nDATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n{source}\n\
         def application(environ, start_response):\n    body = json.dumps(answer(environ)).encode()\n    \
         start_response('200 OK', [('Content-Type', 'application/json')])\n    return [body]\n"
    )
}

fn ask(httpd: &Httpd) -> Value {
    let reply = httpd.get("/");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn mod_wsgi_can_be_imported(case: &Case) {
    let httpd = app(
        case,
        &answering(
            "import mod_wsgi\ndef answer(environ):\n    \
             return [mod_wsgi.version, mod_wsgi.process_group, mod_wsgi.application_group == environ['mod_wsgi.application_group']]\n",
        ),
    );
    let group = if case.embedded() { "" } else { "site" };
    assert_eq!(ask(&httpd), rwsgi_testkit::json!([[6, 1, 1], group, true]));
}

fn modules_of_the_script_are_imported_once(case: &Case) {
    let source = answering(
        "import sys\nsys.loads = getattr(sys, 'loads', 0) + 1\nopen(os.path.join(DATA, 'loads'), 'a').write('x')\n\
         def answer(environ):\n    return sys.loads\n",
    );
    let httpd = app(case, &source);
    for _ in 0..10 {
        assert_eq!(ask(&httpd), Value::from(1));
    }
}

fn exit_functions_run_at_the_end(case: &Case) {
    let source = answering(
        "import atexit\natexit.register(lambda: open(os.path.join(DATA, 'exited'), 'w').close())\n\
         def answer(environ):\n    return 1\n",
    );
    let httpd = app(case, &source);
    ask(&httpd);
    httpd.stop();
    assert!(
        httpd.data().join("exited").exists(),
        "atexit functions did not run"
    );
}

fn background_threads_run_between_requests(case: &Case) {
    let source = answering(
        "import threading, time\ncount = 0\ndef work():\n    global count\n    while True:\n        count += 1\n        \
         time.sleep(0.001)\nthreading.Thread(target=work, daemon=True).start()\ndef answer(environ):\n    return count\n",
    );
    let httpd = app(case, &source);
    let first = ask(&httpd).as_u64();
    until("the thread to have run on", Duration::from_secs(10), || {
        ask(&httpd).as_u64() > first.map(|n| n + 20)
    });
}

fn signal_handlers_of_an_application_are_not_installed(case: &Case) {
    let source = answering(
        "import signal\ntry:\n    signal.signal(signal.SIGTERM, lambda *a: None)\n    said = 'no error'\n\
         except Exception as error:\n    said = type(error).__name__\ndef answer(environ):\n    return said\n",
    );
    let httpd = app(case, &source);
    let said = ask(&httpd);
    if case.theirs() {
        assert_eq!(said, "no error");
    }
    // Whatever it was told: httpd must be able to end the process, which the check at the end of this test shows.
    httpd.announce(case.said("RW0619", "WSGI"));
    httpd.announce_traceback();
}

fn thread_locals_and_context_last_as_long_as_their_thread(case: &Case) {
    let source = answering(
        "import threading\nlocal = threading.local()\ndef answer(environ):\n    \
         local.count = getattr(local, 'count', 0) + 1\n    return [threading.get_ident(), local.count]\n",
    );
    let httpd = app(case, &source);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..20 {
        let answer = ask(&httpd);
        let thread = answer[0].as_u64();
        let count = answer[1].as_u64().unwrap_or(0);
        let last = seen.insert(thread, count).unwrap_or(0);
        assert_eq!(count, last + 1, "thread {thread:?}: {seen:?}");
    }
}

fn the_scripts_directory_is_not_on_the_path(case: &Case) {
    let httpd = case
        .httpd()
        .file("scripts/beside.py", "")
        .source("/", "app.wsgi", &answering("try:\n    import beside\n    found = True\nexcept ImportError:\n    found = False\ndef answer(environ):\n    return found\n"))
        .start();
    assert_eq!(ask(&httpd), Value::from(false));
}

fn source_encodings_are_honoured(case: &Case) {
    let mut source = b"# -*- coding: latin-1 -*-\nWORD = 'caf\xe9'\n".to_vec();
    source.extend_from_slice(b"def application(environ, start_response):\n    start_response('200 OK', [])\n    return [WORD.encode('utf-8')]\n");
    let httpd = case
        .httpd()
        .file("scripts/latin.wsgi", source)
        .conf("WSGIScriptAlias / @SCRIPTS@/latin.wsgi")
        .start();
    assert_eq!(httpd.get("/").text(), "café");
}

fn subprocesses_work(case: &Case) {
    let source = answering(
        "import subprocess, sys\ndef answer(environ):\n    \
         return subprocess.run(['echo', 'hello'], capture_output=True, text=True).stdout.strip()\n",
    );
    let httpd = app(case, &source);
    assert_eq!(ask(&httpd), Value::from("hello"));
}

fn asyncio_runs_inside_a_request(case: &Case) {
    let source = answering(
        "import asyncio\nasync def work():\n    await asyncio.sleep(0.01)\n    return 'awaited'\n\
         def answer(environ):\n    return asyncio.run(work())\n",
    );
    let httpd = app(case, &source);
    for _ in 0..3 {
        assert_eq!(ask(&httpd), Value::from("awaited"));
    }
}

fn concurrent_first_requests_load_the_script_once(case: &Case) {
    let source = answering(
        "import sys, time\nsys.loads = getattr(sys, 'loads', 0) + 1\ntime.sleep(0.3)\ndef answer(environ):\n    return sys.loads\n",
    );
    let httpd = case
        .httpd()
        .daemon("threads=5")
        .source("/", "app.wsgi", &source)
        .children(1)
        .start();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| assert_eq!(ask(&httpd), Value::from(1)));
        }
    });
}
