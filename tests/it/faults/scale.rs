//! Many sites: what ten thousand that nobody asks for cost, and a thousand that are asked at the same moment.

use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Raw, Topic, test, with_file_replaced};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f40_ten_thousand_sites_of_five_hundred_users,
        f40_ten_thousand_users_below_one_base,
        f55_first_requests_for_many_sites_at_once,
    ]);
}

const USERS: usize = 500;
const APPLICATION: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'here']\n";

/// Runs `work` on a machine that has the users `site0` and on.
fn with_users(work: impl FnOnce() + Send) {
    let (mut users, mut groups) = (
        std::fs::read_to_string("/etc/passwd").expect("passwd"),
        std::fs::read_to_string("/etc/group").expect("group"),
    );
    for n in 0..USERS {
        let id = 20_000 + n;
        users.push_str(&format!("site{n}:x:{id}:{id}::/tmp:/bin/false\n"));
        groups.push_str(&format!("site{n}:x:{id}:\n"));
    }
    with_file_replaced(Path::new("/etc/passwd"), &users, || {
        with_file_replaced(Path::new("/etc/group"), &groups, work);
    });
}

/// `count` sites, each with a group of its own, on an httpd that takes a thousand connections.
fn sites(case: &Case, count: usize, more: &str) -> Builder {
    let options = if case.theirs() { "" } else { " min-processes=0" };
    let group = |n: usize| {
        let user = n % USERS;
        format!(
            "WSGIDaemonProcess g{n} user=site{user} group=site{user} threads=2{options}\n\
             WSGIScriptAlias /g{n} @SCRIPTS@/app.wsgi process-group=g{n} application-group=%{{GLOBAL}}\n"
        )
    };
    case.httpd()
        .bare()
        .file("scripts/app.wsgi", APPLICATION)
        .conf("Timeout 120\nServerLimit 8\nThreadLimit 128\nThreadsPerChild 128\nMaxRequestWorkers 1024\nMaxSpareThreads 1024")
        .conf(more)
        .conf(&(0..count).map(group).collect::<String>())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let since = Instant::now();
    let made = work();
    (made, since.elapsed())
}

/// R67
fn f40_ten_thousand_sites_of_five_hundred_users(case: &Case) {
    case.needs_root();
    case.needs_threads();
    let many = match (case.theirs(), std::env::var("SITES")) {
        (_, Ok(count)) => count.parse().expect("SITES is a number"),
        (true, _) => case.rounds(20, 100),
        (false, _) => 10_000,
    };
    with_users(|| {
        let (bare, without) = timed(|| sites(case, 1, "").start());
        let (_, graceful_without) = timed(|| bare.graceful());
        bare.stop();
        let (httpd, with) = timed(|| sites(case, many, "").start());
        let (_, graceful_with) = timed(|| httpd.graceful());
        let memory: u64 = httpd.workers().iter().map(|worker| worker.pss_kib()).sum();
        println!("sites: {many}");
        println!("start: {without:?} with one site, {with:?} with all");
        println!("graceful: {graceful_without:?} with one site, {graceful_with:?} with all");
        println!("workers: {}, {memory} KiB", httpd.workers().len());
        let parent = httpd.parent().expect("httpd");
        println!(
            "httpd's parent: {} KiB, {} descriptors",
            parent.pss_kib(),
            parent.descriptors()
        );
        let Some(manager) = httpd.manager() else { return };
        let (pss, peak, descriptors) = (manager.pss_kib(), manager.peak_kib(), manager.descriptors());
        println!("manager: {pss} KiB (peak of its resident size {peak} KiB), {descriptors} descriptors");
        assert_eq!(httpd.workers().len(), 0);
        assert!(pss < 48 << 10, "{pss} KiB");
        assert!(descriptors < 40, "{descriptors} descriptors");
        // On a machine that does nothing else: two seconds.
        let most = Duration::from_secs(case.rounds(10, 2) as u64);
        assert!(with < without + most, "{without:?}, then {with:?}");
        assert!(graceful_with < graceful_without + most);
        let (reply, first) = timed(|| httpd.get(&format!("/g{}", many - 1)));
        println!("the first request of a site: {first:?}");
        assert_eq!((reply.status, reply.text().as_str()), (200, "here"));
    });
}

/// Sends one request to each and reads all answers; how many had 200, and how many 503 with `Retry-After`.
fn ask_all(httpd: &Httpd, count: usize) -> (usize, usize) {
    let mut raws: Vec<Raw> = (0..count).map(|n| httpd.raw_get(&format!("/g{n}"))).collect();
    let (mut answered, mut later) = (0, 0);
    for raw in &mut raws {
        let reply = raw.reply();
        match reply.head.status {
            200 => answered += 1,
            503 if reply.head.header("retry-after").is_some() => later += 1,
            other => panic!("status {other}: {reply:?}"),
        }
    }
    (answered, later)
}

/// R60
fn f55_first_requests_for_many_sites_at_once(case: &Case) {
    case.needs_root();
    case.needs_ours("its processes start with httpd");
    case.needs_threads();
    let count = case.rounds(40, 1000);
    with_users(|| {
        let httpd = sites(case, count, &format!("WSGIMaxWorkers {}", count / 10)).start();
        let ((answered, later), time) = timed(|| ask_all(&httpd, count));
        println!(
            "{count} first requests at once: {answered} answered, {later} told to come later, in {time:?}"
        );
        assert_eq!(answered + later, count);
        let workers = httpd.workers().len();
        assert!(workers <= count / 10, "{workers} workers");
        httpd.provoked(&[codes::CROWDED, codes::LATE, codes::BACK_OFF]);
    });
}

/// What is needed after some users were asked, memory in KiB.
struct Cost {
    manager: u64,
    parent: u64,
    took: Duration,
}

/// Asks the applications of these users, one after the other; what was needed then.
fn ask_in_turn(httpd: &Httpd, users: std::ops::Range<usize>) -> Cost {
    let (_, took) = timed(|| {
        for n in users {
            let reply = httpd.get(&format!("/~user{n}/"));
            assert_eq!((reply.status, reply.text().as_str()), (200, "here"), "user{n}");
        }
    });
    Cost {
        manager: httpd.manager().map_or(0, |manager| manager.pss_kib()),
        parent: httpd.parent().map_or(0, |parent| parent.pss_kib()),
        took,
    }
}

/// The home directory of a user, with an application.
fn settle(homes: &Path, n: usize, uid: u32) {
    let home = homes.join(format!("user{n}"));
    let base = home.join("public_wsgi");
    std::fs::create_dir_all(&base).expect("mkdir");
    std::fs::write(base.join("app.wsgi"), APPLICATION).expect("write");
    for (path, mode) in [(&home, 0o711), (&base, 0o711), (&base.join("app.wsgi"), 0o600)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        chown(path, Some(uid), Some(uid)).expect("chown");
    }
}

/// F57, R67: one rule for all accounts of the machine (`ACCOUNTS`), whose applications are asked in turn (`ASKED` of them).
fn f40_ten_thousand_users_below_one_base(case: &Case) {
    case.needs_root();
    case.needs_ours("it has no applications of users");
    case.needs_threads();
    let number = |name: &str, otherwise: usize| match std::env::var(name) {
        Ok(count) => count.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => otherwise,
    };
    let accounts = number("ACCOUNTS", case.rounds(200, 10_000));
    let asked = number("ASKED", case.rounds(30, 10_000)).min(accounts);
    case.may_take(Duration::from_secs(120 + asked as u64));
    let builder = case
        .httpd()
        .bare()
        .load("userdir")
        .conf(
            "WSGIMaxWorkers 20\nWSGIUserProcess @ROOT@/home/*/public_wsgi\nUserDir @ROOT@/home/*/public_wsgi",
        )
        .conf("<Directory @ROOT@/home/*/public_wsgi>\nAllowOverride None\n</Directory>");
    let homes = builder.root().join("home");
    let read = |path: &str| std::fs::read_to_string(path).expect(path);
    let (mut passwd, mut group) = (read("/etc/passwd"), read("/etc/group"));
    for n in 0..accounts {
        let uid = 20_000 + n as u32;
        settle(&homes, n, uid);
        let home = homes.join(format!("user{n}"));
        passwd.push_str(&format!("user{n}:x:{uid}:{uid}::{}:/bin/sh\n", home.display()));
        group.push_str(&format!("user{n}:x:{uid}:\n"));
    }
    with_file_replaced(Path::new("/etc/passwd"), &passwd, || {
        with_file_replaced(Path::new("/etc/group"), &group, || {
            let (httpd, start) = timed(|| builder.start());
            let (_, graceful) = timed(|| httpd.graceful());
            println!("{accounts} accounts: start {start:?}, graceful restart {graceful:?}");
            let first = ask_in_turn(&httpd, 0..asked / 5);
            let rest = ask_in_turn(&httpd, asked / 5..asked);
            let workers = httpd.workers().len();
            println!(
                "{asked} of them asked in turn: {:?} each; manager {} KiB after a fifth, {} KiB after all; httpd's parent {} KiB; {workers} workers",
                (first.took + rest.took) / asked as u32,
                first.manager,
                rest.manager,
                rest.parent
            );
            assert!(workers <= 20, "{workers} workers");
            assert!(rest.manager < 48 << 10, "{} KiB", rest.manager);
            let (_, graceful) = timed(|| httpd.graceful());
            println!("graceful restart afterwards: {graceful:?}");
            httpd.stop();
        });
    });
}
