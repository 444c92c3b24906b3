//! Differences on purpose that no other topic shows; `docs/quirks.md` has the reasons.

use crate::environ::environ_of;
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        an_alias_with_a_slash_may_name_a_file,
        an_answer_that_is_complete_at_once_has_a_length,
        a_client_that_closed_its_side_gets_its_answer,
    ]);
    topic.daemon(test![workers_start_with_the_first_request]);
    topic.embedded(test![input_belongs_to_the_thread_of_its_request]);
    topic.once(test![
        an_undefined_process_group_is_named_at_start,
        directives_are_utf_8
    ]);
}

fn an_alias_with_a_slash_may_name_a_file(case: &Case) {
    let httpd = case
        .httpd()
        .script("environ.wsgi")
        .conf("WSGIScriptAlias /shop/ @SCRIPTS@/environ.wsgi")
        .start();
    if case.theirs() {
        // It looks for a file environ.wsgicart.
        assert_eq!(httpd.get("/shop/cart").status, 404);
        httpd.announce("WSGI0135");
        return;
    }
    let environ = environ_of(&httpd, "/shop/cart");
    assert_eq!(
        (&environ["SCRIPT_NAME"], &environ["PATH_INFO"]),
        (&"/shop".into(), &"/cart".into())
    );
}

fn an_answer_that_is_complete_at_once_has_a_length(case: &Case) {
    let source = "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
        return [b'small']\n";
    let httpd = case.httpd().source("/", "small.wsgi", source).start();
    let reply = httpd.raw_get("/").reply();
    assert_eq!(reply.body, b"small");
    let (length, coding) = (
        reply.head.header("content-length"),
        reply.head.header("transfer-encoding"),
    );
    let expected = if case.theirs() {
        (None, Some("chunked"))
    } else {
        (Some("5"), None)
    };
    assert_eq!((length, coding), expected);
}

fn a_client_that_closed_its_side_gets_its_answer(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").start();
    let mut raw = httpd.raw();
    raw.send("GET / HTTP/1.0\r\n\r\n");
    raw.finish_sending();
    assert_eq!(raw.reply().body, b"Hello World!\n");
}

fn workers_start_with_the_first_request(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").start();
    if case.theirs() {
        assert_eq!(httpd.workers().len(), 1);
        return;
    }
    assert_eq!(httpd.workers().len(), 0);
    assert_eq!(httpd.get("/").status, 200);
    assert_eq!(httpd.workers().len(), 1);
}

fn input_belongs_to_the_thread_of_its_request(case: &Case) {
    let source = "import threading\n\ndef application(environ, start_response):\n    said = []\n    def read():\n        \
        try:\n            said.append(environ['wsgi.input'].read())\n        \
        except OSError as why:\n            said.append(b'OSError')\n    \
        thread = threading.Thread(target=read)\n    thread.start()\n    thread.join()\n    \
        start_response('200 OK', [])\n    return said\n";
    let httpd = case.httpd().source("/", "threads.wsgi", source).start();
    let expected = if case.theirs() { "a body" } else { "OSError" };
    assert_eq!(httpd.post("/", "a body").text(), expected);
}

fn an_undefined_process_group_is_named_at_start(case: &Case) {
    let httpd = case
        .httpd()
        .bare()
        .script("hello.wsgi")
        .conf("WSGIProcessGroup nowhere\nWSGIScriptAlias / @SCRIPTS@/hello.wsgi")
        .start();
    if !case.theirs() {
        httpd.wait_log("RW0014");
    }
    assert_eq!(httpd.log_with("nowhere").is_empty(), case.theirs());
}

fn directives_are_utf_8(case: &Case) {
    let builder = case
        .httpd()
        .bare()
        .file("more.conf", b"WSGICallableObject caf\xe9\n");
    let started = builder.conf("Include @ROOT@/more.conf").try_start();
    match started {
        Ok(_) => assert!(case.theirs(), "started with bytes that are no text"),
        Err(text) => assert!(!case.theirs() && text.contains("UTF-8"), "{text}"),
    }
}
