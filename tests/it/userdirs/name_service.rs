//! A name service that hangs: a module of glibc's name service that sleeps for some names, in a private mount namespace.

use super::places::{Home, USERS, User, world};
use rwsgi_testkit::{Case, Httpd, Reply, Topic, test, with_file_replaced};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r17_a_name_service_that_hangs_keeps_nobody_else_waiting,
        r17_a_process_group_starts_although_the_name_service_hangs,
    ]);
}

/// Takes the place of a module that comes with glibc and that nobody uses.
const MODULE: &str = "libnss_hesiod.so.2";
const SOURCE: &str = r#"
#include <nss.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

enum nss_status _nss_hesiod_getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t length, int *errnop) {
    if (strncmp(name, "sleepy", 6) == 0) sleep(60);
    return NSS_STATUS_NOTFOUND;
}
"#;

/// Who the service thinks about. Asked one after the other they would take many times what is allowed for one.
const SLEEPERS: [&str; 4] = ["sleepy1", "sleepy2", "sleepy3", "sleepy4"];
/// What others take at most on a busy machine.
const PATIENCE: Duration = Duration::from_secs(12);

/// Where the module is, and one that sleeps; skips where there is none.
fn modules(case: &Case) -> (PathBuf, Vec<u8>) {
    let found = Command::new("cc")
        .arg(format!("-print-file-name={MODULE}"))
        .output();
    let found = found.expect("cc").stdout;
    let path = PathBuf::from(String::from_utf8_lossy(&found).trim());
    if !path.is_absolute() {
        case.skip(&format!("the C library has no {MODULE}"));
    }
    let place = std::env::temp_dir().join(format!(
        "rwsgi-nss-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&place).expect("mkdir");
    let (source, module) = (place.join("nss.c"), place.join(MODULE));
    std::fs::write(&source, SOURCE).expect("write");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&module).arg(&source);
    assert!(cc.status().expect("cc").success());
    let bytes = std::fs::read(module).expect("a module");
    std::fs::remove_dir_all(place).expect("remove");
    (path, bytes)
}

fn timed(httpd: &Httpd, user: &str) -> (Reply, Duration) {
    let begin = Instant::now();
    (httpd.get(&format!("/~{user}/")), begin.elapsed())
}

/// F47
fn r17_a_name_service_that_hangs_keeps_nobody_else_waiting(case: &Case) {
    case.needs_root();
    let (path, module) = modules(case);
    let world = world(case, "");
    for user in USERS {
        world.home(user).app("app.wsgi", "hello.wsgi");
    }
    let root = world.root();
    for name in SLEEPERS {
        // Files there are, and no account yet.
        Home::make(&root, User { name, uid: 41_010 }).app("app.wsgi", "hello.wsgi");
    }
    hanging(&path, module, || world.run(ask_everybody));
}

/// Who is not in the file of accounts is asked for at the service.
fn hanging(path: &Path, module: Vec<u8>, work: impl FnOnce() + Send) {
    let order = std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let others = order.lines().filter(|line| !line.starts_with("passwd:"));
    let order = others.fold("passwd: files hesiod\n".to_owned(), |all, line| all + line + "\n");
    with_file_replaced(path, module, || {
        with_file_replaced(Path::new("/etc/nsswitch.conf"), order, work);
    });
}

/// R16: who the user is the configuration has said, and that it has gone nobody has.
fn r17_a_process_group_starts_although_the_name_service_hangs(case: &Case) {
    case.needs_root();
    case.needs_ours("it does not ask again");
    let (path, module) = modules(case);
    let passwd = Path::new("/etc/passwd");
    let others = std::fs::read_to_string(passwd).expect("/etc/passwd");
    let with_one = format!("{others}sleepy9:x:61298:60:::/bin/sh\n");
    hanging(&path, module, || {
        with_file_replaced(passwd, with_one, || {
            let httpd = case
                .httpd()
                .daemon("user=sleepy9 group=games home=/ min-processes=0")
                .app("hello.wsgi")
                .start();
            std::fs::write(passwd, &others).expect("the accounts");
            let begin = Instant::now();
            assert_eq!(httpd.get("/").status, 200);
            let time = begin.elapsed();
            assert!(time > Duration::from_secs(4), "it did not hang: {time:?}");
        });
    });
}

fn ask_everybody(httpd: &Httpd) {
    std::thread::scope(|scope| {
        let sleepers = SLEEPERS.map(|name| scope.spawn(move || timed(httpd, name)));
        // Neither has been asked for before.
        for user in USERS {
            let (reply, time) = timed(httpd, user.name);
            assert_eq!(reply.status, 200, "{}: {}", user.name, reply.text());
            assert!(time < PATIENCE, "{} took {time:?}", user.name);
        }
        for sleeper in sleepers {
            let (reply, time) = sleeper.join().expect("an answer");
            assert_eq!(reply.status, 503, "{}", reply.text());
            assert!(reply.header("retry-after").is_some());
            assert!(time > Duration::from_secs(4), "it did not hang: {time:?}");
        }
    });
    // No process is left that still asks.
    for name in SLEEPERS {
        let line = httpd.wait_log(&format!("RW0481: applications of {name} are refused"));
        assert!(line.text.contains("did not answer within 5 s"), "{}", line.text);
    }
    httpd.announce("RW03");
}
