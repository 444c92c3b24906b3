//! The names of `mod_wsgi` and `apache` are those of docs/compat.toml, here and there, and are called as there.

use crate::api_module::{answering, ask};
use rwsgi_testkit::{Case, Topic, Value, json, test};
use std::collections::BTreeSet;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        the_table_lists_the_names_of_the_modules,
        wrong_arguments_are_refused,
        right_arguments_are_taken,
        the_streams_have_what_streams_have,
        nobody_closes_the_standard_streams_for_the_others,
    ]);
}

const TABLE: &str = include_str!("../../docs/compat.toml");

/// The names that rows of the table say to be in a module. A row is "`mod_wsgi.name()`", or "`apache.one`, `two`".
fn listed(module: &str) -> BTreeSet<String> {
    let begin = format!("name = \"`{module}.");
    let rows = TABLE
        .split("[[python]]\n")
        .skip(1)
        .filter_map(|row| row.lines().next()?.strip_prefix(&begin));
    rows.flat_map(|row| row.split(", "))
        .map(|name| name.trim_matches(['"', '`', '(', ')']).to_owned())
        .collect()
}

fn the_table_lists_the_names_of_the_modules(case: &Case) {
    let source = "import sys, mod_wsgi, apache\n\
        def public(module):\n    return [name for name in dir(module) if not name.startswith('_')]\n\
        def answer(environ):\n    \
        there = {name: public(sys.modules[name]) for name in ('mod_wsgi', 'apache', 'rwsgi') if name in sys.modules}\n    \
        missing = [name for name in there['mod_wsgi'] if not hasattr(mod_wsgi, name)]\n    \
        return [there, missing, hasattr(mod_wsgi, '__file__')]\n";
    let httpd = case.httpd().source("/", "app.wsgi", &answering(source)).start();
    let seen = ask(&httpd);
    let names = |module: &str| -> BTreeSet<String> {
        let names = seen[0][module].as_array().expect("a list").iter();
        names
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect()
    };
    let mut expected = listed("mod_wsgi");
    // Where a package of that name is installed, for which there is another test.
    assert!(expected.remove("__path__") && expected.len() > 10);
    assert_eq!(names("mod_wsgi"), expected);
    assert_eq!(names("apache"), listed("apache"));
    assert_eq!((&seen[1], &seen[2]), (&json!([]), &json!(false)));
    if case.theirs() {
        // The second name is ours.
        assert_eq!(seen[0].get("rwsgi"), None);
    } else {
        assert_eq!(names("rwsgi"), expected);
    }
}

/// Evaluates each line; the answer is what came of each: the exception's name, or the value.
fn outcomes(case: &Case, lines: &[&str]) -> Value {
    let source = format!(
        "import io, sys, mod_wsgi\nLINES = {}\ndef f(name, **event): pass\n\
         def outcome(line, environ):\n    try:\n        return eval(line, globals(), {{'environ': environ}})\n    \
         except Exception as error:\n        return type(error).__name__\n\
         def answer(environ):\n    return [[line, outcome(line, environ)] for line in LINES]\n",
        json!(lines)
    );
    let httpd = case.httpd().source("/", "app.wsgi", &answering(&source)).start();
    ask(&httpd)
}

fn expect(case: &Case, lines: &[(&str, Value)]) {
    let seen = outcomes(case, &lines.iter().map(|line| line.0).collect::<Vec<_>>());
    let expected: Vec<Value> = lines.iter().map(|(line, value)| json!([line, value])).collect();
    assert_eq!(seen, Value::from(expected));
}

fn wrong_arguments_are_refused(case: &Case) {
    let wrong = |line| (line, json!("TypeError"));
    expect(
        case,
        &[
            "mod_wsgi.request_data(1)",
            "mod_wsgi.request_data(x=1)",
            "mod_wsgi.subscribe_events()",
            "mod_wsgi.subscribe_events(f, f)",
            "mod_wsgi.subscribe_events(callback=f)",
            "mod_wsgi.subscribe_shutdown()",
            "mod_wsgi.subscribe_shutdown(f, f)",
            "mod_wsgi.subscribe_shutdown(callback=f)",
            "mod_wsgi.subscribe_signals()",
            "mod_wsgi.subscribe_signals(f, f)",
            "mod_wsgi.subscribe_signals(callback=f)",
            "mod_wsgi.start_recording_metrics(1)",
            "mod_wsgi.start_recording_metrics(x=1)",
            "mod_wsgi.request_metrics(1)",
            "mod_wsgi.request_metrics(x=1)",
            "mod_wsgi.process_metrics(1)",
            "mod_wsgi.process_metrics(x=1)",
            "mod_wsgi.server_metrics(1)",
            "mod_wsgi.server_metrics(x=1)",
            "mod_wsgi.FileWrapper()",
            "mod_wsgi.FileWrapper(io.BytesIO(), 1, 2)",
            "mod_wsgi.FileWrapper(file=io.BytesIO())",
            "mod_wsgi.FileWrapper(io.BytesIO(), '1')",
            "mod_wsgi.FileWrapper(io.BytesIO(), 1.5)",
            "mod_wsgi.FileWrapper(io.BytesIO(), None)",
            "mod_wsgi.FileWrapper(io.BytesIO()).close(1)",
            "mod_wsgi.RequestTimeout(a=1)",
            "mod_wsgi.LogHandler(x=1)",
            "mod_wsgi.LogHandler(1, 2)",
            "environ['wsgi.input'].read(size=1)",
            "environ['wsgi.input'].read(1, 2)",
            "environ['wsgi.input'].readline(size=1)",
            "environ['wsgi.input'].readline(1, 2)",
            "environ['wsgi.input'].readlines(hint=1)",
            "environ['wsgi.input'].readlines(1, 2)",
            "environ['wsgi.errors'].write()",
            "environ['wsgi.errors'].write(1)",
            "environ['wsgi.errors'].write(b'x')",
            "environ['wsgi.errors'].writelines([1])",
            "environ['wsgi.errors'].buffer.writelines([1])",
            "environ['wsgi.errors'].buffer.writelines(1)",
            "environ['wsgi.errors'].buffer.writelines()",
        ]
        .map(wrong),
    );
}

fn right_arguments_are_taken(case: &Case) {
    expect(
        case,
        &[
            ("type(mod_wsgi.request_data()).__name__", json!("dict")),
            ("mod_wsgi.subscribe_shutdown(f) is f", json!(true)),
            ("mod_wsgi.request_metrics()", Value::Null),
            ("mod_wsgi.process_metrics()", Value::Null),
            ("mod_wsgi.server_metrics()", Value::Null),
            (
                "mod_wsgi.FileWrapper(blksize=5, filelike=io.BytesIO()).blksize",
                json!(5),
            ),
            ("mod_wsgi.FileWrapper(io.BytesIO(), True).blksize", json!(1)),
            (
                "mod_wsgi.FileWrapper(io.BytesIO(), 1 << 70)",
                json!("OverflowError"),
            ),
            (
                "setattr(mod_wsgi.FileWrapper(None), 'blksize', 2)",
                json!("AttributeError"),
            ),
            (
                "setattr(mod_wsgi.FileWrapper(None), 'other', 2)",
                json!("AttributeError"),
            ),
            (
                "[name for name in dir(mod_wsgi.FileWrapper) if name[0] != '_']",
                json!(["blksize", "close", "filelike"]),
            ),
            ("mod_wsgi.RequestTimeout('a', 'b').args", json!(["a", "b"])),
            (
                "[mod_wsgi.LogHandler(30).level, mod_wsgi.LogHandler(level='INFO').level]",
                json!([30, 20]),
            ),
            (
                "[kind.__name__ for kind in mod_wsgi.LogHandler.__mro__]",
                json!(["LogHandler", "Handler", "Filterer", "object"]),
            ),
            (
                "[kind.__module__ for kind in (mod_wsgi.FileWrapper, mod_wsgi.LogHandler, mod_wsgi.RequestTimeout)]",
                json!(["mod_wsgi", "mod_wsgi", "mod_wsgi"]),
            ),
            // It is a module like others.
            (
                "[setattr(mod_wsgi, 'mine', 1), mod_wsgi.mine, delattr(mod_wsgi, 'mine')]",
                json!([null, 1, null]),
            ),
            ("mod_wsgi.mine", json!("AttributeError")),
        ],
    );
}

fn the_streams_have_what_streams_have(case: &Case) {
    let errors = "environ['wsgi.errors']";
    let line = |what: &str| format!("{errors}.{what}");
    let facts = [
        ("encoding", json!("utf-8")),
        ("errors", json!("replace")),
        ("name", json!("<wsgi.errors>")),
        ("write_through", json!(true)),
        ("isatty()", json!(false)),
        ("readable()", json!(false)),
        ("writable()", json!(true)),
        ("seekable()", json!(false)),
        ("fileno()", json!("OSError")),
        ("buffer.name", json!("<wsgi.errors>")),
        ("buffer.closed", json!(false)),
        ("buffer.fileno()", json!("OSError")),
        ("buffer.writelines([])", Value::Null),
    ];
    let lines: Vec<(String, Value)> = facts.map(|(what, value)| (line(what), value)).into();
    let lines: Vec<(&str, Value)> = lines
        .iter()
        .map(|(line, value)| (line.as_str(), value.clone()))
        .collect();
    expect(case, &lines);
    let methods = "[name for name in dir(environ['wsgi.input']) if name[0] != '_']";
    expect(
        case,
        &[(methods, json!(["close", "read", "readline", "readlines"]))],
    );
    let source = "def answer(environ):\n    environ['wsgi.errors'].buffer.writelines([b'line one\\n', b'line', b' two\\n'])\n";
    let httpd = case.httpd().source("/", "app.wsgi", &answering(source)).start();
    ask(&httpd);
    httpd.wait_log("line one");
    httpd.wait_log("line two");
}

fn nobody_closes_the_standard_streams_for_the_others(case: &Case) {
    let source = "import sys\ndef answer(environ):\n    path = environ['PATH_INFO']\n    \
        for stream in sys.stdout, sys.stderr:\n        \
        if path == '/close':\n            stream.close()\n        \
        else:\n            print('said', path, stream.name, file=stream)\n";
    let httpd = case.httpd().source("/", "app.wsgi", &answering(source)).start();
    for path in ["/before", "/close", "/after"] {
        assert_eq!(httpd.get(path).status, 200, "{path}");
    }
    for line in [
        "said /before <stdout>",
        "said /before <stderr>",
        "said /after <stdout>",
        "said /after <stderr>",
    ] {
        httpd.wait_log(line);
    }
}
