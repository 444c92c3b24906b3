//! httpd's scoreboard as Python sees it.

use rwsgi_wire::scoreboard::{Process, Scoreboard, Worker};

use super::report::{count, list};
use crate::api::events::Values;
use crate::cpython::{Attached, Exception, Object, PyResult, Raise};
use crate::wsgi::serve::seconds;

/// `server_metrics()`, of an encoded scoreboard; `None` for an empty one.
pub fn of_server<'py>(py: Attached<'py>, encoded: &[u8]) -> PyResult<'py, Object<'py>> {
    if encoded.is_empty() {
        return Ok(py.none());
    }
    let board = Scoreboard::decode(encoded).map_err(|error| {
        let text = format!("httpd's scoreboard cannot be read: {error}");
        Exception::new(py, Raise::Runtime, &text)
    })?;
    let values = Values::new(py)?;
    values.set_numbers(&[
        ("server_limit", board.server_limit.into()),
        ("thread_limit", board.thread_limit.into()),
        ("running_generation", board.generation.into()),
        (
            "running_time",
            (board.current_time - board.restart_time) / 1_000_000,
        ),
    ])?;
    values.set_times(&[
        ("restart_time", seconds(board.restart_time)),
        ("current_time", seconds(board.current_time)),
    ])?;
    let processes = (0..).zip(&board.processes);
    let processes = processes.map(|(number, process)| of_process(py, number, process));
    values.set("processes", list(py, processes))?;
    Ok(values.dict().clone())
}

fn of_process<'py>(py: Attached<'py>, number: i64, process: &Process) -> PyResult<'py, Object<'py>> {
    let values = Values::new(py)?;
    values.set_numbers(&[
        ("process_num", number),
        ("pid", process.pid.into()),
        ("generation", process.generation.into()),
    ])?;
    values.set("quiescing", Ok(py.bool(process.quiescing)))?;
    let workers = process.workers.iter().map(|worker| of_worker(py, worker));
    values.set("workers", list(py, workers))?;
    Ok(values.dict().clone())
}

fn of_worker<'py>(py: Attached<'py>, worker: &Worker) -> PyResult<'py, Object<'py>> {
    let values = Values::new(py)?;
    values.set_numbers(&[
        ("thread_num", worker.thread.into()),
        ("generation", worker.generation.into()),
        ("access_count", count(worker.access_count)),
        ("bytes_served", count(worker.bytes_served)),
    ])?;
    values.set_times(&[
        ("start_time", seconds(worker.start_time)),
        ("stop_time", seconds(worker.stop_time)),
        ("last_used", seconds(worker.last_used)),
    ])?;
    for (name, text) in [
        ("status", &[worker.status][..]),
        ("client", &worker.client),
        ("request", &worker.request),
        ("vhost", &worker.vhost),
    ] {
        values.set(name, py.latin1(text))?;
    }
    Ok(values.dict().clone())
}
