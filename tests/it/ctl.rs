//! `rwsgictl`: what administrators see of a running manager. All of it is ours.

use crate::codes;
use crate::userdirs::places::{ANN, BOB, USERS, change_account, world};
use rwsgi_testkit::{
    Case, Httpd, Load, Process, Reply, Signal, Topic, Value, build_dir, httpd_user, json, repository, test,
    until,
};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        what_runs_is_listed_with_its_user_workers_and_use,
        a_group_is_shown_with_its_options_and_what_its_workers_died_of,
        an_application_that_does_not_start_says_why_and_until_when,
        applications_of_users_are_listed_and_refused_users_are_shown,
        each_failure_has_its_status_and_its_remedy,
        r36_nobody_but_root_may_ask,
        r37_who_is_damaged_silent_or_endless_does_not_hold_the_manager,
        f26_the_next_manager_answers_too,
        a_restart_loses_no_request_and_leaves_no_old_worker,
        a_restart_that_fails_leaves_the_old_workers,
        a_restart_ends_the_pause_of_what_does_not_start,
        what_is_stopped_starts_again_with_the_next_request,
        a_service_is_restarted_and_is_not_stopped,
        workers_say_how_many_requests_they_have_had,
    ]);
    topic.once(test![what_is_installed_lies_below_destdir_and_works_there]);
}

const SOON: Duration = Duration::from_secs(15);
/// Users that every Debian and Fedora has, and that are nobody's login.
const USER: &str = "games";
const OTHER: &str = "daemon";

/// The runtime directory, of which each httpd here has one.
fn directory(httpd: &Httpd) -> PathBuf {
    let sockets = httpd.socket_files().into_iter();
    let mut ours = sockets.filter(|path| path.ends_with("ctl.sock"));
    ours.next()
        .expect("ctl.sock")
        .parent()
        .expect("a directory")
        .to_owned()
}

fn tool() -> PathBuf {
    build_dir().join("rwsgictl")
}

fn ctl(httpd: &Httpd, arguments: &[&str]) -> Output {
    let mut command = Command::new(tool());
    command.arg("-d").arg(directory(httpd)).args(arguments);
    command.output().expect("rwsgictl")
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What it prints.
pub fn shown(httpd: &Httpd, arguments: &[&str]) -> String {
    let (status, out, err) = said(&ctl(httpd, arguments));
    assert_eq!((status, &err[..]), (Some(0), ""), "{arguments:?}");
    out
}

fn object(httpd: &Httpd, arguments: &[&str]) -> Value {
    let text = shown(httpd, &[arguments, &["--json"]].concat());
    assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
    rwsgi_testkit::from_slice(text.as_bytes())
}

fn application<'a>(object: &'a Value, group: &str) -> &'a Value {
    let all = object["applications"].as_array().expect("applications");
    let found = all.iter().find(|a| a["group"] == group);
    found.unwrap_or_else(|| panic!("{group} is not in {object}"))
}

fn pids(application: &Value) -> Vec<u32> {
    let workers = application["workers"].as_array().expect("workers").iter();
    let pid = |worker: &Value| u32::try_from(worker["pid"].as_u64().expect("pid")).expect("a pid");
    workers.map(pid).collect()
}

/// Those that take requests.
fn ready(application: &Value) -> Vec<u32> {
    let workers = application["workers"].as_array().expect("workers").iter();
    let ready = |pid: &u32| {
        let mut all = workers.clone();
        all.any(|worker| worker["pid"] == *pid && worker["state"] == "ready" && worker["template"] == false)
    };
    pids(application).into_iter().filter(ready).collect()
}

fn kill(pid: u32, signal: Signal) {
    Process::read(pid).expect("a process").signal(signal);
}

fn what_runs_is_listed_with_its_user_workers_and_use(case: &Case) {
    case.needs_ours("it has no such tool");
    case.needs_root();
    let httpd = case
        .httpd()
        .daemon(&format!("user={USER} group={USER} processes=2 threads=3"))
        .app("state.wsgi")
        .conf(&format!(
            "WSGIDaemonProcess other user={OTHER} group={OTHER} processes=1"
        ))
        .conf(&format!(
            "WSGIDaemonProcess unused user={OTHER} group={OTHER} min-processes=0"
        ))
        .conf("WSGIScriptAlias /other @SCRIPTS@/state.wsgi process-group=other application-group=%{GLOBAL}")
        .start();
    for url in ["/", "/other"] {
        assert_eq!(httpd.get(url).status, 200);
    }
    // One that is on its way is listed, and is no process that runs the application yet.
    until("all workers", SOON, || {
        let list = object(&httpd, &["list"]);
        ["site", "other"].map(|group| ready(application(&list, group)).len()) == [2, 1]
    });
    let list = object(&httpd, &["list"]);
    assert_eq!(list["schema"], 1);
    assert_eq!(list["manager"]["pid"], httpd.manager().expect("a manager").pid);
    assert_eq!(list["manager"]["httpd_pid"], httpd.parent().expect("httpd").pid);
    assert_eq!(
        list["manager"]["runtime_dir"],
        directory(&httpd).display().to_string()
    );

    let (site, other, unused) = (
        application(&list, "site"),
        application(&list, "other"),
        application(&list, "unused"),
    );
    assert_eq!((&site["user"], &site["state"]), (&json!(USER), &json!("serving")));
    assert_eq!(
        (&other["user"], &other["service"]),
        (&json!(OTHER), &json!(false))
    );
    let script = httpd.root().join("scripts/state.wsgi").display().to_string();
    assert_eq!(other["scripts"], json!([script]));
    let mut known: Vec<u32> = [pids(site), pids(other)].concat();
    let mut real: Vec<u32> = httpd.workers().iter().map(|worker| worker.pid).collect();
    known.sort_unstable();
    real.sort_unstable();
    assert_eq!(known, real);
    let worker = &other["workers"][0];
    assert_eq!(
        (&worker["state"], &worker["template"]),
        (&json!("ready"), &json!(false))
    );
    let rss = worker["memory"]["rss_bytes"].as_u64().expect("memory");
    assert!((1 << 20..1 << 30).contains(&rss), "{rss}");
    assert_eq!(
        (&other["memory"]["rss_bytes"], &worker["memory"]["pss_bytes"]),
        (&json!(rss), &Value::Null)
    );
    assert!(other["cpu_seconds"].as_f64().expect("processor time") > 0.0);
    assert!(worker["seconds"].as_f64().is_some_and(|age| age < 3600.0));
    assert_eq!(
        (&unused["state"], &unused["application_group"], &unused["workers"]),
        (&json!("idle"), &Value::Null, &json!([]))
    );

    let theirs = object(&httpd, &["list", "--user", OTHER]);
    let groups: Vec<&Value> = theirs["applications"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|a| &a["group"])
        .collect();
    assert_eq!(groups, ["other", "unused"]);
    let text = shown(&httpd, &["list"]);
    let line = text
        .lines()
        .find(|line| line.contains("  site  "))
        .expect("a line");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((words[0], words[1], words[3]), ("serving", USER, "2"), "{text}");
}

/// R65
fn a_group_is_shown_with_its_options_and_what_its_workers_died_of(case: &Case) {
    case.needs_ours("it has no such tool");
    case.needs_root();
    let httpd = case
        .httpd()
        .daemon(&format!(
            "user={USER} group={USER} threads=3 request-timeout=77 umask=0027 application-memory-limit=268435456"
        ))
        .app("state.wsgi")
        .start();
    assert_eq!(httpd.get("/").status, 200);
    let show = object(&httpd, &["show", "site"]);
    assert_eq!(show["incidents"], json!([]));
    let site = application(&show, "site");
    let options = &site["options"];
    for (name, value) in [
        ("threads", json!(3)),
        ("request-timeout", json!(77)),
        ("umask", json!("0027")),
        ("application-memory-limit", json!(268_435_456)),
        ("shutdown-timeout", json!(5)),
    ] {
        assert_eq!(options[name], value, "{name}");
    }
    let worker = &site["workers"][0];
    let (pss, rss) = (&worker["memory"]["pss_bytes"], &worker["memory"]["rss_bytes"]);
    assert!(pss.as_u64().expect("PSS") <= rss.as_u64().expect("RSS"));

    let died = pids(site)[0];
    let of_process = object(&httpd, &["show", &died.to_string()]);
    assert_eq!(pids(application(&of_process, "site")), [died]);
    kill(died, Signal::SIGSEGV);
    httpd.provoked(&[codes::DEATH]);
    until("another worker", SOON, || {
        httpd.get("/").status == 200
            && pids(application(&object(&httpd, &["show", "site"]), "site")) != [died]
    });
    for what in ["site", &died.to_string()] {
        let incidents = &object(&httpd, &["show", what])["incidents"];
        let incident = &incidents[0];
        assert_eq!(
            (&incident["code"], &incident["pid"], &incident["death"]),
            (&json!("RW0453"), &json!(died), &json!("signal")),
            "{incidents}"
        );
        assert!(
            incident["text"]
                .as_str()
                .is_some_and(|text| text.contains("SIGSEGV"))
        );
        assert!(incident["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    }
    let text = shown(&httpd, &["show", "site"]);
    assert!(
        text.contains("RW0453") && text.contains("request-timeout=77"),
        "{text}"
    );
}

/// R63
fn an_application_that_does_not_start_says_why_and_until_when(case: &Case) {
    case.needs_ours("it has no such tool");
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .source("/", "app.wsgi", "import os\nos._exit(5)\n")
        .start();
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF]);
    until("a pause", SOON, || {
        httpd.get("/");
        application(&object(&httpd, &["list"]), "site")["state"] == "backing-off"
    });
    // Another try may have begun meanwhile.
    until("a pause that is told", SOON, || {
        httpd.get("/");
        let show = object(&httpd, &["show", "site"]);
        let site = application(&show, "site");
        let wait = site["next_try_seconds"].as_f64();
        let why = site["why"].as_str().unwrap_or_default();
        // Without workers nobody has used less than nothing.
        let used = site["cpu_seconds"].as_f64();
        assert!(used.is_some_and(f64::is_sign_positive), "{site}");
        let told = show["incidents"].as_array().expect("incidents");
        wait.is_some_and(|wait| wait > 0.0 && wait <= 75.0)
            && why.contains("exited with status 5")
            && told
                .iter()
                .any(|one| one["death"] == "exit" && one["code"] == "RW0522")
    });
}

/// R15, R72
fn applications_of_users_are_listed_and_refused_users_are_shown(case: &Case) {
    let world = world(case, "processes=2 threads=2");
    for user in USERS {
        world.home(user).app("app.wsgi", "environ.wsgi");
    }
    world.run(|httpd| {
        assert_eq!(httpd.get("/~ann/").status, 200);
        let list = object(httpd, &["list"]);
        let ann = application(&list, "~ann");
        assert_eq!((&ann["user"], &ann["uid"]), (&json!("ann"), &json!(ANN)));
        let base = httpd.root().join("home/ann/public_wsgi");
        assert_eq!(ann["directory"], base.display().to_string());
        assert_eq!(
            ann["scripts"],
            json!([base.join("app.wsgi").display().to_string()])
        );
        assert_eq!(ann["application_group"], ann["scripts"][0]);
        assert_eq!(pids(ann).len(), 1);
        assert_eq!(
            object(httpd, &["list", "--user", "bob"])["applications"],
            json!([])
        );
        let (status, _, err) = said(&ctl(httpd, &["show", "~bob"]));
        assert_eq!(status, Some(1), "{err}");

        // Below min-uid.
        change_account("/etc/passwd", &format!("bob:x:{BOB}:"), "bob:x:500:");
        assert_eq!(httpd.get("/~bob/").status, 503);
        httpd.announce("RW04");
        httpd.announce("RW03");
        let show = object(httpd, &["show", "~bob"]);
        assert_eq!(show["applications"], json!([]));
        let incident = &show["incidents"][0];
        assert!(
            incident["code"]
                .as_str()
                .is_some_and(|code| code.starts_with("RW04")),
            "{show}"
        );
        assert_eq!(
            (&incident["pid"], &incident["application_group"]),
            (&Value::Null, &Value::Null)
        );
    });
}

fn each_failure_has_its_status_and_its_remedy(case: &Case) {
    case.needs_ours("it has no such tool");
    let httpd = case.httpd().daemon("threads=1").app("hello.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    let other = case.httpd().daemon("threads=1").app("hello.wsgi").start();
    let run = |arguments: &[&str]| said(&Command::new(tool()).args(arguments).output().expect("rwsgictl"));
    for what in ["nothing", "999999999"] {
        let (status, out, err) = said(&ctl(&httpd, &["show", what]));
        assert_eq!((status, &out[..]), (Some(1), ""), "{err}");
        assert!(
            err.starts_with("rwsgictl: ") && err.contains(what) && err.contains("rwsgictl list"),
            "{err}"
        );
    }
    assert_eq!(run(&["show"]).0, Some(2));
    assert_eq!(run(&["dance"]).0, Some(2));
    let (status, _, err) = run(&["-d", "/run/nobody-made-this", "list"]);
    assert_eq!(status, Some(3), "{err}");
    assert!(
        err.contains("/run/nobody-made-this") && err.contains("start httpd"),
        "{err}"
    );
    let empty = httpd.root().join("data");
    let (status, _, err) = run(&["-d", &empty.display().to_string(), "list"]);
    assert_eq!(status, Some(3), "{err}");
    // A reader who has had enough is no failure, a disk that is full is one.
    let (gone, _) = UnixStream::pair().expect("a pair");
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    for (out, wanted, words) in [
        (Stdio::from(OwnedFd::from(gone)), 0, ""),
        (full.into(), 7, "standard output"),
    ] {
        let mut list = Command::new(tool());
        list.arg("-d").arg(directory(&httpd)).arg("list").stdout(out);
        let (status, _, err) = said(&list.output().expect("rwsgictl"));
        assert_eq!(status, Some(wanted), "{err}");
        assert!(err.contains(words) && err.is_empty() == words.is_empty(), "{err}");
    }
    // There may be more httpds on this machine than these.
    let (status, _, err) = run(&["list"]);
    assert_eq!(status, Some(4), "{err}");
    for httpd in [&httpd, &other] {
        let place = directory(httpd).display().to_string();
        assert!(err.lines().any(|line| line.trim() == place), "{err}");
    }
    // WSGISocketPrefix will do where there is one manager of it.
    let prefix = directory(&httpd).with_extension("");
    // It may end in a slash, too; then the manager's directory is in that one.
    let above = format!("{}/", prefix.parent().expect("a directory").display());
    for place in [prefix.display().to_string(), above] {
        let (status, out, err) = run(&["-d", &place, "list"]);
        assert_eq!(status, Some(0), "{place}: {err}");
        assert!(out.contains("site"), "{out}");
    }
    let (status, out, _) = run(&["--help"]);
    assert_eq!(status, Some(0));
    assert!(
        out.contains("Exit status") && out.contains("no manager runs here"),
        "{out}"
    );
}

/// A copy of the tool that anybody may run.
fn copied(httpd: &Httpd) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let copy = httpd.data().join("rwsgictl");
    std::fs::copy(tool(), &copy).expect("a copy");
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    copy
}

fn as_user(user: &str, program: &Path, arguments: &[&str]) -> Output {
    let identity = ["--reuid", user, "--regid", user, "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(identity).arg(program).args(arguments);
    command.output().expect("setpriv")
}

/// R35, R36
fn r36_nobody_but_root_may_ask(case: &Case) {
    use std::os::unix::fs::MetadataExt as _;
    case.needs_ours("it has no such tool");
    case.needs_root();
    let httpd = case
        .httpd()
        .daemon(&format!("user={USER} group={USER} threads=1"))
        .app("hello.wsgi")
        .start();
    assert_eq!(httpd.get("/").status, 200);
    let status = directory(&httpd).join("ctl.sock").metadata().expect("metadata");
    assert_eq!((status.uid(), status.gid(), status.mode() & 0o777), (0, 0, 0o600));
    let (copy, place) = (copied(&httpd), directory(&httpd).display().to_string());
    // The workers' own user, another, and httpd's, who may pass through the directory.
    for user in [USER, OTHER, httpd_user()] {
        let (status, out, err) = said(&as_user(user, &copy, &["-d", &place, "list"]));
        assert_eq!((status, &out[..]), (Some(5), ""), "{user}: {err}");
        assert!(err.contains("root"), "{err}");
    }
    assert_eq!(said(&as_user("root", &copy, &["-d", &place, "list"])).0, Some(0));
}

/// Attacks the socket as root for so many seconds: damaged questions, endless ones whose answers nobody reads, connections that say nothing.
const HOSTILE: &str = r#"
import random, socket, struct, sys, time
path, version, seconds, seed = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
noise = random.Random(seed)
def connect():
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    found.settimeout(5)
    found.connect(path)
    return found
def question(kind, rest=b""):
    return struct.pack("<BH", kind, version) + rest
honest = [question(1), question(2, struct.pack("<I", 0)), question(3, struct.pack("<Q", 0)), question(7, struct.pack("<I", 4) + b"site")]
def damaged():
    packet = bytearray(noise.choice(honest))
    for _ in range(noise.randint(1, 4)):
        packet[noise.randrange(len(packet))] = noise.randrange(256)
    return bytes(packet[:noise.randint(1, len(packet))]) + noise.randbytes(noise.choice([0, 0, 1, 5000, 60000]))
end, count, silent, endless = time.monotonic() + seconds, 0, [], []
while time.monotonic() < end:
    count += 1
    try:
        if count % 3:
            with connect() as one:
                one.send(damaged())
                one.settimeout(0.05)
                one.recv(1 << 16)
        else:
            silent.append(connect())
            flood = connect()
            flood.setblocking(False)
            endless.append(flood)
            for _ in range(2000):
                flood.send(honest[2])
    except OSError:
        pass
    silent, endless = silent[-50:], endless[-50:]
print(count)
"#;

/// R37, R62
fn r37_who_is_damaged_silent_or_endless_does_not_hold_the_manager(case: &Case) {
    case.needs_ours("it has no such tool");
    let httpd = case
        .httpd()
        .daemon("threads=2 processes=1")
        .app("state.wsgi")
        .conf("WSGIDaemonProcess cold processes=1 min-processes=0\nWSGIScriptAlias /cold @SCRIPTS@/state.wsgi process-group=cold")
        .start();
    assert_eq!(httpd.get("/").status, 200);
    let manager = httpd.manager().expect("manager");
    let before = manager.descriptors();
    let version = Command::new(build_dir().join("rwsgi-manager"))
        .arg("--version")
        .output()
        .expect("a version");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let version = version
        .trim()
        .rsplit(' ')
        .next()
        .expect("a number")
        .trim_end_matches(')')
        .to_owned();
    let mut attack = Command::new("python3")
        .args(["-c", HOSTILE])
        .arg(directory(&httpd).join("ctl.sock"))
        .args([&version, &case.rounds(4, 30).to_string(), "7"])
        .spawn()
        .expect("python3");
    let mut asked = 0;
    while attack.try_wait().expect("the attack").is_none() {
        // A first request needs the manager; a warm one does not. An honest administrator is heard, however many others there are.
        for url in ["/", "/cold"] {
            let reply = httpd.get(url);
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        let (status, _, err) = said(&ctl(&httpd, &["list"]));
        // Its place may have been taken by one who came later.
        assert!(status == Some(0) || status == Some(6), "{err}");
        asked += i32::from(status == Some(0));
    }
    assert!(asked > 0, "nobody honest was heard");
    assert_eq!(httpd.manager().map(|now| now.pid), Some(manager.pid));
    assert_eq!(manager.status("Threads").as_deref(), Some("1"));
    until("the manager to let go", SOON, || {
        manager.descriptors() <= before + 6
    });
    shown(&httpd, &["list"]);
    let told = httpd.log_with("RW0551").len();
    assert!(told >= 1 && told <= 2 + case.rounds(1, 4), "{told} lines");
    httpd.provoked(&[&["RW0551"]]);
}

/// F26
fn f26_the_next_manager_answers_too(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = case.httpd().daemon("threads=2").app("state.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    let list = object(&httpd, &["list"]);
    let workers = pids(application(&list, "site"));
    let before = httpd.manager().expect("a manager").pid;
    httpd.provoked(&[codes::MANAGER]);
    kill(before, Signal::SIGKILL);
    until("another manager", SOON, || {
        httpd.manager().is_some_and(|now: Process| now.pid != before)
    });
    let list = object(&httpd, &["list"]);
    assert_ne!(list["manager"]["pid"], before);
    assert_eq!(pids(application(&list, "site")), workers);
}

fn is_ok(reply: &Reply) -> bool {
    reply.status == 200
}

/// F22
fn a_restart_loses_no_request_and_leaves_no_old_worker(case: &Case) {
    case.needs_ours("it has no such tool");
    for options in ["threads=2 processes=2", "threads=2 processes=2 preload=On"] {
        let httpd = case.httpd().daemon(options).app("state.wsgi").start();
        assert_eq!(httpd.get("/").status, 200);
        let now = || ready(application(&object(&httpd, &["list"]), "site"));
        until("two workers", SOON, || now().len() == 2);
        let load = Load::start(&httpd, "/", 3, is_ok);
        load.more(20);
        for _ in 0..2 {
            let before = now();
            let done = object(&httpd, &["restart", "site"]);
            assert_eq!((&done["schema"], &done["order"]), (&json!(1), &json!("restart")));
            assert_eq!(application(&done, "site")["state"], "serving");
            let after = now();
            assert!(
                !after.is_empty() && after.iter().all(|pid| !before.contains(pid)),
                "{before:?} {after:?}"
            );
            load.more(20);
            until("two workers", SOON, || now().len() == 2);
        }
        assert_eq!(load.stop(), Vec::<String>::new(), "{options}");
        assert!(
            !httpd
                .log_with("rwsgictl: restart process group 'site'")
                .is_empty()
        );
        assert!(
            shown(&httpd, &["restart", "site", "--user", "nobody-of-this-name"]).contains("nothing to do")
        );
        let (status, _, err) = said(&ctl(&httpd, &["restart", "nothing"]));
        assert_eq!(status, Some(1), "{err}");
    }
}

fn a_restart_that_fails_leaves_the_old_workers(case: &Case) {
    case.needs_ours("it has no such tool");
    let saying = "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [str(os.getpid()).encode()]\n";
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .source("/", "app.wsgi", saying)
        .start();
    let before = httpd.get("/").text();
    // What it imports is broken now; the script itself is as it was.
    let broken = format!("raise RuntimeError('broken')\n{saying}");
    let path = httpd.root().join("scripts/app.wsgi");
    let modified = path.metadata().and_then(|meta| meta.modified()).expect("a time");
    std::fs::write(&path, broken).expect("written");
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(modified))
        .expect("a time");
    httpd.provoked(&[codes::OLD_VERSION]);
    httpd.announce_traceback();
    let (status, _, err) = said(&ctl(&httpd, &["restart", "site"]));
    assert_eq!(status, Some(8), "{err}");
    assert!(err.contains("RW0520") && err.contains("app.wsgi"), "{err}");
    assert_eq!(httpd.get("/").text(), before);
    let show = object(&httpd, &["show", "site"]);
    assert_eq!(show["incidents"][0]["code"], "RW0520");
}

/// R63
fn a_restart_ends_the_pause_of_what_does_not_start(case: &Case) {
    case.needs_ours("it has no such tool");
    let source = "import os\nif os.path.exists(__file__.replace('scripts/app.wsgi', 'data/bad')):\n    os._exit(5)\n\
        def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'works']\n";
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .file("data/bad", "")
        .source("/", "app.wsgi", source)
        .start();
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF]);
    until(
        "a pause that is not over by itself at once",
        Duration::from_secs(60),
        || {
            httpd.get("/");
            let list = object(&httpd, &["list"]);
            let wait = application(&list, "site")["next_try_seconds"].as_f64();
            wait.is_some_and(|wait| wait > 6.0)
        },
    );
    std::fs::remove_file(httpd.data().join("bad")).expect("removed");
    let done = object(&httpd, &["restart", "site"]);
    assert_eq!(application(&done, "site")["next_try_seconds"], Value::Null);
    until("it to be served", SOON, || httpd.get("/").text() == "works");
}

fn what_is_stopped_starts_again_with_the_next_request(case: &Case) {
    let world = world(case, "processes=2 threads=2");
    for user in USERS {
        world.home(user).app("app.wsgi", "state.wsgi");
    }
    world.run(|httpd| {
        let pid = |user: &str| {
            httpd.get(&format!("/~{user}/")).json()["pid"]
                .as_u64()
                .expect("pid")
        };
        let (ann, bob) = (pid("ann"), pid("bob"));
        let done = object(httpd, &["stop", "~ann"]);
        let stopped = application(&done, "~ann");
        assert_eq!(
            (&stopped["state"], &stopped["workers"]),
            (&json!("idle"), &json!([]))
        );
        let left: Vec<u64> = httpd.workers().iter().map(|worker| worker.pid.into()).collect();
        assert_eq!(left, [bob]);
        let again = pid("ann");
        assert!(again != ann && pid("bob") == bob);
        // Whoever asks meanwhile is served.
        let load = Load::start(httpd, "/~ann/", 3, is_ok);
        for _ in 0..3 {
            load.more(20);
            shown(httpd, &["stop", "~ann"]);
        }
        load.more(20);
        assert_eq!(load.stop(), Vec::<String>::new());
    });
}

fn a_service_is_restarted_and_is_not_stopped(case: &Case) {
    case.needs_ours("it has no such tool");
    let httpd = case
        .httpd()
        .file("scripts/service.py", "import time\nwhile True:\n    time.sleep(0.1)\n")
        .conf("WSGIDaemonProcess svc threads=0\nWSGIImportScript @SCRIPTS@/service.py process-group=svc application-group=%{GLOBAL}")
        .start();
    let running = || {
        let list = object(&httpd, &["list"]);
        let svc = application(&list, "svc");
        assert_eq!(svc["service"], true);
        (svc["state"] == "serving").then(|| pids(svc))
    };
    let before = rwsgi_testkit::until_some("the service", SOON, running);
    let (status, _, err) = said(&ctl(&httpd, &["stop", "svc"]));
    assert_eq!(status, Some(8), "{err}");
    shown(&httpd, &["restart", "svc"]);
    let after = rwsgi_testkit::until_some("the service", SOON, running);
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
}

/// As packages are made: `make install DESTDIR=…`, of which this is the half after the build.
fn what_is_installed_lies_below_destdir_and_works_there(case: &Case) {
    case.needs_ours("it has neither tool nor manager");
    let place = std::env::temp_dir().join(format!(
        "rwsgi-install-{}-{}",
        std::process::id(),
        rwsgi_testkit::mpm()
    ));
    let mut install = Command::new(repository().join("scripts/install.sh"));
    install.env("DESTDIR", &place).env("BUILD", build_dir());
    let (status, out, err) = said(&install.output().expect("install.sh"));
    assert_eq!(status, Some(0), "{out}{err}");
    let asked = |name: &str| {
        let apxs = std::env::var("APXS").unwrap_or_else(|_| "apxs".into());
        let (_, out, _) = said(&Command::new(apxs).args(["-q", name]).output().expect("apxs"));
        place.join(out.trim().trim_start_matches('/'))
    };
    let tool = asked("SBINDIR").join("rwsgictl");
    let (status, out, _) = said(&Command::new(&tool).arg("--version").output().expect("rwsgictl"));
    assert!(
        status == Some(0) && out.contains(env!("CARGO_PKG_VERSION")),
        "{status:?} {out}"
    );
    let modules = asked("LIBEXECDIR");
    for part in ["mod_rwsgi.so", "rwsgi-manager", "_rwsgi.abi3.so"] {
        let (installed, built) = (modules.join(part), build_dir().join(part));
        let read = |path: &Path| std::fs::read(path).expect("a part");
        assert!(read(&installed) == read(&built), "{part}");
    }
    let left: Vec<_> = std::fs::read_dir(&modules)
        .expect("a directory")
        .flatten()
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
    std::fs::remove_dir_all(&place).expect("remove");
}

fn workers_say_how_many_requests_they_have_had(case: &Case) {
    case.needs_ours("it has no manager");
    case.needs_root();
    let httpd = case
        .httpd()
        .daemon("processes=1 threads=2 deadlock-timeout=10")
        .app("life.wsgi")
        .start();
    for _ in 0..5 {
        assert_eq!(httpd.get("/pid").status, 200);
    }
    let mut waiting = httpd.raw_get("/wait");
    until("the worker to say so", SOON, || {
        let all = object(&httpd, &["show", "site"]);
        let worker = &application(&all, "site")["workers"][0];
        (worker["requests"].as_u64(), worker["running"].as_u64()) == (Some(5), Some(1))
    });
    let text = shown(&httpd, &["show", "site"]);
    assert!(text.contains(", 5 requests, 1 running"), "{text}");
    std::fs::write(httpd.data().join("go"), "").expect("go");
    assert_eq!(waiting.reply().head.status, 200);
}
