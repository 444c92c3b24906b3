//! What the requests of this process have cost, for `mod_wsgi.process_metrics()` and `request_metrics()`. Numbers of the process, shared by
//! its interpreters. Nothing is recorded before `start_recording_metrics()`.

mod phase;
mod report;
mod server;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_os::usage::{self, Usage};

use crate::cpython::measure_waits;
use crate::wsgi::request::{Meter, Request, Used};
use crate::wsgi::serve::now;
use phase::Phase;
pub use report::{begin_forked_process, begin_process, of_process, of_requests};
pub use server::of_server;

static RECORDING: AtomicBool = AtomicBool::new(false);
/// Since the last `request_metrics()`.
static INTERVAL: Mutex<Option<Interval>> = Mutex::new(None);
/// Time spent in finished requests, in microseconds.
static BUSY: AtomicU64 = AtomicU64::new(0);

/// From now on requests are recorded.
pub fn start_recording() {
    let mut interval = INTERVAL.lock().unwrap_or_else(PoisonError::into_inner);
    if interval.is_none() {
        *interval = Some(Interval::begin());
        measure_waits();
        RECORDING.store(true, Ordering::Relaxed);
    }
}

/// Whether requests are recorded.
pub fn is_recording() -> bool {
    RECORDING.load(Ordering::Relaxed)
}

/// The moments of a request, in microseconds since 1970; `queue` and `daemon` are 0 in embedded mode.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moments {
    /// httpd received it.
    pub request: i64,
    /// It was handed over.
    pub queue: i64,
    /// A worker took it.
    pub daemon: i64,
    /// The application was called.
    pub application: i64,
    /// The application had finished.
    pub finish: i64,
}

/// A request has finished with this status on the thread of this number.
pub fn record(request: &Request, used: &Used, moments: Moments, status: u16, thread: i64) {
    let mut interval = INTERVAL.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(interval) = interval.as_mut() else { return };
    let busy = request.begun().map(|begun| begun.elapsed()).unwrap_or_default();
    BUSY.fetch_add(u64::try_from(busy.as_micros()).unwrap_or(0), Ordering::Relaxed);
    interval.count += 1;
    if let Some(class) = interval
        .statuses
        .get_mut(usize::from(status / 100).wrapping_sub(1))
    {
        *class += 1;
    }
    interval.input.add(&used.input);
    interval.output.add(&used.output);
    interval.waits += used.waits.times;
    interval.add_phases(used, moments);
    let part = interval.threads.entry(thread).or_default();
    part.completed += 1;
    // What it did before the interval was told already.
    part.busy += busy.min(interval.begin.elapsed());
    part.cpu += used.cpu.user + used.cpu.system;
    part.longest = part.longest.max(busy);
}

/// What happened between two calls of `request_metrics()`.
struct Interval {
    begin: Instant,
    /// Microseconds since 1970.
    start: i64,
    usage: Usage,
    count: u64,
    /// By the hundreds of the status.
    statuses: [u64; 5],
    input: Meter,
    output: Meter,
    waits: u64,
    phases: [Phase; PHASES.len()],
    threads: BTreeMap<i64, Part>,
}

/// Of one thread.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    completed: u64,
    busy: Duration,
    cpu: Duration,
    longest: Duration,
}

/// The phases of a request, and what overlaps them.
const PHASES: [&str; 8] = [
    "server",
    "queue",
    "daemon",
    "application",
    "request",
    "gil_wait",
    "input_read",
    "output_write",
];

impl Interval {
    fn begin() -> Self {
        Self {
            begin: Instant::now(),
            start: now(),
            usage: usage::of_process(),
            count: 0,
            statuses: [0; 5],
            input: Meter::default(),
            output: Meter::default(),
            waits: 0,
            phases: [Phase::default(); PHASES.len()],
            threads: BTreeMap::new(),
        }
    }

    fn add_phases(&mut self, used: &Used, moments: Moments) {
        let between = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let in_worker = moments.queue != 0;
        let handed_over = if in_worker {
            moments.queue
        } else {
            moments.application
        };
        let times = [
            Some(between(moments.request, handed_over)),
            in_worker.then(|| between(moments.queue, moments.daemon)),
            in_worker.then(|| between(moments.daemon, moments.application)),
            Some(between(moments.application, moments.finish)),
            Some(between(moments.request, moments.finish)),
            Some(micros(used.waits.time)),
            Some(micros(used.input.time)),
            Some(micros(used.output.time)),
        ];
        for (phase, time) in self.phases.iter_mut().zip(times) {
            if let Some(time) = time {
                phase.add(time);
            }
        }
    }
}
