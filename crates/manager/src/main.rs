//! `rwsgi-manager`: started by httpd with its control socket as descriptor 3; not meant to be started by hand.
#![forbid(unsafe_code)]

use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        None => rwsgi_manager::keeper::main(),
        Some(word) if word == "manage" => {
            let mut limit = || arguments.next()?.to_str()?.parse().ok();
            match limit().zip(limit()) {
                Some(limits) => {
                    let delegated = arguments.next().unwrap_or_default();
                    rwsgi_manager::supervise::main(limits, delegated.as_bytes())
                }
                None => ExitCode::from(rwsgi_manager::keeper::MISUSED),
            }
        }
        Some(word) if word == "scribe" => {
            let mut number = || arguments.next()?.to_str()?.parse().ok();
            match (number(), number()) {
                (Some(count), audit) => rwsgi_manager::scribe::main(count, audit),
                _ => ExitCode::from(rwsgi_manager::keeper::MISUSED),
            }
        }
        Some(word) if word == "enter" => rwsgi_manager::enter::main(),
        Some(word) if word == "lookup" => match arguments.next() {
            Some(name) => rwsgi_manager::lookup::main(&name),
            None => ExitCode::from(2),
        },
        Some(word) if word == "--version" => {
            println!(
                "rwsgi-manager {} (protocol {})",
                env!("CARGO_PKG_VERSION"),
                rwsgi_wire::VERSION
            );
            ExitCode::SUCCESS
        }
        Some(word) => {
            eprintln!(
                "rwsgi-manager: unknown argument {}; it is started by httpd and takes --version only",
                word.to_string_lossy()
            );
            ExitCode::from(2)
        }
    }
}
