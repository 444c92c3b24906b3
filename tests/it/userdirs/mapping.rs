//! Which URL is which application, which is a file, and which is nothing.

use super::places::{ANN, BASE, Home, USERS, world};
use rwsgi_testkit::{Case, Httpd, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        a_users_url_is_the_application,
        a_directory_without_its_slash_is_redirected,
        other_ways_to_map_lead_to_the_same_application,
        methods_and_encoded_paths_reach_the_application,
        files_of_public_are_served_by_httpd,
        nothing_else_is_ever_a_file,
        what_is_not_there_is_not_found,
        prefix_neighbours_are_strangers,
        a_closed_home_is_named_in_the_log,
        require_and_handlers_of_the_configuration_count,
        a_process_group_of_the_administrator_counts_more,
        a_server_wide_process_group_does_not,
    ]);
}

const ENVIRON: &str = "environ.wsgi";

fn environ(httpd: &Httpd, url: &str) -> Value {
    let reply = httpd.get(url);
    assert_eq!(reply.status, 200, "{url}: {}", reply.text());
    reply.json()
}

/// `SCRIPT_NAME|PATH_INFO`
fn split(httpd: &Httpd, url: &str) -> String {
    let environ = environ(httpd, url);
    let of = |name: &str| environ[name].as_str().expect("text").to_owned();
    format!("{}|{}", of("SCRIPT_NAME"), of("PATH_INFO"))
}

fn a_users_url_is_the_application(case: &Case) {
    let world = world(case, "");
    world
        .home(USERS[0])
        .app("passenger_wsgi.py", ENVIRON)
        .app("blog/app.wsgi", ENVIRON)
        .app("blog/code/wsgi.py", ENVIRON)
        .app("other.wsgi", ENVIRON);
    world.run(|httpd| {
        assert_eq!(split(httpd, "/~ann/"), "/~ann|/");
        assert_eq!(split(httpd, "/~ann/x/y"), "/~ann|/x/y");
        assert_eq!(split(httpd, "/~ann/blog/"), "/~ann/blog|/");
        assert_eq!(split(httpd, "/~ann/blog/x"), "/~ann/blog|/x");
        assert_eq!(split(httpd, "/~ann/blog/code/x"), "/~ann/blog|/code/x");
        assert_eq!(split(httpd, "/~ann/other.wsgi/x"), "/~ann/other.wsgi|/x");
        assert_eq!(split(httpd, "/~ann/other.wsgi"), "/~ann/other.wsgi|");
        let environ = environ(httpd, "/~ann/blog/x?q=1");
        let base = httpd.root().join("home/ann/public_wsgi/blog");
        let script = base.join("app.wsgi").display().to_string();
        assert_eq!(environ["mod_wsgi.process_group"], "~ann");
        assert_eq!(environ["mod_wsgi.application_group"], script.as_str());
        assert_eq!(environ["SCRIPT_FILENAME"], script.as_str());
        assert_eq!(environ["QUERY_STRING"], "q=1");
        let about = &environ["_"];
        assert_eq!(about["uid"][0], ANN);
        assert_eq!(about["cwd"], base.display().to_string().as_str());
        assert_eq!(about["path"][0], base.display().to_string().as_str());
    });
}

fn a_directory_without_its_slash_is_redirected(case: &Case) {
    let world = world(case, "");
    world.home(USERS[0]).app("blog/app.wsgi", ENVIRON);
    world.run(|httpd| {
        let reply = httpd.get("/~ann/blog?a=b%20c");
        assert_eq!(
            (reply.status, reply.header("location")),
            (301, Some("/~ann/blog/?a=b%20c"))
        );
        // A client never leaves the server by it.
        let reply = httpd.get("//~ann//blog");
        assert_eq!(
            (reply.status, reply.header("location")),
            (301, Some("/~ann/blog/"))
        );
        let reply = httpd.post("/~ann/blog", "x=1");
        assert_eq!((reply.status, &reply.json()["PATH_INFO"]), (200, &"".into()));
    });
}

fn other_ways_to_map_lead_to_the_same_application(case: &Case) {
    let home = "@ROOT@/home/ann/public_wsgi";
    let world = world(case, "").load("vhost_alias").conf(&format!(
        "Alias /x {home}/blog\nAlias /y/ {home}/blog/\nWSGIScriptAlias /z {home}/blog/app.wsgi\n\
         <VirtualHost *:@PORT@>\nServerName main\n</VirtualHost>\n\
         <VirtualHost *:@PORT@>\nServerName rooted\nDocumentRoot {home}/blog\n</VirtualHost>\n\
         <VirtualHost *:@PORT@>\nServerName any\nServerAlias *.example\nUseCanonicalName Off\n\
         VirtualDocumentRoot @ROOT@/home/%1/public_wsgi\n</VirtualHost>"
    ));
    world
        .home(USERS[0])
        .app("blog/app.wsgi", ENVIRON)
        .app("app.wsgi", ENVIRON);
    world.run(|httpd| {
        let at = |host: &str, url: &str| {
            let reply = httpd.request("GET", url).header("Host", host).send();
            assert_eq!(reply.status, 200, "{host} {url}: {}", reply.text());
            let environ = reply.json();
            assert_eq!(environ["_"]["uid"][0], ANN, "{host} {url}");
            assert_eq!(environ["mod_wsgi.process_group"], "~ann");
            format!(
                "{}|{}",
                environ["SCRIPT_NAME"].as_str().expect("text"),
                environ["PATH_INFO"].as_str().expect("text")
            )
        };
        assert_eq!(at("main", "/x/a"), "/x|/a");
        assert_eq!(at("main", "/y/a"), "/y|/a");
        assert_eq!(at("main", "/z/a"), "/z|/a");
        assert_eq!(at("main", "/z"), "/z|");
        assert_eq!(at("rooted", "/"), "|/");
        assert_eq!(at("rooted", "/a/b"), "|/a/b");
        assert_eq!(at("ann.example", "/"), "|/");
        assert_eq!(at("ann.example", "/a"), "|/a");
        assert_eq!(at("ann.example", "/blog/a"), "/blog|/a");
    });
}

// R49
fn methods_and_encoded_paths_reach_the_application(case: &Case) {
    let world = world(case, "").conf("AllowEncodedSlashes NoDecode");
    world.home(USERS[0]).app("app.wsgi", ENVIRON);
    world.run(|httpd| {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let reply = httpd.request(method, "/~ann/x").body("b").send();
            assert_eq!(
                (reply.status, &reply.json()["REQUEST_METHOD"]),
                (200, &method.into())
            );
        }
        let head = httpd.request("HEAD", "/~ann/x").send();
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(split(httpd, "/~ann/a%2Fb"), "/~ann|/a%2Fb");
        assert_eq!(split(httpd, "/~ann/a%0Ab"), "/~ann|/a\nb");
        assert_eq!(split(httpd, "/~ann/x/../y"), "/~ann|/y");
        assert_eq!(split(httpd, "/~ann/./y"), "/~ann|/y");
        assert_eq!(split(httpd, "/%7Eann//y"), "/~ann|/y");
        let long = "a".repeat(3000);
        assert_eq!(split(httpd, &format!("/~ann/{long}")), format!("/~ann|/{long}"));
    });
}

fn files_of_public_are_served_by_httpd(case: &Case) {
    let world = world(case, "");
    let home = world.home(USERS[0]);
    home.app("app.wsgi", ENVIRON)
        .open_file("public/css/site.css", "body {}\n")
        .open_file("public/a.wsgi", "source\n")
        .open_file("public/.hidden", "hidden\n")
        .open_file("public/.well-known/token", "token\n");
    home.link("/etc/passwd", "public/leak");
    world.run(|httpd| {
        let css = httpd.get("/~ann/css/site.css");
        assert_eq!((css.status, css.header("content-type")), (200, Some("text/css")));
        assert_eq!(css.text(), "body {}\n");
        assert!(css.header("etag").is_some());
        assert_eq!(httpd.request("HEAD", "/~ann/css/site.css").send().status, 200);
        assert_eq!(httpd.get("/~ann/.well-known/token").text(), "token\n");
        assert_eq!(httpd.get("/~ann/a.wsgi").text(), "source\n");
        assert!(httpd.workers().is_empty(), "no application was needed");
        // Everything else is the application's.
        assert_eq!(
            httpd.post("/~ann/css/site.css", "x").json()["PATH_INFO"],
            "/css/site.css"
        );
        for url in [
            "/~ann/css/",
            "/~ann/css",
            "/~ann/.hidden",
            "/~ann/public/css/site.css",
        ] {
            assert_eq!(environ(httpd, url)["PATH_INFO"], &url[5..]);
        }
        // A link to what is not the user's: Options says so.
        let leak = httpd.get("/~ann/leak");
        assert_eq!(leak.status, 403);
        httpd.wait_log("AH00037");
    });
}

fn nothing_else_is_ever_a_file(case: &Case) {
    let world = world(case, "").load("dir").conf(
        "AddHandler cgi-script .py\nAddType application/x-httpd-php .php\n\
         <Directory @ROOT@/home/bob/public_wsgi>\nSetHandler default-handler\n</Directory>",
    );
    let files = [
        "passenger_wsgi.py",
        "settings.py",
        "app/models.py",
        "index.html",
        "index.php",
        ".htaccess",
        ".env",
        "tmp/restart.txt",
        "db.sqlite3",
        ".git/config",
        "public.txt",
    ];
    for user in USERS {
        let home = world.home(user);
        for file in files {
            home.open_file(file, "# secret\n");
        }
        home.directory("public");
        home.app("passenger_wsgi.py", ENVIRON)
            .mode("passenger_wsgi.py", 0o644);
        // No application here.
        home.open_file("plain/.keep", "");
    }
    // A directory without an application is no place for files either.
    let eve = super::places::User {
        name: "eve",
        uid: 41_009,
    };
    let home = world.home(eve);
    for file in &files[1..] {
        home.open_file(file, "# secret\n");
    }
    world.run(|httpd| {
        for file in files {
            for user in ["ann", "bob"] {
                let reply = httpd.get(&format!("/~{user}/{file}"));
                assert_eq!(reply.status, 200, "{user} {file}: {}", reply.text());
                assert_eq!(reply.json()["PATH_INFO"], format!("/{file}"), "{user}");
            }
            let reply = httpd.get(&format!("/~eve/{file}"));
            assert_eq!(reply.status, 404, "{file}: {}", reply.text());
        }
        for url in ["/~eve/", "/~eve", "/~eve/app", "/~eve/app/"] {
            assert_eq!(httpd.get(url).status, 404, "{url}");
        }
    });
}

fn what_is_not_there_is_not_found(case: &Case) {
    // Where there is no user, no section of the users' directories counts.
    let world = world(case, "").conf(&format!(
        "<Directory @ROOT@/home>\nRequire all denied\n</Directory>\n<Directory {BASE}>\nRequire all granted\n</Directory>"
    ));
    world
        .home(USERS[0])
        .app("one.wsgi", ENVIRON)
        .app("two.wsgi", ENVIRON);
    world.run(|httpd| {
        for url in ["/~nobody-here/x", "/~bob/x", "/~ann/", "/~ann/three.wsgi"] {
            let reply = httpd.get(url);
            assert_eq!(reply.status, 404, "{url}");
            // R73
            assert!(!reply.text().contains("home"), "{}", reply.text());
        }
        assert_eq!(split(httpd, "/~ann/two.wsgi/"), "/~ann/two.wsgi|/");
        httpd.wait_log("there is no application and no file of one");
        // The rest of the server is as it was.
        assert_eq!(httpd.get("/nothing").status, 404);
    });
}

// R30
fn prefix_neighbours_are_strangers(case: &Case) {
    let world = world(case, "").conf(
        "Alias /neighbour @ROOT@/home/ann/public_wsgi2\nAlias /above @ROOT@/home/ann\n\
         RewriteEngine On\nRewriteRule ^/up/(.*) @ROOT@/home/ann/public_wsgi/../$1",
    );
    let home = world.home(USERS[0]);
    home.app("app.wsgi", ENVIRON);
    let beside = home.path().join("public_wsgi2");
    std::fs::create_dir(&beside).expect("mkdir");
    std::fs::write(beside.join("a.txt"), "beside").expect("write");
    std::fs::write(beside.join("app.wsgi"), "application = None").expect("write");
    world.run(|httpd| {
        assert_eq!(httpd.get("/neighbour/a.txt").text(), "beside");
        assert_eq!(httpd.get("/neighbour/app.wsgi").text(), "application = None");
        assert!(httpd.workers().is_empty());
        assert_eq!(httpd.get("/up/x").status, 403);
        assert_eq!(split(httpd, "/above/public_wsgi/x"), "/above/public_wsgi|/x");
    });
}

fn a_closed_home_is_named_in_the_log(case: &Case) {
    let world = world(case, "");
    let home = world.home(USERS[0]);
    home.app("app.wsgi", ENVIRON);
    home.mode("..", 0o700);
    let bob = world.home(USERS[1]);
    bob.app("app.wsgi", ENVIRON);
    bob.mode(".", 0o700);
    world.run(|httpd| {
        for (user, directory) in [("ann", home.path().to_path_buf()), ("bob", bob.base())] {
            for url in ["", "/", "/x/y", "/app.wsgi"] {
                let reply = httpd.get(&format!("/~{user}{url}"));
                assert_eq!(reply.status, 403, "{url}");
                // R73
                assert!(!reply.text().contains("home"), "{}", reply.text());
            }
            let line = httpd.wait_log(&format!(
                "RW0060: httpd's user may not pass through '{}',",
                directory.display()
            ));
            assert!(line.text.contains("chmod o+x"), "{}", line.text);
        }
        // It need not be readable.
        home.mode("..", 0o711);
        assert_eq!(split(httpd, "/~ann/x"), "/~ann|/x");
    });
}

fn require_and_handlers_of_the_configuration_count(case: &Case) {
    let world = world(case, "").load("status").conf(
        "<Directory @ROOT@/home/*/public_wsgi/closed>\nRequire all denied\n</Directory>\n\
         <Location /~ann/server-status>\nSetHandler server-status\n</Location>",
    );
    world
        .home(USERS[0])
        .app("app.wsgi", ENVIRON)
        .app("closed/app.wsgi", ENVIRON)
        .open_file("locked/public/a.txt", "a")
        .app("locked/app.wsgi", ENVIRON);
    world.run(|httpd| {
        assert_eq!(httpd.get("/~ann/closed/").status, 403);
        assert_eq!(httpd.get("/~ann/x").status, 200);
        assert!(
            httpd
                .get("/~ann/server-status")
                .text()
                .contains("Apache Server Status")
        );
        assert_eq!(httpd.get("/~ann/locked/a.txt").text(), "a");
        httpd.announce("AH01630");
    });
}

fn a_process_group_of_the_administrator_counts_more(case: &Case) {
    let home = "@ROOT@/home/ann/public_wsgi";
    let world = world(case, "").conf(&format!(
        "WSGIDaemonProcess shop user=games group=games\n<Directory {home}/shop>\nWSGIProcessGroup shop\n</Directory>\n\
         WSGIScriptAlias /alias {home}/shared/app.wsgi process-group=shop"
    ));
    let ann = world.home(USERS[0]);
    for app in ["shop/app.wsgi", "shared/app.wsgi"] {
        ann.app(app, ENVIRON).mode(app, 0o644);
    }
    world.run(|httpd| {
        for (url, group) in [
            ("/~ann/shop/", "shop"),
            ("/alias/", "shop"),
            ("/~ann/shared/", "~ann"),
        ] {
            assert_eq!(environ(httpd, url)["mod_wsgi.process_group"], group, "{url}");
        }
    });
}

fn a_server_wide_process_group_does_not(case: &Case) {
    let dispatch = "def process_group(environ):\n    return 'site'\n";
    let world = world(case, "").conf(&format!(
        "WSGIDaemonProcess site user=games group=games\nWSGIProcessGroup site\nWSGIApplicationGroup %{{GLOBAL}}\n\
         WSGIRestrictProcess site\nWSGIDispatchScript @SCRIPTS@/dispatch.py process-group=site\n\
         <Directory {BASE}>\nWSGICallableObject application\n</Directory>"
    ));
    world.home(USERS[0]).app("app.wsgi", ENVIRON);
    world.run(|httpd| {
        std::fs::write(httpd.root().join("scripts/dispatch.py"), dispatch).expect("dispatch");
        let environ = environ(httpd, "/~ann/");
        assert_eq!(
            (&environ["mod_wsgi.process_group"], &environ["_"]["uid"][0]),
            (&"~ann".into(), &ANN.into())
        );
        let _ = Home::of(httpd, USERS[0]);
    });
}
