//! The real manager with workers whose Python is a shell script: life, death, refusals, reconfiguration, end.

// The tests of succession use the rest of it.
#[allow(dead_code)]
mod double;

use std::collections::HashMap;
use std::time::Duration;

use double::{Httpd, SERVE, children, eventually, is_alive, kill, question, worker_uid};
use rwsgi_os::process::{End, Pid};
use rwsgi_os::socket::{self, Kind, Mode};
use rwsgi_os::{OwnedFd, fd, ids, message, poll};
use rwsgi_wire::admin::{Query, Report};
use rwsgi_wire::control::{Answer, Ask, Begin, DeathKind, FromHttpd, FromWorker, Preload, ToHttpd};
use rwsgi_wire::limits::CONTROL_MAX;
use rwsgi_wire::response::{AbortReason, Level};

fn death_of(httpd: &Httpd, pid: Pid) -> (DeathKind, String) {
    match httpd.ask(&Ask::Death { pid: pid.0 as u32 }) {
        Answer::Death { kind, text } => (kind, String::from_utf8(text).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pool_starts_when_it_is_asked_for_and_nothing_is_left_after_stop() {
    let mut httpd = Httpd::start("life");
    let home = httpd.python("py", SERVE);
    let mut group = httpd.group("site", &home);
    group.processes = 2;
    assert_eq!(httpd.configure(&[group]), ToHttpd::Ready);
    assert!(
        httpd.ready().is_empty() && !httpd.log().contains(" starts for "),
        "nobody has asked yet"
    );
    let path = httpd.pool("site");
    assert_eq!(httpd.pool("site"), path, "the same pool for the same question");
    httpd.nth_ready(2);
    socket::connect(Kind::Stream, &path, Mode::Blocking).unwrap();
    let workers = httpd.ready();
    assert_eq!(httpd.stop(), End::Exit(0));
    assert!(workers.iter().all(|w| !is_alive(*w)));
    assert!(!std::path::Path::new(&httpd.runtime_dir()).exists());
}

#[test]
fn a_preloaded_pool_starts_with_the_configuration() {
    let mut httpd = Httpd::start("preload");
    let mut group = httpd.group("site", &httpd.python("py", SERVE));
    group.preload = vec![Preload {
        application_group: b"app".to_vec(),
        script: b"/app.wsgi".to_vec(),
        mtime: 0,
    }];
    httpd.configure(&[group]);
    httpd.nth_ready(1);
}

#[test]
fn a_worker_that_dies_is_replaced_and_its_cause_of_death_is_known() {
    let mut httpd = Httpd::start("death");
    let home = httpd.python("py", SERVE);
    httpd.configure(&[httpd.group("site", &home)]);
    httpd.pool("site");
    let first = httpd.nth_ready(1);
    kill(first);
    let (kind, text) = death_of(&httpd, first);
    assert_eq!(kind, DeathKind::Signal);
    assert!(text.contains("signal 9 (SIGKILL"), "{text}");
    let second = httpd.nth_ready(2);
    assert!(is_alive(second));
    assert_eq!(death_of(&httpd, second).0, DeathKind::Alive);
    assert_eq!(death_of(&httpd, Pid(1)).0, DeathKind::Unknown);
    httpd.logged("RW0453", 1);
}

// F15
#[test]
fn processes_left_by_a_dead_worker_die_with_it() {
    let mut httpd = Httpd::start("strays");
    let script = format!("(echo stray $(sh -c 'echo $PPID'); sleep 1000) & {SERVE}");
    let home = httpd.python("py", &script);
    httpd.configure(&[httpd.group("site", &home)]);
    httpd.pool("site");
    let worker = httpd.nth_ready(1);
    httpd.logged(" stray ", 1);
    let log = httpd.log();
    let stray = log.split_once(" stray ").unwrap().1.split('\n').next().unwrap();
    let stray = Pid(stray.parse().unwrap());
    assert!(is_alive(stray));
    kill(worker);
    eventually("the end of the stray", || (!is_alive(stray)).then_some(()));
}

#[test]
fn a_leaving_worker_is_replaced_before_it_has_ended_and_killed_if_it_does_not_end() {
    let mut httpd = Httpd::start("leave");
    // The first start leaves at once and ignores SIGTERM; the second stays.
    let place = httpd.place.to_str().unwrap().to_owned();
    std::fs::write(format!("{place}/first"), "").unwrap();
    let script = format!(
        r"if [ -e {place}/first ]; then
            printf '\001' >&4
            while [ -e {place}/first ]; do sleep 0.05; done
            printf '\002\003' >&4; trap '' TERM; while :; do sleep 1; done
        fi; {SERVE}"
    );
    let home = httpd.python("py", &script);
    httpd.configure(&[httpd.group("site", &home)]);
    httpd.pool("site");
    let first = httpd.nth_ready(1);
    std::fs::remove_file(format!("{place}/first")).unwrap();
    let second = httpd.nth_ready(2);
    assert!(is_alive(first) && is_alive(second));
    eventually("the end of the first", || (!is_alive(first)).then_some(()));
    httpd.logged("RW0454", 1);
    assert_eq!(death_of(&httpd, first).0, DeathKind::TimeLimit);
}

#[test]
fn a_worker_that_cannot_serve_is_a_refusal_for_every_connection_until_the_cause_is_gone() {
    let mut httpd = Httpd::start("cannot");
    let home = httpd.python("py", r"printf '\003\003\000\000\000why' >&4; exit 78");
    httpd.configure(&[httpd.group("site", &home)]);
    let path = httpd.pool("site");
    for _ in 0..3 {
        let (reason, retry_after, text) = httpd.abort_from(&path);
        assert_eq!((reason, retry_after, &text[..]), (AbortReason::Refused, 0, "why"));
    }
    httpd.logged("RW0450", 1);
    httpd.python("py", SERVE);
    eventually("a ready worker after the cause is gone", || {
        let _ = socket::connect(Kind::Stream, &path, Mode::NonBlocking);
        (!httpd.ready().is_empty()).then_some(())
    });
    httpd.logged("serves again", 1);
    assert_eq!(
        httpd.log().matches("RW0450").count(),
        1,
        "told once, not at each try"
    );
}

#[test]
fn a_worker_that_dies_before_it_is_ready_backs_off_and_recovers_by_itself() {
    let mut httpd = Httpd::start("backoff");
    let home = httpd.python("py", "exit 3");
    httpd.configure(&[httpd.group("site", &home)]);
    let path = httpd.pool("site");
    let (reason, retry_after, text) = httpd.abort_from(&path);
    assert_eq!(reason, AbortReason::BackOff);
    assert!(
        retry_after >= 1 && text.contains("exited with status 3"),
        "{retry_after} {text}"
    );
    httpd.python("py", SERVE);
    httpd.nth_ready(1);
    httpd.logged("RW0452", 1);
    httpd.logged("RW0455", 1);
}

#[test]
fn a_wrong_python_home_is_a_refusal_that_names_it() {
    let mut httpd = Httpd::start("home");
    httpd.configure(&[httpd.group("site", "/nonexistent/venv")]);
    let path = httpd.pool("site");
    let (reason, _, text) = httpd.abort_from(&path);
    assert_eq!(reason, AbortReason::Refused);
    assert!(
        text.contains("python-home=/nonexistent/venv does not exist"),
        "{text}"
    );
    httpd.logged("RW0441", 1);
}

#[test]
fn an_unchanged_group_keeps_its_workers_over_a_new_configuration_and_a_changed_one_does_not() {
    let mut httpd = Httpd::start("graceful");
    let home = httpd.python("py", SERVE);
    let (kept, changed) = (httpd.group("kept", &home), httpd.group("changed", &home));
    httpd.configure(&[kept.clone(), changed.clone()]);
    let kept_path = httpd.pool("kept");
    let first = httpd.nth_ready(1);
    let changed_path = httpd.pool("changed");
    let second = httpd.nth_ready(2);
    let mut other = changed.clone();
    other.threads = 7;
    assert_eq!(httpd.configure(&[kept, other]), ToHttpd::Ready);
    assert_eq!(httpd.pool("kept"), kept_path);
    assert!(is_alive(second), "the old one serves until the new one is ready");
    socket::connect(Kind::Stream, &changed_path, Mode::Blocking).unwrap();
    assert_ne!(httpd.pool("changed"), changed_path);
    let third = httpd.nth_ready(3);
    eventually("the end of the old one", || (!is_alive(second)).then_some(()));
    assert!(is_alive(first) && is_alive(third));
    let gone = socket::connect(Kind::Stream, &changed_path, Mode::Blocking).unwrap_err();
    assert!(gone.is_not_found(), "{gone}");
}

#[test]
fn workers_that_die_too_often_rest_for_a_moment_only() {
    let mut httpd = Httpd::start("crashes");
    let home = httpd.python("py", SERVE);
    httpd.configure(&[httpd.group("site", &home)]);
    let path = httpd.pool("site");
    for n in 1..=6 {
        kill(httpd.nth_ready(n));
    }
    httpd.logged("RW0455", 1);
    let waiting = socket::connect(Kind::Stream, &path, Mode::Blocking).unwrap();
    httpd.nth_ready(7);
    assert!(
        !poll::readable(&waiting, Some(Duration::ZERO)).unwrap(),
        "nobody was turned away"
    );
}

#[test]
fn a_group_that_is_gone_is_refused_by_name() {
    let mut httpd = Httpd::start("gone");
    httpd.configure(&[]);
    match httpd.ask(&question("nowhere")) {
        Answer::Refused { reason, text, .. } => {
            assert_eq!(reason, AbortReason::Refused);
            assert_eq!(text, b"there is no process group 'nowhere'");
        }
        other => panic!("{other:?}"),
    }
}

// C9, F39
#[test]
fn a_configuration_with_root_as_worker_is_refused_and_the_old_one_stays() {
    let mut httpd = Httpd::start("root");
    let home = httpd.python("py", SERVE);
    httpd.configure(&[httpd.group("site", &home)]);
    let mut root = httpd.group("site", &home);
    root.uid = 0;
    match httpd.configure(&[root]) {
        ToHttpd::Refused(text) => assert!(String::from_utf8_lossy(&text).contains("would run as root")),
        other => panic!("{other:?}"),
    }
    httpd.pool("site");
    httpd.nth_ready(1);
}

// R7, F24
#[test]
fn r7_what_another_build_of_httpds_module_says_is_not_read_and_changes_nothing() {
    let mut httpd = Httpd::start("other");
    let home = httpd.python("py", SERVE);
    httpd.configure(&[httpd.group("site", &home)]);
    httpd.pool("site");
    let worker = httpd.nth_ready(1);
    let mut begin = FromHttpd::Begin(Begin::default()).encode();
    begin[1] ^= 0x40;
    message::send(&httpd.control, &begin).unwrap();
    message::send(&httpd.control, &FromHttpd::Commit.encode()).unwrap();
    let mut buffer = [0; 4096];
    let n = message::receive(&httpd.control, &mut buffer).unwrap();
    match ToHttpd::decode(&buffer[..n]).unwrap() {
        ToHttpd::Unread(text) => assert!(String::from_utf8_lossy(&text).contains("protocol version")),
        other => panic!("{other:?}"),
    }
    assert!(is_alive(worker));
    httpd.pool("site");
    httpd.stop();
    eventually("the end of its worker", || (!is_alive(worker)).then_some(()));
}

// F32
#[test]
fn a_runtime_directory_that_somebody_removes_is_made_anew() {
    let mut httpd = Httpd::start("removed");
    let home = httpd.python("py", SERVE);
    httpd.configure(&[httpd.group("site", &home)]);
    httpd.pool("site");
    httpd.nth_ready(1);
    std::fs::remove_dir_all(httpd.runtime_dir()).unwrap();
    httpd.logged("RW0461", 1);
    let path = httpd.pool("site");
    httpd.nth_ready(2);
    socket::connect(Kind::Stream, &path, Mode::Blocking).unwrap();
}

// R37
#[test]
fn a_malformed_question_closes_its_connection_only() {
    let mut httpd = Httpd::start("malformed");
    let home = httpd.python("py", SERVE);
    httpd.configure(&[httpd.group("site", &home)]);
    let path = format!("{}/manager.sock", httpd.runtime_dir());
    let bad = socket::connect(Kind::SeqPacket, path.as_bytes(), Mode::Blocking).unwrap();
    message::send(&bad, b"garbage").unwrap();
    assert!(poll::readable(&bad, None).unwrap());
    assert_eq!(message::receive(&bad, &mut [0; 8]).unwrap(), 0);
    httpd.pool("site");
    httpd.logged("RW0405", 1);
}

fn administrator(httpd: &Httpd) -> OwnedFd {
    let path = format!("{}/ctl.sock", httpd.runtime_dir());
    socket::connect(Kind::SeqPacket, path.as_bytes(), Mode::Blocking).unwrap()
}

fn report(administrator: &OwnedFd, query: &[u8]) -> Report {
    message::send(administrator, query).unwrap();
    let mut buffer = vec![0; CONTROL_MAX];
    let length = message::receive(administrator, &mut buffer).unwrap();
    Report::decode(&buffer[..length]).unwrap()
}

// R37
#[test]
fn r37_a_damaged_question_of_an_administrator_is_told_and_closes_its_connection_only() {
    let mut httpd = Httpd::start("administrators");
    let home = httpd.python("py", SERVE);
    httpd.configure(&[httpd.group("site", &home)]);
    let (good, bad) = (administrator(&httpd), administrator(&httpd));
    let mut other_version = Query::Server.encode();
    other_version[1] = 200;
    let Report::Unread(why) = report(&bad, &other_version) else {
        panic!("it was read");
    };
    assert!(String::from_utf8(why).unwrap().contains("version 200"));
    assert_eq!(message::receive(&bad, &mut [0; 8]).unwrap(), 0);
    httpd.logged("RW0551", 1);
    assert_eq!(
        report(&good, &Query::Pools { after: 0 }.encode()),
        Report::Pools(Vec::new())
    );
    httpd.pool("site");
    httpd.nth_ready(1);
    let Report::Pools(pools) = report(&good, &Query::Pools { after: 0 }.encode()) else {
        panic!("no pools");
    };
    assert_eq!((pools.len(), &pools[0].group[..]), (1, &b"site"[..]));
}

// R37, R62
#[test]
fn r62_who_asks_and_does_not_read_loses_the_connection_and_the_ninth_takes_the_place_of_the_most_silent() {
    let mut httpd = Httpd::start("flood");
    let home = httpd.python("py", SERVE);
    httpd.configure(&[httpd.group("site", &home)]);
    let flood = administrator(&httpd);
    fd::set_nonblocking(&flood, true).unwrap();
    let query = Query::Groups { after: Vec::new() }.encode();
    eventually("the flood to be closed", || {
        message::send(&flood, &query)
            .is_err_and(|e| !e.is_would_block())
            .then_some(())
    });
    let silent = administrator(&httpd);
    let others: Vec<OwnedFd> = (0..8).map(|_| administrator(&httpd)).collect();
    let server = |administrator| matches!(report(administrator, &Query::Server.encode()), Report::Server(_));
    assert!(others.iter().all(server));
    assert_eq!(message::receive(&silent, &mut [0; 8]).unwrap(), 0);
    httpd.pool("site");
}

// R4
#[test]
fn only_httpds_parent_is_obeyed_on_the_control_socket() {
    let httpd = Httpd::start("foreign");
    // A child with the same descriptor, as httpd's children have it after fork: byte 4 is Stop.
    let spoken = std::process::Command::new("sh")
        .args(["-c", r"printf '\004' >&0"])
        .stdin(httpd.control.try_clone().unwrap())
        .status()
        .unwrap();
    assert!(spoken.success());
    httpd.logged("RW0401", 1);
    assert!(is_alive(httpd.manager()));
}

// R42, R74
#[test]
fn what_a_worker_writes_reaches_the_log_as_lines_that_cannot_be_forged() {
    let mut httpd = Httpd::start("output");
    let script = format!(r"echo hello; printf 'a\033[1mb\rc\n' >&2; {SERVE}");
    let home = httpd.python("py", &script);
    httpd.configure(&[httpd.group("site", &home)]);
    httpd.pool("site");
    let pid = httpd.nth_ready(1);
    httpd.logged(&format!("[rwsgi:error] [pid {pid}:tid {pid}] hello\n"), 1);
    httpd.logged(r"a\x1b[1mb\rc", 1);
}

// R25
#[test]
fn a_worker_has_the_users_identity_six_descriptors_and_an_environment_from_nothing() {
    let mut httpd = Httpd::start("identity");
    let place = httpd.place.to_str().unwrap().to_owned();
    let script = format!(
        "while read -r l; do case $l in Uid*|Gid*|Groups*|NoNewPrivs*) echo $l;; esac; done </proc/$$/status; \
         tr '\\0' ' ' </proc/$$/environ; echo; {SERVE}"
    );
    let home = httpd.python("py", &script);
    let mut group = httpd.group("site", &home);
    group.home = place.into_bytes();
    httpd.configure(&[group]);
    httpd.pool("site");
    let pid = httpd.nth_ready(1);
    httpd.logged("LANG=C.UTF-8", 1);
    let log = httpd.log();
    let uid = worker_uid();
    assert!(log.contains(&format!("Uid: {uid} {uid} {uid} {uid}")), "{log}");
    assert!(log.contains("NoNewPrivs: 1"), "{log}");
    if ids::user_ids().effective == 0 {
        assert!(log.contains("Groups:\n"), "{log}");
    }
    let held = || {
        let held = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let mut held: Vec<i32> = held
            .map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect();
        held.sort_unstable();
        held
    };
    // The shell holds its script at 10, and for the moment in which it says that it is ready its standard output at 11.
    eventually("the six descriptors, and the script", || {
        (held() == [0, 1, 2, 3, 4, 5, 10]).then_some(())
    });
    let environment = log.lines().find(|l| l.contains("LANG=C.UTF-8")).unwrap();
    for word in [
        "PATH=/usr/local/sbin:",
        "HOME=/",
        "USER=nobody",
        "LOGNAME=nobody",
        "SHELL=/bin/sh",
    ] {
        assert!(environment.contains(word), "{environment}");
    }
    assert_eq!(environment.matches('=').count(), 6, "{environment}");
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(cwd, httpd.place);
}

/// Not a test by itself: the other half of the next one, which runs it in a process that it can kill.
#[test]
fn a_parent_to_be_killed() {
    let Ok(name) = std::env::var("RWSGI_TEST_PARENT") else {
        return;
    };
    let mut httpd = Httpd::start(&name);
    let home = httpd.python("py", SERVE);
    httpd.configure(&[httpd.group("site", &home)]);
    httpd.pool("site");
    let worker = httpd.nth_ready(1);
    println!(
        "place {} manager {} worker {worker} ",
        httpd.place.display(),
        httpd.manager()
    );
    let _ = poll::poll(&mut [], None);
}

// F38
#[test]
fn when_httpds_parent_is_killed_the_manager_ends_and_leaves_nothing() {
    use std::io::{BufRead, BufReader};
    let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_parent_to_be_killed", "--nocapture"])
        .env("RWSGI_TEST_PARENT", "killed")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let line = lines
        .find_map(|l| l.unwrap().split_once("place ").map(|(_, l)| l.to_owned()))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let (place, manager, worker) = (words[0], words[2].parse().unwrap(), words[4].parse().unwrap());
    assert!(is_alive(Pid(manager)) && is_alive(Pid(worker)));
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the end of manager and worker", || {
        (!is_alive(Pid(manager)) && !is_alive(Pid(worker))).then_some(())
    });
    assert!(!std::path::Path::new(place).join("run").exists());
    std::fs::remove_dir_all(place).unwrap();
}

// R42, F14
#[test]
fn r42_a_worker_that_writes_nonsense_is_killed_and_nobody_else() {
    // An unknown kind, one that is cut short, far too much, a kind of the manager.
    for said in [
        r"printf '\377zzz' >&4",
        r"printf '\003\377\377\377\377x' >&4",
        "head -c 60000 /dev/zero | dd bs=60000 iflag=fullblock >&4",
        r"printf '\060' >&4",
    ] {
        let mut httpd = Httpd::start("nonsense");
        let good = httpd.group("good", &httpd.python("py", SERVE));
        let home = httpd.python("evil", &format!(r"printf '\001' >&4; {said}; sleep 1000"));
        let evil = httpd.group("evil", &home);
        httpd.configure(&[good, evil]);
        httpd.pool("good");
        let other = httpd.nth_ready(1);
        httpd.pool("evil");
        httpd.logged("RW0456", 1);
        assert!(is_alive(other), "{said}");
        assert_eq!(httpd.stop(), End::Exit(0));
    }
}

/// The memory of a process that no file is behind, in KiB. What it shares with others of its program would count for more when those end.
fn memory(pid: Pid) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

// R42, R67, F57, F14: each of these may be said, so the worker is not killed for it.
#[test]
fn r67_what_a_worker_says_again_and_again_fills_no_memory() {
    let line = FromWorker::Log(Level::Error, b"a line".to_vec());
    let outdated = FromWorker::Outdated {
        scripts: Vec::new(),
        mtime: 7,
    };
    for said in [FromWorker::Idle(1), FromWorker::Used, line, outdated] {
        let bytes = said.encode();
        let said: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
        let mut httpd = Httpd::start("talks");
        let place = httpd.place.join("open").to_str().unwrap().to_owned();
        std::fs::create_dir(&place).unwrap();
        std::fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let talk = format!("n=0; while [ $n -lt 60000 ]; do printf '{said}' >&4; n=$((n+1)); done");
        let home = httpd.python(
            "py",
            &format!(r"printf '\001' >&4; sleep 0.3; {talk}; echo >{place}/said; sleep 1000"),
        );
        let mut group = httpd.group("site", &home);
        group.log_level = 4;
        (group.scale.min_processes, group.scale.idle_timeout) = (0, 1000);
        group.life.deadlock_timeout = 1000;
        httpd.configure(&[group]);
        httpd.pool("site");
        let ready = || (!children(httpd.manager()).is_empty()).then_some(());
        eventually("a worker", ready);
        let before = memory(httpd.manager());
        eventually("all to be said", || {
            std::fs::exists(format!("{place}/said")).unwrap().then_some(())
        });
        let after = memory(httpd.manager());
        assert!(
            after < before + 512,
            "{said}: {before} KiB, then {after} KiB\n{}",
            httpd.log()
        );
        assert!(!httpd.log().contains("RW0456"), "{said}: {}", httpd.log());
        httpd.stop();
    }
}

// R60, F55: fixed groups and others, all asked for at once.
#[test]
fn r60_a_user_starts_one_worker_on_demand_at_a_time_and_all_together_start_so_many() {
    if ids::user_ids().effective != 0 {
        return;
    }
    let mut httpd = Httpd::start("storm");
    let home = httpd.python("py", &format!("sleep 0.2; {SERVE}"));
    let users = 12;
    let groups: Vec<_> = (0..2 * users)
        .map(|n| {
            let mut group = httpd.group(&format!("g{n}"), &home);
            (group.uid, group.gid) = (30_000 + n % users, 30_000 + n % users);
            group.user.clear();
            group.processes = 2;
            if n % 2 == 0 {
                group.scale.min_processes = 0;
            }
            group
        })
        .collect();
    httpd.configure(&groups);
    for n in 0..2 * users {
        httpd.pool(&format!("g{n}"));
    }
    // One of each elastic group, two of the others.
    let all = (users + 2 * users) as usize;
    httpd.nth_ready(all);
    let (mut user_of, mut under_way, mut most) = (HashMap::new(), Vec::new(), 0);
    for line in httpd.log().lines() {
        let Some((pid, what)) = line
            .split_once("] worker ")
            .and_then(|(_, said)| said.split_once(' '))
        else {
            continue;
        };
        if let Some(group) = what.strip_prefix("starts for process group 'g") {
            let number: u32 = group.split_once('\'').unwrap().0.parse().unwrap();
            let user = number % users;
            // Those of fixed size may start beside others of their user.
            assert!(
                number % 2 == 1 || !under_way.contains(&user),
                "two starts of user {user}:\n{}",
                httpd.log()
            );
            user_of.insert(pid.to_owned(), user);
            under_way.push(user);
            most = most.max(under_way.len());
        } else if what == "is ready" {
            let user = user_of[pid];
            let place = under_way.iter().position(|other| *other == user);
            under_way.remove(place.unwrap());
        }
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(most, (2 * processors).max(4), "starts at once");
    assert_eq!(httpd.log().matches(" starts for ").count(), all);
}
