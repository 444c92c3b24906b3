//! Changed scripts: the next request has the new version, nothing is lost, and a version that does not load harms nobody.

use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Load, Raw, Reply, Topic, python, test, until, venv_of};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        a_touched_script_that_fails_leaves_the_old_version_serving,
        a_version_without_the_callable_leaves_the_old_one_serving,
        a_half_written_script_is_not_loaded,
        an_older_file_is_a_new_version,
        reload_required_loads_again,
        reload_required_that_raises_counts_as_no,
        a_package_that_failed_is_imported_anew,
        one_failed_import_does_not_spoil_the_next,
    ]);
    topic.daemon(test![
        a_touched_script_under_load_loses_no_request,
        a_touched_script_under_load_with_maximum_requests_loses_no_request,
        the_new_version_is_loaded_before_the_old_one_leaves,
        a_request_under_way_ends_with_the_old_version,
        a_version_that_kills_its_process_leaves_the_old_one_serving,
        other_scripts_of_the_group_are_loaded_as_well,
        a_worker_that_cannot_load_what_another_serves_leaves_requests_to_that_one,
        what_other_workers_give_to_requests_must_be_in_the_new_version,
        a_storm_of_changes_starts_few_workers,
        what_is_installed_in_the_virtual_environment_renews_workers_once_it_is_complete,
    ]);
    topic.embedded(test![the_old_module_lives_while_it_is_used]);
}

const SLOW: Duration = Duration::from_secs(15);

fn is_ok(reply: &Reply) -> bool {
    reply.status == 200
}

fn saying(what: &str) -> String {
    format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{what}']\n"
    )
}

/// One child in embedded mode, for each has modules of its own.
fn one_child(case: &Case) -> Builder {
    let builder = case.httpd().children(1);
    match case.embedded() {
        true => builder.conf(
            "<IfModule mpm_prefork_module>\nMaxRequestWorkers 1\nLogLevel mpm_prefork:crit\n</IfModule>",
        ),
        false => builder,
    }
}

fn serving(case: &Case, source: &str) -> Httpd {
    one_child(case).source("/", "app.wsgi", source).start()
}

fn says(httpd: &Httpd, what: &str) {
    assert_eq!(httpd.get("/").text(), what);
}

/// F19
fn a_touched_script_that_fails_leaves_the_old_version_serving(case: &Case) {
    let httpd = serving(case, &saying("good"));
    says(&httpd, "good");
    for broken in [
        "raise ValueError('half uploaded')\n",
        "def application(:\n",
        "import sys\nsys.exit()\n",
    ] {
        httpd.rewrite_script("app.wsgi", broken);
        for _ in 0..5 {
            let reply = httpd.get("/");
            // The original serves errors until the script is mended.
            assert_eq!(reply.status, if case.theirs() { 500 } else { 200 });
            assert!(case.theirs() || reply.text() == "good");
        }
    }
    httpd.wait_log("half uploaded");
    if !case.theirs() {
        let code = if case.embedded() { "RW0691" } else { "RW0520" };
        let line = httpd.wait_log(code);
        assert!(
            line.text.contains("scripts/app.wsgi") && line.text.contains("the old one goes on serving"),
            "{}",
            line.text
        );
        // Once for each version, however many requests there are.
        assert_eq!(httpd.log_with(code).len(), 3);
    }
    httpd.rewrite_script("app.wsgi", &saying("mended"));
    says(&httpd, "mended");
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION, codes::OLD_VERSION]);
}

fn a_version_without_the_callable_leaves_the_old_one_serving(case: &Case) {
    case.needs_ours("it serves errors until the script is mended");
    let httpd = serving(case, &saying("good"));
    says(&httpd, "good");
    for broken in [
        "no_application = 1\n",
        "application = 1\n",
        &saying("x").replace("def application", "def app"),
    ] {
        httpd.rewrite_script("app.wsgi", broken);
        for _ in 0..3 {
            says(&httpd, "good");
        }
    }
    let code = if case.embedded() { "RW0691" } else { "RW0520" };
    let line = httpd.wait_log(code);
    assert!(line.text.contains("the old one goes on serving"), "{}", line.text);
    assert_eq!(httpd.log_with(code).len(), 3);
    assert_eq!(
        httpd
            .log_with("it has no callable 'application'; it defines 'app'")
            .len(),
        if case.embedded() { 1 } else { 2 }
    );
    httpd.rewrite_script("app.wsgi", &saying("mended"));
    says(&httpd, "mended");
    httpd.provoked(&[codes::OLD_VERSION]);
}

/// Writes slowly over the file, as an upload does.
fn write_slowly(httpd: &Httpd, content: &str) {
    use std::io::Write as _;
    let path = httpd.root().join("scripts/app.wsgi");
    let mut file = std::fs::File::create(path).expect("truncate");
    for byte in content.as_bytes() {
        file.write_all(&[*byte]).expect("write");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// F20
fn a_half_written_script_is_not_loaded(case: &Case) {
    case.needs_ours("it loads what it finds");
    let httpd = serving(case, &saying("old"));
    says(&httpd, "old");
    fn is_whole(reply: &Reply) -> bool {
        reply.status == 200 && matches!(reply.text().as_str(), "old" | "new")
    }
    let load = Load::start(&httpd, "/", 3, is_whole);
    let padding = "# a comment that takes its time\n".repeat(12);
    write_slowly(&httpd, &format!("{padding}{}", saying("new")));
    until("the new version", SLOW, || httpd.get("/").text() == "new");
    load.more(20);
    assert_eq!(load.stop(), Vec::<String>::new());
}

fn set_mtime(httpd: &Httpd, seconds: u64) {
    let path = httpd.root().join("scripts/app.wsgi");
    let file = std::fs::File::options().write(true).open(path).expect("open");
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds))
        .expect("utimes");
}

fn an_older_file_is_a_new_version(case: &Case) {
    let httpd = serving(case, &saying("one"));
    says(&httpd, "one");
    httpd.rewrite_script("app.wsgi", &saying("two"));
    set_mtime(&httpd, 1_000_000_000);
    says(&httpd, "two");
}

const ASKS: &str = "
import itertools, os
HERE = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')
served = 0
def reload_required(path):
    with open(os.path.join(HERE, 'asked'), 'a') as file:
        file.write(path + '\\n')
    if os.path.exists(os.path.join(HERE, 'raise')):
        raise ValueError('cannot say')
    try:
        os.unlink(os.path.join(HERE, 'wanted'))
        return True
    except FileNotFoundError:
        return False
def application(environ, start_response):
    global served
    served += 1
    start_response('200 OK', [])
    return [str(served).encode()]
";

fn reload_required_loads_again(case: &Case) {
    let httpd = serving(case, ASKS);
    for count in ["1", "2", "3"] {
        says(&httpd, count);
    }
    let asked = std::fs::read_to_string(httpd.data().join("asked")).expect("asked");
    let path = httpd.root().join("scripts/app.wsgi").display().to_string();
    assert_eq!(
        asked.lines().collect::<Vec<_>>(),
        [&path, &path],
        "not for the first"
    );
    std::fs::write(httpd.data().join("wanted"), "").expect("wanted");
    for count in ["1", "2"] {
        says(&httpd, count);
    }
}

fn reload_required_that_raises_counts_as_no(case: &Case) {
    let httpd = serving(case, ASKS);
    says(&httpd, "1");
    std::fs::write(httpd.data().join("raise"), "").expect("raise");
    says(&httpd, "2");
    says(&httpd, "3");
    httpd.wait_log("ValueError: cannot say");
    httpd.announce_traceback();
    httpd.provoked(&[&["RW0690"]]);
}

/// A script whose package fails after it has imported one of its own modules.
fn with_package(case: &Case, init: &str) -> Httpd {
    let path = "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), 'lib'))\n";
    let httpd = one_child(case)
        .file("lib/shop/__init__.py", init)
        .file(
            "lib/shop/part.py",
            "import os\nvalue = os.path.exists('@')\n".replace('@', "/nonexistent"),
        )
        .source(
            "/",
            "app.wsgi",
            &format!(
                "{path}import shop.part\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    \
                 return [repr(shop.part.value).encode()]\n"
            ),
        )
        .start();
    assert_eq!(httpd.get("/").status, 500);
    httpd
}

fn a_package_that_failed_is_imported_anew(case: &Case) {
    let httpd = with_package(
        case,
        "from . import part\nimport os\nif not os.path.exists(os.path.join(os.path.dirname(__file__), 'mended')):\n    \
         raise RuntimeError('no database')\n",
    );
    let lib = httpd.root().join("lib/shop");
    std::fs::write(lib.join("part.py"), "value = 'changed'\n").expect("part.py");
    std::fs::write(lib.join("mended"), "").expect("mended");
    let reply = httpd.get("/");
    assert_eq!(reply.status, 200);
    // The original finds the module as it was imported by the package that failed, unless Python looks at the file again.
    let whole = reply.text() == "'changed'";
    assert!(whole || case.theirs(), "{}", reply.text());
    httpd.wait_log("RuntimeError: no database");
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

/// A module that remembers, as Django's registry does, that it was being set up when something failed.
const REGISTRY: &str = "
import os
HERE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), 'data')
running = False
def populate():
    global running
    if running:
        raise RuntimeError('populate() is not reentrant')
    running = True
    if not os.path.exists(os.path.join(HERE, 'database')):
        raise OSError('no database')
    running = False
";

fn one_failed_import_does_not_spoil_the_next(case: &Case) {
    let httpd = one_child(case)
        .file("lib/shop/__init__.py", "")
        .file("lib/shop/registry.py", REGISTRY)
        .source(
            "/",
            "app.wsgi",
            &format!(
                "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), 'lib'))\n\
                 from shop import registry\nregistry.populate()\n{}",
                saying("served")
            ),
        )
        .start();
    for _ in 0..2 {
        assert_eq!(httpd.get("/").status, 500);
    }
    std::fs::write(httpd.data().join("database"), "").expect("database");
    let status = httpd.get("/").status;
    httpd.wait_log("OSError: no database");
    let misleading = httpd.log_with("populate() is not reentrant").len();
    if case.theirs() || case.embedded() {
        // A process that belongs to httpd cannot be given up, and forgetting modules that were imported whole would break others.
        assert_eq!((status, misleading > 0), (500, true));
    } else {
        assert_eq!((status, misleading), (200, 0));
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

fn touched_under_load(case: &Case, options: &str) {
    let httpd = case
        .httpd()
        .daemon(options)
        .source("/", "app.wsgi", &saying("version 0"))
        .start();
    let load = Load::start(&httpd, "/", 3, is_ok);
    for version in 1..4 {
        load.more(50);
        httpd.rewrite_script("app.wsgi", &saying(&format!("version {version}")));
        // Old answers may come until the new version is ready.
        until("the new version", SLOW, || {
            httpd.get("/").text() == format!("version {version}")
        });
    }
    load.more(50);
    let failures = load.stop();
    if case.theirs() {
        // Its retries are bounded: under load a request may find one stopping process after another.
        assert!(
            failures
                .iter()
                .all(|text| text.starts_with("503") || text.starts_with("50")),
            "{failures:?}"
        );
        httpd.announce("WSGI");
        return;
    }
    assert_eq!(failures, Vec::<String>::new());
}

fn a_touched_script_under_load_loses_no_request(case: &Case) {
    touched_under_load(case, "processes=2 threads=2");
}

fn a_touched_script_under_load_with_maximum_requests_loses_no_request(case: &Case) {
    touched_under_load(
        case,
        "processes=2 threads=2 maximum-requests=7 graceful-timeout=5",
    );
}

/// A version that takes until the file `go` exists to load.
fn loading_slowly(what: &str) -> String {
    format!(
        "import os, time\nHERE = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
         open(os.path.join(HERE, 'loading'), 'w').close()\n\
         while not os.path.exists(os.path.join(HERE, 'go')):\n    time.sleep(0.01)\n{}",
        saying(what)
    )
}

/// F22
fn the_new_version_is_loaded_before_the_old_one_leaves(case: &Case) {
    case.needs_ours("its process has left before the next one loads");
    let httpd = serving(case, &saying("old"));
    says(&httpd, "old");
    httpd.rewrite_script("app.wsgi", &loading_slowly("new"));
    let load = Load::start(&httpd, "/", 4, is_ok);
    until("the new version to be loaded", SLOW, || {
        httpd.data().join("loading").exists()
    });
    // Two of the four threads may wait for the new version; the others serve.
    load.more(20);
    assert!(!httpd.data().join("go").exists());
    let mut waits = httpd.raw_get("/");
    std::fs::write(httpd.data().join("go"), "").expect("go");
    assert_eq!(waits.reply().head.status, 200);
    until("the new version", SLOW, || httpd.get("/").text() == "new");
    assert_eq!(load.stop(), Vec::<String>::new());
    says(&httpd, "new");
}

fn a_request_under_way_ends_with_the_old_version(case: &Case) {
    let waiting = "
import os, time
HERE = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')
def application(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        open(os.path.join(HERE, 'started'), 'w').close()
        while not os.path.exists(os.path.join(HERE, 'go')):
            time.sleep(0.01)
    start_response('200 OK', [])
    return [b'old']
";
    // Longer than shutdown-timeout: what counts for requests is graceful-timeout.
    let httpd = case
        .httpd()
        .daemon("threads=4 shutdown-timeout=1 graceful-timeout=15")
        .source("/", "app.wsgi", waiting)
        .start();
    let mut slow = httpd.raw_get("/slow");
    until("the request to begin", SLOW, || {
        httpd.data().join("started").exists()
    });
    httpd.rewrite_script("app.wsgi", &saying("new"));
    says(&httpd, "new");
    if case.theirs() {
        // It gives requests shutdown-timeout.
        std::fs::write(httpd.data().join("go"), "").expect("go");
        assert_eq!(slow.reply().body, b"old");
        return;
    }
    let start = Instant::now();
    until("more than shutdown-timeout", SLOW, || {
        start.elapsed() > Duration::from_millis(1500)
    });
    std::fs::write(httpd.data().join("go"), "").expect("go");
    assert_eq!(slow.reply().body, b"old");
}

fn a_version_that_kills_its_process_leaves_the_old_one_serving(case: &Case) {
    case.needs_ours("it has no process left that could serve");
    let httpd = serving(case, &saying("good"));
    says(&httpd, "good");
    httpd.rewrite_script("app.wsgi", "import os\nos.kill(os.getpid(), 9)\n");
    for _ in 0..3 {
        says(&httpd, "good");
    }
    let line = httpd.wait_log("RW0520");
    assert!(line.text.contains("was killed by signal 9"), "{}", line.text);
    httpd.rewrite_script("app.wsgi", "import os\nos._exit(3)\n");
    says(&httpd, "good");
    httpd.wait_log("exited with status 3");
}

fn other_scripts_of_the_group_are_loaded_as_well(case: &Case) {
    case.needs_ours("it loads each script when it is asked for");
    let httpd = case
        .httpd()
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .source("/other", "other.wsgi", &saying("other"))
        .source("/", "app.wsgi", &saying("one"))
        .start();
    says(&httpd, "one");
    assert_eq!(httpd.get("/other").text(), "other");
    // Something that the other script needs is gone; it still serves, and so must go on.
    std::fs::write(httpd.root().join("scripts/other.wsgi"), "import missing_thing\n").expect("other.wsgi");
    httpd.rewrite_script("app.wsgi", &saying("two"));
    assert_eq!(httpd.get("/").status, 200);
    let line = httpd.wait_log("RW0520");
    assert!(
        line.text
            .contains("other.wsgi': ModuleNotFoundError: No module named 'missing_thing'"),
        "{}",
        line.text
    );
    assert_eq!(httpd.get("/other").text(), "other");
    httpd.rewrite_script("other.wsgi", &saying("other two"));
    until("both new versions", SLOW, || {
        httpd.get("/other").text() == "other two" && httpd.get("/").text() == "two"
    });
    // One that has been removed is not missed.
    std::fs::remove_file(httpd.root().join("scripts/other.wsgi")).expect("remove");
    httpd.rewrite_script("app.wsgi", &saying("three"));
    says(&httpd, "three");
    httpd.announce_traceback();
    httpd.provoked(&[codes::OLD_VERSION]);
}

/// Answers with its process id; `/wait` when the file `go` exists.
const WAITS: &str = "
import os, time
HERE = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')
def application(environ, start_response):
    if environ['PATH_INFO'] == '/wait':
        open(os.path.join(HERE, 'started'), 'w').close()
        while not os.path.exists(os.path.join(HERE, 'go')):
            time.sleep(0.01)
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";

/// Two workers with a thread each, of which one has loaded the script and runs a request.
fn one_of_two(case: &Case, source: &str) -> (Httpd, Raw) {
    case.needs_ours("each of its processes loads what it finds");
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=1")
        .source("/", "app.wsgi", source)
        .start();
    let waits = httpd.raw_get("/wait");
    until("the request to begin", SLOW, || {
        httpd.data().join("started").exists()
    });
    (httpd, waits)
}

/// F19
fn a_worker_that_cannot_load_what_another_serves_leaves_requests_to_that_one(case: &Case) {
    for broken in [
        "raise ValueError('half uploaded')\n",
        "no_application = 1\n",
        "import os\nos._exit(5)\n",
    ] {
        let (httpd, mut waits) = one_of_two(case, WAITS);
        httpd.rewrite_script("app.wsgi", broken);
        let mut goes_on = httpd.raw_get("/");
        let line = httpd.wait_log("RW0521").text;
        assert!(
            line.contains("does not serve beside the others, which go on"),
            "{line}"
        );
        std::fs::write(httpd.data().join("go"), "").expect("go");
        let replies = [waits.reply(), goes_on.reply()];
        assert_eq!(replies[0].head.status, 200, "{broken}");
        assert_eq!(replies[1].head.status, 200, "{broken}");
        assert_eq!(replies[0].body, replies[1].body, "the same worker");
        httpd.rewrite_script("app.wsgi", &saying("mended"));
        until("the mended version", SLOW, || {
            let reply = httpd.get("/");
            assert_eq!(reply.status, 200, "{}", reply.text());
            reply.text() == "mended"
        });
        httpd.announce_traceback();
        httpd.provoked(&[codes::OLD_VERSION]);
    }
}

fn what_other_workers_give_to_requests_must_be_in_the_new_version(case: &Case) {
    let other =
        "def other(environ, start_response):\n    start_response('200 OK', [])\n    return [b'other']\n";
    let conf = "WSGIScriptAlias /other @SCRIPTS@/app.wsgi callable-object=other application-group=%{GLOBAL}";
    case.needs_ours("it serves errors until the script is mended");
    let httpd = case
        .httpd()
        .conf(conf)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .source("/", "app.wsgi", &format!("{}{other}", saying("good")))
        .start();
    says(&httpd, "good");
    assert_eq!(httpd.get("/other").text(), "other");
    httpd.rewrite_script("app.wsgi", &saying("only one"));
    for _ in 0..3 {
        says(&httpd, "good");
        assert_eq!(httpd.get("/other").text(), "other");
    }
    assert!(httpd.wait_log("RW0520").text.contains("no callable 'other'"));
    httpd.rewrite_script("app.wsgi", &format!("{}{other}", saying("both")));
    says(&httpd, "both");
    httpd.provoked(&[codes::OLD_VERSION]);
}

/// F21
fn a_storm_of_changes_starts_few_workers(case: &Case) {
    case.needs_ours("each change ends a process");
    let httpd = serving(case, &saying("0"));
    says(&httpd, "0");
    let load = Load::start(&httpd, "/", 2, is_ok);
    let start = Instant::now();
    let mut version = 0;
    while start.elapsed() < Duration::from_secs(3) {
        version += 1;
        httpd.rewrite_script("app.wsgi", &saying(&version.to_string()));
        std::thread::sleep(Duration::from_millis(20));
    }
    until("the last version", SLOW, || {
        httpd.get("/").text() == version.to_string()
    });
    assert_eq!(load.stop(), Vec::<String>::new());
    let started = httpd.log_with("a worker that loads it starts").len();
    assert!(
        (1..8).contains(&started),
        "{started} workers for {version} changes"
    );
}

fn the_old_module_lives_while_it_is_used(case: &Case) {
    let source = |what: &str| {
        format!(
            "import sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    \
             keep = sys.modules.setdefault('kept', type(sys)('kept'))\n    keep.__dict__.setdefault('{what}', application)\n    \
             return [' '.join(f'{{k}}={{v.__globals__[\"NAME\"]}}' for k, v in sorted(vars(keep).items()) if callable(v)).encode()]\n\
             NAME = '{what}'\n"
        )
    };
    let httpd = serving(case, &source("one"));
    says(&httpd, "one=one");
    httpd.rewrite_script("app.wsgi", &source("two"));
    says(&httpd, "one=one two=two");
}

/// F22: as pip does it, the package first, the list of its files last.
fn what_is_installed_in_the_virtual_environment_renews_workers_once_it_is_complete(case: &Case) {
    case.needs_ours("it looks at the script only");
    let builder = case.httpd().daemon("processes=1 threads=3");
    let python = python(case, "3.11");
    let venv = venv_of(&python, builder.root(), "packages");
    let site = venv.join(format!("lib/python{}/site-packages", python.version));
    let install = |version: &str| {
        let info = site.join(format!("package-{version}.dist-info"));
        std::fs::create_dir(&info).expect("mkdir");
        std::fs::write(site.join("package.py"), format!("VERSION = '{version}'\n")).expect("write");
        info.join("RECORD")
    };
    std::fs::write(install("1"), "").expect("RECORD");
    let source = "import os, package\ndef application(environ, start_response):\n    \
                  start_response('200 OK', [('X-Pid', str(os.getpid()))])\n    return [package.VERSION.encode()]\n";
    let httpd = builder
        .python_home(Some(&venv))
        .source("/", "app.wsgi", source)
        .start();
    let first = httpd.get("/");
    assert_eq!(first.text(), "1");
    std::fs::remove_dir_all(site.join("package-1.dist-info")).expect("rmdir");
    let record = install("22");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(3500) {
        let reply = httpd.get("/");
        assert_eq!(
            (reply.status, &reply.text()[..]),
            (200, "1"),
            "it is not complete"
        );
        assert_eq!(reply.header("x-pid"), first.header("x-pid"));
        std::thread::sleep(Duration::from_millis(100));
    }
    std::fs::write(record, "").expect("RECORD");
    until("what was installed", SLOW, || {
        let reply = httpd.get("/");
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text() == "22"
    });
    assert_eq!(httpd.log_with("packages of its virtual environment").len(), 1);
}
