//! A user who exchanges scripts and directories while requests come for them.

use crate::racer::{self, Racer, Unprotected};
use crate::userdirs::places::{ANN, BOB, Home, USERS, world};
use rwsgi_testkit::{Case, Httpd, Topic, test, until};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![r29_who_exchanges_scripts_gets_nothing_of_another_user]);
}

/// It is in every file of `bob`, and in no answer.
const SECRET: &str = "SECRET-OF-BOB";
/// So many applications are raced for, since one that was refused is left alone for a while.
const APPLICATIONS: usize = 8;
/// What takes the place of a script.
const IN_PLACE: [&str; 7] = [
    "elses",
    "writable",
    "directory",
    "fifo",
    "link",
    "to-device",
    "to-fifo",
];
/// Longer than anything takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(40);

fn application(said: &str) -> String {
    format!(
        "SAID = b'{said}'\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [SAID]\n"
    )
}

/// A directory of `ann`'s below the base in which scripts are exchanged.
fn contested(home: &Home, directory: &str, scripts: &[String], link: &str) {
    let secret = application(SECRET);
    for script in scripts {
        home.open_file(&format!("{directory}/{script}"), application("own"));
    }
    let within = |name: &str| format!("{directory}/{name}");
    home.open_file(&within("writable"), application("writable"))
        .mode(&within("writable"), 0o666)
        .open_file(&within("elses"), &secret)
        .give(&within("elses"), BOB);
    home.directory(&within("directory"));
    racer::fifo(&home.base().join(directory).join("fifo"));
    home.give(&within("fifo"), ANN)
        .link(link, &within("link"))
        .link("../../../../device", &within("to-device"))
        .link("fifo", &within("to-fifo"));
}

/// R29, C12, C13, C14, C17: below a base, and of a process group that the administrator has given to a user.
fn r29_who_exchanges_scripts_gets_nothing_of_another_user(case: &Case) {
    case.may_take(Duration::from_secs(1800));
    let time = Duration::from_secs(case.rounds(8, 600) as u64);
    let scripts: Vec<String> = (0..APPLICATIONS).map(|n| format!("a{n}.wsgi")).collect();
    let world = world(
        case,
        "maximum-requests=1 threads=1 processes=1 startup-timeout=30 shutdown-timeout=1 user-processes=40",
    )
    .conf("WSGIDaemonProcess plain user=ann group=ann threads=1 maximum-requests=1 startup-timeout=30 shutdown-timeout=1")
    .conf("WSGIScriptAlias /plain @ROOT@/home/ann/public_wsgi/plain/app.wsgi process-group=plain application-group=%{GLOBAL}");
    let ann = world.home(USERS[0]);
    let bob = world.home(USERS[1]);
    for script in &scripts {
        bob.open_file(&format!("site/{script}"), application(SECRET));
    }
    contested(&ann, "site", &scripts, "../../../bob/public_wsgi/site/a0.wsgi");
    // Of a plain group nobody asks whose its script is, and what its user may read it may run.
    contested(&ann, "plain", &["app.wsgi".to_owned()], "elses");
    ann.mode("plain/elses", 0o600)
        .open_file("plain/writable", application("own"));
    ann.mode("plain/writable", 0o666);
    // In place of the directory.
    ann.link("../../bob/public_wsgi/site", "to-bob");
    ann.file("file", "");
    for script in &scripts {
        let theirs = format!("elses/{script}");
        ann.open_file(&theirs, application(SECRET)).give(&theirs, BOB);
    }
    ann.give("elses", BOB);
    world.run(|httpd| race(httpd, &ann, &scripts, time));
}

fn race(httpd: &Httpd, ann: &Home, scripts: &[String], time: Duration) {
    let device = httpd.root().join("device");
    racer::device(&device);
    let (site, plain, base) = (ann.base().join("site"), ann.base().join("plain"), ann.base());
    fn against(spot: &str) -> Vec<&str> {
        [&[spot], &IN_PLACE[..]].concat()
    }
    let spots: Vec<Vec<&str>> = scripts.iter().map(|script| against(script)).collect();
    let mut groups: Vec<(&std::path::Path, &[&str])> =
        spots.iter().map(|names| (&*site, &names[..])).collect();
    let plains = against("app.wsgi");
    groups.push((&plain, &plains));
    groups.push((&base, &["site", "to-bob", "file", "elses"]));
    let unprotected = Unprotected::new();
    let racer = Racer::start(ANN, &device, &groups);
    let mut answers = BTreeMap::new();
    let urls: Vec<String> = scripts
        .iter()
        .map(|script| format!("/~ann/site/{script}/"))
        .chain(["/plain".to_owned()])
        .collect();
    let end = Instant::now() + time;
    for url in urls.iter().cycle() {
        if Instant::now() > end {
            break;
        }
        let begin = Instant::now();
        let reply = httpd.get(url);
        assert!(begin.elapsed() < PATIENCE, "{url} took {:?}", begin.elapsed());
        assert!(!reply.text().contains(SECRET), "{url}: {}", reply.text());
        assert!(
            reply.status != 200 || reply.text() == "own",
            "{url}: {}",
            reply.text()
        );
        *answers.entry(reply.status).or_insert(0) += 1;
        // The manager's program is `exe` as long as it is on the way to be a user's.
        for worker in httpd.workers().iter().filter(|worker| worker.name != "exe") {
            let uids = worker.status("Uid").unwrap_or_default();
            let is_ann = |uid: &str| uid == ANN.to_string();
            assert!(uids.split_whitespace().all(is_ann), "{}: {uids}", worker.name);
        }
    }
    let (exchanges, opened) = racer.end();
    drop(unprotected);
    // Those below the base never open it; the plain group follows links, as the user.
    assert!(
        exchanges > 1000 && opened <= answers.values().sum::<u64>(),
        "{exchanges} exchanges, {opened} opened, {answers:?}"
    );
    // What httpd says of files that are not what they were is its own; and all are served again.
    for url in &urls {
        until(&format!("{url} to be served"), Duration::from_secs(90), || {
            httpd.get(url).text() == "own"
        });
    }
    for words in ["RW0", "AH0"] {
        httpd.announce(words);
    }
}
