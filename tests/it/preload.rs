//! `preload=On`: a template has loaded the application and forks the workers. The original has nothing like it.

use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Load, Process, Raw, Reply, Signal, Topic, Value, test, until};
use std::collections::BTreeSet;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r09_workers_are_forked_by_a_template_that_is_the_user_already,
        the_functions_of_register_at_fork_run_once_in_each_process,
        what_belongs_to_a_process_is_each_workers_own,
        random_numbers_differ_between_siblings,
        a_worker_of_a_template_ends_as_every_worker,
        an_application_may_fork_in_a_worker_of_a_template,
        a_group_of_fixed_size_starts_with_httpd_from_a_template,
        r60_first_requests_at_once_start_one_template_and_one_worker,
        r60_requests_that_wait_for_a_template_start_no_second_worker,
        an_application_that_starts_threads_has_no_template,
        an_application_that_does_not_load_has_no_template,
        a_template_that_dies_is_done_without,
        f26_a_template_ends_with_its_manager_and_its_workers_go_on,
        a_changed_script_makes_a_new_template,
        a_changed_script_that_does_not_load_leaves_the_old_workers,
        a_template_ends_when_its_workers_have_ended,
        a_template_costs_nothing_that_siblings_do_not_share,
        workers_of_a_template_that_come_and_go_lose_no_request,
        graceful_restarts_keep_workers_and_template,
    ]);
}

const SLOW: Duration = Duration::from_secs(25);

fn ours(case: &Case, options: &str) -> Builder {
    case.needs_ours("it has no templates");
    case.httpd()
        .daemon(&format!("preload=On {options}"))
        .app("preload.wsgi")
}

/// Those that have been started, by the log.
pub fn templates(httpd: &Httpd) -> Vec<u32> {
    pids(httpd, "template ")
}

/// Workers that templates have forked.
pub fn forked(httpd: &Httpd) -> Vec<u32> {
    let lines = httpd.log_with(", forked by template ");
    lines
        .iter()
        .map(|line| pid_after(&line.text, "worker "))
        .collect()
}

fn pids(httpd: &Httpd, what: &str) -> Vec<u32> {
    let lines = httpd.log_with(" starts for process group ");
    let texts = lines.iter().map(|line| &line.text);
    let named = texts.filter(|text| text.contains(&format!("] {what}")));
    named.map(|text| pid_after(text, what)).collect()
}

fn pid_after(line: &str, what: &str) -> u32 {
    let (_, rest) = line
        .split_once(&format!("] {what}"))
        .expect("a line of the manager");
    rest.split(' ')
        .next()
        .expect("a number")
        .parse()
        .expect("a number")
}

fn about(httpd: &Httpd) -> Value {
    let reply = httpd.get("/about");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn is_gone(pid: u32) -> bool {
    Process::read(pid).is_none_or(|p| p.state == 'Z')
}

/// Has so many workers answer at once; which they are.
fn occupy(httpd: &Httpd, count: usize) -> BTreeSet<u32> {
    let _ = std::fs::remove_file(httpd.data().join("go"));
    let _ = std::fs::remove_file(httpd.data().join("started"));
    let raws: Vec<Raw> = (0..count).map(|_| httpd.raw_get("/wait")).collect();
    let begun =
        || std::fs::read_to_string(httpd.data().join("started")).map_or(0, |text| text.lines().count());
    until("the requests to run", SLOW, || begun() >= count);
    std::fs::write(httpd.data().join("go"), "").expect("go");
    raws.into_iter()
        .map(|mut raw| String::from_utf8_lossy(&raw.reply().body).parse().expect("a pid"))
        .collect()
}

/// R9, R25
fn r09_workers_are_forked_by_a_template_that_is_the_user_already(case: &Case) {
    let httpd = ours(
        case,
        "min-processes=0 processes=2 threads=1 umask=0027 cpu-priority=3",
    )
    .start();
    let workers = occupy(&httpd, 2);
    assert_eq!(workers.len(), 2);
    let template = templates(&httpd);
    assert_eq!(template.len(), 1);
    let template = Process::read(template[0]).expect("a template");
    assert_eq!(forked(&httpd).into_iter().collect::<BTreeSet<_>>(), workers);
    let manager = httpd.manager().expect("a manager").pid;
    for pid in &workers {
        let worker = Process::read(*pid).expect("a worker");
        assert_eq!((worker.parent, worker.session), (manager, *pid));
        let same = [
            "Uid",
            "Gid",
            "Groups",
            "Umask",
            "NoNewPrivs",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "SigBlk",
            "SigIgn",
        ];
        for field in same {
            assert_eq!(worker.status(field), template.status(field), "{field}");
        }
        assert_eq!(template.status("Threads").as_deref(), Some("1"));
        let file = |process: &Process, name: &str| {
            std::fs::read_to_string(format!("/proc/{}/{name}", process.pid)).expect("a file of the process")
        };
        for name in ["limits", "oom_score_adj", "cgroup", "loginuid"] {
            assert_eq!(file(&worker, name), file(&template, name), "{name}");
        }
        let nice = |process: &Process| {
            let stat = file(process, "stat");
            let (_, rest) = stat.rsplit_once(')').expect("a stat");
            rest.split_whitespace().nth(16).map(str::to_owned)
        };
        assert_eq!(nice(&worker).as_deref(), Some("3"));
        let exe = |process: &Process| std::fs::read_link(format!("/proc/{}/exe", process.pid)).expect("exe");
        assert_eq!(exe(&worker), exe(&template));
        // The same descriptors with the same meaning; each its own but for the listener.
        let (of_worker, of_template) = (worker.descriptor_targets(), template.descriptor_targets());
        let at = |all: &[(u32, String)], number: u32| {
            let found = all.iter().find(|(n, _)| *n == number);
            found.map(|(_, target)| target.clone()).expect("a descriptor")
        };
        assert_eq!(at(&of_worker, 0), "/dev/null");
        assert_eq!(at(&of_worker, 3), at(&of_template, 3), "the listener");
        for number in [1, 2, 4] {
            assert_ne!(at(&of_worker, number), at(&of_template, number), "{number}");
        }
        let shared = of_worker
            .iter()
            .filter(|(n, target)| *n > 4 && of_template.contains(&(*n, target.clone())));
        assert_eq!(
            shared.map(|(_, target)| target.as_str()).collect::<Vec<_>>(),
            Vec::<&str>::new()
        );
        let kept = |number: u32| {
            let info = file(&worker, &format!("fdinfo/{number}"));
            let flags = info
                .lines()
                .find_map(|line| line.strip_prefix("flags:"))
                .expect("flags")
                .trim()
                .to_owned();
            u32::from_str_radix(&flags, 8).expect("octal") & 0o2_000_000 == 0
        };
        assert!(
            of_worker.iter().all(|(n, _)| kept(*n) == (*n < 3)),
            "inherited by programs: {of_worker:?}"
        );
    }
}

fn the_functions_of_register_at_fork_run_once_in_each_process(case: &Case) {
    let httpd = ours(case, "min-processes=0").start();
    let it = about(&httpd);
    let template = templates(&httpd)[0];
    assert_eq!(it["imported_by"], template);
    assert_eq!(
        it["hooks"].to_string(),
        format!("[[\"before\",{template}],[\"child\",{}]]", it["pid"])
    );
}

fn what_belongs_to_a_process_is_each_workers_own(case: &Case) {
    let httpd = ours(case, "min-processes=0 display-name=siblings").start();
    let first = about(&httpd);
    let pid = u32::try_from(first["pid"].as_u64().expect("pid")).expect("pid");
    assert_eq!(first["metrics"]["pid"], first["pid"]);
    assert_eq!(first["metrics"]["request_count"], 0);
    let title = |pid: u32| Process::read(pid).expect("a process").arguments().concat();
    assert_eq!(title(pid), "siblings");
    let template = templates(&httpd)[0];
    assert_eq!(title(template), "siblings template");
    assert_eq!(httpd.get("/printing").status, 200);
    httpd.wait_log(&format!("printed by {pid}"));
    httpd.wait_log(&format!("written by {pid}"));
    // A second one is younger, though both have the application from the same process.
    until("time to pass", SLOW, || about(&httpd)["age"].as_f64() > Some(1.5));
    Process::read(pid).expect("a worker").signal(Signal::SIGTERM);
    until("its end", SLOW, || is_gone(pid));
    let second = about(&httpd);
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!(second["imported_by"], first["imported_by"]);
    assert!(second["age"].as_f64() < Some(1.5), "{second}");
    // Signals for applications reach the worker that they are for.
    let pid = u32::try_from(second["pid"].as_u64().expect("pid")).expect("pid");
    Process::read(template)
        .expect("a template")
        .signal(Signal::SIGUSR2);
    Process::read(pid).expect("a worker").signal(Signal::SIGUSR2);
    let heard = || std::fs::read_to_string(httpd.data().join("signals")).unwrap_or_default();
    until("the signal to be heard", SLOW, || !heard().is_empty());
    assert_eq!(heard(), format!("{pid} SIGUSR2\n"));
}

fn random_numbers_differ_between_siblings(case: &Case) {
    let httpd = ours(case, "min-processes=0").start();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let it = about(&httpd);
        assert!(
            seen.insert(it["random"].to_string()) && seen.insert(it["ssl"].to_string()),
            "{it}"
        );
        let pid = u32::try_from(it["pid"].as_u64().expect("pid")).expect("pid");
        Process::read(pid).expect("a worker").signal(Signal::SIGTERM);
        until("its end", SLOW, || is_gone(pid));
    }
    assert_eq!(templates(&httpd).len(), 1);
}

fn a_worker_of_a_template_ends_as_every_worker(case: &Case) {
    let httpd = ours(case, "processes=1 min-processes=1 maximum-requests=2").start();
    let first = about(&httpd)["pid"].clone();
    assert_eq!(about(&httpd)["pid"], first);
    until("the next one", SLOW, || about(&httpd)["pid"] != first);
    let stopping = || std::fs::read_to_string(httpd.data().join("stopping")).unwrap_or_default();
    until("the event", SLOW, || {
        stopping().contains(&format!("{first} maximum_requests\n"))
    });
    httpd.stop();
    // One that is killed is buried with its cause, and replaced.
    let httpd = ours(case, "processes=1 min-processes=1").start();
    let second = occupy(&httpd, 1).into_iter().next().expect("a worker");
    Process::read(second).expect("a worker").signal(Signal::SIGKILL);
    httpd.wait_log(&format!("worker {second} was killed by signal 9"));
    until("another one", SLOW, || {
        let now = httpd.get("/pid");
        now.status == 200 && now.text() != second.to_string()
    });
    assert_eq!(templates(&httpd).len(), 1);
    httpd.provoked(&[codes::DEATH]);
}

fn an_application_may_fork_in_a_worker_of_a_template(case: &Case) {
    let httpd = ours(case, "min-processes=0").start();
    for _ in 0..2 {
        assert_eq!(httpd.get("/fork").text(), "7");
    }
    assert_eq!(forked(&httpd).len(), 1);
}

fn a_group_of_fixed_size_starts_with_httpd_from_a_template(case: &Case) {
    let httpd = ours(case, "processes=3 threads=1")
        .conf("WSGIImportScript @SCRIPTS@/preload.wsgi process-group=site application-group=%{GLOBAL}")
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .start();
    until("three workers", SLOW, || forked(&httpd).len() == 3);
    let workers = occupy(&httpd, 3);
    assert_eq!(forked(&httpd).into_iter().collect::<BTreeSet<_>>(), workers);
    assert_eq!(templates(&httpd).len(), 1);
}

/// R60, F56
fn r60_first_requests_at_once_start_one_template_and_one_worker(case: &Case) {
    let httpd = ours(case, "min-processes=0 processes=4 threads=20").start();
    let raws: Vec<Raw> = (0..7).map(|_| httpd.raw_get("/pid")).collect();
    let answers: BTreeSet<Vec<u8>> = raws.into_iter().map(|mut raw| raw.reply().body).collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    // It may have answered before the manager has told of it.
    until("the worker to be told of", SLOW, || !forked(&httpd).is_empty());
    assert_eq!((templates(&httpd).len(), forked(&httpd).len()), (1, 1));
}

/// R60: they have waited for longer than it takes to want another worker, and the one that comes has threads for all.
fn r60_requests_that_wait_for_a_template_start_no_second_worker(case: &Case) {
    let source = "import os, time\ntime.sleep(1)\ndef application(environ, start_response):\n    \
                  start_response('200 OK', [])\n    return [b'%d' % os.getpid()]\n";
    case.needs_ours("it has no templates");
    let httpd = case
        .httpd()
        .daemon("preload=On min-processes=0 processes=4 threads=20")
        .source("/", "app.wsgi", source)
        .start();
    let raws: Vec<Raw> = (0..7).map(|_| httpd.raw_get("/")).collect();
    let answers: BTreeSet<Vec<u8>> = raws.into_iter().map(|mut raw| raw.reply().body).collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    // It may have answered before the manager has told of it.
    until("the worker to be told of", SLOW, || !forked(&httpd).is_empty());
    assert_eq!((templates(&httpd).len(), forked(&httpd).len()), (1, 1));
}

const THREADED: &str = "
import threading
threading.Thread(target=threading.Event().wait, name='watcher', daemon=True).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'served']
";

fn an_application_that_starts_threads_has_no_template(case: &Case) {
    let httpd = ours(case, "min-processes=0").start();
    httpd.rewrite_script("preload.wsgi", THREADED);
    assert_eq!(httpd.get("/").text(), "served");
    httpd.wait_log(
        "has no template: the application starts threads when it is imported (1, of Python: watcher)",
    );
    assert_eq!(httpd.get("/").text(), "served");
    assert_eq!((templates(&httpd).len(), forked(&httpd).len()), (1, 0));
    until("its end", SLOW, || is_gone(templates(&httpd)[0]));
    assert_eq!(httpd.workers().len(), 1);
    httpd.provoked(&[codes::NO_TEMPLATE]);
}

fn an_application_that_does_not_load_has_no_template(case: &Case) {
    let httpd = ours(case, "min-processes=0").start();
    let good = std::fs::read_to_string(httpd.root().join("scripts/preload.wsgi")).expect("script");
    httpd.rewrite_script("preload.wsgi", "raise ValueError('no such luck')");
    assert_eq!(httpd.get("/").status, 500);
    httpd.wait_log("has no template: script ");
    httpd.rewrite_script("preload.wsgi", &good);
    until("the mended one", SLOW, || httpd.get("/pid").status == 200);
    assert_eq!(forked(&httpd).len(), 0, "the next template comes later");
    httpd.announce_traceback();
    httpd.provoked(&[codes::NO_TEMPLATE, codes::APPLICATION]);
}

fn a_template_that_dies_is_done_without(case: &Case) {
    let httpd = ours(case, "min-processes=0 maximum-requests=1").start();
    assert_eq!(httpd.get("/pid").status, 200);
    let template = templates(&httpd)[0];
    Process::read(template)
        .expect("a template")
        .signal(Signal::SIGKILL);
    // By its own end, or by that of the worker that it was to fork.
    httpd.wait_log(" has no template: ");
    let before = forked(&httpd).len();
    for _ in 0..3 {
        assert_eq!(httpd.get("/pid").status, 200);
    }
    assert_eq!((templates(&httpd).len(), forked(&httpd).len()), (1, before));
    httpd.provoked(&[codes::NO_TEMPLATE, codes::DEATH]);
    // One that is stopped forks nobody.
    let httpd = ours(case, "min-processes=0 maximum-requests=1").start();
    assert_eq!(httpd.get("/pid").status, 200);
    let template = Process::read(templates(&httpd)[0]).expect("a template");
    template.signal(Signal::SIGSTOP);
    // It may have forked the next worker already; each request needs another one.
    until("it to be given up", SLOW, || {
        assert_eq!(httpd.get("/pid").status, 200);
        !httpd.log_with("it did not fork a worker within 10 s").is_empty()
    });
    httpd.provoked(&[codes::NO_TEMPLATE, codes::FORCE, codes::DEATH]);
    template.signal(Signal::SIGCONT);
}

fn f26_a_template_ends_with_its_manager_and_its_workers_go_on(case: &Case) {
    let httpd = ours(case, "processes=2 threads=1").start();
    let workers = occupy(&httpd, 2);
    httpd.provoked(&[codes::MANAGER, codes::DEATH]);
    let template = templates(&httpd)[0];
    httpd.manager().expect("a manager").signal(Signal::SIGKILL);
    until("another manager", SLOW, || !httpd.log_with("RW0410").is_empty());
    until("the template to end", SLOW, || is_gone(template));
    assert_eq!(occupy(&httpd, 2), workers);
    // What comes next has a template again.
    let one = *workers.first().expect("a worker");
    Process::read(one).expect("a worker").signal(Signal::SIGKILL);
    until("another worker", SLOW, || {
        templates(&httpd).len() == 2 && forked(&httpd).len() == 3
    });
    let now = occupy(&httpd, 2);
    assert!(!now.contains(&one) && now.intersection(&workers).count() == 1);
}

fn a_changed_script_makes_a_new_template(case: &Case) {
    let httpd = ours(case, "processes=2 threads=2").start();
    let old = about(&httpd);
    let script = std::fs::read_to_string(httpd.root().join("scripts/preload.wsgi")).expect("script");
    let load = Load::start(&httpd, "/pid", 2, |reply: &Reply| reply.status == 200);
    load.more(20);
    httpd.rewrite_script("preload.wsgi", &script.replace("VERSION = 1", "VERSION = 2"));
    until("the new version", SLOW, || about(&httpd)["version"] == 2);
    load.more(20);
    assert_eq!(load.stop(), Vec::<String>::new());
    let new = about(&httpd);
    let templates = templates(&httpd);
    assert_eq!(templates.len(), 2);
    assert_eq!(old["imported_by"], templates[0]);
    assert_eq!(new["imported_by"], templates[1]);
    until("the end of the old one", SLOW, || is_gone(templates[0]));
    until("all workers to be of the new one", SLOW, || {
        httpd.workers().len() == 3
    });
}

fn a_changed_script_that_does_not_load_leaves_the_old_workers(case: &Case) {
    let httpd = ours(case, "min-processes=0 processes=2 threads=1").start();
    let old = about(&httpd);
    httpd.rewrite_script("preload.wsgi", "raise ValueError('no such luck')");
    assert_eq!(about(&httpd)["imported_by"], old["imported_by"]);
    httpd.wait_log("the old one goes on serving");
    // A request that waited may have had another worker forked.
    assert_eq!(about(&httpd)["imported_by"], old["imported_by"]);
    httpd.rewrite_script("preload.wsgi", "no_application = 1\n");
    assert_eq!(about(&httpd)["imported_by"], old["imported_by"]);
    httpd.wait_log("it has no callable 'application'; the old one goes on serving");
    assert_eq!(about(&httpd)["imported_by"], old["imported_by"]);
    assert!(!is_gone(templates(&httpd)[0]));
    httpd.announce_traceback();
    httpd.provoked(&[codes::OLD_VERSION]);
}

fn a_template_ends_when_its_workers_have_ended(case: &Case) {
    let httpd = ours(case, "min-processes=0 idle-timeout=1").start();
    for round in 1..3 {
        assert_eq!(httpd.get("/pid").status, 200);
        // It may answer before the manager has said that it is there.
        until("one of each", SLOW, || {
            (templates(&httpd).len(), forked(&httpd).len()) == (round, round)
        });
        until("nobody to be there", SLOW, || httpd.workers().is_empty());
    }
}

/// What a process has for itself, in KiB.
fn own_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let fields = text.lines().filter(|line| line.starts_with("Private_"));
    fields
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

fn a_template_costs_nothing_that_siblings_do_not_share(case: &Case) {
    case.needs_ours("it has no templates");
    let own = |preload: &str| {
        let httpd = case
            .httpd()
            .daemon(&format!(
                "preload={preload} min-processes=0 processes=2 threads=1"
            ))
            .app("preload.wsgi")
            .start();
        let workers = occupy(&httpd, 2);
        workers.into_iter().map(own_kib).max().expect("workers")
    };
    let (with, without) = (own("On"), own("Off"));
    assert!(
        2 * with < without,
        "{with} KiB with a template, {without} KiB without"
    );
}

fn workers_of_a_template_that_come_and_go_lose_no_request(case: &Case) {
    let httpd = ours(
        case,
        "min-processes=0 processes=3 threads=1 idle-timeout=1 maximum-requests=7",
    )
    .start();
    for _ in 0..2 {
        let load = Load::start(&httpd, "/pid", 4, |reply: &Reply| reply.status == 200);
        load.more(150);
        assert_eq!(load.stop(), Vec::<String>::new());
        until("nobody to be there", SLOW, || httpd.workers().is_empty());
    }
    assert!(forked(&httpd).len() > 20);
    assert_eq!(templates(&httpd).len(), 2);
}

fn graceful_restarts_keep_workers_and_template(case: &Case) {
    let httpd = ours(case, "processes=1").start();
    let before = about(&httpd);
    httpd.graceful();
    assert_eq!(about(&httpd)["pid"], before["pid"]);
    assert_eq!((templates(&httpd).len(), httpd.workers().len()), (1, 2));
    httpd.rewrite_conf(|text| text.replace("preload=On", "preload=Off"));
    httpd.graceful();
    until("a worker of its own", SLOW, || {
        let now = about(&httpd);
        now["imported_by"] == now["pid"]
    });
    until("the end of the template", SLOW, || httpd.workers().len() == 1);
}
