//! A conquered httpd child: whatever it writes to the manager, the manager serves the others, stays as it is and starts nobody but those
//! of the configuration.

use super::{USER, hosted};
use rwsgi_testkit::{Case, Httpd, Process, Topic, httpd_user, test, until};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![r37_a_rogue_child_gets_nothing_from_the_manager]);
}

/// Attacks the manager's socket for so many seconds, with a seed that is printed, and counts how long an honest question waits meanwhile.
const ROGUE: &str = r#"
import array, os, random, resource, socket, struct, sys, time

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

fn memory_kib(process: &Process) -> u64 {
    let text = process.status("VmRSS").expect("VmRSS");
    text.split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number")
}

fn attack(httpd: &Httpd, version: &str, seconds: usize, seed: usize) -> String {
    let door = httpd
        .socket_files()
        .into_iter()
        .find(|path| path.ends_with("manager.sock"));
    let pids = httpd.processes();
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            httpd_user(),
            "--regid",
            httpd_user(),
            "--clear-groups",
            "python3",
            "-c",
            ROGUE,
        ])
        .arg(door.expect("the manager's socket"))
        .args([version, &seconds.to_string(), &seed.to_string(), "1", "0"])
        .args(pids.iter().map(|process| process.pid.to_string()))
        .output()
        .expect("setpriv");
    assert!(
        output.status.success(),
        "seed {seed}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// R2, R14, R37, R38, R62, C3, C4
fn r37_a_rogue_child_gets_nothing_from_the_manager(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = hosted(case, "threads=2")
        .app("environ.wsgi")
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .conf("WSGIDaemonProcess neighbour user=daemon group=daemon threads=1")
        .conf("WSGIScriptAlias /other @SCRIPTS@/environ.wsgi process-group=neighbour")
        .start();
    for url in ["/", "/other"] {
        assert_eq!(httpd.get(url).status, 200);
    }
    let manager = httpd.manager().expect("manager");
    let workers: Vec<u32> = httpd.workers().iter().map(|worker| worker.pid).collect();
    let uids = |processes: &[Process]| -> BTreeSet<String> {
        processes
            .iter()
            .filter_map(|process| process.status("Uid"))
            .collect()
    };
    let users = uids(&httpd.workers());
    let program = rwsgi_testkit::build_dir().join("rwsgi-manager");
    let said = Command::new(program)
        .arg("--version")
        .output()
        .expect("the manager's version");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said
        .rsplit_once("(protocol ")
        .and_then(|(_, rest)| rest.trim().strip_suffix(')'));
    let version = version.expect("the protocol's version").to_owned();
    let (before, memory) = (manager.descriptors(), memory_kib(&manager));
    for seed in 1..=case.rounds(1, 8) {
        let told = attack(&httpd, &version, case.rounds(2, 8), seed);
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
