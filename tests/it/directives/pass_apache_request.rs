//! `WSGIPassApacheRequest`: httpd's own record of the request, for applications that call httpd.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        pass_apache_request_is_on_or_off,
        pass_apache_request_stands_not_in_htaccess
    ]);
    topic.embedded(test![
        httpds_record_of_the_request_is_passed_when_asked_for,
        access_scripts_get_it_too,
    ]);
    topic.daemon(test![a_daemon_process_has_no_record_to_pass]);
}

/// Asks httpd itself for the name of the server, by the record that it is given.
const APP: &str = "
import ctypes

def application(environ, start_response):
    start_response('200 OK', [])
    record = environ.get('apache.request_rec')
    if record is None:
        return [b'none']
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    name = ctypes.CDLL(None).ap_get_server_name
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    told = [type(record).__name__, repr(record).split(' at ')[0], name(address(record, None)).decode()]
    return [', '.join(told).encode()]
";

fn pass_apache_request_is_on_or_off(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIPassApacheRequest", &["one argument"]),
            ("WSGIPassApacheRequest yes", &["yes", "Off | On"]),
            ("WSGIPassApacheRequest On Off", &["one argument"]),
        ],
    );
    accepts(
        case,
        &[
            "WSGIPassApacheRequest on",
            "<VirtualHost *:@PORT@>\nWSGIPassApacheRequest Off\n</VirtualHost>",
            "<Location /x>\nWSGIPassApacheRequest OFF\n</Location>",
        ],
    );
}

fn pass_apache_request_stands_not_in_htaccess(case: &Case) {
    let httpd = case
        .httpd()
        .file("www/.htaccess", "WSGIPassApacheRequest On\n")
        .file("www/a.txt", "a")
        .conf("<Directory @ROOT@/www>\nAllowOverride All\n</Directory>")
        .start();
    assert_eq!(httpd.get("/a.txt").status, 500);
    httpd.wait_log("WSGIPassApacheRequest not allowed here");
}

fn httpds_record_of_the_request_is_passed_when_asked_for(case: &Case) {
    let httpd = case
        .httpd()
        .source("/", "app.wsgi", APP)
        .conf("ServerName record.test\nUseCanonicalName On")
        .conf("<Location /on>\nWSGIPassApacheRequest On\n</Location>")
        .conf("<Location /on/off>\nWSGIPassApacheRequest Off\n</Location>")
        .start();
    for (path, expected) in [
        ("/", "none"),
        ("/on", "PyCapsule, <capsule object NULL, record.test"),
        ("/on/off", "none"),
        ("/on", "PyCapsule, <capsule object NULL, record.test"),
    ] {
        assert_eq!(httpd.get(path).text(), expected, "{path}");
    }
    httpd.stop();
    let server_wide = case
        .httpd()
        .source("/", "app.wsgi", APP)
        .conf("WSGIPassApacheRequest On");
    assert!(server_wide.start().get("/").text().starts_with("PyCapsule, "));
}

fn access_scripts_get_it_too(case: &Case) {
    let gate = "
def allow_access(environ, host):
    record = environ.get('apache.request_rec')
    return environ['REQUEST_URI'].startswith('/on') == (type(record).__name__ == 'PyCapsule')
";
    let httpd = case
        .httpd()
        .source("/", "app.wsgi", APP)
        .file("gate.py", gate)
        .conf("<Location />\nWSGIAccessScript @ROOT@/gate.py\n</Location>")
        .conf("<Location /on>\nWSGIPassApacheRequest On\n</Location>")
        .start();
    for path in ["/on", "/off"] {
        assert_eq!(httpd.get(path).status, 200, "{path}");
    }
}

fn a_daemon_process_has_no_record_to_pass(case: &Case) {
    let httpd = case
        .httpd()
        .source("/", "app.wsgi", APP)
        .conf("WSGIPassApacheRequest On")
        .start();
    assert_eq!(httpd.get("/").text(), "none");
}
