//! Files of ours that are replaced while they run.

use super::everybody;
use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Load, Signal, Topic, Witness, build_dir, test, until};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f24_files_of_another_build_take_the_place_of_those_that_run,
        f24_a_build_of_another_protocol_ends_the_manager_that_runs,
    ]);
}

const MODULE: &str = "mod_rwsgi.so";
const MANAGER: &str = "rwsgi-manager";
const GATEWAY: &str = "_rwsgi.abi3.so";
const ALL: [&str; 3] = [MODULE, MANAGER, GATEWAY];
const SLOW: Duration = Duration::from_secs(30);

/// Puts a part into its place by rename, as package managers do; `build` makes it another file than the others.
fn install(parts: &Path, part: &str, build: usize) {
    install_from(&build_dir(), parts, part, build);
}

fn install_from(from: &Path, parts: &Path, part: &str, build: usize) {
    let mut bytes = std::fs::read(from.join(part)).expect("a part");
    bytes.extend(format!("build {build}\n").into_bytes());
    let fresh = parts.join(format!("{part}.new"));
    std::fs::write(&fresh, bytes).expect("write");
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o755)).expect("chmod");
    std::fs::rename(fresh, parts.join(part)).expect("rename");
}

fn pids(httpd: &Httpd) -> Vec<u32> {
    let mut pids: Vec<u32> = httpd.workers().iter().map(|worker| worker.pid).collect();
    pids.sort_unstable();
    pids
}

/// Kills the manager; the next one is of the new file.
fn next_manager(httpd: &Httpd) {
    let before = httpd.log_with("RW0410").len();
    httpd.manager().expect("a manager").signal(Signal::SIGKILL);
    until("another manager", SLOW, || {
        httpd.log_with("RW0410").len() > before
    });
    until("a manager of the file that is there", SLOW, || {
        let program = httpd
            .manager()
            .map(|manager| format!("/proc/{}/exe", manager.pid));
        let program = program.and_then(|exe| std::fs::read_link(exe).ok());
        program.is_some_and(|program| program.exists())
    });
}

/// A site, its control, and a directory with our files.
fn installed(case: &Case) -> (Builder, PathBuf) {
    let builder = case
        .httpd()
        .bare()
        .without_module()
        .script("ledger.wsgi")
        .file("scripts/control.wsgi", super::ledger())
        .conf("LoadModule rwsgi_module @ROOT@/parts/mod_rwsgi.so")
        .conf("WSGIDaemonProcess site processes=2 threads=3\nWSGIDaemonProcess control threads=4")
        .conf("WSGIScriptAlias /site @SCRIPTS@/ledger.wsgi process-group=site application-group=%{GLOBAL}")
        .conf("WSGIScriptAlias /control @SCRIPTS@/control.wsgi process-group=control application-group=%{GLOBAL}");
    let parts = builder.root().join("parts");
    std::fs::create_dir(&parts).expect("mkdir");
    std::fs::set_permissions(&parts, Permissions::from_mode(0o755)).expect("chmod");
    for part in ALL {
        install(&parts, part, 0);
    }
    (builder, parts)
}

/// F24, R7: each part by itself and all at once, while requests go on: the manager dies and its successor is of the other build, and httpd restarts.
fn f24_files_of_another_build_take_the_place_of_those_that_run(case: &Case) {
    case.needs_ours("it is one file");
    case.may_take(Duration::from_secs(600));
    let (builder, parts) = installed(case);
    let httpd = builder.start();
    httpd.provoked(&[codes::MANAGER]);
    let witness = Witness::start(&httpd, &everybody(1));
    witness.more(20);
    let upgrades: [&[&str]; 4] = [&ALL, &[MANAGER], &[GATEWAY], &[MODULE]];
    for (build, upgraded) in upgrades.iter().take(case.rounds(1, 4)).enumerate() {
        let before = pids(&httpd);
        for part in *upgraded {
            install(&parts, part, build + 1);
        }
        witness.more(10);
        next_manager(&httpd);
        witness.more(10);
        if !upgraded.contains(&GATEWAY) {
            assert_eq!(pids(&httpd), before, "{upgraded:?}: workers were replaced");
        }
        httpd.graceful();
        witness.more(10);
        if upgraded.contains(&GATEWAY) {
            // Their Python half is of the other build, too, and no request was lost for it.
            until("other workers", SLOW, || {
                let now = pids(&httpd);
                now.len() == before.len() && !now.iter().any(|pid| before.contains(pid))
            });
        }
        next_manager(&httpd);
        witness.more(10);
    }
    let books = witness.stop();
    books.lost_at_most(0);
}

/// F24, R7: parts that cannot talk with those that run: nothing changes until httpd restarts, and then the old manager ends with its workers.
fn f24_a_build_of_another_protocol_ends_the_manager_that_runs(case: &Case) {
    case.needs_ours("it is one file");
    let Some(other) = std::env::var_os("RWSGI_OTHER_BUILD").map(PathBuf::from) else {
        case.skip("no RWSGI_OTHER_BUILD");
    };
    case.may_take(Duration::from_secs(120));
    let (builder, parts) = installed(case);
    let httpd = builder.start();
    httpd.provoked(&[codes::MANAGER, &["RW0414", "RW0402"]]);
    let load = Load::start(&httpd, "/control/run?0-1", 1, |reply| reply.status == 200);
    load.more(10);
    let before = pids(&httpd);
    for part in ALL {
        install_from(&other, &parts, part, 1);
    }
    load.more(10);
    assert_eq!(pids(&httpd), before);
    assert_eq!(load.stop(), Vec::<String>::new());
    // The module of the other build is loaded now.
    httpd.graceful();
    until("it to be served by the other build", SLOW, || {
        httpd.get("/control/run?0-1").status == 200
    });
    assert!(
        !httpd
            .log_with("the manager that runs is of another build")
            .is_empty()
    );
    assert!(pids(&httpd).iter().all(|pid| !before.contains(pid)));
    httpd.announce("RW03");
}
