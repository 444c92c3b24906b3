//! A mount namespace of our own, in which the site's users can reach what lies below a private home directory.
//!
//! Root's home is 0700 on many machines, and the repository or the Pythons of pyenv may be in it; workers of other users could
//! not run those. The machine is left alone: only this process and its children see the change.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use crate::{places, pythons, suite};

/// Makes the repository and the Pythons reachable for every user, if we are root and they are not. Must run while the
/// process has one thread. Where the kernel refuses, tests that need it fail with the path in their message.
pub fn make_places_reachable() {
    if !geteuid().is_root() {
        return;
    }
    let mut wanted = vec![places::repository(), places::build_dir()];
    wanted.extend(pythons::pyenv_root());
    let closed: Vec<PathBuf> = wanted.iter().flat_map(|path| closed_directories(path)).collect();
    if closed.is_empty() {
        return;
    }
    if let Err(why) = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| make_private()) {
        eprintln!(
            "no private mount namespace ({why}): {} stays closed to other users",
            closed[0].display()
        );
        return;
    }
    for directory in closed {
        // An earlier one may have opened it already.
        if is_closed(&directory) {
            if let Err(why) = open_up(&directory) {
                eprintln!("could not open {} to other users: {why}", directory.display());
            }
        }
    }
}

/// Runs `work` on a thread of its own for which `path` holds `content`, in a private mount namespace; httpd servers that are
/// started by `work` see the same. Needs root; fails where the kernel refuses.
pub fn with_file_replaced(path: &Path, content: impl AsRef<[u8]>, work: impl FnOnce() + Send) {
    let stand_in = std::env::temp_dir().join(format!(
        "rwsgi-file-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&stand_in, content).expect("write a file");
    std::fs::set_permissions(&stand_in, Permissions::from_mode(0o644)).expect("chmod");
    let outcome = privately(|| {
        bind(&stand_in, path);
        work();
    });
    let _ = std::fs::remove_file(&stand_in);
    hand_on(outcome);
}

/// Runs `work` where the directory of `path` has this file, too: a copy of the directory has it, which takes its place. As
/// [`with_file_replaced`] otherwise.
pub fn with_file_added(path: &Path, content: impl AsRef<[u8]>, work: impl FnOnce() + Send) {
    let directory = path.parent().expect("a directory");
    let copy = std::env::temp_dir().join(format!(
        "rwsgi-copy-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let done = Command::new("cp").arg("-a").arg(directory).arg(&copy).status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "cp {}",
        directory.display()
    );
    let added = copy.join(path.file_name().expect("a name"));
    std::fs::write(&added, content).expect("write a file");
    std::fs::set_permissions(&added, Permissions::from_mode(0o644)).expect("chmod");
    let outcome = privately(|| {
        bind(&copy, directory);
        work();
    });
    let _ = std::fs::remove_dir_all(&copy);
    hand_on(outcome);
}

/// Runs `work` with a directory that can be a root directory: it has the system's programs, libraries and settings and `/proc`, and an
/// empty `srv`. As [`with_file_replaced`] otherwise.
pub fn with_root_directory(work: impl FnOnce(&Path) + Send) {
    let root = std::env::temp_dir().join(format!(
        "rwsgi-root-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir(&root).expect("mkdir");
    let outcome = privately(|| {
        // On a file system that is gone with the namespace: nothing of what is bound there can be removed by mistake.
        let mode = Some("mode=0755");
        mount(Some("tmpfs"), &root, Some("tmpfs"), MsFlags::empty(), mode).expect("tmpfs");
        for name in ["usr", "bin", "lib", "lib64", "etc", "proc"] {
            let (from, to) = (Path::new("/").join(name), root.join(name));
            match std::fs::read_link(&from) {
                Ok(target) => symlink(target, &to).expect("symlink"),
                Err(_) if from.is_dir() => {
                    std::fs::create_dir(&to).expect("mkdir");
                    bind(&from, &to);
                }
                Err(_) => {}
            }
        }
        std::fs::create_dir(root.join("srv")).expect("mkdir");
        work(&root);
    });
    let _ = std::fs::remove_dir(&root);
    hand_on(outcome);
}

/// Runs `work` with a small disk: an empty file system with room for `bytes` and `files`. As [`with_file_replaced`] otherwise.
pub fn with_small_disk(bytes: u32, files: u32, work: impl FnOnce(&Path) + Send) {
    let disk = std::env::temp_dir().join(format!(
        "rwsgi-disk-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir(&disk).expect("mkdir");
    let outcome = privately(|| {
        let options = format!("mode=0755,size={bytes},nr_inodes={files}");
        mount(
            Some("tmpfs"),
            &disk,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .expect("tmpfs");
        work(&disk);
    });
    let _ = std::fs::remove_dir(&disk);
    hand_on(outcome);
}

fn bind(from: &Path, to: &Path) {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("bind mount");
}

pub(crate) type Outcome = std::thread::Result<(std::thread::Result<()>, String)>;

/// Runs `work` on a thread of its own in a mount namespace of its own.
pub(crate) fn privately(work: impl FnOnce() + Send) -> Outcome {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
            make_private().expect("a private mount namespace");
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            (outcome, suite::take_evidence())
        });
        thread.join()
    })
}

pub(crate) fn hand_on(outcome: Outcome) {
    match outcome {
        Ok((Ok(()), _)) => {}
        Ok((Err(payload), evidence)) => {
            suite::evidence(&evidence);
            std::panic::resume_unwind(payload);
        }
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

fn make_private() -> nix::Result<()> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
}

fn closed_directories(path: &Path) -> Vec<PathBuf> {
    let mut closed: Vec<PathBuf> = path
        .ancestors()
        .filter(|ancestor| is_closed(ancestor))
        .map(Path::to_path_buf)
        .collect();
    closed.reverse();
    closed
}

fn is_closed(directory: &Path) -> bool {
    directory
        .metadata()
        .is_ok_and(|meta| meta.is_dir() && meta.mode() & 0o001 == 0)
}

/// Lays an open, empty file system over `directory` and binds each of its entries back.
fn open_up(directory: &Path) -> std::io::Result<()> {
    let entries: Vec<_> = directory.read_dir()?.collect::<Result<_, _>>()?;
    let behind = std::fs::File::open(directory)?;
    let source = PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&behind)
    ));
    mount(
        Some("tmpfs"),
        directory,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )?;
    for entry in entries {
        let kind = entry.file_type()?;
        let (from, to) = (source.join(entry.file_name()), entry.path());
        if kind.is_symlink() {
            symlink(std::fs::read_link(&from)?, &to)?;
            continue;
        }
        if kind.is_dir() {
            std::fs::create_dir(&to)?;
        } else {
            std::fs::write(&to, "")?;
        }
        mount(
            Some(&from),
            &to,
            None::<&str>,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            None::<&str>,
        )?;
    }
    std::fs::set_permissions(directory, Permissions::from_mode(0o755))
}
