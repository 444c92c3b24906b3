//! A conquered httpd child: whatever it writes to the manager, the manager serves the others, stays as it is and starts nobody but those
//! of the configuration.

use super::{USER, hosted};
use crate::codes;
use rwsgi_testkit::{Case, Httpd, Process, Topic, httpd_user, test, until};
use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r37_a_rogue_child_gets_nothing_from_the_manager,
        r37_a_flood_of_questions_does_not_slow_those_of_another,
        r37_invented_application_groups_keep_no_process_group_out,
    ]);
}

/// How children speak to the manager.
const PROTOCOL: &str = r#"
import array, os, random, resource, select, socket, struct, sys, time

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

path, version, seconds, seed, *pids = sys.argv[1:]
version, noise = int(version), random.Random(int(seed))
end = time.monotonic() + float(seconds)

def text(value):
    return struct.pack("<I", len(value)) + value

def pool(group, application, generation=1):
    return struct.pack("<BHI", 1, version, generation) + text(group) + text(application) + text(b"")

def death(pid):
    return struct.pack("<BHI", 2, version, pid & 0xffffffff)

def connect():
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    found.connect(path)
    found.settimeout(5)
    return found
"#;

/// Attacks the manager's socket for so many seconds, with a seed that is printed, and counts how long an honest question waits meanwhile.
const ROGUE: &str = r#"
heard = set()

def listen(child):
    said = child.recv(1 << 16)
    heard.add(said)
    return said

def ask(packet):
    with connect() as child:
        child.send(packet)
        return listen(child)

def quietly(packet, descriptors=()):
    with connect() as child:
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            child.sendmsg([packet], rights)
            if noise.random() < 0.5:
                child.send(packet)
            if noise.random() < 0.5:
                child.settimeout(0.02)
                listen(child)
        except OSError:
            pass

def damaged(packet):
    packet = bytearray(packet)
    for _ in range(noise.randint(1, 4)):
        at = noise.randrange(len(packet) + 1)
        what = noise.randrange(4)
        if what == 0 and at < len(packet):
            packet[at] ^= 1 << noise.randrange(8)
        elif what == 1:
            del packet[at:]
        elif what == 2:
            packet[at:at] = noise.randbytes(noise.randint(1, 8))
        else:
            packet[at:at + 4] = noise.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\1\0"])
    return bytes(packet)

honest = pool(b"site", b"")
groups = [b"", b"root", b"si", b"site\0", b"../site", b"\xff" * 300, b"x" * 60000]
moves = [
    lambda: quietly(noise.randbytes(noise.choice([0, 1, 7, 100, 5000, 65535]))),
    lambda: quietly(noise.randbytes(150000)),
    lambda: quietly(damaged(honest)[:11] + text(b"no" + noise.randbytes(3)) + text(b"")),
    lambda: quietly(damaged(death(noise.getrandbits(32)))),
    lambda: quietly(pool(noise.choice(groups), b"")),
    lambda: quietly(pool(b"site", b"", noise.getrandbits(32))),
    lambda: quietly(death(int(noise.choice(pids)))),
    lambda: quietly(honest, [0] * noise.randint(1, 30)),
]
waited, count = [], 0
while time.monotonic() < end:
    noise.choice(moves)()
    count += 1
    if count % 50 == 0:
        begin = time.monotonic()
        assert ask(honest)[0] == 1, "an honest question was not answered"
        waited.append(time.monotonic() - begin)
# Every place taken: others must be heard all the same.
idle = [connect() for _ in range(1500)]
begin = time.monotonic()
assert ask(honest)[0] == 1, "an honest question was not answered beside idle connections"
waited.append(time.monotonic() - begin)
# A question for each, and none reads the answer.
for child in idle:
    try:
        child.send(honest)
    except OSError:
        pass
assert ask(honest)[0] == 1
# Nobody has asked for it.
assert len(heard) > 1 and not any(b"neighbour" in said for said in heard), heard
waited.sort()
print(count, int(waited[-1] * 1000), int(waited[len(waited) * 99 // 100 - 1] * 1000))
"#;

/// Asks on as many connections as it gets, in several processes, one question after the other, and every tenth is for an application group of its own
/// invention.
const FLOOD: &str = r#"
for _ in range(3):
    if os.fork() == 0:
        break
ready, open_ones, asked = select.epoll(), {}, 0

def ask(child):
    global asked
    asked += 1
    name = b"invented %d %d" % (os.getpid(), asked) if asked % 10 == 0 else b""
    child.send(pool(b"site", name))

while time.monotonic() < end:
    try:
        if len(open_ones) < 300:
            child = connect()
            open_ones[child.fileno()] = child
            ready.register(child, select.EPOLLIN)
            ask(child)
    except OSError:
        pass
    for number, _ in ready.poll(0):
        try:
            if not open_ones[number].recv(1 << 16):
                raise OSError("closed")
            ask(open_ones[number])
        except OSError:
            open_ones.pop(number).close()
print(asked)
"#;

/// Asks one question after the other, as somebody else; prints how many, how many got no answer, and the time of 99 of 100 and of all in microseconds.
const HONEST: &str = r#"
waited, refused = [], 0
while time.monotonic() < end or len(waited) < 100:
    begin = time.monotonic()
    with connect() as child:
        child.send(pool(b"neighbour", b""))
        refused += child.recv(1 << 16)[:1] != b"\1"
    waited.append(time.monotonic() - begin)
    time.sleep(0.001)
waited.sort()
print(len(waited), refused, int(waited[len(waited) * 99 // 100 - 1] * 1e6), int(waited[-1] * 1e6))
"#;

fn memory_kib(process: &Process) -> u64 {
    let text = process.status("VmRSS").expect("VmRSS");
    text.split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number")
}

/// A program that speaks to the manager as this user.
fn speaking(httpd: &Httpd, user: &str, program: &str, seconds: f64, seed: usize) -> Command {
    let door = httpd
        .socket_files()
        .into_iter()
        .find(|path| path.ends_with("manager.sock"));
    let pids = httpd.processes();
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid",
            user,
            "--regid",
            user,
            "--clear-groups",
            "python3",
            "-c",
        ])
        .arg(format!("{PROTOCOL}{program}"))
        .arg(door.expect("the manager's socket"))
        .args([&version(), &seconds.to_string(), &seed.to_string(), "1", "0"])
        .args(pids.iter().map(|process| process.pid.to_string()));
    command
}

/// The version of the protocol that the manager speaks.
fn version() -> String {
    let program = rwsgi_testkit::build_dir().join("rwsgi-manager");
    let said = Command::new(program)
        .arg("--version")
        .output()
        .expect("the manager's version");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said
        .rsplit_once("(protocol ")
        .and_then(|(_, rest)| rest.trim().strip_suffix(')'));
    version.expect("the protocol's version").to_owned()
}

/// What a program said that ended well.
fn said(output: Output, what: &str) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Two process groups that have been asked.
fn neighbours(case: &Case, more: &str) -> Httpd {
    case.needs_ours("it has no manager");
    let httpd = hosted(case, "threads=2")
        .app("environ.wsgi")
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .conf("WSGIDaemonProcess neighbour user=daemon group=daemon threads=1")
        .conf("WSGIScriptAlias /other @SCRIPTS@/environ.wsgi process-group=neighbour")
        .conf(more)
        .start();
    for url in ["/", "/other"] {
        assert_eq!(httpd.get(url).status, 200);
    }
    httpd
}

/// R2, R14, R37, R38, R62, C3, C4
fn r37_a_rogue_child_gets_nothing_from_the_manager(case: &Case) {
    let httpd = neighbours(case, "");
    let manager = httpd.manager().expect("manager");
    let workers: Vec<u32> = httpd.workers().iter().map(|worker| worker.pid).collect();
    let uids = |processes: &[Process]| -> BTreeSet<String> {
        processes
            .iter()
            .filter_map(|process| process.status("Uid"))
            .collect()
    };
    let users = uids(&httpd.workers());
    let (before, memory) = (manager.descriptors(), memory_kib(&manager));
    for seed in 1..=case.rounds(1, 8) {
        let attack = speaking(&httpd, httpd_user(), ROGUE, case.rounds(2, 8) as f64, seed).output();
        let told = said(attack.expect("setpriv"), &format!("seed {seed}"));
        println!("rogue child, seed {seed}: {}", told.trim());
        assert_eq!(httpd.get("/").status, 200);
    }
    until("the manager to let go", Duration::from_secs(10), || {
        manager.descriptors() <= before + 1
    });
    assert_eq!(httpd.manager().map(|now| now.pid), Some(manager.pid));
    assert_eq!(manager.status("Threads").as_deref(), Some("1"));
    assert!(
        memory_kib(&manager) < memory + 8192,
        "{} KiB, then {}",
        memory,
        memory_kib(&manager)
    );
    let after: Vec<u32> = httpd.workers().iter().map(|worker| worker.pid).collect();
    assert_eq!(after, workers, "{USER}");
    assert_eq!(uids(&httpd.workers()), users);
    // One line in ten seconds, whatever it does.
    let told = httpd.log_with("RW040").len();
    assert!(told >= 1 && told <= 2 + case.rounds(1, 16), "{told} lines");
    httpd.provoked(&[&["RW0405", "RW0406"]]);
}

/// The time of 99 of 100 honest questions, and of the longest.
fn honest(httpd: &Httpd, seconds: f64) -> (Duration, Duration) {
    let output = speaking(httpd, "root", HONEST, seconds, 1).output();
    let told = said(output.expect("setpriv"), "honest questions");
    let numbers: Vec<u64> = told
        .split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect();
    let [asked, refused, p99, longest] = numbers[..] else {
        panic!("{told}");
    };
    assert_eq!(refused, 0, "of {asked}");
    (Duration::from_micros(p99), Duration::from_micros(longest))
}

/// R37, N3
fn r37_a_flood_of_questions_does_not_slow_those_of_another(case: &Case) {
    let httpd = neighbours(case, "WSGIMaxWorkers 4");
    let manager = httpd.manager().expect("manager");
    let seconds = case.rounds(1, 5) as f64;
    let mut seen = Vec::new();
    let is_bounded = (0..3).any(|seed| {
        let quiet = honest(&httpd, seconds);
        let before = manager.descriptors();
        let flood = speaking(&httpd, httpd_user(), FLOOD, 2.0 * seconds + 1.0, seed)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let flood = flood.expect("setpriv");
        until("the flood", Duration::from_secs(10), || {
            manager.descriptors() > before + 100
        });
        let loud = honest(&httpd, seconds);
        let asked = said(flood.wait_with_output().expect("the flood"), "the flood");
        let asked: Vec<&str> = asked.split_whitespace().collect();
        println!("99 of 100 and the longest: {quiet:?} in quiet, {loud:?} beside {asked:?} questions");
        seen.push((quiet, loud));
        // On a machine that others use, too.
        loud.1 < Duration::from_millis(800)
    });
    assert!(is_bounded, "{seen:?}");
    assert_eq!(httpd.manager().map(|now| now.pid), Some(manager.pid));
    httpd.provoked(&[codes::CROWDED, &["RW0405", "RW0406", "RW0460"]]);
}

/// Asks for more application groups of a process group than the manager keeps; prints how many there were.
const INVENTS: &str = r#"
count, child = 0, connect()
while True:
    child.send(pool(b"site", b"invented %d" % count))
    if child.recv(1 << 16)[:1] != b"\1":
        break
    count += 1
print(count)
"#;

/// R37
fn r37_invented_application_groups_keep_no_process_group_out(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = hosted(case, "threads=2 min-processes=0 idle-timeout=60")
        .conf("WSGIApplicationGroup %{GLOBAL}\nWSGIMaxWorkers 2")
        .conf("WSGIDaemonProcess late user=daemon group=daemon threads=1 min-processes=0 idle-timeout=60")
        .conf("WSGIScriptAlias /late @SCRIPTS@/environ.wsgi process-group=late")
        .app("environ.wsgi")
        .start();
    httpd.provoked(&[codes::CROWDED]);
    let output = speaking(&httpd, httpd_user(), INVENTS, 0.0, 1).output();
    let invented = said(output.expect("setpriv"), "inventions");
    println!("{} application groups", invented.trim());
    httpd.wait_log("RW0460");
    assert_eq!(httpd.get("/late").status, 200);
    let more = INVENTS
        .replace("b\"site\"", "b\"late\"")
        .replace("True", "count < 100");
    let output = speaking(&httpd, httpd_user(), &more, 0.0, 1).output();
    assert_eq!(
        said(output.expect("setpriv"), "another process group").trim(),
        "100"
    );
}
