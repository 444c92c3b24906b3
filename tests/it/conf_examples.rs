//! Every file of `apache-conf`, loaded and exercised as its comments say.

use crate::gate::get_as;
use crate::userdirs;
use rwsgi_testkit::{Builder, Case, Topic, apps_venv, httpd_user, repository, test, test_file, until};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        minimal_conf_serves,
        several_apps_conf_serves_both,
        per_user_conf_serves_every_user,
        django_conf_serves_admin_and_static_files,
        auth_conf_asks_for_members,
        service_conf_cleans_up,
        embedded_conf_serves,
        rwsgi_conf_sets_up_a_group,
        private_httpd_conf_is_enough_for_an_httpd,
        every_example_is_exercised_here,
    ]);
}

const EXERCISED: [&str; 9] = [
    "auth.conf",
    "django.conf",
    "embedded.conf",
    "minimal.conf",
    "per-user.conf",
    "private-httpd.conf",
    "rwsgi.conf",
    "service.conf",
    "several-apps.conf",
];

fn example(name: &str) -> PathBuf {
    repository().join("apache-conf").join(name)
}

fn include(name: &str) -> String {
    format!("Include {}", example(name).display())
}

/// What `id` says of us.
fn mine(flag: &str) -> String {
    let output = std::process::Command::new("id").arg(flag).output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A user other than httpd's where we may change users, else ourselves.
fn another_user() -> String {
    let me = mine("-un");
    if me == "root" { "games".to_owned() } else { me }
}

fn bare(case: &Case) -> Builder {
    case.needs_apps();
    case.httpd().bare()
}

fn every_example_is_exercised_here(_: &Case) {
    let directory = repository().join("apache-conf");
    let mut found: Vec<String> = std::fs::read_dir(directory)
        .expect("apache-conf")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".conf"))
        .collect();
    found.sort();
    assert_eq!(found, EXERCISED, "a new example needs a test here");
}

fn minimal_conf_serves(case: &Case) {
    let httpd = bare(case)
        .script("hello.wsgi")
        .conf(
            "Define APP @SCRIPTS@/hello.wsgi\nDefine APP_DIRECTORY @SCRIPTS@\nDefine RWSGI_OPTIONS threads=3",
        )
        .conf(&include("minimal.conf"))
        .start();
    assert_eq!(httpd.get("/").text(), "Hello World!\n");
}

fn several_apps_conf_serves_both(case: &Case) {
    let state = std::fs::read(test_file("apps/state.wsgi")).expect("state.wsgi");
    let user = another_user();
    let httpd = bare(case)
        .file("shop/shop.wsgi", &state)
        .file("wiki/wiki.wsgi", &state)
        .conf(&format!(
            "Define SHOP @ROOT@/shop\nDefine SHOP_USER {user}\nDefine SHOP_PYTHON @VENV@\n\
             Define WIKI @ROOT@/wiki\nDefine WIKI_USER {user}\nDefine WIKI_PYTHON @VENV@"
        ))
        .conf(&include("several-apps.conf"))
        .start();
    let (shop, wiki) = (httpd.get("/shop").json(), httpd.get("/").json());
    assert_eq!(
        (&shop["process_group"], &wiki["process_group"]),
        (&"shop".into(), &"wiki".into())
    );
    assert_ne!(shop["pid"], wiki["pid"]);
    let venv = apps_venv().expect("checked").display().to_string();
    assert_eq!(shop["prefix"], venv.as_str());
}

fn per_user_conf_serves_every_user(case: &Case) {
    let state = std::fs::read(test_file("apps/state.wsgi")).expect("state.wsgi");
    let world = userdirs::places::bare(case)
        .load("vhost_alias")
        .conf("Define HOMES @ROOT@/home")
        .conf(&include("per-user.conf"))
        // What is behind the last lines of the file.
        .conf(
            "<VirtualHost *:@PORT@>\nServerName main\n</VirtualHost>\n<VirtualHost *:@PORT@>\nServerName sites\nServerAlias *.example.org\n\
             UseCanonicalName Off\nVirtualDocumentRoot ${HOMES}/%1/public_wsgi\n</VirtualHost>",
        );
    let [ann, bob] = userdirs::places::USERS.map(|user| world.home(user));
    ann.file("app.wsgi", &state).open_file("public/a.css", "body {}");
    bob.file("passenger_wsgi.py", &state);
    ann.open_file(".htaccess", "WSGIUserOptions threads=1");
    world.run(|httpd| {
        assert!(httpd.workers().is_empty());
        assert_eq!(httpd.get("/~ann/a.css").header("content-type"), Some("text/css"));
        let first = httpd.get("/~ann/").json();
        assert_eq!(first["process_group"], "~ann");
        assert_eq!(httpd.workers().len(), 1);
        assert_eq!(httpd.get("/~bob/x").json()["process_group"], "~bob");
        let named = httpd.request("GET", "/").header("Host", "ann.example.org").send();
        assert_eq!(named.json()["pid"], first["pid"]);
        bob.open_file(".htaccess", "RewriteEngine On");
        assert_eq!(httpd.get("/~bob/").status, 500);
        httpd.wait_log("RewriteEngine not allowed here");
    });
}

fn django_conf_serves_admin_and_static_files(case: &Case) {
    let mut builder = bare(case);
    for file in ["__init__.py", "settings.py", "urls.py"] {
        let content = std::fs::read(test_file("apps/djangosite").join(file)).expect("project file");
        builder = builder.file(&format!("project/djangosite/{file}"), content);
    }
    let wsgi = std::fs::read(test_file("apps/django_site.wsgi")).expect("django_site.wsgi");
    let httpd = builder
        .file("project/djangosite/wsgi.py", wsgi)
        .file("project/static/site.css", "body { color: black }\n")
        .conf(&format!(
            "Define PROJECT @ROOT@/project\nDefine PACKAGE djangosite\nDefine PROJECT_USER {}\nDefine VENV @VENV@",
            another_user()
        ))
        .conf(&include("django.conf"))
        .start();
    let login = httpd.get("/admin/login/");
    assert!(
        login.text().contains("csrfmiddlewaretoken"),
        "{} {}",
        login.status,
        login.text()
    );
    assert_eq!(
        httpd.get("/static/site.css").header("content-type"),
        Some("text/css")
    );
}

fn auth_conf_asks_for_members(case: &Case) {
    case.needs_ours("its scripts run in httpd's children only");
    let gate = std::fs::read(example("gate.py")).expect("gate.py");
    let httpd = bare(case)
        .load("authn_core")
        .load("auth_basic")
        .file("scripts/gate.py", gate)
        .file("www/a.txt", "inside")
        .conf(&format!(
            "Define GUARDED @ROOT@/www\nDefine GATE @SCRIPTS@/gate.py\nDefine GATE_USER {}\nDefine GATE_PYTHON @VENV@",
            another_user()
        ))
        .conf(&include("auth.conf"))
        .start();
    assert_eq!(get_as(&httpd, "/a.txt", "joe:correct horse").text(), "inside");
    assert_eq!(get_as(&httpd, "/a.txt", "joe:wrong").status, 401);
    assert_eq!(get_as(&httpd, "/a.txt", "eve:correct horse").status, 401);
    assert_eq!(httpd.get("/a.txt").status, 401);
    httpd.announce("AH01617");
    httpd.announce("AH01618");
}

fn service_conf_cleans_up(case: &Case) {
    let program = std::fs::read(example("clean_up.py")).expect("clean_up.py");
    let builder = bare(case)
        .file("shop/clean_up.py", program)
        .file("shop/scratch/old", "")
        .file("shop/scratch/new", "");
    let scratch = builder.root().join("shop/scratch");
    std::fs::set_permissions(&scratch, std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let (old, new) = (scratch.join("old"), scratch.join("new"));
    let file = std::fs::File::options().write(true).open(&old).expect("old");
    let days = std::time::Duration::from_secs(2 * 24 * 3600);
    file.set_modified(std::time::SystemTime::now() - days)
        .expect("a time");
    let httpd = builder
        .conf(&format!(
            "Define CLEAN_UP @ROOT@/shop/clean_up.py\nDefine CLEAN_UP_USER {}\nDefine CLEAN_UP_PYTHON @VENV@",
            another_user()
        ))
        .conf(&include("service.conf"))
        .start();
    until(
        "the old file to be removed",
        std::time::Duration::from_secs(20),
        || !old.exists(),
    );
    assert!(new.exists());
    httpd.stop();
    httpd.wait_log("no more cleaning up");
}

fn embedded_conf_serves(case: &Case) {
    let httpd = bare(case)
        .script("state.wsgi")
        .conf("Define EMBEDDED_APP @SCRIPTS@/state.wsgi\nDefine EMBEDDED_DIRECTORY @SCRIPTS@\nDefine EMBEDDED_PYTHON @VENV@")
        .conf(&include("embedded.conf"))
        .start();
    let answer = httpd.get("/").json();
    assert_eq!(
        (&answer["process_group"], &answer["application_group"]),
        (&"".into(), &"".into())
    );
    assert!(
        httpd
            .children()
            .iter()
            .any(|child| Some(u64::from(child.pid)) == answer["pid"].as_u64())
    );
}

fn rwsgi_conf_sets_up_a_group(case: &Case) {
    case.needs_ours("the file is for our identity");
    let httpd = bare(case)
        .script("state.wsgi")
        .conf(&include("rwsgi.conf"))
        .conf("WSGIScriptAlias / @SCRIPTS@/state.wsgi")
        .start();
    assert_eq!(httpd.get("/").json()["process_group"], "rwsgi");
}

fn private_httpd_conf_is_enough_for_an_httpd(case: &Case) {
    case.needs_ours("the file loads our module");
    let is_root = mine("-u") == "0";
    let (user, group) = if is_root {
        (httpd_user().to_owned(), httpd_user().to_owned())
    } else {
        (mine("-un"), mine("-gn"))
    };
    let welcome = std::fs::read(example("welcome.wsgi")).expect("welcome.wsgi");
    let httpd = case
        .httpd()
        .only()
        .file("scripts/welcome.wsgi", welcome)
        .conf("Define RWSGI_ROOT @ROOT@\nDefine RWSGI_PORT @PORT@\nDefine RWSGI_MODULES @MODULES@")
        .conf(&format!("Define RWSGI_BUILD @BUILD@\nDefine RWSGI_USER {user}\nDefine RWSGI_GROUP {group}"))
        .conf(&include("private-httpd.conf"))
        // What the harness needs: readiness and the error log are read from files.
        .conf("ErrorLog @ROOT@/error.log\nLogLevel info\nPidFile @ROOT@/httpd.pid")
        .conf("Define APP @SCRIPTS@/welcome.wsgi\nDefine APP_DIRECTORY @SCRIPTS@\nDefine RWSGI_OPTIONS threads=3")
        .conf(&include("minimal.conf"))
        .start();
    let page = httpd.get("/");
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("Python"), "{}", page.text());
}
