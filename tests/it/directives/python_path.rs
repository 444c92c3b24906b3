//! `WSGIPythonPath` and the option `python-path`: directories in front of `sys.path`, `.pth` files included.

use super::{accepts, misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        python_path_takes_one_list,
        python_path_is_for_the_whole_server
    ]);
    topic.both(test![python_path_comes_first_and_reads_pth_files]);
    topic.daemon(test![daemon_groups_do_not_inherit_python_path]);
}

fn python_path_takes_one_list(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIPythonPath", &["one argument"]),
            ("WSGIPythonPath /a /b", &["one argument"]),
        ],
    );
    accepts(case, &["WSGIPythonPath lib", "WSGIPythonPath /a::/b"]);
}

fn python_path_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIPythonPath /a\n</VirtualHost>"],
    );
}

fn python_path_comes_first_and_reads_pth_files(case: &Case) {
    let builder = case
        .httpd()
        .file("one/first.py", "NAME = 'one'\n")
        .file("two/first.py", "NAME = 'two'\n")
        .file("two/second.py", "NAME = 'two'\n")
        .file("three/third.py", "NAME = 'three'\n");
    let by_pth = format!("{}\n", builder.root().join("three").display());
    let builder = builder.file("two/more.pth", by_pth).app("environ.wsgi");
    let path = "@ROOT@/one:@ROOT@/two";
    let httpd = if case.embedded() {
        builder.conf(&format!("WSGIPythonPath {path}")).start()
    } else {
        builder.daemon(&format!("threads=1 python-path={path}")).start()
    };
    let environ = httpd.get("/").json();
    let path: Vec<&str> = environ["_"]["path"]
        .as_array()
        .expect("sys.path")
        .iter()
        .filter_map(|p| p.as_str())
        .collect();
    let root = httpd.root().display().to_string();
    assert_eq!(
        path[..3],
        [
            format!("{root}/one"),
            format!("{root}/two"),
            format!("{root}/three")
        ],
        "{path:?}"
    );
}

fn daemon_groups_do_not_inherit_python_path(case: &Case) {
    let httpd = case
        .httpd()
        .conf("WSGIPythonPath @ROOT@/only-embedded")
        .app("environ.wsgi")
        .start();
    let environ = httpd.get("/").json();
    assert!(
        !environ["_"]["path"].to_string().contains("only-embedded"),
        "{}",
        environ["_"]["path"]
    );
}
