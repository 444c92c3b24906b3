//! What is refused: with a code and the reason for the administrator, a note for the user, and no path for the client.

use super::places::{ANN, BOB, Home, USERS, World, change_account, world};
use rwsgi_testkit::{Case, Httpd, Topic, httpd_user, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        c17_a_script_of_somebody_else,
        c15_a_script_that_others_can_change,
        c13_a_directory_that_others_can_change,
        c14_a_link_in_place_of_the_script,
        c9_an_account_below_min_uid_or_denied,
        c10_a_member_of_a_privileged_group,
        c22_an_expired_account,
        c22_a_suspended_account,
        c15_a_script_beyond_the_limit,
        r16_an_account_that_has_gone,
        c22_a_home_of_somebody_else,
        r74_the_names_of_a_users_files_forge_no_line_of_the_log,
    ]);
}

const APPLICATION: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'mine']\n";

fn with_app(world: World) -> (World, Home) {
    let home = world.home(USERS[0]);
    home.file("app.wsgi", APPLICATION);
    // Where the note goes.
    std::fs::create_dir(home.path().join("logs")).expect("mkdir");
    std::os::unix::fs::chown(home.path().join("logs"), Some(ANN), Some(ANN)).expect("chown");
    (world, home)
}

/// The answer says no path; the log has a code with the reason.
fn refused(httpd: &Httpd, words: &[&str]) {
    let reply = httpd.get("/~ann/");
    assert!(reply.status == 503, "{} {}", reply.status, reply.text());
    assert!(
        !reply.text().contains("home/ann") && !reply.text().contains("app.wsgi"),
        "{}",
        reply.text()
    );
    assert!(reply.header("retry-after").is_some());
    // 480 to 499 are the manager's refusals of users' applications; 03xx is what httpd makes of them.
    httpd.announce("RW04");
    httpd.announce("RW03");
    until("the reason in the log", Duration::from_secs(10), || {
        let lines = httpd.log_with("RW048");
        let more = httpd.log_with("RW049");
        lines
            .iter()
            .chain(&more)
            .any(|line| words.iter().all(|word| line.text.contains(word)))
    });
    until("no worker", Duration::from_secs(10), || {
        httpd.workers().is_empty()
    });
}

fn noted(home: &Home) {
    let log = home.path().join("logs/wsgi.log");
    until("a note in the user's own log", Duration::from_secs(10), || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("RW0"))
    });
    let status = std::fs::metadata(&log).expect("metadata");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&status), ANN);
}

fn serves(httpd: &Httpd) {
    until("it to be served", Duration::from_secs(30), || {
        httpd.get("/~ann/").text() == "mine"
    });
}

// R15
fn c17_a_script_of_somebody_else(case: &Case) {
    let (world, home) = with_app(world(case, ""));
    home.give("app.wsgi", BOB).mode("app.wsgi", 0o644);
    world.run(|httpd| {
        refused(httpd, &["app.wsgi", "RW0493"]);
        noted(&home);
        home.give("app.wsgi", ANN);
        serves(httpd);
    });
}

fn c15_a_script_that_others_can_change(case: &Case) {
    let (world, home) = with_app(world(case, ""));
    home.mode("app.wsgi", 0o664);
    world.run(|httpd| {
        refused(httpd, &["app.wsgi", "RW0491"]);
        noted(&home);
        home.mode("app.wsgi", 0o600);
        serves(httpd);
    });
}

fn c13_a_directory_that_others_can_change(case: &Case) {
    let (world, home) = with_app(world(case, ""));
    home.mode(".", 0o771);
    world.run(|httpd| {
        refused(httpd, &["public_wsgi", "RW0488"]);
        noted(&home);
        home.mode(".", 0o711);
        serves(httpd);
    });
}

// C12
fn c14_a_link_in_place_of_the_script(case: &Case) {
    let (world, home) = with_app(world(case, ""));
    home.link("app.wsgi", "passenger_wsgi.py");
    world.run(|httpd| {
        refused(httpd, &["passenger_wsgi.py", "RW0490"]);
        noted(&home);
    });
}

fn c9_an_account_below_min_uid_or_denied(case: &Case) {
    for options in [
        format!("min-uid={}", ANN + 1),
        "deny-users=ann".to_owned(),
        format!("max-uid={}", ANN - 1),
    ] {
        let (world, _home) = with_app(world(case, &options));
        world.run(|httpd| refused(httpd, &["ann", "RW0484"]));
    }
}

fn c10_a_member_of_a_privileged_group(case: &Case) {
    let (world, home) = with_app(world(case, ""));
    world.run(|httpd| {
        let groups = std::fs::read_to_string("/etc/group").expect("/etc/group");
        let line = groups
            .lines()
            .find(|line| line.starts_with("shadow:"))
            .expect("shadow");
        change_account("/etc/group", line, &format!("{line}ann"));
        refused(httpd, &["ann", "RW0485"]);
        noted(&home);
        let _ = httpd_user();
    });
}

fn c22_an_expired_account(case: &Case) {
    let (world, home) = with_app(world(case, ""));
    world.run(|httpd| {
        change_account(
            "/etc/shadow",
            "ann:*:19000:0:99999:7:::",
            "ann:*:19000:0:99999:7::19001:",
        );
        refused(httpd, &["ann", "RW0486"]);
        noted(&home);
    });
}

fn c22_a_suspended_account(case: &Case) {
    let (world, home) = with_app(world(case, "suspended-shells=/usr/sbin/suspended:/bin/false"));
    world.run(|httpd| {
        let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd");
        let line = passwd.lines().find(|line| line.starts_with("ann:")).expect("ann");
        change_account(
            "/etc/passwd",
            line,
            &line.replace("/bin/sh", "/usr/sbin/suspended"),
        );
        refused(httpd, &["ann", "RW0499", "/usr/sbin/suspended"]);
        noted(&home);
    });
}

fn c15_a_script_beyond_the_limit(case: &Case) {
    let (world, home) = with_app(world(case, ""));
    home.file("app.wsgi", vec![b'\n'; (16 << 20) + 1]);
    world.run(|httpd| {
        assert_eq!(httpd.get("/~ann/").status, 503);
        httpd.wait_log("RW0535");
        httpd.announce("RW03");
        noted(&home);
    });
}

// R16
fn r16_an_account_that_has_gone(case: &Case) {
    let (world, _home) = with_app(world(case, ""));
    world.run(|httpd| {
        change_account("/etc/passwd", "ann:x:", "anna:x:");
        refused(httpd, &["ann", "RW0480"]);
    });
}

fn c22_a_home_of_somebody_else(case: &Case) {
    let (world, home) = with_app(world(case, ""));
    home.give("..", BOB);
    world.run(|httpd| refused(httpd, &["home/ann", "RW0487"]));
}

/// A target of a link is whatever its user likes.
fn r74_the_names_of_a_users_files_forge_no_line_of_the_log(case: &Case) {
    const FORGED: &str = "[Fri Nov 27 00:00:00.000000 2026] [core:error] [pid 1:tid 1] all is lost";
    let (world, home) = with_app(world(case, ""));
    home.directory(".venv/bin");
    home.link(&format!("/nowhere\n{FORGED}\x1b[2J/python3"), ".venv/bin/python3");
    world.run(|httpd| {
        assert_eq!(httpd.get("/~ann/").status, 503);
        httpd.wait_log("RW0446");
        httpd.announce("RW03");
        noted(&home);
        let note = std::fs::read_to_string(home.path().join("logs/wsgi.log")).expect("a note");
        let logged = httpd.log().into_iter().map(|line| line.text);
        for line in note.lines().map(str::to_owned).chain(logged) {
            assert!(!line.contains('\x1b') && !line.starts_with(FORGED), "{line}");
        }
    });
}
