//! `apache-conf/systemd/rwsgi.conf`: what it takes away nobody needs. No systemd runs in the suite, so the same is taken away by the same calls of
//! the kernel.

use super::hosted;
use crate::codes;
use rwsgi_testkit::{Case, Signal, Topic, groups_below, repository, test, until};
use std::process::Command;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r05_the_settings_for_systemd_are_understood,
        r05_what_systemd_takes_away_is_not_missed,
    ]);
}

/// The values of a setting, from all its lines.
fn setting(name: &str) -> Vec<String> {
    let file = repository().join("apache-conf/systemd/rwsgi.conf");
    let text = std::fs::read_to_string(file).expect("the settings");
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let words: Vec<String> = lines.flat_map(str::split_whitespace).map(str::to_owned).collect();
    assert!(!words.is_empty(), "{name} is not set");
    words
}

fn systemd_analyze(case: &Case, arguments: &[&str]) -> String {
    let Ok(output) = Command::new("systemd-analyze").args(arguments).output() else {
        case.skip("no systemd-analyze");
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn r05_the_settings_for_systemd_are_understood(case: &Case) {
    case.needs_ours("it has none");
    let builder = case.httpd();
    let unit = builder.root().join("httpd.service");
    let settings = builder.root().join("httpd.service.d");
    std::fs::create_dir(&settings).expect("mkdir");
    std::fs::write(&unit, "[Service]\nExecStart=/bin/true\n").expect("a unit");
    let ours = repository().join("apache-conf/systemd/rwsgi.conf");
    std::fs::copy(ours, settings.join("rwsgi.conf")).expect("copy");
    let said = systemd_analyze(case, &["verify", "--man=no", unit.to_str().expect("a path")]);
    assert!(!said.contains("rwsgi.conf"), "{said}");
}

/// The calls that `SystemCallFilter` refuses, without those that this machine has not.
fn refused(case: &Case) -> String {
    let sets = setting("SystemCallFilter");
    let sets: Vec<&str> = sets.iter().map(|set| set.trim_start_matches('~')).collect();
    let text = systemd_analyze(case, &[&["syscall-filter"], &sets[..]].concat());
    let calls = text.lines().filter_map(|line| line.strip_prefix("    "));
    let calls: Vec<String> = calls
        .filter(|call| !call.starts_with(['#', '@']))
        .map(|call| format!("?{call}"))
        .collect();
    assert!(calls.len() > 20, "{text}");
    calls.join(",")
}

/// R5
fn r05_what_systemd_takes_away_is_not_missed(case: &Case) {
    case.needs_root();
    case.needs_ours("it has none");
    if Command::new("strace").arg("-V").output().is_err() {
        case.skip("no strace");
    }
    let calls = refused(case);
    let powers = setting("CapabilityBoundingSet");
    let powers: Vec<String> = powers
        .iter()
        .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    // ProtectSystem, ProtectKernelTunables, ProtectProc.
    let script = format!(
        "for d in /usr /boot /etc; do mount --bind $d $d && mount -o remount,bind,ro $d || exit; done
mount -t proc -o hidepid=2 proc /proc && mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys || exit
exec strace -DDD -f -qqq --seccomp-bpf -e signal=none -o \"$0\" -e trace={calls} -e inject={calls}:error=EPERM \\
    setpriv --bounding-set=-all,{} \"$@\"",
        powers.join(",")
    );
    let server = hosted(case, "threads=2 processes=2")
        .conf("WSGIDaemonProcess other user=bin group=bin home=/ min-processes=0 cpu-priority=-1")
        .conf("WSGIScriptAlias /other @SCRIPTS@/hello.wsgi process-group=other application-group=a")
        .app("hello.wsgi");
    let trace = server.root().join("trace");
    let httpd = server
        .launched_by(&[
            "unshare",
            "-m",
            "sh",
            "-c",
            &script,
            trace.to_str().expect("a path"),
        ])
        .start();
    let parent = httpd.parent().expect("httpd");
    let bounding = u64::from_str_radix(&parent.status("CapBnd").expect("a mask"), 16).expect("a mask");
    // The machine may have fewer.
    assert!(bounding.count_ones() as usize <= powers.len(), "{bounding:x}");
    let serves = || ["/", "/other"].map(|path| httpd.get(path).status);
    assert_eq!(serves(), [200, 200]);
    // Where there are any at all.
    let users = |tree: &std::path::PathBuf| groups_below(tree).len();
    assert!(
        httpd
            .control_groups()
            .iter()
            .all(|tree| [0, 2].contains(&users(tree)))
    );
    // Everything that needs a power: deaths, a new configuration, another manager that goes on with the workers.
    httpd.provoked(&[codes::DEATH, codes::MANAGER]);
    let workers = || {
        let all = httpd.workers().into_iter().map(|worker| worker.pid);
        all.collect::<std::collections::BTreeSet<u32>>()
    };
    until("all workers", Duration::from_secs(20), || {
        httpd.log_with(" is ready").len() == 3
    });
    let before = workers();
    httpd.manager().expect("a manager").signal(Signal::SIGKILL);
    httpd.wait_log("RW0410");
    httpd.graceful();
    assert_eq!(serves(), [200, 200]);
    assert_eq!(workers(), before);
    httpd.workers()[0].signal(Signal::SIGKILL);
    until("another worker", Duration::from_secs(20), || {
        serves() == [200, 200] && workers().len() == 3 && workers() != before
    });
    assert_eq!(
        std::fs::read_to_string(&trace).expect("the trace"),
        "",
        "calls that are refused"
    );
}
