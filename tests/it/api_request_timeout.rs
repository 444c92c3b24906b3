//! `mod_wsgi.RequestTimeout` that passes through an application: 504 without a page before the head, a broken answer after it.

use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        raised_before_the_head_the_answer_is_an_empty_504,
        raised_after_the_head_the_answer_breaks_off,
        it_passes_through_except_exception_and_can_be_caught,
    ]);
}

const SCRIPT: &str = "
import mod_wsgi

def at_once(environ, start_response):
    raise mod_wsgi.RequestTimeout('too slow')

def after_start_response(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Mine', '1')])
    raise mod_wsgi.RequestTimeout('too slow')

def in_iteration(environ, start_response):
    start_response('200 OK', [])
    def blocks():
        raise mod_wsgi.RequestTimeout('too slow')
        yield b''
    return blocks()

class Mine(mod_wsgi.RequestTimeout):
    pass

def subclass(environ, start_response):
    raise Mine()

def after_a_block(environ, start_response):
    start_response('200 OK', [])
    def blocks():
        yield b'a first block'
        raise mod_wsgi.RequestTimeout('too slow')
    return blocks()

def caught(environ, start_response):
    try:
        try:
            raise mod_wsgi.RequestTimeout('too slow')
        except Exception:
            said = b'exception'
    except mod_wsgi.RequestTimeout as error:
        said = b'caught ' + str(error).encode()
    start_response('200 OK', [])
    return [said]

def application(environ, start_response):
    return globals()[environ['PATH_INFO'].strip('/')](environ, start_response)
";

fn raised_before_the_head_the_answer_is_an_empty_504(case: &Case) {
    let httpd = case
        .httpd()
        .source("/", "app.wsgi", SCRIPT)
        .conf("ErrorDocument 504 \"a page of httpd\"")
        .start();
    for path in ["/at_once", "/after_start_response", "/in_iteration", "/subclass"] {
        let reply = httpd.get(path);
        assert_eq!((reply.status, reply.text().as_str()), (504, ""), "{path}");
        assert_eq!(reply.header("x-mine"), None, "{path}");
    }
    let line = httpd.wait_log("RequestTimeout");
    assert_eq!(line.level, "info", "{}", line.text);
}

fn raised_after_the_head_the_answer_breaks_off(case: &Case) {
    let httpd = case.httpd().source("/", "app.wsgi", SCRIPT).start();
    let reply = httpd.raw_get("/after_a_block").reply();
    assert_eq!(reply.head.status, 200);
    assert_eq!(reply.body, b"a first block");
    // The original ends what it breaks off cleanly, in daemon mode.
    if !case.theirs() {
        assert!(!reply.complete);
    }
    let line = httpd.wait_log("RequestTimeout");
    assert_eq!(line.level, "info", "{}", line.text);
}

fn it_passes_through_except_exception_and_can_be_caught(case: &Case) {
    let httpd = case.httpd().source("/", "app.wsgi", SCRIPT).start();
    assert_eq!(httpd.get("/caught").text(), "caught too slow");
}
