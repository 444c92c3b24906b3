//! Services: `WSGIDaemonProcess … threads=0`, whose processes take no requests and run what `WSGIImportScript` names.

use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Process, Signal, Topic, test, until, until_some};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        scripts_run_in_the_main_thread_of_each_process,
        scripts_run_one_after_the_other,
        application_groups_have_a_process_each,
        sigterm_raises_system_exit_and_the_service_is_started_again,
        signals_belong_to_the_script,
        other_signals_do_not_end_a_service,
        a_service_that_returns_is_started_again,
        sys_exit_is_an_end_like_any_other,
        a_status_of_sys_exit_is_told,
        a_script_that_fails_is_told_and_the_next_one_runs,
        a_service_that_dies_is_started_again,
        threads_keep_a_service_running,
        a_process_that_a_script_forks_ends_by_itself,
        who_ignores_system_exit_is_ended_by_force,
        a_service_ends_with_httpd,
        a_restart_of_httpd_starts_anew_what_has_changed,
        two_of_a_service_never_overlap,
        a_service_goes_with_its_configuration,
        restart_interval_starts_a_service_anew,
        a_cpu_time_limit_asks_a_service_to_end,
        a_service_runs_as_its_user_in_its_directory,
        metrics_and_requests_of_a_service,
        callbacks_for_the_end_are_called,
        requests_for_a_service_are_refused,
        aliases_and_calls_cannot_name_a_service,
        a_service_without_a_script_is_named,
        a_service_outlives_its_manager,
        all_processes_of_a_service_always_run,
    ]);
}

const SLOW: Duration = Duration::from_secs(25);

/// What the scripts begin with: `note` adds a line to a file.
const BEGIN: &str = "import atexit, os, signal, sys, threading, time, mod_wsgi\n\
    def note(text):\n    \
        f = os.open('@DATA@/notes', os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)\n    \
        os.write(f, b'%d %s\\n' % (os.getpid(), text.encode()))\n    \
        os.close(f)\n\
    def stay():\n    \
        while True:\n        \
            time.sleep(0.05)\n";

fn source(root: &std::path::Path, text: &str) -> String {
    let begin = BEGIN.replace("@DATA@", &root.join("data").display().to_string());
    format!("{begin}{text}\n")
}

fn script(builder: Builder, name: &str, text: &str) -> Builder {
    let text = source(builder.root(), text);
    builder.file(&format!("scripts/{name}"), text)
}

fn import(script: &str, application_group: &str) -> String {
    format!("WSGIImportScript @SCRIPTS@/{script} process-group=svc application-group={application_group}")
}

/// A service of this one script.
fn service(case: &Case, options: &str, text: &str) -> Builder {
    script(case.httpd().bare(), "service.py", text)
        .conf(&format!("WSGIDaemonProcess svc threads=0 {options}"))
        .conf(&import("service.py", "%{GLOBAL}"))
}

/// What was noted: by whom, and the text.
fn notes(httpd: &Httpd) -> Vec<(u32, String)> {
    let text = std::fs::read_to_string(httpd.data().join("notes")).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(pid, text)| (pid.parse().expect("pid"), text.to_owned()))
        .collect()
}

/// Who noted this text, in order.
fn who(httpd: &Httpd, text: &str) -> Vec<u32> {
    let notes = notes(httpd).into_iter();
    notes
        .filter(|(_, noted)| noted == text)
        .map(|(pid, _)| pid)
        .collect()
}

/// Waits until this text was noted so often; by whom.
fn noted(httpd: &Httpd, text: &str, times: usize) -> Vec<u32> {
    until_some(&format!("{times} notes '{text}'"), SLOW, || {
        Some(who(httpd, text)).filter(|pids| pids.len() >= times)
    })
}

fn signal(pid: u32, signal: Signal) {
    Process::read(pid).expect("service").signal(signal);
}

fn is_gone(pid: u32) -> bool {
    Process::read(pid).is_none_or(|p| p.state == 'Z')
}

/// What is noted is inside: who reads the note may send a signal at once.
const START_AND_STAY: &str =
    "try:\n    note('start')\n    stay()\nexcept SystemExit as e:\n    note('exit %r' % e.code)\n    raise\n";

fn scripts_run_in_the_main_thread_of_each_process(case: &Case) {
    let text = "main = threading.current_thread() is threading.main_thread()\n\
        note('%s %s|%s %d %d %s' % (main, mod_wsgi.process_group, mod_wsgi.application_group, mod_wsgi.maximum_processes, \
             mod_wsgi.threads_per_process, sys.argv))\n\
        stay()";
    let httpd = service(case, "processes=2 display-name=%{GROUP}", text).start();
    let mut pids = noted(&httpd, "True svc| 2 0 ['mod_wsgi']", 2);
    pids.dedup();
    assert_eq!(pids.len(), 2, "{pids:?}");
    for pid in pids {
        let arguments = Process::read(pid).expect("service").arguments();
        // The original has no more room than httpd's own name takes.
        assert!(
            arguments[0].starts_with(case.said("(wsgi:svc)", "(wsgi:")),
            "{arguments:?}"
        );
    }
}

fn scripts_run_one_after_the_other(case: &Case) {
    let builder = service(case, "", "note('first')");
    let httpd = script(builder, "second.py", "note('second')\nstay()")
        .conf(&import("second.py", "%{GLOBAL}"))
        .conf(&import("third.py", "%{GLOBAL}"));
    let httpd = script(httpd, "third.py", "note('third')").start();
    noted(&httpd, "second", 1);
    let all: Vec<String> = notes(&httpd).into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        all,
        ["first", "second"],
        "the third waits for the end of the second"
    );
    assert_eq!(who(&httpd, "first"), who(&httpd, "second"));
}

fn application_groups_have_a_process_each(case: &Case) {
    let text = "note('first')\nsignal.signal(signal.SIGUSR2, lambda *_: note('told'))\nstay()";
    if case.theirs() {
        // There they are sub-interpreters of one process, where signals cannot be had, and the second waits for the end of the first.
        let httpd = script(case.httpd().bare(), "service.py", text)
            .conf("WSGIDaemonProcess svc threads=0")
            .conf(&import("service.py", "one"))
            .start();
        httpd.announce_traceback();
        httpd.announce("WSGI0090");
        httpd.announce("WSGI0110");
        httpd.announce("WSGI0174");
        httpd.wait_log("signal only works in main thread of the main interpreter");
        return;
    }
    let httpd = script(case.httpd().bare(), "service.py", text).conf("WSGIDaemonProcess svc threads=0");
    let httpd = script(httpd, "other.py", "note('other')\nstay()")
        .conf(&import("service.py", "one"))
        .conf(&import("other.py", "two"))
        .start();
    let (one, two) = (noted(&httpd, "first", 1)[0], noted(&httpd, "other", 1)[0]);
    assert_ne!(one, two);
    until("the script to hear of SIGUSR2", SLOW, || {
        signal(one, Signal::SIGUSR2);
        !who(&httpd, "told").is_empty()
    });
}

fn sigterm_raises_system_exit_and_the_service_is_started_again(case: &Case) {
    let text = format!("atexit.register(note, 'atexit')\n{START_AND_STAY}");
    let httpd = service(case, "", &text).start();
    let first = noted(&httpd, "start", 1)[0];
    signal(first, Signal::SIGTERM);
    let second = noted(&httpd, "start", 2)[1];
    assert_ne!(first, second);
    assert_eq!(who(&httpd, "exit None"), [first]);
    assert_eq!(who(&httpd, "atexit"), [first]);
    assert!(is_gone(first));
}

fn signals_belong_to_the_script(case: &Case) {
    let text = "def end(*_):\n    note('mine')\n    raise KeyboardInterrupt\n\
        before = signal.signal(signal.SIGTERM, end)\n\
        signal.signal(signal.SIGUSR2, lambda *_: note('usr2'))\n\
        try:\n    note('start %s' % callable(before))\n    stay()\n\
        except KeyboardInterrupt:\n    note('ended')\n";
    let httpd = service(case, "", text).start();
    let first = noted(&httpd, "start True", 1)[0];
    signal(first, Signal::SIGUSR2);
    noted(&httpd, "usr2", 1);
    signal(first, Signal::SIGTERM);
    noted(&httpd, "ended", 1);
    noted(&httpd, "start True", 2);
    assert_eq!(who(&httpd, "mine"), [first]);
}

fn other_signals_do_not_end_a_service(case: &Case) {
    let httpd = service(case, "", START_AND_STAY).start();
    let pid = noted(&httpd, "start", 1)[0];
    for harmless in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        signal(pid, harmless);
    }
    // In the original it has no effect before the script ends; here it is as for all workers.
    signal(pid, Signal::SIGINT);
    if case.theirs() {
        signal(pid, Signal::SIGTERM);
    }
    noted(&httpd, "exit None", 1);
    assert_eq!(noted(&httpd, "start", 2)[0], pid);
}

fn a_service_that_returns_is_started_again(case: &Case) {
    let httpd = service(case, "", "note('run')").start();
    let mut pids = noted(&httpd, "run", 3);
    pids.dedup();
    assert!(pids.len() >= 3, "{pids:?}");
}

fn sys_exit_is_an_end_like_any_other(case: &Case) {
    let builder = service(case, "", "note('first')\nsys.exit()");
    let httpd = script(builder, "second.py", "note('second')\nsys.exit(0)")
        .conf(&import("second.py", "%{GLOBAL}"))
        .start();
    noted(&httpd, "second", 2);
    assert!(who(&httpd, "first").len() >= 2, "the second runs after it");
}

fn a_status_of_sys_exit_is_told(case: &Case) {
    let httpd = service(case, "", "note('run')\nsys.exit('no database')").start();
    httpd.provoked(&[codes::SERVICE]);
    noted(&httpd, "run", 2);
    // The original takes it for an end like any other.
    if !case.theirs() {
        let line = httpd.wait_log("RW0710").text;
        assert!(
            line.contains("service.py") && line.contains("sys.exit('no database')"),
            "{line}"
        );
        httpd.wait_log("RW0455");
    }
}

fn a_script_that_fails_is_told_and_the_next_one_runs(case: &Case) {
    let httpd = script(
        service(case, "", "raise ValueError('boom')"),
        "second.py",
        "note('second')",
    )
    .conf(&import("second.py", "%{GLOBAL}"))
    .conf(&import("missing.py", "%{GLOBAL}"))
    .start();
    httpd.provoked(&[codes::SERVICE]);
    httpd.announce_traceback();
    for code in ["WSGI0105", "WSGI0106", "WSGI0110", "WSGI0174"] {
        httpd.announce(code);
    }
    noted(&httpd, "second", 2);
    httpd.wait_log("ValueError: boom");
    httpd.wait_log("missing.py");
    // The original leaves out where it was.
    if !case.theirs() {
        let line = httpd.wait_log(", in <module>").text;
        assert!(line.contains("service.py"), "{line}");
    }
}

fn a_service_that_dies_is_started_again(case: &Case) {
    let httpd = service(case, "", START_AND_STAY).start();
    httpd.provoked(&[codes::DEATH, codes::SERVICE]);
    let first = noted(&httpd, "start", 1)[0];
    signal(first, Signal::SIGKILL);
    let second = noted(&httpd, "start", 2)[1];
    assert_ne!(first, second);
    if !case.theirs() {
        httpd.wait_log("RW0453");
        httpd.wait_log("RW0455");
    }
}

fn threads_keep_a_service_running(case: &Case) {
    let text = "def run():\n    \
            while not os.path.exists(os.path.join('@DATA@', 'go')):\n        time.sleep(0.02)\n    \
            note('thread')\n\
        threading.Thread(target=run).start()\nnote('main')";
    let builder = case.httpd().bare();
    let text = text.replace("@DATA@", &builder.root().join("data").display().to_string());
    let httpd = script(builder, "service.py", &text)
        .conf("WSGIDaemonProcess svc threads=0")
        .conf(&import("service.py", "%{GLOBAL}"))
        .start();
    let pid = noted(&httpd, "main", 1)[0];
    let process = || Process::read(pid).expect("the service").status("Threads");
    until("the main thread to wait", SLOW, || process().is_some());
    std::fs::write(httpd.data().join("go"), "").expect("go");
    assert_eq!(noted(&httpd, "thread", 1)[0], pid);
    noted(&httpd, "main", 2);
}

fn a_process_that_a_script_forks_ends_by_itself(case: &Case) {
    // In the original it goes on as if it were the service: it loads the next script.
    let text = "if os.fork() == 0:\n    \
            note('child')\n\
        else:\n    \
            os.wait()\n    \
            try:\n        note('alone')\n        stay()\n    \
            finally:\n        note('end')\n";
    let httpd = service(case, "shutdown-timeout=1", text)
        .file("scripts/second.py", "")
        .conf(&import("second.py", "%{GLOBAL}"))
        .start();
    let service = noted(&httpd, "alone", 1)[0];
    assert_ne!(who(&httpd, "child"), [service]);
    signal(service, Signal::SIGTERM);
    assert_eq!(noted(&httpd, "end", 1), [service]);
    assert_eq!(noted(&httpd, "alone", 2)[0], service);
    if !case.theirs() {
        let left = httpd.log_with(&format!("worker {service} leaves: "));
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

const DEAF: &str = "words = ['start']\nwhile True:\n    try:\n        if words: note(words.pop())\n        stay()\n    except SystemExit:\n        note('deaf')\n";

fn who_ignores_system_exit_is_ended_by_force(case: &Case) {
    let httpd = service(case, "shutdown-timeout=1", DEAF).start();
    httpd.provoked(&[codes::FORCE]);
    httpd.announce_traceback();
    let first = noted(&httpd, "start", 1)[0];
    signal(first, Signal::SIGTERM);
    noted(&httpd, "deaf", 1);
    if case.theirs() {
        // There the signal has done all that it does; httpd kills it about three seconds after it was told to stop.
        assert!(!is_gone(first));
        return;
    }
    noted(&httpd, "start", 2);
    assert!(is_gone(first));
    let line = httpd.wait_log("RW0612").text;
    assert!(line.contains("within 1 s"), "{line}");
    httpd.wait_log("in stay");
}

fn a_service_ends_with_httpd(case: &Case) {
    let httpd = service(case, "", START_AND_STAY).start();
    let pid = noted(&httpd, "start", 1)[0];
    httpd.stop();
    assert!(is_gone(pid));
    assert_eq!(who(&httpd, "exit None"), [pid]);
}

fn a_restart_of_httpd_starts_anew_what_has_changed(case: &Case) {
    let httpd = service(case, "", START_AND_STAY).start();
    let mut last = noted(&httpd, "start", 1)[0];
    for restart in [Httpd::graceful, Httpd::restart] {
        let starts = who(&httpd, "start").len();
        restart(&httpd);
        if case.theirs() {
            // There every restart starts it anew.
            last = noted(&httpd, "start", starts + 1)[starts];
            continue;
        }
        assert_eq!(who(&httpd, "start"), [last]);
        assert!(!is_gone(last));
    }
    let starts = who(&httpd, "start").len();
    let text = source(httpd.root(), &format!("note('new')\n{START_AND_STAY}"));
    httpd.rewrite_script("service.py", &text);
    httpd.graceful();
    let new = noted(&httpd, "new", 1)[0];
    assert_eq!(noted(&httpd, "start", starts + 1)[starts], new);
    assert!(is_gone(last));
    assert!(who(&httpd, "exit None").contains(&last));
}

fn two_of_a_service_never_overlap(case: &Case) {
    let text = "try:\n    note('start')\n    stay()\n\
        finally:\n    time.sleep(0.7)\n    note('end')\n";
    let httpd = service(case, "umask=020", text).start();
    for round in 1..=2 {
        noted(&httpd, "start", round);
        let (old, new) = (format!("umask=02{}", round - 1), format!("umask=02{round}"));
        httpd.rewrite_conf(|text| text.replace(&old, &new));
        httpd.graceful();
        noted(&httpd, "start", round + 1);
    }
    let all: Vec<String> = notes(&httpd).into_iter().map(|(_, text)| text).collect();
    assert_eq!(all, ["start", "end", "start", "end", "start"]);
}

fn a_service_goes_with_its_configuration(case: &Case) {
    let httpd = service(case, "", START_AND_STAY).start();
    let pid = noted(&httpd, "start", 1)[0];
    httpd.rewrite_conf(|text| {
        let rest = text.lines().filter(|line| !line.contains("svc"));
        rest.collect::<Vec<_>>().join("\n")
    });
    httpd.graceful();
    until("the service to end", SLOW, || is_gone(pid));
    assert_eq!(who(&httpd, "exit None"), [pid]);
}

fn restart_interval_starts_a_service_anew(case: &Case) {
    case.needs_ours("there it has no effect on a service");
    let httpd = service(case, "restart-interval=1", START_AND_STAY).start();
    noted(&httpd, "start", 2);
    assert_eq!(noted(&httpd, "exit None", 1)[0], who(&httpd, "start")[0]);
    httpd.wait_log("leaves: restart-interval is over");
}

fn a_cpu_time_limit_asks_a_service_to_end(case: &Case) {
    case.needs_ours("there the signal has no effect on a service before its script ends");
    let text = "try:\n    note('start')\n    while True: time.time()\nexcept SystemExit:\n    note('exit')\n";
    let httpd = service(case, "cpu-time-limit=1", text).start();
    noted(&httpd, "exit", 1);
    noted(&httpd, "start", 2);
}

fn a_service_runs_as_its_user_in_its_directory(case: &Case) {
    case.needs_root();
    let text = "note('%d %d %s %s' % (os.getuid(), os.getgid(), os.getcwd(), sys.path[0]))\nstay()";
    let options = "user=nobody group=nogroup home=@SCRIPTS@ umask=0";
    let httpd = service(case, options, text).start();
    let scripts = httpd.root().join("scripts").display().to_string();
    noted(&httpd, &format!("65534 65534 {scripts} {scripts}"), 1);
}

fn metrics_and_requests_of_a_service(case: &Case) {
    let text = "mod_wsgi.start_recording_metrics()\n\
        metrics = mod_wsgi.process_metrics()\n\
        note('metrics %d %d' % (metrics['pid'] == os.getpid(), metrics['request_count']))\n\
        note('interval %s' % (mod_wsgi.request_metrics()['request_count'] == 0))\n\
        note('active %r' % mod_wsgi.active_requests)\n\
        try:\n    mod_wsgi.request_data()\n\
        except RuntimeError:\n    note('no data')\n\
        print('on stdout')\n\
        stay()";
    let httpd = service(case, "", text).start();
    httpd.announce("on stdout");
    noted(&httpd, "no data", 1);
    for text in ["metrics 1 0", "interval True", "active {}"] {
        assert_eq!(who(&httpd, text).len(), 1, "{text}: {:?}", notes(&httpd));
    }
    assert_eq!(httpd.wait_log("on stdout").level, "error");
}

fn callbacks_for_the_end_are_called(case: &Case) {
    let text = format!(
        "mod_wsgi.subscribe_shutdown(lambda name, **values: note('%s %s' % (name, values['shutdown_reason'])))\n\
         atexit.register(note, 'atexit')\n{START_AND_STAY}"
    );
    let httpd = service(case, "", &text).start();
    signal(noted(&httpd, "start", 1)[0], Signal::SIGTERM);
    noted(&httpd, "atexit", 1);
    // The original tells a service nothing.
    let expected = usize::from(!case.theirs());
    assert_eq!(who(&httpd, "process_stopping shutdown_signal").len(), expected);
}

fn requests_for_a_service_are_refused(case: &Case) {
    let httpd = service(case, "socket-timeout=1", START_AND_STAY)
        .app("hello.wsgi")
        .conf("WSGIProcessGroup svc")
        .start();
    noted(&httpd, "start", 1);
    // In the original it waits in a queue that nobody serves.
    httpd.announce("RW0014");
    httpd.announce("WSGI01");
    assert_eq!(httpd.get("/").status, if case.theirs() { 504 } else { 500 });
    if case.theirs() {
        return;
    }
    let line = httpd.wait_log("RW0211").text;
    assert!(line.contains("'svc'") && line.contains("threads=0"), "{line}");
    let line = httpd.wait_log("RW0014").text;
    assert!(
        line.contains("WSGIProcessGroup svc") && line.contains("takes no requests"),
        "{line}"
    );
}

fn aliases_and_calls_cannot_name_a_service(case: &Case) {
    let alias = "WSGIScriptAlias /a @SCRIPTS@/service.py process-group=svc";
    for line in [
        format!("{alias} application-group=%{{GLOBAL}}"),
        "<Location />\nWSGIAccessScript /gate.py process-group=svc\n</Location>".to_owned(),
    ] {
        // There it is found out by requests, and process-group= of calls is ours.
        case.needs_ours("it lets them");
        let text = service(case, "", START_AND_STAY).conf(&line).refused();
        assert!(
            text.contains("process-group=svc") && text.contains("takes no requests"),
            "{text}"
        );
        assert!(
            text.contains("; choose another one, or give it threads"),
            "{text}"
        );
    }
    let httpd = service(case, "", START_AND_STAY).conf(alias).start();
    let line = httpd.wait_log("RW0014").text;
    httpd.announce("RW0014");
    assert!(
        line.contains("WSGIScriptAlias /a process-group=svc") && line.contains("takes no requests"),
        "{line}"
    );
}

fn a_service_without_a_script_is_named(case: &Case) {
    let httpd = case
        .httpd()
        .bare()
        .conf("WSGIDaemonProcess svc threads=0")
        .start();
    httpd.announce("RW0014");
    if case.theirs() {
        // There it is started again and again.
        until("the third process", SLOW, || {
            httpd.log_with("Starting daemon process 'svc'").len() >= 3
        });
        return;
    }
    let line = httpd.wait_log("RW0014").text;
    assert!(
        line.contains("WSGIDaemonProcess svc threads=0 has nothing to run"),
        "{line}"
    );
    assert!(line.contains("httpd.conf"), "{line}");
    assert!(httpd.workers().is_empty());
}

/// F26: two of a service are one too many, and none is one too few.
fn a_service_outlives_its_manager(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = service(case, "", START_AND_STAY).start();
    httpd.provoked(&[codes::MANAGER, codes::DEATH, codes::SERVICE]);
    let first = noted(&httpd, "start", 1)[0];
    for n in 1..=3 {
        httpd.manager().expect("manager").signal(Signal::SIGKILL);
        until("another manager", SLOW, || httpd.log_with("RW0410").len() >= n);
        assert!(!is_gone(first));
    }
    assert_eq!(noted(&httpd, "start", 1), [first]);
    rwsgi_testkit::Process::read(first)
        .expect("the service")
        .signal(Signal::SIGKILL);
    assert_ne!(noted(&httpd, "start", 2)[1], first);
}

fn all_processes_of_a_service_always_run(case: &Case) {
    case.needs_ours("it knows no number of workers but the one that there always is");
    let text = service(case, "processes=2 min-processes=1", START_AND_STAY).refused();
    assert!(
        text.contains("min-processes=1 has no effect with threads=0"),
        "{text}"
    );
    // Nor do services wait for a place among the workers, or take one.
    let httpd = service(case, "processes=2", START_AND_STAY)
        .conf("WSGIMaxWorkers 1\nWSGIDaemonProcess site\nWSGIProcessGroup site")
        .app("hello.wsgi")
        .start();
    noted(&httpd, "start", 2);
    assert_eq!(httpd.get("/").status, 200);
}
