//! Python 3.9 to 3.13 with the same two binaries, in both modes.

use crate::codes;
use rwsgi_testkit::{Case, Topic, json, python, test, venv_of};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        python_3_9,
        python_3_10,
        python_3_11,
        python_3_12,
        python_3_13
    ]);
}

fn python_3_9(case: &Case) {
    serves_with(case, "3.9");
}

fn python_3_10(case: &Case) {
    serves_with(case, "3.10");
}

fn python_3_11(case: &Case) {
    serves_with(case, "3.11");
}

fn python_3_12(case: &Case) {
    serves_with(case, "3.12");
}

fn python_3_13(case: &Case) {
    serves_with(case, "3.13");
}

/// A venv of that Python: version, prefix, its site-packages, and the whole of a request and its answer.
fn serves_with(case: &Case, version: &str) {
    case.needs_ours("it is built for one Python");
    let python = python(case, version);
    let builder = case.httpd();
    let venv = venv_of(&python, builder.root(), "mine");
    let httpd = builder
        .python_home(Some(&venv))
        .alias("/state", "state.wsgi")
        .alias("/environ", "environ.wsgi")
        .alias("/input", "input.wsgi")
        .alias("/response", "response.wsgi")
        .alias("/validated", "validated.wsgi")
        .alias("/errors", "errors.wsgi")
        .start();
    let (major, minor) = version.split_once('.').expect("3.x");
    let expected = json!([major.parse::<u32>().expect("3"), minor.parse::<u32>().expect("x")]);
    let state = httpd.get("/state").json();
    assert_eq!((&state["version"], &state["marker"]), (&expected, &json!("mine")));
    let environ = httpd.get("/environ").json();
    let about = &environ["_"];
    let home = venv.display().to_string();
    assert_eq!(about["prefix"], home.as_str());
    assert_eq!(about["base_prefix"], python.prefix.display().to_string());
    assert!(
        about["executable"]
            .as_str()
            .is_some_and(|path| path.starts_with(&home)),
        "{}",
        about["executable"]
    );
    assert_eq!(about["encodings"][0], "utf-8");
    let steps = httpd
        .request("POST", "/input/steps?read:2,readline:,readlines:")
        .header("X-Body", "YWIKY2Q=");
    let steps = steps.body("ab\ncd").send().json();
    assert_eq!(steps["seen"], json!(["ab", "\n", ["cd"]]));
    assert_eq!(httpd.get("/response/generator").text(), "from a generator");
    assert_eq!(httpd.get("/response/written").text(), "written and returned");
    assert_eq!(httpd.post("/validated", "0123").text(), "read 4");
    assert_eq!(httpd.get("/errors/list_of_str").status, 500);
    assert_eq!(httpd.get("/errors/raises").status, 500);
    httpd.wait_log("ValueError: before anything");
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}
