//! The classic examples that people still follow, served as they stand.

use rwsgi_testkit::{Case, Httpd, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        application_in_a_file_at_the_root,
        application_in_a_file_at_a_path,
        alias_with_a_trailing_slash,
        sub_paths_split_into_script_name_and_path_info,
        directory_of_scripts,
        directory_of_scripts_by_set_handler,
        scripts_by_add_handler,
        script_alias_match_picks_the_script,
        first_alias_wins,
        another_callable_by_directive,
        instance_with_call,
        class_as_application,
        package_found_by_python_path,
        script_for_cgi_handler_is_served_unchanged,
        script_for_flup_is_served_by_naming_its_callable,
        alias_options_choose_the_callable,
        request_name_is_in_the_access_log,
    ]);
}

fn text(httpd: &Httpd, path: &str) -> String {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.text()
}

fn names(httpd: &Httpd, path: &str) -> (String, String) {
    let environ = httpd.get(path).json();
    let name = |key: &str| environ[key].as_str().unwrap_or("absent").to_owned();
    (name("SCRIPT_NAME"), name("PATH_INFO"))
}

fn pair(script_name: &str, path_info: &str) -> (String, String) {
    (script_name.to_owned(), path_info.to_owned())
}

fn application_in_a_file_at_the_root(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").start();
    let reply = httpd.get("/");
    assert_eq!((reply.status, reply.text().as_str()), (200, "Hello World!\n"));
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    assert_eq!(reply.header("content-length"), Some("13"));
    assert_eq!(text(&httpd, "/any/path?query"), "Hello World!\n");
}

fn application_in_a_file_at_a_path(case: &Case) {
    let httpd = case.httpd().alias("/foo", "hello.wsgi").start();
    for path in ["/foo", "/foo/", "/foo/bar", "/foo?query"] {
        assert_eq!(text(&httpd, path), "Hello World!\n");
    }
    for path in ["/", "/foobar", "/FOO"] {
        let status = httpd.get(path).status;
        assert!(matches!(status, 403 | 404), "{path} is not ours: {status}");
    }
    httpd.announce("AH"); // httpd's own words about the paths that are not ours
}

fn alias_with_a_trailing_slash(case: &Case) {
    let httpd = case
        .httpd()
        .script("hello.wsgi")
        .script("environ.wsgi")
        .conf("WSGIScriptAlias /foo/ @SCRIPTS@/")
        .start();
    assert_eq!(text(&httpd, "/foo/hello.wsgi"), "Hello World!\n");
    assert_eq!(
        names(&httpd, "/foo/environ.wsgi/a/b"),
        pair("/foo/environ.wsgi", "/a/b")
    );
}

fn sub_paths_split_into_script_name_and_path_info(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/foo/deep", "environ.wsgi")
        .alias("/foo", "environ.wsgi")
        .conf("WSGIScriptAlias / @SCRIPTS@/environ.wsgi")
        .start();
    for (path, script_name, path_info) in [
        ("/", "", "/"),
        ("/x/y", "", "/x/y"),
        ("/x//y", "", "/x/y"),
        ("/foo", "/foo", ""),
        ("/foo/", "/foo", "/"),
        ("/foo/a/b/", "/foo", "/a/b/"),
        ("/foo//a", "/foo", "/a"),
        ("/foo/deep/er", "/foo/deep", "/er"),
        ("/foo/a%20b", "/foo", "/a b"),
        ("/caf%C3%A9", "", "/caf\u{c3}\u{a9}"),
    ] {
        assert_eq!(names(&httpd, path), pair(script_name, path_info), "{path}");
    }
}

fn directory_of_scripts(case: &Case) {
    let httpd = case
        .httpd()
        .script("hello.wsgi")
        .script("environ.wsgi")
        .conf("WSGIScriptAlias /apps @SCRIPTS@")
        .start();
    assert_eq!(text(&httpd, "/apps/hello.wsgi"), "Hello World!\n");
    assert_eq!(
        names(&httpd, "/apps/environ.wsgi"),
        pair("/apps/environ.wsgi", "")
    );
    assert_eq!(
        names(&httpd, "/apps/environ.wsgi/x"),
        pair("/apps/environ.wsgi", "/x")
    );
    assert_eq!(httpd.get("/apps/missing.wsgi").status, 404);
    assert_eq!(httpd.get("/apps/").status, 403, "a directory is no script");
    httpd.wait_log(case.said("RW0201", "WSGI0135"));
    httpd.wait_log(case.said("RW0202", "WSGI0136"));
}

fn directory_of_scripts_by_set_handler(case: &Case) {
    let httpd = case
        .httpd()
        .script("environ.wsgi")
        .conf("Alias /scripts @SCRIPTS@\n<Directory @SCRIPTS@>\nSetHandler wsgi-script\nOptions ExecCGI\n</Directory>")
        .start();
    assert_eq!(
        names(&httpd, "/scripts/environ.wsgi/x"),
        pair("/scripts/environ.wsgi", "/x")
    );
}

fn scripts_by_add_handler(case: &Case) {
    let httpd = case
        .httpd()
        .script("environ.wsgi")
        .file("www/environ.wsgi", "not used")
        .file("www/plain.txt", "plain")
        .file("www/forbidden/hello.wsgi", "never run")
        .conf("Alias /s @SCRIPTS@\nAddHandler wsgi-script .wsgi\n<Directory @SCRIPTS@>\nOptions ExecCGI\n</Directory>")
        .start();
    assert_eq!(names(&httpd, "/s/environ.wsgi/x"), pair("/s/environ.wsgi", "/x"));
    assert_eq!(text(&httpd, "/plain.txt"), "plain");
    assert_eq!(
        httpd.get("/forbidden/hello.wsgi").status,
        403,
        "needs Options ExecCGI"
    );
    httpd.wait_log("ExecCGI");
}

fn script_alias_match_picks_the_script(case: &Case) {
    let httpd = case
        .httpd()
        .script("hello.wsgi")
        .script("environ.wsgi")
        .conf("WSGIScriptAliasMatch ^/run/([a-z]+) @SCRIPTS@/$1.wsgi")
        .start();
    assert_eq!(text(&httpd, "/run/hello"), "Hello World!\n");
    assert_eq!(names(&httpd, "/run/environ/more"), pair("/run/environ", "/more"));
}

fn first_alias_wins(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/a", "environ.wsgi")
        .alias("/a/b", "hello.wsgi")
        .start();
    assert_eq!(names(&httpd, "/a/b"), pair("/a", "/b"));
}

fn another_callable_by_directive(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("WSGICallableObject other")
        .start();
    assert_eq!(text(&httpd, "/"), "the other callable\n");
}

fn instance_with_call(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("WSGICallableObject instance")
        .start();
    assert_eq!(text(&httpd, "/"), "an instance with __call__\n");
}

fn class_as_application(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("WSGICallableObject Iterable")
        .start();
    assert_eq!(text(&httpd, "/"), "a class as application\n");
}

fn package_found_by_python_path(case: &Case) {
    let builder = case
        .httpd()
        .file("lib/shop/__init__.py", "")
        .file("lib/shop/site.py", "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'from the package']\n")
        .source("/", "shop.wsgi", "from shop.site import application\n");
    // WSGIPythonPath is for embedded mode; daemon groups have the option python-path.
    let httpd = if case.embedded() {
        builder.conf("WSGIPythonPath @ROOT@/lib").start()
    } else {
        builder.daemon("threads=2 python-path=@ROOT@/lib").start()
    };
    assert_eq!(text(&httpd, "/"), "from the package");
}

fn script_for_cgi_handler_is_served_unchanged(case: &Case) {
    let httpd = case.httpd().app("cgi_handler.wsgi").start();
    assert_eq!(text(&httpd, "/"), "written for CGIHandler\n");
}

fn script_for_flup_is_served_by_naming_its_callable(case: &Case) {
    let httpd = case
        .httpd()
        .app("flup.fcgi")
        .conf("WSGICallableObject app")
        .start();
    assert_eq!(text(&httpd, "/"), "written for flup\n");
}

fn alias_options_choose_the_callable(case: &Case) {
    let httpd = case
        .httpd()
        .script("hello.wsgi")
        .conf("WSGIScriptAlias /other @SCRIPTS@/hello.wsgi callable-object=other\nWSGIScriptAlias / @SCRIPTS@/hello.wsgi")
        .start();
    assert_eq!(text(&httpd, "/other"), "the other callable\n");
    assert_eq!(text(&httpd, "/"), "Hello World!\n");
}

fn request_name_is_in_the_access_log(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").start();
    text(&httpd, "/");
    until("the request in the access log", Duration::from_secs(5), || {
        httpd.access_log().contains(&case.name)
    });
}
