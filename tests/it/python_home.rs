//! A python-home may be a venv or a prefix; each wrong one gets a message that says which and what to do.

use crate::codes;
use rwsgi_testkit::{Builder, Case, Topic, python, test, venv_of};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        without_a_python_home_the_systems_python_serves,
        a_prefix_serves,
        a_missing_directory_is_named,
        a_directory_without_a_python_is_named,
        a_file_is_no_python_home,
        a_python_older_than_3_9_is_refused,
        python_2_is_refused,
        a_program_that_is_no_python_is_refused,
    ]);
    topic.daemon(test![
        a_python_that_the_user_cannot_reach_is_named,
        a_venv_whose_python_has_gone_is_named
    ]);
}

fn without_a_python_home_the_systems_python_serves(case: &Case) {
    let httpd = case.httpd().python_home(None).app("environ.wsgi").start();
    let reply = httpd.get("/");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.json()["_"]["version"][1].as_u64() >= Some(9));
}

fn a_prefix_serves(case: &Case) {
    case.needs_ours("it is built for one Python");
    let python = python(case, "3.12");
    let httpd = case
        .httpd()
        .python_home(Some(&python.prefix))
        .app("environ.wsgi")
        .start();
    let environ = httpd.get("/").json();
    assert_eq!(environ["_"]["prefix"], python.prefix.display().to_string());
    assert_eq!(environ["_"]["version"][1], 12);
}

/// The server refuses to start, or the request is refused (not 502: nothing died); either says the home and the words.
fn is_refused(case: &Case, builder: Builder, home: &Path, words: &[&str]) {
    case.needs_ours("it crashes and is started again, about once a second");
    let home_text = home.display().to_string();
    match builder.python_home(Some(home)).app("hello.wsgi").try_start() {
        Err(text) => {
            for word in words.iter().chain([&home_text.as_str()]) {
                assert!(text.contains(word), "does not say {word:?}: {text}");
            }
        }
        Ok(httpd) => {
            for _ in 0..2 {
                let status = httpd.get("/").status;
                assert!(matches!(status, 500 | 503), "{status}");
            }
            httpd.wait_log(&home_text);
            for word in words {
                httpd.wait_log(word);
            }
            httpd.provoked(&[codes::PYTHON_HOME, codes::BACK_OFF]);
        }
    }
}

fn a_missing_directory_is_named(case: &Case) {
    let builder = case.httpd();
    let home = builder.root().join("no-such-venv");
    is_refused(case, builder, &home, &["does not exist"]);
}

fn a_directory_without_a_python_is_named(case: &Case) {
    let builder = case.httpd().file("empty-home/readme", "nothing here");
    let home = builder.root().join("empty-home");
    is_refused(case, builder, &home, &["bin/python"]);
}

fn a_file_is_no_python_home(case: &Case) {
    let builder = case.httpd().file("home-file", "nothing here");
    let home = builder.root().join("home-file");
    is_refused(case, builder, &home, &["director"]);
}

fn a_python_older_than_3_9_is_refused(case: &Case) {
    let old = python(case, "3.8");
    is_refused(case, case.httpd(), &old.prefix, &["3.8", "3.9"]);
}

fn python_2_is_refused(case: &Case) {
    let builder = case.httpd();
    let old = python(case, "2.7");
    is_refused(case, builder, &old.prefix, &["2.7", "3.9"]);
}

fn a_program_that_is_no_python_is_refused(case: &Case) {
    let builder = case.httpd().file("false-home/bin/python3", "#!/bin/sh\nexit 0\n");
    let home = builder.root().join("false-home");
    let program = home.join("bin/python3");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("chmod");
    std::fs::copy(&program, home.join("bin/python")).expect("copy");
    is_refused(case, builder, &home, &["ython"]);
}

fn a_python_that_the_user_cannot_reach_is_named(case: &Case) {
    case.needs_root();
    let builder = case.httpd();
    let python = python(case, "3.12");
    let closed = builder.root().join("closed");
    std::fs::create_dir(&closed).expect("mkdir");
    let venv = venv_of(&python, &closed, "private");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).expect("chmod");
    is_refused(case, builder, &venv, &["permission"]);
}

/// F24
fn a_venv_whose_python_has_gone_is_named(case: &Case) {
    let builder = case.httpd();
    let python = python(case, "3.12");
    let venv = venv_of(&python, builder.root(), "broken");
    for name in ["python", "python3", "python3.12"] {
        let link = venv.join("bin").join(name);
        std::fs::remove_file(&link).expect("unlink");
        std::os::unix::fs::symlink("/nonexistent/python3.12", &link).expect("symlink");
    }
    is_refused(case, builder, &venv, &["gone"]);
}
