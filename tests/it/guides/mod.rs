//! What mod_wsgi's guides show, and what people have copied from them for years, unchanged but for paths, ports and Python 2.

use rwsgi_testkit::{Builder, Case, Httpd, Topic};

mod code;
mod handlers;
mod mounting;
mod processes;

pub fn tests(topic: &mut Topic) {
    mounting::tests(topic);
    handlers::tests(topic);
    processes::tests(topic);
    code::tests(topic);
}

/// Loaded by the name that existing configurations use, with the guides' scripts in `wsgi/scripts`.
fn site(case: &Case) -> Builder {
    let environ = include_str!("../../apps/environ.wsgi");
    let mut builder = case.httpd().identity("wsgi_module");
    for name in ["myapp.wsgi", "mywiki.wsgi", "myblog.wsgi", "index.wsgi"] {
        builder = builder.file(&format!("wsgi/scripts/{name}"), environ);
    }
    for (name, content) in [
        ("robots.txt", "User-agent: *\n"),
        ("favicon.ico", "icon"),
        ("styles/a.css", "css"),
        ("media/film", "film"),
        ("media/deep/a.css", "deep css"),
    ] {
        builder = builder.file(&format!("wsgi/static/{name}"), content);
    }
    builder
}

fn names(httpd: &Httpd, path: &str) -> (String, String, String) {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    let environ = reply.json();
    let name = |key: &str| environ[key].as_str().unwrap_or("absent").to_owned();
    let script = name("SCRIPT_FILENAME");
    let file = script.rsplit('/').next().unwrap_or_default().to_owned();
    (file, name("SCRIPT_NAME"), name("PATH_INFO"))
}

#[track_caller]
fn serves(httpd: &Httpd, expected: &[(&str, &str, &str, &str)]) {
    for (path, file, script_name, path_info) in expected {
        let (file, script_name, path_info) = (
            (*file).to_owned(),
            (*script_name).to_owned(),
            (*path_info).to_owned(),
        );
        assert_eq!(names(httpd, path), (file, script_name, path_info), "{path}");
    }
}

#[track_caller]
fn files(httpd: &Httpd, expected: &[(&str, &str)]) {
    for (path, content) in expected {
        assert_eq!(httpd.get(path).text(), *content, "{path}");
    }
}
