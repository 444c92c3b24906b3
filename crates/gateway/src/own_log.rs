//! The log of the user below whose directory the application is: what the administrator's error log has of it, where the user can read it.
//! Written by the worker, which is that user.

use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::{Instant, SystemTime};

use rwsgi_os::{clock, own_log};
use rwsgi_wire::flow::Flow;
use rwsgi_wire::response::Level;
use rwsgi_wire::text::escape;

/// Of this process, and of those that are forked from it.
static LOG: OnceLock<OwnLog> = OnceLock::new();

struct OwnLog {
    path: Vec<u8>,
    flow: Mutex<Flow>,
}

/// From now on it is written to. An empty path: there is none.
pub fn open(path: &[u8]) {
    if !path.is_empty() {
        LOG.get_or_init(|| OwnLog {
            path: path.to_vec(),
            flow: Mutex::new(Flow::new(Instant::now())),
        });
    }
}

/// Text that the error log gets. What is not worth a warning is written if `wanted`, as it is there; the rest in any case: it is the
/// administrator who chooses what to see.
pub fn note(level: Level, wanted: bool, text: &[u8]) {
    if let Some(log) = LOG.get().filter(|_| wanted || level as u8 <= Level::Warn as u8) {
        log.write(text);
    }
}

impl OwnLog {
    fn write(&self, text: &[u8]) {
        let lines: Vec<&[u8]> = text
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .collect();
        let Some((admitted, dropped)) = self.admit(lines.len()) else {
            return;
        };
        let time = clock::log_time(SystemTime::now());
        let head = format!("[{time}] [pid {}] ", std::process::id());
        let mut block = String::new();
        if let Some(dropped) = dropped {
            block += &format!(
                "{head}{dropped} lines were dropped: they came faster than this log takes them, or its disk was full\n"
            );
        }
        for line in lines.iter().take(admitted) {
            block += &format!("{head}{}\n", escape(line));
        }
        if !block.is_empty() && own_log::append(&self.path, block.as_bytes()).is_err() {
            self.lose(admitted as u64 + dropped.unwrap_or(0));
        }
    }

    /// How many of so many lines may be written now, and how many were not before; `None`: none, and nobody can count them.
    fn admit(&self, count: usize) -> Option<(usize, Option<u64>)> {
        let mut flow = self.flow()?;
        let now = Instant::now();
        let dropped = flow.take_dropped();
        let admitted = (0..count).filter(|_| flow.admits(now)).count();
        Some((admitted, dropped))
    }

    fn lose(&self, count: u64) {
        if let Some(mut flow) = self.flow() {
            (0..count).for_each(|_| flow.lost());
        }
    }

    /// Whoever has it has it for a moment only. If not, this process was forked by the application while another thread had it.
    fn flow(&self) -> Option<MutexGuard<'_, Flow>> {
        for _ in 0..1000 {
            match self.flow.try_lock() {
                Ok(flow) => return Some(flow),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> OwnLog {
        let file = format!("rwsgi-gateway-own-log-{name}-{}", std::process::id());
        OwnLog {
            path: std::env::temp_dir()
                .join(file)
                .to_str()
                .unwrap()
                .as_bytes()
                .to_vec(),
            flow: Mutex::new(Flow::new(Instant::now())),
        }
    }

    fn text(log: &OwnLog) -> String {
        let path = std::str::from_utf8(&log.path).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::remove_file(path).unwrap();
        text
    }

    // R74
    #[test]
    fn each_line_has_a_head_that_text_cannot_forge() {
        let log = log("lines");
        log.write("one\n\ntwo \u{1b}[2J é\n".as_bytes());
        log.write(b"[Fri Nov 27] [pid 1] three");
        let text = text(&log);
        let head = format!("] [pid {}] ", std::process::id());
        let said: Vec<&str> = text
            .lines()
            .map(|line| line.split_once(&head).unwrap().1)
            .collect();
        assert_eq!(said, ["one", "two \\x1b[2J é", "[Fri Nov 27] [pid 1] three"]);
    }

    // F17, R64
    #[test]
    fn a_flood_is_cut_and_the_loss_is_told_with_the_next_line() {
        let log = log("flood");
        log.write("x\n".repeat(20_000).as_bytes());
        log.write(b"last");
        let text = text(&log);
        assert!(text.lines().count() < 7000, "{}", text.lines().count());
        assert!(text.contains(" lines were dropped: they came faster"));
    }

    // F41
    #[test]
    fn what_cannot_be_written_is_counted() {
        let mut log = log("full");
        let path = std::mem::replace(&mut log.path, b"/proc/self/no/log".to_vec());
        log.write(b"one\ntwo\n");
        log.write(b"three");
        log.path = path;
        log.write(b"four");
        let text = text(&log);
        assert!(
            text.contains("] 3 lines were dropped: ") && text.contains("] four\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2);
    }
}
