//! What the program that stays root is, holds and may do.

use super::hosted;
use rwsgi_testkit::{Case, Httpd, Process, Signal, Topic, build_dir, repository, test, until};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r01_the_privileged_part_does_not_grow_unnoticed,
        r01_a_busy_manager_makes_the_listed_calls_only,
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

/// Lines of code, without tests, blank lines and comments.
fn lines_of(package: &str) -> usize {
    let mut directories = vec![repository().join("crates").join(package).join("src")];
    let mut lines = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("the sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let is_code = |line: &&str| !line.is_empty() && !line.starts_with("//");
            if !path.to_string_lossy().ends_with("_tests.rs") {
                lines += code.lines().map(str::trim).filter(is_code).count();
            }
        }
    }
    lines
}

/// R1: all that is in the program of root, but for the standard library. Who needs more says here that it has been thought about.
/// (400 lines of the manager are the process that writes logs, which has no capability, and what becomes of workers that hang.)
fn r01_the_privileged_part_does_not_grow_unnoticed(case: &Case) {
    case.needs_ours("it has no manager");
    for (package, most) in [("manager", 11_000), ("os", 3_700), ("wire", 3_200)] {
        let lines = lines_of(package);
        assert!(
            lines > most / 2 && lines <= most,
            "{package} has {lines} lines, of at most {most}"
        );
    }
    let manifest = repository().join("crates/manager/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).expect("the manifest");
    let needs = manifest
        .split("[dependencies]")
        .nth(1)
        .and_then(|rest| rest.split('[').next());
    let needs: Vec<&str> = needs.expect("dependencies").split_whitespace().collect();
    assert_eq!(
        needs,
        [
            "rwsgi-wire.workspace",
            "=",
            "true",
            "rwsgi-os.workspace",
            "=",
            "true"
        ]
    );
}

/// strace, which looks at the calls of the manager.
struct Look {
    strace: std::process::Child,
    trace: PathBuf,
}

impl Look {
    fn at_the_manager(httpd: &Httpd, options: &[&str]) -> Self {
        let trace = httpd.root().join("trace");
        let manager = httpd.manager().expect("manager").pid;
        let strace = Command::new("strace")
            .arg("-qq")
            .args(options)
            .args(["-p", &manager.to_string(), "-o"])
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
        Self { strace, trace }
    }

    /// All that it has seen.
    fn end(mut self) -> String {
        let id = self.strace.id().to_string();
        Command::new("kill").arg(id).status().expect("kill");
        self.strace.wait().expect("the end of strace");
        std::fs::read_to_string(&self.trace).expect("the trace")
    }
}

const APP: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'well']\n";

/// R1
fn r01_a_busy_manager_makes_the_listed_calls_only(case: &Case) {
    case.needs_ours("it has no manager");
    if Command::new("strace").arg("-V").output().is_err() {
        case.skip("no strace");
    }
    let group = |name: &str, options: &str| {
        format!(
            "WSGIDaemonProcess {name} user={user} group={user} {options}\n\
             WSGIScriptAlias /{name} @SCRIPTS@/app.wsgi process-group={name} application-group=a\n",
            user = super::USER
        )
    };
    let limits = "application-memory-limit=134217728 application-processes-limit=60 application-cpu-limit=90";
    let httpd = hosted(case, "threads=2")
        .source("/", "app.wsgi", APP)
        .conf(&group("limited", &format!("processes=2 {limits}")))
        .conf(&group("copied", "preload=On"))
        .conf(&group("idle", "min-processes=0 idle-timeout=1"))
        .start();
    let look = Look::at_the_manager(&httpd, &[]);
    let paths = ["/", "/limited", "/copied", "/idle"];
    httpd.provoked(&[
        crate::codes::DEATH,
        crate::codes::LIMIT,
        crate::codes::NO_TEMPLATE,
        crate::codes::BACK_OFF,
        // A worker that was started beside others may be killed, too.
        &["RW0521"],
    ]);
    for round in 0..2 {
        until("answers", Duration::from_secs(30), || {
            paths.iter().all(|path| httpd.get(path).status == 200)
        });
        httpd.rewrite_script("app.wsgi", &format!("{APP}# {round}\n"));
        for worker in httpd.workers() {
            worker.signal(Signal::SIGKILL);
        }
        httpd.graceful();
    }
    let calls = look.end();
    let names = calls
        .lines()
        .filter_map(|line| line.split_once('('))
        .map(|(name, _)| name);
    let made: BTreeSet<&str> = names.filter(|name| !name.contains(' ')).collect();
    let listed = include_str!("manager_calls.txt");
    let listed: BTreeSet<&str> = listed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    let others: Vec<_> = made.difference(&listed).collect();
    assert!(
        others.is_empty(),
        "calls that are not in manager_calls.txt: {others:?}"
    );
    assert!(made.len() > 20, "{made:?}");
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
    let look = Look::at_the_manager(&httpd, &["-f", "-s", "4096", "-e", "trace=%file,setresuid"]);
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
    let text = look.end();
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
