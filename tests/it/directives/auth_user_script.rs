//! `WSGIAuthUserScript`: who is who, for Basic and Digest.

use super::{misplaced, refuses};
use crate::codes;
use crate::gate::{BASIC, behind, by_query, get_as};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        auth_user_script_refuses_wrong_options,
        auth_user_script_stands_in_directories,
        without_a_script_nobody_is_let_in
    ]);
    topic.both(test![
        a_password_is_right_wrong_or_of_nobody_known,
        a_user_may_go_on_under_another_name,
        what_a_user_script_does_wrong_is_a_500,
        names_beyond_ascii_arrive,
        no_password_is_ever_logged,
        the_next_provider_is_asked_for_users_that_are_not_known,
        digest_users_are_let_in_by_their_hash,
        what_a_digest_script_does_wrong_is_a_500,
        tls_is_known_to_the_script
    ]);
}

fn auth_user_script_refuses_wrong_options(case: &Case) {
    for (line, word) in [
        ("WSGIAuthUserScript", "has no script"),
        ("WSGIAuthUserScript /a.py process-groups=x", "process-groups"),
        (
            "WSGIAuthUserScript /a.py application-group=''",
            "application-group",
        ),
        ("WSGIAuthUserScript /a.py cache=5s", "cache=5s"),
    ] {
        refuses(case, &[(&format!("<Location /x>\n{line}\n</Location>"), &[word])]);
    }
}

fn auth_user_script_stands_in_directories(case: &Case) {
    misplaced(case, &["WSGIAuthUserScript /a.py"]);
}

fn without_a_script_nobody_is_let_in(case: &Case) {
    let rules = BASIC.replace("WSGIAuthUserScript @GATE@\n", "");
    let httpd = behind(case, "", &rules)
        .app("hello.wsgi")
        .conf("Alias /a.txt @ROOT@/www/a.txt")
        .start();
    assert_eq!(get_as(&httpd, "/a.txt", "joe:x").status, 500);
    httpd.wait_log(case.said("RW0053", "WSGI0"));
}

/// An application that tells who the user is.
const WHO: &str = "def application(environ, start_response):\n    \
    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
    return [environ.get('REMOTE_USER', '-').encode('latin-1')]\n";

const PASSWORDS: &str = "def check_password(environ, user, password):\n    \
    if user == 'nobody':\n        return None\n    \
    if user == 'renamed':\n        return 'another-' + user\n    \
    return password == 'right of ' + user\n";

fn a_password_is_right_wrong_or_of_nobody_known(case: &Case) {
    let httpd = behind(case, PASSWORDS, BASIC).start();
    for (credentials, status) in [
        ("joe:right of joe", 200),
        ("joe:right of eve", 401),
        ("joe:", 401),
        ("nobody:right of nobody", 401),
    ] {
        assert_eq!(
            get_as(&httpd, "/a.txt", credentials).status,
            status,
            "{credentials}"
        );
    }
    let asked = httpd.get("/a.txt");
    assert_eq!(asked.status, 401);
    assert_eq!(asked.header("www-authenticate"), Some("Basic realm=\"inner\""));
    httpd.announce("AH01617");
    httpd.announce("AH01618");
}

fn a_user_may_go_on_under_another_name(case: &Case) {
    let httpd = behind(case, PASSWORDS, "")
        .source("/who", "who.wsgi", WHO)
        .conf(&format!(
            "<Location /who>\n{}\n</Location>",
            BASIC.replace(
                "@GATE@",
                &format!("@SCRIPTS@/gate.py{}", crate::gate::place(case))
            )
        ))
        .start();
    assert_eq!(get_as(&httpd, "/who", "joe:right of joe").text(), "joe");
    assert_eq!(get_as(&httpd, "/who", "renamed:x").text(), "another-renamed");
}

fn what_a_user_script_does_wrong_is_a_500(case: &Case) {
    let script = by_query("check_password(environ, user, password)");
    let httpd = behind(case, &script, BASIC).start();
    for query in ["one", "zero", "empty", "bytes", "list", "raise", "exit"] {
        let reply = get_as(&httpd, &format!("/a.txt?{query}"), "joe:secret");
        assert_eq!(reply.status, 500, "{query}");
    }
    httpd.rewrite_script("gate.py", "def another_function():\n    pass\n");
    assert_eq!(
        get_as(&httpd, "/a.txt?true", "joe:secret").status,
        500,
        "no such function"
    );
    std::fs::remove_file(httpd.root().join("scripts/gate.py")).expect("the script");
    assert_eq!(
        get_as(&httpd, "/a.txt?true", "joe:secret").status,
        500,
        "no script"
    );
    httpd.announce_traceback();
    httpd.provoked(&[codes::CALLS, codes::APPLICATION]);
}

fn names_beyond_ascii_arrive(case: &Case) {
    let script = "def check_password(environ, user, password):\n    \
        text = lambda value: value.encode('latin-1').decode('utf-8')\n    \
        return (text(user), text(password)) == ('j\\u00f6e', 'gr\\u00fcn')\n";
    let httpd = behind(case, script, BASIC).start();
    assert_eq!(get_as(&httpd, "/a.txt", "j\u{f6}e:gr\u{fc}n").status, 200);
}

fn no_password_is_ever_logged(case: &Case) {
    let script = by_query("check_password(environ, user, password)");
    let httpd = behind(case, &script, BASIC).log_level("trace8").start();
    for query in ["true", "false", "none", "one", "raise"] {
        get_as(&httpd, &format!("/a.txt?{query}"), "joe:Mellon-4711");
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::CALLS]);
    httpd.announce("AH01617");
    httpd.announce("AH01618");
    assert!(
        httpd.log_with("Mellon-4711").is_empty(),
        "the password is in the log"
    );
}

fn the_next_provider_is_asked_for_users_that_are_not_known(case: &Case) {
    let rules = BASIC.replace(
        "AuthBasicProvider wsgi",
        "AuthBasicProvider wsgi file\nAuthUserFile @ROOT@/users",
    );
    let httpd = behind(case, PASSWORDS, &rules)
        .load("authn_file")
        // The SHA-1 of "other", as htpasswd -s writes it.
        .file("users", "nobody:{SHA}0JQeaNqPOBUf+Gph/Fn3xc+fyqI=\n")
        .start();
    let reply = get_as(&httpd, "/a.txt", "nobody:other");
    assert_eq!(reply.status, 200);
    assert_eq!(
        get_as(&httpd, "/a.txt", "joe:other").status,
        401,
        "a wrong password is final"
    );
    httpd.announce("AH01617");
}

const DIGEST: &str =
    "AuthType Digest\nAuthName inner\nAuthDigestProvider wsgi\nWSGIAuthUserScript @GATE@\nRequire valid-user";

const HASHES: &str = "import hashlib\n\
    def get_realm_hash(environ, user, realm):\n    \
        if user == 'nobody':\n        return None\n    \
        text = hashlib.md5((user + ':' + realm + ':right').encode()).hexdigest()\n    \
        return text.encode() if user == 'bytes' else text\n";

fn digest(httpd: &rwsgi_testkit::Httpd, path: &str, credentials: &str) -> u16 {
    httpd
        .curl(path)
        .with(&["--digest", "--user", credentials])
        .run()
        .status
}

fn digest_users_are_let_in_by_their_hash(case: &Case) {
    let httpd = behind(case, HASHES, DIGEST).load("auth_digest").start();
    for (credentials, status) in [
        ("joe:right", 200),
        ("bytes:right", 200),
        ("joe:wrong", 401),
        ("nobody:right", 401),
    ] {
        assert_eq!(digest(&httpd, "/a.txt", credentials), status, "{credentials}");
    }
    httpd.announce("[auth_digest:error]");
}

fn what_a_digest_script_does_wrong_is_a_500(case: &Case) {
    let script = by_query("get_realm_hash(environ, user, realm)");
    let httpd = behind(case, &script, DIGEST).load("auth_digest").start();
    for query in ["true", "false", "one", "empty", "list", "raise"] {
        assert_eq!(
            digest(&httpd, &format!("/a.txt?{query}"), "joe:secret"),
            500,
            "{query}"
        );
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::CALLS]);
    httpd.announce("[auth_digest:error]");
}

fn tls_is_known_to_the_script(case: &Case) {
    let script = "def check_password(environ, user, password):\n    \
        look = environ['mod_ssl.var_lookup']\n    \
        return (environ['mod_ssl.is_https'](), look('HTTPS'), look('SSL_SERVER_S_DN_CN'), look('SSL_CLIENT_S_DN')) == \
            (1, 'on', 'localhost', '') and look('SSL_PROTOCOL').startswith('TLS')\n";
    let builder = behind(case, script, BASIC).load("socache_shmcb").load("ssl");
    if !crate::neighbours::certificate(&builder) {
        case.skip("no openssl program");
    }
    let httpd = builder
        .conf("SSLEngine On\nSSLSessionCache none\nSSLCertificateFile @ROOT@/certificate.pem\nSSLCertificateKeyFile @ROOT@/key.pem")
        .start();
    let output = std::process::Command::new("curl")
        .args(["-sSk", "--max-time", "30", "--user", "joe:x"])
        .arg(format!("https://127.0.0.1:{}/a.txt", httpd.port()))
        .output()
        .expect("curl");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "inside");
    // A self-signed certificate, no session cache: mod_ssl says so.
    httpd.announce("[ssl:warn]");
}
