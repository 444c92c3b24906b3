//! Safe faces of libc: door 2 of rwsgi, and the only place besides the other doors where `unsafe` may be written.
//!
//! What a face may do: make one system call (or the fixed few that only make sense together), own or borrow descriptors by type,
//! and say in its error which call failed, on what, and why ([`OsError`]). It decides nothing: policy lives with the callers.
//!
//! - [`fd`]: descriptors, pipes, memory files; [`file`]: paths; [`walk`]: directories by descriptor; [`rlimit`]
//! - [`socket`]: unix sockets; [`message`]: bytes, descriptors and credentials over them; [`poll`], [`epoll`]
//! - [`process`], [`spawn`], [`fork`], [`signal`], [`ids`], [`users`], [`capability`], [`cgroup`]
//! - [`clock`]: local time for log lines; [`deadman`]: the end of who hangs; [`dl`]: shared libraries; [`memory`]: what was freed; [`shared`], [`region`]: numbers and bytes that processes share
//! - [`system`]: the calls of a worker's start as a trait; [`fake`]: a double that records their order and can fail each
//!
//! **Between fork and exec** only async-signal-safe calls on data prepared before may run. The one function that forks for an exec is
//! [`spawn::Spawn::start`], so it is safe in processes with threads (httpd's parent may have them through other modules). The one that forks to
//! go on is [`fork::orphan`], which refuses to where there are threads.
//!
//! Every call is restarted on EINTR unless its documentation says otherwise. All descriptors are made close-on-exec.

pub mod capability;
pub mod cgroup;
pub mod clock;
pub mod deadman;
pub mod dl;
pub mod epoll;
pub mod error;
pub mod fake;
pub mod fd;
pub mod file;
pub mod fork;
pub mod ids;
pub mod memory;
pub mod message;
#[cfg(test)]
mod numbers;
pub mod own_log;
pub mod poll;
pub mod process;
pub mod region;
pub mod rlimit;
pub mod shared;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod system;
pub mod usage;
pub mod users;
pub mod walk;

pub use error::OsError;
pub use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
