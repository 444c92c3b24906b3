//! The exchange against a worker played by a thread.

use super::*;
use crate::backend::relay::tests::Recorder;
use crate::request::relaying::Relaying;
use rwsgi_os::OwnedFd;
use rwsgi_os::region::{Region, View};
use rwsgi_os::socket::{Access, Kind as SocketKind, Mode, accept, listen};
use rwsgi_os::{BorrowedFd, fd, file, message, poll::readable};
use rwsgi_wire::control::{Answer, Ask, DeathKind};
use rwsgi_wire::frame::Decoder;
use rwsgi_wire::head::Head;
use rwsgi_wire::region::{ANSWER_LENGTH, BODY_LENGTH, RETURNED};
use rwsgi_wire::response::Level;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

const LIMITS: Limits = Limits {
    relaying: Relaying {
        flush_delay: Duration::ZERO,
        flush_after: 0,
        header_limit: 0,
    },
    connect: Duration::from_secs(2),
    socket: Duration::from_secs(5),
    queue: None,
    send_buffer: None,
    can_grow: false,
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
        let name = PoolName::of_group(b"g", b"");
        let mut head = Vec::new();
        frame::put_with(&mut head, Kind::Head, |out| Head::default().encode(out));
        let room = Room {
            directory: Path::new("/tmp"),
            most: 1 << 20,
        };
        serve(&self.pools, &name, &head, limits, room, client)
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

fn death() -> Answer {
    Answer::Death {
        kind: DeathKind::Signal,
        text: b"was killed by signal 11".to_vec(),
    }
}

/// A worker's side of one connection.
struct Worker {
    socket: OwnedFd,
    decoder: Decoder,
    /// The memory that was passed.
    view: Option<View>,
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
            view: None,
        }
    }
    /// What lies in httpd's half.
    fn shared(&self, at: usize, length: usize) -> &[u8] {
        self.view.as_ref().unwrap().trusted(at, length).unwrap()
    }
    fn expect(&mut self) -> Option<(Kind, Vec<u8>)> {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return Some((frame.kind, frame.payload.to_vec()));
            }
            readable(&self.socket, None).unwrap();
            match message::try_receive_with(&self.socket, self.decoder.space()) {
                Ok(message::Part { len: 0, .. }) | Err(_) => return None,
                Ok(part) => {
                    self.decoder.filled(part.len);
                    if let Some(file) = part.passed {
                        assert!(self.view.is_none(), "it was passed twice");
                        self.view = Some(View::map(file.as_fd(), BODY_LENGTH).unwrap());
                    }
                }
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
    /// Frames, with descriptors that travel with their first byte.
    fn pass(&self, frames: &[(Kind, &[u8])], fds: &[BorrowedFd<'_>]) {
        let mut out = Vec::new();
        for (kind, payload) in frames {
            frame::put(&mut out, *kind, payload);
        }
        message::send_descriptors(&self.socket, &out, fds).unwrap();
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

/// A worker that has answered once, and is waited for until the next head has arrived.
fn once_answered(listener: &OwnedFd) -> Worker {
    let mut w = Worker::accept(listener);
    w.take();
    w.say(&[(Kind::Response, &ok_head()), (Kind::End, b"")]);
    assert!(readable(&w.socket, Some(Duration::from_secs(5))).unwrap());
    w
}

#[test]
fn n2_a_head_that_a_known_worker_has_read_is_taken_and_one_that_it_has_not_goes_elsewhere() {
    let (stage, worker) = Stage::new(vec![pool(), death()], |listener| {
        drop(once_answered(&listener));
        let in_part = once_answered(&listener);
        message::receive(&in_part.socket, &mut [0; 9]).unwrap();
        drop(in_part);
        let mut recalled = once_answered(&listener);
        rwsgi_os::socket::shutdown(&recalled.socket, rwsgi_os::socket::Side::Read).unwrap();
        assert_eq!(recalled.expect().unwrap().0, Kind::Head);
        recalled.say(&[(Kind::Stale, b"")]);
        let mut read = once_answered(&listener);
        read.expect().unwrap();
        drop((read, recalled));
    });
    let mut client = Recorder::default();
    for _ in 0..4 {
        stage.serve(&mut client, LIMITS).unwrap();
    }
    assert_eq!(client.seen.join(" "), "start 200 end ".repeat(4).trim());
    let Err(Failure::Unanswered(refusal)) = stage.serve(&mut client, LIMITS) else {
        panic!("it may have run")
    };
    assert_eq!(refusal.status, 502);
    stage.end(worker);
}

#[test]
fn a_known_worker_has_its_own_time_from_when_it_has_read_the_head() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut slow = once_answered(&listener);
        slow.expect().unwrap();
        std::thread::sleep(Duration::from_millis(2000));
        slow.say(&[(Kind::Response, &ok_head()), (Kind::End, b"")]);
        // The next head is there, and not read in time.
        assert!(readable(&slow.socket, Some(Duration::from_secs(20))).unwrap());
        std::thread::sleep(Duration::from_millis(2000));
        assert_eq!(slow.expect().unwrap().0, Kind::Head);
        assert_eq!(slow.expect(), None, "closed by the child");
    });
    let mut client = Recorder::default();
    let limits = Limits {
        queue: Some(Duration::from_millis(1000)),
        ..LIMITS
    };
    stage.serve(&mut client, LIMITS).unwrap();
    stage.serve(&mut client, limits).unwrap();
    let Err(Failure::Unanswered(refusal)) = stage.serve(&mut client, limits) else {
        panic!("answered")
    };
    assert_eq!(
        (refusal.status, refusal.message.unwrap().code),
        (504, codes::QUEUE_TIMEOUT)
    );
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

// F29
#[test]
fn f29_a_question_that_the_manager_does_not_live_through_is_not_asked_again() {
    let (stage, worker) = Stage::new(vec![], drop);
    let asked = listen(
        SocketKind::SeqPacket,
        &stage.dir.join("m2").into_os_string().into_encoded_bytes(),
        ACCESS,
        5,
    )
    .unwrap();
    std::fs::rename(stage.dir.join("m2"), stage.dir.join("m")).unwrap();
    // A manager that reads and goes away, as one that dies of what it has read.
    let manager = std::thread::spawn(move || {
        let mut times = 0;
        while readable(&asked, Some(Duration::from_millis(1500))).unwrap() {
            let child = accept(&asked, Mode::Blocking).unwrap();
            message::receive(&child, &mut [0; 4096]).unwrap();
            times += 1;
        }
        times
    });
    let mut texts = Vec::new();
    for _ in 0..5 {
        let Err(Failure::Unanswered(refusal)) = stage.serve(&mut Recorder::default(), LIMITS) else {
            panic!("it was answered");
        };
        assert_eq!((refusal.status, refusal.retry_after.is_some()), (503, true));
        texts.push(refusal.message.unwrap().text);
    }
    assert_eq!(manager.join().unwrap(), 3);
    assert!(texts[0].contains("has gone away 3 times"), "{texts:?}");
    assert!(texts[4].contains("is set aside"), "{texts:?}");
    // Another application is asked for as ever.
    let other = PoolName::of_group(b"other", b"");
    assert!(stage.pools.may_be_asked_for(&other).is_ok());
    stage.end(worker);
}

#[test]
fn a_request_that_no_worker_takes_is_given_up_after_connect_timeout() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut times = 0;
        while readable(&listener, Some(Duration::from_millis(700))).unwrap() {
            Worker::accept(&listener).expect().unwrap();
            times += 1;
        }
        assert!(times > 3, "{times}");
    });
    let mut client = Recorder::default();
    let limits = Limits {
        connect: Duration::from_millis(500),
        ..LIMITS
    };
    let Err(Failure::Unanswered(refusal)) = stage.serve(&mut client, limits) else {
        panic!("it was answered");
    };
    assert_eq!((refusal.status, refusal.retry_after.is_some()), (503, true));
    let message = refusal.message.unwrap();
    assert_eq!(message.code.number, 309);
    assert!(
        message.text.contains("workers kept going away"),
        "{}",
        message.text
    );
    assert_eq!(client.seen.join(" "), "");
    stage.end(worker);
}

#[test]
fn a_death_after_taken_is_reported_with_its_cause_and_not_repeated() {
    let (stage, worker) = Stage::new(vec![pool(), death()], |listener| {
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

/// 64 KiB of each of these, one after the other.
fn blocks(letters: &[u8]) -> Vec<u8> {
    letters.iter().flat_map(|letter| [*letter; CHUNK_MAX]).collect()
}

fn lies(from: usize, length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    Part {
        from: from as u32,
        length: length as u32,
    }
    .encode(&mut out);
    out
}

#[test]
fn a_large_body_is_handed_over_in_memory_from_its_second_piece_on() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        w.take();
        let want = (4 * CHUNK_MAX as u32).to_le_bytes();
        w.say(&[(Kind::Want, &want)]);
        assert!(w.expect() == Some((Kind::Body, blocks(b"a"))));
        w.say(&[(Kind::Want, &want)]);
        assert_eq!(w.expect(), Some((Kind::SharedBody, lies(0, 4 * CHUNK_MAX))));
        assert!(w.shared(0, 4 * CHUNK_MAX) == blocks(b"bcde"));
        w.say(&[(Kind::Want, &want)]);
        assert_eq!(w.expect(), Some((Kind::SharedBody, lies(0, CHUNK_MAX))));
        assert!(w.shared(0, CHUNK_MAX) == blocks(b"f"));
        assert_eq!(w.expect(), Some((Kind::BodyEnd, vec![])));
        w.say(&[(Kind::Response, &ok_head()), (Kind::End, b"")]);
        // The next body goes there from its beginning.
        assert_eq!(w.expect().unwrap().0, Kind::Head);
        w.say(&[(Kind::Want, &want)]);
        assert_eq!(w.expect(), Some((Kind::SharedBody, lies(0, 3))));
        assert_eq!(w.shared(0, 3), b"abc");
        assert_eq!(w.expect(), Some((Kind::BodyEnd, vec![])));
        w.say(&[(Kind::Response, &ok_head()), (Kind::End, b"")]);
        w.expect();
    });
    for body in [blocks(b"abcdef"), b"abc".to_vec()] {
        let mut client = Recorder {
            body,
            ..Recorder::default()
        };
        stage.serve(&mut client, LIMITS).unwrap();
    }
    stage.end(worker);
}

#[test]
fn a_body_that_breaks_off_in_shared_memory_is_reported_like_any_other() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        w.take();
        let want = (4 * CHUNK_MAX as u32).to_le_bytes();
        for kind in [Kind::Body, Kind::SharedBody, Kind::BodyAbort] {
            w.say(&[(Kind::Want, &want)]);
            assert_eq!(w.expect().unwrap().0, kind);
        }
        w.say(&[(Kind::Response, &ok_head()), (Kind::End, b"")]);
        w.expect();
    });
    let mut client = Recorder {
        body: blocks(b"ab"),
        breaks_off: true,
        ..Recorder::default()
    };
    stage.serve(&mut client, LIMITS).unwrap();
    stage.end(worker);
}

#[test]
fn a_filter_that_gives_more_than_there_is_room_for_is_a_broken_body() {
    for before in [&[][..], &[Kind::Body]] {
        let (stage, worker) = Stage::new(vec![pool()], |listener| {
            let mut w = Worker::accept(&listener);
            w.take();
            let want = (ROOM as u32).to_le_bytes();
            for kind in before.iter().chain(&[Kind::BodyAbort]) {
                w.say(&[(Kind::Want, &want)]);
                assert_eq!(w.expect().unwrap().0, *kind);
            }
            w.say(&[(Kind::Response, &ok_head()), (Kind::End, b"")]);
            w.expect();
        });
        let mut client = Recorder {
            body: vec![1; 2 * ROOM],
            surplus: 1,
            keeps_to: before.len(),
            ..Recorder::default()
        };
        stage.serve(&mut client, LIMITS).unwrap();
        stage.end(worker);
    }
}

/// A worker that has given a large answer, and so has been shown what comes back; and memory of its own, with its descriptor.
fn lends(w: &mut Worker) -> (Region, OwnedFd) {
    w.take();
    assert!(w.view.is_none());
    w.say(&[
        (Kind::Response, &ok_head()),
        (Kind::Data, &blocks(b"a")),
        (Kind::End, b""),
    ]);
    assert_eq!(w.expect().unwrap().0, Kind::Head);
    assert!(w.view.is_some(), "memory with the second head");
    Region::make("test", ANSWER_LENGTH).unwrap()
}

#[test]
fn after_a_large_answer_the_next_may_lie_in_memory() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        let (region, file) = lends(&mut w);
        region.write(0, &blocks(b"b"));
        region.write(ROOM - 5, b"ccccc");
        w.pass(
            &[
                (Kind::Response, &ok_head()),
                (Kind::SharedData, &lies(0, CHUNK_MAX)),
            ],
            &[file.as_fd()],
        );
        w.say(&[
            (Kind::Data, b"between"),
            (Kind::SharedData, &lies(ROOM - 5, 5)),
            (Kind::End, b""),
        ]);
        assert_eq!(w.expect().unwrap().0, Kind::Head);
        assert_eq!(w.view.as_ref().unwrap().number(RETURNED), Some(2));
        // It is passed once in the life of a connection.
        w.say(&[
            (Kind::Response, &ok_head()),
            (Kind::SharedData, &lies(0, 3)),
            (Kind::End, b""),
        ]);
        assert_eq!(w.expect(), None);
    });
    let seen: Vec<_> = (0..3)
        .map(|_| {
            let mut client = Recorder::default();
            stage.serve(&mut client, LIMITS).unwrap();
            client.seen.join(", ").replace(", flush", "")
        })
        .collect();
    assert_eq!(
        seen,
        [
            "start 200, data of 65536, end",
            "start 200, shared 65536 of b, data between, shared 5 of c, end",
            "start 200, shared 3 of b, end",
        ]
    );
    stage.end(worker);
}

#[test]
fn lent_bytes_beyond_the_promised_length_are_dropped() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        let (region, file) = lends(&mut w);
        region.write(0, &[b'b'; 10]);
        let mut head = Vec::new();
        Response {
            status: 200,
            reason: b"OK",
            headers: vec![(b"Content-Length", b"12")],
        }
        .encode(&mut head);
        let part = lies(0, 10);
        let shared = [(Kind::SharedData, &part[..]); 3];
        w.pass(
            &[&[(Kind::Response, &head[..])], &shared[..]].concat(),
            &[file.as_fd()],
        );
        w.say(&[(Kind::End, b"")]);
        assert_eq!(w.expect(), None);
    });
    stage.serve(&mut Recorder::default(), LIMITS).unwrap();
    let mut client = Recorder::default();
    stage.serve(&mut client, LIMITS).unwrap();
    assert_eq!(
        client.seen.join(", ").replace(", flush", ""),
        "start 200, shared 10 of b, warn RW0313, shared 2 of b, end"
    );
    stage.end(worker);
}

/// A client may wait for what it has not been sent before it sends more.
#[test]
fn an_answer_is_on_its_way_before_more_of_the_body_is_waited_for() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        let (region, file) = lends(&mut w);
        region.write(0, &[b'b'; 10]);
        w.pass(
            &[
                (Kind::Response, &ok_head()),
                (Kind::SharedData, &lies(0, 10)),
                (Kind::Want, &65_536u32.to_le_bytes()),
            ],
            &[file.as_fd()],
        );
        assert_eq!(w.expect(), Some((Kind::Body, b"body".to_vec())));
        assert_eq!(w.expect().unwrap().0, Kind::BodyEnd);
        w.say(&[(Kind::End, b"")]);
        assert_eq!(w.expect(), None);
    });
    stage.serve(&mut Recorder::default(), LIMITS).unwrap();
    let mut client = Recorder {
        body: b"body".to_vec(),
        ..Recorder::default()
    };
    stage.serve(&mut client, LIMITS).unwrap();
    assert_eq!(client.seen.join(", "), "start 200, shared 10 of b, flush, end");
    stage.end(worker);
}

/// What a hostile worker says of memory, after it has been shown what comes back or not.
fn refused(is_shown: bool, says: impl FnOnce(&Worker) + Send + 'static) {
    let (stage, worker) = Stage::new(vec![pool()], move |listener| {
        let mut w = Worker::accept(&listener);
        if is_shown {
            drop(lends(&mut w));
        } else {
            w.take();
        }
        says(&w);
        assert_eq!(w.expect(), None);
    });
    if is_shown {
        stage.serve(&mut Recorder::default(), LIMITS).unwrap();
    }
    let mut client = Recorder::default();
    let answered = stage.serve(&mut client, LIMITS);
    assert!(
        matches!(answered, Err(Failure::Unanswered(_) | Failure::Truncated(_))),
        "{:?}",
        client.seen
    );
    stage.end(worker);
}

#[test]
fn a_worker_that_names_what_it_has_not_lent_is_refused() {
    let said =
        |part: Vec<u8>| move |w: &Worker| w.say(&[(Kind::Response, &ok_head()), (Kind::SharedData, &part)]);
    refused(false, said(lies(0, 1)));
    refused(true, said(lies(0, 1)));
    let passed = |part: Vec<u8>, length: usize| {
        move |w: &Worker| {
            let (_region, file) = Region::make("test", length).unwrap();
            w.pass(
                &[(Kind::Response, &ok_head()), (Kind::SharedData, &part)],
                &[file.as_fd()],
            );
        }
    };
    refused(false, passed(lies(0, 1), ANSWER_LENGTH));
    refused(true, passed(lies(ROOM, 1), ANSWER_LENGTH));
    refused(true, passed(lies(0, 0), ANSWER_LENGTH));
    refused(true, passed(vec![1], ANSWER_LENGTH));
    refused(true, passed(lies(0, 1), ANSWER_LENGTH - 1));
}

#[test]
fn what_is_no_memory_with_a_fixed_length_is_refused() {
    refused(true, |w| {
        let file = fd::memory_file("test").unwrap();
        std::fs::File::from(file.try_clone().unwrap())
            .set_len(ANSWER_LENGTH as u64)
            .unwrap();
        w.pass(
            &[(Kind::Response, &ok_head()), (Kind::SharedData, &lies(0, 1))],
            &[file.as_fd()],
        );
    });
    refused(true, |w| {
        let file = std::fs::File::open("/dev/zero").unwrap();
        w.pass(
            &[(Kind::Response, &ok_head()), (Kind::SharedData, &lies(0, 1))],
            &[file.as_fd()],
        );
    });
}

/// Memory and a file, both before the frames that name them.
#[test]
fn an_answer_may_lie_in_memory_first_and_then_in_a_file() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        let (region, lent) = lends(&mut w);
        region.write(0, &[b'b'; 10]);
        let file = ten_bytes();
        let mut frames = Vec::new();
        frame::put(&mut frames, Kind::Response, &ok_head());
        frame::put(&mut frames, Kind::SharedData, &lies(0, 10));
        frame::put(&mut frames, Kind::File, &file_part(0, 10, false));
        frame::put(&mut frames, Kind::End, b"");
        // The first byte of a frame does not make it whole.
        message::send_descriptors(&w.socket, &frames[..1], &[lent.as_fd()]).unwrap();
        message::send_descriptors(&w.socket, &frames[1..2], &[file.as_fd()]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        message::send_all(&w.socket, &frames[2..]).unwrap();
        assert_eq!(w.expect(), None);
    });
    stage.serve(&mut Recorder::default(), LIMITS).unwrap();
    let mut client = Recorder::default();
    stage.serve(&mut client, LIMITS).unwrap();
    assert_eq!(
        client.seen.join(", ").replace(", flush", ""),
        "start 200, shared 10 of b, file 0+10, end, watch to 10"
    );
    stage.end(worker);
}

/// A few bytes of frames could stand for gigabytes.
#[test]
fn a_worker_that_lends_more_than_it_has_is_refused() {
    refused(true, |w| {
        let (_region, file) = Region::make("test", ANSWER_LENGTH).unwrap();
        let part = lies(0, ROOM);
        let head = ok_head();
        let mut frames = vec![(Kind::Response, &head[..])];
        frames.extend([(Kind::SharedData, &part[..]); 100]);
        w.pass(&frames, &[file.as_fd()]);
    });
}

#[test]
fn memory_that_goes_with_nothing_is_refused() {
    refused(true, |w| {
        let (_region, file) = Region::make("test", ANSWER_LENGTH).unwrap();
        w.pass(&[(Kind::Response, &ok_head()), (Kind::End, b"")], &[file.as_fd()]);
    });
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

fn file_part(from: u64, length: u64, wait: bool) -> Vec<u8> {
    let mut out = Vec::new();
    File { from, length, wait }.encode(&mut out);
    out
}

fn ten_bytes() -> OwnedFd {
    let file = fd::memory_file("ten").unwrap();
    fd::write_all(&file, b"0123456789").unwrap();
    file
}

#[test]
fn a_file_is_the_rest_of_the_answer_and_no_longer_than_it_is() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        let file = ten_bytes();
        for (from, length) in [(0, 10), (4, 2), (4, 100), (50, 1)] {
            w.take();
            w.pass(
                &[
                    (Kind::Response, &ok_head()),
                    (Kind::File, &file_part(from, length, false)),
                    (Kind::End, b""),
                ],
                &[file.as_fd()],
            );
        }
        w.take();
        w.pass(
            &[(Kind::Response, &ok_head()), (Kind::File, &file_part(1, 3, true))],
            &[file.as_fd()],
        );
        assert_eq!(w.expect(), Some((Kind::Sent, vec![])));
        w.say(&[(Kind::End, b"")]);
        assert_eq!(w.expect(), None);
    });
    for expected in [
        "start 200 file 0+10 end watch to 10",
        "start 200 file 4+2 end watch to 6",
        "start 200 file 4+6 end watch to 10",
        "start 200 end",
        "start 200 file 1+3 end flush",
    ] {
        let mut client = Recorder::default();
        stage.serve(&mut client, LIMITS).unwrap();
        assert_eq!(client.seen.join(" "), expected);
    }
    stage.end(worker);
}

#[test]
fn a_file_shorter_than_the_promised_length_looks_truncated() {
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        let mut w = Worker::accept(&listener);
        w.take();
        let mut head = Vec::new();
        Response {
            status: 200,
            reason: b"OK",
            headers: vec![(b"Content-Length", b"11")],
        }
        .encode(&mut head);
        w.pass(
            &[
                (Kind::Response, &head),
                (Kind::File, &file_part(0, 11, false)),
                (Kind::End, b""),
            ],
            &[ten_bytes().as_fd()],
        );
        assert_eq!(w.expect(), None);
    });
    let mut client = Recorder::default();
    let result = stage.serve(&mut client, LIMITS);
    assert!(matches!(result, Err(Failure::Truncated(_))));
    assert_eq!(
        client.seen.join(" "),
        "start 200 file 0+10 flush warn RW0312 abort"
    );
    stage.end(worker);
}

/// What a hostile worker may say with which descriptors after its head.
type Trick = fn(&Worker);

#[test]
fn descriptors_that_are_no_files_of_the_answer_are_refused() {
    const TRICKS: [(&str, Trick); 10] = [
        ("not a regular file", |w| {
            pass_one(w, fd::pipe().unwrap().0);
        }),
        ("not a regular file", |w| pass_one(w, file::null().unwrap())),
        ("not a regular file", |w| {
            pass_one(w, file::open_directory(b"/", file::Links::Follow).unwrap());
        }),
        ("not a regular file", |w| {
            pass_one(w, w.socket.try_clone().unwrap())
        }),
        ("belong to no file", |w| {
            let file = ten_bytes();
            w.pass(
                &[(Kind::File, &file_part(0, 1, false))],
                &[file.as_fd(), file.as_fd()],
            );
        }),
        ("belong to no file", |w| {
            w.pass(&[(Kind::Data, b"x"), (Kind::End, b"")], &[ten_bytes().as_fd()]);
        }),
        ("belong to no file", |w| {
            w.pass(&[(Kind::Data, b"x")], &[ten_bytes().as_fd()]);
            w.pass(&[(Kind::Data, b"x")], &[ten_bytes().as_fd()]);
        }),
        ("without passing its descriptor", |w| {
            w.say(&[(Kind::File, &file_part(0, 1, false))]);
        }),
        ("end of the file", |w| {
            w.pass(
                &[(Kind::File, &file_part(u64::MAX, 1, false))],
                &[ten_bytes().as_fd()],
            );
        }),
        ("after the file", |w| {
            w.pass(
                &[(Kind::File, &file_part(0, 1, false)), (Kind::Data, b"x")],
                &[ten_bytes().as_fd()],
            );
        }),
    ];
    let (stage, worker) = Stage::new(vec![pool()], |listener| {
        for (_, trick) in TRICKS {
            let mut w = Worker::accept(&listener);
            w.take();
            w.say(&[(Kind::Response, &ok_head())]);
            trick(&w);
            assert_eq!(w.expect(), None, "closed by the child");
        }
    });
    for (sentence, _) in TRICKS {
        let mut client = Recorder::default();
        let result = stage.serve(&mut client, LIMITS);
        let message = match &result {
            Err(Failure::Unanswered(refusal)) => refusal.message.as_ref(),
            Err(Failure::Truncated(message)) => message.as_ref(),
            _ => None,
        };
        let message = message.unwrap_or_else(|| panic!("{sentence}: {result:?}"));
        assert_eq!(message.code.number, 306, "{}", message.text);
        assert!(message.text.contains(sentence), "{}", message.text);
    }
    stage.end(worker);
}

fn pass_one(w: &Worker, fd: OwnedFd) {
    w.pass(&[(Kind::File, &file_part(0, 1, true))], &[fd.as_fd()]);
}

#[test]
fn the_scoreboard_is_told_when_it_is_asked_for_and_not_too_large() {
    for (size, told) in [(3, 3), (Kind::Scoreboard.max() + 1, 0)] {
        let (stage, worker) = Stage::new(vec![pool()], move |listener| {
            let mut w = Worker::accept(&listener);
            w.take();
            w.say(&[(Kind::Ask, b"")]);
            assert_eq!(w.expect(), Some((Kind::Scoreboard, vec![7; told])));
            w.say(&[(Kind::Response, &ok_head()), (Kind::End, b"")]);
            w.expect();
        });
        let mut client = Recorder {
            scoreboard: vec![7; size],
            ..Recorder::default()
        };
        stage.serve(&mut client, LIMITS).unwrap();
        let warned = if told == size { "" } else { "warn RW0326 " };
        assert_eq!(client.seen.join(" "), format!("{warned}start 200 end"));
        stage.end(worker);
    }
}

#[test]
fn a_worker_that_asks_and_does_not_listen_is_waited_for_once() {
    for kind in [Kind::Ask, Kind::Want] {
        let (stage, worker) = Stage::new(vec![pool()], move |listener| {
            let mut w = Worker::accept(&listener);
            w.take();
            let want = 65_536u32.to_le_bytes();
            let payload: &[u8] = if kind == Kind::Want { &want } else { b"" };
            w.say(&vec![(kind, payload); 500]);
            let mut closed = [rwsgi_os::poll::Watch::new(
                w.socket.as_fd(),
                rwsgi_os::poll::Events::PEER_CLOSED,
            )];
            let seen = rwsgi_os::poll::poll(&mut closed, Some(Duration::from_secs(10)));
            assert_eq!(seen, Ok(1), "the connection was kept");
        });
        let mut client = Recorder {
            body: vec![1; 32 << 20],
            scoreboard: vec![7; 1 << 20],
            ..Recorder::default()
        };
        let limits = Limits {
            socket: Duration::from_millis(200),
            ..LIMITS
        };
        let Err(Failure::Unanswered(refusal)) = stage.serve(&mut client, limits) else {
            panic!("unanswered")
        };
        assert_eq!(refusal.status, 504);
        stage.end(worker);
    }
}

/// Either nothing has gone out, so that httpd can answer, or the client sees that the answer breaks off.
fn broke_off(became: &Result<(), Failure>, seen: &str, what: &str) {
    match became {
        Err(Failure::Unanswered(_)) => assert!(
            !seen.contains("data") && !seen.contains("flush"),
            "{what}: {seen}"
        ),
        Err(Failure::Truncated(Some(_))) => assert!(seen.ends_with("abort"), "{what}: {seen}"),
        _ => panic!("{what}: {seen}, well: {}", became.is_ok()),
    }
    assert!(!seen.contains("end"), "{what}: {seen}");
}

/// R39, R40: an answer that breaks off after any of its bytes is never taken for a whole one, and one that had begun is never repeated.
#[test]
fn r40_an_answer_cut_off_at_any_byte_is_no_answer() {
    let mut whole = Vec::new();
    frame::put(&mut whole, Kind::Taken, &7u32.to_le_bytes());
    let taken = whole.len();
    let mut head = Vec::new();
    Response {
        status: 200,
        reason: b"OK",
        headers: vec![(b"X-Name", b"value")],
    }
    .encode(&mut head);
    frame::put(&mut whole, Kind::Response, &head);
    let answered = whole.len();
    frame::put(&mut whole, Kind::Data, b"hello");
    frame::put(&mut whole, Kind::End, b"");
    for cut in 0..whole.len() {
        let begun = cut >= taken;
        let death = Answer::Death {
            kind: DeathKind::Exit,
            text: b"exited".to_vec(),
        };
        let answers = if begun { vec![pool(), death] } else { vec![pool()] };
        let all = whole.clone();
        let (stage, worker) = Stage::new(answers, move |listener| {
            let mut first = Worker::accept(&listener);
            first.expect().unwrap();
            message::send_all(&first.socket, &all[..cut]).unwrap();
            drop(first);
            if !begun {
                let mut second = Worker::accept(&listener);
                second.expect().unwrap();
                message::send_all(&second.socket, &all).unwrap();
                second.expect();
            }
        });
        let mut client = Recorder::default();
        let became = stage.serve(&mut client, LIMITS);
        let seen = client.seen.join(" ");
        if !begun {
            assert!(became.is_ok(), "{cut}");
            assert_eq!(seen, "start 200 data hello end", "{cut}");
        } else {
            broke_off(&became, &seen, &cut.to_string());
            assert!(cut >= answered || seen.is_empty(), "{cut}: {seen}");
        }
        stage.end(worker);
    }
}

/// R40: frames that are none, at each place of an answer.
#[test]
fn r40_wrong_frames_end_the_exchange() {
    let frame = |kind: u8, length: u32, padding: [u8; 3]| {
        let [a, b, c, d] = length.to_le_bytes();
        let [x, y, z] = padding;
        vec![a, b, c, d, kind, x, y, z]
    };
    let response = |status: u16, count: u32| {
        let mut payload = status.to_le_bytes().to_vec();
        payload.extend(0u32.to_le_bytes());
        payload.extend(count.to_le_bytes());
        let mut whole = frame(
            Kind::Response as u8,
            u32::try_from(payload.len()).unwrap(),
            [0; 3],
        );
        whole.extend(payload);
        whole
    };
    let wrong: Vec<Vec<u8>> = vec![
        // No kind, kinds that a worker never sends, padding, sizes beyond the limit.
        frame(0, 0, [0; 3]),
        frame(255, 0, [0; 3]),
        frame(Kind::Head as u8, 0, [0; 3]),
        frame(Kind::Body as u8, 0, [0; 3]),
        frame(Kind::BodyEnd as u8, 0, [0; 3]),
        frame(Kind::Sent as u8, 0, [0; 3]),
        frame(Kind::End as u8, 0, [0, 0, 1]),
        frame(Kind::End as u8, 1, [0; 3]),
        frame(Kind::Data as u8, u32::MAX, [0; 3]),
        frame(Kind::Data as u8, 65537, [0; 3]),
        frame(Kind::Response as u8, (1 << 20) + 1, [0; 3]),
        // Its own fields: a second start, statuses that are none, headers that are not there.
        frame(Kind::Stale as u8, 0, [0; 3]),
        response(100, 0),
        response(99, 0),
        response(200, 1),
        response(200, u32::MAX),
        frame(Kind::Want as u8, 0, [0; 3]),
        frame(Kind::Verdict as u8, 0, [0; 3]),
        frame(Kind::File as u8, 0, [0; 3]),
    ];
    for after_the_head in [false, true] {
        for bytes in &wrong {
            let bytes = bytes.clone();
            let shown = format!("{bytes:?}, after the head: {after_the_head}");
            let (stage, worker) = Stage::new(vec![pool()], move |listener| {
                let mut w = Worker::accept(&listener);
                w.take();
                if after_the_head {
                    w.say(&[(Kind::Response, &ok_head()), (Kind::Data, b"part")]);
                }
                // It may be closed already.
                let _ = message::send_all(&w.socket, &bytes);
                while w.expect().is_some() {}
            });
            let mut client = Recorder::default();
            let became = stage.serve(&mut client, LIMITS);
            broke_off(&became, &client.seen.join(" "), &shown);
            stage.end(worker);
        }
    }
}
