//! What hosted code, a conquered httpd child and other users of the machine try, and get nothing from. The numbers are those of
//! `docs/security.md`. `RWSGI_FAULTS=long` (`make test-faults`) tries everything, otherwise a part of it.

mod evil_worker;
mod inherited;
mod inside;
mod key_hunt;
mod manager;
mod neighbour;
mod noisy;
mod racer;
mod rogue_child;
mod sockets;
mod systemd;

use rwsgi_testkit::{Builder, Case, Topic};

pub fn tests(topic: &mut Topic) {
    evil_worker::tests(topic);
    inherited::tests(topic);
    inside::tests(topic);
    key_hunt::tests(topic);
    manager::tests(topic);
    neighbour::tests(topic);
    noisy::tests(topic);
    racer::tests(topic);
    rogue_child::tests(topic);
    sockets::tests(topic);
    systemd::tests(topic);
}

/// A user and group that every Debian and Fedora has, and that are nobody's login.
const USER: &str = "games";

/// The processes of another user than httpd's serve the application.
fn hosted(case: &Case, options: &str) -> Builder {
    case.needs_root();
    case.httpd()
        .daemon(&format!("user={USER} group={USER} {options}"))
}
