//! What a worker has from those before it: from whoever started httpd, from httpd, from other sites.

use super::{USER, hosted};
use rwsgi_testkit::{Case, Httpd, Topic, Value, test, with_file_replaced};
use std::collections::BTreeMap;
use std::path::Path;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r09_workers_of_two_users_share_no_layout,
        r11_a_worker_shares_no_memory_that_can_be_written,
        r12_nothing_of_whoever_started_httpd_reaches_a_worker,
        r18_privileged_groups_do_not_come_by_accident,
        f42_the_kernel_takes_workers_before_httpd_and_its_manager,
    ]);
}

/// R9
fn r09_workers_of_two_users_share_no_layout(case: &Case) {
    case.needs_root();
    let httpd = case
        .httpd()
        .bare()
        .script("hello.wsgi")
        .conf("WSGIDaemonProcess one user=games group=games\nWSGIDaemonProcess two user=daemon group=daemon")
        .conf("WSGIScriptAlias /one @SCRIPTS@/hello.wsgi process-group=one")
        .conf("WSGIScriptAlias /two @SCRIPTS@/hello.wsgi process-group=two")
        .start();
    assert_eq!(httpd.get("/one").status, 200);
    assert_eq!(httpd.get("/two").status, 200);
    let layouts: Vec<BTreeMap<String, String>> = httpd.workers().iter().map(|w| layout(w.pid)).collect();
    assert_eq!(layouts.len(), 2);
    for region in ["[stack]", "[heap]", "[vdso]"] {
        let same = layouts[0][region] == layouts[1][region];
        // The original's are forks of the same httpd.
        assert_eq!(same, case.theirs(), "{region} {}", layouts[0][region]);
    }
    if !case.theirs() {
        for worker in httpd.workers() {
            let program = std::fs::read_link(format!("/proc/{}/exe", worker.pid)).expect("exe");
            assert!(
                program.to_string_lossy().contains("python"),
                "{}",
                program.display()
            );
        }
    }
}

/// Where each named region begins.
fn layout(pid: u32) -> BTreeMap<String, String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let regions = maps.lines().filter_map(|line| {
        let (begin, rest) = line.split_once('-')?;
        Some((rest.split_whitespace().nth(5)?.to_owned(), begin.to_owned()))
    });
    let mut first = BTreeMap::new();
    for (name, begin) in regions {
        first.entry(name).or_insert(begin);
    }
    first
}

/// R11. What a worker shares to write there, it has made itself: large answers. What httpd has made, it can only read, and nobody else can open either.
fn r11_a_worker_shares_no_memory_that_can_be_written(case: &Case) {
    let httpd = hosted(case, "processes=1 threads=1")
        .children(1)
        .app("bulk.wsgi")
        .start();
    let maps = || -> Vec<(bool, String)> {
        let read = |pid| std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
        let all = httpd
            .workers()
            .iter()
            .map(|worker| (true, worker.pid))
            .collect::<Vec<_>>();
        let children = httpd
            .children()
            .iter()
            .map(|child| (false, child.pid))
            .collect::<Vec<_>>();
        let shared = |line: &&str| {
            line.split_whitespace()
                .nth(1)
                .is_some_and(|access| access.ends_with('s'))
        };
        [all, children]
            .concat()
            .into_iter()
            .flat_map(|(is_worker, pid)| {
                let maps = read(pid);
                maps.lines()
                    .filter(shared)
                    .map(|line| (is_worker, line.to_owned()))
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    assert_eq!(httpd.post("/echo", "small").status, 200);
    let writable = |(is_worker, line): &(bool, String)| *is_worker && line.contains(" rw-s ");
    // The original's daemons have httpd's scoreboard.
    assert_eq!(maps().iter().any(writable), case.theirs(), "{:?}", maps());
    if case.theirs() {
        return;
    }
    for _ in 0..3 {
        assert_eq!(httpd.post("/echo", vec![b'x'; 1 << 20]).body.len(), 1 << 20);
    }
    let mut seen = Vec::new();
    for (is_worker, line) in maps() {
        if line.contains("memfd:rwsgi-") {
            let access = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
            seen.push((is_worker, access, line.contains("rwsgi-answer")));
        } else {
            assert!(!(is_worker && line.contains(" rw-s ")), "{line}");
        }
    }
    seen.sort();
    let expected = [
        (false, "r--s", true),
        (false, "rw-s", false),
        (true, "r--s", false),
        (true, "rw-s", true),
    ];
    let expected = expected.map(|(is_worker, access, is_answer)| (is_worker, access.to_owned(), is_answer));
    assert_eq!(seen, expected);
}

/// Starts httpd as a careless administrator may. What needs a privilege that is missing here is left out.
const CARELESS: &str = r#"
import os, resource, signal, sys
os.umask(0)
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
for number in (signal.SIGHUP, signal.SIGALRM, signal.SIGVTALRM):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF, signal.SIGURG])
os.dup2(os.open("/etc/shadow", os.O_RDONLY), 42, inheritable=True)
try:
    open("/proc/self/oom_score_adj", "w").write("-100")
except OSError:
    pass
os.environ.update(CANARY="1", PATH="/nonexistent/x:" + os.environ["PATH"], TMPDIR="/nonexistent", PYTHONPATH="/nonexistent",
    PYTHONSTARTUP="/nonexistent", LD_LIBRARY_PATH="/nonexistent", BASH_ENV="/nonexistent", MALLOC_ARENA_MAX="1")
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// R12, R22, R24, R25, R26, R76, C1
fn r12_nothing_of_whoever_started_httpd_reaches_a_worker(case: &Case) {
    let httpd = hosted(case, "threads=2")
        .app("environ.wsgi")
        .launched_by(&[
            "setpriv",
            "--inh-caps",
            "+net_bind_service",
            "--ambient-caps",
            "+net_bind_service",
            "--securebits",
            "+no_setuid_fixup",
            "python3",
            "-c",
            CARELESS,
        ])
        .start();
    let about = httpd.get("/").json()["_"].clone();
    if case.theirs() {
        assert_eq!(about["environment"]["CANARY"], "1");
        return;
    }
    let names: Vec<&String> = about["environment"].as_object().expect("names").keys().collect();
    assert_eq!(
        names
            .into_iter()
            .filter(|name| *name != "LC_CTYPE")
            .collect::<Vec<_>>(),
        ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER"]
    );
    assert!(
        !about["environment"]["PATH"]
            .as_str()
            .expect("PATH")
            .contains("nonexistent")
    );
    let workers = httpd.workers();
    assert_eq!(workers.len(), 1);
    for process in workers.iter().chain(&httpd.manager()) {
        let all = process.descriptor_targets();
        assert!(
            all.iter()
                .all(|(number, target)| *number != 42 && !target.contains("shadow")),
            "{all:?}"
        );
        let environment = process.environment();
        assert!(
            !environment
                .iter()
                .any(|all| all.contains("nonexistent") || all.contains("CANARY")),
            "{environment:?}"
        );
    }
    let of = |field: &str| workers[0].status(field).expect("a field of the status");
    let mask = |field: &str| u64::from_str_radix(&of(field), 16).expect("a mask");
    assert_eq!(of("Umask"), "0022");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(mask(set), 0, "{set}");
    }
    assert_eq!(mask("SigBlk"), 0);
    // Python itself ignores SIGPIPE (13) and SIGXFSZ (25).
    assert_eq!(mask("SigIgn") & !(1 << 12 | 1 << 24), 0, "{}", of("SigIgn"));
    let file = |name: &str| {
        std::fs::read_to_string(format!("/proc/{}/{name}", workers[0].pid)).expect("a file of the process")
    };
    assert_eq!(file("oom_score_adj").trim(), "200");
    let limits = file("limits");
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let core: Vec<&str> = core.expect("a limit").split_whitespace().take(2).collect();
    assert_eq!(core, ["0", "0"]);
}

/// F42: by a fifth of the machine's memory, whatever httpd has been given.
fn f42_the_kernel_takes_workers_before_httpd_and_its_manager(case: &Case) {
    case.needs_ours("its daemons are equal to httpd's children");
    let score = |pid: u32| -> i32 {
        let text =
            std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("a file of the process");
        text.trim().parse().expect("a number")
    };
    for (given, expected) in [("300", 500), ("900", 1000)] {
        let httpd = hosted(case, "threads=2")
            .app("hello.wsgi")
            .launched_by(&["choom", "-n", given, "--"])
            .start();
        assert_eq!(httpd.get("/").status, 200);
        let of_workers: Vec<i32> = httpd.workers().iter().map(|worker| score(worker.pid)).collect();
        assert_eq!(of_workers, [expected]);
        assert_eq!(score(httpd.manager().expect("a manager").pid).to_string(), given);
        httpd.stop();
    }
}

/// R18, C10
fn r18_privileged_groups_do_not_come_by_accident(case: &Case) {
    case.needs_root();
    let database = std::fs::read_to_string("/etc/group").expect("/etc/group");
    let shadow: u64 = database
        .lines()
        .find_map(|line| line.strip_prefix("shadow:x:")?.split(':').next()?.parse().ok())
        .expect("the group shadow");
    let member: Vec<String> = database
        .lines()
        .map(|line| match line.strip_prefix("shadow:") {
            Some(_) if line.ends_with(':') => format!("{line}{USER}\n"),
            Some(_) => format!("{line},{USER}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    with_file_replaced(Path::new("/etc/group"), member.concat(), || {
        if case.theirs() {
            let httpd = hosted(case, "threads=1").app("environ.wsgi").start();
            assert!(groups(&httpd).contains(&shadow));
            return;
        }
        let said = hosted(case, "threads=1").app("environ.wsgi").refused();
        assert!(
            said.contains(&format!(
                "user={USER} would run the application in the group 'shadow'"
            )) && said.contains("supplementary-groups="),
            "{said}"
        );
        let httpd = hosted(case, "supplementary-groups=mail")
            .app("environ.wsgi")
            .start();
        assert!(!groups(&httpd).contains(&shadow));
        // In the original's place, its configurations still start.
        let httpd = hosted(case, "threads=1")
            .identity("wsgi_module")
            .app("environ.wsgi")
            .start();
        assert!(!groups(&httpd).contains(&shadow));
        httpd.wait_log("runs the application without the group 'shadow'");
        httpd.provoked(&[&["RW0015"]]);
    });
    if !case.theirs() {
        for option in ["group=root", "group=#0", "supplementary-groups=mail,root"] {
            let said = case
                .httpd()
                .bare()
                .conf(&format!("WSGIDaemonProcess g user={USER} {option}"))
                .refused();
            assert!(said.contains("is the group root"), "{option}: {said}");
        }
    }
}

fn groups(httpd: &Httpd) -> Vec<u64> {
    let about = httpd.get("/").json()["_"].clone();
    let groups = about["groups"].as_array().expect("groups").clone();
    groups.iter().filter_map(Value::as_u64).collect()
}
