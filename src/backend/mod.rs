//! Who answers a request: a worker ([`daemon`]) or Python in this process (`embedded`).
//!
//! - [`client`]: what a backend needs of the request it answers
//! - [`file`]: a file as the rest of an answer, checked
//! - [`intake`]: answers that their clients take slowly
//! - [`spool`]: bytes that wait, in memory or in a file without a name
//! - [`relay`]: the answer on its way to the client: length kept, head once; the same for both backends
//! - [`pools`], [`link`]: the pools of workers as an httpd child sees them, one connection to a worker
//! - [`lines`]: how much of what requests write goes to the error log
//! - [`caps`]: how many requests an application and a user may have under way
//! - [`calls`]: a question to a script and its verdict, from both; [`kept`]: verdicts that are remembered
//! - [`Failure`]: every way an answer can fail, and the only place where that becomes an HTTP status

pub mod calls;
pub mod caps;
pub mod client;
pub mod codes;
pub mod daemon;
pub mod embedded;
pub mod file;
pub mod intake;
pub mod kept;
pub mod libpython;
pub mod lines;
pub mod link;
pub mod pools;
pub mod relay;
mod rest;
pub mod spool;

use std::time::Duration;

use rwsgi_wire::code::Code;
use rwsgi_wire::response::AbortReason;

/// Why there is no complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nothing has been sent: httpd makes its error page.
    Unanswered(Refusal),
    /// The head had gone out; the client has been shown that the answer breaks off. The sentence is for the log; none when the log has
    /// it already.
    Truncated(Option<Message>),
    /// The client is gone; nothing to answer, nothing wrong.
    ClientGone,
    /// httpd has answered already (a body over `LimitRequestBody`), or answers in the application's place.
    AnsweredByServer,
}

impl Failure {
    /// As the client of a user's application learns it: what the user has to mend is not the server's error, and is tried again soon (R16).
    #[must_use]
    pub fn of_user(self) -> Self {
        match self {
            Self::Unanswered(Refusal {
                status: 500,
                message: Some(message),
                ..
            }) if message.code == codes::POOL_REFUSED => Self::Unanswered(Refusal {
                status: 503,
                retry_after: Some(RETRY_AFTER),
                message: Some(message),
            }),
            other => other,
        }
    }
}

/// A coded sentence for the error log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its code.
    pub code: Code,
    /// The sentence.
    pub text: String,
}

/// An error answer that httpd is to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u32>,
    /// For the log; none when the log has it already.
    pub message: Option<Message>,
}

/// What went wrong, before it is known whether the head has gone out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The pool or the worker said so.
    Aborted {
        /// Why.
        reason: AbortReason,
        /// Seconds, or 0.
        retry_after: u32,
        /// For the log; empty when the log has it already.
        text: String,
    },
    /// The manager cannot be reached or does not answer.
    ManagerSilent(String),
    /// No connection within `connect-timeout`.
    NoConnection(String),
    /// No worker took the request within `queue-timeout`.
    QueueTimeout,
    /// A worker took it and then was silent for so long, which is `socket-timeout`.
    SocketTimeout(Duration),
    /// The worker died; the phrase says of what. `true`: one of our own time limits killed it.
    Died(String, bool),
    /// The worker broke the protocol, or sent an answer that must not reach a client.
    Violation(String),
    /// A file became shorter while it was sent.
    FileShrank(String),
    /// What was kept of the answer for its client is lost.
    Lost(String),
    /// The client is gone.
    ClientGone,
    /// httpd has answered already, or answers in the application's place.
    AnsweredByServer,
}

impl Fault {
    /// The pool waits after failures.
    fn is_back_off(&self) -> bool {
        let reason = AbortReason::BackOff;
        matches!(self, Self::Aborted { reason: found, .. } if *found == reason)
    }

    /// Nothing came in time.
    fn is_lateness(&self) -> bool {
        matches!(self, Self::QueueTimeout | Self::SocketTimeout(_))
    }

    /// The HTTP status, the code and the sentence of this fault. The only mapping of its kind.
    fn refusal(self) -> Refusal {
        use codes as c;
        let (status, code, text) = match self {
            Self::Aborted {
                reason,
                retry_after,
                text,
            } => return aborted(reason, retry_after, text),
            Self::ManagerSilent(text) => (503, c::MANAGER_SILENT, text),
            Self::NoConnection(text) => (503, c::NO_CONNECTION, text),
            Self::QueueTimeout => (
                504,
                c::QUEUE_TIMEOUT,
                "no worker was free within queue-timeout: all their threads were busy; find out what is slow, or raise threads= or processes="
                    .into(),
            ),
            Self::SocketTimeout(limit) => (
                504,
                c::SOCKET_TIMEOUT,
                format!(
                    "the application has neither answered nor read for {} s (socket-timeout, or httpd's Timeout) and may still be running; \
                     with request-timeout its stack would be logged",
                    limit.as_secs_f32()
                ),
            ),
            Self::Died(phrase, by_time_limit) => {
                (if by_time_limit { 504 } else { 502 }, c::WORKER_DIED, phrase)
            }
            Self::Violation(text) => (500, c::BAD_ANSWER, text),
            Self::FileShrank(text) => (500, c::FILE_SHRANK, text),
            Self::Lost(text) => (500, c::LOST, text),
            // Never logged, never shown: nobody is there.
            Self::ClientGone | Self::AnsweredByServer => {
                return Refusal {
                    status: 400,
                    retry_after: None,
                    message: None,
                };
            }
        };
        let retry_after = (status == 503).then_some(RETRY_AFTER);
        Refusal {
            status,
            retry_after,
            message: Some(Message { code, text }),
        }
    }

    /// The failure this fault is: `head_sent` says whether the client has seen the start of the answer.
    pub fn into_failure(self, head_sent: bool) -> Failure {
        match self {
            Self::ClientGone => Failure::ClientGone,
            Self::AnsweredByServer => Failure::AnsweredByServer,
            other if head_sent => Failure::Truncated(other.refusal().message),
            other => Failure::Unanswered(other.refusal()),
        }
    }
}

/// Seconds after which a client may try again when nothing more exact is known.
const RETRY_AFTER: u32 = 5;

fn aborted(reason: AbortReason, retry_after: u32, text: String) -> Refusal {
    use codes as c;
    let (status, code) = match reason {
        AbortReason::Application | AbortReason::Import | AbortReason::Callable => {
            (500, c::APPLICATION_FAILED)
        }
        AbortReason::Internal => (500, c::WORKER_FAILED),
        AbortReason::Timeout => (504, c::REQUEST_TIMEOUT),
        AbortReason::Draining => (503, c::NO_WORKER),
        AbortReason::Refused => (500, c::POOL_REFUSED),
        AbortReason::BackOff => (503, c::POOL_BACKS_OFF),
        AbortReason::Crowded => (503, c::CROWDED),
        AbortReason::Starting => (503, c::STILL_STARTING),
    };
    let retry_after = (status == 503).then_some(if retry_after == 0 {
        RETRY_AFTER
    } else {
        retry_after
    });
    let message = (!text.is_empty()).then_some(Message { code, text });
    Refusal {
        status,
        retry_after,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(fault: Fault) -> u16 {
        match fault.into_failure(false) {
            Failure::Unanswered(refusal) => refusal.status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_fault_has_the_status_that_says_whose_fault_it_was() {
        let aborted = |reason| Fault::Aborted {
            reason,
            retry_after: 0,
            text: String::new(),
        };
        assert_eq!(status(aborted(AbortReason::Application)), 500);
        assert_eq!(status(aborted(AbortReason::Import)), 500);
        assert_eq!(status(aborted(AbortReason::Timeout)), 504);
        assert_eq!(status(aborted(AbortReason::Refused)), 500);
        assert_eq!(status(aborted(AbortReason::BackOff)), 503);
        assert_eq!(status(aborted(AbortReason::Crowded)), 503);
        assert_eq!(status(aborted(AbortReason::Starting)), 503);
        assert_eq!(status(Fault::Died("killed by signal 11".into(), false)), 502);
        assert_eq!(status(Fault::Died("killed".into(), true)), 504);
        assert_eq!(status(Fault::QueueTimeout), 504);
        assert_eq!(status(Fault::NoConnection("full".into())), 503);
    }

    #[test]
    fn every_503_says_when_to_come_back() {
        for fault in [
            Fault::ManagerSilent(String::new()),
            Fault::Aborted {
                reason: AbortReason::BackOff,
                retry_after: 0,
                text: String::new(),
            },
        ] {
            let Failure::Unanswered(refusal) = fault.into_failure(false) else {
                panic!("unanswered")
            };
            assert_eq!(refusal.retry_after, Some(RETRY_AFTER));
        }
    }

    #[test]
    fn after_the_head_a_fault_is_a_truncation_with_the_same_sentence() {
        let fault = Fault::Died("killed by signal 9".into(), false);
        let Failure::Truncated(Some(message)) = fault.into_failure(true) else {
            panic!("truncated")
        };
        assert_eq!(
            (message.code, message.text.as_str()),
            (codes::WORKER_DIED, "killed by signal 9")
        );
    }
}
