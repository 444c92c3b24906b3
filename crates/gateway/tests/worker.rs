//! A worker from its start to its end.

mod support;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rwsgi_os::process::End;
use rwsgi_os::signal::Signal;
use rwsgi_wire::base::ScriptOwner;
use rwsgi_wire::control::{FromWorker, Start};
use rwsgi_wire::frame::{self, Kind};
use rwsgi_wire::head::Head;
use rwsgi_wire::identity::{Groups, Identity};
use rwsgi_wire::life::{LeaveReason, Life};
use rwsgi_wire::pairs::PairList;
use rwsgi_wire::python::{Interpreters, Options, Python};
use rwsgi_wire::response::AbortReason;
use rwsgi_wire::script::Script;
use support::{Body, Client, Directory, Ended, Worker, on_every_python, settings};

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'Hello ' + environ['PATH_INFO'].encode()]
";

#[test]
fn a_worker_says_hello_and_leaves_when_told() {
    on_every_python(|python| {
        let mut worker = Worker::start(python, settings());
        let script = worker.directory.write("app.wsgi", HELLO);
        let mut client = worker.connect();
        for turn in 0..3 {
            let answer = client.get(&script, "/x");
            assert_eq!(answer.whole(), "Hello /x");
            assert_eq!(answer.taken, (turn == 0).then_some(worker.pid.0 as u32));
            assert_eq!(answer.header("Content-Type"), Some("text/plain"));
        }
        worker.drain();
        assert_eq!(worker.wait(), End::Exit(0), "{:?} {}", worker.said, worker.text());
    });
}

/// What most of these tests need: a request that waits for a file, and one that counts.
const SITE: &str = r#"
import atexit, os, sys, threading, time
HERE = os.path.dirname(__file__)
calls = []

def note(text):
    with open(os.path.join(HERE, "notes"), "a") as file:
        file.write(text + "\n")

atexit.register(note, "atexit")
print("loaded outside of a request" if not calls else "")

def application(environ, start_response):
    path = environ["PATH_INFO"]
    calls.append(path)
    body = b"done"
    if path.startswith("/wait"):
        note("waiting")
        while not os.path.exists(os.path.join(HERE, "go")):
            time.sleep(0.005)
    elif path == "/calls":
        body = ",".join(calls).encode()
    elif path == "/sleep":
        time.sleep(60)
    elif path == "/spin":
        (lambda text: __import__("re").match(r"(a+)+$", text))("a" * 40 + "b")
    elif path == "/fork":
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(9)
        time.sleep(0.05)
        os.kill(pid, 15)
        body = str(os.waitpid(pid, 0)[1]).encode()
    elif path == "/fork-and-return":
        pid = os.fork()
        if pid == 0:
            print("from the copy")
            return [b"from the copy"]
        os.waitpid(pid, 0)
    elif path == "/fork-and-exit":
        if os.fork() == 0:
            sys.exit(3)
        body = str(os.wait()[1]).encode()
    elif path == "/background":
        def forever():
            while True:
                print("still here")
                time.sleep(0.0005)
        for _ in range(3):
            threading.Thread(target=forever, daemon=True).start()
    elif path == "/path":
        body = repr(sys.path[:4]).encode()
    elif path == "/thread":
        def late():
            while not os.path.exists(os.path.join(HERE, "go")):
                time.sleep(0.005)
            note("thread")
        threading.Thread(target=late, daemon=False).start()
    start_response("200 OK", [])
    return [body]
"#;

fn site(python: &Path, start: Start) -> (Worker, Vec<u8>) {
    let worker = Worker::start(python, start);
    let script = worker.directory.write("site.wsgi", SITE);
    (worker, script)
}

/// Gives a file a modification time of so many seconds since 1970, long enough ago to be complete.
fn set_mtime(path: &[u8], seconds: u64) {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
        .unwrap();
}

static ENVIRON: LazyLock<PairList> = LazyLock::new(|| PairList::from_iter([(&b"PATH_INFO"[..], &b"/y"[..])]));

fn seen_with<'a>(script: &'a [u8], mtime: i64) -> Head<'a> {
    Head {
        script,
        callable: b"application",
        script_mtime: mtime,
        environ: ENVIRON.pairs(),
        ..Head::default()
    }
}

fn has_told(said: &[FromWorker], seconds: i64) -> bool {
    said.iter()
        .any(|said| matches!(said, FromWorker::Outdated { mtime, .. } if *mtime == seconds * 1_000_000))
}

#[test]
fn a_request_that_finds_a_newer_script_waits_for_the_managers_word() {
    on_every_python(|python| {
        let mut worker = Worker::start(python, settings());
        let script = worker.directory.write("app.wsgi", HELLO);
        assert_eq!(worker.get(&script, "/x").whole(), "Hello /x");
        // httpd saw another version, but what is loaded is what is on disk.
        let answer = worker
            .connect()
            .exchange(&seen_with(&script, 1), Body::Whole(b""));
        assert_eq!(answer.whole(), "Hello /y");
        set_mtime(&script, 1000);
        // Not to be looked at.
        let answer = worker
            .connect()
            .exchange(&seen_with(&script, 0), Body::Whole(b""));
        assert_eq!(answer.whole(), "Hello /y");
        let seen = seen_with(&script, 1_000_000_000);

        // It does not load: the request is served by what is loaded, and so are the next ones.
        let mut client = worker.connect();
        client.send_head(&seen);
        worker.wait_until("it tells", |said| has_told(said, 1000));
        // With what the next version must have.
        let has_callable = |said: &FromWorker| matches!(said, FromWorker::Outdated { scripts, .. } if scripts[0].callables == [b"application"]);
        assert!(worker.said.iter().any(has_callable), "{:?}", worker.said);
        worker.keep(&script, 1_000_000_000);
        assert_eq!(client.finish(Body::Whole(b"")).whole(), "Hello /y");
        assert_eq!(
            worker.connect().exchange(&seen, Body::Whole(b"")).whole(),
            "Hello /y"
        );

        // It changes again, and loads: the request goes elsewhere.
        set_mtime(&script, 2000);
        let mut client = worker.connect();
        client.send_head(&seen);
        worker.wait_until("it tells again", |said| has_told(said, 2000));
        worker.drain();
        let answer = client.finish(Body::Whole(b""));
        assert_eq!((answer.ended, answer.taken), (Ended::Stale, None));
        assert_eq!(worker.wait(), End::Exit(0));
    });
}

#[test]
fn requests_do_not_wait_longer_than_httpd_does_and_not_all_of_them() {
    on_every_python(|python| {
        let worker = Worker::start(python, settings());
        let script = worker.directory.write("app.wsgi", HELLO);
        assert_eq!(worker.get(&script, "/x").whole(), "Hello /x");
        set_mtime(&script, 1000);
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let limited = Head {
            queue_start: since.as_micros() as i64,
            queue_limit: 200,
            ..seen_with(&script, 7)
        };
        let start = Instant::now();
        let answer = worker.connect().exchange(&limited, Body::Whole(b""));
        assert_eq!(answer.whole(), "Hello /y");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        // One of two threads waits, and the other serves.
        let start = Instant::now();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let sender = sender.clone();
                let (worker, script) = (&worker, &script);
                scope.spawn(move || {
                    let answer = worker.connect().exchange(&seen_with(script, 7), Body::Whole(b""));
                    sender.send(answer.ended).unwrap();
                });
            }
            assert_eq!(receiver.recv().unwrap(), Ended::Complete);
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            worker.drain();
            assert_eq!(receiver.recv().unwrap(), Ended::Stale);
        });
    });
}

#[test]
fn the_application_of_a_user_is_renewed_when_its_restart_txt_comes_or_is_touched() {
    on_every_python(|python| {
        let start = || Start {
            script_owner: ScriptOwner::User,
            ..settings()
        };
        let mut worker = Worker::start(python, start());
        let script = worker.directory.write("app.wsgi", HELLO);
        set_mtime(&script, 1000);
        let seen = seen_with(&script, 1_000_000_000);
        let serves = |worker: &Worker, seen: &Head<'_>| {
            assert_eq!(
                worker.connect().exchange(seen, Body::Whole(b"")).whole(),
                "Hello /y"
            );
        };
        serves(&worker, &seen);
        let touch = |worker: &Worker, seconds| {
            std::fs::create_dir_all(directory_of(&script).join("tmp")).unwrap();
            set_mtime(&worker.directory.write("tmp/restart.txt", ""), seconds);
        };

        // It comes, older than the script. The manager's word is waited for, and counts.
        touch(&worker, 10);
        serves(&worker, &seen_with(&script, 0));
        let mut client = worker.connect();
        client.send_head(&seen);
        worker.wait_until("it tells", |said| has_told(said, 1010));
        worker.keep(&script, 1_010_000_000);
        assert_eq!(client.finish(Body::Whole(b"")).whole(), "Hello /y");
        serves(&worker, &seen);

        // It is touched, and the request goes elsewhere.
        touch(&worker, 2000);
        let mut client = worker.connect();
        client.send_head(&seen);
        worker.wait_until("it tells again", |said| has_told(said, 3000));
        worker.drain();
        assert_eq!(client.finish(Body::Whole(b"")).ended, Ended::Stale);
        assert_eq!(worker.wait(), End::Exit(0));

        // The next worker takes it as it is. That it goes means nothing; that the script is an older one does.
        let next = Start {
            preload: vec![Script::at(&script)],
            renews: true,
            ..start()
        };
        let directory = std::mem::replace(&mut worker.directory, Directory::new());
        std::fs::remove_file(directory_of(&script).join("socket")).unwrap();
        let mut worker = Worker::launch(python, directory, next);
        worker.wait_until("it is ready", |said| said.contains(&FromWorker::Ready));
        serves(&worker, &seen);
        set_mtime(&script, 500);
        let mut client = worker.connect();
        client.send_head(&seen_with(&script, 500_000_000));
        worker.wait_until("it tells", |said| has_told(said, 2500));
        worker.keep(&script, 2_500_000_000);
        assert_eq!(client.finish(Body::Whole(b"")).whole(), "Hello /y");
        set_mtime(&script, 1000);
        std::fs::remove_file(directory_of(&script).join("tmp/restart.txt")).unwrap();
        worker.said.clear();
        serves(&worker, &seen);
        worker.drain();
        assert_eq!(worker.wait(), End::Exit(0));
        let has_told = |said: &FromWorker| matches!(said, FromWorker::Outdated { .. });
        assert!(!worker.said.iter().any(has_told), "{:?}", worker.said);
    });
}

#[test]
fn the_restart_txt_of_an_application_of_the_administrator_means_nothing() {
    on_every_python(|python| {
        let mut worker = Worker::start(python, settings());
        let script = worker.directory.write("app.wsgi", HELLO);
        set_mtime(&script, 1000);
        assert_eq!(worker.get(&script, "/x").whole(), "Hello /x");
        std::fs::create_dir(directory_of(&script).join("tmp")).unwrap();
        worker.directory.write("tmp/restart.txt", "");
        let seen = seen_with(&script, 1_000_000_000);
        assert_eq!(
            worker.connect().exchange(&seen, Body::Whole(b"")).whole(),
            "Hello /y"
        );
        worker.drain();
        assert_eq!(worker.wait(), End::Exit(0));
        let has_told = |said: &FromWorker| matches!(said, FromWorker::Outdated { .. });
        assert!(!worker.said.iter().any(has_told), "{:?}", worker.said);
    });
}

fn directory_of(script: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(script)).parent().unwrap()
}

// C14, C15, R29
#[test]
fn c14_a_script_that_is_not_the_users_own_file_is_not_loaded() {
    on_every_python(|python| {
        let refused = |spoil: &dyn Fn(&Path), word: &str| {
            let directory = Directory::new();
            let script = directory.write("app.wsgi", "application = None\n");
            spoil(Path::new(std::str::from_utf8(&script).unwrap()));
            let start = Start {
                preload: vec![Script::at(&script)],
                renews: true,
                script_owner: ScriptOwner::User,
                ..settings()
            };
            let mut worker = Worker::launch(python, directory, start);
            worker.wait_until("it says why", |said| {
                said.iter().any(|said| {
                    matches!(said, FromWorker::CannotServe(why) if String::from_utf8_lossy(why).contains(word))
                })
            });
        };
        refused(&|script| mode(script, 0o664), "chmod go-w");
        refused(&|script| mode(script, 0o646), "chmod go-w");
        let instead = |script: &Path, make: &dyn Fn(&Path)| {
            std::fs::remove_file(script).unwrap();
            make(script);
        };
        let link = |script: &Path| std::os::unix::fs::symlink("/etc/passwd", script).unwrap();
        refused(&|script| instead(script, &link), "symbolic link");
        let fifo = |script: &Path| {
            let made = std::process::Command::new("mkfifo").arg(script).status();
            assert!(made.unwrap().success());
        };
        refused(&|script| instead(script, &fifo), "regular file");
        if rwsgi_os::ids::user_ids().effective == 0 {
            let give = |script: &Path| std::os::unix::fs::chown(script, Some(12345), None).unwrap();
            refused(&give, "belongs to uid 12345");
        }
    });
}

fn mode(script: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_worker_that_is_to_renew_a_script_ends_when_a_callable_is_gone() {
    on_every_python(|python| {
        let renewing = |callable: &str| {
            let directory = Directory::new();
            let path = directory.write("app.wsgi", "def app(environ, start_response): ...\nnumber = 1\n");
            let callables = vec![callable.into()];
            let start = Start {
                preload: vec![Script { path, callables }],
                renews: true,
                ..settings()
            };
            Worker::launch(python, directory, start)
        };
        for callable in ["application", "number"] {
            let mut worker = renewing(callable);
            let why = format!("it has no callable '{callable}'; it defines 'app'");
            worker.wait_until("it says why", |said| {
                said.iter().any(|said| {
                    matches!(said, FromWorker::CannotServe(text) if String::from_utf8_lossy(text).contains(&why))
                })
            });
            assert_eq!(worker.wait(), End::Exit(0));
            assert!(worker.lines().iter().any(|line| line.contains("RW0643")));
        }
        let mut worker = renewing("app");
        worker.wait_until("it is ready", |said| said.contains(&FromWorker::Ready));
    });
}

#[test]
fn a_worker_that_is_to_renew_a_script_ends_when_it_does_not_load() {
    on_every_python(|python| {
        let directory = Directory::new();
        let script = directory.write("app.wsgi", "raise ValueError('not this one')\n");
        let start = Start {
            preload: vec![Script::at(&script)],
            renews: true,
            ..settings()
        };
        let mut worker = Worker::launch(python, directory, start);
        worker.wait_until("it says why", |said| {
            said.iter().any(|said| {
                matches!(said, FromWorker::CannotServe(why) if String::from_utf8_lossy(why).contains("ValueError: not this one"))
            })
        });
        assert_eq!(worker.wait(), End::Exit(0));
        assert!(!worker.said.contains(&FromWorker::Ready));
        assert!(
            worker.lines().iter().any(|line| line.contains("RW0603")),
            "{:?}",
            worker.lines()
        );
    });
}

/// C26
#[test]
fn c26_a_worker_that_is_not_who_was_ordered_runs_nothing() {
    on_every_python(|python| {
        let own = settings().identity.uid;
        let wrong_groups = Groups {
            gid: own,
            others: vec![61234],
        };
        for (uid, groups, deviation) in [
            (own + 1, None, "Uid is "),
            (own, Some(wrong_groups), "Groups is "),
        ] {
            let directory = Directory::new();
            let script = directory.write("app.wsgi", "open(__file__ + '.ran', 'w')\n");
            let start = Start {
                identity: Identity { uid, groups },
                preload: vec![Script::at(&script)],
                ..settings()
            };
            let mut worker = Worker::launch(python, directory, start);
            assert_eq!(worker.wait(), End::Exit(78));
            let lines = worker.lines();
            assert!(
                lines.len() == 1 && lines[0].starts_with("RW0662") && lines[0].contains(deviation),
                "{lines:?}"
            );
            assert!(!worker.directory.0.join("app.wsgi.ran").exists());
        }
    });
}

#[test]
fn a_worker_whose_first_script_raises_makes_room_for_a_fresh_one() {
    on_every_python(|python| {
        let mut worker = Worker::start(python, settings());
        // Nothing has run yet that could be in the way.
        let syntax = worker.directory.write("syntax.wsgi", "def application(:\n");
        assert_eq!(
            worker.get(&syntax, "/").ended,
            Ended::Aborted(AbortReason::Import)
        );
        let script = worker
            .directory
            .write("app.wsgi", "import json\nraise ValueError('no')\n");
        assert_eq!(
            worker.get(&script, "/").ended,
            Ended::Aborted(AbortReason::Import)
        );
        assert_eq!(worker.wait(), End::Exit(0));
        assert!(worker.has_left(LeaveReason::ImportFailed));
    });
}

#[test]
fn an_idle_connection_gives_way_to_a_new_one_and_a_busy_one_does_not() {
    on_every_python(|python| {
        let (worker, script) = site(
            python,
            Start {
                threads: 1,
                ..settings()
            },
        );
        let mut first = worker.connect();
        assert_eq!(first.get(&script, "/").whole(), "done");
        let mut second = worker.connect();
        assert_eq!(second.get(&script, "/").whole(), "done");
        assert!(first.is_closed());

        send_get(&second, &script, "/wait");
        wait_for_note(&worker, "waiting");
        // Nobody accepts this one: another worker of the pool could.
        let mut third = worker.connect();
        send_get(&third, &script, "/calls");
        let abandoned = worker.connect();
        send_get(&abandoned, &script, "/abandoned");
        drop(abandoned);
        assert!(!second.is_closed());
        worker.directory.write("go", "");
        assert_eq!(second.finish(Body::Whole(b"")).whole(), "done");
        assert_eq!(third.finish(Body::Whole(b"")).whole(), "/,/,/wait,/calls");
        // The request whose client had gone has not run, and does not run later.
        assert_eq!(worker.get(&script, "/calls").whole(), "/,/,/wait,/calls,/calls");
    });
}

#[test]
fn a_worker_leaves_after_maximum_requests() {
    on_every_python(|python| {
        let (mut worker, script) = site(
            python,
            Start {
                life: Life {
                    maximum_requests: 3,
                    ..settings().life
                },
                ..settings()
            },
        );
        for _ in 0..3 {
            assert_eq!(worker.get(&script, "/").whole(), "done");
        }
        assert_eq!(worker.wait(), End::Exit(0));
        assert!(worker.has_left(LeaveReason::MaximumRequests));
        assert_eq!(notes(&worker), ["atexit"]);
    });
}

#[test]
fn a_worker_says_when_it_is_idle_and_ends_for_that_only_when_it_is() {
    on_every_python(|python| {
        let start = Start {
            tells_idle: true,
            ..settings()
        };
        let (mut worker, script) = site(python, start);
        let is_idle = |said: &FromWorker| matches!(said, FromWorker::Idle(_));
        worker.wait_until("it is idle", |said| said.iter().any(is_idle));
        worker.said.clear();
        let mut busy = worker.connect();
        send_get(&busy, &script, "/wait");
        wait_for_note(&worker, "waiting");
        worker.wait_until("it is used", |said| said.contains(&FromWorker::Used));
        worker.said.clear();
        worker.drain_for(LeaveReason::IdleTimeout);
        worker.wait_until("it says no", |said| said.contains(&FromWorker::Used));
        worker.directory.write("go", "");
        assert_eq!(busy.finish(Body::Whole(b"")).whole(), "done");
        worker.wait_until("it is idle again", |said| said.iter().any(is_idle));
        worker.drain_for(LeaveReason::Evicted);
        assert_eq!(busy.frame(), None);
        assert_eq!(worker.wait(), End::Exit(0), "{:?} {}", worker.said, worker.text());
        assert!(worker.has_left(LeaveReason::Evicted));
        assert!(!worker.has_left(LeaveReason::IdleTimeout));
    });
}

#[test]
fn sigterm_lets_requests_end_and_runs_exit_functions() {
    on_every_python(|python| {
        let (mut worker, script) = site(python, settings());
        let mut idle = worker.connect();
        assert_eq!(idle.get(&script, "/thread").whole(), "done");
        let mut busy = worker.connect();
        send_get(&busy, &script, "/wait");
        wait_for_note(&worker, "waiting");
        worker.signal(Signal::TERM);
        worker.wait_until("it leaves", |said| {
            said.contains(&FromWorker::Leaving(LeaveReason::ShutdownSignal))
        });
        assert_eq!(idle.frame(), None);
        worker.directory.write("go", "");
        assert_eq!(busy.finish(Body::Whole(b"")).whole(), "done");
        assert_eq!(busy.frame(), None);
        assert_eq!(worker.wait(), End::Exit(0), "{:?} {}", worker.said, worker.text());
        let mut notes = notes(&worker);
        notes.sort();
        assert_eq!(notes, ["atexit", "thread", "waiting"]);
    });
}

#[test]
fn a_request_that_does_not_end_is_cut_off_after_the_time_to_leave() {
    on_every_python(|python| {
        for path in ["/sleep", "/spin"] {
            let (mut worker, script) = site(
                python,
                Start {
                    life: Life {
                        graceful_timeout: 0,
                        shutdown_timeout: 1,
                        ..settings().life
                    },
                    ..settings()
                },
            );
            let mut busy = worker.connect();
            send_get(&busy, &script, path);
            assert_eq!(busy.frame().map(|(kind, _)| kind), Some(Kind::Taken));
            worker.drain();
            assert_eq!(busy.finish(Body::Whole(b"")).ended, Ended::Closed);
            assert_eq!(worker.wait(), End::Exit(1));
            assert!(
                worker.lines().iter().any(|line| line.starts_with("RW0612")),
                "{:?}",
                worker.said
            );
        }
    });
}

#[test]
fn a_signal_leaves_less_time_than_the_manager() {
    on_every_python(|python| {
        let limits = Start {
            life: Life {
                graceful_timeout: 60,
                shutdown_timeout: 1,
                ..settings().life
            },
            ..settings()
        };
        let (mut worker, script) = site(python, limits);
        let mut busy = worker.connect();
        send_get(&busy, &script, "/sleep");
        assert_eq!(busy.frame().map(|(kind, _)| kind), Some(Kind::Taken));
        worker.drain();
        worker.wait_until("it leaves", |said| {
            said.contains(&FromWorker::Leaving(LeaveReason::ShutdownSignal))
        });
        worker.signal(Signal::TERM);
        assert_eq!(worker.wait(), End::Exit(1));
    });
}

#[test]
fn a_request_beyond_its_time_is_aborted_with_its_stack_and_others_may_end() {
    on_every_python(|python| {
        // One second times (1 + ln 2), looked at once a second.
        let limits = Start {
            life: Life {
                request_timeout: 1,
                graceful_timeout: 10,
                shutdown_timeout: 1,
                ..settings().life
            },
            ..settings()
        };
        let (mut worker, script) = site(python, limits);
        let mut late = worker.connect();
        let answer = late.get(&script, "/sleep");
        assert_eq!(answer.ended, Ended::Aborted(AbortReason::Timeout));
        answer.logged("RW0611");
        answer.logged("time.sleep(60)");
        assert_eq!(worker.wait(), End::Exit(1));
        assert!(worker.has_left(LeaveReason::RequestTimeout));
    });
}

#[test]
fn a_request_that_keeps_the_gil_is_aborted_too() {
    on_every_python(|python| {
        let limits = Start {
            life: Life {
                request_timeout: 1,
                graceful_timeout: 1,
                shutdown_timeout: 1,
                ..settings().life
            },
            ..settings()
        };
        let (mut worker, script) = site(python, limits);
        let answer = worker.get(&script, "/spin");
        assert_eq!(answer.ended, Ended::Aborted(AbortReason::Timeout));
        answer.logged("keeps the GIL");
        assert_eq!(worker.wait(), End::Exit(1));
    });
}

#[test]
fn daemon_threads_of_the_application_do_not_disturb_the_end() {
    on_every_python(|python| {
        for _ in 0..3 {
            let (mut worker, script) = site(python, settings());
            assert_eq!(worker.get(&script, "/background").whole(), "done");
            worker.drain();
            assert_eq!(worker.wait(), End::Exit(0), "{}", worker.text());
            assert_eq!(notes(&worker), ["atexit"]);
        }
    });
}

#[test]
fn a_process_that_the_application_forks_has_its_own_signals() {
    on_every_python(|python| {
        let (mut worker, script) = site(python, settings());
        assert_eq!(worker.get(&script, "/fork").whole(), "15");
        // A copy that comes back from the application ends, and leaves the answer to the original.
        let answer = worker.get(&script, "/fork-and-return");
        assert_eq!((answer.whole().as_str(), answer.logs.len()), ("done", 0));
        assert_eq!(worker.get(&script, "/fork-and-exit").whole(), "256");
        assert!(worker.text().contains("from the copy"));
        worker.listen();
        assert!(!worker.has_left(LeaveReason::ShutdownSignal));
    });
}

#[test]
fn home_and_python_path_come_first_and_scripts_are_loaded_in_advance() {
    on_every_python(|python| {
        let directory = Directory::new();
        let script = directory.write("site.wsgi", SITE);
        let broken = directory.write("broken.wsgi", "import nowhere\n");
        directory.write("extra.pth", "/usr/lib\n");
        let here = directory.0.clone().into_os_string().into_encoded_bytes();
        let start = Start {
            home: b"/usr".to_vec(),
            python: Python {
                interpreters: Interpreters {
                    base: Options {
                        path: vec![here.clone(), b"/usr/share".to_vec()],
                        ..Options::default()
                    },
                    ..Interpreters::default()
                },
                ..Python::default()
            },
            display_name: b"(wsgi:site)".to_vec(),
            preload: vec![Script::at(&script), Script::at(&broken)],
            ..settings()
        };
        let mut worker = Worker::launch(python, directory, start);
        worker.wait_until("it is ready", |said| said.contains(&FromWorker::Ready));
        let lines = worker.lines();
        assert!(
            lines.iter().any(|line| line == "loaded outside of a request"),
            "{lines:?}"
        );
        for text in [
            "RW0623",
            "RW0603",
            "No module named 'nowhere'",
            "serves with Python 3.",
        ] {
            assert!(
                lines.iter().any(|line| line.contains(text)),
                "{text} is not in {lines:?}"
            );
        }
        let here = String::from_utf8(here).unwrap();
        assert_eq!(
            worker.get(&script, "/path").whole(),
            format!("['/usr', '{here}', '/usr/lib', '/usr/share']")
        );
        let title = std::fs::read(format!("/proc/{}/cmdline", worker.pid)).unwrap();
        assert!(title.starts_with(b"(wsgi:site)\0\0"), "{title:?}");
    });
}

// R39
#[test]
fn a_connection_that_speaks_nonsense_is_closed_and_the_worker_goes_on() {
    on_every_python(|python| {
        let (mut worker, script) = site(python, settings());
        for nonsense in [
            b"GET / HTTP/1.1\r\n\r\n".as_slice(),
            &[1, 0, 0, 0, 99, 0, 0, 0, 0],
            &[2, 0, 0, 0, 1, 0, 0, 0, 9, 9],
        ] {
            let mut client = worker.connect();
            rwsgi_os::message::send_all(&client.stream, nonsense).unwrap();
            assert_eq!(client.frame(), None);
        }
        assert_eq!(worker.get(&script, "/").whole(), "done");
        worker.listen();
        assert!(
            worker.lines().iter().any(|line| line.starts_with("RW0614")),
            "{:?}",
            worker.said
        );
    });
}

// R39
#[test]
fn r39_a_request_that_breaks_off_at_any_byte_is_not_executed() {
    const COUNTS: &str = "def application(environ, start_response):\n    open(__file__ + '.ran', 'a').write('x')\n    \
                          start_response('200 OK', [])\n    return [b'done']\n";
    on_every_python(|python| {
        let worker = Worker::start(python, settings());
        let script = worker.directory.write("app.wsgi", COUNTS);
        let environ = PairList::from_iter([(&b"PATH_INFO"[..], &b"/"[..])]);
        let head = Head {
            script: &script,
            callable: b"application",
            environ: environ.pairs(),
            ..Head::default()
        };
        let mut request = Vec::new();
        frame::put_with(&mut request, Kind::Head, |out| head.encode(out));
        for cut in 0..request.len() {
            let client = worker.connect();
            rwsgi_os::message::send_all(&client.stream, &request[..cut]).unwrap();
        }
        assert_eq!(worker.get(&script, "/").whole(), "done");
        let ran = Path::new(std::ffi::OsStr::from_bytes(&script)).with_extension("wsgi.ran");
        assert_eq!(std::fs::read(ran).unwrap(), b"x", "of {} cuts", request.len());
    });
}

fn send_get(client: &Client, script: &[u8], path: &str) {
    let environ = PairList::from_iter([(b"PATH_INFO".as_slice(), path.as_bytes())]);
    client.send_head(&Head {
        script,
        callable: b"application",
        environ: environ.pairs(),
        ..Head::default()
    });
}

fn notes(worker: &Worker) -> Vec<String> {
    let text = std::fs::read_to_string(worker.directory.0.join("notes")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_for_note(worker: &Worker, note: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !notes(worker).iter().any(|line| line == note) {
        assert!(Instant::now() < deadline, "{note} was never noted");
        std::thread::sleep(Duration::from_millis(2));
    }
}
