//! Files of ours that are replaced while they run.

use super::everybody;
use crate::codes;
use rwsgi_testkit::{Case, Httpd, Signal, Topic, Witness, build_dir, test, until};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![f24_files_of_another_build_take_the_place_of_those_that_run]);
}

const MODULE: &str = "mod_rwsgi.so";
const MANAGER: &str = "rwsgi-manager";
const GATEWAY: &str = "_rwsgi.abi3.so";
const SLOW: Duration = Duration::from_secs(30);

/// Puts a part into its place by rename, as package managers do; `build` makes it another file than the others.
fn install(parts: &Path, part: &str, build: usize) {
    let mut bytes = std::fs::read(build_dir().join(part)).expect("a part");
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

/// F24, R7: each part by itself and all at once, while requests go on: the manager dies and its successor is of the other build, and httpd restarts.
fn f24_files_of_another_build_take_the_place_of_those_that_run(case: &Case) {
    case.needs_ours("it is one file");
    case.may_take(Duration::from_secs(600));
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
    let all = [MODULE, MANAGER, GATEWAY];
    for part in all {
        install(&parts, part, 0);
    }
    let httpd = builder.start();
    httpd.provoked(&[codes::MANAGER]);
    let witness = Witness::start(&httpd, &everybody(1));
    witness.more(20);
    let upgrades: [&[&str]; 4] = [&all, &[MANAGER], &[GATEWAY], &[MODULE]];
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
