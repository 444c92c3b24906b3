//! `WSGIImportScript`: what is loaded when a process starts.

use super::{misplaced, refuses};
use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        import_script_needs_both_groups,
        import_script_stands_in_servers,
        an_import_for_httpd_starts_python_also_where_embedded_mode_is_off,
        a_group_of_another_virtual_host_cannot_import
    ]);
    topic.both(test![
        scripts_are_imported_in_order_and_once,
        an_import_that_fails_is_logged_and_the_application_serves
    ]);
}

fn import_script_needs_both_groups(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIImportScript", &["has no script"]),
            (
                "WSGIImportScript /a.py application-group=%{GLOBAL}",
                &["/a.py", "process-group"],
            ),
            (
                "WSGIImportScript /a.py process-group=%{GLOBAL}",
                &["/a.py", "application-group"],
            ),
            (
                "WSGIImportScript /a.py process-group=none application-group=x",
                &["process-group=none", "not configured"],
            ),
            (
                "WSGIImportScript /a.py process-group='' application-group=x",
                &["process-group", "empty"],
            ),
            (
                "WSGIImportScript /a.py process-group=%{GLOBAL} application-group=x callable-object=y",
                &["/a.py", "callable-object"],
            ),
            ("WSGIImportScript /a.py stray", &["stray"]),
        ],
    );
}

fn import_script_stands_in_servers(case: &Case) {
    misplaced(
        case,
        &["<Location /x>\nWSGIImportScript /a.py process-group=%{GLOBAL} application-group=x\n</Location>"],
    );
}

fn a_group_of_another_virtual_host_cannot_import(case: &Case) {
    let host = |name: &str, line: &str| {
        format!("<VirtualHost *:@PORT@>\nServerName {name}\n{line}\n</VirtualHost>\n")
    };
    let import = "WSGIImportScript /a.py process-group=mine application-group=x";
    let text = case
        .httpd()
        .bare()
        .conf(&host("one", "WSGIDaemonProcess mine"))
        .conf(&host("two", import))
        .refused();
    assert!(
        text.contains(case.said("virtual host 'one'", "not accessible")),
        "{text}"
    );
}

/// Notes each execution in a file, with the group that it happened in. The file appears complete.
const NOTES: &str = "import os, mod_wsgi, sys\n\
    sys.imported = getattr(sys, 'imported', []) + [os.path.basename(__file__)]\n\
    note = mod_wsgi.process_group + '|' + mod_wsgi.application_group + '\\n'\n\
    place = '@DATA@/%s.' + os.path.basename(__file__) + '.' + str(os.getpid())\n\
    with open(place % 'new', 'w') as f:\n    \
        f.write(note * sys.imported.count(os.path.basename(__file__)))\n\
    os.replace(place % 'new', place % 'of')\n";

fn noting(builder: Builder, script: &str) -> Builder {
    let text = NOTES.replace("@DATA@", &builder.root().join("data").display().to_string());
    builder.file(&format!("scripts/{script}"), text)
}

fn notes(httpd: &Httpd, script: &str) -> Vec<String> {
    let entries = std::fs::read_dir(httpd.data()).expect("data");
    let names = entries.flatten().map(|entry| entry.path());
    let of_script = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&format!("of.{script}."))
    };
    names
        .filter(of_script)
        .map(|path| std::fs::read_to_string(path).expect("note"))
        .collect()
}

fn scripts_are_imported_in_order_and_once(case: &Case) {
    let group = if case.embedded() { "%{GLOBAL}" } else { "site" };
    let import = |script: &str| {
        format!("WSGIImportScript @SCRIPTS@/{script} process-group={group} application-group=shop")
    };
    let application = "import sys\n\
        def application(environ, start_response):\n    \
            start_response('200 OK', [])\n    \
            return [' '.join(sys.imported).encode()]\n";
    let httpd = noting(noting(case.httpd(), "first.py"), "second.py")
        .file("scripts/app.wsgi", application)
        .conf(&import("second.py"))
        .conf(&format!(
            "WSGIScriptAlias / @SCRIPTS@/app.wsgi process-group={group} application-group=shop"
        ))
        .conf(&import("first.py"))
        .conf(&import("second.py"))
        .start();
    until(
        "the scripts to be loaded without a request",
        Duration::from_secs(10),
        || !notes(&httpd, "first.py").is_empty() && !notes(&httpd, "second.py").is_empty(),
    );
    assert_eq!(httpd.get("/").text(), "second.py first.py");
    let process_group = if case.embedded() { "" } else { "site" };
    for note in notes(&httpd, "second.py") {
        assert_eq!(note, format!("{process_group}|shop\n"), "once in each process");
    }
}

fn an_import_that_fails_is_logged_and_the_application_serves(case: &Case) {
    let group = if case.embedded() { "%{GLOBAL}" } else { "site" };
    let httpd = case
        .httpd()
        .file("scripts/bad.py", "import nothing_of_that_name\n")
        .app("hello.wsgi")
        .conf(&format!(
            "WSGIImportScript @SCRIPTS@/bad.py process-group={group} application-group=%{{GLOBAL}}"
        ))
        .start();
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
    httpd.wait_log(case.said("RW0623", "nothing_of_that_name"));
    assert_eq!(httpd.get("/").text(), "Hello World!\n");
}

fn an_import_for_httpd_starts_python_also_where_embedded_mode_is_off(case: &Case) {
    let httpd = noting(case.httpd().bare(), "early.py")
        .app("hello.wsgi")
        .conf("WSGIRestrictEmbedded On")
        .conf("WSGIImportScript @SCRIPTS@/early.py process-group=%{GLOBAL} application-group=%{GLOBAL}")
        .start();
    until(
        "the script to be loaded in httpd's children",
        Duration::from_secs(10),
        || !notes(&httpd, "early.py").is_empty(),
    );
    assert_eq!(
        httpd.get("/").status,
        500,
        "requests stay out of httpd's children"
    );
    httpd.wait_log(case.said("RW0209", "WSGI0143"));
}
