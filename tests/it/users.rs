//! Root only: workers run as their user, with that user's groups, nothing inherited and no way back.

use crate::codes;
use rwsgi_testkit::{
    Builder, Case, Httpd, Process, Topic, Value, apps_venv, httpd_user, json, test, until, with_file_replaced,
};
use std::path::Path;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        a_worker_is_its_user_and_groups,
        without_options_a_worker_is_httpds_user,
        numbers_name_users_and_groups,
        supplementary_groups_are_exactly_the_given_ones,
        supplementary_groups_come_from_the_group_database,
        r16_who_has_gone_since_the_configuration_was_read_runs_nothing,
        a_worker_cannot_gain_privileges,
        c26_a_worker_that_is_not_who_was_ordered_runs_nothing_of_the_site,
        a_worker_has_only_the_intended_descriptors,
        a_workers_environment_is_made_from_nothing,
        two_groups_run_as_two_users,
        httpds_memory_is_not_in_a_worker,
        the_runtime_directory_is_closed_to_others,
        a_script_that_the_user_cannot_read_is_named,
        a_directory_that_keeps_the_worker_out_is_named,
    ]);
    topic.once(test![root_is_refused]);
}

/// Users and groups that every Debian and Fedora has, and that are nobody's login.
const USER: &str = "games";
const GROUP: &str = "games";

fn id(name: &str, kind: &str) -> u64 {
    let output = std::process::Command::new("getent")
        .args([kind, name])
        .output()
        .expect("getent");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    line.split(':')
        .nth(2)
        .and_then(|id| id.parse().ok())
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn environ_as(case: &Case, options: &str) -> (Httpd, Value) {
    case.needs_root();
    let httpd = case.httpd().daemon(options).app("environ.wsgi").start();
    let reply = httpd.get("/");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let about = reply.json()["_"].clone();
    (httpd, about)
}

fn a_worker_is_its_user_and_groups(case: &Case) {
    let (_httpd, about) = environ_as(case, &format!("user={USER} group={GROUP}"));
    let (uid, gid) = (id(USER, "passwd"), id(GROUP, "group"));
    assert_eq!(
        (&about["uid"], &about["gid"]),
        (&json!([uid, uid]), &json!([gid, gid]))
    );
}

fn without_options_a_worker_is_httpds_user(case: &Case) {
    let (_httpd, about) = environ_as(case, "threads=1");
    let uid = id(httpd_user(), "passwd");
    assert_eq!(about["uid"], json!([uid, uid]));
}

fn numbers_name_users_and_groups(case: &Case) {
    let (uid, gid) = (id(USER, "passwd"), id("daemon", "group"));
    let (_httpd, about) = environ_as(case, &format!("user=#{uid} group=#{gid}"));
    assert_eq!(
        (&about["uid"], &about["gid"]),
        (&json!([uid, uid]), &json!([gid, gid]))
    );
}

/// R18
fn supplementary_groups_are_exactly_the_given_ones(case: &Case) {
    let (_httpd, about) = environ_as(
        case,
        &format!("user={USER} group={GROUP} supplementary-groups=daemon,mail"),
    );
    let mut expected = vec![id(GROUP, "group"), id("daemon", "group"), id("mail", "group")];
    let mut seen: Vec<u64> = about["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    // Whether the primary group is listed a second time makes no difference.
    seen.push(id(GROUP, "group"));
    for list in [&mut expected, &mut seen] {
        list.sort_unstable();
        list.dedup();
    }
    assert_eq!(seen, expected);
}

fn supplementary_groups_come_from_the_group_database(case: &Case) {
    case.needs_root();
    let groups = std::fs::read_to_string("/etc/group").expect("/etc/group");
    let more = format!("{groups}rwsgi-media:x:61234:{USER}\nrwsgi-other:x:61235:nobody\n");
    with_file_replaced(Path::new("/etc/group"), &more, || {
        let (_httpd, about) = environ_as(case, &format!("user={USER} group={GROUP}"));
        let seen = about["groups"].as_array().expect("groups").clone();
        assert!(
            seen.contains(&json!(61234)) && !seen.contains(&json!(61235)),
            "{seen:?}"
        );
    });
}

/// R16
fn r16_who_has_gone_since_the_configuration_was_read_runs_nothing(case: &Case) {
    case.needs_root();
    case.needs_ours("its workers are forked with the ids of the configuration");
    let passwd = Path::new("/etc/passwd");
    let others = std::fs::read_to_string(passwd).expect("/etc/passwd");
    let with = |entry: &str| format!("{others}{entry}");
    let before = with("rwsgi-gone:x:61299:60:::/bin/sh\n");
    let changes = [
        (others.clone(), "does not exist any more"),
        (with("rwsgi-gone:x:61300:60:::/bin/sh\n"), "has uid 61300 now"),
    ];
    for (after, why) in changes {
        with_file_replaced(passwd, &before, || {
            let httpd = case
                .httpd()
                .daemon(&format!("user=rwsgi-gone group={GROUP} home=/ min-processes=0"))
                .app("hello.wsgi")
                .start();
            std::fs::write(passwd, &after).expect("the accounts");
            let reply = httpd.get("/");
            assert_eq!(reply.status, 503);
            assert!(reply.header("retry-after").is_some());
            let line = httpd.wait_log("RW0455").text;
            let expected = format!("rwsgi-gone, which had uid 61299 when the configuration was read, {why}");
            assert!(line.contains(&expected), "{line}");
            assert!(httpd.workers().is_empty());
            httpd.provoked(&[codes::BACK_OFF]);
        });
    }
}

/// R24
fn a_worker_cannot_gain_privileges(case: &Case) {
    let (httpd, _) = environ_as(case, &format!("user={USER} group={GROUP}"));
    let workers = httpd.workers();
    assert!(!workers.is_empty());
    let uid = id(USER, "passwd");
    for worker in workers {
        let of = |field: &str| {
            worker
                .status(field)
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("Uid"),
            vec![uid.to_string(); 4],
            "real, effective, saved and file system user"
        );
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(
                of(set).iter().all(|mask| mask.trim_start_matches('0').is_empty()),
                "{set} {:?}",
                of(set)
            );
        }
        if !case.theirs() {
            assert_eq!(of("NoNewPrivs"), ["1"]);
        }
    }
}

/// C26: a program that leads into a user namespace, where the user is root and has every capability.
fn c26_a_worker_that_is_not_who_was_ordered_runs_nothing_of_the_site(case: &Case) {
    case.needs_root();
    case.needs_ours("its daemons are not executed");
    let may = std::process::Command::new("setpriv")
        .args([
            "--reuid",
            USER,
            "--regid",
            GROUP,
            "--clear-groups",
            "--no-new-privs",
        ])
        .args(["unshare", "--map-root-user", "true"])
        .status();
    if !may.is_ok_and(|status| status.success()) {
        case.skip("users cannot make user namespaces here");
    }
    let python = apps_venv().expect("the tests' venv").join("bin/python3");
    let builder = case.httpd();
    let home = builder.root().join("python");
    let leads = |way: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let (directory, program) = (home.join("bin"), home.join("bin/python3"));
        let text = format!("#!/bin/sh\nexec {way} {} \"$@\"\n", python.display());
        std::fs::create_dir_all(&directory).expect("mkdir");
        std::fs::write(&program, text).expect("write");
        for path in [&home, &directory, &program] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        }
    };
    leads("unshare --map-root-user");
    let httpd = builder
        .python_home(Some(&home))
        .daemon(&format!("user={USER} group={GROUP}"))
        .source(
            "/",
            "app.wsgi",
            "open(__file__.replace('scripts/app.wsgi', 'data/ran'), 'w')\n",
        )
        .start();
    for _ in 0..3 {
        let reply = httpd.get("/");
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(reply.header("retry-after").is_some());
    }
    let line = httpd.wait_log("RW0662");
    for deviation in ["Uid is 0", "CapEff is", "instead of none"] {
        assert!(line.text.contains(deviation), "{}", line.text);
    }
    httpd.wait_log("status 78 before it was ready");
    httpd.provoked(&[codes::BACK_OFF]);
    assert!(!httpd.data().join("ran").exists());
    // Another one is tried after a pause, and serves once the program is what it says.
    leads("");
    httpd.rewrite_script("app.wsgi", SAYS_HELLO);
    until("it serves", Duration::from_secs(30), || {
        httpd.get("/").status == 200
    });
}

const SAYS_HELLO: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n";

/// R25, C20
fn a_worker_has_only_the_intended_descriptors(case: &Case) {
    case.needs_ours("its daemons are forks of httpd and hold its descriptors");
    let (httpd, _) = environ_as(case, &format!("user={USER} group={GROUP} threads=2"));
    let listening = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    for worker in httpd.workers() {
        let all = worker.descriptor_targets();
        assert_eq!(all[0], (0, "/dev/null".to_owned()), "{all:?}");
        for (number, target) in &all {
            let intended = match number {
                0 => target == "/dev/null",
                1 | 2 => target.starts_with("pipe:"),
                // Listener, control, the connections of httpd's children, wake-ups.
                _ => ["socket:", "pipe:", "anon_inode:"]
                    .iter()
                    .any(|kind| target.starts_with(kind)),
            };
            assert!(intended, "{number} is {target}; all: {all:?}");
            let inode = target.trim_start_matches("socket:[").trim_end_matches(']');
            let is_tcp = target.starts_with("socket:")
                && listening
                    .lines()
                    .any(|line| line.split_whitespace().nth(9) == Some(inode));
            assert!(!is_tcp, "descriptor {number} is a TCP socket of httpd");
        }
    }
}

/// R26
fn a_workers_environment_is_made_from_nothing(case: &Case) {
    let (httpd, about) = environ_as(case, &format!("user={USER} group={GROUP}"));
    if case.theirs() {
        assert_eq!(
            about["environment"]["RWSGI_TEST_SECRET"], "of httpd alone",
            "the original inherits it all"
        );
        return;
    }
    let names: Vec<&str> = about["environment"]
        .as_object()
        .expect("environment")
        .keys()
        .map(String::as_str)
        .collect();
    for name in &names {
        let intended = [
            "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "USER",
        ]
        .contains(name);
        assert!(intended, "{name} in {names:?}");
    }
    assert_eq!(
        (&about["environment"]["USER"], &about["environment"]["LOGNAME"]),
        (&json!(USER), &json!(USER))
    );
    for process in httpd.workers().iter().chain(&httpd.manager()) {
        let seen = process.environment();
        assert!(
            !seen.iter().any(|variable| variable.contains("SECRET")),
            "{seen:?}"
        );
    }
}

fn two_groups(builder: Builder) -> Httpd {
    builder
        .bare()
        .script("environ.wsgi")
        .conf("WSGIDaemonProcess one user=games group=games\nWSGIDaemonProcess two user=daemon group=daemon")
        .conf("WSGIScriptAlias /one @SCRIPTS@/environ.wsgi process-group=one")
        .conf("WSGIScriptAlias /two @SCRIPTS@/environ.wsgi process-group=two")
        .start()
}

fn two_groups_run_as_two_users(case: &Case) {
    case.needs_root();
    let httpd = two_groups(case.httpd());
    let uid = |path: &str| httpd.get(path).json()["_"]["uid"][0].as_u64();
    assert_eq!(uid("/one"), Some(id("games", "passwd")));
    assert_eq!(uid("/two"), Some(id("daemon", "passwd")));
}

/// R10
fn httpds_memory_is_not_in_a_worker(case: &Case) {
    case.needs_ours("its daemons are forks of httpd");
    let (httpd, _) = environ_as(case, &format!("user={USER} group={GROUP}"));
    for worker in httpd.workers() {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", worker.pid)).expect("maps");
        for foreign in ["mod_", "apache2", "httpd", "libapr"] {
            assert!(!maps.contains(foreign), "{foreign} is mapped in a worker");
        }
    }
    let manager = httpd.manager().expect("manager");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", manager.pid)).expect("maps");
    assert!(!maps.contains("libpython") && !maps.contains("libapr"), "{maps}");
}

/// R31
fn the_runtime_directory_is_closed_to_others(case: &Case) {
    use std::os::unix::fs::MetadataExt as _;
    case.needs_ours("it has none of its own");
    let (httpd, _) = environ_as(case, &format!("user={USER} group={GROUP}"));
    let socket = httpd.socket_files().into_iter().next().expect("a socket");
    let directory = socket
        .parent()
        .expect("a directory")
        .metadata()
        .expect("metadata");
    let group = id(httpd_user(), "group");
    assert_eq!(
        (
            directory.uid(),
            u64::from(directory.gid()),
            directory.mode() & 0o777
        ),
        (0, group, 0o710)
    );
    for socket in httpd.socket_files() {
        let meta = socket.metadata().expect("metadata");
        assert_eq!(meta.mode() & 0o007, 0, "{} is open to others", socket.display());
    }
    let _: Option<Process> = httpd.parent();
}

fn a_directory_that_keeps_the_worker_out_is_named(case: &Case) {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    case.needs_root();
    let httpd = case
        .httpd()
        .daemon(&format!("user={USER} group={GROUP}"))
        .file("scripts/closed/app.wsgi", "x = 1\n")
        .conf("WSGIScriptAlias / @SCRIPTS@/closed/app.wsgi")
        .start();
    // httpd's user may pass, the worker's may not.
    let closed = httpd.root().join("scripts/closed");
    let group = u32::try_from(id(httpd_user(), "group")).expect("gid");
    chown(&closed, Some(0), Some(group)).expect("chown");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o750)).expect("chmod");
    assert_eq!(httpd.get("/").status, 500);
    let line = httpd.wait_log("ermission denied");
    if !case.theirs() {
        let place = format!(
            "may not pass through '{}', which is of uid 0 with mode 0750",
            closed.display()
        );
        assert!(line.text.contains(&place), "{}", line.text);
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

fn a_script_that_the_user_cannot_read_is_named(case: &Case) {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    case.needs_root();
    let httpd = case
        .httpd()
        .daemon(&format!("user={USER} group={GROUP}"))
        .app("hello.wsgi")
        .start();
    // httpd's user may read it, the worker's may not.
    let script = httpd.root().join("scripts/hello.wsgi");
    let group = u32::try_from(id(httpd_user(), "group")).expect("gid");
    chown(&script, Some(0), Some(group)).expect("chown");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    assert_eq!(httpd.get("/").status, 500);
    httpd.wait_log("hello.wsgi");
    httpd.wait_log("ermission denied");
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

/// C9
fn root_is_refused(case: &Case) {
    case.needs_root();
    for option in ["user=root", "user=#0"] {
        let text = case
            .httpd()
            .bare()
            .conf(&format!("WSGIDaemonProcess g {option}"))
            .refused();
        assert!(text.contains("root"), "{option}: {text}");
        if !case.theirs() {
            assert!(text.contains(option), "{text}");
        }
    }
}
