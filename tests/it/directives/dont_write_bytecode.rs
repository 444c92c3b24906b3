//! `WSGIDontWriteBytecode`: no `.pyc` files.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        dont_write_bytecode_is_on_or_off,
        dont_write_bytecode_is_for_the_whole_server
    ]);
    topic.both(test![bytecode_is_written_unless_it_is_forbidden]);
}

fn dont_write_bytecode_is_on_or_off(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIDontWriteBytecode yes", &["yes", "Off | On"]),
            ("WSGIDontWriteBytecode", &["one argument"]),
        ],
    );
}

fn dont_write_bytecode_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIDontWriteBytecode On\n</VirtualHost>"],
    );
}

fn bytecode_is_written_unless_it_is_forbidden(case: &Case) {
    let source = "import os, sys\nDATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
                  sys.path.insert(0, DATA)\nopen(os.path.join(DATA, 'fresh.py'), 'w').close()\nimport fresh\n\
                  def application(environ, start_response):\n    start_response('200 OK', [])\n    \
                  return [str(sys.dont_write_bytecode).encode()]\n";
    for (flag, expected) in [("On", "True"), ("Off", "False")] {
        let httpd = case
            .httpd()
            .source("/", "app.wsgi", source)
            .conf(&format!("WSGIDontWriteBytecode {flag}"))
            .start();
        assert_eq!(httpd.get("/").text(), expected);
        let is_written = httpd.data().join("__pycache__").exists();
        assert_eq!(is_written, flag == "Off", "WSGIDontWriteBytecode {flag}");
    }
}
