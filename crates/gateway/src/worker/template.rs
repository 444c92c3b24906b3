//! A template: a worker that has loaded the application, serves nobody, and forks the workers that do. They are no children of it but the
//! manager's, as all workers are, and begin where this leaves off. It has one thread, Python's main thread: a fork copies no other.

use std::os::fd::{AsFd, OwnedFd};

use rwsgi_os::fork::{Side, threads};
use rwsgi_os::poll::{Events, Watch, poll};
use rwsgi_os::signal::Signal;
use rwsgi_os::{OsError, fd, process};
use rwsgi_wire::control::Start;

use super::control::{Control, Told};
use super::{flush, greet, signals, title};
use crate::cpython::{Attached, PyResult};
use crate::exchange::socket::bear;
use crate::metrics;

/// Forks workers as the manager says. Comes back in each of them with its settings, and in the template with `None` at its end. `Err`: it
/// cannot be one. `pipe` is where signals are announced, with both ends.
pub fn run(
    py: Attached<'_>,
    start: &Start,
    control: &Control,
    pipe: [&OwnedFd; 2],
) -> Result<Option<Start>, String> {
    match threads() {
        Some(1) => {}
        _ => return Err(has_threads(py)),
    }
    // What is here now stays: looking for garbage in it would copy it into each worker.
    settle(py).map_err(|exception| exception.sentence())?;
    title::set(&template_title(&start.display_name));
    greet(py, start, control);
    control.preloaded();
    let adopter = process::parent();
    loop {
        let said = py.detach(|| wait(control, pipe[0]));
        let (socket, output) = match said {
            Told::Fork { control, output } => (control, output),
            Told::End => return Ok(None),
            Told::Nothing => continue,
        };
        flush(py);
        bear(true);
        let become_another = || {
            control.become_another(&socket)?;
            fd::place(&output, 1)?;
            fd::place(&output, 2)
        };
        let side = py.fork_orphan(become_another);
        bear(false);
        match side {
            Ok(Side::Original) => {}
            Ok(Side::Copy) => {
                drop((socket, output));
                return begin(control, pipe, adopter).map(Some).or_else(|why| fail(&why));
            }
            Err(error) => Control::cannot_be_born(&socket, &error.to_string()),
        }
    }
}

/// Waits for a message of the manager, or a signal that ends a worker.
fn wait(control: &Control, pipe: &OwnedFd) -> Told {
    let mut watches = [
        Watch::new(control.as_fd(), Events::READ),
        Watch::new(pipe.as_fd(), Events::READ),
    ];
    if poll(&mut watches, None).is_err() {
        return Told::End;
    }
    let [message, signal] = watches.map(|watch| watch.found().is_readable());
    if signal && ends(pipe) {
        return Told::End;
    }
    match message {
        true => control.hear_template(),
        false => Told::Nothing,
    }
}

/// Whether one of the signals that have come ends a worker. Those for applications are for workers.
fn ends(pipe: &OwnedFd) -> bool {
    loop {
        match signals::next(pipe) {
            Ok(Some(Signal::HUP | Signal::USR2)) => {}
            other => return other != Ok(None),
        }
    }
}

/// The first steps of a forked worker; what it has from the template in common with others becomes its own.
fn begin(control: &Control, pipe: [&OwnedFd; 2], adopter: process::Pid) -> Result<Start, String> {
    let own = || {
        process::new_session()?;
        process::die_with_parent(Signal::KILL)?;
        let ends = fd::pipe()?;
        for (kept, new) in pipe.into_iter().zip([&ends.0, &ends.1]) {
            fd::set_nonblocking(new, true)?;
            fd::replace(kept, new)?;
        }
        Ok(())
    };
    own().map_err(|error: OsError| error.to_string())?;
    if process::parent() != adopter {
        return Err("the manager has ended".into());
    }
    metrics::begin_forked_process();
    let start = control.begin_forked()?;
    title::set(&start.display_name);
    Ok(start)
}

/// It was not born: the manager sees that by its socket.
fn fail(why: &str) -> ! {
    eprintln!("a worker that was forked cannot begin: {why}");
    process::exit_now(1)
}

/// What `ps` shows for a template whose workers are called so.
fn template_title(name: &[u8]) -> Vec<u8> {
    match name {
        b"" => Vec::new(),
        name => [name, b" template"].concat(),
    }
}

fn settle(py: Attached<'_>) -> PyResult<'_, ()> {
    let gc = py.import(c"gc")?;
    gc.call_method(c"collect", &[])?;
    gc.call_method(c"freeze", &[]).map(drop)
}

/// Why there is no template, with what is known of the threads.
fn has_threads(py: Attached<'_>) -> String {
    let names = || -> PyResult<'_, Vec<String>> {
        let threads = py.import(c"threading")?.call_method(c"enumerate", &[])?;
        let names = (1..threads.len()).filter_map(|index| threads.item(index));
        names.map(|thread| thread.attribute(c"name")?.to_text()).collect()
    };
    let names = names().unwrap_or_default();
    let whose = match names.is_empty() {
        true => "of a library".to_owned(),
        false => format!("of Python: {}", names.join(", ")),
    };
    let count = threads().map_or(0, |count| count.saturating_sub(1));
    format!(
        "the application starts threads when it is imported ({count}, {whose}), which no fork would copy: start them with the first request"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_told_from_its_workers_by_its_title() {
        assert_eq!(template_title(b"(wsgi:a)"), b"(wsgi:a) template");
        assert_eq!(template_title(b""), b"");
    }
}
