//! Witnesses: clients that number their requests and know each answer byte by byte, while a test harms the server. What they saw is
//! held against the ledger of the application (`tests/apps/ledger.wsgi`): see [`Books`].

mod books;
mod visit;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use books::Books;
pub use visit::{End, Kind, Visit};

use crate::httpd::Httpd;

/// A client of one site, which asks again as soon as it is answered.
#[derive(Clone, Debug)]
pub struct Client {
    site: String,
    kind: Kind,
    pause: Duration,
}

impl Client {
    /// Asks the `ledger.wsgi` that is mounted at `site` ("" for the root).
    pub fn new(site: &str, kind: Kind) -> Client {
        Client {
            site: site.to_owned(),
            kind,
            pause: Duration::ZERO,
        }
    }

    /// Rests that long after each request, so that a small machine has time for the fault.
    #[must_use]
    pub fn resting(mut self, pause: Duration) -> Client {
        self.pause = pause;
        self
    }
}

/// A greeting, an echo of 64 KiB and a stream, for the site at `site`: one client each.
pub fn three(site: &str) -> Vec<Client> {
    [Kind::Run, Kind::Echo, Kind::Stream]
        .map(|kind| Client::new(site, kind).resting(Duration::from_millis(2)))
        .to_vec()
}

struct Shared {
    port: u16,
    book: usize,
    stop: AtomicBool,
    next: AtomicU64,
    answered: AtomicUsize,
    visits: Mutex<Vec<Visit>>,
}

/// Clients at work.
pub struct Witness {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    data: PathBuf,
}

impl Witness {
    /// Starts the clients.
    pub fn start(httpd: &Httpd, clients: &[Client]) -> Witness {
        static BOOKS: AtomicUsize = AtomicUsize::new(1);
        let shared = Arc::new(Shared {
            port: httpd.port(),
            book: BOOKS.fetch_add(1, Ordering::Relaxed),
            stop: AtomicBool::new(false),
            next: AtomicU64::new(1),
            answered: AtomicUsize::new(0),
            visits: Mutex::default(),
        });
        let clients = clients
            .iter()
            .map(|client| {
                let (shared, client) = (Arc::clone(&shared), client.clone());
                std::thread::spawn(move || ask_on(&shared, &client))
            })
            .collect();
        Witness {
            shared,
            clients,
            data: httpd.data(),
        }
    }

    /// How many right answers came so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits until `count` more right answers came.
    pub fn more(&self, count: usize) {
        let goal = self.answered() + count;
        crate::until("more answers under load", Duration::from_secs(60), || {
            self.answered() >= goal
        });
    }

    /// Lets the clients work for so long, and until one of them was answered.
    pub fn work(&self, length: Duration) {
        let since = Instant::now();
        crate::until("time to pass", length + Duration::from_secs(60), || {
            since.elapsed() > length
        });
        self.more(1);
    }

    /// Ends the clients, each after its request, and closes the books.
    pub fn stop(self) -> Books {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client");
        }
        let visits = std::mem::take(&mut *self.shared.visits.lock().expect("visits"));
        Books::close(visits, &self.data, self.shared.book)
    }
}

fn ask_on(shared: &Shared, client: &Client) {
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let visit = Visit::pay(shared.port, &client.site, client.kind, shared.book, number);
        if matches!(visit.end, End::Right { .. }) {
            shared.answered.fetch_add(1, Ordering::Relaxed);
        }
        shared.visits.lock().expect("visits").push(visit);
        std::thread::sleep(client.pause);
    }
}
