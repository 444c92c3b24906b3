//! `rwsgictl`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    rwsgi_ctl::run()
}
