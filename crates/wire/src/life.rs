//! The life of a worker: what limits it, and why it ends.

use std::time::Duration;

use crate::WireError;
use crate::bytes::{Fields, Put};
use crate::response::numbered;

numbered! {
    /// Why a worker leaves. [`name`](Self::name) is what an application is told (`shutdown_reason` of the event `process_stopping`).
    LeaveReason, "leave reason" {
        /// It has served `maximum-requests`.
        MaximumRequests = 1,
        /// A request exceeded `request-timeout`.
        RequestTimeout = 2,
        /// A script it has loaded changed on disk.
        ScriptReload = 3,
        /// The manager, SIGTERM or SIGINT asked it to end.
        ShutdownSignal = 4,
        /// SIGUSR1 asked it to end when it is idle, within `graceful-timeout`.
        GracefulSignal = 5,
        /// SIGUSR1 asked it to end when it is idle, within `eviction-timeout`.
        EvictionSignal = 6,
        /// `restart-interval` is over.
        RestartInterval = 7,
        /// No request came for `inactivity-timeout`.
        InactivityTimeout = 8,
        /// No script could be loaded within `startup-timeout`.
        StartupTimeout = 9,
        /// Python's lock was not free for `deadlock-timeout`.
        DeadlockTimeout = 10,
        /// It has used `cpu-time-limit` seconds of processor time.
        CpuTimeLimit = 11,
        /// Signals cannot be received any more.
        SignalPipeError = 12,
        /// Its script could not be loaded, and what of it was loaded must not be in the way of the next try.
        ImportFailed = 13,
        /// No request came for `idle-timeout`, and there are more workers than `min-processes`.
        IdleTimeout = 14,
        /// It was idle, and another pool needs a worker.
        Evicted = 15,
        /// The scripts of a service have returned.
        ServiceEnded = 16,
        /// A script of a service has failed.
        ServiceFailed = 17,
        /// It cannot take connections any more: its application keeps all descriptors that it may have.
        CannotAccept = 18,
        /// `MemoryError` has left its application, and `memory-limit` or `virtual-memory-limit` is the cause.
        MemoryLimit = 19,
    }
}

impl LeaveReason {
    /// The name that mod_wsgi has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaximumRequests => "maximum_requests",
            Self::RequestTimeout => "request_timeout",
            Self::ScriptReload => "script_reload",
            Self::ShutdownSignal => "shutdown_signal",
            Self::GracefulSignal => "graceful_signal",
            Self::EvictionSignal => "eviction_signal",
            Self::RestartInterval => "restart_interval",
            Self::InactivityTimeout => "inactivity_timeout",
            Self::StartupTimeout => "startup_timeout",
            Self::DeadlockTimeout => "deadlock_timeout",
            Self::CpuTimeLimit => "cpu_time_limit",
            Self::SignalPipeError => "signal_pipe_error",
            Self::ImportFailed => "import_failed",
            Self::IdleTimeout => "idle_timeout",
            Self::Evicted => "evicted",
            Self::ServiceEnded => "service_ended",
            Self::ServiceFailed => "service_failed",
            Self::CannotAccept => "cannot_accept",
            Self::MemoryLimit => "memory_limit",
        }
    }

    /// In words, after "leaves: ".
    pub fn words(self) -> &'static str {
        match self {
            Self::MaximumRequests => "it has served maximum-requests",
            Self::RequestTimeout => "a request exceeded request-timeout",
            Self::ScriptReload => "a script has changed",
            Self::ShutdownSignal => "it was asked to",
            Self::GracefulSignal => "SIGUSR1 asked it to, within graceful-timeout",
            Self::EvictionSignal => "SIGUSR1 asked it to, within eviction-timeout",
            Self::RestartInterval => "restart-interval is over",
            Self::InactivityTimeout => "no request came for inactivity-timeout",
            Self::StartupTimeout => "no script was loaded within startup-timeout",
            Self::DeadlockTimeout => "Python's lock was not free for deadlock-timeout",
            Self::CpuTimeLimit => "it has used up cpu-time-limit",
            Self::SignalPipeError => "signals cannot be received any more",
            Self::ImportFailed => "its script could not be loaded, and the next try needs a fresh process",
            Self::IdleTimeout => "no request came for idle-timeout",
            Self::Evicted => "it was idle, and another application needs a worker",
            Self::ServiceEnded => "its scripts have ended",
            Self::ServiceFailed => "a script of it has failed",
            Self::CannotAccept => "it has no descriptors left to take connections with",
            Self::MemoryLimit => "its application has met memory-limit or virtual-memory-limit",
        }
    }

    /// Holds only while it runs no request: one that does stays.
    pub fn is_for_idle(self) -> bool {
        matches!(self, Self::IdleTimeout | Self::Evicted)
    }

    /// It is a service that has come to its end by itself.
    pub fn is_own_end(self) -> bool {
        matches!(self, Self::ServiceEnded | Self::ServiceFailed)
    }

    /// One of the limits on what an application may do was exceeded: whoever waits for it gets 504.
    pub fn is_time_limit(self) -> bool {
        matches!(
            self,
            Self::RequestTimeout | Self::StartupTimeout | Self::DeadlockTimeout
        )
    }
}

/// Limits on the life of a worker. Times are seconds; 0 is "no limit".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Life {
    /// Requests after which it is replaced.
    pub maximum_requests: u64,
    /// Age at which it is replaced.
    pub restart_interval: u32,
    /// Time without a request after which it is replaced, once it has had one.
    pub inactivity_timeout: u32,
    /// Longest time until it has loaded a script.
    pub startup_timeout: u32,
    /// Longest time for which Python's lock may be held.
    pub deadlock_timeout: u32,
    /// Limit on a request, for one thread; with more it grows ([`request_limit`](Self::request_limit)).
    pub request_timeout: u32,
    /// How long a request that has reached the limit may go on after `mod_wsgi.RequestTimeout` was raised in it.
    pub interrupt_timeout: u32,
    /// How long requests under way may take when the worker is to be replaced.
    pub graceful_timeout: u32,
    /// The same when SIGUSR1 asks for it; 0: `graceful_timeout`.
    pub eviction_timeout: u32,
    /// How long an ending worker may take once nothing is under way, before it is killed.
    pub shutdown_timeout: u32,
}

impl Life {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.maximum_requests);
        for time in [
            self.restart_interval,
            self.inactivity_timeout,
            self.startup_timeout,
            self.deadlock_timeout,
            self.request_timeout,
            self.interrupt_timeout,
            self.graceful_timeout,
            self.eviction_timeout,
            self.shutdown_timeout,
        ] {
            out.put_u32(time);
        }
    }

    pub(crate) fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            maximum_requests: f.u64("maximum requests")?,
            restart_interval: f.u32("restart interval")?,
            inactivity_timeout: f.u32("inactivity timeout")?,
            startup_timeout: f.u32("startup timeout")?,
            deadlock_timeout: f.u32("deadlock timeout")?,
            request_timeout: f.u32("request timeout")?,
            interrupt_timeout: f.u32("interrupt timeout")?,
            graceful_timeout: f.u32("graceful timeout")?,
            eviction_timeout: f.u32("eviction timeout")?,
            shutdown_timeout: f.u32("shutdown timeout")?,
        })
    }

    /// How often a worker shows that Python's lock can be had: a tenth of `deadlock_timeout`, one to ten seconds.
    pub fn pulse(&self) -> Duration {
        Duration::from_secs((self.deadlock_timeout / 10).clamp(1, 10).into())
    }

    /// After how long without such a sign the manager takes a worker for stuck: later than the worker itself would.
    pub fn silence(&self) -> Option<Duration> {
        let limit = Duration::from_secs(self.deadlock_timeout.into());
        (self.deadlock_timeout > 0).then(|| limit + 3 * self.pulse() + Duration::from_secs(3))
    }

    /// How long the requests under way may take in a worker that leaves; `None`: as long as they do.
    pub fn patience(&self, reason: LeaveReason) -> Option<Duration> {
        let seconds = match reason {
            LeaveReason::EvictionSignal => self.eviction_timeout,
            // As in the original.
            LeaveReason::GracefulSignal | LeaveReason::CpuTimeLimit if self.graceful_timeout == 0 => {
                return None;
            }
            _ => self.graceful_timeout,
        };
        Some(Duration::from_secs(seconds.into()))
    }

    /// Seconds that a request may take among `threads` threads: the more there are, the more of them may wait for one another. `None`
    /// without a limit.
    pub fn request_limit(&self, threads: u32) -> Option<f64> {
        let scale = 1.0 + f64::from(threads.max(1)).ln();
        (self.request_timeout > 0).then(|| f64::from(self.request_timeout) * scale)
    }
}

/// Limits that the kernel holds a worker to; 0 is "as it is".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Processor time, seconds: then the worker is asked to leave.
    pub cpu_time: u32,
    /// Data segment, bytes (`RLIMIT_DATA`).
    pub data: u64,
    /// Address space, bytes (`RLIMIT_AS`).
    pub address_space: u64,
    /// Stack of a serving thread, bytes.
    pub stack: u64,
    /// Nice value, -20 to 19.
    pub priority: i8,
}

impl Bounds {
    /// Appends them to a message.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.cpu_time);
        for bytes in [self.data, self.address_space, self.stack] {
            out.put_u64(bytes);
        }
        out.put_i64(self.priority.into());
    }

    /// Takes them from a message.
    pub fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            cpu_time: f.u32("processor time")?,
            data: f.u64("data limit")?,
            address_space: f.u64("address space limit")?,
            stack: f.u64("stack size")?,
            priority: {
                let number = f.i64("priority")?;
                i8::try_from(number).map_err(|_| WireError::Value {
                    field: "priority",
                    found: number.unsigned_abs(),
                })?
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_names_of_the_original() {
        let names: Vec<&str> = (1..=12)
            .map(|n| LeaveReason::from_wire(n).unwrap().name())
            .collect();
        for name in [
            "shutdown_signal",
            "graceful_signal",
            "eviction_signal",
            "maximum_requests",
            "restart_interval",
            "inactivity_timeout",
            "request_timeout",
            "startup_timeout",
            "deadlock_timeout",
            "cpu_time_limit",
            "signal_pipe_error",
            "script_reload",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn the_limit_on_a_request_grows_with_the_logarithm_of_the_threads() {
        let life = Life {
            request_timeout: 10,
            ..Life::default()
        };
        assert_eq!(life.request_limit(1), Some(10.0));
        assert!((life.request_limit(10).unwrap() - 33.03).abs() < 0.01);
        assert_eq!(Life::default().request_limit(4), None);
    }
}
