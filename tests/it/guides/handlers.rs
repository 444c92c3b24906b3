//! Scripts that a handler, not an alias, makes run; application groups of directories.

use super::{files, serves, site};
use crate::environ::same;
use rwsgi_testkit::{Case, Httpd, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        one_application_group_for_a_directory,
        application_groups_of_users_by_rewriting,
        alias_and_set_handler,
        cgi_and_wsgi_in_one_directory,
        scripts_without_extensions_by_multiviews,
        a_script_as_directory_index,
        handlers_in_htaccess,
        a_script_at_the_root_by_rewriting
    ]);
}

fn one_application_group_for_a_directory(case: &Case) {
    let httpd = site(case)
        .conf(
            "WSGIScriptAlias /wsgi/ @ROOT@/wsgi/scripts/\n<Directory @ROOT@/wsgi/scripts>\n    \
             WSGIApplicationGroup admin-scripts\n    Require all granted\n</Directory>",
        )
        .start();
    for path in ["/wsgi/myapp.wsgi", "/wsgi/mywiki.wsgi"] {
        assert_eq!(
            httpd.get(path).json()["mod_wsgi.application_group"],
            "admin-scripts"
        );
    }
}

fn application_groups_of_users_by_rewriting(case: &Case) {
    let environ = include_str!("../../apps/environ.wsgi");
    let httpd = site(case)
        .file("home/ann/public_html/wsgi-scripts/app.wsgi", environ)
        .file("home/bob/public_html/wsgi-scripts/app.wsgi", environ)
        .load("userdir")
        .conf(
            "UserDir @ROOT@/home/*/public_html\nRewriteEngine On\nRewriteCond %{REQUEST_URI} ^/~([^/]+)\n\
             RewriteRule . - [E=APPLICATION_GROUP:~%1]\n\n<Directory @ROOT@/home/*/public_html/wsgi-scripts/>\n    \
             Options ExecCGI\n    SetHandler wsgi-script\n    WSGIApplicationGroup %{ENV:APPLICATION_GROUP}\n</Directory>",
        )
        .start();
    for user in ["ann", "bob"] {
        let path = format!("/~{user}/wsgi-scripts/app.wsgi");
        serves(&httpd, &[(&path, "app.wsgi", &path, "")]);
        let group = httpd.get(&path).json()["mod_wsgi.application_group"].clone();
        assert_eq!(group, format!("~{user}"));
    }
}

fn alias_and_set_handler(case: &Case) {
    let httpd = site(case)
        .conf(
            "Alias /wsgi/ @ROOT@/wsgi/scripts/\n\n<Directory @ROOT@/wsgi/scripts>\n    Options ExecCGI\n    \
             SetHandler wsgi-script\n    Require all granted\n</Directory>",
        )
        .start();
    serves(
        &httpd,
        &[("/wsgi/myapp.wsgi/x", "myapp.wsgi", "/wsgi/myapp.wsgi", "/x")],
    );
}

const MIXED: &str = "AddHandler cgi-script .cgi\n    AddHandler wsgi-script .wsgi\n";

fn mixed(case: &Case, options: &str, more: &str) -> Httpd {
    let cgi = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\ncgi'\n";
    let builder = site(case)
        .load("cgi")
        .file("wsgi/scripts/old.cgi", cgi)
        .file("wsgi/scripts/page.html", "<p>");
    let script = builder.root().join("wsgi/scripts/old.cgi");
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    builder
        .load("dir")
        .load("negotiation")
        .conf(&format!(
            "Alias /wsgi/ @ROOT@/wsgi/scripts/\n\n<Directory @ROOT@/wsgi/scripts>\n    Options {options}\n    {more}\n    \
             Require all granted\n</Directory>"
        ))
        .start()
}

fn cgi_and_wsgi_in_one_directory(case: &Case) {
    let httpd = mixed(case, "ExecCGI", MIXED);
    files(&httpd, &[("/wsgi/old.cgi", "cgi"), ("/wsgi/page.html", "<p>")]);
    serves(
        &httpd,
        &[("/wsgi/myapp.wsgi", "myapp.wsgi", "/wsgi/myapp.wsgi", "")],
    );
}

fn scripts_without_extensions_by_multiviews(case: &Case) {
    let httpd = mixed(
        case,
        "ExecCGI MultiViews",
        &format!("MultiviewsMatch Handlers\n    {MIXED}"),
    );
    files(&httpd, &[("/wsgi/old", "cgi")]);
    serves(
        &httpd,
        &[("/wsgi/myapp/more", "myapp.wsgi", "/wsgi/myapp.wsgi", "/more")],
    );
}

fn a_script_as_directory_index(case: &Case) {
    let index = format!("DirectoryIndex index.html index.wsgi index.cgi\n    {MIXED}");
    let httpd = mixed(case, "ExecCGI Indexes", &index);
    serves(&httpd, &[("/wsgi/", "index.wsgi", "/wsgi/index.wsgi", "")]);
}

fn handlers_in_htaccess(case: &Case) {
    let environ = include_str!("../../apps/environ.wsgi");
    let httpd = site(case)
        .file("wsgi/site/index.wsgi", environ)
        .file(
            "wsgi/site/.htaccess",
            "DirectoryIndex index.html index.wsgi index.cgi\n\nAddHandler cgi-script .cgi\nAddHandler wsgi-script .wsgi\n\
             WSGICallableObject application\nWSGIPassAuthorization On\n",
        )
        .load("dir")
        .load("negotiation")
        .conf(
            "Alias /site/ @ROOT@/wsgi/site/\n\n<Directory @ROOT@/wsgi/site>\n    AllowOverride FileInfo Indexes\n    \
             Options ExecCGI MultiViews Indexes\n    MultiviewsMatch Handlers\n    Require all granted\n</Directory>",
        )
        .start();
    serves(
        &httpd,
        &[
            ("/site/", "index.wsgi", "/site/index.wsgi", ""),
            ("/site/index/x", "index.wsgi", "/site/index.wsgi", "/x"),
        ],
    );
    let asked = httpd
        .request("GET", "/site/")
        .header("Authorization", "Basic abc");
    same(&asked.send().json(), &[("HTTP_AUTHORIZATION", "Basic abc")]);
}

fn a_script_at_the_root_by_rewriting(case: &Case) {
    let source = "import posixpath\n\ndef _application(environ, start_response):\n    start_response('200 OK', [])\n    \
        return [('%s|%s' % (environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode()]\n\n\
        def application(environ, start_response):\n    \
        environ['SCRIPT_NAME'] = posixpath.dirname(environ['SCRIPT_NAME'])\n    \
        if environ['SCRIPT_NAME'] == '/':\n        environ['SCRIPT_NAME'] = ''\n    \
        return _application(environ, start_response)\n";
    let httpd = site(case)
        .file("www/site.wsgi", source)
        .file("www/plain.txt", "plain")
        .conf(
            "<Directory @ROOT@/www>\nOptions ExecCGI FollowSymLinks\nAddHandler wsgi-script .wsgi\nRewriteEngine On\n\
             RewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule ^(.*)$ /site.wsgi/$1 [QSA,PT,L]\n</Directory>",
        )
        .start();
    files(
        &httpd,
        &[
            ("/some/page", "|/some/page"),
            ("/", "|/"),
            ("/plain.txt", "plain"),
        ],
    );
}
