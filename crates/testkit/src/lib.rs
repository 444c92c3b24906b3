//! Fixtures for the integration tests: a private httpd per test, clients, and the checks after each test.
//!
//! A test is a function that takes a [`Case`]; [`Topic`] registers it for daemon mode, embedded mode, both or neither. It
//! starts its own [`Httpd`] (own server root, own port, own process family). When the fixture is dropped it stops httpd and
//! fails the test when the error log holds a warning that the test did not announce, or when a process, a zombie, a socket
//! file or a descriptor is left over.
//!
//! The same tests run against the module built here and against the original mod_wsgi ([`UnderTest`]); where the
//! two differ on purpose the test says so with [`Case::theirs`].
//!
//! Not here: what is tested (`tests/it`) and the applications that are served (`tests/apps`).

mod case;
mod cgroup;
mod conf;
mod curl;
mod error_log;
mod family;
mod hanging_disk;
mod http;
mod httpd;
mod load;
mod namespace;
mod outcomes;
mod places;
mod poll;
mod ports;
mod pythons;
mod raw;
mod root;
mod suite;
pub mod witness;

pub use case::{Case, Mode, UnderTest};
pub use cgroup::{groups_below, members_of};
pub use conf::{Builder, httpd_user, mpm};
pub use curl::{Curl, CurlReply};
pub use error_log::Line;
pub use family::{Process, processes_running};
pub use hanging_disk::{HangingDisk, with_hanging_disk};
pub use http::{Reply, Request};
pub use httpd::Httpd;
pub use load::Load;
pub use namespace::{with_file_added, with_file_replaced, with_root_directory, with_small_disk};
pub use nix::sys::signal::Signal;
pub use places::{apps_python, apps_venv, build_dir, repository, test_file};
pub use poll::{until, until_some};
pub use pythons::{Python, python, venv_of};
pub use raw::{Head, Raw, RawReply};
pub use serde_json::{Value, json};
pub use suite::{Suite, Test, Topic};
pub use witness::{Books, Client, Witness};

/// Reads JSON; panics with the text when it is none.
pub fn from_slice(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|why| panic!("not JSON ({why}): {}", String::from_utf8_lossy(bytes)))
}

/// Bytes that count up to `period`, at most 256, and begin anew: it shows when some are missing or in another place.
pub fn counting(period: usize, count: usize) -> Vec<u8> {
    let one: Vec<u8> = (0..=u8::MAX).take(period).collect();
    let mut bytes = one.repeat(count.div_ceil(period));
    bytes.truncate(count);
    bytes
}

/// Names a test function for [`Topic`]: the function's name is the test's name.
#[macro_export]
macro_rules! test {
    ($($function:ident),+ $(,)?) => {
        &[$($crate::Test::new(stringify!($function), $function)),+]
    };
}
