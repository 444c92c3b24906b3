//! What can end ends at once: managers, children of httpd and workers, while versions change and some of them are broken. N1, N2, N3

use super::{beside_control, ledger};
use crate::codes;
use crate::crash::next_manager;
use rwsgi_testkit::witness::{End, three};
use rwsgi_testkit::{Books, Case, Httpd, Process, Signal, Topic, Witness, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![f26_what_ends_together_loses_only_what_it_was_executing,]);
}

const SLOW: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    Graceful,
    NewVersion,
    BrokenVersion,
    KillChild,
    KillWorker,
    StopManager,
    Nothing,
}

const IN_TURN: [Harm; 7] = [
    Harm::KillWorker,
    Harm::Graceful,
    Harm::NewVersion,
    Harm::KillChild,
    Harm::BrokenVersion,
    Harm::StopManager,
    Harm::Nothing,
];

fn harm(httpd: &Httpd, harm: Harm, round: usize) {
    let version = |text: &str| httpd.rewrite_script("ledger.wsgi", &format!("{text}# {round}\n"));
    match harm {
        Harm::Graceful => httpd.graceful(),
        Harm::NewVersion => version(&ledger()),
        Harm::BrokenVersion => version("raise ValueError('broken')\n"),
        Harm::KillChild => {
            let children = httpd.children();
            if let Some(child) = children.get(round % children.len().max(1)) {
                child.signal(Signal::SIGKILL);
            }
        }
        Harm::KillWorker => {
            let worker = httpd.get("/site/run?0-1");
            let worker = worker.header("x-pid").and_then(|pid| pid.parse().ok());
            if let Some(worker) = worker.and_then(Process::read) {
                worker.signal(Signal::SIGKILL);
            }
        }
        Harm::StopManager => {
            // Not for so long that anybody takes it for dead.
            let manager = httpd.manager().expect("a manager");
            manager.signal(Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(300));
            manager.signal(Signal::SIGCONT);
        }
        Harm::Nothing => {}
    }
}

/// What failed of `site`: cut off as often as `killed` allows, and otherwise with a 502 if workers were killed, nothing else.
fn lost_at_most(books: &Books, site: &str, killed: usize, workers: bool) {
    let all = books.failures();
    let of_site: Vec<_> = all.iter().filter(|visit| visit.site == site).collect();
    let is_loss = |end: &End| match end {
        End::Cut => true,
        End::Status { code: 502, .. } => workers,
        _ => false,
    };
    let others: Vec<_> = of_site
        .iter()
        .filter(|visit| !is_loss(&visit.end))
        .take(10)
        .collect();
    assert!(others.is_empty(), "{site}: {others:#?}");
    assert!(
        of_site.len() <= killed,
        "{site}: {} of at most {killed}",
        of_site.len()
    );
}

/// F33, F35, F19, F7, F1, N1: with managers that are killed each time.
fn f26_what_ends_together_loses_only_what_it_was_executing(case: &Case) {
    case.needs_ours("it has no manager");
    case.may_take(Duration::from_secs(case.rounds(240, 2400) as u64));
    let httpd = beside_control(case, "processes=2 threads=4")
        .children(4)
        .file("scripts/recycled.wsgi", ledger())
        .conf("WSGIDaemonProcess recycled processes=2 threads=2 maximum-requests=7")
        .conf("WSGIScriptAlias /recycled @SCRIPTS@/recycled.wsgi process-group=recycled application-group=%{GLOBAL}")
        .start();
    httpd.announce_traceback();
    httpd.announce("AH00052");
    httpd.announce("AH03490");
    // prefork has fewer children than there are clients.
    httpd.announce("AH00161");
    httpd.provoked(&[
        codes::MANAGER,
        codes::DEATH,
        codes::APPLICATION,
        codes::OLD_VERSION,
    ]);
    let sites = ["/site", "/recycled", "/control"];
    let clients: Vec<_> = sites.iter().flat_map(|site| three(site)).collect();
    let witness = Witness::start(&httpd, &clients);
    witness.more(60);
    let rounds = case.rounds(7, 200);
    let (mut children, mut workers) = (0, 0);
    for round in 0..rounds {
        let what = IN_TURN[round % IN_TURN.len()];
        harm(&httpd, what, round);
        children += usize::from(what == Harm::KillChild);
        workers += usize::from(what == Harm::KillWorker);
        // Managers die at moments that nobody chooses.
        std::thread::sleep(Duration::from_millis(round as u64 * 37 % 200));
        next_manager(&httpd);
        // A version that does not load is no state to stay in: whoever dies in it has no successor.
        if what == Harm::BrokenVersion {
            harm(&httpd, Harm::NewVersion, round);
        }
        witness.more(20);
    }
    // Of the two that were there, whatever has happened to them.
    until("all workers to be there, and no other", SLOW, || {
        httpd.workers().len() == 5
    });
    witness.more(60);
    let books = witness.stop();
    books.balance();
    println!(
        "{rounds} managers, {children} children and {workers} workers killed: {} requests, {} lost",
        books.visits().len(),
        books.failures().len()
    );
    lost_at_most(&books, "/control", 3 * children, false);
    lost_at_most(&books, "/recycled", 3 * children, false);
    lost_at_most(&books, "/site", 3 * (children + workers), true);
    assert_eq!(
        books.pids("/control").len(),
        1,
        "the same worker, whatever has died"
    );
}
