//! `<WSGIInterpreterOptions>`: what is said of some interpreters only.

use super::{announce_restricted_end, misplaced, refuses};
use rwsgi_testkit::{Builder, Case, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        selectors_are_checked,
        interpreter_options_are_for_the_whole_server,
        directives_of_directories_may_not_be_inside,
    ]);
    topic.both(test![
        a_section_is_for_the_interpreters_that_it_names,
        the_most_specific_section_counts_and_of_equal_ones_the_last,
        directories_are_layered,
        sections_may_be_conditional_and_nested,
        other_directives_mean_what_they_mean_outside,
    ]);
}

fn section(selectors: &str, inside: &str) -> String {
    format!("<WSGIInterpreterOptions{selectors}>\n{inside}\n</WSGIInterpreterOptions>")
}

fn selectors_are_checked(case: &Case) {
    for (selectors, words) in [
        (" foo=a", &["'foo'", "application-group"][..]),
        (" foo", &["'foo'"]),
        (" process-group=a Process-Group=b", &["twice", "another section"]),
    ] {
        refuses(case, &[(&section(selectors, ""), words)]);
    }
    refuses(
        case,
        &[(
            "<WSGIInterpreterOptions process-group=a\n</WSGIInterpreterOptions>",
            &["closing '>'"],
        )],
    );
}

fn interpreter_options_are_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &[
            &format!("<VirtualHost *:@PORT@>\n{}\n</VirtualHost>", section("", "")),
            &format!("<Directory @ROOT@>\n{}\n</Directory>", section("", "")),
        ],
    );
}

fn directives_of_directories_may_not_be_inside(case: &Case) {
    misplaced(case, &[&section("", "Require all granted")]);
}

/// Serves `runtime.wsgi` in the main interpreter and in the application groups `a` and `b`.
fn groups(case: &Case) -> Builder {
    let alias = |name: &str, group: &str| {
        format!("WSGIScriptAlias /{name} @SCRIPTS@/runtime.wsgi application-group={group}")
    };
    case.httpd()
        .script("runtime.wsgi")
        .conf(&alias("main", "%{GLOBAL}"))
        .conf(&alias("a", "a"))
        .conf(&alias("b", "b"))
        .children(1)
}

/// This process group and another one, as selectors.
fn process_groups(case: &Case) -> (&'static str, &'static str) {
    if case.embedded() {
        (" process-group=%{GLOBAL}", " process-group=site")
    } else {
        (" process-group=site", " process-group=%{GLOBAL}")
    }
}

fn is_restricted(seen: &Value) -> bool {
    seen.to_string().contains("access restricted by mod_wsgi")
}

fn a_section_is_for_the_interpreters_that_it_names(case: &Case) {
    let (this, other) = process_groups(case);
    let httpd = groups(case)
        .conf(&section(" Application-Group=a", "WSGIRestrictStdin On"))
        .conf(&section(
            &format!("{this} application-group=%{{GLOBAL}}"),
            "WSGIRestrictStdout On",
        ))
        .conf(&section(other, "WSGIRestrictStdin On\nWSGIRestrictStdout On"))
        .start();
    announce_restricted_end(case, &httpd);
    for (path, stdin, stdout) in [("/a", true, false), ("/b", false, false), ("/main", false, true)] {
        let seen = httpd.get(path).json();
        assert_eq!(
            (is_restricted(&seen["stdin"]), is_restricted(&seen["stdout"])),
            (stdin, stdout),
            "{path}"
        );
    }
}

fn the_most_specific_section_counts_and_of_equal_ones_the_last(case: &Case) {
    let (this, _) = process_groups(case);
    let httpd = groups(case)
        .conf(&section(
            &format!("{this} application-group=a"),
            "WSGIRestrictStdin Off",
        ))
        .conf(&section(" application-group=a", "WSGIRestrictStdin On"))
        .conf(&section(this, "WSGIRestrictStdin On\nWSGIRestrictStdout On"))
        .conf(&section(" application-group=b", "WSGIRestrictStdin Off"))
        .conf(&section("", "WSGIRestrictStdout Off"))
        .conf("WSGIRestrictStdout Off")
        .start();
    announce_restricted_end(case, &httpd);
    for (path, stdin) in [("/a", false), ("/b", false), ("/main", true)] {
        let seen = httpd.get(path).json();
        assert_eq!(
            (is_restricted(&seen["stdin"]), is_restricted(&seen["stdout"])),
            (stdin, true),
            "{path}"
        );
    }
}

fn directories_are_layered(case: &Case) {
    let (this, _) = process_groups(case);
    let mut builder = groups(case);
    for directory in ["base", "all", "process", "application", "both", "second"] {
        builder = builder.file(&format!("{directory}/empty.py"), "");
    }
    let builder = builder
        .conf(&section(
            &format!("{this} application-group=a"),
            "WSGIPythonPath @ROOT@/base\nWSGIPythonPath @ROOT@/both:@ROOT@/second",
        ))
        .conf(&section(
            " application-group=a",
            "WSGIPythonPath @ROOT@/application",
        ))
        .conf(&section("", "WSGIPythonPath @ROOT@/all"))
        .conf(&section(
            &format!("{this} application-group=b"),
            "WSGIPythonPath @ROOT@/process",
        ));
    let httpd = if case.embedded() {
        builder.conf("WSGIPythonPath @ROOT@/base").start()
    } else {
        builder.daemon("threads=1 python-path=@ROOT@/base").start()
    };
    let root = httpd.root().display().to_string();
    for (path, expected) in [
        ("/a", &["both", "second", "application", "all", "base"][..]),
        ("/b", &["process", "all", "base"]),
        ("/main", &["all", "base"]),
    ] {
        let seen = httpd.get(path).json();
        let seen: Vec<&str> = seen["path"]
            .as_array()
            .expect("sys.path")
            .iter()
            .filter_map(|entry| entry.as_str()?.strip_prefix(&root)?.strip_prefix('/'))
            .collect();
        assert_eq!(seen, expected, "{path}");
    }
}

fn sections_may_be_conditional_and_nested(case: &Case) {
    let inner = section(" application-group=b", "WSGIRestrictStdin On");
    let inside = format!(
        "<IfModule mpm_no_such_module>\nWSGIRestrictStdin On\n</IfModule>\n{inner}\n\
         <IfModule authz_core_module>\nWSGIRestrictStdout On\n</IfModule>"
    );
    let httpd = groups(case)
        .conf(&section(" application-group=a", &inside))
        .start();
    announce_restricted_end(case, &httpd);
    for (path, stdin, stdout) in [("/a", false, true), ("/b", true, false), ("/main", false, false)] {
        let seen = httpd.get(path).json();
        assert_eq!(
            (is_restricted(&seen["stdin"]), is_restricted(&seen["stdout"])),
            (stdin, stdout),
            "{path}"
        );
    }
}

fn other_directives_mean_what_they_mean_outside(case: &Case) {
    let httpd = groups(case)
        .conf(&section(
            " application-group=nobody",
            "WSGIPythonWarnings error::UserWarning\nServerAdmin inside@example.org",
        ))
        .alias("/environ", "environ.wsgi")
        .start();
    assert_eq!(httpd.get("/a").json()["warned"], "UserWarning: a warning");
    assert_eq!(httpd.get("/environ").json()["SERVER_ADMIN"], "inside@example.org");
}
