//! A disk that hangs when a test says so: a directory, seen through FUSE with this process as the one that answers.
//!
//! While it hangs, requests are taken and not answered. That is what a server of a network file system does that has gone: whoever
//! touches the disk sleeps in the kernel, and not even SIGKILL ends that sleep.
//!
//! The test itself must look at what is [`behind`](HangingDisk::behind) it, or it waits for itself. A test that fails while the disk hangs
//! does that when it tidies up, so the disk goes on by itself after a minute.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::namespace::{hand_on, privately};

/// What the kernel asks for, as far as it is answered; the numbers are those of `linux/fuse.h`.
mod operation {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const READLINK: u32 = 5;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const CREATE: u32 = 35;
    pub const INTERRUPT: u32 = 36;
    pub const BATCH_FORGET: u32 = 42;
}

/// The longest time it hangs: shorter than what a whole test may take, since a process that waits for itself cannot be killed.
const LIMIT: Duration = Duration::from_secs(60);
/// The number of the top directory.
const TOP: u64 = 1;
/// Longest write, bytes.
const WRITE_MAX: u32 = 128 << 10;
/// Room for any request.
const REQUEST_MAX: usize = WRITE_MAX as usize + 4096;

/// The disk; see [`with_hanging_disk`].
pub struct HangingDisk {
    path: PathBuf,
    /// The directory as it is below the disk.
    below: File,
    device: File,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Since when it hangs.
    hangs: Option<Instant>,
    is_over: bool,
    /// Requests that were taken and not answered.
    held: Vec<Vec<u8>>,
    /// The file of each number, from 1.
    files: Vec<PathBuf>,
    numbers: HashMap<PathBuf, u64>,
}

/// Runs `work` with a disk in place of a directory, which has the same files and hangs when it is told to; in a private mount namespace as
/// [`with_small_disk`](crate::with_small_disk) has it. Needs root and `/dev/fuse`. Whoever sleeps on it is let go at the end.
pub fn with_hanging_disk(directory: &Path, work: impl FnOnce(&HangingDisk) + Send) {
    let outcome = privately(|| {
        let disk = HangingDisk::mount(directory);
        std::thread::scope(|scope| {
            scope.spawn(|| disk.serve());
            scope.spawn(|| disk.watch());
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&disk)));
            disk.go_on();
            disk.abort();
            disk.state().is_over = true;
            outcome.unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        });
    });
    hand_on(outcome);
}

impl HangingDisk {
    fn mount(path: &Path) -> HangingDisk {
        let below = File::open(path).expect("a directory");
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.expect("/dev/fuse");
        let options = format!(
            "fd={},rootmode=40755,user_id=0,group_id=0,default_permissions,allow_other",
            device.as_raw_fd()
        );
        let options = Some(options.as_str());
        mount(Some("rwsgi"), path, Some("fuse"), MsFlags::empty(), options).expect("mount of FUSE");
        let disk = HangingDisk {
            path: path.to_path_buf(),
            below,
            device,
            state: Mutex::default(),
        };
        disk.state().files = vec![PathBuf::new(), disk.behind()];
        disk
    }

    /// The same files, where nothing hangs.
    pub fn behind(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/.", self.below.as_raw_fd()))
    }

    /// From now on nobody gets an answer.
    pub fn hang(&self) {
        self.state().hangs = Some(Instant::now());
    }

    /// Everybody gets the answer that they have waited for.
    pub fn go_on(&self) {
        let mut state = self.state();
        state.hangs = None;
        for request in std::mem::take(&mut state.held) {
            self.answer(&mut state, &request);
        }
    }

    /// How many wait for an answer.
    pub fn waiting(&self) -> usize {
        use operation::*;
        // What the kernel tells by the way nobody waits for.
        const TOLD: [u32; 5] = [FORGET, BATCH_FORGET, INTERRUPT, RELEASE, RELEASEDIR];
        let state = self.state();
        let asks = |request: &&Vec<u8>| !TOLD.contains(&(number(request, 4, 4) as u32));
        state.held.iter().filter(asks).count()
    }

    /// It is gone for good: who waits gets an error, and so does everybody from now on.
    pub fn abort(&self) {
        // Once it is gone there is nothing left to do.
        let _ = umount2(&self.path, MntFlags::MNT_FORCE);
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody go whom the test has forgotten.
    fn watch(&self) {
        while !self.state().is_over {
            if self.state().hangs.is_some_and(|since| since.elapsed() > LIMIT) {
                self.go_on();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Until the disk is gone.
    fn serve(&self) {
        let mut buffer = vec![0; REQUEST_MAX];
        loop {
            match (&self.device).read(&mut buffer) {
                Ok(length) => {
                    let request = &buffer[..length];
                    let mut state = self.state();
                    if state.hangs.is_some() {
                        state.held.push(request.to_vec());
                    } else {
                        self.answer(&mut state, request);
                    }
                }
                Err(why) if why.raw_os_error() == Some(Errno::ENODEV as i32) => return,
                // A request that was taken back meanwhile, or a signal.
                Err(_) => {}
            }
        }
    }

    fn answer(&self, state: &mut State, request: &[u8]) {
        let number = number(request, 8, 8);
        let (error, body) = match state.answer_to(request) {
            Ok(Some(body)) => (0, body),
            Ok(None) => return,
            Err(why) => (-(why as i32), Vec::new()),
        };
        let mut out = Vec::with_capacity(16 + body.len());
        out.extend_from_slice(&(16 + body.len() as u32).to_ne_bytes());
        out.extend_from_slice(&error.to_ne_bytes());
        out.extend_from_slice(&number.to_ne_bytes());
        out.extend_from_slice(&body);
        // Who asked may have gone.
        let _ = (&self.device).write(&out);
    }
}

/// A number of so many bytes at a place of a request.
fn number(request: &[u8], at: usize, bytes: usize) -> u64 {
    let mut whole = [0; 8];
    whole[..bytes].copy_from_slice(&request[at..at + bytes]);
    u64::from_le_bytes(whole)
}

/// Where what belongs to the operation begins.
const BODY: usize = 40;

impl State {
    /// The body of the answer; none is wanted to some requests.
    fn answer_to(&mut self, request: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        use operation::*;
        let body = &request[BODY..];
        let file = usize::try_from(number(request, 16, 8)).expect("a number");
        let file = self.files.get(file).cloned().unwrap_or_default();
        let body = match number(request, 4, 4) as u32 {
            INIT => {
                let version = Answer::default().n32(7).n32(31);
                version.zeros(12).n32(WRITE_MAX).zeros(40).0
            }
            LOOKUP => self.entry(&file.join(name(body)))?,
            GETATTR => attributes_answer(&file)?,
            SETATTR => {
                const SIZE: u64 = 1 << 3;
                if number(body, 0, 4) & SIZE != 0 {
                    let opened = OpenOptions::new().write(true).open(&file).map_err(errno)?;
                    opened.set_len(number(body, 16, 8)).map_err(errno)?;
                }
                attributes_answer(&file)?
            }
            READLINK => std::fs::read_link(&file)
                .map_err(errno)?
                .into_os_string()
                .into_vec(),
            OPEN | OPENDIR => Answer::default().zeros(16).0,
            CREATE => {
                let path = file.join(name(&body[16..]));
                File::create(&path).map_err(errno)?;
                let mut answer = self.entry(&path)?;
                answer.extend_from_slice(&[0; 16]);
                answer
            }
            READ => {
                let mut content = vec![0; number(body, 16, 4) as usize];
                let opened = File::open(&file).map_err(errno)?;
                let length = opened.read_at(&mut content, number(body, 8, 8)).map_err(errno)?;
                content.truncate(length);
                content
            }
            WRITE => {
                let content = &body[40..];
                let opened = OpenOptions::new().write(true).open(&file).map_err(errno)?;
                opened.write_all_at(content, number(body, 8, 8)).map_err(errno)?;
                Answer::default().n32(content.len() as u32).n32(0).0
            }
            READDIR => directory(&file, number(body, 8, 8))?,
            STATFS => Answer::default().zeros(80).0,
            RELEASE | RELEASEDIR | FLUSH => Vec::new(),
            FORGET | BATCH_FORGET | INTERRUPT => return Ok(None),
            _ => return Err(Errno::ENOSYS),
        };
        Ok(Some(body))
    }

    fn entry(&mut self, path: &Path) -> Result<Vec<u8>, Errno> {
        let metadata = path.symlink_metadata().map_err(errno)?;
        let number = *self.numbers.entry(path.to_path_buf()).or_insert_with(|| {
            self.files.push(path.to_path_buf());
            self.files.len() as u64 - 1
        });
        // Neither the name nor what is known of the file is believed for any time: each look is a question.
        let answer = Answer::default().n64(number).zeros(32);
        Ok(attributes(answer, &metadata).0)
    }
}

fn errno(why: std::io::Error) -> Errno {
    Errno::from_raw(why.raw_os_error().unwrap_or(Errno::EIO as i32))
}

fn name(bytes: &[u8]) -> &Path {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    Path::new(std::ffi::OsStr::from_bytes(&bytes[..end]))
}

fn attributes_answer(file: &Path) -> Result<Vec<u8>, Errno> {
    let metadata = file.symlink_metadata().map_err(errno)?;
    Ok(attributes(Answer::default().zeros(16), &metadata).0)
}

fn attributes(answer: Answer, of: &Metadata) -> Answer {
    let answer = answer.n64(of.ino()).n64(of.size()).n64(of.blocks());
    let times = [of.atime(), of.mtime(), of.ctime()];
    let answer = times.iter().fold(answer, |answer, time| answer.n64(*time as u64));
    let parts = [of.atime_nsec(), of.mtime_nsec(), of.ctime_nsec()];
    let answer = parts.iter().fold(answer, |answer, part| answer.n32(*part as u32));
    let answer = answer
        .n32(of.mode())
        .n32(of.nlink() as u32)
        .n32(of.uid())
        .n32(of.gid());
    answer.n32(0).n32(4096).n32(0)
}

/// Its entries from this one on.
fn directory(path: &Path, from: u64) -> Result<Vec<u8>, Errno> {
    let mut entries: Vec<_> = std::fs::read_dir(path).map_err(errno)?.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut answer = Answer::default();
    for (place, entry) in entries.iter().enumerate().skip(from as usize).take(16) {
        let name = entry.file_name();
        let kind = entry.metadata().map_err(errno)?.mode() >> 12;
        answer = answer
            .n64(TOP)
            .n64(place as u64 + 1)
            .n32(name.len() as u32)
            .n32(kind);
        answer.0.extend_from_slice(name.as_bytes());
        let length = answer.0.len();
        answer = answer.zeros(length.next_multiple_of(8) - length);
    }
    Ok(answer.0)
}

/// The body of an answer.
#[derive(Default)]
struct Answer(Vec<u8>);

impl Answer {
    fn n64(mut self, number: u64) -> Answer {
        self.0.extend_from_slice(&number.to_ne_bytes());
        self
    }

    fn n32(mut self, number: u32) -> Answer {
        self.0.extend_from_slice(&number.to_ne_bytes());
        self
    }

    fn zeros(mut self, count: usize) -> Answer {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}
