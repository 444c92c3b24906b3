//! Applications at their URLs, with static files beside them.

use super::{files, serves, site};
use crate::environ::same;
use rwsgi_testkit::{Case, Httpd, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        an_application_at_a_path_with_order_and_allow,
        an_application_at_the_root_with_static_files_beside_it,
        several_applications_the_most_specific_first,
        a_directory_of_scripts_and_one_without_extensions,
        flask_as_its_own_script_with_another_callable,
        settings_by_set_env_and_by_rewriting,
        a_limit_for_request_bodies
    ]);
    topic.daemon(test![a_virtual_host_with_two_processes_and_static_files]);
}

fn an_application_at_a_path_with_order_and_allow(case: &Case) {
    let httpd = site(case)
        .load("access_compat")
        .conf(
            "<VirtualHost *:@PORT@>\n\n    ServerName www.example.com\n    ServerAlias example.com\n    \
             ServerAdmin webmaster@example.com\n\n    DocumentRoot @ROOT@/wsgi/static\n\n    <Directory @ROOT@/wsgi/static>\n    \
             Order allow,deny\n    Allow from all\n    </Directory>\n\n    WSGIScriptAlias /myapp @ROOT@/wsgi/scripts/myapp.wsgi\n\n    \
             <Directory @ROOT@/wsgi/scripts>\n    Order allow,deny\n    Allow from all\n    </Directory>\n\n</VirtualHost>",
        )
        .start();
    serves(
        &httpd,
        &[
            ("/myapp", "myapp.wsgi", "/myapp", ""),
            ("/myapp/x", "myapp.wsgi", "/myapp", "/x"),
        ],
    );
    files(&httpd, &[("/robots.txt", "User-agent: *\n")]);
    same(
        &httpd.get("/myapp").json(),
        &[("SERVER_ADMIN", "webmaster@example.com")],
    );
}

const STATIC_FILES: &str = "Alias /robots.txt @ROOT@/wsgi/static/robots.txt\nAlias /favicon.ico @ROOT@/wsgi/static/favicon.ico\n\
    AliasMatch /([^/]*\\.css) @ROOT@/wsgi/static/styles/$1\nAlias /media/ @ROOT@/wsgi/static/media/\n\
    <Directory @ROOT@/wsgi/static>\n    Require all granted\n</Directory>\n\
    WSGIScriptAlias / @ROOT@/wsgi/scripts/myapp.wsgi\n\
    <Directory @ROOT@/wsgi/scripts>\n    Require all granted\n</Directory>\n";

fn static_files_are_files(httpd: &Httpd) {
    files(
        httpd,
        &[
            ("/robots.txt", "User-agent: *\n"),
            ("/favicon.ico", "icon"),
            ("/any/where/a.css", "css"),
            ("/media/film", "film"),
        ],
    );
    serves(
        httpd,
        &[
            ("/", "myapp.wsgi", "", "/"),
            ("/robots", "myapp.wsgi", "", "/robots"),
        ],
    );
}

fn an_application_at_the_root_with_static_files_beside_it(case: &Case) {
    static_files_are_files(&site(case).conf(STATIC_FILES).start());
}

fn a_virtual_host_with_two_processes_and_static_files(case: &Case) {
    let text = format!(
        "<VirtualHost *:@PORT@>\n    ServerName www.example.com\n\n    WSGIDaemonProcess myapp processes=2 threads=15 \\\n        \
         display-name=%{{GROUP}}\n    WSGIProcessGroup myapp\n\n{STATIC_FILES}</VirtualHost>"
    );
    let httpd = site(case).bare().conf(&text).start();
    static_files_are_files(&httpd);
    let environ = httpd.get("/").json();
    assert_eq!(environ["mod_wsgi.process_group"], "myapp");
    assert_eq!(environ["wsgi.multiprocess"][1], "True");
}

fn several_applications_the_most_specific_first(case: &Case) {
    let httpd = site(case)
        .conf(
            "WSGIScriptAlias /wiki @ROOT@/wsgi/scripts/mywiki.wsgi\nWSGIScriptAlias /blog @ROOT@/wsgi/scripts/myblog.wsgi\n\
             WSGIScriptAlias / @ROOT@/wsgi/scripts/myapp.wsgi",
        )
        .start();
    serves(
        &httpd,
        &[
            ("/wiki/page", "mywiki.wsgi", "/wiki", "/page"),
            ("/blog", "myblog.wsgi", "/blog", ""),
            ("/wikipedia", "myapp.wsgi", "", "/wikipedia"),
        ],
    );
}

fn a_directory_of_scripts_and_one_without_extensions(case: &Case) {
    let httpd = site(case)
        .conf(
            "WSGIScriptAliasMatch ^/short/([^/]+) @ROOT@/wsgi/scripts/$1.wsgi\nWSGIScriptAlias /wsgi/ @ROOT@/wsgi/scripts/",
        )
        .start();
    serves(
        &httpd,
        &[
            ("/wsgi/myapp.wsgi/x", "myapp.wsgi", "/wsgi/myapp.wsgi", "/x"),
            ("/short/mywiki", "mywiki.wsgi", "/short/mywiki", ""),
            ("/short/mywiki/a/b", "mywiki.wsgi", "/short/mywiki", "/a/b"),
        ],
    );
}

fn flask_as_its_own_script_with_another_callable(case: &Case) {
    case.needs_apps();
    let source = "from flask import Flask\napp = Flask(__name__)\n\n@app.route('/hello')\ndef hello():\n    return 'Hello from Flask'\n";
    let mut builder = site(case).file("flask/myapp.py", source);
    if case.theirs() {
        // Extension modules in a sub-interpreter are the original's problem, not this test's.
        builder = builder.conf("WSGIApplicationGroup %{GLOBAL}");
    }
    let httpd = builder
        .conf(
            "WSGIScriptAlias / @ROOT@/flask/myapp.py\n\n<Directory @ROOT@/flask>\n    <Files myapp.py>\n        \
             WSGICallableObject app\n    </Files>\n    Require all granted\n</Directory>",
        )
        .start();
    files(&httpd, &[("/hello", "Hello from Flask")]);
    assert_eq!(httpd.get("/missing").status, 404);
}

fn settings_by_set_env_and_by_rewriting(case: &Case) {
    let httpd = site(case)
        .conf(
            "WSGIScriptAlias / @ROOT@/wsgi/scripts/myapp.wsgi\n\nSetEnv demo.templates /usr/local/wsgi/templates\n\
             SetEnv demo.mailhost mailhost\nSetEnv demo.debugging 0\n\nRewriteEngine On\n\
             RewriteCond %{REMOTE_ADDR} ^127.0.0.1$\nRewriteRule . - [E=demo.rewritten:1]",
        )
        .start();
    same(
        &httpd.get("/").json(),
        &[
            ("demo.templates", "/usr/local/wsgi/templates"),
            ("demo.mailhost", "mailhost"),
            ("demo.debugging", "0"),
            ("demo.rewritten", "1"),
        ],
    );
}

fn a_limit_for_request_bodies(case: &Case) {
    let httpd = site(case)
        .conf("LimitRequestBody 1048576\nWSGIScriptAlias / @ROOT@/wsgi/scripts/myapp.wsgi")
        .start();
    assert_eq!(httpd.post("/", vec![b'x'; 1_048_576]).status, 200);
    assert_eq!(httpd.post("/", vec![b'x'; 1_048_577]).status, 413);
    httpd.announce("AH");
}
