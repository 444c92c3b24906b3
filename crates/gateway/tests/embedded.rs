//! Python inside a process that is not Python. This program plays httpd's child; since a process can hold one Python, it runs itself
//! once for each.

mod support;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use rwsgi_embedding::host::{Guest, Host, Outcome, ReadFault, Refused, WriteFault};
use rwsgi_embedding::load;
use rwsgi_embedding::settings::Settings;
use rwsgi_wire::head::Head;
use rwsgi_wire::pairs::PairList;
use rwsgi_wire::python::{Interpreters, Options, Python};
use rwsgi_wire::response::{AbortReason, BodyFault, File, Log, Response};
use support::{Directory, on_every_python, variables};

const APP: &str = "
import atexit, os, sys, threading
import numbered
MARK = os.path.join(os.path.dirname(__file__), 'ended')
calls = 0
local = threading.local()

def note():
    with open(MARK, 'a') as file:
        file.write('ended\\n')

atexit.register(note)

def forks_that_come_back(most):
    import signal, time
    for count in range(most):
        pid, start = os.fork(), time.monotonic()
        if pid == 0:
            os._exit(0)
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > start + 30:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return count
            time.sleep(0.0005)
    return most

def application(environ, start_response):
    global calls
    calls += 1
    path = environ['PATH_INFO']
    if path == '/raise':
        raise ValueError('on purpose')
    if path == '/thread':
        errors = []
        def read():
            try:
                environ['wsgi.input'].read()
            except OSError as error:
                errors.append(str(error))
            print('stray line')
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        body = errors
    elif path == '/post':
        body = [environ['wsgi.input'].readline(), environ['wsgi.input'].read()]
    elif path == '/background':
        def forever():
            import time
            while True:
                time.sleep(0.001)
        threading.Thread(target=forever, daemon=True).start()
        body = []
    elif path == '/stream':
        start_response('200 OK', [])
        return iter([b'one', b'two'])
    elif path == '/fork':
        body = [forks_that_come_back(500)]
    elif path == '/again':
        local.count = getattr(local, 'count', 0) + 1
        body = [local.count > 1 or local.count]
    else:
        import mod_wsgi
        # In a further interpreter it depends on the version which thread is the main one.
        main = bool(mod_wsgi.application_group) or threading.main_thread() is not threading.current_thread()
        body = [environ['mod_wsgi.version'], mod_wsgi.application_group, sys.prefix, sys.flags.utf8_mode, sys.argv, main,
                environ['wsgi.multithread'], sys.getfilesystemencoding(), numbered.NUMBER]
    start_response('200 OK', [('X-Calls', str(calls))])
    return [repr(body).encode()]
";

/// What httpd's side saw of a request.
#[derive(Default)]
struct Recorder {
    body: Vec<u8>,
    broken: bool,
    status: u16,
    data: Vec<(Vec<u8>, bool)>,
    logs: Vec<String>,
    gone: bool,
}

impl Host for Recorder {
    fn read(&mut self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<(), ReadFault> {
        if self.body.is_empty() && self.broken {
            return Err((BodyFault::ClientGone, "the client went away".into()));
        }
        let n = limit.min(self.body.len()).min(3);
        into(&self.body.drain(..n).collect::<Vec<u8>>());
        Ok(())
    }
    fn response(&mut self, payload: &[u8]) -> Result<(), Refused> {
        self.status = Response::decode(payload).unwrap().status;
        Ok(())
    }
    fn data(&mut self, bytes: &[u8], flush: bool) -> Result<(), WriteFault> {
        if self.gone {
            return Err(WriteFault::ClientGone);
        }
        self.data.push((bytes.to_vec(), flush));
        Ok(())
    }
    fn file(&mut self, fd: BorrowedFd<'_>, part: File) -> Result<(), WriteFault> {
        self.data.push((support::read_part(fd, part), part.wait));
        Ok(())
    }
    fn log(&mut self, log: &Log<'_>) {
        self.logs.push(String::from_utf8_lossy(log.text).into_owned());
    }
}

impl Recorder {
    fn text(&self) -> String {
        self.data
            .iter()
            .map(|(bytes, _)| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn process_log(log: &Log<'_>) {
    LINES
        .lock()
        .unwrap()
        .push(String::from_utf8_lossy(log.text).into_owned());
}

fn request(guest: Guest, script: &[u8], group: &[u8], path: &str, mut host: Recorder) -> (Outcome, Recorder) {
    let variables = variables(path);
    let environ = variables
        .iter()
        .map(|(name, value)| (*name, value.as_slice()))
        .collect::<PairList>();
    let has_body = !host.body.is_empty() || host.broken;
    let head = Head {
        script,
        callable: b"application",
        application_group: group,
        environ: environ.pairs(),
        has_body,
        ..Head::default()
    };
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    let outcome = guest.serve(&mut host, &bytes, None);
    (outcome, host)
}

#[test]
fn embedded_python_serves_and_ends_on_every_version() {
    on_every_python(|python| {
        let prefix = python.ancestors().nth(2).expect("a prefix");
        let Some(libpython) = library_of(prefix) else {
            println!("{} has no shared library", prefix.display());
            return;
        };
        // Where a daemon thread of Python goes on until the end: nowhere, in a further interpreter, in the main one.
        for background in ["nowhere", "one", ""] {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
                .env("RWSGI_TEST_PROGRAM", python)
                .env("RWSGI_TEST_LIBPYTHON", &libpython)
                .env("RWSGI_TEST_BACKGROUND", background)
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            let output = String::from_utf8_lossy(&[child.stdout, child.stderr].concat()).into_owned();
            assert!(
                child.status.success(),
                "{}, {background}: {}\n{output}",
                python.display(),
                child.status
            );
        }
    });
}

fn library_of(prefix: &Path) -> Option<PathBuf> {
    let entries = prefix
        .join("lib")
        .read_dir()
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with("libpython3.") && name.ends_with(".so")
    };
    entries.into_iter().find(is_it)
}

/// A process may be forked at any moment of threads that come and go.
fn forks_among_threads(serve: &(dyn Fn(&str) -> (Outcome, Recorder) + Sync)) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::thread::scope(|scope| {
                        scope.spawn(|| serve("/again"));
                    });
                }
            });
        }
        let (outcome, host) = serve("/fork");
        done.store(true, Ordering::Relaxed);
        let expected = (Outcome::Done, "[500]".to_owned());
        assert_eq!(
            (outcome, host.text()),
            expected,
            "forked processes that have come back"
        );
    });
}

/// Not a test of its own: what the other runs in a process for each Python.
#[test]
#[ignore = "run by embedded_python_serves_and_ends_on_every_version"]
fn child() {
    let program = PathBuf::from(std::env::var_os("RWSGI_TEST_PROGRAM").unwrap());
    let libpython = PathBuf::from(std::env::var_os("RWSGI_TEST_LIBPYTHON").unwrap());
    let library = std::env::current_exe().unwrap().with_file_name("lib_rwsgi.so");
    let directory = Directory::new();
    let script = directory.write("app.wsgi", APP);
    std::fs::create_dir(directory.0.join("modules")).unwrap();
    directory.write("modules/numbered.py", "NUMBER = 42\n");
    let settings = Settings {
        program: program.clone().into_os_string().into_encoded_bytes(),
        python: Python {
            interpreters: Interpreters {
                base: Options {
                    path: vec![directory.0.join("modules").into_os_string().into_encoded_bytes()],
                    ..Options::default()
                },
                ..Interpreters::default()
            },
            ..Python::default()
        },
        multithread: true,
        log_level: 6,
        ..Settings::default()
    };
    let guest = load::guest(&libpython, &library).unwrap();
    let (tell, told) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let main = std::thread::spawn(move || {
        tell.send(guest.open(&settings, process_log, None)).unwrap();
        ended.recv().unwrap();
        guest.close(5);
    });
    told.recv().unwrap().unwrap();
    let serve = |group: &str, path: &str, host| request(guest, &script, group.as_bytes(), path, host);

    let background = std::env::var("RWSGI_TEST_BACKGROUND").unwrap();
    if background == "nowhere" {
        // Before there are other interpreters: with those, CPython 3.9 cannot fork.
        forks_among_threads(&|path| serve("", path, Recorder::default()));
    }
    for group in ["", "one", "two"] {
        let (outcome, host) = serve(group, "/", Recorder::default());
        let prefix = program.ancestors().nth(2).unwrap().display().to_string();
        let expected =
            format!("[(6, 1, 1), '{group}', '{prefix}', 1, ['mod_wsgi'], True, True, 'utf-8', 42]");
        assert_eq!(
            (outcome, host.text()),
            (Outcome::Done, expected),
            "{:?}",
            host.logs
        );
        assert!(
            host.data.iter().all(|(_, flush)| !flush),
            "a small answer needs no flush"
        );
    }
    let (_, host) = serve("", "/stream", Recorder::default());
    assert_eq!(host.data, [(b"one".to_vec(), true), (b"two".to_vec(), true)]);
    let (_, host) = serve(
        "one",
        "/post",
        Recorder {
            body: b"a line\nand more".to_vec(),
            ..Recorder::default()
        },
    );
    assert_eq!(host.text(), r"[b'a line\n', b'and more']");
    let (outcome, host) = serve(
        "",
        "/post",
        Recorder {
            broken: true,
            ..Recorder::default()
        },
    );
    assert_eq!(outcome, Outcome::Aborted(AbortReason::Application));
    assert!(
        host.logs
            .iter()
            .any(|line| line.contains("OSError: mod_wsgi request data read error: the client went away"))
    );
    let (outcome, host) = serve("two", "/raise", Recorder::default());
    assert_eq!(
        (outcome, host.status),
        (Outcome::Aborted(AbortReason::Application), 0)
    );
    assert!(
        host.logs
            .iter()
            .any(|text| text.ends_with("\nValueError: on purpose")),
        "{:?}",
        host.logs
    );
    let (_, host) = serve(
        "",
        "/thread",
        Recorder {
            body: b"x".to_vec(),
            ..Recorder::default()
        },
    );
    assert!(
        host.text().contains("on the thread of the request only"),
        "{}",
        host.text()
    );
    assert!(LINES.lock().unwrap().iter().any(|line| line == "stray line"));
    let (outcome, _) = serve(
        "",
        "/stream",
        Recorder {
            gone: true,
            ..Recorder::default()
        },
    );
    assert_eq!(outcome, Outcome::Done, "a client that has gone is nobody's fault");

    // Threads that come and go, in all interpreters at once; thread-local data stays with a thread.
    std::thread::scope(|scope| {
        for worker in 0..6 {
            let serve = &serve;
            scope.spawn(move || {
                for round in 0..300 {
                    let group = ["", "one", "two", "three"][(worker + round) % 4];
                    let (outcome, host) = serve(group, "/again", Recorder::default());
                    assert_eq!((outcome, host.status), (Outcome::Done, 200), "{:?}", host.logs);
                    let expected = if round < 4 { "[1]" } else { "[True]" };
                    assert_eq!(host.text(), expected, "round {round}");
                }
            });
        }
    });
    if background != "nowhere" {
        let (outcome, _) = serve(&background, "/background", Recorder::default());
        assert_eq!(outcome, Outcome::Done);
    }
    end.send(()).unwrap();
    main.join().unwrap();
    let ended = std::fs::read_to_string(directory.0.join("ended")).unwrap();
    assert_eq!(
        ended.lines().count(),
        4,
        "exit functions of each interpreter have run"
    );
    assert!(
        !LINES.lock().unwrap().iter().any(|line| line.contains("RW0")),
        "{:?}",
        LINES.lock().unwrap()
    );
}
