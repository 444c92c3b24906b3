//! Answers that their clients take slowly: what a worker sends meanwhile is taken in, so that its thread is free for other requests (R58).
//!
//! While the thread of a request waits for the client, another thread, one for this whole process, receives in its place: bytes as they
//! come, with the frames that they are, in a [`Spool`] that the connection's decoder reads from first. So nothing that is said about
//! an answer changes by it: neither its order, nor how it ends. A client that keeps up is never waited for long enough.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use rwsgi_os::message::{Part, try_receive_with};
use rwsgi_os::poll::{Events, Watch, poll};
use rwsgi_os::{OsError, signal};

use super::spool::Spool;

/// How long a client may take what it is sent before the worker is listened to in its request's place.
const PATIENCE: Duration = Duration::from_millis(10);
/// How often answers are looked at for that.
const TURN: Duration = Duration::from_millis(10);
/// Bytes of one receive.
const STEP: usize = 64 * 1024;

/// How much of an answer may wait for its client, and where.
#[derive(Clone, Copy, Debug)]
pub struct Room<'d> {
    /// The directory for what is not kept in memory.
    pub directory: &'d Path,
    /// Bytes; 0: nothing is taken in.
    pub most: u64,
}

/// The answer of one connection as far as it has been taken in.
pub struct Intake(Arc<Answer>);

struct Answer {
    socket: Arc<OwnedFd>,
    most: u64,
    state: Mutex<State>,
}

struct State {
    /// Since when its request has been sending; nobody else listens to the worker before and after.
    sending: Option<Instant>,
    spool: Spool,
    /// What the spool could not take, behind what it has.
    rest: Vec<u8>,
    /// Why it could not.
    failure: Option<OsError>,
    /// The descriptor of a frame in there.
    passed: Option<OwnedFd>,
    /// What came after all of that instead of bytes.
    end: Option<Result<Part, OsError>>,
    is_over: bool,
}

/// All answers under way in this process whose end has not come with their beginning.
#[derive(Default)]
struct Answers {
    all: Mutex<All>,
    wake: Condvar,
}

#[derive(Default)]
struct All {
    answers: Vec<Arc<Answer>>,
    /// The thread waits for the first of them.
    sleeps: bool,
}

static ANSWERS: OnceCell<Answers> = OnceCell::new();

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole at every moment, so a panic elsewhere has not harmed it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Intake {
    /// For the answer that comes over this connection. An error: there can be no thread.
    pub fn new(socket: &Arc<OwnedFd>, room: Room<'_>) -> Result<Self, OsError> {
        let answers = ANSWERS.get_or_try_init(start)?;
        let answer = Arc::new(Answer {
            socket: Arc::clone(socket),
            most: room.most,
            state: Mutex::new(State {
                sending: None,
                spool: Spool::new(room.directory),
                rest: Vec::new(),
                failure: None,
                passed: None,
                end: None,
                is_over: false,
            }),
        });
        let mut all = lock(&answers.all);
        all.answers.push(Arc::clone(&answer));
        if std::mem::take(&mut all.sleeps) {
            answers.wake.notify_one();
        }
        Ok(Self(answer))
    }

    /// Runs `send`, in which the client is waited for.
    pub fn during<T>(&self, send: impl FnOnce() -> T) -> T {
        lock(&self.0.state).sending = Some(Instant::now());
        let sent = send();
        lock(&self.0.state).sending = None;
        sent
    }

    /// The next of what was taken in, as if it were received now; `None` when there is nothing, and the socket is to be asked. The outer
    /// error: it cannot be read back.
    pub fn take(&self, into: &mut [u8]) -> Result<Option<Result<Part, OsError>>, OsError> {
        let mut state = lock(&self.0.state);
        let State { spool, rest, .. } = &mut *state;
        let mut len = 0;
        if !spool.is_read() {
            spool.read(into.len(), &mut |bytes| len = copy(bytes, into))?;
        } else if !rest.is_empty() {
            len = copy(rest, into);
            rest.drain(..len);
        } else {
            return Ok(state.end.take());
        }
        Ok(Some(Ok(Part {
            len,
            passed: state.passed.take(),
            surplus: false,
        })))
    }

    /// Whether [`take`](Self::take) has something.
    pub fn has_some(&self) -> bool {
        lock(&self.0.state).has_some()
    }

    /// Why no more is taken in, once.
    pub fn failure(&self) -> Option<OsError> {
        lock(&self.0.state).failure.take()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // From here on nobody else receives from the socket.
        lock(&self.0.state).is_over = true;
        if let Some(answers) = ANSWERS.get() {
            lock(&answers.all)
                .answers
                .retain(|answer| !Arc::ptr_eq(answer, &self.0));
        }
    }
}

/// As many bytes as there is room for; how many.
fn copy(from: &[u8], into: &mut [u8]) -> usize {
    let len = from.len().min(into.len());
    if let (Some(place), Some(bytes)) = (into.get_mut(..len), from.get(..len)) {
        place.copy_from_slice(bytes);
    }
    len
}

impl State {
    fn has_some(&self) -> bool {
        !self.spool.is_read() || !self.rest.is_empty() || self.end.is_some()
    }
}

impl Answer {
    /// Whether the worker is to be listened to for its request, which is waiting for the client.
    fn is_due(&self, state: &State) -> bool {
        let is_open = !state.is_over && state.end.is_none() && state.passed.is_none();
        let waits = || state.sending.is_some_and(|since| since.elapsed() >= PATIENCE);
        is_open && state.spool.length() < self.most && (state.has_some() || waits())
    }

    /// Takes in what is there, at most [`STEP`] bytes.
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = lock(&self.state);
        if !self.is_due(&state) {
            return;
        }
        let part = match try_receive_with(&self.socket, buffer) {
            Ok(part) if part.len > 0 => part,
            Err(error) if error.is_would_block() => return,
            end => return state.end = Some(end),
        };
        let bytes = buffer.get(..part.len).unwrap_or_default();
        if let Err(why) = state.spool.push(bytes) {
            state.rest = bytes.to_vec();
            state.failure = Some(why);
            state.is_over = true;
        }
        state.passed = part.passed;
        if part.surplus {
            state.end = Some(Ok(Part {
                len: 0,
                passed: None,
                surplus: true,
            }));
        }
    }
}

/// Starts the thread.
fn start() -> Result<Answers, OsError> {
    signal::without_signals("rwsgi intake", || ANSWERS.wait().listen())?;
    Ok(Answers::default())
}

impl Answers {
    fn listen(&self) -> ! {
        let mut buffer = vec![0; STEP];
        loop {
            let due = self.due();
            let mut watches: Vec<_> = due
                .iter()
                .map(|answer| Watch::new(answer.socket.as_fd(), Events::READ))
                .collect();
            if poll(&mut watches, Some(TURN)).is_err() {
                std::thread::sleep(TURN);
            }
            for (answer, watch) in due.iter().zip(&watches) {
                if watch.found().any() {
                    answer.fill(&mut buffer);
                }
            }
        }
    }

    /// Waits for answers whose workers are to be listened to.
    fn due(&self) -> Vec<Arc<Answer>> {
        let mut all = lock(&self.all);
        loop {
            let due: Vec<_> = all
                .answers
                .iter()
                .filter(|answer| answer.is_due(&lock(&answer.state)))
                .cloned()
                .collect();
            if !due.is_empty() {
                return due;
            }
            all = if all.answers.is_empty() {
                all.sleeps = true;
                self.wake.wait(all).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.wake.wait_timeout(all, TURN);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rwsgi_os::fd;
    use rwsgi_os::message::{send_all, send_descriptors};
    use rwsgi_os::socket::{Kind, Mode, pair};
    use std::path::PathBuf;
    use std::thread::JoinHandle;

    const LONG: Duration = Duration::from_secs(20);

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n % 251) as u8).collect()
    }

    fn stage(directory: &Path, most: u64) -> (Intake, Arc<OwnedFd>, OwnedFd) {
        let (ours, worker) = pair(Kind::Stream, Mode::Blocking).unwrap();
        let ours = Arc::new(ours);
        let intake = Intake::new(&ours, Room { directory, most }).unwrap();
        (intake, ours, worker)
    }

    fn says(worker: OwnedFd, bytes: Vec<u8>) -> JoinHandle<OwnedFd> {
        std::thread::spawn(move || {
            send_all(&worker, &bytes).unwrap();
            worker
        })
    }

    /// All that is to be had without the socket, in steps of this size.
    fn taken(intake: &Intake, step: usize) -> (Vec<u8>, Option<Result<Part, OsError>>) {
        let (mut all, mut buffer) = (Vec::new(), vec![0; step]);
        loop {
            match intake.take(&mut buffer).unwrap() {
                Some(Ok(part)) if part.len > 0 => all.extend_from_slice(&buffer[..part.len]),
                end => return (all, end),
            }
        }
    }

    fn until(mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn r58_a_worker_says_all_while_its_client_is_waited_for() {
        let directory = std::env::temp_dir();
        let (intake, socket, worker) = stage(&directory, 8 << 20);
        let all = bytes(3 << 20);
        for _ in 0..3 {
            let worker = says(worker.try_clone().unwrap(), all.clone());
            // The client takes nothing before the worker is free.
            drop(intake.during(|| worker.join().unwrap()));
            let (mut got, end) = taken(&intake, 1000);
            assert!(end.is_none());
            // What the worker wrote last may be in the socket still, and nobody else takes it from there.
            let mut rest = vec![0; all.len() - got.len()];
            let mut at = 0;
            while at < rest.len() {
                at += rwsgi_os::message::receive(&socket, &mut rest[at..]).unwrap();
            }
            got.extend(rest);
            assert!(got == all);
        }
    }

    #[test]
    fn a_client_that_keeps_up_leaves_nothing_to_take_in() {
        // On a busy machine this thread itself may be so late that the client does not.
        let keeps_up = || {
            let (intake, socket, worker) = stage(Path::new(""), 8 << 20);
            send_all(&worker, &bytes(100_000)).unwrap();
            let since = Instant::now();
            intake.during(|| ());
            (since.elapsed() < PATIENCE).then_some((intake, socket, worker))
        };
        let staged = std::iter::repeat_with(keeps_up).take(1000).flatten().next();
        let (intake, socket, _worker) = staged.expect("a moment in which this thread runs");
        std::thread::sleep(PATIENCE * 5);
        assert!(!intake.has_some());
        let mut buffer = vec![0; 100_000];
        assert_eq!(try_receive_with(&socket, &mut buffer).unwrap().len, 100_000);
    }

    #[test]
    fn no_more_is_taken_in_than_there_is_room_for() {
        let directory = std::env::temp_dir();
        let (intake, _socket, worker) = stage(&directory, 200_000);
        let worker = says(worker, bytes(5 << 20));
        intake.during(|| until(|| lock(&intake.0.state).spool.length() >= 200_000));
        intake.during(|| std::thread::sleep(PATIENCE * 5));
        assert!(lock(&intake.0.state).spool.length() < 200_000 + STEP as u64);
        assert!(!worker.is_finished(), "the worker waits");
        // A client that has taken all of it makes room for as much again.
        let mut got = 0;
        while got < 5 << 20 {
            got += intake.during(|| {
                until(|| intake.has_some());
                taken(&intake, STEP).0.len()
            });
        }
        worker.join().unwrap();
    }

    #[test]
    fn the_end_of_a_worker_comes_after_what_it_said() {
        let directory = std::env::temp_dir();
        let (intake, _socket, worker) = stage(&directory, 8 << 20);
        intake.during(|| {
            drop(says(worker, bytes(100_000)).join().unwrap());
            until(|| lock(&intake.0.state).end.is_some());
        });
        let (got, end) = taken(&intake, STEP);
        assert!(got == bytes(100_000));
        assert_eq!(end.unwrap().unwrap().len, 0);
    }

    #[test]
    fn a_descriptor_comes_with_its_bytes() {
        let (intake, _socket, worker) = stage(Path::new(""), 8 << 20);
        let passed = fd::memory_file("passed").unwrap();
        send_all(&worker, b"before").unwrap();
        send_descriptors(&worker, b"with", &[passed.as_fd()]).unwrap();
        send_all(&worker, b"after").unwrap();
        let (mut got, mut descriptors, mut buffer) = (Vec::new(), 0, [0; 100]);
        intake.during(|| until(|| lock(&intake.0.state).passed.is_some()));
        while got != b"beforewithafter" {
            intake.during(|| until(|| intake.has_some()));
            let part = intake.take(&mut buffer).unwrap().unwrap().unwrap();
            got.extend_from_slice(&buffer[..part.len]);
            descriptors += usize::from(part.passed.is_some());
            assert!(!part.surplus && (descriptors == 1) == got.starts_with(b"beforewith"));
        }
        // Two at once are one too many, here as ever.
        send_descriptors(&worker, b"x", &[passed.as_fd(), passed.as_fd()]).unwrap();
        intake.during(|| until(|| lock(&intake.0.state).end.is_some()));
        let (got, end) = taken(&intake, 100);
        assert!(got == b"x" && end.unwrap().unwrap().surplus);
    }

    #[test]
    fn f41_without_room_on_the_disk_nothing_is_lost() {
        let directory = PathBuf::from("/nonexistent");
        let (intake, socket, worker) = stage(&directory, 8 << 20);
        let all = bytes(1 << 20);
        let worker = says(worker, all.clone());
        intake.during(|| until(|| lock(&intake.0.state).is_over));
        assert!(
            intake.failure().is_some() && intake.failure().is_none(),
            "said once"
        );
        let (mut got, end) = taken(&intake, 1000);
        assert!(end.is_none() && got.len() <= 2 * STEP);
        let mut buffer = vec![0; STEP];
        while got.len() < all.len() {
            intake.during(|| std::thread::sleep(PATIENCE * 2));
            assert!(!intake.has_some(), "the request listens by itself again");
            let n = rwsgi_os::message::receive(&socket, &mut buffer).unwrap();
            got.extend_from_slice(&buffer[..n]);
        }
        assert!(got == all);
        worker.join().unwrap();
    }

    #[test]
    fn r58_an_answer_that_is_given_up_leaves_no_descriptor() {
        let directory = std::env::temp_dir();
        let (intake, socket, worker) = stage(&directory, 8 << 20);
        // More than there is room for, so that the worker is at it still.
        let worker = says(worker, bytes(32 << 20));
        intake.during(|| until(|| lock(&intake.0.state).spool.length() > 1 << 20));
        let answer = Arc::downgrade(&intake.0);
        let socket = {
            let weak = Arc::downgrade(&socket);
            drop((intake, socket));
            weak
        };
        until(|| answer.strong_count() == 0 && socket.strong_count() == 0);
        worker.join().unwrap_err();
    }
}
