//! `WSGIUserOptions` and other directives in `.htaccess` of applications.

use super::places::{Home, USERS, world};
use rwsgi_testkit::{Case, Httpd, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        options_of_users_hold_with_the_next_request,
        r20_no_value_goes_beyond_what_the_base_allows,
        r20_what_is_no_number_is_an_error_of_that_directory_alone,
        a_callable_of_another_name_is_found,
        an_override_list_allows_nothing_else,
    ]);
}

/// Shows what limits it: threads by what Python has, the rest by what it is told.
const SHOWS: &str = r#"
import json, os, threading

def answer(environ, start_response, name):
    seats = [t for t in open("/proc/self/status").read().splitlines() if t.startswith("Threads:")]
    body = json.dumps({"pid": os.getpid(), "threads": int(seats[0].split()[1]), "name": name,
                       "multithread": environ["wsgi.multithread"]}).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]

def application(environ, start_response):
    return answer(environ, start_response, "application")

def other(environ, start_response):
    return answer(environ, start_response, "other")
"#;

fn threads(httpd: &Httpd) -> u64 {
    let reply = httpd.get("/~ann/");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["threads"].as_u64().expect("a number")
}

/// Waits for the pool with these options: the old one ends when it is not asked for any more.
fn until_threads(httpd: &Httpd, home: &Home, line: &str, expected: u64) {
    home.open_file(".htaccess", line);
    until(line, Duration::from_secs(30), || threads(httpd) == expected);
}

fn options_of_users_hold_with_the_next_request(case: &Case) {
    let world = world(case, "threads=5");
    let home = world.home(USERS[0]);
    home.file("app.wsgi", SHOWS);
    world.run(|httpd| {
        let with_five = threads(httpd);
        let beside = with_five - 5;
        until_threads(httpd, &home, "WSGIUserOptions threads=2", beside + 2);
        until_threads(httpd, &home, "WSGIUserOptions threads=1", beside + 1);
        until_threads(httpd, &home, "", with_five);
        assert!(httpd.log_with("RW0061").is_empty());
    });
}

// R20
fn r20_no_value_goes_beyond_what_the_base_allows(case: &Case) {
    let world = world(case, "threads=3 processes=2 request-timeout=20");
    let home = world.home(USERS[0]);
    home.file("app.wsgi", SHOWS);
    world.run(|httpd| {
        let most = threads(httpd);
        for line in [
            "threads=4",
            "threads=9999999999999999999999",
            "threads=3 processes=500 request-timeout=0",
        ] {
            home.open_file(".htaccess", format!("WSGIUserOptions {line}"));
            for _ in 0..8 {
                assert_eq!(threads(httpd), most, "{line}");
            }
        }
        let line = httpd.wait_log("RW0061");
        assert!(
            line.text.contains("threads=3 instead of 4") && line.text.contains("app.wsgi"),
            "{}",
            line.text
        );
        httpd.wait_log("processes=2 instead of 500, request-timeout=20 instead of 0");
        let told = httpd.log_with("threads=3 instead of 4");
        assert!(
            told.len() <= httpd.children().len(),
            "once for each child: {told:?}"
        );
    });
}

// R19, R20
fn r20_what_is_no_number_is_an_error_of_that_directory_alone(case: &Case) {
    let world = world(case, "");
    let home = world.home(USERS[0]);
    home.file("app.wsgi", SHOWS);
    world.home(USERS[1]).file("app.wsgi", SHOWS);
    world.run(|httpd| {
        for value in ["-1", "+1", "1e3", "0x10", "１２", "٣", "' 2'", "2;3", "NaN", "''"] {
            home.open_file(".htaccess", format!("WSGIUserOptions threads={value}"));
            let reply = httpd.get("/~ann/");
            assert_eq!(reply.status, 500, "{value}");
            // R73
            assert!(!reply.text().contains("htaccess") && !reply.text().contains("home"));
        }
        let line = httpd.wait_log("/.htaccess: WSGIUserOptions threads=-1 has the value '-1'");
        assert!(line.text.contains("digits only"), "{}", line.text);
        httpd.announce("/.htaccess: WSGIUserOptions");
        assert_eq!(httpd.get("/~bob/").status, 200);
    });
}

fn a_callable_of_another_name_is_found(case: &Case) {
    let world = world(case, "");
    let home = world.home(USERS[0]);
    home.file("app.wsgi", SHOWS);
    world.run(|httpd| {
        assert_eq!(httpd.get("/~ann/").json()["name"], "application");
        home.open_file(".htaccess", "WSGICallableObject other");
        assert_eq!(httpd.get("/~ann/").json()["name"], "other");
    });
}

fn an_override_list_allows_nothing_else(case: &Case) {
    let world = world(case, "threads=3").conf(
        "<Directory @ROOT@/home/*/public_wsgi>\nAllowOverride None\nAllowOverrideList WSGIUserOptions\n</Directory>",
    );
    let home = world.home(USERS[0]);
    home.file("app.wsgi", SHOWS);
    world.run(|httpd| {
        let most = threads(httpd);
        until_threads(httpd, &home, "WSGIUserOptions threads=1", most - 2);
        home.open_file(".htaccess", "WSGICallableObject other");
        assert_eq!(httpd.get("/~ann/").status, 500);
        httpd.wait_log("WSGICallableObject not allowed here");
    });
}
