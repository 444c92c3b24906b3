//! `rwsgictl`: what administrators and hosting panels see of a running manager.
//!
//! It asks the manager over `ctl.sock` in its runtime directory, which only root may connect to, and reads `/proc` and the control groups itself:
//! the manager has other things to do. What users have named is escaped before it is shown.
//!
//! - [`arguments`]: the command line; [`failure`]: what can go wrong, and the exit status of each
//! - `places`: which managers there are; `link`: the connection to one
//! - [`shown`]: what is shown, in the shape of the JSON; `usage`: what processes use
//! - [`options`]: what holds for a process group, as options of `WSGIDaemonProcess`
//! - `orders`: what is done to applications
//! - `text`: the same for people
//! - [`manual`]: the page `docs/rwsgictl.md`
#![forbid(unsafe_code)]

pub mod arguments;
pub mod failure;
mod link;
pub mod manual;
pub mod options;
mod orders;

mod places;
pub mod shown;
mod text;
mod usage;

use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Verb};
use failure::Failure;
use link::Link;
use shown::{Detail, Done, Overview};

/// Does what the command line says.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match answer(&arguments).and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where nobody listens nothing can be told.
            let _ = writeln!(std::io::stderr(), "rwsgictl: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn answer(arguments: &Arguments) -> Result<String, Failure> {
    let directory = arguments.runtime_dir.as_deref();
    let place = places::choose(directory.map(|path| path.as_os_str().as_bytes()))?;
    let link = Link::connect(&place)?;
    match &arguments.verb {
        Verb::List { user } => {
            let overview = Overview::of(&link, user.as_deref().map(OsStrExt::as_bytes))?;
            Ok(match arguments.json {
                true => json(&overview),
                false => text::overview(&overview),
            })
        }
        Verb::Restart(order) => done(arguments, &orders::restart(&link, order)?),
        Verb::Stop(order) => done(arguments, &orders::stop(&link, order)?),
        Verb::Show { what } => {
            let detail = Detail::of(&link, what.as_bytes())?;
            Ok(match arguments.json {
                true => json(&detail),
                false => text::detail(&detail),
            })
        }
    }
}

fn done(arguments: &Arguments, done: &Done) -> Result<String, Failure> {
    Ok(match arguments.json {
        true => json(done),
        false => text::done(done),
    })
}

/// One line, which ends.
fn json(value: &impl serde::Serialize) -> String {
    // Structures of numbers, texts and lists: nothing in them can be refused.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let done = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match done {
        // Who reads has had enough: `rwsgictl list | head`.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|e| Failure::Output(e.to_string())),
    }
}
