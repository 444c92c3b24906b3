//! httpd's scoreboard, as mod_status shows it.

use core::ffi::{c_char, c_int};

use super::bindings as c;
use rwsgi_wire::scoreboard::{Process, Scoreboard, Worker};

/// Looks at it: encoded, nothing when there is none. The threads of all children write to it meanwhile, so that what is said of one of
/// them may be of two moments.
pub fn scoreboard() -> Vec<u8> {
    look().map(|scoreboard| scoreboard.encode()).unwrap_or_default()
}

fn look() -> Option<Scoreboard> {
    // SAFETY: a plain question.
    if unsafe { c::ap_exists_scoreboard_image() } == 0 {
        return None;
    }
    // SAFETY: it exists from the start of httpd to its end.
    let global = unsafe { c::ap_get_scoreboard_global() };
    // SAFETY: as above; shared memory that nobody unmaps, read in one copy.
    let global = unsafe { global.as_ref() }?;
    let numbers = 0..global.server_limit;
    Some(Scoreboard {
        server_limit: count(global.server_limit),
        thread_limit: count(global.thread_limit),
        generation: count(global.running_generation),
        restart_time: global.restart_time,
        // SAFETY: a plain question.
        current_time: unsafe { c::apr_time_now() },
        processes: numbers.filter_map(|n| process(n, global.thread_limit)).collect(),
    })
}

fn process(number: c_int, threads: c_int) -> Option<Process> {
    // SAFETY: null for numbers out of range.
    let slot = unsafe { c::ap_get_scoreboard_process(number) };
    if slot.is_null() {
        return None;
    }
    // SAFETY: a slot of shared memory; the volatile copy makes no assumption on who writes meanwhile.
    let slot = unsafe { slot.read_volatile() };
    Some(Process {
        pid: count(slot.pid),
        generation: count(slot.generation),
        quiescing: slot.quiescing != 0,
        workers: (0..threads).filter_map(|thread| worker(number, thread)).collect(),
    })
}

fn worker(child: c_int, thread: c_int) -> Option<Worker> {
    // SAFETY: null for numbers out of range.
    let slot = unsafe { c::ap_get_scoreboard_worker_from_indexes(child, thread) };
    if slot.is_null() {
        return None;
    }
    // SAFETY: as for processes.
    let slot = unsafe { slot.read_volatile() };
    Some(Worker {
        thread: count(slot.thread_num),
        generation: count(slot.generation),
        status: letter(slot.status),
        access_count: slot.access_count,
        bytes_served: u64::try_from(slot.bytes_served).unwrap_or(0),
        start_time: slot.start_time,
        stop_time: slot.stop_time,
        last_used: slot.last_used,
        client: text(&slot.client),
        request: text(&slot.request),
        vhost: text(&slot.vhost),
    })
}

fn count(number: c_int) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// What is before the NUL.
fn text(field: &[c_char]) -> Vec<u8> {
    let bytes = field.iter().map(|byte| byte.to_ne_bytes()[0]);
    bytes.take_while(|byte| *byte != 0).collect()
}

/// As in mod_status.
fn letter(status: u8) -> u8 {
    match u32::from(status) {
        c::SERVER_DEAD => b'.',
        c::SERVER_STARTING => b'S',
        c::SERVER_READY => b'_',
        c::SERVER_BUSY_READ => b'R',
        c::SERVER_BUSY_WRITE => b'W',
        c::SERVER_BUSY_KEEPALIVE => b'K',
        c::SERVER_BUSY_LOG => b'L',
        c::SERVER_BUSY_DNS => b'D',
        c::SERVER_CLOSING => b'C',
        c::SERVER_GRACEFUL => b'G',
        c::SERVER_IDLE_KILL => b'I',
        _ => b'?',
    }
}
