//! What httpd makes of the file that an alias names: where it ends, what follows it, which links and which `.htaccess` count.

use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        what_follows_the_file_is_the_rest_of_the_path,
        an_alias_of_a_directory_finds_scripts_in_it,
        links_are_followed_only_where_they_may_be,
        htaccess_beside_the_script_counts,
        a_script_that_is_not_there_is_not_found,
    ]);
}

fn what_follows_the_file_is_the_rest_of_the_path(case: &Case) {
    for merged in ["On", "Off"] {
        let httpd = case
            .httpd()
            .script("environ.wsgi")
            .conf("WSGIScriptAlias /app @SCRIPTS@/environ.wsgi\nWSGIScriptAlias /odd @SCRIPTS@/../scripts/environ.wsgi")
            .conf(&format!("MergeSlashes {merged}"))
            .start();
        let script = httpd.root().join("scripts/environ.wsgi").display().to_string();
        for (asked, name, info) in [
            ("/app", "/app", ""),
            ("/app/", "/app", "/"),
            ("/app/a/b/", "/app", "/a/b/"),
            ("/app//a///b", "/app", "/a/b"),
            ("/app/x/../a/./b", "/app", "/a/b"),
            ("/app/%2e%2e/app/a", "/app", "/a"),
            ("/odd/a", "/odd", "/a"),
        ] {
            let mut raw = httpd.raw();
            raw.send(format!(
                "GET {asked} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
            ));
            let reply = raw.reply();
            let environ = rwsgi_testkit::from_slice(&reply.body);
            assert_eq!(
                [
                    &environ["SCRIPT_NAME"],
                    &environ["PATH_INFO"],
                    &environ["SCRIPT_FILENAME"]
                ],
                [name, info, &script],
                "{asked}, MergeSlashes {merged}"
            );
        }
    }
}

fn an_alias_of_a_directory_finds_scripts_in_it(case: &Case) {
    let httpd = case
        .httpd()
        .script("environ.wsgi")
        .conf("WSGIScriptAlias /bare @SCRIPTS@\nWSGIScriptAlias /slash/ @SCRIPTS@/")
        .start();
    for alias in ["/bare", "/slash"] {
        let environ = httpd.get(&format!("{alias}/environ.wsgi/a")).json();
        assert_eq!(environ["SCRIPT_NAME"], format!("{alias}/environ.wsgi"));
        assert_eq!(environ["PATH_INFO"], "/a");
    }
}

fn links_are_followed_only_where_they_may_be(case: &Case) {
    for (options, status) in [("+FollowSymLinks", 200), ("-FollowSymLinks", 403)] {
        let httpd = case
            .httpd()
            .script("hello.wsgi")
            .conf("WSGIScriptAlias /link @SCRIPTS@/link.wsgi\nWSGIScriptAlias /file @SCRIPTS@/hello.wsgi")
            .conf(&format!("<Directory @SCRIPTS@>\nOptions {options}\n</Directory>"))
            .start();
        std::os::unix::fs::symlink("hello.wsgi", httpd.root().join("scripts/link.wsgi")).expect("symlink");
        for rest in ["", "/a/b"] {
            assert_eq!(httpd.get(&format!("/link{rest}")).status, status, "{options}");
            assert_eq!(httpd.get(&format!("/file{rest}")).status, 200, "{options}");
        }
        if status == 403 {
            httpd.announce("AH00037"); // httpd's words: a link not allowed or not accessible
        }
    }
}

fn htaccess_beside_the_script_counts(case: &Case) {
    let httpd = case
        .httpd()
        .script("hello.wsgi")
        .file("scripts/.htaccess", "Require method GET\n")
        .conf("WSGIScriptAlias / @SCRIPTS@/hello.wsgi")
        .conf("<Directory @SCRIPTS@>\nAllowOverride AuthConfig\n</Directory>")
        .start();
    for path in ["/", "/a/b"] {
        assert_eq!(httpd.get(path).status, 200);
        assert_eq!(httpd.post(path, "x").status, 403);
    }
    httpd.announce("AH01630"); // httpd's words: client denied by server configuration
}

fn a_script_that_is_not_there_is_not_found(case: &Case) {
    let httpd = case
        .httpd()
        .conf("WSGIScriptAlias / @SCRIPTS@/missing.wsgi")
        .start();
    for path in ["/", "/a/b"] {
        assert_eq!(httpd.get(path).status, 404);
    }
    httpd.announce("missing.wsgi");
}
