//! `mod_wsgi.LogHandler`: records of Python's logging in httpd's error log, with level and place.

use rwsgi_testkit::{Case, Httpd, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        levels_are_httpds,
        a_record_below_the_log_level_is_not_even_formatted,
        the_place_of_a_record_reaches_the_log_format,
        each_line_is_an_entry,
        a_record_that_cannot_be_formatted_is_handled_by_logging,
        it_can_be_subclassed,
    ]);
}

/// A script with a logger `log` that writes through the handler alone; `say(environ)` uses it.
fn script(body: &str) -> String {
    format!(
        "import logging, mod_wsgi\nlog = logging.getLogger('shop')\nlog.propagate = False\nlog.setLevel(1)\n\
         handler = mod_wsgi.LogHandler()\nlog.addHandler(handler)\n{body}\n\
         def application(environ, start_response):\n    said = say(environ)\n    start_response('200 OK', [])\n    \
         return [str(said).encode()]\n"
    )
}

fn ask(httpd: &Httpd) -> String {
    let reply = httpd.get("/");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text()
}

fn levels_are_httpds(case: &Case) {
    let source = script(
        "def say(environ):\n    for number in (60, 50, 45, 40, 30, 25, 20, 15, 10, 5):\n        log.log(number, 'number %d!', number)\n",
    );
    let httpd = case
        .httpd()
        .log_level("debug")
        .source("/", "app.wsgi", &source)
        .start();
    ask(&httpd);
    for (number, level) in [
        (60, "crit"),
        (50, "crit"),
        (45, "error"),
        (40, "error"),
        (30, "warn"),
        (25, "info"),
        (20, "info"),
        (15, "debug"),
        (10, "debug"),
        (5, "debug"),
    ] {
        let line = httpd.wait_log(&format!("number {number}!"));
        assert_eq!(line.level, level, "{}", line.text);
        assert!(
            line.text.contains("127.0.0.1"),
            "not of the request: {}",
            line.text
        );
    }
}

fn a_record_below_the_log_level_is_not_even_formatted(case: &Case) {
    let source = script(
        "class Counts:\n    times = 0\n    def __str__(self):\n        Counts.times += 1\n        return 'a value'\n\
         def say(environ):\n    Counts.times = 0\n    log.info('%s', Counts())\n    log.debug('%s', Counts())\n    return Counts.times\n",
    );
    let httpd = case.httpd().source("/", "app.wsgi", &source).start();
    assert_eq!(ask(&httpd), "1");
    // The level of the place that is asked for counts, not only that of the server.
    let httpd = case
        .httpd()
        .source("/", "app.wsgi", &source)
        .conf("<Location />\nLogLevel warn\n</Location>")
        .start();
    // The original's daemons know the level of the server only.
    let known = !case.theirs() || case.embedded();
    assert_eq!(ask(&httpd), if known { "0" } else { "1" });
}

fn the_place_of_a_record_reaches_the_log_format(case: &Case) {
    let source = script("def say(environ):\n    log.error('here I am')");
    let httpd = case
        .httpd()
        .source("/", "app.wsgi", &source)
        .conf("ErrorLogFormat \"[%t] [%-m:%l] [pid %P] at=%F %M\"")
        .start();
    ask(&httpd);
    let line = httpd.wait_log("here I am");
    // httpd shows the last part of the path.
    assert!(line.text.contains("at=app.wsgi(8)"), "{}", line.text);
}

fn each_line_is_an_entry(case: &Case) {
    let source = script(
        "def say(environ):\n    try:\n        raise ValueError('on purpose')\n    except ValueError:\n        log.exception('caught')\n    \
         log.error('first\\n\\nsecond')\n",
    );
    let httpd = case.httpd().source("/", "app.wsgi", &source).start();
    ask(&httpd);
    for words in [
        "caught",
        "Traceback (most recent call last)",
        "ValueError: on purpose",
        "first",
        "second",
    ] {
        let line = httpd.wait_log(words);
        assert_eq!(
            (line.level.as_str(), line.text.ends_with(words)),
            ("error", words != "Traceback (most recent call last)"),
            "{}",
            line.text
        );
    }
    httpd.announce_traceback();
}

fn a_record_that_cannot_be_formatted_is_handled_by_logging(case: &Case) {
    let source = script(
        "handler.handleError = lambda record: handled.append(record.msg)\nhandled = []\n\
         def say(environ):\n    log.error('%d', 'no number')\n    return handled\n",
    );
    let httpd = case.httpd().source("/", "app.wsgi", &source).start();
    assert_eq!(ask(&httpd), "['%d']");
}

fn it_can_be_subclassed(case: &Case) {
    let source = script(
        "class Mine(mod_wsgi.LogHandler):\n    def format(self, record):\n        return 'mine: ' + record.getMessage()\n\
         log.handlers[:] = [Mine(level=logging.WARNING)]\n\
         def say(environ):\n    log.info('not this')\n    log.warning('but this')\n    \
         return isinstance(log.handlers[0], logging.Handler)\n",
    );
    let httpd = case.httpd().source("/", "app.wsgi", &source).start();
    assert_eq!(ask(&httpd), "True");
    httpd.wait_log("mine: but this");
    assert!(httpd.log_with("not this").is_empty());
}
