//! The exchange against a worker played by a thread.

use super::*;
use crate::backend::relay::tests::Recorder;
use rwsgi_os::OwnedFd;
use rwsgi_os::socket::{Access, Kind as SocketKind, Mode, accept, listen};
use rwsgi_os::{message, poll::readable};
use rwsgi_wire::control::{Answer, Ask, DeathKind};
use rwsgi_wire::frame::Decoder;
use rwsgi_wire::head::Head;
use rwsgi_wire::response::Level;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(2),
    socket: Duration::from_secs(5),
    queue: None,
};

/// A directory with a manager's socket and a pool's; threads play both.
struct Stage {
    dir: std::path::PathBuf,
    pools: Pools,
    manager: Option<JoinHandle<()>>,
}

static STAGES: AtomicU32 = AtomicU32::new(0);
const ACCESS: Access = Access {
    mode: 0o600,
    uid: None,
    gid: None,
};

impl Stage {
    /// `answers` are what the manager says, in order; `worker` plays the pool.
    fn new(answers: Vec<Answer>, worker: impl FnOnce(OwnedFd) + Send + 'static) -> (Self, JoinHandle<()>) {
        let n = STAGES.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("rwsgi-backend-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = |name: &str| dir.join(name).into_os_string().into_encoded_bytes();
        let asked = listen(SocketKind::SeqPacket, &path("m"), ACCESS, 5).unwrap();
        let pool = listen(SocketKind::Stream, &path("p"), ACCESS, 5).unwrap();
        let at = path("p");
        let manager = std::thread::spawn(move || {
            for mut answer in answers {
                assert!(readable(&asked, Some(Duration::from_secs(5))).unwrap());
                let child = accept(&asked, Mode::Blocking).unwrap();
                let mut packet = [0; 4096];
                let n = message::receive(&child, &mut packet).unwrap();
                Ask::decode(&packet[..n]).unwrap();
                if let Answer::Pool { path } = &mut answer {
                    *path = at.clone();
                }
                message::send_all(&child, &answer.encode()).unwrap();
            }
        });
        let pools = Pools::new(path("m"), 1);
        (
            Self {
                dir,
                pools,
                manager: Some(manager),
            },
            std::thread::spawn(move || worker(pool)),
        )
    }

    fn serve(&self, client: &mut Recorder, limits: Limits) -> Result<(), Failure> {
        let name = PoolName {
            group: b"g".to_vec(),
            application_group: b"".to_vec(),
        };
        let mut head = Vec::new();
        frame::put_with(&mut head, Kind::Head, |out| Head::default().encode(out));
        serve(&self.pools, &name, &head, limits, client)
    }

    fn end(mut self, worker: JoinHandle<()>) {
        drop(std::mem::replace(&mut self.pools, Pools::new(Vec::new(), 0)));
        worker.join().unwrap();
        self.manager.take().unwrap().join().unwrap();
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

fn pool() -> Answer {
    Answer::Pool { path: Vec::new() }
}

/// A worker's side of one connection.
struct Worker {
    socket: OwnedFd,
    decoder: Decoder,
}

impl Worker {
    fn accept(listener: &OwnedFd) -> Self {
        assert!(
            readable(listener, Some(Duration::from_secs(5))).unwrap(),
            "a connection"
        );
        Self {
            socket: accept(listener, Mode::Blocking).unwrap(),
            decoder: Decoder::new(),
        }
    }
    fn expect(&mut self) -> Option<(Kind, Vec<u8>)> {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return Some((frame.kind, frame.payload.to_vec()));
            }
            match message::receive(&self.socket, self.decoder.space()) {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.decoder.filled(n),
            }
        }
    }
    fn say(&self, frames: &[(Kind, &[u8])]) {
        let mut out = Vec::new();
        for (kind, payload) in frames {
            frame::put(&mut out, *kind, payload);
        }
        message::send_all(&self.socket, &out).unwrap();
    }
    fn take(&mut self) {
        assert_eq!(self.expect().unwrap().0, Kind::Head);
        self.say(&[(Kind::Taken, &7u32.to_le_bytes())]);
    }
}

fn ok_head() -> Vec<u8> {
    let mut out = Vec::new();
    Response {
        status: 200,
        reason: b"OK",
        headers: vec![],
    }
    .encode(&mut out);
    out
}

#[test]
fn a_small_answer_is_one_pass_and_its_connection_serves_the_next_request() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        for _ in 0..2 {
            w.take();
            w.say(&[
                (Kind::Response, &ok_head()),
                (Kind::Data, b"hello"),
                (Kind::End, b""),
            ]);
        }
        assert_eq!(w.expect(), None);
    });
    for _ in 0..2 {
        let mut client = Recorder::default();
        stage.serve(&mut client, LIMITS).unwrap();
        assert_eq!(client.seen.join(" "), "start 200 data hello end");
    }
    stage.end(worker);
}

#[test]
fn a_request_that_was_not_taken_goes_elsewhere() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut first = Worker::accept(&listener);
        first.expect().unwrap();
        drop(first);
        let mut second = Worker::accept(&listener);
        second.expect().unwrap();
        second.say(&[(Kind::Stale, b"")]);
        let mut third = Worker::accept(&listener);
        third.take();
        third.say(&[(Kind::Response, &ok_head()), (Kind::End, b"")]);
        third.expect();
    });
    let mut client = Recorder::default();
    stage.serve(&mut client, LIMITS).unwrap();
    assert_eq!(client.seen.join(" "), "start 200 end");
    stage.end(worker);
}

#[test]
fn a_death_after_taken_is_reported_with_its_cause_and_not_repeated() {
    let death = Answer::Death {
        kind: DeathKind::Signal,
        text: b"was killed by signal 11".to_vec(),
    };
    let (stage, worker) = Stage::new(vec![pool(), death], |listener| {
        Worker::accept(&listener).take();
    });
    let mut client = Recorder::default();
    let Err(Failure::Unanswered(refusal)) = stage.serve(&mut client, LIMITS) else {
        panic!("unanswered")
    };
    assert_eq!(refusal.status, 502);
    assert_eq!(
        refusal.message.unwrap().text,
        "worker 7 was killed by signal 11 while it ran this request"
    );
    assert!(client.seen.is_empty());
    stage.end(worker);
}

#[test]
fn a_death_after_the_head_makes_the_client_see_an_abort() {
    let death = Answer::Death {
        kind: DeathKind::Exit,
        text: b"exited".to_vec(),
    };
    let (stage, worker) = Stage::new(vec![pool(), death], |listener| {
        let mut w = Worker::accept(&listener);
        w.take();
        w.say(&[(Kind::Response, &ok_head()), (Kind::Data, b"part")]);
    });
    let mut client = Recorder::default();
    assert!(matches!(
        stage.serve(&mut client, LIMITS),
        Err(Failure::Truncated(Some(_)))
    ));
    assert_eq!(client.seen.last().unwrap(), "abort");
    stage.end(worker);
}

#[test]
fn the_body_is_read_only_when_the_worker_wants_it() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        w.take();
        w.say(&[(Kind::Want, &4u32.to_le_bytes())]);
        assert_eq!(w.expect(), Some((Kind::Body, b"abcd".to_vec())));
        w.say(&[(Kind::Want, &4u32.to_le_bytes())]);
        assert_eq!(w.expect(), Some((Kind::Body, b"ef".to_vec())));
        assert_eq!(w.expect(), Some((Kind::BodyEnd, vec![])));
        w.say(&[(Kind::Response, &ok_head()), (Kind::End, b"")]);
        w.expect();
    });
    let mut client = Recorder {
        body: b"abcdef".to_vec(),
        ..Recorder::default()
    };
    stage.serve(&mut client, LIMITS).unwrap();
    stage.end(worker);
}

#[test]
fn the_managers_abort_on_a_pool_that_cannot_start_becomes_its_status_and_sentence() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        w.expect().unwrap();
        let mut payload = Vec::new();
        Abort {
            reason: AbortReason::BackOff,
            retry_after: 9,
            text: b"it keeps dying",
        }
        .encode(&mut payload);
        w.say(&[(Kind::Abort, &payload)]);
    });
    let Err(Failure::Unanswered(refusal)) = stage.serve(&mut Recorder::default(), LIMITS) else {
        panic!("unanswered")
    };
    assert_eq!((refusal.status, refusal.retry_after), (503, Some(9)));
    stage.end(worker);
}

#[test]
fn queue_and_socket_time_outs_are_told_apart() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut silent = Worker::accept(&listener);
        silent.expect().unwrap();
        assert_eq!(silent.expect(), None, "closed by the child");
        let mut slow = Worker::accept(&listener);
        slow.take();
        assert_eq!(slow.expect(), None, "closed by the child");
    });
    let short = Duration::from_millis(30);
    let limits = Limits {
        queue: Some(short),
        ..LIMITS
    };
    let result = stage.serve(&mut Recorder::default(), limits);
    assert!(matches!(result, Err(Failure::Unanswered(r)) if r.message.as_ref().unwrap().code.number == 303));
    let limits = Limits {
        socket: short,
        queue: Some(Duration::from_secs(5)),
        ..LIMITS
    };
    let result = stage.serve(&mut Recorder::default(), limits);
    assert!(matches!(result, Err(Failure::Unanswered(r)) if r.message.as_ref().unwrap().code.number == 304));
    stage.end(worker);
}

#[test]
fn log_lines_and_violations_come_through() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        w.take();
        let mut line = Vec::new();
        Log {
            level: Level::Error,
            origin: Default::default(),
            text: b"oops",
        }
        .encode(&mut line);
        w.say(&[(Kind::Log, &line), (Kind::Data, b"headless")]);
        assert_eq!(w.expect(), None);
    });
    let mut client = Recorder::default();
    let Err(Failure::Unanswered(refusal)) = stage.serve(&mut client, LIMITS) else {
        panic!("unanswered")
    };
    assert_eq!((refusal.status, refusal.message.unwrap().code.number), (500, 306));
    assert_eq!(client.seen.join(" "), "log oops");
    stage.end(worker);
}
