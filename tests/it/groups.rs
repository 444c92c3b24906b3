//! Process groups and application groups: who shares an interpreter, who does not, and where the names come from.

use rwsgi_testkit::{Builder, Case, Httpd, Topic, Value, python, test, venv_of};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        global_is_the_main_interpreter,
        a_name_is_taken_as_it_is,
        server_is_name_and_port,
        host_follows_the_request,
        resource_is_server_and_mount_point,
        env_names_the_group,
        env_that_is_not_set_is_taken_literally,
        the_default_group_does_not_follow_the_client,
        applications_of_different_groups_share_nothing,
        applications_of_one_group_share_their_interpreter,
        directory_settings_beat_those_of_the_virtual_host,
    ]);
    topic.daemon(test![
        alias_options_choose_both_groups,
        process_group_by_environment_variable,
        unknown_process_group_is_a_500_that_names_it,
        a_group_of_another_virtual_host_is_refused,
        two_pythons_and_two_venvs_in_one_httpd,
        processes_count_in_each_application_group,
    ]);
}

fn with_group(case: &Case, group: &str) -> Builder {
    case.httpd()
        .alias("/app", "state.wsgi")
        .conf(&format!("WSGIApplicationGroup {group}"))
}

fn group_of(httpd: &Httpd, path: &str) -> String {
    let answer = httpd.get(path).json();
    answer["application_group"]
        .as_str()
        .expect("application_group")
        .to_owned()
}

fn ask_host(httpd: &Httpd, host: &str, path: &str) -> Value {
    httpd.request("GET", path).header("Host", host).send().json()
}

fn global_is_the_main_interpreter(case: &Case) {
    let httpd = with_group(case, "%{GLOBAL}").start();
    assert_eq!(group_of(&httpd, "/app"), "");
}

fn a_name_is_taken_as_it_is(case: &Case) {
    let httpd = with_group(case, "my-shop.v2").start();
    assert_eq!(group_of(&httpd, "/app"), "my-shop.v2");
}

fn server_is_name_and_port(case: &Case) {
    let httpd = with_group(case, "%{SERVER}")
        .conf("UseCanonicalName On\nServerName 127.0.0.1:@PORT@")
        .start();
    assert_eq!(group_of(&httpd, "/app/x"), format!("127.0.0.1:{}", httpd.port()));
}

fn host_follows_the_request(case: &Case) {
    let httpd = with_group(case, "%{HOST}").start();
    let group = |host: &str| {
        ask_host(&httpd, host, "/app")["application_group"]
            .as_str()
            .unwrap_or("?")
            .to_owned()
    };
    let name = group("shop.example.org");
    assert!(name.starts_with("shop.example.org"), "{name}");
    assert!(group("WIKI.example.org").starts_with("wiki.example.org"));
}

fn resource_is_server_and_mount_point(case: &Case) {
    let httpd = with_group(case, "%{RESOURCE}")
        .conf("UseCanonicalName On\nServerName 127.0.0.1:@PORT@")
        .start();
    assert_eq!(
        group_of(&httpd, "/app/x/y"),
        format!("127.0.0.1:{}|/app", httpd.port())
    );
}

fn env_names_the_group(case: &Case) {
    let httpd = with_group(case, "%{ENV:WHICH}")
        .conf("SetEnvIf Request_URI one WHICH=first\nSetEnvIf Request_URI two WHICH=%{GLOBAL}")
        .start();
    assert_eq!(group_of(&httpd, "/app/one"), "first");
    assert_eq!(group_of(&httpd, "/app/two"), "");
}

fn env_that_is_not_set_is_taken_literally(case: &Case) {
    let httpd = with_group(case, "%{ENV:NOT_SET}").start();
    assert_eq!(group_of(&httpd, "/app"), "%{ENV:NOT_SET}");
}

fn the_default_group_does_not_follow_the_client(case: &Case) {
    let httpd = case.httpd().alias("/app", "state.wsgi").children(1).start();
    let first = ask_host(&httpd, "127.0.0.1", "/app");
    let second = ask_host(&httpd, "127.0.0.1:4711", "/app");
    // In the original a client that varies the port in its Host header multiplies interpreters.
    assert_eq!(
        first["application_group"] != second["application_group"],
        case.theirs(),
        "{first} {second}"
    );
    let other_name = ask_host(&httpd, "other.example.org", "/app");
    assert_eq!(
        first["application_group"], other_name["application_group"],
        "the name in Host does not count"
    );
}

fn two_groups(case: &Case, first: &str, second: &str) -> (Value, Value) {
    let httpd = case
        .httpd()
        .script("state.wsgi")
        .conf(&format!(
            "WSGIScriptAlias /one @SCRIPTS@/state.wsgi application-group={first}"
        ))
        .conf(&format!(
            "WSGIScriptAlias /two @SCRIPTS@/state.wsgi application-group={second}"
        ))
        .children(1)
        .start();
    httpd.get("/one");
    httpd.get("/one");
    (httpd.get("/one").json(), httpd.get("/two").json())
}

fn applications_of_different_groups_share_nothing(case: &Case) {
    let (one, two) = two_groups(case, "one", "two");
    assert_eq!((&one["count"], &two["count"]), (&3.into(), &1.into()));
    assert_eq!(two["loaded"], 1, "not even sys is shared");
    // A worker of ours runs one application group; the original has them as sub-interpreters of one process.
    let same_process = one["pid"] == two["pid"];
    assert_eq!(same_process, case.embedded() || case.theirs());
}

fn applications_of_one_group_share_their_interpreter(case: &Case) {
    let (one, two) = two_groups(case, "same", "same");
    assert_eq!((&one["count"], &two["count"]), (&3.into(), &4.into()));
    assert_eq!(one["pid"], two["pid"]);
}

fn directory_settings_beat_those_of_the_virtual_host(case: &Case) {
    let httpd = with_group(case, "outer")
        .conf("<Location /app/inner>\nWSGIApplicationGroup inner\n</Location>")
        .start();
    assert_eq!(group_of(&httpd, "/app/x"), "outer");
    assert_eq!(group_of(&httpd, "/app/inner"), "inner");
}

fn alias_options_choose_both_groups(case: &Case) {
    let httpd = case
        .httpd()
        .script("state.wsgi")
        .conf("WSGIDaemonProcess other threads=2")
        .conf("WSGIScriptAlias /embedded @SCRIPTS@/state.wsgi process-group=%{GLOBAL} application-group=%{GLOBAL}")
        .conf("WSGIScriptAlias /other @SCRIPTS@/state.wsgi process-group=other application-group=x")
        .conf("WSGIScriptAlias / @SCRIPTS@/state.wsgi")
        .start();
    let names = |path: &str| {
        let answer = httpd.get(path).json();
        (
            answer["process_group"].as_str().unwrap_or("?").to_owned(),
            answer["application_group"].clone(),
        )
    };
    assert_eq!(names("/other"), ("other".to_owned(), "x".into()));
    assert_eq!(names("/").0, "site");
    assert_eq!(names("/embedded"), (String::new(), "".into()));
}

fn process_group_by_environment_variable(case: &Case) {
    let httpd = case
        .httpd()
        .bare()
        .conf("WSGIDaemonProcess one\nWSGIDaemonProcess two\nWSGIProcessGroup %{ENV:WHICH}")
        .conf("SetEnvIf Request_URI first WHICH=one\nSetEnvIf Request_URI second WHICH=two")
        .app("state.wsgi")
        .start();
    assert_eq!(httpd.get("/first").json()["process_group"], "one");
    assert_eq!(httpd.get("/second").json()["process_group"], "two");
}

fn unknown_process_group_is_a_500_that_names_it(case: &Case) {
    let httpd = case
        .httpd()
        .app("state.wsgi")
        .conf("<Location /no>\nWSGIProcessGroup nowhere\n</Location>")
        .start();
    assert_eq!(httpd.get("/no").status, 500);
    httpd.wait_log("nowhere");
    assert_eq!(httpd.get("/").status, 200);
}

fn a_group_of_another_virtual_host_is_refused(case: &Case) {
    let host = |name: &str, inside: &str| {
        format!(
            "<VirtualHost *:@PORT@>\nServerName {name}\nWSGIScriptAlias / @SCRIPTS@/state.wsgi\n{inside}\n</VirtualHost>"
        )
    };
    let httpd = case
        .httpd()
        .bare()
        .script("state.wsgi")
        .conf(&host(
            "shop.example.org",
            "WSGIDaemonProcess shop\nWSGIProcessGroup shop",
        ))
        .conf(&host("wiki.example.org", "WSGIProcessGroup shop"))
        .start();
    assert_eq!(ask_host(&httpd, "shop.example.org", "/")["process_group"], "shop");
    let refused = httpd
        .request("GET", "/")
        .header("Host", "wiki.example.org")
        .send();
    assert_eq!(refused.status, 500);
    httpd.wait_log(case.said("RW0208", "WSGI0152"));
}

fn two_pythons_and_two_venvs_in_one_httpd(case: &Case) {
    case.needs_ours("it is bound to one libpython");
    let builder = case.httpd().bare();
    let old = venv_of(&python(case, "3.9"), builder.root(), "old");
    let new = venv_of(&python(case, "3.13"), builder.root(), "new");
    let httpd = builder
        .script("state.wsgi")
        .conf(&format!("WSGIDaemonProcess old python-home={}\nWSGIDaemonProcess new python-home={}", old.display(), new.display()))
        .conf("WSGIScriptAlias /old @SCRIPTS@/state.wsgi process-group=old\nWSGIScriptAlias /new @SCRIPTS@/state.wsgi process-group=new")
        .start();
    for _ in 0..2 {
        let (old_answer, new_answer) = (httpd.get("/old").json(), httpd.get("/new").json());
        assert_eq!(
            (&old_answer["version"], &old_answer["marker"]),
            (&rwsgi_testkit::json!([3, 9]), &"old".into())
        );
        assert_eq!(
            (&new_answer["version"], &new_answer["marker"]),
            (&rwsgi_testkit::json!([3, 13]), &"new".into())
        );
        assert_eq!(old_answer["prefix"], old.display().to_string());
    }
}

fn processes_count_in_each_application_group(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=1")
        .app("state.wsgi")
        .start();
    let mut pids = std::collections::BTreeSet::new();
    for _ in 0..60 {
        pids.insert(httpd.get("/").json()["pid"].as_u64());
    }
    assert!(pids.len() <= 2, "{pids:?}");
    assert_eq!(httpd.workers().len(), 2);
}
