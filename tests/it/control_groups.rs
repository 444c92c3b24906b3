//! Control groups: workers are in those of their application and user, and whatever an application has started ends with it.

use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Process, Signal, Topic, groups_below, members_of, test, until};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r65_a_worker_is_in_the_group_of_its_application_and_of_its_user,
        r65_a_worker_cannot_leave_its_group_or_change_it,
        r65_what_has_left_the_session_ends_with_its_application,
        r65_what_has_left_the_session_lives_while_another_worker_does,
        r65_the_next_manager_goes_on_with_the_groups_of_workers,
        r71_who_is_not_in_the_group_of_a_worker_is_not_gone_on_with,
        r65_what_a_killed_manager_left_is_ended_by_the_next,
        r65_what_a_dead_httpd_left_is_ended_by_the_next,
        r65_version_2_kills_at_once,
        r65_users_share_processor_time_however_many_processes_they_have,
        r65_priorities_count_between_users_too,
        r65_without_control_groups_everything_works_and_it_is_said,
    ]);
}

const SLOW: Duration = Duration::from_secs(25);

/// Says who it is; starts a process that has nothing to do with it any more, as daemons do; ends by force.
const APP: &str = r#"
import os
def application(environ, start_response):
    how, answer = environ["PATH_INFO"].strip("/"), str(os.getpid())
    if how == "daemon":
        ours, theirs = os.pipe()
        if not os.fork():
            os.setsid()
            if not os.fork():
                os.write(theirs, str(os.getpid()).encode())
                os.closerange(0, 1000)
                os.execv("/bin/sleep", ["sleep", "1000"])
            os._exit(0)
        answer = os.read(ours, 20).decode()
    elif how == "burn":
        for _ in range(int(environ["QUERY_STRING"])):
            if not os.fork():
                # The kernel may share between sessions, too.
                os.setsid()
                os.closerange(0, 1000)
                while True:
                    pass
    elif how == "exit":
        os._exit(3)
    elif how == "groups":
        answer = open("/proc/self/cgroup").read()
    elif how.startswith("write"):
        try:
            with open("/" + how.partition("/")[2], "w") as file:
                file.write(environ["QUERY_STRING"])
            answer = "written"
        except OSError as error:
            answer = type(error).__name__
    start_response("200 OK", [])
    return [answer.encode()]
"#;

fn site(case: &Case, options: &str) -> Builder {
    case.needs_root();
    case.needs_ours("it makes no control groups");
    case.httpd()
        .daemon(&format!("user=games group=games {options}"))
        .source("/", "app.wsgi", APP)
}

fn pid_at(httpd: &Httpd, path: &str) -> u32 {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().parse().expect("pid")
}

fn is_gone(pid: u32) -> bool {
    Process::read(pid).is_none_or(|p| p.state == 'Z')
}

/// The trees that workers are in. Where none may be made, there is nothing to test.
fn trees(case: &Case, httpd: &Httpd) -> Vec<PathBuf> {
    let all = httpd.control_groups().iter();
    let used = all.filter(|tree| !groups_below(tree).is_empty());
    let trees: Vec<PathBuf> = used.cloned().collect();
    if trees.is_empty() {
        case.skip("no control groups can be made here");
    }
    trees
}

/// The groups of applications.
fn applications(tree: &std::path::Path) -> Vec<PathBuf> {
    groups_below(tree)
        .iter()
        .flat_map(|user| groups_below(user))
        .collect()
}

/// C23
fn r65_a_worker_is_in_the_group_of_its_application_and_of_its_user(case: &Case) {
    case.needs_root();
    case.needs_ours("it makes no control groups");
    let httpd = case
        .httpd()
        .daemon("user=games group=games threads=2")
        .conf("WSGIDaemonProcess other user=games group=games threads=2")
        .conf("WSGIScriptAlias /other @SCRIPTS@/app.wsgi process-group=other application-group=a")
        .source("/", "app.wsgi", APP)
        .start();
    let parent = httpd.parent().expect("httpd").pid;
    let (one, two) = (pid_at(&httpd, "/"), pid_at(&httpd, "/other"));
    for tree in trees(case, &httpd) {
        let users = groups_below(&tree);
        assert_eq!(users.len(), 1, "{users:?}");
        let name = users[0].file_name().expect("name").to_string_lossy().into_owned();
        assert!(name.ends_with("-games"), "{name}");
        let groups = applications(&tree);
        let of = |name: &str| {
            let group = groups
                .iter()
                .find(|group| group.to_string_lossy().ends_with(name));
            members_of(group.expect("a group"))
        };
        assert_eq!(
            (groups.len(), of("-site"), of("-other")),
            (2, vec![one], vec![two])
        );
    }
    assert!(httpd.get("/groups").text().contains(&format!("/rwsgi-{parent}/")));
    // Nobody of httpd's own is in it.
    let tree = &trees(case, &httpd)[0];
    assert!(
        httpd
            .children()
            .iter()
            .all(|child| !members_of(tree).contains(&child.pid))
    );
}

fn r65_a_worker_cannot_leave_its_group_or_change_it(case: &Case) {
    let httpd = site(case, "threads=2").start();
    let worker = pid_at(&httpd, "/");
    for tree in trees(case, &httpd) {
        let group = applications(&tree).remove(0);
        let above = tree.parent().expect("a group").to_path_buf();
        for place in [&group, &tree, &above] {
            let status = place.metadata().expect("a group");
            assert_eq!(
                (status.uid(), status.mode() & 0o022),
                (0, 0),
                "{}",
                place.display()
            );
            for file in ["cgroup.procs", "pids.max", "memory.limit_in_bytes"] {
                let answer = httpd.get(&format!("/write{}/{file}?0", place.display())).text();
                assert_ne!(answer, "written", "{} {file}", place.display());
            }
        }
        assert_eq!(members_of(&group), [worker]);
    }
}

/// F15
fn r65_what_has_left_the_session_ends_with_its_application(case: &Case) {
    let httpd = site(case, "threads=2 processes=1 min-processes=0 idle-timeout=1").start();
    let daemon = pid_at(&httpd, "/daemon");
    trees(case, &httpd);
    let worker = httpd
        .workers()
        .iter()
        .find(|p| p.pid != daemon)
        .expect("a worker")
        .clone();
    assert!(!is_gone(daemon) && Process::read(daemon).expect("it").session != worker.session);
    // By idleness.
    until("the daemon to end", SLOW, || is_gone(daemon));
    assert!(httpd.workers().is_empty());
    // By a crash.
    let daemon = pid_at(&httpd, "/daemon");
    assert_eq!(httpd.get("/exit").status, 502);
    until("the daemon to end", SLOW, || is_gone(daemon));
    httpd.provoked(&[codes::DEATH]);
    // With httpd; that nothing is left is checked after every test.
    assert!(!is_gone(pid_at(&httpd, "/daemon")));
}

fn r65_what_has_left_the_session_lives_while_another_worker_does(case: &Case) {
    let httpd = site(case, "threads=2").start();
    let (daemon, first) = (pid_at(&httpd, "/daemon"), pid_at(&httpd, "/"));
    trees(case, &httpd);
    httpd.rewrite_script("app.wsgi", &format!("{APP}\n# changed\n"));
    until("another worker", SLOW, || {
        pid_at(&httpd, "/") != first && is_gone(first)
    });
    assert!(!is_gone(daemon));
    let group = applications(&trees(case, &httpd)[0]);
    assert_eq!(group.len(), 1, "a worker and its successor are in one group");
    let members = members_of(&group[0]);
    assert!(members.contains(&daemon) && members.contains(&pid_at(&httpd, "/")));
}

/// Kills the manager, and what else is named, and waits for the next one to go on.
fn next_manager(httpd: &Httpd, others: &[u32]) {
    let said = httpd.log_with("RW0410").len();
    httpd.manager().expect("manager").signal(Signal::SIGKILL);
    for pid in others {
        Process::read(*pid).expect("a process").signal(Signal::SIGKILL);
    }
    until("another manager", SLOW, || httpd.log_with("RW0410").len() > said);
}

/// F26: a living worker is no leftover, and the next manager knows where it is.
fn r65_the_next_manager_goes_on_with_the_groups_of_workers(case: &Case) {
    let httpd = site(case, "threads=2").start();
    let (daemon, worker) = (pid_at(&httpd, "/daemon"), pid_at(&httpd, "/"));
    let tree = trees(case, &httpd).remove(0);
    let groups = applications(&tree);
    httpd.provoked(&[codes::MANAGER, codes::DEATH]);
    next_manager(&httpd, &[]);
    next_manager(&httpd, &[]);
    // Reads the configuration again, and looks for what is left over.
    httpd.graceful();
    assert_eq!(pid_at(&httpd, "/"), worker);
    assert!(!is_gone(daemon));
    // A successor gets into the same group.
    httpd.rewrite_script("app.wsgi", &format!("{APP}\n# changed\n"));
    until("another worker", SLOW, || {
        pid_at(&httpd, "/") != worker && is_gone(worker)
    });
    assert_eq!(applications(&tree), groups);
    let members = members_of(&groups[0]);
    assert!(members.contains(&daemon) && members.contains(&pid_at(&httpd, "/")));
    // The application ends when the last worker does, whoever has started it.
    next_manager(&httpd, &[]);
    assert_eq!(httpd.get("/exit").status, 502);
    until("the daemon to end", SLOW, || is_gone(daemon));
    until("the old group to go", SLOW, || applications(&tree) != groups);
}

/// R71: workers cannot leave their group, so who is elsewhere is somebody else, whatever else is as it was.
fn r71_who_is_not_in_the_group_of_a_worker_is_not_gone_on_with(case: &Case) {
    let httpd = site(case, "threads=2").start();
    let worker = pid_at(&httpd, "/");
    let tree = trees(case, &httpd).remove(0);
    httpd.provoked(&[codes::MANAGER, codes::DEATH]);
    next_manager(&httpd, &[]);
    assert_eq!(pid_at(&httpd, "/"), worker);
    let elsewhere = tree.join("1-stranger");
    std::fs::create_dir_all(&elsewhere).expect("a group");
    std::fs::write(elsewhere.join("cgroup.procs"), worker.to_string()).expect("write");
    next_manager(&httpd, &[]);
    let line = httpd.wait_log("RW0411").text;
    assert!(
        line.contains(&worker.to_string()) && line.contains("it is killed"),
        "{line}"
    );
    until("the process to end", SLOW, || is_gone(worker));
    until("another worker", SLOW, || httpd.get("/").status == 200);
    assert_ne!(pid_at(&httpd, "/"), worker);
}

/// N5
fn r65_what_a_killed_manager_left_is_ended_by_the_next(case: &Case) {
    let httpd = site(case, "threads=2").start();
    let (daemon, worker) = (pid_at(&httpd, "/daemon"), pid_at(&httpd, "/"));
    let tree = trees(case, &httpd).remove(0);
    let groups = applications(&tree);
    httpd.provoked(&[codes::MANAGER, codes::DEATH]);
    next_manager(&httpd, &[worker]);
    until("the daemon to end", SLOW, || is_gone(daemon));
    until("an answer", SLOW, || httpd.get("/").status == 200);
    until("the old group to go", SLOW, || {
        let now = applications(&tree);
        now.len() == 1 && now != groups
    });
}

/// N5, F38
fn r65_what_a_dead_httpd_left_is_ended_by_the_next(case: &Case) {
    case.needs_root();
    // A process of a manager whose httpd, 4194303, is not there: no process gets that number.
    let script = r#"own=$(sed -n 's/^[0-9]*:pids:/pids/p' /proc/self/cgroup)
[ "$own" ] || own=$(sed -n 's/^0:://p' /proc/self/cgroup)
left=/sys/fs/cgroup/$own/rwsgi-4194303/1000-ann/1-site
mkdir -p "$left" 2>/dev/null && { sleep 1000 & } && echo $! >"$left/cgroup.procs"
exec "$@""#;
    let httpd = site(case, "threads=2")
        .launched_by(&["/bin/sh", "-c", script, "sh"])
        .start();
    assert_eq!(httpd.get("/").status, 200);
    let trees = trees(case, &httpd);
    let left = trees[0].with_file_name("rwsgi-4194303");
    until("the group to go", SLOW, || !left.exists());
    let sleeps = |p: &Process| p.name == "sleep" && p.state != 'Z';
    assert!(!httpd.processes().iter().any(sleeps));
}

/// What httpd is started by to see nothing but a tree of version 2, or nothing at all.
fn hidden(case: &Case, mount: &str) -> Builder {
    let script = format!("umount -l -R /sys/fs/cgroup && {mount} && exec \"$@\"");
    site(case, "threads=2").launched_by(&["unshare", "-m", "sh", "-c", &script, "sh"])
}

fn r65_version_2_kills_at_once(case: &Case) {
    let httpd = hidden(case, "mount -t cgroup2 none /sys/fs/cgroup").start();
    let daemon = pid_at(&httpd, "/daemon");
    let groups = httpd.get("/groups").text();
    let own = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or_default();
    if !own.contains("/rwsgi-") {
        case.skip("no tree of version 2 can be made here");
    }
    assert!(own.ends_with("-games/1-site"), "{own}");
    assert_eq!(httpd.get("/exit").status, 502);
    until("the daemon to end", SLOW, || is_gone(daemon));
    httpd.provoked(&[codes::DEATH]);
    assert_eq!(httpd.get("/").status, 200);
}

fn r65_without_control_groups_everything_works_and_it_is_said(case: &Case) {
    let httpd = hidden(case, "true").start();
    let daemon = pid_at(&httpd, "/daemon");
    httpd.wait_log("no control groups: none are mounted; limits are those of each worker");
    assert_eq!(httpd.log_with("no control groups").len(), 1);
    assert_eq!(httpd.get("/exit").status, 502);
    httpd.provoked(&[codes::DEATH]);
    assert_eq!(httpd.get("/").status, 200);
    assert!(!is_gone(daemon));
    Process::read(daemon).expect("the daemon").signal(Signal::SIGKILL);
}

/// More process groups, each with its user and options, at an URL of their name.
fn others(mut builder: Builder, groups: &[(&str, &str, &str)]) -> Builder {
    for (name, user, options) in groups {
        builder = builder.conf(&format!(
            "WSGIDaemonProcess {name} user={user} group={user} home=/ threads=2 {options}\n\
             WSGIScriptAlias /{name} @SCRIPTS@/app.wsgi process-group={name} application-group=a"
        ));
    }
    builder
}

/// The directory of the group in which a process competes for processor time, of whichever version, if that is one of ours.
fn competes_in(case: &Case, httpd: &Httpd, pid: u32) -> Option<PathBuf> {
    // With version 2 the controller is passed on when it is needed.
    let may_have_it = |tree: &&PathBuf| {
        let above = std::fs::read_to_string(tree.with_file_name("cgroup.controllers"));
        tree.join("cpu.shares").exists()
            || above.is_ok_and(|names| names.split_whitespace().any(|n| n == "cpu"))
    };
    let has_it = |group: &PathBuf| group.join("cpu.shares").exists() || group.join("cpu.weight").exists();
    let Some(tree) = httpd.control_groups().iter().find(may_have_it) else {
        case.skip("processor time cannot be shared between groups here");
    };
    applications(tree)
        .into_iter()
        .find(|group| has_it(group) && members_of(group).contains(&pid))
}

/// Hundredths of a second that processes have computed.
fn computed(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace();
        fields
            .skip(11)
            .take(2)
            .filter_map(|number| number.parse::<u64>().ok())
            .sum::<u64>()
    };
    pids.iter().map(of).sum()
}

/// N3
fn r65_users_share_processor_time_however_many_processes_they_have(case: &Case) {
    case.needs_root();
    case.needs_ours("it makes no control groups");
    let httpd = others(
        case.httpd().daemon("user=games group=games threads=2"),
        &[("other", "bin", "min-processes=0")],
    )
    .source("/", "app.wsgi", APP)
    .start();
    let one = pid_at(&httpd, "/");
    trees(case, &httpd);
    assert_eq!(
        competes_in(case, &httpd, one),
        None,
        "a user alone competes as its processes do"
    );
    let other = pid_at(&httpd, "/other");
    let [many, few] = [one, other].map(|pid| competes_in(case, &httpd, pid).expect("a group"));
    let tree = many.parent().and_then(|user| user.parent()).expect("the tree");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if let Ok(share) = std::fs::read_to_string(tree.join("cpu.shares")) {
        let share: usize = share.trim().parse().expect("a number");
        assert_eq!(
            share,
            1024 * processors,
            "all workers together, beside each thread of httpd's"
        );
    }
    pid_at(&httpd, &format!("/burn?{}", 8 * processors));
    pid_at(&httpd, &format!("/other/burn?{processors}"));
    let [many, few] = [many, few].map(|group| members_of(&group));
    assert_eq!((many.len(), few.len()), (8 * processors + 1, processors + 1));
    let begin = (computed(&many), computed(&few));
    let so_far = || (computed(&many) - begin.0, computed(&few) - begin.1);
    until("two seconds to be computed", SLOW, || {
        so_far().0 + so_far().1 > 200
    });
    let (many, few) = so_far();
    println!("{many} hundredths of a second for eight times as many processes, {few} for the others");
    assert!(many <= 3 * few, "{many} and {few} hundredths of a second");
}

fn r65_priorities_count_between_users_too(case: &Case) {
    case.needs_root();
    case.needs_ours("it makes no control groups");
    let builder = case
        .httpd()
        .daemon("user=games group=games threads=2 cpu-priority=5");
    let more = [
        ("other", "bin", "cpu-priority=-3"),
        ("third", "games", "cpu-priority=10"),
    ];
    let httpd = others(builder, &more).source("/", "app.wsgi", APP).start();
    let pids = ["/", "/other", "/third"].map(|path| pid_at(&httpd, path));
    trees(case, &httpd);
    let share = |group: &std::path::Path| {
        let read = |file: &str| std::fs::read_to_string(group.join(file));
        let text = read("cpu.shares")
            .or_else(|_| read("cpu.weight.nice"))
            .expect("a share");
        let number: i32 = text.trim().parse().expect("a number");
        // A share of version 1, as a nice value.
        if group.join("cpu.shares").exists() {
            (1024.0 / f64::from(number)).log(1.25).round() as i32
        } else {
            number
        }
    };
    let groups = pids.map(|pid| competes_in(case, &httpd, pid).expect("a group"));
    assert_eq!(groups.each_ref().map(|group| share(group)), [5, -3, 10]);
    let users = groups
        .each_ref()
        .map(|group| share(group.parent().expect("a user's")));
    assert_eq!(users, [5, -3, 5], "that of its first application");
    // The first of the user ends.
    assert_eq!(httpd.get("/exit").status, 502);
    httpd.provoked(&[codes::DEATH]);
    httpd.rewrite_conf(|conf| conf.replacen(" cpu-priority=5", " cpu-priority=12", 1));
    httpd.graceful();
    let user = groups[0].parent().expect("a user's").to_path_buf();
    until("the user to be less urgent", SLOW, || share(&user) == 10);
}
