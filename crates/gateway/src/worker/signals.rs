//! The signals of a worker, as Python's handlers announce them: one byte each, in a pipe.

use std::os::fd::OwnedFd;

use rwsgi_os::fd;
use rwsgi_os::signal::Signal;
use rwsgi_wire::life::{LeaveReason, Life};

/// The next signal; `None` when there is none now. `Err`: none can be received any more.
pub fn next(pipe: &OwnedFd) -> Result<Option<Signal>, ()> {
    let mut byte = [0];
    match fd::read(pipe, &mut byte) {
        Ok(1) => Ok(Some(Signal(byte[0].into()))),
        Err(error) if error.is_would_block() => Ok(None),
        _ => Err(()),
    }
}

/// What a signal asks for; `None`: it does not end a worker.
pub fn reason(signal: Signal, life: &Life) -> Option<LeaveReason> {
    match signal {
        Signal::TERM | Signal::INT => Some(LeaveReason::ShutdownSignal),
        Signal::USR1 if life.eviction_timeout > 0 => Some(LeaveReason::EvictionSignal),
        Signal::USR1 => Some(LeaveReason::GracefulSignal),
        Signal::XCPU => Some(LeaveReason::CpuTimeLimit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_has_its_reason_and_some_have_none() {
        let mut life = Life::default();
        assert_eq!(reason(Signal::TERM, &life), Some(LeaveReason::ShutdownSignal));
        assert_eq!(reason(Signal::USR1, &life), Some(LeaveReason::GracefulSignal));
        life.eviction_timeout = 1;
        assert_eq!(reason(Signal::USR1, &life), Some(LeaveReason::EvictionSignal));
        assert_eq!(reason(Signal::XCPU, &life), Some(LeaveReason::CpuTimeLimit));
        assert_eq!(
            (reason(Signal::HUP, &life), reason(Signal::USR2, &life)),
            (None, None)
        );
    }

    #[test]
    fn signals_are_read_one_by_one_until_the_pipe_breaks() {
        let (reading, writing) = fd::pipe().unwrap();
        fd::set_nonblocking(&reading, true).unwrap();
        assert_eq!(next(&reading), Ok(None));
        fd::write_all(&writing, &[15, 10]).unwrap();
        assert_eq!(next(&reading), Ok(Some(Signal::TERM)));
        assert_eq!(next(&reading), Ok(Some(Signal::USR1)));
        drop(writing);
        assert_eq!(next(&reading), Err(()));
    }
}
