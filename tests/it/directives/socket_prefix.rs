//! `WSGISocketPrefix`: where the sockets of the workers are.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        socket_prefix_takes_one_path,
        socket_prefix_is_for_the_whole_server
    ]);
    topic.daemon(test![
        sockets_are_where_the_prefix_says,
        sockets_are_in_the_runtime_directory_by_default
    ]);
}

fn socket_prefix_takes_one_path(case: &Case) {
    refuses(
        case,
        &[
            ("WSGISocketPrefix", &["one argument"]),
            ("WSGISocketPrefix a b", &["one argument"]),
        ],
    );
}

fn socket_prefix_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGISocketPrefix run/x\n</VirtualHost>"],
    );
}

fn sockets_are_where_the_prefix_says(case: &Case) {
    let httpd = case
        .httpd()
        .file("sockets/here", "")
        .app("hello.wsgi")
        .conf("WSGISocketPrefix sockets/w")
        .start();
    assert_eq!(httpd.get("/").status, 200);
    let all = httpd.socket_files();
    let prefix = httpd.root().join("sockets/w").display().to_string();
    assert!(
        !all.is_empty()
            && all
                .iter()
                .all(|path| path.display().to_string().starts_with(&prefix)),
        "{all:?}"
    );
}

fn sockets_are_in_the_runtime_directory_by_default(case: &Case) {
    case.needs_ours("it ignores DefaultRuntimeDir");
    let httpd = case.httpd().app("hello.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    let all = httpd.socket_files();
    let run = httpd.root().join("run/rwsgi.").display().to_string();
    assert!(
        !all.is_empty()
            && all
                .iter()
                .all(|path| path.display().to_string().starts_with(&run)),
        "{all:?}"
    );
}
