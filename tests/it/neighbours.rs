//! Together with httpd's other modules: TLS, compression, rewriting, error documents, .htaccess, virtual hosts.

use crate::codes;
use crate::environ::environ_of;
use rwsgi_testkit::{Builder, Case, Topic, test};
use std::process::Command;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        tls_makes_the_scheme_https,
        compression_turns_head_into_get,
        rewrite_rules_pass_requests_through,
        an_error_document_may_be_an_application,
        a_header_of_another_module_that_cannot_be_sent_gives_way_to_the_error_document,
        settings_of_fileinfo_work_in_htaccess,
        virtual_hosts_have_their_own_settings,
        paths_with_blanks_and_letters_beyond_ascii,
        a_script_may_be_a_symbolic_link,
        access_rules_of_httpd_are_kept,
        accept_path_info_off_is_kept,
        large_headers_go_both_ways,
        errors_of_the_application_leave_httpds_files_alone,
        a_page_may_include_an_application,
    ]);
}

/// Makes a self-signed certificate; whether that went well.
pub fn certificate(builder: &Builder) -> bool {
    let (key, certificate) = (
        builder.root().join("key.pem"),
        builder.root().join("certificate.pem"),
    );
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-keyout",
        ])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output();
    made.is_ok_and(|output| output.status.success())
}

fn tls_makes_the_scheme_https(case: &Case) {
    let builder = case.httpd().load("socache_shmcb").load("ssl").app("environ.wsgi");
    if !certificate(&builder) {
        case.skip("no openssl program");
    }
    let httpd = builder
        .conf("SSLEngine On\nSSLSessionCache none\nSSLCertificateFile @ROOT@/certificate.pem\nSSLCertificateKeyFile @ROOT@/key.pem")
        .conf("<Location /all>\nSSLOptions +StdEnvVars\n</Location>")
        .start();
    let ask = |path: &str| {
        let url = format!("https://127.0.0.1:{}{path}", httpd.port());
        let output = Command::new("curl")
            .args(["-sSk", "--max-time", "30", &url])
            .output()
            .expect("curl");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        rwsgi_testkit::from_slice(&output.stdout)
    };
    let environ = ask("/");
    assert_eq!(
        (&environ["wsgi.url_scheme"], &environ["REQUEST_SCHEME"]),
        (&"https".into(), &"https".into())
    );
    assert!(environ["HTTPS"].is_null() && environ["SSL_PROTOCOL"].is_null());
    assert!(
        ask("/all")["SSL_PROTOCOL"]
            .as_str()
            .is_some_and(|protocol| protocol.starts_with("TLS"))
    );
    // A self-signed certificate, no session cache: mod_ssl says so.
    httpd.announce("[ssl:warn]");
}

fn compression_turns_head_into_get(case: &Case) {
    let httpd = case
        .httpd()
        .load("filter")
        .load("deflate")
        .app("response.wsgi")
        .conf("<Location />\nSetOutputFilter DEFLATE\n</Location>")
        .start();
    // A filter that changes the content must see the content to give the right head.
    let reply = httpd
        .request("HEAD", "/method")
        .header("Accept-Encoding", "gzip")
        .send();
    assert_eq!((reply.status, reply.header("x-method")), (200, Some("GET")));
    assert!(reply.body.is_empty());
    // mod_deflate leaves small answers alone when it sees their end at once.
    let reply = httpd
        .request("GET", "/file_like")
        .header("Accept-Encoding", "gzip")
        .send();
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
}

fn rewrite_rules_pass_requests_through(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "environ.wsgi")
        .file("www/real.txt", "a real file")
        .conf("RewriteEngine On\nRewriteCond %{DOCUMENT_ROOT}%{REQUEST_URI} !-f\nRewriteRule ^/(.*)$ /app/$1 [PT,QSA]")
        .start();
    assert_eq!(httpd.get("/real.txt").text(), "a real file");
    let environ = httpd.get("/some/page?q=1").json();
    assert_eq!(
        (&environ["SCRIPT_NAME"], &environ["PATH_INFO"]),
        (&"/app".into(), &"/some/page".into())
    );
    assert_eq!(
        (&environ["REQUEST_URI"], &environ["QUERY_STRING"]),
        (&"/some/page?q=1".into(), &"q=1".into())
    );
}

fn an_error_document_may_be_an_application(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/errors", "environ.wsgi")
        .conf("ErrorDocument 404 /errors/not-found")
        .start();
    let reply = httpd.get("/missing?a=b");
    // The application's own status counts, as for any other response of it.
    assert_eq!(reply.status, 200);
    let environ = reply.json();
    assert_eq!(
        (&environ["PATH_INFO"], &environ["REDIRECT_STATUS"]),
        (&"/not-found".into(), &"404".into())
    );
    assert_eq!(environ["REDIRECT_URL"], "/missing");
    assert_eq!(environ["REDIRECT_QUERY_STRING"], "a=b");
}

/// httpd finds it when the head goes out, and begins a request of its own for the page, on the same thread.
fn a_header_of_another_module_that_cannot_be_sent_gives_way_to_the_error_document(case: &Case) {
    let application = "class Answer:\n    def __iter__(self):\n        yield b'answer'\n    def close(self):\n        pass\n\n\n\
                       def application(environ, start_response):\n    start_response('200 OK', [('Content-Length', '6')])\n    \
                       return [b'sorry!'] if environ['PATH_INFO'] == '/sorry' else Answer()\n";
    let httpd = case
        .httpd()
        .file("scripts/once.wsgi", application)
        .conf("WSGIScriptAlias / @SCRIPTS@/once.wsgi")
        .conf("ErrorDocument 500 /sorry")
        .conf("Header always set X-Echo \"expr=%{unescape:%{QUERY_STRING}}\"")
        .conf("RewriteEngine On\nRewriteMap un int:unescape\nRewriteRule ^/cookie - [CO=echo:${un:%{QUERY_STRING}}:localhost]")
        .start();
    httpd.announce("AH02430");
    for path in ["/", "/cookie"] {
        for (query, expected) in [("fine", "answer"), ("%01", "sorry!"), ("fine", "answer")] {
            let reply = httpd.get(&format!("{path}?{query}"));
            assert_eq!(reply.text(), expected, "{path}?{query}");
        }
    }
}

fn settings_of_fileinfo_work_in_htaccess(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .file("scripts/.htaccess", "WSGICallableObject other\n")
        .conf("<Directory @SCRIPTS@>\nAllowOverride FileInfo\n</Directory>")
        .start();
    assert_eq!(httpd.get("/").text(), "the other callable\n");
    // Groups decide who runs the code: never from .htaccess.
    std::fs::write(httpd.root().join("scripts/.htaccess"), "WSGIProcessGroup other\n").expect(".htaccess");
    assert_eq!(httpd.get("/").status, 500);
    httpd.wait_log("WSGIProcessGroup not allowed here");
}

fn virtual_hosts_have_their_own_settings(case: &Case) {
    let host = |name: &str, callable: &str| {
        format!(
            "<VirtualHost *:@PORT@>\nServerName {name}\nWSGICallableObject {callable}\n\
             WSGIScriptAlias / @SCRIPTS@/hello.wsgi\n</VirtualHost>"
        )
    };
    let httpd = case
        .httpd()
        .script("hello.wsgi")
        .conf(&host("one", "other"))
        .conf(&host("two", "instance"))
        .start();
    let ask = |name: &str| httpd.request("GET", "/").header("Host", name).send().text();
    for _ in 0..3 {
        assert_eq!(ask("one"), "the other callable\n");
        assert_eq!(ask("two"), "an instance with __call__\n");
    }
}

fn paths_with_blanks_and_letters_beyond_ascii(case: &Case) {
    let httpd = case
        .httpd()
        .file(
            "my scripts/caf\u{e9}.wsgi",
            std::fs::read(rwsgi_testkit::test_file("apps/environ.wsgi")).expect("script"),
        )
        .conf("WSGIScriptAlias /x \"@ROOT@/my scripts/caf\u{e9}.wsgi\"")
        .start();
    let reply = httpd.get("/x/y");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let environ = reply.json();
    assert_eq!(environ["PATH_INFO"], "/y");
    if !case.theirs() {
        // In the original this depends on the locale that httpd was started with.
        let name = environ["SCRIPT_FILENAME"].as_str().expect("SCRIPT_FILENAME");
        assert!(name.ends_with("/my scripts/caf\u{e9}.wsgi"), "{name:?}");
        assert_eq!(environ["_"]["file"].as_str(), Some(name));
    }
}

fn a_script_may_be_a_symbolic_link(case: &Case) {
    let builder = case.httpd().script("hello.wsgi");
    let link = builder.root().join("scripts/link.wsgi");
    std::os::unix::fs::symlink("hello.wsgi", link).expect("symlink");
    let httpd = builder
        .conf("<Directory @SCRIPTS@>\nOptions FollowSymLinks\n</Directory>\nWSGIScriptAlias / @SCRIPTS@/link.wsgi")
        .start();
    assert_eq!(httpd.get("/").text(), "Hello World!\n");
}

fn access_rules_of_httpd_are_kept(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("<Location /private>\nRequire all denied\n</Location>")
        .start();
    assert_eq!(httpd.get("/").status, 200);
    assert_eq!(httpd.get("/private/page").status, 403);
    httpd.wait_log("AH01630");
}

fn accept_path_info_off_is_kept(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "hello.wsgi")
        .conf("<Location /app>\nAcceptPathInfo Off\n</Location>")
        .start();
    assert_eq!(httpd.get("/app").status, 200);
    assert_eq!(httpd.get("/app/more").status, 404);
    httpd.wait_log(case.said("RW0203", "WSGI0137"));
}

fn large_headers_go_both_ways(case: &Case) {
    let source = "def application(environ, start_response):\n    \
        value = environ['HTTP_X_LARGE']\n    \
        start_response('200 OK', [('X-Large', value)] + [('X-Many-%d' % n, str(n)) for n in range(200)])\n    \
        return [str(len(value)).encode()]\n";
    let httpd = case
        .httpd()
        .source("/", "headers.wsgi", source)
        .conf("LimitRequestFieldSize 40000\nLimitRequestLine 40000")
        .start();
    let value = "v".repeat(30_000);
    let mut raw = httpd.raw();
    let query = "q".repeat(30_000);
    raw.send(format!(
        "GET /?{query} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Large: {value}\r\n\r\n"
    ));
    let reply = raw.reply();
    assert_eq!((reply.head.status, reply.body.as_slice()), (200, &b"30000"[..]));
    assert_eq!(reply.head.header("x-large"), Some(value.as_str()));
    assert_eq!(reply.head.header("x-many-199"), Some("199"));
}

fn errors_of_the_application_leave_httpds_files_alone(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "errors.wsgi")
        .file("www/page.html", "<p>static</p>")
        .start();
    for path in ["/app/raises", "/app/header_value_newline", "/app/fine"] {
        httpd.get(path);
        assert_eq!(httpd.get("/page.html").text(), "<p>static</p>");
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

/// mod_include asks the application with a request of its own.
fn a_page_may_include_an_application(case: &Case) {
    let httpd = case
        .httpd()
        .load("include")
        .alias("/app", "environ.wsgi")
        .conf("Alias /pages @ROOT@/pages\n<Directory @ROOT@/pages>\nRequire all granted\nOptions +Includes\nSetOutputFilter INCLUDES\n</Directory>")
        .file("pages/page.shtml", "<!--#include virtual=\"/app/part?x=1\" -->")
        .start();
    let environ = environ_of(&httpd, "/pages/page.shtml");
    assert_eq!(
        (
            &environ["SERVER_PROTOCOL"],
            &environ["QUERY_STRING"],
            &environ["PATH_INFO"]
        ),
        (&"INCLUDED".into(), &"x=1".into(), &"/part".into())
    );
    // The original has the whole path here, and the end of it in PATH_INFO once more, as CGI scripts are told.
    let script = if case.theirs() { "/app/part" } else { "/app" };
    assert_eq!(environ["SCRIPT_NAME"], script);
}
