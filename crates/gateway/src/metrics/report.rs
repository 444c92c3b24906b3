//! The numbers as Python sees them.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rwsgi_os::usage::{self, Usage};

use super::{BUSY, INTERVAL, Interval, PHASES, is_recording};
use crate::api::events::Values;
use crate::cpython::{Attached, Object, PyResult};
use crate::threads;
use crate::wsgi::serve::{now, seconds};

/// When this process began to be ours, in microseconds since 1970.
static START: AtomicI64 = AtomicI64::new(0);

/// This process begins to be ours, unless it has begun.
pub fn begin_process() {
    let _ = START.compare_exchange(0, now(), Ordering::Relaxed, Ordering::Relaxed);
}

/// This process was forked by one of ours and begins anew: nothing that was recorded is its own.
pub fn begin_forked_process() {
    START.store(now(), Ordering::Relaxed);
    let mut interval = INTERVAL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(interval) = interval.as_mut() {
        *interval = Interval::begin();
    }
}

fn process_start() -> i64 {
    START.load(Ordering::Relaxed)
}

pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// How long the requests that run now have run, by thread.
fn running() -> Vec<(i64, Duration)> {
    let elapsed = |thread: &std::sync::Arc<threads::Thread>| {
        let begun = thread.current()?.begun()?;
        Some((thread.number, begun.elapsed()))
    };
    threads::all().iter().filter_map(elapsed).collect()
}

pub(super) fn list<'py>(
    py: Attached<'py>,
    items: impl Iterator<Item = PyResult<'py, Object<'py>>>,
) -> PyResult<'py, Object<'py>> {
    let list = py.list()?;
    for item in items {
        list.append(&item?)?;
    }
    Ok(list)
}

/// `process_metrics()`; `None` unless recording.
pub fn of_process<'py>(py: Attached<'py>) -> PyResult<'py, Option<Object<'py>>> {
    if !is_recording() {
        return Ok(None);
    }
    let (now, usage, running) = (now(), usage::of_process(), running());
    let (user, system) = (usage.user.as_secs_f64(), usage.system.as_secs_f64());
    let busy = Duration::from_micros(BUSY.load(Ordering::Relaxed));
    let busy = busy + running.iter().map(|(_, elapsed)| *elapsed).sum::<Duration>();
    let threads = threads::all();
    let finished: u64 = threads.iter().map(|thread| thread.finished()).sum();
    let active = threads.iter().filter(|thread| thread.current().is_some()).count();
    let values = Values::new(py)?;
    values.set_times(&[
        ("request_busy_time", busy.as_secs_f64()),
        ("cpu_user_time", user),
        ("cpu_system_time", system),
        ("cpu_time", user + system),
        ("restart_time", seconds(process_start())),
        ("current_time", seconds(now)),
    ])?;
    values.set_numbers(&[
        ("pid", std::process::id().into()),
        ("request_count", count(finished)),
        ("memory_max_rss", count(usage.max_resident)),
        ("memory_rss", count(resident())),
        ("running_time", (now - process_start()) / 1_000_000),
        ("request_threads", count(threads.len() as u64)),
        ("active_requests", count(active as u64)),
    ])?;
    let each = threads.iter().map(|thread| {
        let values = Values::new(py)?;
        values.set_numbers(&[
            ("thread_id", thread.number),
            ("request_count", count(thread.finished())),
        ])?;
        Ok(values.dict().clone())
    });
    values.set("threads", list(py, each))?;
    Ok(Some(values.dict().clone()))
}

/// `request_metrics()`: what happened since the last call, which is then forgotten. `None` unless recording. `threads` is how many
/// threads of this process can serve at once.
pub fn of_requests<'py>(py: Attached<'py>, threads: u32) -> PyResult<'py, Option<Object<'py>>> {
    let interval = {
        let mut interval = INTERVAL.lock().unwrap_or_else(PoisonError::into_inner);
        match interval.as_mut() {
            Some(interval) => std::mem::replace(interval, Interval::begin()),
            None => return Ok(None),
        }
    };
    let values = Values::new(py)?;
    let period = interval.begin.elapsed();
    put_process(&values, &interval, period)?;
    put_requests(&values, &interval, period)?;
    put_phases(&values, &interval)?;
    put_threads(&values, &interval, period, threads)?;
    Ok(Some(values.dict().clone()))
}

/// A time as a part of the period.
fn share(time: Duration, period: Duration) -> f64 {
    time.as_secs_f64() / period.as_secs_f64().max(1e-6)
}

fn put_process<'py>(values: &Values<'py>, interval: &Interval, period: Duration) -> PyResult<'py, ()> {
    let Usage {
        user,
        system,
        max_resident,
    } = usage::of_process();
    let user = share(user.saturating_sub(interval.usage.user), period);
    let system = share(system.saturating_sub(interval.usage.system), period);
    values.set_times(&[
        ("start_time", seconds(interval.start)),
        ("stop_time", seconds(now())),
        ("sample_period", period.as_secs_f64()),
        ("cpu_user_utilization", user),
        ("cpu_system_utilization", system),
        ("cpu_utilization", user + system),
        // Older names of the same.
        ("cpu_user_time", user),
        ("cpu_system_time", system),
        ("cpu_time", user + system),
    ])?;
    values.set_numbers(&[
        ("pid", std::process::id().into()),
        ("memory_max_rss", count(max_resident)),
        ("memory_rss", count(resident())),
    ])
}

fn put_requests<'py>(values: &Values<'py>, interval: &Interval, period: Duration) -> PyResult<'py, ()> {
    let throughput = interval.count as f64 / period.as_secs_f64().max(1e-6);
    values.set_times(&[("request_throughput", throughput)])?;
    let [informational, success, redirection, client, server] = interval.statuses.map(count);
    values.set_numbers(&[
        ("request_count", count(interval.count)),
        ("status_1xx", informational),
        ("status_2xx", success),
        ("status_3xx", redirection),
        ("status_4xx", client),
        ("status_5xx", server),
        ("input_bytes", count(interval.input.bytes)),
        ("input_reads", count(interval.input.times)),
        ("output_bytes", count(interval.output.bytes)),
        ("output_writes", count(interval.output.times)),
        ("gil_wait_count", count(interval.waits)),
    ])
}

fn put_phases<'py>(values: &Values<'py>, interval: &Interval) -> PyResult<'py, ()> {
    let py = values.py();
    for (name, phase) in PHASES.iter().zip(&interval.phases) {
        // Phases that a request in an httpd child does not have have no mean.
        let mean = match phase.mean() {
            None if !matches!(*name, "queue" | "daemon") => Some(0.0),
            mean => mean,
        };
        let number = |number: Option<u64>| number.map_or_else(|| Ok(py.none()), |n| py.int(count(n)));
        values.set(
            &format!("{name}_time"),
            mean.map_or_else(|| Ok(py.none()), |mean| py.float(mean)),
        )?;
        values.set(&format!("{name}_time_min_us"), number(phase.min))?;
        values.set(&format!("{name}_time_max_us"), number(phase.max))?;
        let buckets = phase.buckets.iter().map(|n| py.int(count(*n)));
        values.set(&format!("{name}_time_buckets"), list(py, buckets))?;
    }
    Ok(())
}

fn put_threads<'py>(
    values: &Values<'py>,
    interval: &Interval,
    period: Duration,
    maximum: u32,
) -> PyResult<'py, ()> {
    let py = values.py();
    let mut parts = interval.threads.clone();
    let running: std::collections::BTreeMap<i64, Duration> = running().into_iter().collect();
    for (number, elapsed) in &running {
        parts.entry(*number).or_default().busy += (*elapsed).min(period);
    }
    let busy: Duration = parts.values().map(|part| part.busy).sum();
    let started = threads::all();
    let last = started.iter().map(|thread| thread.number).max().unwrap_or(0);
    let numbers = || 1..=i64::from(maximum).max(last);
    let part = |number: i64| parts.get(&number).copied().unwrap_or_default();
    values.set_times(&[(
        "capacity_utilization",
        share(busy, period) / f64::from(maximum.max(1)),
    )])?;
    values.set_numbers(&[
        ("request_threads_maximum", maximum.into()),
        ("request_threads_started", count(started.len() as u64)),
        ("request_threads_active", count(parts.len() as u64)),
    ])?;
    let completed = list(py, numbers().map(|n| py.int(count(part(n).completed))))?;
    values.set("request_threads_completed", Ok(completed.clone()))?;
    values.set("request_threads_buckets", Ok(completed))?;
    let times = |time: &dyn Fn(i64) -> Duration| list(py, numbers().map(|n| py.float(time(n).as_secs_f64())));
    values.set("request_threads_busy_time", times(&|n| part(n).busy))?;
    values.set("request_threads_cpu_time", times(&|n| part(n).cpu))?;
    values.set("request_threads_max_duration", times(&|n| part(n).longest))?;
    let elapsed = |n: i64| running.get(&n).copied().unwrap_or_default();
    values.set("request_threads_current_elapsed", times(&elapsed))
}
