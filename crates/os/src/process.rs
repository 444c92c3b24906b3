//! Processes: their ends, signals to them, and what one may say about itself.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::error::{c_path, retry};
use crate::fd::own;
use crate::signal::Signal;
use crate::usage::{self, Usage};
use crate::{OsError, fd, file};

/// A process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(pub i32);

impl std::fmt::Display for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// This process (`getpid`).
pub fn this() -> Pid {
    // SAFETY: no arguments, cannot fail.
    Pid(unsafe { libc::getpid() })
}

/// The parent of this process (`getppid`).
pub fn parent() -> Pid {
    // SAFETY: no arguments, cannot fail.
    Pid(unsafe { libc::getppid() })
}

/// A descriptor of a process that becomes readable when it ends, and never names another one (`pidfd_open`). ESRCH: no such process.
pub fn open(pid: Pid) -> Result<OwnedFd, OsError> {
    // SAFETY: two integers; by syscall number because older C libraries lack the wrapper.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0u32) };
    match i32::try_from(fd) {
        Ok(fd) if fd >= 0 => Ok(own(fd)),
        _ => Err(OsError::last("pidfd_open", format!("process {pid}"))),
    }
}

/// Sends a signal to the process of a [pidfd](open) (`pidfd_send_signal`). ESRCH: it has ended.
pub fn signal(pidfd: impl AsFd, signal: Signal) -> Result<(), OsError> {
    // SAFETY: integers and a null siginfo, which means "as kill does".
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal.0,
            std::ptr::null::<libc::siginfo_t>(),
            0u32,
        )
    };
    if done < 0 {
        Err(OsError::last("pidfd_send_signal", ""))
    } else {
        Ok(())
    }
}

/// Sends a signal to every process of a group (`kill` of the negative id). ESRCH: none is left. Only for groups whose leader has not
/// been reaped yet, else the number may be another's.
pub fn signal_group(leader: Pid, signal: Signal) -> Result<(), OsError> {
    if leader.0 <= 1 {
        return Err(OsError::new(
            "kill",
            format!("process group {leader}"),
            libc::EINVAL,
        ));
    }
    // SAFETY: two integers.
    let done = unsafe { libc::kill(-leader.0, signal.0) };
    if done < 0 {
        Err(OsError::last("kill", format!("process group {leader}")))
    } else {
        Ok(())
    }
}

/// Sends a signal to a child that has not been reaped (`kill`), so its number cannot be another's. ESRCH otherwise.
pub fn signal_child(child: Pid, signal: Signal) -> Result<(), OsError> {
    if child.0 <= 1 {
        return Err(OsError::new("kill", format!("process {child}"), libc::EINVAL));
    }
    // SAFETY: two integers.
    let done = unsafe { libc::kill(child.0, signal.0) };
    if done < 0 {
        Err(OsError::last("kill", format!("process {child}")))
    } else {
        Ok(())
    }
}

/// Whether a process has this number, be it one that has ended and was not reaped (`kill` with signal 0).
pub fn exists(pid: Pid) -> bool {
    // SAFETY: two integers.
    pid.0 > 0 && (unsafe { libc::kill(pid.0, 0) } == 0 || OsError::last("kill", "").errno != libc::ESRCH)
}

/// A child that has ended, leaving it to be reaped (`waitid` with WNOWAIT). `None`: none has, or there are no children.
pub fn ended_child() -> Result<Option<Pid>, OsError> {
    // SAFETY: all zeroes is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is writable.
    let done = retry("waitid", || unsafe {
        libc::waitid(
            libc::P_ALL,
            0,
            &raw mut info,
            libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
        )
    });
    match done {
        Err(e) if e.errno == libc::ECHILD => return Ok(None),
        other => other?,
    };
    // SAFETY: waitid has filled the structure, or left it zero.
    let pid = unsafe { info.si_pid() };
    Ok(Some(Pid(pid)).filter(|p| p.0 != 0))
}

/// Whether a process is a child of this one that has not been reaped, ended or not (`waitid` with WNOWAIT).
pub fn is_child(pid: Pid) -> bool {
    // SAFETY: all zeroes is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let id = libc::id_t::try_from(pid.0).unwrap_or(0);
    // SAFETY: the structure is writable.
    id > 0
        && retry("waitid", || unsafe {
            libc::waitid(libc::P_PID, id, &raw mut info, flags)
        })
        .is_ok()
}

/// Orphaned descendants become children of this process instead of init's (`prctl(PR_SET_CHILD_SUBREAPER)`).
pub fn adopt_orphans() -> Result<(), OsError> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, "PR_SET_CHILD_SUBREAPER")
}

/// Reaps a child if it has ended (`wait4` with WNOHANG). ECHILD: not a child, or reaped already.
pub fn reap(pid: Pid) -> Result<Option<End>, OsError> {
    Ok(wait_with(pid, libc::WNOHANG)?.map(|(end, _)| end))
}

/// As [`reap`], with what it and the children that it waited for have used.
pub fn reap_with_usage(pid: Pid) -> Result<Option<(End, Usage)>, OsError> {
    wait_with(pid, libc::WNOHANG)
}

/// Reaps any child that has ended; `None`: there are some, and none has. ECHILD: there are none.
pub fn reap_any() -> Result<Option<End>, OsError> {
    const ANY: Pid = Pid(-1);
    reap(ANY)
}

/// Waits for a child to end and reaps it (`wait4`).
pub fn wait(pid: Pid) -> Result<End, OsError> {
    loop {
        if let Some((end, _)) = wait_with(pid, 0)? {
            return Ok(end);
        }
    }
}

fn wait_with(pid: Pid, flags: libc::c_int) -> Result<Option<(End, Usage)>, OsError> {
    let mut status = 0;
    // SAFETY: all zeroes is a valid rusage.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: status and usage are writable.
    let got = retry("wait4", || unsafe {
        libc::wait4(pid.0, &raw mut status, flags, &raw mut used)
    })?;
    let end = match got {
        0 => return Ok(None),
        _ if libc::WIFEXITED(status) => End::Exit(libc::WEXITSTATUS(status)),
        _ if libc::WIFSIGNALED(status) => End::Signal(libc::WTERMSIG(status)),
        _ => return Ok(None),
    };
    Ok(Some((end, usage::from_c(&used))))
}

/// Becomes the leader of a new session and process group (`setsid`). EPERM: it leads a group already.
pub fn new_session() -> Result<(), OsError> {
    // SAFETY: no arguments.
    let done = unsafe { libc::setsid() };
    if done < 0 {
        Err(OsError::last("setsid", ""))
    } else {
        Ok(())
    }
}

/// This process gets `signal` when the thread that made it ends (`prctl(PR_SET_PDEATHSIG)`). A change of credentials clears it, so it
/// comes after; and the parent may have ended before, so compare [`parent`] afterwards.
pub fn die_with_parent(signal: Signal) -> Result<(), OsError> {
    prctl(
        libc::PR_SET_PDEATHSIG,
        signal.0 as libc::c_ulong,
        "PR_SET_PDEATHSIG",
    )
}

/// Takes back [`die_with_parent`].
pub fn outlive_parent() -> Result<(), OsError> {
    prctl(libc::PR_SET_PDEATHSIG, 0, "PR_SET_PDEATHSIG")
}

/// When a process was started, in clock ticks since the machine was, and its real user id, as `/proc` says: with its number they name
/// one process for ever. ESRCH: there is none.
pub fn birth(pid: Pid) -> Result<(u64, u32), OsError> {
    let start = said_of(pid, "stat").and_then(|stat| behind_the_name(&stat)?.nth(19)?.parse().ok());
    let uid = said_of(pid, "status").and_then(|status| {
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        ids.split_ascii_whitespace().next()?.parse().ok()
    });
    start
        .zip(uid)
        .ok_or_else(|| OsError::new("read", format!("/proc/{pid}"), libc::ESRCH))
}

/// The parent that a process has now, as `/proc` says; `None` when there is no such process.
pub fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = said_of(pid, "stat")?;
    behind_the_name(&stat)?.nth(1)?.parse().ok().map(Pid)
}

/// What `/proc` says of a process.
fn said_of(pid: Pid, name: &str) -> Option<String> {
    let path = format!("/proc/{pid}/{name}");
    let bytes = file::open(path.as_bytes(), file::Links::Follow).and_then(|f| fd::read_all(&f, 1 << 16));
    Some(String::from_utf8_lossy(&bytes.ok()?).into_owned())
}

/// The fields of `stat` behind the name, which is in parentheses and may hold anything: state, parent and, as the 20th, the start.
fn behind_the_name(stat: &str) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let end = stat.rfind(')')?;
    Some(stat.get(end + 1..)?.split_ascii_whitespace())
}

/// Which process a [pidfd](open) names, as `/proc` says; `None` when it has ended and been reaped, or that cannot be known.
pub fn named_by(pidfd: impl AsFd) -> Option<Pid> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let info = file::open(path.as_bytes(), file::Links::Follow).and_then(|f| fd::read_all(&f, 1 << 12));
    let info = String::from_utf8(info.ok()?).ok()?;
    let number = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    number.trim().parse().ok().filter(|pid| *pid > 0).map(Pid)
}

/// No exec can give this process or its children more privilege, for ever (`prctl(PR_SET_NO_NEW_PRIVS)`). It is read back: EPERM when it
/// is not so.
pub fn no_new_privileges() -> Result<(), OsError> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS")?;
    // SAFETY: integers only.
    if unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } == 1 {
        return Ok(());
    }
    Err(OsError::new("prctl", "PR_SET_NO_NEW_PRIVS", libc::EPERM))
}

/// Whether others of the same user may look into this process, and whether it may leave a core (`prctl(PR_SET_DUMPABLE)`).
pub fn set_dumpable(on: bool) -> Result<(), OsError> {
    prctl(libc::PR_SET_DUMPABLE, on.into(), "PR_SET_DUMPABLE")
}

fn prctl(option: libc::c_int, value: libc::c_ulong, name: &'static str) -> Result<(), OsError> {
    let zero: libc::c_ulong = 0;
    // SAFETY: integers only, for each option this file passes.
    let done = unsafe { libc::prctl(option, value, zero, zero, zero) };
    if done < 0 {
        Err(OsError::last("prctl", name))
    } else {
        Ok(())
    }
}

/// Sets the file mode creation mask and answers the previous one (`umask`).
pub fn umask(mask: u32) -> u32 {
    // SAFETY: one integer, cannot fail.
    unsafe { libc::umask(mask & 0o777) }
}

/// Changes the working directory (`chdir`).
pub fn change_directory(path: &[u8]) -> Result<(), OsError> {
    let c = c_path("chdir", path)?;
    // SAFETY: the path is a C string.
    let done = unsafe { libc::chdir(c.as_ptr()) };
    if done < 0 {
        Err(OsError::last_on("chdir", path))
    } else {
        Ok(())
    }
}

/// Replaces the program of this process (`execve`); comes back only with an error. Descriptors without close-on-exec stay open.
/// EINVAL: an argument holds a NUL.
pub fn exec(program: &[u8], arguments: &[Vec<u8>], environment: &[Vec<u8>]) -> OsError {
    match prepare(program, arguments, environment) {
        Ok(image) => image.exec(),
        Err(e) => e,
    }
}

/// Program, arguments and environment as C wants them, made before fork.
pub(crate) struct Image {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

pub(crate) fn prepare(
    program: &[u8],
    arguments: &[Vec<u8>],
    environment: &[Vec<u8>],
) -> Result<Image, OsError> {
    let all = |list: &[Vec<u8>]| {
        list.iter()
            .map(|a| c_path("execve", a))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(Image {
        program: c_path("execve", program)?,
        arguments: all(arguments)?,
        environment: all(environment)?,
    })
}

impl Image {
    /// The lists of pointers, which borrow `self`.
    pub(crate) fn pointers(&self) -> [Vec<*const libc::c_char>; 2] {
        [&self.arguments, &self.environment].map(|list| {
            let ends = std::iter::once(std::ptr::null());
            list.iter().map(|c| c.as_ptr()).chain(ends).collect()
        })
    }

    /// Exec with pointers made before; async-signal-safe. Comes back only on failure, with `errno` set.
    pub(crate) fn exec_with(&self, pointers: &[Vec<*const libc::c_char>; 2]) {
        let [arguments, environment] = pointers;
        // SAFETY: a C string and two null-terminated lists of C strings, all owned by `self`, which outlives the call.
        unsafe { libc::execve(self.program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    }

    fn exec(&self) -> OsError {
        let pointers = self.pointers();
        self.exec_with(&pointers);
        OsError::last_on("execve", self.program.as_bytes())
    }
}

/// Makes a directory the root directory of this process (`chroot`), and enters it.
pub fn change_root(path: &[u8]) -> Result<(), OsError> {
    let c = c_path("chroot", path)?;
    // SAFETY: the path ends in NUL and lives through the call.
    if unsafe { libc::chroot(c.as_ptr()) } < 0 {
        return Err(OsError::last(
            "chroot",
            String::from_utf8_lossy(path).into_owned(),
        ));
    }
    change_directory(b"/")
}

/// From now on the kernel takes this process, and what it starts, before the one that has started it, when memory runs out: as if it used a
/// fifth of the machine's more (`/proc/self/oom_score_adj`; below 0 counts as 0). Where that cannot be written nothing is done, unless the
/// kernel would spare this process.
pub fn be_killed_first() -> Result<(), OsError> {
    const PATH: &[u8] = b"/proc/self/oom_score_adj";
    const MORE: i32 = 200;
    const MOST: i32 = 1000;
    let read = file::open(PATH, file::Links::Follow).and_then(|opened| fd::read_all(&opened, 64));
    let Ok(score) = read else {
        return Ok(());
    };
    let score = String::from_utf8_lossy(&score).trim().parse().unwrap_or(0);
    let higher = MOST.min(MORE + 0.max(score)).to_string();
    match file::open_to_write(PATH).and_then(|opened| fd::write_all(&opened, higher.as_bytes())) {
        Err(_) if score >= 0 => Ok(()),
        other => other,
    }
}

/// Sets the nice value of this process (`setpriority`). EACCES: a better one than it has, without the privilege.
pub fn set_priority(nice: i32) -> Result<(), OsError> {
    // SAFETY: integers; 0 is this process.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } < 0 {
        return Err(OsError::last("setpriority", nice.to_string()));
    }
    Ok(())
}

/// Ends this process at once, running nothing registered for its end (`_exit`).
pub fn exit_now(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll;

    #[test]
    fn the_end_of_a_child_is_seen_before_it_is_reaped_and_its_cause_after() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid(child.id() as i32);
        let pidfd = open(pid).unwrap();
        assert_eq!(reap(pid).unwrap(), None);
        signal(&pidfd, Signal::KILL).unwrap();
        assert!(poll::readable(&pidfd, None).unwrap());
        // Other tests of this process have children too, so only "some child has ended" can be said here.
        assert!(ended_child().unwrap().is_some());
        assert_eq!(reap(pid).unwrap(), Some(End::Signal(libc::SIGKILL)));
        assert_eq!(reap(pid).unwrap_err().errno, libc::ECHILD);
        let _ = child.wait();
    }

    // R71
    #[test]
    fn a_process_is_named_by_number_start_and_user() {
        let own = birth(this()).unwrap();
        assert_eq!(own, birth(this()).unwrap());
        assert_eq!(own.1, crate::ids::user_ids().real);
        assert_eq!(birth(Pid(i32::MAX)).unwrap_err().errno, libc::ESRCH);
        assert_eq!(named_by(open(this()).unwrap()), Some(this()));
        assert_eq!(parent_of(this()), Some(parent()));
        assert_eq!(parent_of(Pid(i32::MAX)), None);
        assert_eq!(named_by(fd::event().unwrap()), None);
    }

    // R69
    #[test]
    fn a_group_signal_to_everybody_is_refused() {
        assert_eq!(
            signal_group(Pid(1), Signal::TERM).unwrap_err().errno,
            libc::EINVAL
        );
        assert_eq!(
            signal_group(Pid(-1), Signal::TERM).unwrap_err().errno,
            libc::EINVAL
        );
    }
}
