//! Variables that the server computes, and everybody who tries to set them (R45).

use crate::environ::{environ_of, same};
use rwsgi_testkit::{Builder, Case, Httpd, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        r45_computed_variables_win_over_every_mechanism,
        r45_htaccess_cannot_replace_computed_variables,
    ]);
}

/// What the server computes for a plain request, and so may not be told otherwise.
const COMPUTED: [&str; 20] = [
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "REQUEST_URI",
    "SCRIPT_FILENAME",
    "DOCUMENT_ROOT",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_ADDR",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "HTTP_HOST",
    "mod_wsgi.process_group",
    "mod_wsgi.application_group",
];

#[track_caller]
fn computed(environ: &Value) {
    for key in COMPUTED
        .iter()
        .chain(&["wsgi.url_scheme", "REMOTE_USER", "AUTH_TYPE"])
    {
        assert!(environ[key].is_string(), "{key}");
        assert_ne!(environ[key], "forged", "{key}");
    }
    for key in [
        "wsgi.input",
        "wsgi.errors",
        "wsgi.version",
        "wsgi.file_wrapper",
        "mod_wsgi.version",
    ] {
        assert!(environ[key].is_array(), "{key} is an object: {}", environ[key]);
    }
    assert!(environ["PATH"].is_null() && environ["HTTPS"].is_null());
    same(
        environ,
        &[
            ("REQUEST_METHOD", "POST"),
            ("REMOTE_USER", "user"),
            ("AUTH_TYPE", "Basic"),
            ("CONTENT_LENGTH", "3"),
            ("CONTENT_TYPE", "a/b"),
            ("wsgi.url_scheme", "http"),
        ],
    );
}

fn with_password(case: &Case) -> Builder {
    case.httpd().app("environ.wsgi")
        .load("auth_basic")
        .load("authn_core")
        .load("authn_file")
        .load("authz_user")
        // htpasswd -nbs user secret
        .file("passwords", "user:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        .conf("<Location />\nAuthType Basic\nAuthName here\nAuthUserFile @ROOT@/passwords\nRequire valid-user\n</Location>")
}

fn ask_with_password(httpd: &Httpd, path: &str) -> Value {
    let reply = httpd
        .request("POST", path)
        .header("Authorization", "Basic dXNlcjpzZWNyZXQ=")
        .header("Content-Type", "a/b")
        .body("abc")
        .send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn forged() -> impl Iterator<Item = &'static str> {
    let more = [
        "REMOTE_USER",
        "AUTH_TYPE",
        "wsgi.url_scheme",
        "wsgi.input",
        "wsgi.errors",
        "wsgi.version",
        "wsgi.file_wrapper",
        "mod_wsgi.version",
        "PATH",
        "HTTPS",
    ];
    COMPUTED.into_iter().chain(more)
}

fn r45_computed_variables_win_over_every_mechanism(case: &Case) {
    let lines = |make: &dyn Fn(&str) -> String| forged().map(make).collect::<Vec<_>>().join("\n");
    for conf in [
        lines(&|name| format!("SetEnv {name} forged")),
        lines(&|name| format!("SetEnvIf Remote_Addr . {name}=forged")),
        "RewriteEngine On\n".to_owned() + &lines(&|name| format!("RewriteRule .* - [E={name}:forged]")),
        lines(&|name| format!("RequestHeader set {} forged", name.replace(['_', '.'], "-")))
            // These two are the body's own headers, which nobody but the administrator can set there.
            .replace("RequestHeader set CONTENT-LENGTH forged\n", "")
            .replace("RequestHeader set CONTENT-TYPE forged\n", ""),
    ] {
        let httpd = with_password(case).conf(&conf).start();
        computed(&ask_with_password(&httpd, "/"));
    }
}

/// R14
fn r45_htaccess_cannot_replace_computed_variables(case: &Case) {
    let lines: Vec<String> = forged().map(|name| format!("SetEnv {name} forged\n")).collect();
    let httpd = with_password(case)
        .file("scripts/.htaccess", lines.concat())
        .conf("<Directory @SCRIPTS@>\nAllowOverride FileInfo\n</Directory>")
        .start();
    computed(&ask_with_password(&httpd, "/"));
    let environ = ask_with_password(&httpd, "/");
    // Names of the module that this request does not have: the original takes them from anywhere.
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .conf("SetEnv mod_wsgi.mount_point forged")
        .start();
    let forged = environ_of(&httpd, "/")["mod_wsgi.mount_point"] == "forged";
    assert_eq!(forged, case.theirs());
    assert!(environ["mod_wsgi.mount_point"].is_null());
}
