//! One question to a script, and its verdict.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::time::Duration;

use rwsgi_embedding::host::{Guest, Host, Outcome, ReadFault, Refused, WriteFault};
use rwsgi_wire::call::Verdict;
use rwsgi_wire::frame::Kind;
use rwsgi_wire::response::{Abort, BodyFault, File, Log};

use super::Fault;
use super::client::Client;
use super::daemon::{Broken, Limits, aborted, hand_over, next_bytes, show_scoreboard};
use super::embedded::run;
use super::lines::Moment;
use super::link::Link;
use super::pools::{PoolName, Pools};
use super::relay::Relay;

/// Asks a worker: `head` is a whole `Head` frame.
pub fn ask_worker(
    pools: &Pools,
    name: &PoolName,
    head: &[u8],
    limits: Limits,
    client: &mut dyn Client,
) -> Result<Verdict, Fault> {
    let mut relay = Relay::new(client).bounding(&pools.lines, &name.group);
    let (pool, mut link, pid) = hand_over(pools, name, head, limits, &mut relay)?;
    let heard = hear(&mut link, &mut relay, limits.socket);
    relay.tell_loss(Moment::End);
    match heard {
        Ok(verdict) => {
            pool.put_back(link);
            Ok(verdict)
        }
        Err(Broken::Closed) => {
            let (phrase, by_time_limit) = pools.death(pid);
            let phrase = format!("{phrase} while it ran the script");
            Err(Fault::Died(phrase, by_time_limit))
        }
        Err(Broken::Fault(fault)) => Err(fault),
    }
}

/// Everything from `Taken` to `End`.
fn hear(link: &mut Link, relay: &mut Relay<'_>, limit: Duration) -> Result<Verdict, Broken> {
    let mut verdict = None;
    let mut client_ended = None;
    loop {
        while let Some(frame) = link.next_frame()? {
            match (frame.kind, verdict.take()) {
                (Kind::Log, before) => {
                    relay.log(&Log::decode(frame.payload)?);
                    verdict = before;
                }
                (Kind::Ask, before) => {
                    show_scoreboard(|pieces| link.send_pieces(pieces), relay, limit)?;
                    verdict = before;
                }
                (Kind::Verdict, None) => verdict = Some(Verdict::decode(frame.payload)?),
                (Kind::End, Some(verdict)) => return Ok(verdict),
                (Kind::Abort, _) => return Err(aborted(&Abort::decode(frame.payload)?).into()),
                (other, _) => {
                    let text = format!("the worker broke the protocol: {other:?} in answer to a question");
                    return Err(Fault::Violation(text).into());
                }
            }
        }
        next_bytes(link, relay, limit, &mut client_ended)?;
    }
}

/// Asks Python in this process: `head` is the payload of a `Head` frame, `record` the address of httpd's record if the script may have it.
pub fn ask_embedded(
    guest: Guest,
    head: &[u8],
    record: Option<NonNull<c_void>>,
    client: &mut dyn Client,
) -> Result<Verdict, Fault> {
    let mut question = Question {
        client,
        verdict: None,
    };
    match run(guest, &mut question, head, record) {
        Outcome::Done => {}
        Outcome::Aborted(reason) => {
            return Err(Fault::Aborted {
                reason,
                retry_after: 0,
                text: String::new(),
            });
        }
    }
    let violation = || Fault::Violation("the Python half gave no verdict".into());
    let payload = question.verdict.ok_or_else(violation)?;
    Verdict::decode(&payload)
        .map_err(|error| Fault::Violation(format!("the Python half broke the protocol: {error}")))
}

/// A question, as the Python half sees it.
struct Question<'a> {
    client: &'a mut dyn Client,
    verdict: Option<Vec<u8>>,
}

impl Host for Question<'_> {
    fn read(&mut self, _limit: usize, _into: &mut dyn FnMut(&[u8])) -> Result<(), ReadFault> {
        Err((BodyFault::Malformed, "a question has no body".into()))
    }

    fn response(&mut self, _payload: &[u8]) -> Result<(), Refused> {
        Err(Refused)
    }

    fn data(&mut self, _bytes: &[u8], _flush: bool) -> Result<(), WriteFault> {
        Err(WriteFault::Failed)
    }

    fn file(&mut self, _fd: BorrowedFd<'_>, _part: File) -> Result<(), WriteFault> {
        Err(WriteFault::Failed)
    }

    fn log(&mut self, log: &Log<'_>) {
        self.client.log(log);
    }

    fn verdict(&mut self, payload: &[u8]) {
        self.verdict = Some(payload.to_vec());
    }

    fn ssl_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        self.client.ssl_variable(name)
    }
}
