//! Recipes for scripts.

use super::site;
use rwsgi_testkit::{Builder, Case, Httpd, Topic, apps_venv, test, until};
use std::fs;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        a_script_that_tells_where_it_runs,
        detection_of_the_module,
        middleware_that_logs_requests_and_answers,
        middleware_that_keeps_requests_and_answers_in_files,
        cleaning_up_after_the_answer_and_at_the_end,
        standard_output_as_standard_error,
        files_through_the_wrapper_if_there_is_one,
        packages_of_another_environment,
    ]);
    topic.daemon(test![
        a_page_that_restarts_its_process,
        a_thread_that_restarts_its_process_when_code_changes,
        a_new_django_project_with_its_own_wsgi_file,
    ]);
}

const TICK: Duration = Duration::from_secs(20);

fn script(case: &Case, source: &str) -> Builder {
    site(case)
        .file("wsgi/scripts/recipe.wsgi", source)
        .conf("WSGIScriptAlias / @ROOT@/wsgi/scripts/recipe.wsgi")
}

fn a_script_that_tells_where_it_runs(case: &Case) {
    let httpd = script(case, include_str!("code/diagnostic.wsgi")).start();
    let text = httpd.get("/").text();
    let group = if case.embedded() { "''" } else { "'site'" };
    assert!(
        text.contains(&format!("mod_wsgi.process_group     = {group}\n")),
        "{text}"
    );
    let expected = format!("mod_wsgi.application_group = '127.0.0.1:{}|'\n", httpd.port());
    assert!(text.contains(&expected), "{text}");
    let venv = apps_venv().expect("prepared").display().to_string();
    assert!(
        text.contains(&format!("sys.prefix                 = '{venv}'")),
        "{text}"
    );
}

fn detection_of_the_module(case: &Case) {
    let source = "try:\n    from mod_wsgi import version\n    imported = True\nexcept ImportError:\n    imported = False\n\
        named = __name__.startswith('_mod_wsgi_')\n\n\
        def application(environ, start_response):\n    start_response('200 OK', [('Content-type', 'text/plain')])\n    \
        keyed = environ.get('mod_wsgi.version') == version\n    return [repr((imported, named, keyed, version)).encode()]\n";
    let httpd = script(case, source).start();
    assert_eq!(httpd.get("/").text(), "(True, True, True, (6, 1, 1))");
}

fn middleware_that_logs_requests_and_answers(case: &Case) {
    let httpd = script(case, include_str!("code/logging.wsgi")).start();
    assert_eq!(httpd.get("/shown").text(), "Hello World!");
    httpd.wait_log("('REQUEST',");
    httpd.wait_log("'PATH_INFO': '/shown',");
    httpd.wait_log("('RESPONSE',");
    httpd.wait_log("application debug #1");
    httpd.wait_log("application debug #2");
    httpd.announce(""); // what goes to `wsgi.errors` is of level error
}

fn middleware_that_keeps_requests_and_answers_in_files(case: &Case) {
    let source = include_str!("code/keeping.wsgi");
    let builder = script(case, source);
    let kept = builder.root().join("data");
    let httpd = builder.conf("SetEnv keep.in @ROOT@/data").start();
    let answer = httpd.post("/", "a body");
    assert_eq!((answer.status, answer.text().as_str()), (200, "A BODY"));
    let content = |kind: &str| {
        let files = fs::read_dir(&kept)
            .expect("data")
            .flatten()
            .map(|entry| entry.path());
        let mut files = files.filter(|path| path.extension().is_some_and(|e| e == kind));
        fs::read_to_string(files.next().expect(kind)).expect("text")
    };
    assert_eq!(content("icontent"), "a body");
    assert_eq!(content("ocontent"), "A BODY");
    assert!(content("iheaders").contains("'REQUEST_METHOD': 'POST'"));
    assert!(content("oheaders").contains("200 OK"));
}

fn cleaning_up_after_the_answer_and_at_the_end(case: &Case) {
    let builder = script(case, include_str!("code/cleanup.wsgi"));
    let data = builder.root().join("data");
    let httpd = builder.children(1).start();
    assert_eq!(httpd.get("/").text(), "Hello World!");
    until("the clean-up after the answer", TICK, || {
        data.join("after").exists()
    });
    assert!(!data.join("end").exists());
    httpd.stop();
    assert!(data.join("end").exists());
}

fn standard_output_as_standard_error(case: &Case) {
    let source = "import sys\nsys.stdout = sys.stderr\n\ndef application(environ, start_response):\n    \
        print('printed by the recipe')\n    start_response('200 OK', [])\n    return [b'']\n";
    let httpd = script(case, source).start();
    assert_eq!(httpd.get("/").status, 200);
    httpd.wait_log("printed by the recipe");
}

fn files_through_the_wrapper_if_there_is_one(case: &Case) {
    let source = "def application(environ, start_response):\n    start_response('200 OK', [('Content-type', 'text/plain')])\n    \
        filelike = open(environ['shown'], 'rb')\n    block_size = 4096\n\n    \
        if 'wsgi.file_wrapper' in environ:\n        return environ['wsgi.file_wrapper'](filelike, block_size)\n    \
        else:\n        return iter(lambda: filelike.read(block_size), b'')\n";
    let content = "0123456789".repeat(2000);
    let httpd = script(case, source)
        .file("shown.txt", &content)
        .conf("SetEnv shown @ROOT@/shown.txt")
        .start();
    let reply = httpd.get("/");
    assert_eq!((reply.status, reply.text()), (200, content));
}

fn packages_of_another_environment(case: &Case) {
    let source = "import os, site, sys\n\
        python_home = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + '/envs/myapp1'\n\
        python_version = '.'.join(map(str, sys.version_info[:2]))\n\
        site_packages = python_home + '/lib/python%s/site-packages' % python_version\n\
        site.addsitedir(site_packages)\nimport only_there\n\n\
        def application(environ, start_response):\n    start_response('200 OK', [])\n    return [only_there.NAME]\n";
    let versions = (9..=13).map(|minor| format!("envs/myapp1/lib/python3.{minor}/site-packages"));
    let mut builder = script(case, source);
    for directory in versions {
        builder = builder.file(&format!("{directory}/more.pth"), "deeper\n").file(
            &format!("{directory}/deeper/only_there.py"),
            "NAME = b'only there'\n",
        );
    }
    assert_eq!(builder.start().get("/").text(), "only there");
}

fn pid(httpd: &Httpd, path: &str) -> i64 {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().parse().expect("a process id")
}

fn a_page_that_restarts_its_process(case: &Case) {
    let source = "import os, signal\n\ndef application(environ, start_response):\n    \
        if environ['PATH_INFO'] == '/restart':\n        if environ['mod_wsgi.process_group'] != '':\n            \
        os.kill(os.getpid(), signal.SIGINT)\n    \
        start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [str(os.getpid()).encode()]\n";
    let httpd = script(case, source).start();
    for _ in 0..3 {
        let before = pid(&httpd, "/");
        assert_eq!(
            pid(&httpd, "/restart"),
            before,
            "the page itself is served to its end"
        );
        until("another process", TICK, || {
            let reply = httpd.get("/");
            reply.status == 200 && reply.text() != before.to_string()
        });
    }
}

fn a_thread_that_restarts_its_process_when_code_changes(case: &Case) {
    let source = "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport monitor\nmonitor.start(interval=0.1)\n\
        monitor.track(os.path.join(os.path.dirname(__file__), 'site.cf'))\nimport changing\n\n\
        def application(environ, start_response):\n    start_response('200 OK', [])\n    return [changing.NAME, b'!' if changing.__file__ in monitor._times else b'']\n";
    let builder = script(case, source)
        .file("wsgi/scripts/monitor.py", include_str!("code/monitor.py"))
        .file("wsgi/scripts/site.cf", "")
        .file("wsgi/scripts/changing.py", "NAME = b'old'\n");
    let changing = builder.root().join("wsgi/scripts/changing.py");
    let httpd = builder.start();
    until("a look at the time stamps", TICK, || {
        httpd.get("/").text() == "old!"
    });
    fs::write(&changing, "NAME = b'new, and longer'\n").expect("changed");
    until("the new code", TICK, || {
        httpd.get("/").text().starts_with("new, and longer")
    });
    httpd.wait_log("Change detected to");
    httpd.wait_log("Triggering process restart.");
    httpd.announce("Starting change monitor.");
}

fn a_new_django_project_with_its_own_wsgi_file(case: &Case) {
    case.needs_apps();
    let venv = apps_venv().expect("prepared");
    let builder = site(case).bare();
    let root = builder.root().to_path_buf();
    let made = std::process::Command::new(venv.join("bin/django-admin"))
        .args(["startproject", "mysite"])
        .current_dir(&root)
        .status();
    assert!(made.expect("django-admin").success());
    let open = std::process::Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(root.join("mysite"))
        .status();
    assert!(open.expect("chmod").success());
    let httpd = builder
        .conf(
            "WSGIScriptAlias / @ROOT@/mysite/mysite/wsgi.py\nWSGIDaemonProcess example.com python-home=@VENV@ python-path=@ROOT@/mysite\n\
             WSGIProcessGroup example.com\nWSGIApplicationGroup %{GLOBAL}\n\n<Directory @ROOT@/mysite/mysite>\n<Files wsgi.py>\n\
             Require all granted\n</Files>\n</Directory>",
        )
        .start();
    let page = httpd.get("/");
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(
        page.text().contains("The install worked successfully"),
        "{}",
        page.text()
    );
}
