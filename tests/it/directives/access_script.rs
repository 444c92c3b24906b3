//! `WSGIAccessScript`: who may come in.

use super::{accepts, misplaced, refuses};
use crate::codes;
use crate::gate::{behind, by_query, place};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        access_script_refuses_wrong_options,
        access_script_stands_in_directories,
        an_access_script_keeps_nothing,
        relative_scripts_are_refused,
        an_access_script_works_in_htaccess
    ]);
    topic.both(test![
        an_access_script_lets_in_and_keeps_out,
        what_an_access_script_does_wrong_is_a_refusal,
        a_missing_access_script_is_a_refusal,
        an_access_script_is_told_the_request_and_the_host,
        an_access_script_may_have_an_interpreter_of_its_own,
        a_changed_access_script_is_loaded_anew,
        satisfy_any_lets_users_in_instead
    ]);
}

fn access_script_refuses_wrong_options(case: &Case) {
    let lines = [
        ("WSGIAccessScript", "has no script"),
        ("WSGIAccessScript ''", "empty"),
        ("WSGIAccessScript /a.py callable-object=x", "callable-object"),
        ("WSGIAccessScript /a.py application-group=''", "application-group"),
        ("WSGIAccessScript /a.py stray", "stray"),
    ]
    .map(|(line, word)| (format!("<Location /x>\n{line}\n</Location>"), word));
    for (line, word) in &lines {
        refuses(case, &[(line, &[*word])]);
    }
    if !case.theirs() {
        let unknown = "<Location /x>\nWSGIAccessScript /a.py process-group=none\n</Location>";
        refuses(case, &[(unknown, &["process-group=none", "not configured"])]);
    }
}

fn access_script_stands_in_directories(case: &Case) {
    misplaced(
        case,
        &[
            "WSGIAccessScript /a.py",
            "<VirtualHost *:@PORT@>\nWSGIAccessScript /a.py\n</VirtualHost>",
        ],
    );
    accepts(
        case,
        &["<Location /x>\nWSGIAccessScript /a.py application-group=%{HOST}\n</Location>"],
    );
}

fn an_access_script_keeps_nothing(case: &Case) {
    case.needs_ours("it has no such option");
    let line = "<Location /x>\nWSGIAccessScript /a.py cache=5\n</Location>";
    refuses(case, &[(line, &["cache", "whole request"])]);
}

fn relative_scripts_are_refused(case: &Case) {
    case.needs_ours("it takes them, and looks for them below the directory that httpd was started in");
    let line = "<Location /x>\nWSGIAccessScript a.py\n</Location>";
    refuses(case, &[(line, &["a.py", "absolute path"])]);
}

const RULES: &str = "Require all granted\nWSGIAccessScript @GATE@";

fn an_access_script_lets_in_and_keeps_out(case: &Case) {
    let httpd = behind(case, &by_query("allow_access(environ, host)"), RULES).start();
    for (query, status) in [("true", 200), ("none", 200), ("false", 403)] {
        assert_eq!(httpd.get(&format!("/a.txt?{query}")).status, status, "{query}");
    }
    httpd.wait_log(case.said("RW0052", "denied by server configuration"));
}

fn what_an_access_script_does_wrong_is_a_refusal(case: &Case) {
    let httpd = behind(case, &by_query("allow_access(environ, host)"), RULES).start();
    for query in ["one", "zero", "name", "raise", "exit"] {
        assert_eq!(httpd.get(&format!("/a.txt?{query}")).status, 403, "{query}");
    }
    httpd.rewrite_script("gate.py", "def another_function():\n    pass\n");
    assert_eq!(httpd.get("/a.txt?true").status, 403, "no such function");
    httpd.announce_traceback();
    httpd.provoked(&[codes::CALLS]);
    httpd.announce("denied by server configuration");
    if !case.theirs() {
        for code in ["RW0640", "RW0641", "RW0642"] {
            httpd.wait_log(code);
        }
    }
}

fn a_missing_access_script_is_a_refusal(case: &Case) {
    let httpd = behind(case, "", RULES).start();
    std::fs::remove_file(httpd.root().join("scripts/gate.py")).expect("the script");
    assert_eq!(httpd.get("/a.txt").status, 403);
    httpd.rewrite_script("gate.py", "this is not Python\n");
    assert_eq!(httpd.get("/a.txt").status, 403);
    httpd.announce_traceback();
    httpd.provoked(&[codes::CALLS, codes::APPLICATION]);
    httpd.announce("denied by server configuration");
}

/// Writes its environ, as far as it is plain, to a file.
const TELLS: &str = "import json\n\
    def allow_access(environ, host):\n    \
        plain = {k: v for k, v in environ.items() if isinstance(v, (str, int, tuple))}\n    \
        plain['host'] = host\n    \
        plain['https'] = environ['mod_ssl.is_https']()\n    \
        plain['lookup'] = environ['mod_ssl.var_lookup']('SSL_PROTOCOL')\n    \
        print('a line of the script', file=environ['wsgi.errors'])\n    \
        with open('@DATA@/told.json', 'w') as f:\n        \
            json.dump(plain, f)\n    \
        return True\n";

fn an_access_script_is_told_the_request_and_the_host(case: &Case) {
    let builder = behind(case, "", RULES).conf("SetEnv MINE 1");
    let script = TELLS.replace("@DATA@", &builder.root().join("data").display().to_string());
    let httpd = builder.file("scripts/gate.py", script).start();
    let request = httpd.request("GET", "/a.txt?x=1");
    let request = request
        .header("Authorization", "Basic am9lOng=")
        .header("X-One", "1");
    assert_eq!(request.send().text(), "inside");
    let text = std::fs::read(httpd.data().join("told.json")).expect("what it was told");
    let told: rwsgi_testkit::Value = rwsgi_testkit::from_slice(&text);
    let group = if place(case).is_empty() { "" } else { "site" };
    for (name, value) in [
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/a.txt?x=1"),
        ("QUERY_STRING", "x=1"),
        ("SCRIPT_NAME", "/a.txt"),
        ("PATH_INFO", ""),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "127.0.0.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_SIGNATURE", ""),
        ("HTTP_X_ONE", "1"),
        ("host", "127.0.0.1"),
        ("mod_wsgi.process_group", group),
        ("mod_wsgi.application_group", ""),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    assert_eq!((&told["https"], told["lookup"].is_null()), (&0.into(), true));
    assert_eq!(told["mod_wsgi.version"][0], 6);
    assert_eq!(told["apache.version"][0], 2);
    for absent in [
        "HTTP_AUTHORIZATION",
        "MINE",
        "REMOTE_USER",
        "SCRIPT_FILENAME",
        "wsgi.version",
    ] {
        assert!(told[absent].is_null(), "{absent}");
    }
    httpd.announce_traceback();
    httpd.wait_log("a line of the script");
}

fn an_access_script_may_have_an_interpreter_of_its_own(case: &Case) {
    let script = "import mod_wsgi\n\
        def allow_access(environ, host):\n    \
            return environ['mod_wsgi.application_group'] == mod_wsgi.application_group == 'gate'\n";
    let rules = format!("{RULES} application-group=gate");
    let httpd = behind(case, script, &rules).start();
    assert_eq!(httpd.get("/a.txt").status, 200);
}

fn a_changed_access_script_is_loaded_anew(case: &Case) {
    let script = |result: &str| format!("def allow_access(environ, host):\n    return {result}\n");
    let httpd = behind(case, &script("False"), RULES).start();
    assert_eq!(httpd.get("/a.txt").status, 403);
    httpd.rewrite_script("gate.py", &script("True"));
    assert_eq!(httpd.get("/a.txt").status, 200);
    httpd.wait_log(case.said("RW0052", "denied by server configuration"));
}

fn satisfy_any_lets_users_in_instead(case: &Case) {
    let script = "def allow_access(environ, host):\n    return False\n\
        def check_password(environ, user, password):\n    return password == 'right'\n";
    let rules = format!("{}\nWSGIAccessScript @GATE@\nSatisfy Any", crate::gate::BASIC);
    let httpd = behind(case, script, &rules).load("access_compat").start();
    assert_eq!(httpd.get("/a.txt").status, 401);
    assert_eq!(crate::gate::get_as(&httpd, "/a.txt", "joe:right").status, 200);
}

fn an_access_script_works_in_htaccess(case: &Case) {
    let script = "def allow_access(environ, host):\n    return environ['QUERY_STRING'] == 'open'\n";
    let httpd = case
        .httpd()
        .file("scripts/gate.py", script)
        .file("www/a.txt", "inside")
        .conf("<Directory @ROOT@/www>\nAllowOverride AuthConfig\n</Directory>")
        // The original prepares its children for Python when a directive of the configuration wants it.
        .app("hello.wsgi")
        .conf("Alias /files @ROOT@/www");
    let gate = httpd.root().join("scripts/gate.py");
    let httpd = httpd
        .file("www/.htaccess", format!("WSGIAccessScript {}\n", gate.display()))
        .file(
            "www/evil/.htaccess",
            format!("WSGIAccessScript {} process-group=site\n", gate.display()),
        )
        .file("www/evil/a.txt", "")
        .start();
    assert_eq!(httpd.get("/files/a.txt?open").status, 200);
    assert_eq!(httpd.get("/files/a.txt").status, 403);
    assert_eq!(
        httpd.get("/files/evil/a.txt?open").status,
        500,
        "nobody chooses a process there"
    );
    httpd.wait_log(case.said("RW0052", "denied by server configuration"));
    httpd.wait_log(case.said("in .htaccess, where nobody may choose", "Invalid option"));
}
