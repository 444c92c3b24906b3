//! A log that whoever writes to it keeps within bounds, for there is nobody else to: several processes of one user may at once.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::{OsError, fd, file};

/// One that has grown to so many bytes is set aside as `NAME.1`, in place of the one before.
pub const MOST: u64 = 10 << 20;

/// Appends text, in one piece. The file is opened for it alone, so whoever moves or removes it gets nothing more into it; it is made, and the
/// directory that it is in. A link in its place is not followed (ELOOP), and nothing but a regular file is written to (EINVAL, ENXIO).
pub fn append(path: &[u8], text: &[u8]) -> Result<(), OsError> {
    append_up_to(MOST, path, text)
}

fn append_up_to(most: u64, path: &[u8], text: &[u8]) -> Result<(), OsError> {
    let mut log = open(path)?;
    if file::status(&log)?.size >= most && set_aside(path, &log)? {
        log = open(path)?;
    }
    fd::write_all(log, text)
}

fn open(path: &[u8]) -> Result<OwnedFd, OsError> {
    const MODE: u32 = 0o640;
    match file::open_to_append(path, MODE) {
        Err(error) if error.errno == libc::ENOENT => {
            let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            file::make_directory(path.get(..end).unwrap_or_default(), 0o700)?;
            file::open_to_append(path, MODE)
        }
        other => other,
    }
}

/// `false`: another process is about to.
fn set_aside(path: &[u8], log: &OwnedFd) -> Result<bool, OsError> {
    if !file::try_lock_whole(log)? {
        return Ok(false);
    }
    // Another may have done it since this one was opened, and not have made the new one yet.
    let is_gone = |error: &OsError| error.errno == libc::ENOENT;
    let there = match file::status_of_link(path) {
        Err(error) if is_gone(&error) => return Ok(true),
        there => there?,
    };
    if there.identity != file::status(log)?.identity {
        return Ok(true);
    }
    let name = |path: &[u8]| Path::new(OsStr::from_bytes(path)).to_path_buf();
    let renamed = std::fs::rename(name(path), name(&[path, b".1"].concat())).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        OsError::new("rename", String::from_utf8_lossy(path).into_owned(), errno)
    });
    match renamed {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(std::path::PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rwsgi-own-log-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn path(&self, name: &str) -> Vec<u8> {
            self.0.join(name).as_os_str().as_bytes().to_vec()
        }

        fn text(&self, name: &str) -> String {
            std::fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_log_that_is_moved_or_removed_is_made_anew_with_its_directory() {
        let place = Place::new("moved");
        let log = place.path("logs/wsgi.log");
        append(&log, b"one\n").unwrap();
        append(&log, b"two\n").unwrap();
        std::fs::rename(place.0.join("logs/wsgi.log"), place.0.join("moved")).unwrap();
        append(&log, b"three\n").unwrap();
        assert_eq!(place.text("moved"), "one\ntwo\n");
        assert_eq!(place.text("logs/wsgi.log"), "three\n");
        std::fs::remove_dir_all(place.0.join("logs")).unwrap();
        append(&log, b"four\n").unwrap();
        assert_eq!(place.text("logs/wsgi.log"), "four\n");
        // Two directories that are not there are somebody's mistake.
        assert!(append(&place.path("a/b/log"), b"x").is_err());
    }

    // F17
    #[test]
    fn a_log_that_has_grown_is_set_aside_and_two_are_all_there_are() {
        let place = Place::new("grown");
        let log = place.path("log");
        for number in 0..30 {
            append_up_to(10, &log, format!("{number:04}\n").as_bytes()).unwrap();
        }
        assert_eq!(place.text("log"), "0028\n0029\n");
        assert_eq!(place.text("log.1"), "0026\n0027\n");
        assert_eq!(std::fs::read_dir(&place.0).unwrap().count(), 2);
    }

    #[test]
    fn between_two_logs_no_line_is_lost() {
        let place = Place::new("between");
        let log = place.path("log");
        append(&log, b"one\n").unwrap();
        let opened = open(&log).unwrap();
        // As when another process has just set it aside.
        std::fs::rename(place.0.join("log"), place.0.join("log.1")).unwrap();
        assert_eq!(set_aside(&log, &opened), Ok(true));
        assert_eq!(place.text("log.1"), "one\n");
    }

    #[test]
    fn many_who_write_at_once_lose_no_line_of_the_last_ones() {
        let place = Place::new("many");
        let log = place.path("log");
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..200 {
                        append_up_to(2000, log, format!("{name}{number:08}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        let (before, now) = (place.text("log.1"), place.text("log"));
        assert!(
            before.len() >= 2000,
            "set aside when it is long enough, once: {}",
            before.len()
        );
        assert!(before.lines().chain(now.lines()).all(|line| line.len() == 9));
        for name in ["a", "b", "c", "d"] {
            assert!(!place.text("log.1").is_empty() || now.contains(&format!("{name}00000199")));
        }
    }

    // R31
    #[test]
    fn nothing_but_a_regular_file_is_written_to_and_nobody_waits() {
        let place = Place::new("others");
        std::fs::write(place.0.join("precious"), "as it was").unwrap();
        std::os::unix::fs::symlink("precious", place.0.join("link")).unwrap();
        assert_eq!(append(&place.path("link"), b"x").unwrap_err().errno, libc::ELOOP);
        assert_eq!(place.text("precious"), "as it was");
        let pipe = place.path("pipe");
        let name = std::ffi::CString::new(pipe.clone()).unwrap();
        // SAFETY: a C string and a mode.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert_eq!(append(&pipe, b"x").unwrap_err().errno, libc::ENXIO);
        let _reader = std::fs::File::options()
            .read(true)
            .write(true)
            .open(place.0.join("pipe"));
        assert_eq!(append(&pipe, b"x").unwrap_err().errno, libc::EINVAL);
    }
}
