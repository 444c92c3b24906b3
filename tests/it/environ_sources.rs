//! Headers, `SetEnv`, authentication: what they add to the environ and what they must not.

use crate::environ::{environ_of, same};
use rwsgi_testkit::{Case, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        headers_become_variables,
        dangerous_headers_are_dropped,
        authorization_is_passed_only_when_asked_for,
        authorization_is_passed_unless_httpd_has_checked_it,
        pass_authorization_on_an_alias_wins,
        server_variables_are_visible,
        computed_variables_win_over_set_env,
        https_is_read_from_the_environment,
        authenticated_users_are_named,
    ]);
}

fn headers_become_variables(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    let mut raw = httpd.raw();
    raw.send(
        "POST /x HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\nContent-Type: text/weird; a=b\r\n\
         Content-Length: 3\r\nX-One: 1\r\nX-one: 2\r\nX-Latin: caf\u{e9}\r\nCookie: a=1\r\nCookie: b=2\r\n\
         X-Empty:\r\nAccept: */*\r\n\r\nabc",
    );
    let reply = raw.reply();
    let environ: Value = rwsgi_testkit::from_slice(&reply.body);
    same(
        &environ,
        &[
            ("REQUEST_METHOD", "POST"),
            ("CONTENT_TYPE", "text/weird; a=b"),
            ("CONTENT_LENGTH", "3"),
            ("HTTP_X_ONE", "1, 2"),
            // The test's source is UTF-8: the bytes C3 A9, decoded as Latin-1.
            ("HTTP_X_LATIN", "caf\u{c3}\u{a9}"),
            ("HTTP_COOKIE", "a=1, b=2"),
            ("HTTP_X_EMPTY", ""),
            ("HTTP_HOST", "example.org"),
            ("HTTP_ACCEPT", "*/*"),
        ],
    );
    assert!(environ["HTTP_CONTENT_TYPE"].is_null() && environ["HTTP_CONTENT_LENGTH"].is_null());
}

/// R43, R44.
fn dangerous_headers_are_dropped(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    let environ = httpd
        .request("GET", "/")
        .header("Proxy", "http://attacker")
        .header("X_Under_Score", "1")
        .header("X-Under-Score", "2")
        .header("X.Dot", "1")
        .send()
        .json();
    assert!(environ["HTTP_PROXY"].is_null(), "httpoxy");
    assert_eq!(
        environ["HTTP_X_UNDER_SCORE"], "2",
        "only the name with dashes counts"
    );
    assert!(environ["HTTP_X.DOT"].is_null() && environ["HTTP_X_DOT"].is_null());
}

fn authorization_is_passed_only_when_asked_for(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/on", "environ.wsgi")
        .alias("/off", "environ.wsgi")
        .conf("<Location /on>\nWSGIPassAuthorization On\n</Location>")
        .start();
    let ask = |path: &str| {
        let request = httpd.request("GET", path).header("Authorization", "Basic abc");
        request.header("Proxy-Authorization", "Basic xyz").send().json()
    };
    assert_eq!(ask("/on")["HTTP_AUTHORIZATION"], "Basic abc");
    assert!(ask("/on")["HTTP_PROXY_AUTHORIZATION"].is_null());
    if case.theirs() {
        assert!(ask("/off")["HTTP_AUTHORIZATION"].is_null());
    } else {
        // Our own default is Auto; under the original's name it is the original's.
        assert_eq!(ask("/off")["HTTP_AUTHORIZATION"], "Basic abc");
        assert!(ask("/off")["HTTP_PROXY_AUTHORIZATION"].is_null());
        let old = case.httpd().identity("wsgi_module").app("environ.wsgi").start();
        let request = old.request("GET", "/").header("Authorization", "Basic abc");
        assert!(request.send().json()["HTTP_AUTHORIZATION"].is_null());
    }
}

fn authorization_is_passed_unless_httpd_has_checked_it(case: &Case) {
    case.needs_ours("Auto is ours");
    let httpd = case
        .httpd()
        .alias("/open", "environ.wsgi")
        .alias("/own", "environ.wsgi")
        .alias("/on", "environ.wsgi")
        .load("auth_basic")
        .load("authn_core")
        .load("authn_file")
        .load("authz_user")
        // htpasswd -nbs user secret
        .file("passwords", "user:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        .conf("WSGIPassAuthorization Auto\n<Location /on>\nWSGIPassAuthorization On\n</Location>")
        .conf("<LocationMatch ^/(own|on)>\nAuthType Basic\nAuthName here\nAuthUserFile @ROOT@/passwords\nRequire valid-user\n</LocationMatch>")
        .start();
    let ask = |path: &str| {
        let request = httpd.request("GET", path);
        request
            .header("Authorization", "Basic dXNlcjpzZWNyZXQ=")
            .send()
            .json()
    };
    assert_eq!(ask("/open")["HTTP_AUTHORIZATION"], "Basic dXNlcjpzZWNyZXQ=");
    let own = ask("/own");
    assert_eq!(own["REMOTE_USER"], "user");
    assert!(own["HTTP_AUTHORIZATION"].is_null(), "the password is httpd's");
    assert_eq!(ask("/on")["HTTP_AUTHORIZATION"], "Basic dXNlcjpzZWNyZXQ=");
}

fn pass_authorization_on_an_alias_wins(case: &Case) {
    let httpd = case
        .httpd()
        .script("environ.wsgi")
        .conf("WSGIPassAuthorization On\nWSGIScriptAlias /off @SCRIPTS@/environ.wsgi pass-authorization=Off\nWSGIScriptAlias / @SCRIPTS@/environ.wsgi")
        .start();
    let ask = |path: &str| {
        httpd
            .request("GET", path)
            .header("Authorization", "Basic abc")
            .send()
            .json()
    };
    assert_eq!(ask("/")["HTTP_AUTHORIZATION"], "Basic abc");
    assert!(ask("/off")["HTTP_AUTHORIZATION"].is_null());
}

fn server_variables_are_visible(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .conf("SetEnv MY_SETTING \"some value\"\nSetEnvIf X-Test . HAS_TEST=yes\nRewriteEngine On\nRewriteRule .* - [E=BY_REWRITE:1]")
        .start();
    let environ = environ_of(&httpd, "/");
    same(
        &environ,
        &[
            ("MY_SETTING", "some value"),
            ("HAS_TEST", "yes"),
            ("BY_REWRITE", "1"),
        ],
    );
    assert!(
        environ["_"]["environment"]["MY_SETTING"].is_null(),
        "SetEnv is per request, not os.environ"
    );
}

/// R45.
fn computed_variables_win_over_set_env(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .conf("SetEnv PATH_INFO wrong\nSetEnv wsgi.input wrong\nSetEnv SERVER_NAME wrong\nSetEnv wsgi.own mine\nSetEnv PATH wrong")
        .start();
    let environ = environ_of(&httpd, "/right");
    same(
        &environ,
        &[
            ("PATH_INFO", "/right"),
            ("SERVER_NAME", "127.0.0.1"),
            ("wsgi.own", "mine"),
        ],
    );
    assert!(
        environ["wsgi.input"].is_array(),
        "SetEnv cannot replace it: {}",
        environ["wsgi.input"]
    );
    assert!(environ["PATH"].is_null());
}

fn https_is_read_from_the_environment(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/on", "environ.wsgi")
        .alias("/one", "environ.wsgi")
        .alias("/off", "environ.wsgi")
        .conf("<Location /on>\nSetEnv HTTPS On\n</Location>\n<Location /one>\nSetEnv HTTPS 1\n</Location>\n<Location /off>\nSetEnv HTTPS off\n</Location>")
        .start();
    for (path, scheme) in [("/on", "https"), ("/one", "https"), ("/off", "http")] {
        let environ = environ_of(&httpd, path);
        assert_eq!(environ["wsgi.url_scheme"], scheme, "{path}");
        assert!(environ["HTTPS"].is_null(), "HTTPS is not passed on");
    }
}

fn authenticated_users_are_named(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .load("auth_basic")
        .load("authn_core")
        .load("authn_file")
        .load("authz_user")
        // htpasswd -nbs user secret
        .file("passwords", "user:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        .conf("<Location />\nAuthType Basic\nAuthName here\nAuthUserFile @ROOT@/passwords\nRequire valid-user\n</Location>")
        .start();
    let request = httpd
        .request("GET", "/")
        .header("Authorization", "Basic dXNlcjpzZWNyZXQ=");
    let reply = request.send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    same(&reply.json(), &[("REMOTE_USER", "user"), ("AUTH_TYPE", "Basic")]);
    assert_eq!(httpd.get("/").status, 401);
}
