//! Who runs what: users come while httpd runs, each application is its own user's, with its own Python.

use super::places::{ANN, BOB, Home, USERS, User, add_account, world};
use rwsgi_testkit::{Case, Httpd, Topic, Value, apps_python, test};
use std::os::unix::fs::symlink;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        a_user_who_comes_while_httpd_runs_is_served,
        two_users_run_as_themselves_and_see_nothing_of_each_other,
        an_application_has_its_own_python,
        a_flask_project_as_people_have_it,
        a_django_project_as_people_have_it,
    ]);
}

const ENVIRON: &str = "environ.wsgi";

fn about(httpd: &Httpd, url: &str) -> Value {
    let reply = httpd.get(url);
    assert_eq!(reply.status, 200, "{url}: {}", reply.text());
    reply.json()["_"].clone()
}

fn a_user_who_comes_while_httpd_runs_is_served(case: &Case) {
    let eve = User {
        name: "eve",
        uid: 41_003,
    };
    world(case, "").run(|httpd| {
        assert_eq!(httpd.get("/~eve/").status, 404);
        add_account(httpd, eve);
        Home::of(httpd, eve).app("app.wsgi", ENVIRON);
        assert_eq!(about(httpd, "/~eve/")["uid"][0], eve.uid);
        assert!(httpd.log_with("Graceful restart").is_empty());
    });
}

// R15, R9
fn two_users_run_as_themselves_and_see_nothing_of_each_other(case: &Case) {
    let world = world(case, "");
    for user in USERS {
        world.home(user).app("app.wsgi", ENVIRON);
    }
    world.run(|httpd| {
        for (name, id) in [("ann", ANN), ("bob", BOB)] {
            let about = about(httpd, &format!("/~{name}/"));
            assert_eq!((&about["uid"][0], &about["uid"][1]), (&id.into(), &id.into()));
            assert_eq!((&about["gid"][0], &about["gid"][1]), (&id.into(), &id.into()));
            let environment = &about["environment"];
            let home = httpd.root().join("home").join(name);
            assert_eq!(
                (&environment["USER"], &environment["LOGNAME"]),
                (&name.into(), &name.into())
            );
            assert_eq!(environment["HOME"], home.display().to_string().as_str());
        }
        let mut owners: Vec<String> = httpd
            .workers()
            .iter()
            .map(|worker| worker.status("Uid").expect("uid"))
            .collect();
        owners.sort();
        let four = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
        assert_eq!(owners, [four(ANN), four(BOB)]);
    });
}

// C24
fn an_application_has_its_own_python(case: &Case) {
    let world = world(case, "");
    let python = apps_python().canonicalize().expect("a Python");
    let home = world.home(USERS[0]);
    for (directory, venv) in [("dotted", ".venv"), ("plain", "venv")] {
        home.app(&format!("{directory}/app.wsgi"), ENVIRON);
        let venv = format!("{directory}/{venv}");
        home.directory(&format!("{venv}/bin"));
        home.open_file(
            &format!("{venv}/pyvenv.cfg"),
            format!("home = {}\n", python.parent().expect("bin").display()),
        );
        symlink(&python, home.base().join(&venv).join("bin/python3")).expect("symlink");
    }
    world.run(|httpd| {
        for (directory, venv) in [("dotted", ".venv"), ("plain", "venv")] {
            let expected = home.base().join(directory).join(venv).display().to_string();
            assert_eq!(
                about(httpd, &format!("/~ann/{directory}/"))["prefix"],
                expected.as_str()
            );
        }
    });
}

/// As cPanel and Passenger have it: `passenger_wsgi.py` imports the application as `application`.
fn a_flask_project_as_people_have_it(case: &Case) {
    let world = world(case, "");
    let home = world.home(USERS[0]);
    home.file(
        "shop/shop/__init__.py",
        "from flask import Flask, request, url_for\napp = Flask(__name__)\n\
         @app.route('/')\ndef index():\n    return url_for('item', number=3)\n\
         @app.route('/item/<int:number>', methods=['GET', 'POST'])\ndef item(number):\n    return f'{number} {request.form.get(\"q\")}'\n",
    )
    .file("shop/passenger_wsgi.py", "from shop import app as application\n")
    .open_file("shop/public/static/shop.css", "body {}\n")
    .file("shop/tmp/restart.txt", "");
    world.run(|httpd| {
        assert_eq!(httpd.get("/~ann/shop/").text(), "/~ann/shop/item/3");
        let form = httpd
            .request("POST", "/~ann/shop/item/4")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body("q=blue")
            .send();
        assert_eq!(form.text(), "4 blue");
        assert_eq!(httpd.get("/~ann/shop/static/shop.css").text(), "body {}\n");
        assert_eq!(httpd.get("/~ann/shop/nothing").status, 404);
    });
}

fn a_django_project_as_people_have_it(case: &Case) {
    let world = world(case, "startup-timeout=60");
    let home = world.home(USERS[0]);
    for file in ["__init__.py", "settings.py", "urls.py"] {
        home.app(&format!("djangosite/{file}"), &format!("djangosite/{file}"));
    }
    home.app("djangosite/wsgi.py", "django_site.wsgi")
        .file("passenger_wsgi.py", "from djangosite.wsgi import application\n");
    world.run(|httpd| {
        let login = httpd.get("/~ann/admin/login/");
        assert!(
            login.text().contains("csrfmiddlewaretoken"),
            "{} {}",
            login.status,
            login.text()
        );
        assert_eq!(httpd.get("/~ann/djangosite/settings.py").status, 404);
    });
}
