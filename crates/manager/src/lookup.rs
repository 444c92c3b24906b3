//! The program in its third form: asks the name service about one user, says what it found, and ends.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use rwsgi_os::fd::{self, Standard};

use crate::account::Found;

/// Looks a name up and writes what was found to the standard output, as [`Found::encode`] has it.
pub fn main(name: &OsStr) -> ExitCode {
    let found = Found::look_up(name.as_bytes());
    match fd::write_all(fd::standard(Standard::Out), &found.encode()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
