//! Killed processes: a worker, the manager, httpd's parent; and workers that cannot even start.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Load, Process, Signal, Topic, mpm, test, until};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        a_killed_worker_is_replaced,
        a_worker_that_cannot_load_backs_off,
        f26_warm_sites_do_not_notice_that_managers_are_killed,
        f26_a_first_request_waits_for_the_next_manager,
        f28_a_stopped_manager_costs_first_requests_a_503_and_warm_ones_nothing,
        f31_a_manager_without_descriptors_keeps_warm_sites_and_comes_back,
        f30_without_processes_to_be_had_idle_workers_make_room_and_warm_ones_serve,
        f30_threads_that_cannot_be_started_are_a_start_that_failed,
        f30_a_user_at_its_process_limit_is_waited_for,
        f27_no_worker_is_lost_or_doubled_while_managers_die_at_starts,
        a_killed_keeper_is_replaced,
        a_killed_parent_takes_workers_and_manager_along,
        a_terminated_worker_finishes_its_request,
    ]);
}

const SLOW: Duration = Duration::from_secs(15);

fn pid(httpd: &Httpd) -> u64 {
    httpd.get("/").json()["pid"].as_u64().expect("pid")
}

fn a_killed_worker_is_replaced(case: &Case) {
    let httpd = case.httpd().daemon("threads=2").app("state.wsgi").start();
    for _ in 0..3 {
        let before = pid(&httpd);
        signal(before, Signal::SIGKILL);
        until("the worker to be gone", SLOW, || {
            Process::read(before as u32).is_none_or(|p| p.state == 'Z')
        });
        // It was idle: nobody's request is lost.
        let reply = httpd.get("/");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_ne!(reply.json()["pid"].as_u64(), Some(before));
    }
    httpd.provoked(&[codes::DEATH]);
}

/// R63, F6, F30, F39
fn a_worker_that_cannot_load_backs_off(case: &Case) {
    case.needs_ours("it starts again without a pause");
    let source =
        "import os\nopen(__file__.replace('scripts/app.wsgi', 'data/starts'), 'a').write('x')\nos._exit(5)\n";
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .source("/", "app.wsgi", source)
        .start();
    let status = httpd.get("/").status;
    assert!(matches!(status, 500 | 502 | 503), "{status}");
    let again = httpd.get("/").status;
    assert!(matches!(again, 500 | 502 | 503), "{again}");
    httpd.wait_log("status 5");
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF]);
    let starts = || std::fs::read(httpd.data().join("starts")).map_or(0, |text| text.len());
    assert!(starts() < 6, "{} starts for two requests", starts());
}

/// Kills the manager; answers how long it took until another one went on.
pub fn next_manager(httpd: &Httpd) -> Duration {
    let said = httpd.log_with("RW0410").len();
    let start = Instant::now();
    signal(
        u64::from(httpd.manager().expect("a manager").pid),
        Signal::SIGKILL,
    );
    until("another manager", SLOW, || httpd.log_with("RW0410").len() > said);
    start.elapsed()
}

fn pids(httpd: &Httpd) -> Vec<u32> {
    let mut pids: Vec<u32> = httpd.workers().iter().map(|worker| worker.pid).collect();
    pids.sort_unstable();
    pids
}

/// F26, R70, R71, F29
fn f26_warm_sites_do_not_notice_that_managers_are_killed(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=3")
        .app("state.wsgi")
        .start();
    until("both workers", SLOW, || {
        httpd.get("/").status == 200 && httpd.log_with(" is ready").len() == 2
    });
    httpd.provoked(&[codes::MANAGER]);
    let before = pids(&httpd);
    let load = Load::start(&httpd, "/", 2, |reply| reply.status == 200);
    let mut worst = Duration::ZERO;
    for round in 0..case.rounds(10, 200) as u64 {
        load.more(1 + (round * 7 % 31) as usize);
        worst = worst.max(next_manager(&httpd));
    }
    println!("at most {worst:?} without a manager");
    // httpd's restarts go on, too, and keep the workers.
    httpd.graceful();
    next_manager(&httpd);
    httpd.graceful();
    load.more(20);
    assert_eq!(load.stop(), Vec::<String>::new());
    assert_eq!(pids(&httpd), before);
    // One that hung would be missed for ten.
    assert!(worst < Duration::from_secs(6), "{worst:?} without a manager");
}

/// F26
fn f26_a_first_request_waits_for_the_next_manager(case: &Case) {
    case.needs_ours("it has no manager");
    let rounds = case.rounds(8, 100);
    let scripts: String = (0..rounds)
        .map(|n| {
            format!(
                "WSGIScriptAlias /cold{n} @SCRIPTS@/life.wsgi application-group=cold{n} process-group=site\n"
            )
        })
        .collect();
    let httpd = case
        .httpd()
        .daemon("threads=1")
        .script("life.wsgi")
        .conf(&scripts)
        .start();
    httpd.provoked(&[codes::MANAGER]);
    let base = {
        let start = Instant::now();
        assert_eq!(httpd.get("/cold0/pid").status, 200);
        start.elapsed()
    };
    for n in 1..rounds {
        let manager = httpd.manager().expect("a manager");
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(n as u64 * 5 % 40));
                manager.signal(Signal::SIGKILL);
            });
            let reply = httpd.get(&format!("/cold{n}/pid"));
            assert_eq!(reply.status, 200, "{}", reply.text());
        });
        let took = start.elapsed();
        assert!(took < base * 3 + SLOW, "{took:?}, and {base:?} undisturbed");
        until("another manager", SLOW, || httpd.log_with("RW0410").len() == n);
    }
    until("one worker for each", SLOW, || httpd.workers().len() == rounds);
}

/// F28
fn f28_a_stopped_manager_costs_first_requests_a_503_and_warm_ones_nothing(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = case
        .httpd()
        .daemon("threads=2")
        // One child, so that every child has asked for the pool that is warm.
        .children(1)
        .conf("WSGIScriptAlias /cold @SCRIPTS@/life.wsgi application-group=cold process-group=site")
        .app("life.wsgi")
        .start();
    if mpm() == "prefork" {
        case.skip("each child of prefork has to ask once");
    }
    assert_eq!(httpd.get("/pid").status, 200);
    httpd.provoked(&[codes::MANAGER]);
    let before = pids(&httpd);
    let manager = httpd.manager().expect("a manager");
    let load = Load::start(&httpd, "/pid", 1, |reply| reply.status == 200);
    let start = Instant::now();
    manager.signal(Signal::SIGSTOP);
    let reply = httpd.get("/cold/pid");
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.header("retry-after").is_some());
    assert!(
        start.elapsed() < Duration::from_secs(4) + SLOW,
        "{:?}",
        start.elapsed()
    );
    until("another manager", SLOW, || !httpd.log_with("RW0410").is_empty());
    assert!(
        start.elapsed() < Duration::from_secs(11) + SLOW,
        "{:?}",
        start.elapsed()
    );
    assert_eq!(httpd.get("/cold/pid").status, 200);
    assert_eq!(load.stop(), Vec::<String>::new());
    assert!(before.iter().all(|pid| pids(&httpd).contains(pid)));
}

/// Sets how many descriptors a process may have from now on.
fn limit_descriptors(pid: u32, count: u32) {
    let status = std::process::Command::new("prlimit")
        .args([format!("--pid={pid}"), format!("--nofile={count}:")])
        .status();
    assert!(status.expect("prlimit").success());
}

/// Processor time of a process so far.
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().expect("ticks"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// F31
fn f31_a_manager_without_descriptors_keeps_warm_sites_and_comes_back(case: &Case) {
    case.needs_ours("it has no manager");
    case.needs_root();
    case.needs_threads();
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .children(1)
        .conf("WSGIScriptAlias /cold @SCRIPTS@/life.wsgi application-group=cold process-group=site")
        .app("life.wsgi")
        .start();
    assert_eq!(httpd.get("/pid").status, 200);
    httpd.provoked(&[codes::MANAGER, codes::BACK_OFF, &["RW0310", "RW0406"]]);
    let manager = httpd.manager().expect("a manager");
    // All of them are taken.
    limit_descriptors(manager.pid, 3);
    let load = Load::start(&httpd, "/pid", 1, |reply| reply.status == 200);
    load.more(5);
    let (start, used) = (Instant::now(), processor_time(manager.pid));
    let reply = httpd.get("/cold/pid");
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.header("retry-after").is_some());
    // A door that nobody can come in by is no reason to be awake.
    let (took, used) = (start.elapsed(), processor_time(manager.pid) - used);
    assert!(took < SLOW, "{took:?}");
    assert!(
        used < took / 4 + Duration::from_millis(200),
        "{used:?} of {took:?}"
    );
    limit_descriptors(manager.pid, 1024);
    until("the cold one to be served", SLOW * 2, || {
        httpd.get("/cold/pid").status == 200
    });
    assert_eq!(load.stop(), Vec::<String>::new());
    assert_eq!(httpd.manager().map(|now| now.pid), Some(manager.pid));
}

/// F30, F45: httpd, the manager and all workers together may have no more processes and threads than they have.
fn f30_without_processes_to_be_had_idle_workers_make_room_and_warm_ones_serve(case: &Case) {
    case.needs_root();
    case.needs_ours("it starts its daemons with httpd");
    if mpm() == "prefork" {
        case.skip("httpd needs processes itself");
    }
    let group = |name: &str, threads: u32| {
        format!(
            "WSGIDaemonProcess {name} processes=1 min-processes=0 idle-timeout=600 threads={threads}\n\
             WSGIScriptAlias /{name} @SCRIPTS@/life.wsgi process-group={name} application-group=%{{GLOBAL}}"
        )
    };
    let httpd = case
        .httpd()
        .daemon("processes=1 threads=2")
        .conf(&group("first", 8))
        .conf(&group("second", 2))
        .app("life.wsgi")
        .start();
    let processes = Processes::of(case, &httpd);
    let load = Load::start(&httpd, "/pid", 2, |reply| reply.status == 200);
    load.more(50);

    // Nobody is idle: it waits, and is tried again.
    processes.allow_more(0);
    is_turned_away(&httpd, "/first/pid");
    httpd.wait_log("RW0408");
    httpd.wait_log("fork failed: Resource temporarily unavailable");
    httpd.provoked(&[codes::BACK_OFF]);
    let used = processor_time(httpd.manager().expect("a manager").pid);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        is_turned_away(&httpd, "/first/pid");
        std::thread::sleep(Duration::from_millis(50));
    }
    let used = processor_time(httpd.manager().expect("a manager").pid) - used;
    assert!(used < Duration::from_secs(1), "{used:?}");
    let tries = httpd.log_with("RW0408").len();
    assert!(tries < 4, "{tries} tries in two seconds");
    processes.allow_any();
    until("the first one to be served", SLOW, || {
        httpd.get("/first/pid").status == 200
    });

    // One is: it ends for the other.
    let idle: u32 = httpd.get("/first/pid").text().parse().expect("pid");
    processes.allow_more(0);
    until("the second one to be served", SLOW, || {
        httpd.get("/second/pid").status == 200
    });
    assert!(Process::read(idle).is_none_or(|p| p.state == 'Z'), "the idle one");
    assert!(httpd.log_with("RW0408").len() > tries);
    processes.allow_any();
    assert_eq!(load.stop(), Vec::<String>::new());
}

/// F30, F45: there is room for the process of a worker, but not for its threads.
fn f30_threads_that_cannot_be_started_are_a_start_that_failed(case: &Case) {
    case.needs_root();
    case.needs_ours("it starts its daemons with httpd");
    if mpm() == "prefork" {
        case.skip("httpd needs processes itself");
    }
    let httpd = case
        .httpd()
        .daemon("processes=1 threads=6")
        .conf("WSGIScriptAlias /other @SCRIPTS@/life.wsgi application-group=other")
        .app("life.wsgi")
        .start();
    let processes = Processes::of(case, &httpd);
    let load = Load::start(&httpd, "/pid", 2, |reply| reply.status == 200);
    load.more(50);
    processes.allow_more(3);
    let starts = || httpd.log_with(" starts for ").len();
    let before = starts();
    for _ in 0..20 {
        is_turned_away(&httpd, "/other/pid");
    }
    httpd.wait_log("RW0663");
    httpd.wait_log("before it was ready");
    httpd.provoked(&[codes::BACK_OFF]);
    assert!(
        starts() - before < 5,
        "{} starts for 20 requests",
        starts() - before
    );
    processes.allow_any();
    until("the other one to be served", SLOW, || {
        httpd.get("/other/pid").status == 200
    });
    assert_eq!(load.stop(), Vec::<String>::new());
}

fn is_turned_away(httpd: &Httpd, path: &str) {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.header("retry-after").is_some());
}

/// How many processes and threads httpd may have, with all that it has started.
struct Processes(PathBuf);

impl Processes {
    fn of(case: &Case, httpd: &Httpd) -> Self {
        let group = httpd.control_groups().first().and_then(|tree| tree.parent());
        match group.filter(|group| group.join("pids.max").exists()) {
            Some(group) => Self(group.to_owned()),
            None => case.skip("the processes of httpd cannot be counted here"),
        }
    }

    /// So many more than there are.
    fn allow_more(&self, more: u32) {
        let current = std::fs::read_to_string(self.0.join("pids.current")).expect("pids.current");
        let current: u32 = current.trim().parse().expect("a number");
        self.set(&(current + more).to_string());
    }

    fn allow_any(&self) {
        self.set("max");
    }

    fn set(&self, most: &str) {
        std::fs::write(self.0.join("pids.max"), most).expect("pids.max");
    }
}

/// R23, F30: the limit of a user that the manager was started with.
fn f30_a_user_at_its_process_limit_is_waited_for(case: &Case) {
    case.needs_root();
    case.needs_ours("its daemons are not executed");
    let httpd = case
        .httpd()
        .daemon("user=games group=games threads=2")
        .conf("WSGIScriptAlias /other @SCRIPTS@/life.wsgi application-group=other")
        .app("life.wsgi")
        .start();
    assert_eq!(httpd.get("/pid").status, 200);
    let manager = httpd.manager().expect("a manager").pid;
    let limits = std::fs::read_to_string(format!("/proc/{manager}/limits")).expect("limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max processes"));
    let before = line
        .and_then(|line| line.split_whitespace().next())
        .expect("a limit");
    let limit = |most: &str| {
        let status = std::process::Command::new("prlimit")
            .args([format!("--pid={manager}"), format!("--nproc={most}:")])
            .status();
        assert!(status.expect("prlimit").success());
    };
    limit("1");
    let reply = httpd.get("/other/pid");
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.header("retry-after").is_some());
    httpd.wait_log("RW0431");
    httpd.wait_log("may be at its process limit");
    assert_eq!(httpd.get("/pid").status, 200, "the one that runs");
    limit(before);
    until("the other one to be served", SLOW, || {
        httpd.get("/other/pid").status == 200
    });
    httpd.provoked(&[codes::BACK_OFF]);
}

/// F27: workers are replaced all the time while managers die.
fn f27_no_worker_is_lost_or_doubled_while_managers_die_at_starts(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=2 maximum-requests=5")
        .app("state.wsgi")
        .start();
    httpd.provoked(&[codes::MANAGER]);
    let load = Load::start(&httpd, "/", 2, |reply| reply.status == 200);
    for round in 0..case.rounds(10, 100) {
        load.more(1 + round * 7 % 13);
        next_manager(&httpd);
    }
    assert_eq!(load.stop(), Vec::<String>::new());
    until("two workers", SLOW, || httpd.workers().len() == 2);
}

/// F38: as if all had been killed that stays root.
fn a_killed_keeper_is_replaced(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = case.httpd().daemon("threads=2").app("state.wsgi").start();
    let before = pid(&httpd);
    let keeper = httpd.keeper().expect("a keeper");
    signal(u64::from(keeper.pid), Signal::SIGKILL);
    until("another keeper", SLOW, || {
        httpd.keeper().is_some_and(|now| now.pid != keeper.pid) && httpd.manager().is_some()
    });
    until("answers again", SLOW, || httpd.get("/").status == 200);
    until("one set of workers", SLOW, || httpd.workers().len() == 1);
    assert_ne!(pid(&httpd), before);
    httpd.provoked(&[&["RW0022"], codes::MANAGER, codes::DEATH]);
}

/// R4, R70, N5, F38
fn a_killed_parent_takes_workers_and_manager_along(case: &Case) {
    case.needs_ours("its daemons stay");
    let httpd = case.httpd().daemon("processes=2").app("state.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    let mut ours = httpd.workers();
    ours.extend(httpd.manager());
    ours.extend(httpd.keeper());
    assert_eq!(ours.len(), 4);
    let children = httpd.children();
    signal(u64::from(httpd.parent().expect("parent").pid), Signal::SIGKILL);
    until("manager and workers to end", SLOW, || {
        ours.iter()
            .all(|p| Process::read(p.pid).is_none_or(|now| now.state == 'Z'))
    });
    // httpd's own children outlive their parent and hold the port: httpd's behaviour, not ours.
    for child in children {
        signal(u64::from(child.pid), Signal::SIGKILL);
    }
    httpd.was_killed();
}

fn a_terminated_worker_finishes_its_request(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=2 shutdown-timeout=20")
        .app("streams.wsgi")
        .start();
    let worker: u64 = httpd.get("/pid").text().parse().expect("pid");
    let mut raw = httpd.raw_get("/slow_compute");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    signal(worker, Signal::SIGTERM);
    std::fs::write(httpd.data().join("go"), "").expect("go");
    let reply = raw.reply();
    assert_eq!((reply.head.status, reply.body.as_slice()), (200, &b"done"[..]));
    until("the old worker to end", SLOW, || {
        Process::read(worker as u32).is_none_or(|p| p.state == 'Z')
    });
}

fn signal(pid: u64, signal: Signal) {
    Process::read(pid as u32).expect("a process").signal(signal);
}
