//! Ways to a script that no alias maps: handlers, rewriting, index files, homes and mass hosts.

use crate::environ::{environ_of, same};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        scripts_below_a_directory_answer_by_handler_and_rewriting,
        a_script_may_be_the_index_of_a_directory,
        scripts_in_homes_and_mass_hosts_are_served,
        scripts_that_cannot_run_are_403_or_404,
    ]);
}

fn scripts_below_a_directory_answer_by_handler_and_rewriting(case: &Case) {
    let app = std::fs::read(rwsgi_testkit::test_file("apps/environ.wsgi")).expect("script");
    let httpd = case
        .httpd()
        .file("www/site/app.wsgi", app)
        .file("www/site/page.txt", "a file")
        .file(
            "www/site/.htaccess",
            "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule ^(.*)$ app.wsgi/$1 [QSA,PT,L]\n",
        )
        .conf("<Directory @ROOT@/www/site>\nOptions +ExecCGI +FollowSymLinks\nAllowOverride FileInfo\nAddHandler wsgi-script .wsgi\n</Directory>")
        .start();
    let environ = environ_of(&httpd, "/site/app.wsgi/a/b?q=1");
    same(
        &environ,
        &[
            ("SCRIPT_NAME", "/site/app.wsgi"),
            ("PATH_INFO", "/a/b"),
            ("QUERY_STRING", "q=1"),
            ("mod_wsgi.request_handler", "wsgi-script"),
        ],
    );
    assert_eq!(httpd.get("/site/page.txt").text(), "a file");
    let environ = environ_of(&httpd, "/site/some/page?q=1");
    same(
        &environ,
        &[
            ("SCRIPT_NAME", "/site/app.wsgi"),
            ("PATH_INFO", "/some/page"),
            ("REQUEST_URI", "/site/some/page?q=1"),
        ],
    );
}

fn a_script_may_be_the_index_of_a_directory(case: &Case) {
    let app = std::fs::read(rwsgi_testkit::test_file("apps/environ.wsgi")).expect("script");
    let httpd = case
        .httpd()
        .load("dir")
        .file("www/site/index.wsgi", app)
        .conf("DirectoryIndex index.wsgi\n<Directory @ROOT@/www/site>\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi\n</Directory>")
        .start();
    let environ = environ_of(&httpd, "/site/?q=1");
    same(
        &environ,
        &[
            ("SCRIPT_NAME", "/site/index.wsgi"),
            ("PATH_INFO", ""),
            ("QUERY_STRING", "q=1"),
            ("REQUEST_URI", "/site/?q=1"),
        ],
    );
    assert_eq!(httpd.get("/site").status, 301, "mod_dir adds the slash");
}

fn scripts_in_homes_and_mass_hosts_are_served(case: &Case) {
    let app = std::fs::read(rwsgi_testkit::test_file("apps/environ.wsgi")).expect("script");
    let httpd = case
        .httpd()
        .load("userdir")
        .file("homes/ann/public/app.wsgi", &app)
        .conf("UserDir @ROOT@/homes/*/public\nUserDir enabled")
        .conf("<Directory @ROOT@>\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi\n</Directory>")
        .start();
    let environ = environ_of(&httpd, "/~ann/app.wsgi/x");
    same(
        &environ,
        &[("SCRIPT_NAME", "/~ann/app.wsgi"), ("PATH_INFO", "/x")],
    );
    let httpd = case
        .httpd()
        .load("vhost_alias")
        .file("hosts/ann.example.org/app.wsgi", &app)
        .conf("UseCanonicalName Off\nVirtualDocumentRoot @ROOT@/hosts/%0")
        .conf("<Directory @ROOT@>\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi\n</Directory>")
        .start();
    let ask = |host: &str| httpd.request("GET", "/app.wsgi/x").header("Host", host).send();
    let environ = ask("ann.example.org").json();
    let root = httpd.root().display().to_string();
    same(
        &environ,
        &[
            ("PATH_INFO", "/x"),
            ("DOCUMENT_ROOT", &format!("{root}/hosts/ann.example.org")),
        ],
    );
    assert_eq!(ask("bob.example.org").status, 404);
}

fn scripts_that_cannot_run_are_403_or_404(case: &Case) {
    let httpd = case
        .httpd()
        .file("www/app.wsgi", "")
        .file("scripts/directory/page.txt", "")
        .conf(
            "WSGIScriptAlias /missing @SCRIPTS@/missing.wsgi\nWSGIScriptAlias /directory @SCRIPTS@/directory",
        )
        .conf("<Directory @ROOT@/www>\nAddHandler wsgi-script .wsgi\n</Directory>")
        .start();
    assert_eq!(httpd.get("/missing").status, 404);
    assert_eq!(httpd.get("/directory").status, 403);
    assert_eq!(httpd.get("/app.wsgi").status, 403, "Options ExecCGI is off");
    for (ours, theirs) in [
        ("RW0201", "WSGI0135"),
        ("RW0202", "WSGI0136"),
        ("RW0200", "WSGI0134"),
    ] {
        httpd.wait_log(case.said(ours, theirs));
    }
}
