//! What users may write in `.htaccess`: it can tune, never identify (R19).

use super::places::{USERS, World, world};
use rwsgi_testkit::{Case, Httpd, Topic, repository, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        r19_every_directive_is_refused_in_htaccess_where_it_may_not_stand,
        r8_no_script_of_a_user_runs_in_httpds_children,
    ]);
}

/// A directive as its reference page has it.
struct Directive {
    name: String,
    context: String,
    line: String,
}

/// Something that each directive would take where it may stand.
fn arguments(name: &str) -> &'static str {
    match name {
        "WSGIDaemonProcess" => "g user=root",
        "WSGIUserProcess" => "/home/*/x",
        "WSGIUserOptions" => "threads=2",
        "WSGIScriptAlias" => "/x /x.wsgi",
        "WSGIScriptAliasMatch" => "^/x /x.wsgi",
        "WSGIHandlerScript" => "h /x.wsgi",
        "WSGIImportScript" => "/x.wsgi process-group=g application-group=g",
        "WSGIAccessScript" | "WSGIAuthUserScript" | "WSGIAuthGroupScript" | "WSGIDispatchScript" => "/x.wsgi",
        "WSGIProcessGroup" | "WSGIApplicationGroup" | "WSGICallableObject" | "WSGIRestrictProcess" => {
            "application"
        }
        "WSGIRequestBuffering" | "WSGIResponseBuffering" => "65536",
        "WSGITrustedProxies" => "127.0.0.1",
        "WSGITrustedProxyHeaders" => "X-Forwarded-For",
        _ => "On",
    }
}

/// Every directive, from the reference pages, which are made from the table.
fn directives() -> Vec<Directive> {
    let pages = repository().join("docs/directives");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(pages).expect("docs/directives").flatten() {
        let name = entry
            .path()
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if !name.starts_with("WSGI") {
            continue;
        }
        let page = std::fs::read_to_string(entry.path()).expect("a page");
        let context = page
            .lines()
            .find_map(|line| line.strip_prefix("| Context | "))
            .expect("a context")
            .to_owned();
        let line = match name.as_str() {
            "WSGIInterpreterOptions" => {
                "<WSGIInterpreterOptions application-group=a>\n</WSGIInterpreterOptions>".into()
            }
            name => format!("{name} {}", arguments(name)),
        };
        found.push(Directive { name, context, line });
    }
    assert!(found.len() > 45, "{} directives", found.len());
    found
}

fn with_files(world: World) -> World {
    for user in USERS {
        world
            .home(user)
            .file("app.wsgi", "application = None\n")
            .open_file("public/a.txt", "a");
    }
    world
}

fn says(httpd: &Httpd, user: &str) -> u16 {
    let reply = httpd.get(&format!("/~{user}/a.txt"));
    assert!(
        !reply.text().contains("htaccess") && !reply.text().contains("home"),
        "{}",
        reply.text()
    );
    reply.status
}

fn r19_every_directive_is_refused_in_htaccess_where_it_may_not_stand(case: &Case) {
    for class in ["FileInfo", "AuthConfig", "Options Indexes Limit"] {
        let world = with_files(world(case, "")).conf(&format!(
            "<Directory @ROOT@/home/*/public_wsgi>\nAllowOverride {class}\n</Directory>"
        ));
        let home = world.home(USERS[0]);
        world.run(|httpd| {
            for Directive { name, context, line } in directives() {
                let before = httpd.log_with("/.htaccess: ").len();
                home.open_file(".htaccess", &line);
                let may = context.contains(&format!(".htaccess ({class})"));
                let expected = match name.as_str() {
                    _ if !may => 500,
                    // Taken, and not asked: see below.
                    "WSGIAccessScript" => 403,
                    _ => 200,
                };
                assert_eq!(says(httpd, "ann"), expected, "{class}: {line}");
                // That directory alone.
                assert_eq!(says(httpd, "bob"), 200);
                if !may {
                    let lines = httpd.log_with("/.htaccess: ");
                    assert!(lines.len() > before, "{line} left no line");
                    let told = &lines[lines.len() - 1].text;
                    assert!(
                        told.contains(&name) && told.contains("not allowed here"),
                        "{told}"
                    );
                }
            }
            httpd.announce("/.htaccess: ");
            httpd.announce("RW0051");
        });
    }
}

fn r8_no_script_of_a_user_runs_in_httpds_children(case: &Case) {
    let world = with_files(world(case, ""))
        .conf("<Directory @ROOT@/home/*/public_wsgi>\nAllowOverride AuthConfig\n</Directory>");
    let home = world.home(USERS[0]);
    home.open_file("gate.py", "def allow_access(environ, host):\n    return True\n");
    world.run(|httpd| {
        let gate = home.base().join("gate.py");
        home.open_file(".htaccess", format!("WSGIAccessScript {}", gate.display()));
        assert_eq!(says(httpd, "ann"), 403);
        let line = httpd.wait_log("RW0051");
        assert!(line.text.contains("no code of users does"), "{}", line.text);
        for child in httpd.children() {
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.pid)).expect("maps");
            assert!(!maps.contains("libpython"), "{maps}");
        }
        assert_eq!(says(httpd, "bob"), 200);
    });
}
