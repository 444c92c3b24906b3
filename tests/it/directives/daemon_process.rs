//! `WSGIDaemonProcess` and its options, one by one.

use super::{accepts, misplaced, refuses};
use rwsgi_testkit::{Case, Httpd, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        daemon_process_needs_a_name,
        daemon_process_refuses_wrong_values,
        daemon_process_refuses_wrong_numbers_with_letters,
        daemon_process_refuses_a_name_twice,
        a_copied_virtual_host_shares_its_group,
        daemon_process_stands_in_servers,
        some_options_may_be_empty,
    ]);
    topic.daemon(test![
        threads_decide_multithread,
        processes_decide_multiprocess,
        home_is_the_working_directory_and_first_on_the_path,
        relative_directories_of_python_path_are_below_home,
        umask_is_set,
        lang_and_locale_are_set,
        display_name_is_shown,
        maximum_requests_replaces_the_worker,
        listen_backlog_is_taken,
    ]);
}

fn daemon_process_needs_a_name(case: &Case) {
    refuses(case, &[("WSGIDaemonProcess", &["name"])]);
}

fn daemon_process_refuses_wrong_values(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIDaemonProcess g proceses=1", &["proceses", "processes"]),
            ("WSGIDaemonProcess g processes=0", &["processes=0", "at least 1"]),
            ("WSGIDaemonProcess g processes=-1", &["processes=-1"]),
            ("WSGIDaemonProcess g min-processes=-1", &["min-processes=-1"]),
            (
                "WSGIDaemonProcess g min-processes=2",
                &["min-processes=2", "processes=1"],
            ),
            (
                "WSGIDaemonProcess g min-processes=0 idle-timeout=-1",
                &["idle-timeout=-1", "seconds"],
            ),
            (
                "WSGIDaemonProcess g processes=2 idle-timeout=5",
                &["idle-timeout=5", "always has 2 workers", "min-processes"],
            ),
            ("WSGIDaemonProcess g preload=yes", &["preload=yes", "Off | On"]),
            (
                "WSGIDaemonProcess g threads=0 preload=On",
                &["preload=On", "no effect with threads=0"],
            ),
            ("WSGIDaemonProcess g threads=70000", &["threads=70000"]),
            ("WSGIDaemonProcess g request-limit=-1", &["request-limit"]),
            (
                "WSGIDaemonProcess g user-request-limit=-1",
                &["user-request-limit"],
            ),
            (
                "WSGIDaemonProcess g application-memory-limit=64",
                &["application-memory-limit=64", "at least 16777216"],
            ),
            (
                "WSGIDaemonProcess g application-processes-limit=5",
                &["application-processes-limit=5", "23 threads", "threads=15"],
            ),
            (
                "WSGIDaemonProcess g user-processes-limit=many",
                &["user-processes-limit=many", "digits only"],
            ),
            (
                "WSGIDaemonProcess g user-cpu-limit=50%",
                &["user-cpu-limit=50%", "digits only"],
            ),
            ("WSGIDaemonProcess g threads=", &["threads", "empty"]),
            (
                "WSGIDaemonProcess g home=relative",
                &["home=relative", "absolute"],
            ),
            ("WSGIDaemonProcess g umask=0999", &["umask=0999", "octal"]),
            ("WSGIDaemonProcess g queue-timeout=-1", &["queue-timeout=-1"]),
            ("WSGIDaemonProcess g stray", &["stray"]),
            (
                "WSGIDaemonProcess g deadlock-timeout=-1",
                &["deadlock-timeout=-1", "seconds"],
            ),
            (
                "WSGIDaemonProcess g inactivity-timeout=-1",
                &["inactivity-timeout=-1"],
            ),
            ("WSGIDaemonProcess g startup-timeout=-1", &["startup-timeout=-1"]),
            (
                "WSGIDaemonProcess g eviction-timeout=-1",
                &["eviction-timeout=-1"],
            ),
            (
                "WSGIDaemonProcess g graceful-timeout=-1",
                &["graceful-timeout=-1"],
            ),
            (
                "WSGIDaemonProcess g shutdown-timeout=-1",
                &["shutdown-timeout=-1"],
            ),
            (
                "WSGIDaemonProcess g restart-interval=-1",
                &["restart-interval=-1"],
            ),
            (
                "WSGIDaemonProcess g maximum-requests=-1",
                &["maximum-requests=-1"],
            ),
            ("WSGIDaemonProcess g cpu-time-limit=-1", &["cpu-time-limit=-1"]),
            (
                "WSGIDaemonProcess g memory-limit=-1",
                &["memory-limit=-1", "bytes"],
            ),
            (
                "WSGIDaemonProcess g virtual-memory-limit=-1",
                &["virtual-memory-limit=-1", "bytes"],
            ),
            ("WSGIDaemonProcess g stack-size=-1", &["stack-size=-1", "bytes"]),
            (
                "WSGIDaemonProcess g chroot=relative",
                &["chroot=relative", "absolute"],
            ),
            (
                "WSGIDaemonProcess g send-buffer-size=511",
                &["send-buffer-size=511", "512"],
            ),
            (
                "WSGIDaemonProcess g receive-buffer-size=1",
                &["receive-buffer-size=1", "512"],
            ),
            (
                "WSGIDaemonProcess g header-buffer-size=4096",
                &["header-buffer-size=4096", "8192"],
            ),
            (
                "WSGIDaemonProcess g response-buffer-size=4096",
                &["response-buffer-size=4096", "65536"],
            ),
            (
                "WSGIDaemonProcess g response-socket-timeout=-1",
                &["response-socket-timeout=-1"],
            ),
            (
                "WSGIDaemonProcess g response-flush-delay=-1",
                &["response-flush-delay=-1", "milliseconds"],
            ),
            (
                "WSGIDaemonProcess g script-user=no-such-user-here",
                &["script-user=no-such-user-here", "does not exist"],
            ),
            (
                "WSGIDaemonProcess g script-group=no-such-group-here",
                &["no-such-group-here", "does not exist"],
            ),
            (
                "WSGIDaemonProcess g script-user=nobody script-group=daemon",
                &["script-group=daemon", "script-user"],
            ),
            (
                "WSGIDaemonProcess g user=no-such-user-here",
                &["user=no-such-user-here", "does not exist"],
            ),
            (
                "WSGIDaemonProcess g group=no-such-group-here",
                &["no-such-group-here", "does not exist"],
            ),
        ],
    );
}

fn daemon_process_refuses_wrong_numbers_with_letters(case: &Case) {
    // The original reads 5s as 5 and many as 0.
    case.needs_ours("it takes what atoi makes of it");
    refuses(
        case,
        &[
            ("WSGIDaemonProcess g threads=5s", &["threads=5s", "digits"]),
            (
                "WSGIDaemonProcess g request-timeout=many",
                &["request-timeout=many", "seconds"],
            ),
            (
                "WSGIDaemonProcess g memory-limit=64M",
                &["memory-limit=64M", "digits"],
            ),
            (
                "WSGIDaemonProcess g cpu-priority=high",
                &["cpu-priority=high", "from -20"],
            ),
            (
                "WSGIDaemonProcess g cpu-priority=20",
                &["cpu-priority=20", "to 19"],
            ),
            (
                "WSGIDaemonProcess g python-home=venv",
                &["python-home=venv", "absolute"],
            ),
        ],
    );
}

fn daemon_process_refuses_a_name_twice(case: &Case) {
    refuses(
        case,
        &[("WSGIDaemonProcess a\nWSGIDaemonProcess a", &["duplicates"])],
    );
}

/// Two files of one site, as certbot makes them: the second is a copy of the first for another port.
fn copied(case: &Case, first: &str, second: &str) -> rwsgi_testkit::Builder {
    let host = |name: &str, alias: &str, options: &str| {
        format!(
            "<VirtualHost *:@PORT@>\nServerName {name}\nServerAlias {alias}\nWSGIDaemonProcess copied{options}\n\
             WSGIProcessGroup copied\nWSGIScriptAlias / @SCRIPTS@/state.wsgi\n</VirtualHost>"
        )
    };
    case.httpd()
        .bare()
        .script("state.wsgi")
        .conf(&host("shop", "shop", first))
        .conf(&host("shop", "secure", second))
}

fn a_copied_virtual_host_shares_its_group(case: &Case) {
    if case.theirs() {
        // It refuses the second, and certbot's users are told to move the directive out of the virtual host.
        let said = copied(case, "", "").refused();
        assert!(
            said.contains("Name duplicates previous WSGI daemon definition"),
            "{said}"
        );
        return;
    }
    let httpd = copied(case, " threads=2", " threads=2 processes=1").refused();
    assert!(
        httpd.contains("WSGIDaemonProcess copied duplicates the name of the one at")
            && httpd.contains("httpd.conf:")
            && httpd.contains("differ in 'processes'; write the same options in both"),
        "{httpd}"
    );
    // A default that is written says the same.
    let httpd = copied(case, " threads=2", " threads=2 shutdown-timeout=5").start();
    let pid = |host: &str| {
        let reply = httpd.request("GET", "/").header("Host", host).send();
        assert_eq!(reply.status, 200, "{host}");
        reply.json()["pid"].as_u64().expect("pid")
    };
    assert_eq!(pid("shop"), pid("secure"), "one process for both");
}

/// R14, R19
fn daemon_process_stands_in_servers(case: &Case) {
    misplaced(case, &["<Location /x>\nWSGIDaemonProcess a\n</Location>"]);
}

fn environ(case: &Case, options: &str) -> (Httpd, Value) {
    let httpd = case.httpd().daemon(options).app("environ.wsgi").start();
    let environ = httpd.get("/").json();
    (httpd, environ)
}

fn threads_decide_multithread(case: &Case) {
    assert_eq!(environ(case, "threads=1").1["wsgi.multithread"][1], "False");
    assert_eq!(environ(case, "threads=2").1["wsgi.multithread"][1], "True");
}

fn processes_decide_multiprocess(case: &Case) {
    assert_eq!(environ(case, "threads=1").1["wsgi.multiprocess"][1], "False");
    // Writing the option at all makes it True, even with the default's value.
    assert_eq!(environ(case, "processes=1").1["wsgi.multiprocess"][1], "True");
    assert_eq!(environ(case, "processes=2").1["wsgi.multiprocess"][1], "True");
}

fn home_is_the_working_directory_and_first_on_the_path(case: &Case) {
    let (httpd, environ) = environ(case, "home=@DATA@");
    let data = httpd.data().display().to_string();
    assert_eq!(environ["_"]["cwd"], data.as_str());
    assert_eq!(environ["_"]["path"][0], data.as_str());
}

fn relative_directories_of_python_path_are_below_home(case: &Case) {
    let (httpd, environ) = environ(case, "home=@DATA@ python-path=../scripts::");
    let path: Vec<&str> = environ["_"]["path"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let data = httpd.data().display().to_string();
    let scripts = httpd.root().join("scripts").display().to_string();
    assert_eq!(path[0], data, "{path:?}");
    assert!(path[..4].contains(&scripts.as_str()), "{path:?}");
}

/// Generators of configurations write them when they have nothing to say.
fn some_options_may_be_empty(case: &Case) {
    for option in [
        "lang",
        "locale",
        "display-name",
        "python-home",
        "python-path",
        "python-eggs",
        "supplementary-groups",
    ] {
        if case.theirs() && option == "python-home" {
            continue; // It warns that it cannot find the directory ''.
        }
        accepts(case, &[&format!("WSGIDaemonProcess g {option}=''")]);
    }
    refuses(
        case,
        &[
            ("WSGIDaemonProcess g home=''", &["home"]),
            ("WSGIDaemonProcess g user=''", &["user"]),
        ],
    );
}

/// C19
fn umask_is_set(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("umask=0027")
        .source("/", "umask.wsgi", "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [oct(os.umask(0o27)).encode()]\n")
        .start();
    assert_eq!(httpd.get("/").text(), "0o27");
}

fn lang_and_locale_are_set(case: &Case) {
    let (_httpd, with) = environ(case, "lang=C.UTF-8 locale=C.UTF-8");
    let variables = &with["_"]["environment"];
    assert_eq!(
        (&variables["LANG"], &variables["LC_ALL"]),
        (&"C.UTF-8".into(), &"C.UTF-8".into())
    );
    assert_eq!(with["_"]["encodings"][0], "utf-8");
}

fn display_name_is_shown(case: &Case) {
    for (option, shown) in [("%{GROUP}", "(wsgi:site)"), ("shop-app", "shop-app")] {
        let (httpd, _) = environ(case, &format!("display-name={option}"));
        let names: Vec<String> = httpd
            .workers()
            .iter()
            .map(|worker| worker.arguments().join(" "))
            .collect();
        assert!(
            !names.is_empty() && names.iter().all(|name| name.trim_end().starts_with(shown)),
            "{option}: {names:?}"
        );
    }
}

fn maximum_requests_replaces_the_worker(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=1 maximum-requests=3")
        .app("state.wsgi")
        .start();
    let mut pids = Vec::new();
    for _ in 0..12 {
        let reply = httpd.get("/");
        assert_eq!(reply.status, 200, "no request is lost: {}", reply.text());
        let answer = reply.json();
        assert!(answer["count"].as_u64() <= Some(3), "{answer}");
        pids.push(answer["pid"].as_u64());
    }
    pids.dedup();
    assert!(pids.len() >= 4, "{pids:?}");
}

fn listen_backlog_is_taken(case: &Case) {
    let (_httpd, environ) = environ(
        case,
        "listen-backlog=7 connect-timeout=3 socket-timeout=20 shutdown-timeout=2 graceful-timeout=4",
    );
    assert_eq!(environ["SCRIPT_NAME"], "");
}
