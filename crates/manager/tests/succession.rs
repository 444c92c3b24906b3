//! The manager dies, and another one goes on: with the same workers, pools and sockets, whatever was under way. The workers are shell
//! scripts.

// The tests of supervision use the rest of it.
#[allow(dead_code)]
mod double;

use std::time::{Duration, Instant};

use double::{Httpd, SERVE, SERVE_ON, children, eventually, is_alive, kill};
use rwsgi_os::process::{self, End, Pid};
use rwsgi_os::signal::Signal;
use rwsgi_os::socket::{self, Kind, Mode};
use rwsgi_wire::control::{Answer, Ask, DeathKind, ToHttpd};

fn death_of(httpd: &Httpd, pid: Pid) -> (DeathKind, String) {
    match httpd.ask(&Ask::Death { pid: pid.0 as u32 }) {
        Answer::Death { kind, text } => (kind, String::from_utf8(text).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn signal(pid: Pid, signal: Signal) {
    process::signal(process::open(pid).unwrap(), signal).unwrap();
}

// F26, R70, R71
#[test]
fn f26_workers_outlive_the_manager_and_the_next_one_goes_on_with_them() {
    let mut httpd = Httpd::start("succession");
    let home = httpd.python("py", SERVE_ON);
    let mut group = httpd.group("site", &home);
    group.processes = 2;
    httpd.configure(&[group.clone()]);
    let path = httpd.pool("site");
    httpd.nth_ready(2);
    let workers = httpd.ready();
    for _ in 0..10 {
        httpd.next_manager();
        assert_eq!(httpd.pool("site"), path, "the same socket");
        assert!(workers.iter().all(|worker| is_alive(*worker)));
        assert_eq!(
            death_of(&httpd, workers[0]).0,
            DeathKind::Alive,
            "and it is known"
        );
    }
    assert_eq!(
        httpd.log().matches(" starts for ").count(),
        2,
        "no other was started"
    );
    socket::connect(Kind::Stream, &path, Mode::Blocking).unwrap();
    // It is still seen to die, by a manager that is not its parent, and replaced.
    kill(workers[0]);
    httpd.logged(" starts for ", 3);
    let (kind, text) = death_of(&httpd, workers[0]);
    assert_eq!(kind, DeathKind::Signal);
    assert!(text.contains("signal 9 (SIGKILL"), "{text}");
    // A configuration that is the same keeps the other, one that is not replaces it.
    httpd.nth_ready(3);
    assert_eq!(httpd.configure(&[group.clone()]), ToHttpd::Ready);
    assert_eq!(httpd.pool("site"), path);
    group.threads = 3;
    assert_eq!(httpd.configure(&[group]), ToHttpd::Ready);
    assert_ne!(httpd.pool("site"), path);
    eventually("the end of the old ones", || {
        (!is_alive(workers[1])).then_some(())
    });
    httpd.logged("RW0410", 10);
    assert_eq!(httpd.stop(), End::Exit(0));
    assert!(!std::path::Path::new(&httpd.runtime_dir()).exists());
}

// F26: what a worker died of while there was no manager is known to the next one.
#[test]
fn f26_a_worker_that_dies_with_the_manager_is_missed_and_replaced() {
    let mut httpd = Httpd::start("together");
    let home = httpd.python("py", SERVE_ON);
    httpd.configure(&[httpd.group("site", &home)]);
    httpd.pool("site");
    for n in 1..=3 {
        let worker = httpd.nth_ready(n);
        // Stopped, so that it is the keeper who sees the end.
        let manager = httpd.manager();
        signal(manager, Signal(19));
        kill(worker);
        kill(manager);
        httpd.logged("RW0410", n);
        httpd.nth_ready(n + 1);
        let (kind, text) = death_of(&httpd, worker);
        assert_eq!(kind, DeathKind::Signal, "{text}\n{}", httpd.log());
    }
    httpd.logged("RW0453", 3);
}

// F27
#[test]
fn f27_a_worker_that_is_not_ready_ends_with_its_manager_and_another_one_starts() {
    let mut httpd = Httpd::start("halfborn");
    let place = httpd.place.to_str().unwrap().to_owned();
    std::fs::write(format!("{place}/slow"), "").unwrap();
    // It does not lift the death with its parent before it is ready, as no worker does.
    let script = format!("[ ! -e {place}/slow ] || sleep 1000; {SERVE}");
    let home = httpd.python("py", &script);
    httpd.configure(&[httpd.group("site", &home)]);
    httpd.pool("site");
    for n in 1..=5 {
        httpd.logged(" starts for ", n);
        let log = httpd.log();
        let started = log.lines().rfind(|line| line.contains(" starts for ")).unwrap();
        let pid = started.split_once("] worker ").unwrap().1;
        let pid = Pid(pid.split_once(' ').unwrap().0.parse().unwrap());
        if n == 5 {
            std::fs::remove_file(format!("{place}/slow")).unwrap();
        }
        httpd.next_manager();
        eventually("the end of the half-born", || (!is_alive(pid)).then_some(()));
    }
    httpd.nth_ready(1);
    assert_eq!(httpd.log().matches("RW0451").count(), 0, "nobody is blamed");
    assert_eq!(httpd.log().matches("RW0455").count(), 0, "and nobody waits");
}

// F27, R70: killed at moments that nobody chooses, while workers start.
#[test]
fn f27_no_worker_is_left_over_or_doubled_when_managers_die_while_they_start() {
    let mut httpd = Httpd::start("midstart");
    let home = httpd.python("py", SERVE_ON);
    httpd.configure(&[httpd.group("site", &home)]);
    let path = httpd.pool("site");
    for round in 0..15u64 {
        if let Some(worker) = httpd.ready().last().filter(|worker| is_alive(**worker)) {
            kill(*worker);
        }
        let until = Instant::now() + Duration::from_millis(round * 3 % 20);
        while Instant::now() < until {
            std::thread::yield_now();
        }
        httpd.next_manager();
    }
    eventually("one worker, and no other process", || {
        let _ = socket::connect(Kind::Stream, &path, Mode::NonBlocking);
        let manager = httpd.manager();
        let mut all = children(httpd.keeper);
        all.extend(children(manager));
        all.retain(|pid| *pid != manager && is_alive(*pid));
        (all.len() == 1 && httpd.ready().contains(&all[0])).then_some(())
    });
}

// F28
#[test]
fn f28_a_manager_that_is_stopped_is_replaced_within_ten_seconds() {
    let mut httpd = Httpd::start("stopped");
    let home = httpd.python("py", SERVE_ON);
    httpd.configure(&[httpd.group("site", &home)]);
    let path = httpd.pool("site");
    let worker = httpd.nth_ready(1);
    let start = Instant::now();
    signal(httpd.manager(), Signal(19));
    httpd.logged("RW0410", 1);
    assert!(start.elapsed() < Duration::from_secs(18), "{:?}", start.elapsed());
    assert_eq!(httpd.pool("site"), path);
    assert!(is_alive(worker));
}

// F26, F35: httpd does not lose its configuration, at whatever moment the manager dies.
#[test]
fn f26_a_configuration_is_taken_whole_from_whoever_dies_in_between() {
    let mut httpd = Httpd::start("torn");
    let home = httpd.python("py", SERVE_ON);
    let mut group = httpd.group("site", &home);
    httpd.configure(&[group.clone()]);
    httpd.pool("site");
    httpd.nth_ready(1);
    for n in 1..=20 {
        group.threads = n;
        let manager = httpd.manager();
        let killer = std::thread::spawn(move || {
            let until = Instant::now() + Duration::from_micros(u64::from(n) * 150);
            while Instant::now() < until {}
            kill(manager);
        });
        assert_eq!(httpd.configure(&[group.clone()]), ToHttpd::Ready);
        killer.join().unwrap();
        httpd.logged("RW0410", n as usize);
    }
    httpd.pool("site");
}

// F38
#[test]
fn f38_when_the_keeper_is_killed_the_manager_and_what_listens_to_it_end() {
    let mut httpd = Httpd::start("keeper");
    let home = httpd.python("py", SERVE_ON);
    httpd.configure(&[httpd.group("site", &home)]);
    httpd.pool("site");
    let (worker, manager) = (httpd.nth_ready(1), httpd.manager());
    kill(httpd.keeper);
    eventually("the end of both", || {
        (!is_alive(manager) && !is_alive(worker)).then_some(())
    });
    assert_eq!(httpd.stop(), End::Signal(9));
}

// F31
#[test]
fn f31_a_manager_without_descriptors_waits_for_them_and_goes_on() {
    let mut httpd = Httpd::start("nofile");
    let home = httpd.python("py", SERVE_ON);
    httpd.configure(&[httpd.group("site", &home)]);
    let path = httpd.pool("site");
    httpd.nth_ready(1);
    let manager = httpd.manager();
    let held = std::fs::read_dir(format!("/proc/{manager}/fd")).unwrap().count();
    let limit = |limit: usize| {
        let done = std::process::Command::new("prlimit")
            .args([format!("--pid={manager}"), format!("--nofile={limit}:")])
            .status();
        assert!(done.unwrap().success());
    };
    limit(held);
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{manager}/stat")).unwrap();
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|n| n.parse().unwrap())
            .collect();
        fields.iter().sum::<u64>()
    };
    let address = format!("{}/manager.sock", httpd.runtime_dir());
    let waiting: Vec<_> = (0..5)
        .map(|_| socket::connect(Kind::SeqPacket, address.as_bytes(), Mode::Blocking).unwrap())
        .collect();
    let (before, start) = (used(), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let ticks = used() - before;
    // 100 ticks are a second.
    assert!(
        ticks < 10,
        "{ticks} ticks of processor time in {:?}",
        start.elapsed()
    );
    drop(waiting);
    limit(1000);
    assert_eq!(httpd.pool("site"), path);
    httpd.logged("RW0406", 1);
}
