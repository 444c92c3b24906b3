//! `script-user` and `script-group`: whose scripts a process group runs.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::Owner;

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Whether the script and its directory belong to `owner` and can be changed by nobody else; the sentence says what is wrong.
pub fn check(script: &[u8], owner: Owner) -> Result<(), String> {
    let script = Path::new(OsStr::from_bytes(script));
    let directory = script.parent().unwrap_or(Path::new("/"));
    for (what, path) in [("it", script), ("its directory", directory)] {
        let status =
            std::fs::metadata(path).map_err(|error| format!("{what} cannot be looked at ({error})"))?;
        refuse(&status, owner).map_err(|why| format!("{what} {why}"))?;
    }
    Ok(())
}

fn refuse(status: &Metadata, owner: Owner) -> Result<(), String> {
    match owner {
        Owner::User(uid) if status.uid() != uid => {
            return Err(format!("belongs to user id {}, not {uid}", status.uid()));
        }
        Owner::User(_) if status.mode() & GROUP_WRITES != 0 => {
            return Err("can be written by its group".into());
        }
        Owner::Group(gid) if status.gid() != gid => {
            return Err(format!("belongs to group id {}, not {gid}", status.gid()));
        }
        _ => {}
    }
    if status.mode() & OTHERS_WRITE != 0 {
        return Err("can be written by everybody".into());
    }
    Ok(())
}
