//! Steady traffic in the background, for tests that restart something under it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::http::{Reply, Request};
use crate::httpd::Httpd;

/// Clients that ask one after another until told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` clients that GET `path`; each answer must satisfy `right`.
    pub fn start(httpd: &Httpd, path: &str, clients: usize, right: fn(&Reply) -> bool) -> Load {
        let (stop, answered, failures) = (Arc::default(), Arc::default(), Arc::default());
        let url = format!("http://127.0.0.1:{}{path}", httpd.port());
        let clients = (0..clients)
            .map(|_| {
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                let (failures, url) = (Arc::clone(&failures), url.clone());
                std::thread::spawn(move || ask_on(&url, &stop, &answered, &failures, right))
            })
            .collect();
        Load {
            stop,
            answered,
            failures,
            clients,
        }
    }

    /// How many right answers came so far.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until `count` more right answers came.
    pub fn more(&self, count: usize) {
        let goal = self.answered() + count;
        crate::until(
            "more answers under load",
            std::time::Duration::from_secs(30),
            || self.answered() >= goal,
        );
    }

    /// Ends the clients; returns what went wrong, if anything.
    pub fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("client");
        }
        std::mem::take(&mut *self.failures.lock().expect("failures"))
    }
}

fn ask_on(
    url: &str,
    stop: &AtomicBool,
    answered: &AtomicUsize,
    failures: &Mutex<Vec<String>>,
    right: fn(&Reply) -> bool,
) {
    while !stop.load(Ordering::Relaxed) {
        let failure = match Request::new("GET", url, "load").try_send() {
            Ok(reply) if right(&reply) => {
                answered.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Ok(reply) => format!("{}: {}", reply.status, reply.text()),
            Err(why) => why,
        };
        failures.lock().expect("failures").push(failure);
    }
}
