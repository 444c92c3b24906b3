//! What breaks, and what holds meanwhile: nothing that was answered 200 ran twice or not at all, nothing that was cut off looks whole,
//! warm sites lose no request, and other sites do not notice. `RWSGI_FAULTS=long` (`make test-faults`) takes all rounds, otherwise
//! a few of each.

mod applications;
mod between;
mod clock;
mod deploys;
mod disks;
mod hanging;
mod httpd;
mod noise;
mod recycling;
mod scale;
mod soak;
mod together;
mod upgrades;
mod workers;

use rwsgi_testkit::witness::Kind;
use rwsgi_testkit::{Builder, Case, Client, Topic};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    applications::tests(topic);
    between::tests(topic);
    clock::tests(topic);
    deploys::tests(topic);
    disks::tests(topic);
    hanging::tests(topic);
    httpd::tests(topic);
    noise::tests(topic);
    recycling::tests(topic);
    scale::tests(topic);
    soak::tests(topic);
    together::tests(topic);
    upgrades::tests(topic);
    workers::tests(topic);
}

/// Serves `ledger.wsgi` at `/site` by the group `site` with these options, and at `/control` by another group that is left alone.
fn beside_control(case: &Case, options: &str) -> Builder {
    case.httpd()
        .bare()
        .script("ledger.wsgi")
        .file("scripts/control.wsgi", ledger())
        .conf(&format!("WSGIDaemonProcess site {options}\nWSGIDaemonProcess control threads=4"))
        .conf("WSGIScriptAlias /site @SCRIPTS@/ledger.wsgi process-group=site application-group=%{GLOBAL}")
        .conf("WSGIScriptAlias /control @SCRIPTS@/control.wsgi process-group=control application-group=%{GLOBAL}")
}

/// The source of `ledger.wsgi`.
fn ledger() -> String {
    std::fs::read_to_string(rwsgi_testkit::test_file("apps/ledger.wsgi")).expect("ledger.wsgi")
}

/// Short requests, a long one, an upload, for `/site`; and somebody who asks the control site.
fn everybody(seconds: u32) -> Vec<Client> {
    let mut clients = rwsgi_testkit::witness::three("/site");
    clients.push(Client::new("/site", Kind::Slow(seconds)));
    clients.push(Client::new("/site", Kind::Upload));
    clients.push(Client::new("/control", Kind::Run).resting(Duration::from_millis(10)));
    clients
}
