//! Real frameworks, as their own documentation deploys them.

use rwsgi_testkit::{Builder, Case, Httpd, Reply, Topic, apps_python, counting, json, test, test_file};
use std::process::Command;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        flask_serves_pages_sessions_uploads_and_streams,
        flask_below_a_path_builds_right_urls,
        django_admin_login_with_session_and_csrf,
        django_takes_uploads_and_streams,
        django_reports_a_failing_view_as_500,
        static_files_are_served_beside_the_application,
        an_application_in_the_validator_finds_nothing,
        extensions_work_in_the_default_application_group,
    ]);
}

/// The application group that is right for C extensions: the original has them only in the main interpreter.
fn main_interpreter_for_theirs(case: &Case, builder: Builder) -> Builder {
    if case.theirs() {
        builder.conf("WSGIApplicationGroup %{GLOBAL}")
    } else {
        builder
    }
}

fn multipart(text: &str, file: &[u8]) -> (String, Vec<u8>) {
    let mut body = format!(
        "--here\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n{text}\r\n--here\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"photo.bin\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--here--\r\n");
    ("multipart/form-data; boundary=here".to_owned(), body)
}

/// `name=value` of a cookie that an answer sets.
fn cookie(reply: &Reply, name: &str) -> String {
    reply
        .header_values("set-cookie")
        .into_iter()
        .find(|value| value.starts_with(&format!("{name}=")))
        .and_then(|value| value.split(';').next())
        .unwrap_or_else(|| panic!("no cookie {name}: {:?}", reply.headers))
        .to_owned()
}

fn flask(case: &Case, url: &str) -> Httpd {
    case.needs_apps();
    main_interpreter_for_theirs(case, case.httpd().alias(url, "flask_app.wsgi")).start()
}

fn flask_serves_pages_sessions_uploads_and_streams(case: &Case) {
    let httpd = flask(case, "/");
    assert_eq!(httpd.get("/hello/world").text(), "Hello, world!");
    assert_eq!(httpd.get("/hello/caf%C3%A9").text(), "Hello, café!");
    let form = httpd
        .request("POST", "/login")
        .header("Content-Type", "application/x-www-form-urlencoded");
    let login = form.body("user=anna").send();
    assert_eq!((login.status, login.header("location")), (302, Some("/me")));
    let session = cookie(&login, "session");
    assert_eq!(
        httpd
            .request("GET", "/me")
            .header("Cookie", &session)
            .send()
            .text(),
        "anna"
    );
    assert_eq!(httpd.get("/me").text(), "nobody");
    let photo = counting(256, 1_500_000);
    let (kind, body) = multipart("hi", &photo);
    let upload = httpd
        .request("POST", "/upload")
        .header("Content-Type", &kind)
        .body(body)
        .send()
        .json();
    let sum: u64 = photo.iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(
        upload,
        json!({"name": "photo.bin", "length": photo.len(), "sum": sum})
    );
    let lines = httpd.get("/stream").text();
    assert_eq!(
        (lines.lines().count(), lines.lines().last()),
        (100, Some("line 99"))
    );
    assert_eq!(httpd.get("/missing").status, 404);
    assert_eq!(httpd.get("/fails").status, 500);
    httpd.wait_log("ValueError: a view failed");
    httpd.announce_traceback();
    httpd.announce("Exception on /fails");
}

fn flask_below_a_path_builds_right_urls(case: &Case) {
    let httpd = flask(case, "/shop");
    let index = httpd.get("/shop/").json();
    assert_eq!(
        (&index["script_root"], &index["path"]),
        (&json!("/shop"), &json!("/"))
    );
    let form = httpd
        .request("POST", "/shop/login")
        .header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(form.body("user=anna").send().header("location"), Some("/shop/me"));
}

fn django(case: &Case) -> Httpd {
    case.needs_apps();
    let mut builder = case.httpd();
    for file in ["__init__.py", "settings.py", "urls.py"] {
        let content = std::fs::read(test_file("apps/djangosite").join(file)).expect("project file");
        builder = builder.file(&format!("project/djangosite/{file}"), content);
    }
    let setup = std::fs::read(test_file("apps/django_setup.py")).expect("set-up");
    let builder = builder.file("project/django_setup.py", setup);
    let root = builder.root().to_path_buf();
    let made = Command::new(apps_python())
        .arg(root.join("project/django_setup.py"))
        .output()
        .expect("python");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let open = Command::new("chmod")
        .args(["-R", "a+rwX"])
        .args([root.join("data"), root.join("static")])
        .status();
    assert!(open.expect("chmod").success());
    let builder = builder
        .conf("Alias /static @ROOT@/static")
        .alias("/", "django_site.wsgi");
    let builder = main_interpreter_for_theirs(case, builder);
    if case.embedded() {
        builder.conf("WSGIPythonPath @ROOT@/project").start()
    } else {
        builder
            .daemon("processes=2 threads=4 python-path=@ROOT@/project")
            .start()
    }
}

fn django_admin_login_with_session_and_csrf(case: &Case) {
    let httpd = django(case);
    assert_eq!(httpd.get("/").text(), "Hello from Django as nobody");
    let page = httpd.get("/admin/login/?next=/admin/");
    assert_eq!(page.status, 200, "{}", page.text());
    let csrf = cookie(&page, "csrftoken");
    let text = page.text();
    let token = text
        .split("name=\"csrfmiddlewaretoken\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let token = token.unwrap_or_else(|| panic!("no token in {text}"));
    let form = format!("csrfmiddlewaretoken={token}&username=admin&password=secret&next=%2Fadmin%2F");
    let post = |cookies: &str, form: &str| {
        let request = httpd
            .request("POST", "/admin/login/?next=/admin/")
            .header("Cookie", cookies);
        request
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
    };
    let without = post(&csrf, "username=admin&password=secret");
    assert_eq!(without.status, 403, "CSRF is checked");
    let login = post(&csrf, &form);
    assert_eq!(
        (login.status, login.header("location")),
        (302, Some("/admin/")),
        "{}",
        login.text()
    );
    let session = cookie(&login, "sessionid");
    let admin = httpd.request("GET", "/admin/").header("Cookie", &session).send();
    assert_eq!(admin.status, 200);
    assert!(admin.text().contains("Site administration"), "{}", admin.text());
    let greeting = httpd.request("GET", "/").header("Cookie", &session).send();
    assert_eq!(greeting.text(), "Hello from Django as admin");
    let users = httpd
        .request("GET", "/admin/auth/user/")
        .header("Cookie", &session)
        .send();
    assert!(users.text().contains("admin@example.org"), "{}", users.text());
    httpd.announce("Forbidden"); // Django's own words about the missing token, by way of sys.stderr
}

fn django_takes_uploads_and_streams(case: &Case) {
    let httpd = django(case);
    let photo = counting(253, 2_000_000);
    let (kind, body) = multipart("caption", &photo);
    let upload = httpd
        .request("POST", "/upload/")
        .header("Content-Type", &kind)
        .body(body)
        .send()
        .json();
    let sum: u64 = photo.iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(
        upload,
        json!({"name": "photo.bin", "length": photo.len(), "sum": sum, "text": "caption"})
    );
    let rows = httpd.get("/stream/");
    assert_eq!(
        (rows.header("content-type"), rows.text().lines().count()),
        (Some("text/csv"), 1000)
    );
}

fn django_reports_a_failing_view_as_500(case: &Case) {
    let httpd = django(case);
    let reply = httpd.get("/fails/");
    assert_eq!(reply.status, 500);
    assert!(
        reply.text().contains("Server Error (500)"),
        "Django's own page: {}",
        reply.text()
    );
}

fn static_files_are_served_beside_the_application(case: &Case) {
    let httpd = django(case);
    let reply = httpd.get("/static/admin/css/base.css");
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("text/css"))
    );
    assert_eq!(httpd.get("/static/missing.css").status, 404);
}

fn an_application_in_the_validator_finds_nothing(case: &Case) {
    let httpd = case.httpd().app("validated.wsgi").start();
    for path in ["/", "/generator", "/a/b?c=d"] {
        let reply = httpd.post(path, "0123456789");
        assert_eq!((reply.status, reply.text().as_str()), (200, "read 10"), "{path}");
        assert_eq!(httpd.get(path).text(), "read 0");
    }
}

fn extensions_work_in_the_default_application_group(case: &Case) {
    case.needs_apps();
    // The original runs each default group in a sub-interpreter, which these extensions refuse or survive by luck.
    // In embedded mode that is so for everybody.
    let builder = case.httpd().app("extensions.wsgi");
    let main_only = case.theirs() || case.embedded();
    let builder = if main_only {
        builder.conf("WSGIApplicationGroup %{GLOBAL}")
    } else {
        builder
    };
    let httpd = builder.start();
    for _ in 0..3 {
        let answer = httpd.get("/").json();
        assert_eq!(answer["numpy"], json!(45.0));
        assert_eq!(answer["pydantic"], json!(3));
        assert_eq!(answer["cryptography"], json!("secret"));
        assert_eq!(
            answer["group"].as_str().map(str::is_empty),
            Some(main_only),
            "{answer}"
        );
    }
}
