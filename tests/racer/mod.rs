//! A user who exchanges files while others look at them (`racer.py`), for the tests of all parts.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const PROGRAM: &str = include_str!("racer.py");

/// The user at work; stops when dropped.
pub struct Racer {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Racer {
    /// As `uid`, exchanges the first name in each directory with each of the others, and back again. `device` is watched.
    pub fn start(uid: u32, device: &Path, groups: &[(&Path, &[&str])]) -> Self {
        let mut command = Command::new("python3");
        command.args(["-ISc", PROGRAM, &uid.to_string()]).arg(device);
        for (index, (directory, names)) in groups.iter().enumerate() {
            command
                .args((index > 0).then_some("--"))
                .arg(directory)
                .args(*names);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut racer = Self { child, said };
        assert_eq!(racer.line(), "racing");
        racer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// How many exchanges there were, and how often the device was opened.
    pub fn end(mut self) -> (u64, u64) {
        drop(self.child.stdin.take());
        let line = self.line();
        let both = line.split_once(' ').and_then(|(exchanges, opened)| {
            let exchanges = exchanges.parse().ok()?;
            Some((exchanges, opened.parse().ok()?))
        });
        both.unwrap_or_else(|| panic!("the racer fell, see above: {line}"))
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What the kernel does for programs that are careless in directories such as `/tmp` is switched off until this is dropped. Where that is not
/// permitted it says so, and the race is run all the same.
pub struct Unprotected(Vec<(PathBuf, String)>);

impl Unprotected {
    pub fn new() -> Self {
        let files = ["symlinks", "fifos", "regular"].map(|what| format!("/proc/sys/fs/protected_{what}"));
        let switched = files.into_iter().filter_map(|file| {
            let before = std::fs::read_to_string(&file).ok()?;
            if before.trim() == "0" {
                return None;
            }
            match std::fs::write(&file, "0") {
                Ok(()) => Some((file.into(), before)),
                Err(why) => {
                    eprintln!("{file} stays {}: {why}", before.trim());
                    None
                }
            }
        });
        Self(switched.collect())
    }
}

impl Drop for Unprotected {
    fn drop(&mut self) {
        for (file, before) in &self.0 {
            let _ = std::fs::write(file, before);
        }
    }
}

/// Makes a device like `/dev/null` that nobody has any business to open.
pub fn device(path: &Path) {
    make_node(path, &["c", "1", "3"]);
}

/// Makes a FIFO.
pub fn fifo(path: &Path) {
    make_node(path, &["p"]);
}

fn make_node(path: &Path, kind: &[&str]) {
    let mut mknod = Command::new("mknod");
    mknod.args(["-m", "644"]).arg(path).args(kind);
    assert!(mknod.status().expect("mknod").success());
}
