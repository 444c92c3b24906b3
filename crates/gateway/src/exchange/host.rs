//! The exchange as calls through the C table, in an httpd child.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

pub use rwsgi_embedding::host::Offered;
use rwsgi_wire::response::{AbortReason, File, Log};

pub use super::calls::Calls;
use super::prompt::{self, PROMPT, Waiting};
use super::socket::is_copy;
use super::{BodyFailure, Exchange, Flushed, Gone, HOLD, Wait};
use crate::cpython::{Lent, Taken};

/// Largest head that is offered, in bytes: together with what httpd adds it leaves room before httpd waits for the client.
const HEAD: usize = 8 << 10;

/// One request of an httpd child. httpd's functions may be called on the request's own thread only: on another one, reading and
/// writing fail with a sentence, and log lines go to the log of the server.
///
/// But blocks that follow each other quickly travel together, and what waits for the next one is sent by the
/// [thread for that](super::prompt) if the application does not go on. To httpd that is as if the request's own thread called: that one is in Python
/// meanwhile, and whatever it wants of httpd has to come through here, where it waits. It sends as far as there is room only, for it may
/// wait for no client: which answers can be sent so, the host says ([`Calls::offer`]).
pub struct Carrier<L> {
    /// Itself, for the thread that sends what may wait a little.
    own: Weak<Self>,
    host: Arc<Lent>,
    /// For lines that come on other threads.
    log: L,
    has_body: bool,
    may_wait: bool,
    /// Locked after the host where both are needed: what is taken out of it is the next that the host gets.
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    head: Option<Vec<u8>>,
    data: Vec<u8>,
    /// Room for the blocks that come while others are being sent.
    spare: Vec<u8>,
    begun: bool,
    gone: bool,
    /// Whether the host takes what it is offered; not known before it has been offered something.
    can_offer: Option<bool>,
    /// The host has taken more than there was room for.
    is_full: bool,
    /// What waits is sent soon, by another thread if need be.
    promised: bool,
    /// When blocks were sent last.
    sent_at: Option<Instant>,
}

/// What a carrier needs to know of its request.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// The request has a body.
    pub has_body: bool,
    /// Blocks may wait for others, and be sent by another thread. Not in a child with one thread: the prefork MPM ends its children from a
    /// signal handler, which takes the request's memory away whoever uses it. Nor when the application has httpd's record of the
    /// request, for it may call httpd itself.
    pub may_wait: bool,
}

impl<L: Fn(&Log<'_>) + Send + Sync + 'static> Carrier<L> {
    /// For a host that is lent during the request. `log` takes lines on other threads than that of the request.
    pub fn new(host: &Arc<Lent>, log: L, manner: Manner) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            host: Arc::clone(host),
            log,
            has_body: manner.has_body,
            may_wait: manner.may_wait,
            held: Mutex::default(),
        })
    }

    fn held_back(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what is held back, then `data`.
    fn deliver(&self, data: &[u8], flush: bool) -> Result<(), Gone> {
        self.with_answer(|host, held| {
            held.begin(host)?;
            if !held.data.is_empty() || (data.is_empty() && flush) {
                host.data(&held.data, flush && data.is_empty())?;
                held.data.clear();
            }
            if !data.is_empty() {
                host.data(data, flush)?;
            }
            held.is_full = false;
            held.sent_at = flush.then(Instant::now);
            Ok(())
        })
    }

    /// Hands over what is held back as far as that goes without waiting.
    fn offer(&self) -> Result<Flushed, Gone> {
        self.with_answer(|host, held| {
            let is_large = |head: &Vec<u8>| head.len() > HEAD;
            if held.can_offer == Some(false) || held.head.as_ref().is_some_and(is_large) {
                return Ok(Flushed::Part);
            }
            let is_first = held.begin(host)?;
            let data = std::mem::take(&mut held.data);
            let offered = host.offer(&data);
            let is_for_later = is_first && offered == Ok(None);
            let flushed = held.take_back(data, offered);
            if is_for_later {
                // Filters may go with the head.
                held.can_offer = None;
            }
            flushed
        })
    }

    /// Uses the host for the answer, on the thread of the request.
    fn with_answer<R>(
        &self,
        f: impl FnOnce(&mut dyn Calls, &mut Held) -> Result<R, Gone>,
    ) -> Result<R, Gone> {
        // A copy of this process has the same answer under way, which the original gives.
        if is_copy() {
            return Err(Gone);
        }
        let result = self.host.with(|host| {
            let mut held = self.held_back();
            if held.gone {
                return Err(Gone);
            }
            let result = f(host, &mut held);
            held.gone = result.is_err();
            result
        });
        result.unwrap_or_else(|| {
            self.held_back().gone = true;
            Err(Gone)
        })
    }

    /// Whether something may wait to be sent by another thread, or be in its hands.
    fn is_waiting(&self) -> bool {
        let held = self.held_back();
        (held.promised || held.is_full) && self.host.is_own()
    }

    /// Whether what is held back may wait for more: it will be sent soon.
    fn waits(&self) -> bool {
        if is_copy() {
            return false;
        }
        let mut held = self.held_back();
        let is_soon = held.sent_at.is_some_and(|at| Instant::now() < at + PROMPT);
        let may = self.may_wait && held.can_offer == Some(true) && !held.gone && self.host.is_own();
        if !may || !is_soon || held.data.len() >= HOLD {
            return false;
        }
        held.promised = held.promised || self.promise();
        held.promised
    }

    /// Sees to it that what is held back is sent soon; false if that cannot be.
    fn promise(&self) -> bool {
        let own: Option<Arc<dyn Waiting>> = self.own.upgrade().map(|own| own as _);
        own.is_some_and(prompt::promise)
    }
}

impl Held {
    /// Hands the head over, unless that was done before; whether it was now.
    fn begin(&mut self, host: &mut dyn Calls) -> Result<bool, Gone> {
        let Some(head) = self.head.take() else {
            return Ok(false);
        };
        self.begun = true;
        host.response(&head)?;
        Ok(true)
    }

    /// What became of `data` when it was offered. Others may have come meanwhile.
    fn take_back(
        &mut self,
        mut data: Vec<u8>,
        offered: Result<Option<Offered>, Gone>,
    ) -> Result<Flushed, Gone> {
        let offered = match offered {
            Ok(offered) => offered,
            Err(Gone) => {
                self.gone = true;
                return Err(Gone);
            }
        };
        self.can_offer = Some(offered.is_some());
        let (taken, is_sent) = offered.map_or((0, false), |offered| (offered.taken, offered.is_sent));
        data.drain(..taken.min(data.len()));
        if data.is_empty() && !self.data.is_empty() {
            self.spare = data;
        } else {
            data.append(&mut self.data);
            self.data = data;
        }
        self.is_full = offered.is_some() && !is_sent;
        if is_sent {
            self.sent_at = Some(Instant::now());
            return Ok(Flushed::All);
        }
        Ok(Flushed::Part)
    }
}

impl<L: Fn(&Log<'_>) + Send + Sync + 'static> Waiting for Carrier<L> {
    fn send_waiting(&self) -> bool {
        let sent = self.host.beside(|offer| {
            let data = {
                let mut held = self.held_back();
                if held.gone || (held.data.is_empty() && !held.is_full) {
                    held.promised = false;
                    return true;
                }
                let spare = std::mem::take(&mut held.spare);
                std::mem::replace(&mut held.data, spare)
            };
            // The request's thread may hold back more meanwhile.
            let offered = offer(&data);
            let mut held = self.held_back();
            let is_done = held.take_back(data, offered) != Ok(Flushed::Part);
            if is_done {
                // What has come meanwhile was promised the same.
                held.promised = !held.gone && !held.data.is_empty() && self.promise();
            }
            is_done
        });
        // In use: its thread is sending, which will be all there is, or at something short.
        sent.unwrap_or_else(|why| why == Taken::Over)
    }
}

impl<L: Fn(&Log<'_>) + Send + Sync + 'static> Exchange for Carrier<L> {
    fn read(&self, credit: usize, into: &mut dyn FnMut(&[u8])) -> Result<usize, BodyFailure> {
        if !self.has_body {
            return Ok(0);
        }
        // While the client is waited for, nobody else could send what waits.
        if self.is_waiting() {
            let _ = self.deliver(&[], true);
        }
        let read = |host: &mut dyn Calls| host.read(credit.max(1), into);
        self.host.with(read).unwrap_or_else(|| {
            let text = "in embedded mode the body can be read on the thread of the request only";
            Err(BodyFailure {
                fault: None,
                text: text.into(),
            })
        })
    }

    fn head(&self, payload: &[u8]) {
        self.held_back().head = Some(payload.to_vec());
    }

    fn verdict(&self, payload: &[u8]) {
        // On another thread there is nobody to take it, and the call has no answer.
        let _ = self.host.with(|host| host.verdict(payload));
    }

    fn ssl_variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.host.with(|host| host.ssl_variable(name)).flatten()
    }

    fn push(&self, data: &[u8]) {
        self.held_back().data.extend_from_slice(data);
    }

    fn held(&self) -> usize {
        self.held_back().data.len()
    }

    fn flush(&self, wait: Wait) -> Result<Flushed, Gone> {
        match wait {
            Wait::No => self.offer(),
            Wait::Yes => self.deliver(&[], true).map(|()| Flushed::All),
        }
    }

    fn flush_soon(&self) -> Result<Flushed, Gone> {
        // The first blocks go out at once, and one after a pause: who yields now and then needs no other thread.
        match self.waits() {
            true => Ok(Flushed::All),
            false => self.offer(),
        }
    }

    fn write(&self, data: &[u8]) -> Result<(), Gone> {
        self.deliver(data, true)
    }

    fn file(&self, fd: BorrowedFd<'_>, part: File) -> Result<(), Gone> {
        self.deliver(&[], false)?;
        self.with_answer(|host, _| host.file(fd, part))
    }

    fn log_line(&self, log: &Log<'_>) {
        if self.host.with(|host| host.log(log)).is_none() {
            (self.log)(log);
        }
    }

    fn has_begun(&self) -> bool {
        self.held_back().begun
    }

    fn end(&self) -> Result<(), Gone> {
        self.deliver(&[], false)
    }

    fn abort(&self, _reason: AbortReason, _text: &str) {
        // What the application has yielded goes out, and only then the end that shows that something is missing.
        if self.has_begun() {
            let _ = self.deliver(&[], true);
        }
        let mut held = self.held_back();
        // The host learns the reason as the result of the call.
        (held.head, held.gone) = (None, true);
        held.data.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpython::lend;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    /// A host that has room for so many bytes more.
    struct Fake<'a> {
        seen: &'a Mutex<Vec<String>>,
        room: &'a AtomicUsize,
        /// It knows where the client is full.
        knows: bool,
        in_use: AtomicBool,
    }

    impl Fake<'_> {
        fn note(&self, what: String) {
            assert!(!self.in_use.swap(true, Ordering::SeqCst), "two at once");
            self.seen.lock().unwrap().push(what);
            self.in_use.store(false, Ordering::SeqCst);
        }
    }

    impl Calls for Fake<'_> {
        fn read(&mut self, _: usize, _: &mut dyn FnMut(&[u8])) -> Result<usize, BodyFailure> {
            self.note("read".into());
            Ok(0)
        }
        fn response(&mut self, payload: &[u8]) -> Result<(), Gone> {
            self.note(String::from_utf8_lossy(payload).into_owned());
            Ok(())
        }
        fn data(&mut self, bytes: &[u8], flush: bool) -> Result<(), Gone> {
            let how = if flush { "flushed" } else { "given" };
            self.note(format!("{how} {}", String::from_utf8_lossy(bytes)));
            Ok(())
        }
        fn offer(&mut self, bytes: &[u8]) -> Result<Option<Offered>, Gone> {
            if !self.knows {
                return Ok(None);
            }
            let taken = bytes.len().min(self.room.load(Ordering::SeqCst));
            self.room.fetch_sub(taken, Ordering::SeqCst);
            self.note(format!("offered {}", String::from_utf8_lossy(&bytes[..taken])));
            let is_sent = taken == bytes.len();
            Ok(Some(Offered { taken, is_sent }))
        }
        fn file(&mut self, _: BorrowedFd<'_>, _: File) -> Result<(), Gone> {
            Ok(())
        }
        fn log(&mut self, _: &Log<'_>) {}
        fn verdict(&mut self, _: &[u8]) {}
        fn ssl_variable(&mut self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }

    const MANY: usize = 1 << 30;
    const MANNER: Manner = Manner {
        has_body: true,
        may_wait: true,
    };

    /// Runs an exchange over such a host; what the host saw.
    fn with(knows: bool, manner: Manner, run: impl FnOnce(&dyn Exchange, &Seen<'_>)) -> Vec<String> {
        let (seen, room) = (Mutex::default(), AtomicUsize::new(MANY));
        let mut fake = Fake {
            seen: &seen,
            room: &room,
            knows,
            in_use: AtomicBool::new(false),
        };
        let at_the_end = lend(&mut fake, |host| {
            let carrier = Carrier::new(host, |_: &Log<'_>| {}, manner);
            carrier.head(b"head");
            run(
                &*carrier,
                &Seen {
                    seen: &seen,
                    room: &room,
                },
            );
            carrier
        });
        let before = seen.lock().unwrap().clone();
        thread::sleep(3 * PROMPT);
        // The request is over: nobody calls the host any more.
        assert!(at_the_end.send_waiting());
        assert_eq!(*seen.lock().unwrap(), before);
        before
    }

    struct Seen<'a> {
        seen: &'a Mutex<Vec<String>>,
        room: &'a AtomicUsize,
    }

    impl Seen<'_> {
        /// The bytes of the answer so far.
        fn answer(&self) -> String {
            answer(&self.seen.lock().unwrap())
        }

        fn wait_for(&self, expected: &str) {
            while self.answer() != expected {
                thread::sleep(PROMPT);
            }
        }
    }

    fn answer(seen: &[String]) -> String {
        let data = |what: &String| what.split_once(' ').map(|(_, data)| data.to_owned());
        seen.iter().filter_map(data).collect()
    }

    /// As an application that yields does.
    fn add(exchange: &dyn Exchange, blocks: &[&str]) {
        for block in blocks {
            exchange.push(block.as_bytes());
            if exchange.flush_soon() == Ok(Flushed::Part) {
                exchange.flush(Wait::Yes).unwrap();
            }
        }
    }

    /// PEP 3333, "Buffering and Streaming".
    #[test]
    fn what_waits_goes_out_though_nothing_follows() {
        let seen = with(true, MANNER, |exchange, seen| {
            add(exchange, &["a", "b", "c", "d"]);
            seen.wait_for("abcd");
        });
        assert_eq!(seen[..2], ["head", "offered a"]);
    }

    #[test]
    fn blocks_that_follow_each_other_quickly_travel_together() {
        // On a busy machine this thread may be away for longer than blocks wait.
        assert!((0..100).any(|_| {
            let seen = with(true, MANNER, |exchange, _| {
                add(exchange, &["a", "b", "c", "d", "e"]);
                exchange.end().unwrap();
            });
            seen == ["head", "offered a", "given bcde"]
        }));
    }

    #[test]
    fn whatever_comes_between_they_arrive_whole_and_in_order() {
        let blocks: Vec<String> = (0..2000).map(|number| format!("{number};")).collect();
        let seen = with(true, MANNER, |exchange, seen| {
            for (number, block) in blocks.iter().enumerate() {
                seen.room.store(number % 7 * 3, Ordering::SeqCst);
                add(exchange, &[block]);
                if number % 50 == 0 {
                    thread::sleep(PROMPT + Duration::from_micros(number as u64));
                }
            }
            exchange.end().unwrap();
        });
        assert_eq!(answer(&seen), blocks.concat());
    }

    #[test]
    fn what_finds_no_room_goes_out_once_there_is_some() {
        with(true, MANNER, |exchange, seen| {
            add(exchange, &["a", "b"]);
            seen.wait_for("ab");
            seen.room.store(0, Ordering::SeqCst);
            while exchange.held() == 0 {
                add(exchange, &["c"]);
            }
            thread::sleep(2 * PROMPT);
            let before = seen.answer();
            seen.room.store(MANY, Ordering::SeqCst);
            let all = format!("{before}{}", "c".repeat(exchange.held()));
            seen.wait_for(&all);
        });
    }

    #[test]
    fn nothing_waits_where_another_thread_could_not_send_it() {
        let each = ["head", "flushed a", "flushed b", "flushed c"];
        let add_all = |exchange: &dyn Exchange, _: &Seen<'_>| add(exchange, &["a", "b", "c"]);
        assert_eq!(with(false, MANNER, add_all), each);
        let alone = Manner {
            may_wait: false,
            ..MANNER
        };
        assert_eq!(
            with(true, alone, add_all),
            ["head", "offered a", "offered b", "offered c"]
        );
    }

    #[test]
    fn what_waits_goes_out_before_the_client_is_waited_for_and_before_the_answer_breaks_off() {
        for ends in [true, false] {
            let seen = with(true, MANNER, |exchange, _| {
                add(exchange, &["a", "b", "c"]);
                match ends {
                    true => exchange.abort(AbortReason::Application, ""),
                    false => drop(exchange.read(1, &mut |_| {})),
                }
            });
            assert_eq!(answer(&seen), "abc");
            assert!(ends || seen.last().unwrap() == "read");
        }
    }

    #[test]
    fn other_threads_of_the_application_write_nothing() {
        with(true, MANNER, |exchange, seen| {
            add(exchange, &["a", "b"]);
            seen.wait_for("ab");
            thread::scope(|scope| {
                let other = scope.spawn(|| {
                    exchange.push(b"c");
                    exchange.flush_soon()
                });
                assert_eq!(other.join().unwrap(), Err(Gone));
            });
            assert_eq!(seen.answer(), "ab");
        });
    }
}
