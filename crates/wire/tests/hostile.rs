//! Hostile bytes: no decoder panics, loops or accepts what it would not have written.

use rwsgi_wire::admin::{
    Cgroup, GroupReport, Incident, PoolReport, Query, Report, Requests, Server, WorkerReport,
};
use rwsgi_wire::base::{Base, BaseRules, Tuning};
use rwsgi_wire::control::{
    Answer, Ask, Begin, DeathKind, FromHttpd, FromWorker, Group, Preload, Start, ToHttpd, ToWorker,
};
use rwsgi_wire::frame::{Decoder, Kind, put, put_with};
use rwsgi_wire::head::Head;
use rwsgi_wire::pairs::PairList;
use rwsgi_wire::python::{Interpreters, Options, Python, Section};
use rwsgi_wire::response::{Abort, AbortReason, BodyAbort, Level, Log, Response, Taken, Want};
use rwsgi_wire::scoreboard::{self, Scoreboard};

/// A generator of repeatable noise (xorshift); the seed is printed by a failing assertion.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap()
    }
    /// Flips, drops, doubles or overwrites a few bytes.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => drop(bytes.remove(at)),
                2 => bytes.insert(at, self.next() as u8),
                3 => bytes.truncate(at),
                _ => {
                    let word = [0u32, 1, 0x7fff_ffff, 0xffff_ffff, 0x1_0000][self.below(5)].to_le_bytes();
                    for (to, from) in bytes.iter_mut().skip(at).zip(word) {
                        *to = from;
                    }
                }
            }
        }
    }
}

const ROUNDS: u64 = 20_000;

fn survives<T: PartialEq + std::fmt::Debug, E>(
    seed: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    for round in 1..=ROUNDS {
        let mut noise = Noise(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = seed.to_vec();
        noise.damage(&mut bytes);
        // What is accepted must be exactly what would have been written for it.
        if let Ok(value) = decode(&bytes) {
            assert_eq!(encode(&value), bytes, "round {round}: {value:?}");
        }
    }
}

fn python(directory: &[u8]) -> Python {
    let options = Options {
        path: vec![directory.to_vec()],
        restrict_signal: Some(false),
        ..Options::default()
    };
    Python {
        warnings: vec![b"error".to_vec()],
        interpreters: Interpreters {
            sections: vec![Section {
                application_group: Some(b"x".to_vec()),
                options: options.clone(),
                ..Section::default()
            }],
            base: options,
        },
        ..Python::default()
    }
}

// R3, R37, R41, R42, C3
#[test]
fn control_messages() {
    let group = Group {
        name: b"site".to_vec(),
        groups: vec![1, 2],
        python: python(b"/a"),
        preload: vec![Preload {
            application_group: b"x".to_vec(),
            script: b"/s".to_vec(),
            mtime: 1,
        }],
        ..Group::default()
    };
    let base = Base {
        pattern: b"/home/*/w".to_vec(),
        template: group.clone(),
        rules: BaseRules {
            denied: vec![b"bob".to_vec()],
            suspended_shells: vec![b"/bin/no".to_vec()],
            refused_gids: vec![0, 4],
            python_versions: vec![b"/opt".to_vec()],
            ..BaseRules::default()
        },
    };
    for message in [
        FromHttpd::Begin(Begin::default()),
        FromHttpd::Group(Box::new(group)),
        FromHttpd::Base(Box::new(base)),
        FromHttpd::Commit,
    ] {
        survives(&message.encode(), FromHttpd::decode, FromHttpd::encode);
    }
    for answer in [ToHttpd::Refused(b"no".to_vec()), ToHttpd::Unread(b"no".to_vec())] {
        survives(&answer.encode(), ToHttpd::decode, ToHttpd::encode);
    }
    let ask = Ask::Pool {
        generation: 1,
        group: b"g".to_vec(),
        application_group: b"a".to_vec(),
        script: b"/s".to_vec(),
    };
    survives(&ask.encode(), Ask::decode, Ask::encode);
    let ask = Ask::Logged {
        level: Level::Error,
        code: 306,
        request: b"id".to_vec(),
        file: b"/srv/app.wsgi".to_vec(),
        lost: 0,
    };
    survives(&ask.encode(), Ask::decode, Ask::encode);
    let ask = Ask::Application {
        generation: 1,
        base: 0,
        user: b"ann".to_vec(),
        directory: b"a/b".to_vec(),
        script: b"app.wsgi".to_vec(),
        tuning: Tuning {
            threads: Some(2),
            ..Tuning::default()
        },
    };
    survives(&ask.encode(), Ask::decode, Ask::encode);
    let answer = Answer::Refused {
        reason: AbortReason::BackOff,
        retry_after: 1,
        text: b"t".to_vec(),
    };
    survives(&answer.encode(), Answer::decode, Answer::encode);
    let start = Start {
        preload: vec![rwsgi_wire::script::Script::at(b"/x")],
        python: python(b"/y"),
        ..Start::default()
    };
    survives(
        &ToWorker::Start(Box::new(start)).encode(),
        ToWorker::decode,
        ToWorker::encode,
    );
    survives(
        &FromWorker::Log(Level::Info, b"line".to_vec()).encode(),
        FromWorker::decode,
        FromWorker::encode,
    );
}

// R3, R37
#[test]
fn what_the_tool_for_administrators_says_and_hears() {
    let pool = PoolReport {
        group: b"~ann".to_vec(),
        scripts: vec![b"/a".to_vec(), b"/b".to_vec()],
        ..PoolReport::default()
    };
    let worker = WorkerReport {
        idle: Some(3),
        requests: Some(Requests {
            served: 9,
            running: 1,
        }),
        cgroups: vec![Cgroup::default(); 2],
        ..WorkerReport::default()
    };
    let incident = Incident {
        death: Some(DeathKind::Exit),
        text: b"why".to_vec(),
        ..Incident::default()
    };
    for query in [
        Query::Server,
        Query::Groups {
            after: b"site".to_vec(),
        },
        Query::Workers { after: 7 },
    ] {
        survives(&query.encode(), Query::decode, Query::encode);
    }
    for report in [
        Report::Server(Server::default()),
        Report::Groups(vec![GroupReport::default(); 2]),
        Report::Pools(vec![pool; 2]),
        Report::Workers(vec![worker; 2]),
        Report::Incidents(vec![incident; 2]),
    ] {
        survives(&report.encode(), Report::decode, Report::encode);
    }
}

#[test]
fn the_scoreboard() {
    let workers = vec![
        scoreboard::Worker {
            client: b"::1".to_vec(),
            ..Default::default()
        };
        2
    ];
    let board = Scoreboard {
        processes: vec![
            scoreboard::Process {
                workers,
                ..Default::default()
            };
            2
        ],
        ..Default::default()
    };
    survives(&board.encode(), Scoreboard::decode, Scoreboard::encode);
}

// R39, R41
#[test]
fn heads_and_what_workers_say() {
    let encoded = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        fill(&mut out);
        out
    };
    let environ = PairList::from_iter([(&b"A"[..], &b"1"[..]), (b"B", b"")]);
    let head = Head {
        script: b"/app",
        environ: environ.pairs(),
        ..Head::default()
    };
    let bytes = encoded(&|out| head.encode(out));
    survives_borrowed(&bytes, |b| Head::decode(b).map(|h| encoded(&|out| h.encode(out))));
    let response = Response {
        status: 200,
        reason: b"OK",
        headers: vec![(b"A", b"1")],
    };
    let bytes = encoded(&|out| response.encode(out));
    survives_borrowed(&bytes, |b| {
        Response::decode(b).map(|r| encoded(&|out| r.encode(out)))
    });
    let abort = Abort {
        reason: AbortReason::Import,
        retry_after: 0,
        text: b"why",
    };
    let bytes = encoded(&|out| abort.encode(out));
    survives_borrowed(&bytes, |b| {
        Abort::decode(b).map(|a| encoded(&|out| a.encode(out)))
    });
    let log = Log {
        level: Level::Error,
        origin: Default::default(),
        text: b"line",
    };
    let bytes = encoded(&|out| log.encode(out));
    survives_borrowed(&bytes, |b| Log::decode(b).map(|l| encoded(&|out| l.encode(out))));
    let accepts: [fn(&[u8]) -> bool; 3] = [
        |b| Want::decode(b).is_ok(),
        |b| Taken::decode(b).is_ok(),
        |b| BodyAbort::decode(b).is_ok(),
    ];
    for decode in accepts {
        for round in 1..=ROUNDS {
            let mut bytes = vec![1, 0, 0, 0];
            Noise(round).damage(&mut bytes);
            decode(&bytes);
        }
    }
}

fn survives_borrowed<E>(seed: &[u8], again: impl Fn(&[u8]) -> Result<Vec<u8>, E>) {
    for round in 1..=ROUNDS {
        let mut bytes = seed.to_vec();
        Noise(round.wrapping_mul(0x9e37_79b9_7f4a_7c15)).damage(&mut bytes);
        if let Ok(written) = again(&bytes) {
            assert_eq!(written, bytes, "round {round}");
        }
    }
}

// R40, R41
#[test]
fn a_stream_of_damaged_frames() {
    let mut seed = Vec::new();
    put_with(&mut seed, Kind::Head, |out| Head::default().encode(out));
    put(&mut seed, Kind::Body, b"some bytes");
    put(&mut seed, Kind::BodyEnd, b"");
    for round in 1..=ROUNDS {
        let mut noise = Noise(round);
        let mut bytes = seed.clone();
        noise.damage(&mut bytes);
        let mut decoder = Decoder::new();
        let mut rest = &bytes[..];
        let mut payload = 0;
        'stream: while !rest.is_empty() {
            let n = (1 + noise.below(20)).min(rest.len());
            let space = decoder.space();
            assert!(space.len() >= n, "round {round}");
            space[..n].copy_from_slice(&rest[..n]);
            decoder.filled(n);
            rest = &rest[n..];
            loop {
                match decoder.next() {
                    Ok(Some(frame)) => payload += frame.payload.len(),
                    Ok(None) => break,
                    Err(_) => break 'stream,
                }
            }
        }
        assert!(payload <= bytes.len(), "round {round}");
    }
}
