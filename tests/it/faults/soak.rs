//! Everything at once: each second one fault by chance, beside three control sites. `SEED` repeats a run's choices, `MINUTES` is its
//! length (`make soak MINUTES=30 SEED=7`).

use super::{beside_control, ledger};
use crate::codes;
use rwsgi_testkit::witness::{Client, End, Kind, three};
use rwsgi_testkit::{Case, Httpd, Process, Signal, Topic, Witness, test, until};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![f58_everything_at_once]);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Graceful,
    NewVersion,
    BrokenVersion,
    HalfVersion,
    KillWorker,
    DieInRequest,
    StopWorker,
    TerminateWorker,
    KillChild,
    KillManager,
    StopManager,
    LogFlood,
    KeptLock,
    Threads,
    CrashLoop,
    ClientsThatLeave,
    ClientsThatSendSlowly,
    WipeSockets,
}

const ALL: [Fault; 18] = [
    Fault::Graceful,
    Fault::NewVersion,
    Fault::BrokenVersion,
    Fault::HalfVersion,
    Fault::KillWorker,
    Fault::DieInRequest,
    Fault::StopWorker,
    Fault::TerminateWorker,
    Fault::KillChild,
    Fault::KillManager,
    Fault::StopManager,
    Fault::LogFlood,
    Fault::KeptLock,
    Fault::Threads,
    Fault::CrashLoop,
    Fault::ClientsThatLeave,
    Fault::ClientsThatSendSlowly,
    Fault::WipeSockets,
];

/// Chance that can be had again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={value}: not a number")),
    )
}

/// A server in trouble.
struct Stage<'h> {
    httpd: &'h Httpd,
    round: usize,
    /// Connections whose clients take their time.
    slow: Vec<rwsgi_testkit::Raw>,
}

impl Stage<'_> {
    /// One of the workers, but not that of the control sites.
    fn worker(&self, chance: &mut Chance) -> Option<Process> {
        let control = self.httpd.request("GET", "/control/run?0-1").try_send().ok()?;
        let control: u32 = control.header("x-pid")?.parse().ok()?;
        let workers = self.httpd.workers();
        let others: Vec<&Process> = workers.iter().filter(|w| w.pid != control).collect();
        let at = chance.below(others.len().max(1));
        others.get(at).map(|worker| (*worker).clone())
    }

    /// Sends a request whose answer nobody waits for.
    fn send(&mut self, path: &str) {
        self.slow.push(self.httpd.raw_get(path));
    }

    fn harm(&mut self, fault: Fault, chance: &mut Chance) {
        let httpd = self.httpd;
        self.round += 1;
        let version = format!("{}# {}\n", ledger(), self.round);
        let signal = |worker: Option<Process>, signal| {
            if let Some(worker) = worker {
                worker.signal(signal);
            }
        };
        // Whoever waits for an answer of a past fault has waited long enough.
        if self.slow.len() > 12 {
            self.slow.drain(..6);
        }
        match fault {
            Fault::Graceful => httpd.graceful(),
            Fault::NewVersion => httpd.rewrite_script("ledger.wsgi", &version),
            Fault::BrokenVersion => httpd.rewrite_script("ledger.wsgi", "raise ValueError('broken')\n"),
            Fault::HalfVersion => {
                let end = chance.below(version.len());
                let path = httpd.root().join("scripts/ledger.wsgi");
                std::fs::write(path, &version[..end]).expect("write");
            }
            Fault::KillWorker => signal(self.worker(chance), Signal::SIGKILL),
            Fault::DieInRequest => self.send("/site/die?0-1"),
            Fault::StopWorker => {
                let worker = self.worker(chance);
                signal(worker.clone(), Signal::SIGSTOP);
                std::thread::sleep(Duration::from_millis(500));
                signal(worker, Signal::SIGCONT);
            }
            Fault::TerminateWorker => signal(self.worker(chance), Signal::SIGTERM),
            Fault::KillChild => {
                let children = httpd.children();
                let at = chance.below(children.len().max(1));
                signal(children.get(at).cloned(), Signal::SIGKILL);
            }
            Fault::KillManager => signal(httpd.manager(), Signal::SIGKILL),
            Fault::StopManager => {
                let manager = httpd.manager();
                signal(manager.clone(), Signal::SIGSTOP);
                std::thread::sleep(Duration::from_millis(500));
                signal(manager, Signal::SIGCONT);
            }
            Fault::LogFlood => {
                let kind = ["lines", "long", "binary"][chance.below(3)];
                self.send(&format!("/noise/log/{kind}/1"));
            }
            Fault::KeptLock => self.send("/noise/lock/30"),
            Fault::Threads => self.send("/noise/threads/100"),
            Fault::CrashLoop => (0..3).for_each(|_| self.send("/crash")),
            Fault::ClientsThatLeave => {
                for _ in 0..5 {
                    let mut raw = httpd.raw();
                    raw.send("POST /site/echo?0-1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome");
                    drop(httpd.raw_get("/site/stream?0-1"));
                }
            }
            Fault::ClientsThatSendSlowly => {
                let mut raw = httpd.raw();
                raw.send("POST /site/echo?0-1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome");
                self.slow.push(raw);
            }
            // Anybody's: it is made anew.
            Fault::WipeSockets => {
                let sockets = httpd.pool_sockets();
                let at = chance.below(sockets.len().max(1));
                if let Some(socket) = sockets.get(at) {
                    let _ = std::fs::remove_file(socket);
                }
            }
        }
    }
}

/// The growth of a series in its units per minute, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let above: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let below: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    if below == 0.0 { 0.0 } else { above / below }
}

/// Memory over time (minutes, KiB).
#[derive(Default)]
struct Memory {
    manager: Vec<(f64, f64)>,
    child: Vec<(f64, f64)>,
}

impl Memory {
    fn sample(&mut self, httpd: &Httpd, minutes: f64) {
        if let Some(manager) = httpd.manager() {
            self.manager.push((minutes, manager.anonymous_kib() as f64));
        }
        let children: Vec<u64> = httpd
            .children()
            .iter()
            .map(Process::anonymous_kib)
            .filter(|kib| *kib > 0)
            .collect();
        if !children.is_empty() {
            let mean = children.iter().sum::<u64>() as f64 / children.len() as f64;
            self.child.push((minutes, mean));
        }
    }

    fn tell(&self) {
        for (name, series) in [("manager", &self.manager), ("an httpd child", &self.child)] {
            // The first quarter is the beginning of all, not growth.
            let steady = &series[series.len() / 4..];
            if let (Some(first), Some(last)) = (series.first(), series.last()) {
                println!(
                    "memory of {name} that no file is behind: {} KiB, then {} KiB; {:.1} KiB a minute after the first quarter",
                    first.1,
                    last.1,
                    slope(steady)
                );
            }
        }
    }
}

fn length(case: &Case) -> Duration {
    match number("MINUTES") {
        Some(minutes) => Duration::from_secs(60 * minutes),
        None if rwsgi_testkit::mpm() == "event" => Duration::from_secs(case.rounds(60, 300) as u64),
        None => Duration::from_secs(case.rounds(15, 300) as u64),
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("a clock").as_secs()
}

/// N1, N2, N4, F32 to N6, R66
fn f58_everything_at_once(case: &Case) {
    case.needs_root();
    case.needs_ours("it loses requests at the first restart");
    let (length, seed) = (
        length(case),
        number("SEED").unwrap_or_else(|| match number("MINUTES") {
            Some(_) => now(),
            // A short run is for finding what a change has broken: the same choices each time.
            None => 1_795_736_039,
        }),
    );
    // The books and the log of a long run take their time, too.
    case.may_take(length * 2 + Duration::from_secs(240));
    println!("soak: SEED={seed}, {length:?}");
    let httpd = beside_control(case, "processes=2 threads=4 user=games group=games deadlock-timeout=5 shutdown-timeout=2 socket-timeout=10")
        .children(4)
        .script("noise.wsgi")
        .file("scripts/crash.wsgi", "import os\nos._exit(1)\n")
        .conf("WSGIDaemonProcess noise user=games group=games threads=2 deadlock-timeout=2 shutdown-timeout=1 queue-timeout=10 socket-timeout=5")
        .conf("WSGIDaemonProcess crash user=games group=games threads=2 min-processes=0")
        .conf("WSGIScriptAlias /noise @SCRIPTS@/noise.wsgi process-group=noise application-group=%{GLOBAL}")
        .conf("WSGIScriptAlias /crash @SCRIPTS@/crash.wsgi process-group=crash")
        .start();
    let resting = |client: &Client| client.clone().resting(Duration::from_millis(20));
    let (of_control, of_site) = (
        three("/control").iter().map(resting).collect::<Vec<_>>(),
        three("/site").iter().map(resting).collect::<Vec<_>>(),
    );
    let witness = Witness::start(&httpd, &of_control);
    let sufferer = Witness::start(&httpd, &of_site);
    let mut stage = Stage {
        httpd: &httpd,
        round: 0,
        slow: Vec::new(),
    };
    let (mut chance, mut memory) = (Chance(seed | 1), Memory::default());
    let mut faults: BTreeMap<Fault, usize> = BTreeMap::new();
    let begin = Instant::now();
    while begin.elapsed() < length {
        let next = Instant::now() + Duration::from_secs(1);
        let fault = ALL[chance.below(ALL.len())];
        *faults.entry(fault).or_insert(0) += 1;
        stage.harm(fault, &mut chance);
        memory.sample(&httpd, begin.elapsed().as_secs_f64() / 60.0);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    drop(stage);
    // N4: the causes are gone, and nobody has to do anything.
    httpd.rewrite_script("ledger.wsgi", &ledger());
    httpd.rewrite_script("crash.wsgi", &ledger());
    let since = Instant::now();
    for path in ["/site/run?0-1", "/noise/pid", "/crash/run?0-1"] {
        until(path, Duration::from_secs(120), || httpd.get(path).status == 200);
    }
    let healed = since.elapsed();
    let (control_books, books) = (witness.stop(), sufferer.stop());
    println!("{faults:?}");
    println!(
        "control sites: {} answers, {} failures, p99 {:?}; site: {} answers, {} failures; healed within {healed:?}",
        control_books.answered(),
        control_books.failures().len(),
        control_books.p99("/control", Kind::Run),
        books.answered(),
        books.failures().len()
    );
    memory.tell();
    // N1, N2
    control_books.balance();
    books.balance();
    // N3: what a killed child of httpd was at is cut, and nothing else.
    let kills = faults.get(&Fault::KillChild).copied().unwrap_or_default();
    let failures = control_books.failures();
    let others: Vec<_> = failures.iter().filter(|visit| visit.end != End::Cut).collect();
    assert!(others.is_empty(), "SEED={seed}: {others:#?}");
    assert!(
        failures.len() <= kills * of_control.len(),
        "SEED={seed}: {} failures, {kills} children were killed",
        failures.len()
    );
    let wiped = faults.get(&Fault::WipeSockets).copied().unwrap_or_default();
    let workers = control_books.pids("/control").len();
    assert!(
        workers <= 1 + wiped,
        "SEED={seed}: {workers} workers of the control sites"
    );
    // N5 is checked when httpd ends. N6: each worker that was killed is in the log.
    if faults.contains_key(&Fault::KillWorker) {
        assert!(!httpd.log_with("SIGKILL").is_empty(), "SEED={seed}");
    }
    let growth = slope(&memory.manager[memory.manager.len() / 4..]);
    if length >= Duration::from_secs(600) {
        assert!(
            growth < 20.0,
            "SEED={seed}: the manager grows by {growth} KiB a minute"
        );
    }
    httpd.announce_traceback();
    for text in [
        "AH00052",
        "AH03490",
        "Thread 0x",
        "  File ",
        "a line of a flood",
        "xxxx",
        "RW0409",
        "RW0472",
    ] {
        httpd.announce(text);
    }
    httpd.provoked(&[
        codes::APPLICATION,
        codes::BACK_OFF,
        codes::DEATH,
        codes::FORCE,
        codes::LATE,
        codes::LIFE,
        codes::MANAGER,
        codes::OLD_VERSION,
        &["RW0310", "RW0450", "RW0451", "RW0458", "RW0623", "RW0692"],
    ]);
}
