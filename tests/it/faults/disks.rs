//! Disks without room.

use crate::codes;
use crate::crash::next_manager;
use rwsgi_testkit::{Case, Httpd, Load, Process, Signal, Topic, test, until, with_small_disk};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f41_an_error_log_and_a_runtime_directory_on_a_full_disk_lose_no_request
    ]);
}

const SLOW: Duration = Duration::from_secs(30);

/// Writes to both of its logs, and says who it is.
const APP: &str = r#"
import os, sys
def application(environ, start_response):
    for number in range(20):
        print("a line of the process", number, file=sys.__stderr__, flush=True)
        print("a line of the request", number, file=environ["wsgi.errors"])
    if environ["PATH_INFO"] == "/raise":
        raise ValueError("as asked")
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
"#;

/// Until there is room for no byte and no name more.
fn fill(disk: &Path) {
    let mut file = std::fs::File::create(disk.join("filler")).expect("a file");
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    while file.write_all(b"x").is_ok() {}
    let mut names = (0..).map(|number| disk.join(format!("name{number}")));
    while names
        .next()
        .is_some_and(|name| std::fs::File::create(name).is_ok())
    {}
}

fn make_room(disk: &Path) {
    for entry in std::fs::read_dir(disk).expect("the disk").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "filler" || name.starts_with("name") {
            std::fs::remove_file(entry.path()).expect("remove");
        }
    }
}

fn pid(httpd: &Httpd, path: &str) -> u32 {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().parse().expect("pid")
}

/// F41, R75
fn f41_an_error_log_and_a_runtime_directory_on_a_full_disk_lose_no_request(case: &Case) {
    case.needs_root();
    case.needs_ours("it has no runtime directory that can be moved");
    with_small_disk(1 << 20, 64, |disk| {
        let log = disk.join("error.log");
        std::fs::create_dir(disk.join("run")).expect("mkdir");
        let httpd = case
            .httpd()
            .bare()
            .file("scripts/app.wsgi", APP)
            .conf(&format!("WSGISocketPrefix {}/run/wsgi", disk.display()))
            .conf("WSGIDaemonProcess site processes=1 threads=3")
            .conf(&format!(
                "<VirtualHost 127.0.0.1:@PORT@>\nErrorLog {}\nWSGIDaemonProcess own processes=1 threads=3\n\
                 WSGIScriptAlias /cold @SCRIPTS@/app.wsgi process-group=own\n\
                 WSGIScriptAlias / @SCRIPTS@/app.wsgi process-group=own application-group=warm\n</VirtualHost>",
                log.display()
            ))
            .start();
        let first = pid(&httpd, "/");
        fill(disk);

        // Who is there serves, whatever becomes of what it says.
        let load = Load::start(&httpd, "/", 2, |reply| reply.status == 200);
        load.more(100);
        assert_eq!(httpd.get("/raise").status, 500);
        assert_eq!(pid(&httpd, "/"), first);
        // What needs a name is told to come again.
        let reply = httpd.get("/cold");
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(reply.header("retry-after").is_some());
        // Whoever has to be replaced is, and so is the configuration.
        next_manager(&httpd);
        httpd.graceful();
        load.more(50);
        assert_eq!(pid(&httpd, "/"), first);
        assert_eq!(load.stop(), Vec::<String>::new());
        Process::read(first).expect("the worker").signal(Signal::SIGKILL);
        until("another worker", SLOW, || {
            let reply = httpd.get("/");
            reply.status == 200 && reply.text() != first.to_string()
        });

        make_room(disk);
        until("the cold one to be served", SLOW, || {
            httpd.get("/cold").status == 200
        });
        until("what was lost to be counted", SLOW, || {
            let text = std::fs::read(&log).expect("the log");
            String::from_utf8_lossy(&text).contains("RW0472")
        });
        httpd.provoked(&[codes::MANAGER, codes::DEATH, codes::BACK_OFF]);
    });
}
