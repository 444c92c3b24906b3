//! `WSGIPythonEggs` and the option `python-eggs`: `PYTHON_EGG_CACHE`.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        python_eggs_takes_a_directory,
        python_eggs_is_for_the_whole_server
    ]);
    topic.both(test![the_egg_cache_is_in_the_environment]);
    topic.daemon(test![daemon_groups_do_not_inherit_the_egg_cache]);
}

fn python_eggs_takes_a_directory(case: &Case) {
    refuses(case, &[("WSGIPythonEggs", &["one argument"])]);
    if !case.theirs() {
        // The original takes it as it is.
        refuses(case, &[("WSGIPythonEggs eggs", &["eggs", "absolute"])]);
    }
}

fn python_eggs_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIPythonEggs /a\n</VirtualHost>"],
    );
}

fn the_egg_cache_is_in_the_environment(case: &Case) {
    let builder = case
        .httpd()
        .conf("WSGIScriptAlias /main @SCRIPTS@/runtime.wsgi application-group=%{GLOBAL}")
        .app("runtime.wsgi");
    let httpd = if case.embedded() {
        builder.conf("WSGIPythonEggs /var/eggs").start()
    } else {
        builder.daemon("threads=1 python-eggs=/var/eggs").start()
    };
    for path in ["/main", "/"] {
        assert_eq!(
            httpd.get(path).json()["environ"]["PYTHON_EGG_CACHE"],
            "/var/eggs",
            "{path}"
        );
    }
}

fn daemon_groups_do_not_inherit_the_egg_cache(case: &Case) {
    let httpd = case
        .httpd()
        .app("runtime.wsgi")
        .conf("WSGIPythonEggs /var/eggs")
        .start();
    assert_eq!(httpd.get("/").json()["environ"]["PYTHON_EGG_CACHE"], Value::Null);
}
