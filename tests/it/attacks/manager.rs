//! What the program that stays root is, holds and may do.

use super::hosted;
use rwsgi_testkit::{Case, Process, Signal, Topic, build_dir, test, until};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r05_the_manager_keeps_the_listed_capabilities_only,
        r13_the_manager_holds_nothing_that_others_can_write,
        r28_root_uses_no_path_that_a_user_can_change,
    ]);
}

/// CHOWN, DAC_READ_SEARCH, KILL, SETGID, SETUID, SETPCAP, SYS_CHROOT, SYS_NICE, SYS_RESOURCE.
const KEPT: [u32; 9] = [0, 2, 5, 6, 7, 8, 18, 23, 24];
const SETPCAP: u64 = 1 << 8;

fn mask(process: &Process, field: &str) -> u64 {
    let text = process.status(field).expect("a field of the status");
    u64::from_str_radix(&text, 16).expect("a mask")
}

/// R1, R2, R4, R5
fn r05_the_manager_keeps_the_listed_capabilities_only(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = hosted(case, "threads=2").app("hello.wsgi").start();
    httpd.get("/");
    let (parent, manager) = (httpd.parent().expect("httpd"), httpd.manager().expect("manager"));
    let kept = KEPT.iter().fold(0, |all, number| all | 1u64 << number);
    let held = mask(&parent, "CapPrm");
    for set in ["CapPrm", "CapEff"] {
        assert_eq!(mask(&manager, set), held & kept, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(mask(&manager, set), 0, "{set}");
    }
    if held & SETPCAP != 0 {
        assert_eq!(mask(&manager, "CapBnd"), mask(&parent, "CapBnd") & kept);
    }
    assert_eq!(manager.status("Threads").as_deref(), Some("1"));
    assert_eq!(manager.status("Umask").as_deref(), Some("0077"));
    let link = |name: &str| std::fs::read_link(format!("/proc/{}/{name}", manager.pid)).expect(name);
    assert_eq!(link("cwd").to_str(), Some("/"));
    assert!(link("exe").ends_with("rwsgi-manager"), "{:?}", link("exe"));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", manager.pid)).expect("limits");
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let core: Vec<&str> = core.expect("a limit").split_whitespace().take(2).collect();
    assert_eq!(core, ["0", "0"]);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", manager.pid)).expect("maps");
    let known = [
        "rwsgi-manager",
        "libc.so",
        "libc-",
        "libgcc_s",
        "libm",
        "ld-",
        "[",
    ];
    for line in maps.lines() {
        let Some(path) = line.split_whitespace().nth(5) else {
            continue;
        };
        let file = path.rsplit('/').next().unwrap_or_default();
        assert!(
            known.iter().any(|name| file.starts_with(name)),
            "{path} is mapped in the manager"
        );
    }
}

/// R13, R11
fn r13_the_manager_holds_nothing_that_others_can_write(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = hosted(case, "threads=2").app("hello.wsgi").start();
    httpd.get("/");
    let manager = httpd.manager().expect("manager");
    for (number, target) in manager.descriptor_targets() {
        // The developer's own files may be anybody's.
        if !target.starts_with('/')
            || target == "/dev/null"
            || build_dir().join("_rwsgi.abi3.so").ends_with(&target)
        {
            continue;
        }
        let status = std::fs::metadata(&target).expect("metadata");
        assert!(
            status.uid() == 0 && status.mode() & 0o022 == 0,
            "{number} is {target} of {} with mode {:o}",
            status.uid(),
            status.mode()
        );
    }
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", manager.pid)).expect("maps");
    assert!(!maps.contains("rw-s"), "{maps}");
}

/// R32
/// R28, R29: every path that the manager, and what is to become a worker, uses while it is root.
fn r28_root_uses_no_path_that_a_user_can_change(case: &Case) {
    case.needs_ours("it has no manager");
    if Command::new("strace").arg("-V").output().is_err() {
        case.skip("no strace");
    }
    let httpd = hosted(case, "threads=2 home=@DATA@").app("hello.wsgi").start();
    httpd.get("/");
    let manager = httpd.manager().expect("manager").pid;
    let trace = httpd.root().join("trace");
    let mut strace = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-s",
            "4096",
            "-e",
            "trace=%file,setresuid",
            "-p",
            &manager.to_string(),
            "-o",
        ])
        .arg(&trace)
        .stderr(Stdio::null())
        .spawn()
        .expect("strace");
    let traced = || {
        httpd
            .manager()
            .and_then(|m| m.status("TracerPid"))
            .is_some_and(|pid| pid != "0")
    };
    until("strace to look on", Duration::from_secs(10), traced);
    // A death, its burial, a new worker; a new configuration.
    for _ in 0..2 {
        let worker = httpd.workers().first().expect("a worker").clone();
        worker.signal(Signal::SIGKILL);
        until("another worker", Duration::from_secs(20), || {
            httpd.get("/").status == 200 && httpd.workers().iter().any(|now| now.pid != worker.pid)
        });
        httpd.graceful();
    }
    httpd.provoked(&[crate::codes::DEATH]);
    Command::new("kill")
        .arg(strace.id().to_string())
        .status()
        .expect("kill");
    strace.wait().expect("the end of strace");
    let text = std::fs::read_to_string(&trace).expect("the trace");
    let mut users = BTreeSet::new();
    let (mut seen, mut became) = (0, 0);
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(' ') else {
            continue;
        };
        if call.trim_start().starts_with("setresuid(") && call.ends_with("= 0") {
            users.insert(pid.to_owned());
            became += 1;
        }
        if users.contains(pid) {
            continue;
        }
        for path in call
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|path| path.starts_with('/'))
        {
            // `/proc` is the kernel's; the build may be the developer's own, and is root's when it is installed.
            if path.starts_with("/proc/") || Path::new(path).starts_with(build_dir()) {
                continue;
            }
            seen += 1;
            let mut above = PathBuf::from(path);
            while above.pop() {
                let Ok(status) = std::fs::metadata(&above) else {
                    continue;
                };
                let sticky = status.mode() & 0o1000 != 0;
                assert!(
                    status.uid() == 0 && (status.mode() & 0o022 == 0 || sticky),
                    "root uses {path}, and {} is of {} with mode {:o}: {line}",
                    above.display(),
                    status.uid(),
                    status.mode()
                );
            }
        }
    }
    assert!(
        seen > 5 && became >= 2,
        "{seen} paths, {became} workers in\n{text}"
    );
}
