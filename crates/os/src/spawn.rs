//! Starting another program: fork, lay out the descriptors, exec. Safe in processes with threads.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::process::{Image, Pid, prepare};
use crate::signal::{self, Signal};
use crate::{OsError, fd};

/// A program to start. Its descriptors are exactly those listed, every signal has its default action and none is blocked, its
/// working directory is `/`.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Path of the program.
    pub program: &'a [u8],
    /// Its arguments, the name first.
    pub arguments: &'a [Vec<u8>],
    /// Its environment, `NAME=value`.
    pub environment: &'a [Vec<u8>],
    /// Its descriptors: the first becomes 0, the second 1, and so on. All others are closed.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// The program is killed when the thread that starts it ends.
    pub dies_with_parent: bool,
}

/// Steps of the child that may fail, told with the error number.
const STEPS: [&str; 4] = ["dup2", "close_range", "chdir", "execve"];

impl Spawn<'_> {
    /// Starts it and waits until its exec is done or has failed. The error says which step failed; a failed child is reaped.
    ///
    /// Only async-signal-safe calls run between fork and exec, on data made before.
    pub fn start(&self) -> Result<Pid, OsError> {
        let image = prepare(self.program, self.arguments, self.environment)?;
        let pointers = image.pointers();
        // Copies above all the final numbers, so that no final number overwrites a source still needed.
        let least = RawFd::try_from(self.descriptors.len() + 1).unwrap_or(RawFd::MAX);
        let sources = self
            .descriptors
            .iter()
            .map(|d| fd::duplicate(d, least))
            .collect::<Result<Vec<_>, _>>()?;
        let (report_read, report_write) = fd::pipe()?;
        let report_write = fd::duplicate(report_write, least)?;
        let mask = signal::block_all()?;
        // SAFETY: the child runs `in_child` only, which makes async-signal-safe calls on memory made before and never returns.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let plan = Plan {
                sources: &sources,
                report: report_write.as_raw_fd(),
                image: &image,
                pointers: &pointers,
                dies_with_parent: self.dies_with_parent,
            };
            in_child(&plan);
        }
        let forked = if pid < 0 {
            Err(OsError::last("fork", ""))
        } else {
            Ok(Pid(pid))
        };
        signal::restore(&mask)?;
        drop(report_write);
        let pid = forked?;
        let mut report = [0u8; 5];
        match fd::read(&report_read, &mut report) {
            Ok(5) => {
                let [step, a, b, c, d] = report;
                let call = STEPS.get(usize::from(step)).copied().unwrap_or("execve");
                let _ = crate::process::wait(pid);
                let program = String::from_utf8_lossy(self.program).into_owned();
                Err(OsError::new(call, program, i32::from_ne_bytes([a, b, c, d])))
            }
            // The end without a report: exec has closed the pipe.
            _ => Ok(pid),
        }
    }
}

struct Plan<'a> {
    sources: &'a [std::os::fd::OwnedFd],
    report: RawFd,
    image: &'a Image,
    pointers: &'a [Vec<*const libc::c_char>; 2],
    dies_with_parent: bool,
}

/// Runs in the child between fork and exec.
fn in_child(plan: &Plan<'_>) -> ! {
    signal::reset_in_child();
    if plan.dies_with_parent {
        let _ = crate::process::die_with_parent(Signal::KILL);
    }
    let mut number: RawFd = 0;
    for source in plan.sources {
        // SAFETY: two integers; the sources lie above all targets.
        if unsafe { libc::dup2(source.as_raw_fd(), number) } < 0 {
            report(plan.report, 0);
        }
        number += 1;
    }
    // The report pipe moves to the first free number and stays close-on-exec; everything above goes.
    // SAFETY: three integers.
    if unsafe { libc::dup3(plan.report, number, libc::O_CLOEXEC) } < 0 {
        report(plan.report, 0);
    }
    // SAFETY: three integers.
    if unsafe { libc::syscall(libc::SYS_close_range, number + 1, u32::MAX, 0u32) } < 0 {
        report(number, 1);
    }
    // SAFETY: a C string.
    if unsafe { libc::chdir(c"/".as_ptr()) } < 0 {
        report(number, 2);
    }
    signal::unblock_in_child();
    plan.image.exec_with(plan.pointers);
    report(number, 3)
}

/// Tells the parent which step failed, with errno, and ends the child.
fn report(pipe: RawFd, step: u8) -> ! {
    // SAFETY: the address of this thread's errno is always valid.
    let at = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let [a, b, c, d] = unsafe { at.read() }.to_ne_bytes();
    let bytes = [step, a, b, c, d];
    // SAFETY: the array is readable for its length.
    unsafe { libc::write(pipe, bytes.as_ptr().cast(), bytes.len()) };
    crate::process::exit_now(127)
}

/// Starts `program` (rwsgi's manager) with `control` as descriptor 3 and `log` as descriptors 1 and 2, from a process that may have threads (httpd's
/// parent); answers its process id once exec has succeeded. `control` should be one end of a SEQPACKET
/// [pair](crate::socket::pair) with [credentials](crate::socket::pass_credentials) on. The environment is `TZ` alone, if
/// given.
pub fn spawn_manager(
    program: &[u8],
    control: impl AsFd,
    log: impl AsFd,
    time_zone: Option<&[u8]>,
) -> Result<Pid, OsError> {
    let null = crate::file::null()?;
    let environment: Vec<Vec<u8>> = time_zone.map(|tz| [b"TZ=", tz].concat()).into_iter().collect();
    Spawn {
        program,
        arguments: &[b"rwsgi-manager".to_vec()],
        environment: &environment,
        descriptors: &[null.as_fd(), log.as_fd(), log.as_fd(), control.as_fd()],
        dies_with_parent: false,
    }
    .start()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{End, wait};

    fn run(script: &str, extra: &[BorrowedFd<'_>]) -> Result<Pid, OsError> {
        let null = crate::file::null().unwrap();
        let mut descriptors = vec![null.as_fd(), null.as_fd(), null.as_fd()];
        descriptors.extend_from_slice(extra);
        Spawn {
            program: b"/bin/sh",
            arguments: &[b"sh".to_vec(), b"-c".to_vec(), script.as_bytes().to_vec()],
            environment: &[b"A=1".to_vec()],
            descriptors: &descriptors,
            dies_with_parent: true,
        }
        .start()
    }

    // R2
    #[test]
    fn the_program_has_the_listed_descriptors_the_listed_environment_and_no_other() {
        let (read_end, write_end) = fd::pipe().unwrap();
        let pid = run(
            "echo $(cd /proc/self/fd; echo *) $A $HOME >&3",
            &[write_end.as_fd()],
        )
        .unwrap();
        drop(write_end);
        assert_eq!(wait(pid).unwrap(), End::Exit(0));
        let mut buffer = [0; 100];
        let n = fd::read(&read_end, &mut buffer).unwrap();
        let said = String::from_utf8_lossy(&buffer[..n]).into_owned();
        // The command substitution itself has 1 as its pipe; nothing above 3 exists (sh may hold 10 for its own script).
        assert!(said.starts_with("0 1 2 3"), "{said}");
        assert!(said.trim_end().ends_with(" 1"), "{said}");
    }

    #[test]
    fn a_program_that_cannot_be_executed_is_an_error_here() {
        let null = crate::file::null().unwrap();
        let spawn = Spawn {
            program: b"/nonexistent/program",
            arguments: &[b"x".to_vec()],
            environment: &[],
            descriptors: &[null.as_fd()],
            dies_with_parent: false,
        };
        let e = spawn.start().unwrap_err();
        assert_eq!((e.call, e.errno), ("execve", libc::ENOENT));
    }
}
