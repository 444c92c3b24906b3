//! The program in its second form: a fresh process that becomes the user and then the user's Python.

use std::process::ExitCode;

use rwsgi_os::system::Real;
use rwsgi_os::{OsError, OwnedFd, fd, signal};

use crate::entry::Entry;
use crate::journey::{self, SETTINGS_FD, STATUS_FD};
use crate::report;

/// Largest settings, bytes.
const SETTINGS_MAX: usize = 1 << 20;
/// Exit status of a journey that ended at a refusal; the supervisor has been told why.
const REFUSED: u8 = 78;

/// Makes the journey, or leaves a note, with the settings on [`SETTINGS_FD`], telling of it on [`STATUS_FD`].
pub fn main() -> ExitCode {
    let (status, entry) = match prepare() {
        Ok(both) => both,
        Err(why) => {
            // Started by hand, or with a broken contract: nobody listens on the status pipe.
            eprintln!("rwsgi-manager: {why}");
            return ExitCode::from(2);
        }
    };
    signal::reset();
    if !entry.note.is_empty() {
        return match journey::leave_note(&mut Real, &entry) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(REFUSED),
        };
    }
    journey::travel(&mut Real, &entry, |event| {
        // A manager that no longer listens has ended, and the step about the parent finds that out.
        let _ = fd::write_all(&status, &report::encode(event));
    });
    ExitCode::from(REFUSED)
}

fn prepare() -> Result<(OwnedFd, Entry), String> {
    let sentence = |e: OsError| format!("started without its descriptors ({e}); it is started by httpd only");
    let status = fd::adopt(STATUS_FD).map_err(sentence)?;
    let settings = fd::adopt(SETTINGS_FD).map_err(sentence)?;
    let bytes = fd::read_all(&settings, SETTINGS_MAX).map_err(sentence)?;
    let entry = Entry::decode(&bytes).map_err(|e| e.to_string())?;
    Ok((status, entry))
}
