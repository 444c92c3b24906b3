//! `ctl.sock`: administrators ask, with `rwsgictl`, what there is, and give orders.
//!
//! One question is one packet and has one answer, which is sent at once or not at all: who does not read loses the connection. Nothing is
//! remembered between two questions, and each turn of the loop reads one of each connection, so that nobody who is slow, silent or endless
//! holds the manager (R37, R62).

use std::collections::HashMap;
use std::time::Instant;

use rwsgi_os::socket;
use rwsgi_os::{OwnedFd, message};
use rwsgi_wire::admin::{Query, Report, part};
use rwsgi_wire::limits::CONTROL_MAX;
use rwsgi_wire::response::Level;

use crate::codes;
use crate::supervise::{Manager, Token, is_due};

/// Most connections at once; then the one that has been silent for longest makes room.
const ADMINISTRATORS_MAX: usize = 8;

/// Those who are connected.
#[derive(Default)]
pub(crate) struct Administrators {
    connected: HashMap<u64, Administrator>,
    /// When a foreign or malformed one was last told of.
    told: Option<Instant>,
}

struct Administrator {
    socket: OwnedFd,
    /// When it connected or was last heard.
    heard: Instant,
}

impl Manager {
    /// Somebody has connected. The mode of the socket keeps others than root out; that it is root is asked all the same.
    pub(crate) fn welcome_administrator(&mut self, socket: OwnedFd) {
        let uid = socket::peer(&socket).map_or(u32::MAX, |peer| peer.uid);
        if uid != 0 && uid != self.uid {
            if is_due(&mut self.administrators.told) {
                let text =
                    format!("a process of uid {uid} connected to the manager's ctl.sock; only root may");
                self.log.say(Level::Warn, codes::FOREIGN_ADMINISTRATOR, &text);
            }
            return;
        }
        let others = &mut self.administrators.connected;
        if others.len() >= ADMINISTRATORS_MAX {
            let silent = others.iter().min_by_key(|(_, other)| other.heard);
            let silent = silent.map(|(id, _)| *id);
            silent.and_then(|id| others.remove(&id));
        }
        let id = self.fresh_id();
        if self.watch(&socket, Token::Administrator(id)).is_ok() {
            let heard = Instant::now();
            self.administrators
                .connected
                .insert(id, Administrator { socket, heard });
        }
    }

    /// A question, or the end of a connection.
    pub(crate) fn on_administrator(&mut self, id: u64) {
        let Some(administrator) = self.administrators.connected.get_mut(&id) else {
            return;
        };
        administrator.heard = Instant::now();
        let mut buffer = vec![0; CONTROL_MAX];
        let query = match message::receive_packet(&administrator.socket, &mut buffer) {
            Err(e) if e.is_would_block() => return,
            Ok(got) if got.len > 0 && !got.truncated && got.fds.is_empty() => {
                Query::decode(buffer.get(..got.len).unwrap_or_default()).map_err(|e| e.to_string())
            }
            Ok(got) if got.len > 0 => Err("a descriptor came along, or it is too long".to_owned()),
            _ => {
                self.administrators.connected.remove(&id);
                return;
            }
        };
        let (report, is_over) = match query {
            Ok(query) => (self.report(&query), false),
            Err(why) => {
                if is_due(&mut self.administrators.told) {
                    let text =
                        format!("a question on ctl.sock cannot be read ({why}); its connection is closed");
                    self.log.say(Level::Warn, codes::MALFORMED_QUERY, &text);
                }
                (Report::Unread(why.into_bytes()), true)
            }
        };
        let Some(administrator) = self.administrators.connected.get(&id) else {
            return;
        };
        let sent = message::try_send(&administrator.socket, &report.encode());
        if sent.is_err() || is_over {
            self.administrators.connected.remove(&id);
        }
    }

    fn report(&mut self, query: &Query) -> Report {
        match query {
            Query::Server => Report::Server(self.server_report()),
            Query::Groups { after } => Report::Groups(part(self.group_reports(after))),
            Query::Pools { after } => {
                let ids = numbers_after(self.pools.keys(), *after);
                Report::Pools(part(ids.into_iter().filter_map(|id| self.pool_report(id))))
            }
            Query::Workers { after } => {
                let ids = numbers_after(self.workers.keys(), *after);
                Report::Workers(part(ids.into_iter().filter_map(|id| self.worker_report(id))))
            }
            Query::Incidents { after } => Report::Incidents(part(self.incident_reports(*after))),
            Query::PoolSettings { pool } => settings(self.settings_of_pool(*pool)),
            Query::GroupSettings { name } => settings(self.settings_of_group(name)),
            Query::Restart { pool } => self.order_restart(*pool),
            Query::Stop { pool } => self.order_stop(*pool),
        }
    }
}

fn settings(group: Option<rwsgi_wire::control::Group>) -> Report {
    group.map_or(Report::Gone, |group| Report::Settings(Box::new(group)))
}

/// The numbers above this one, the lowest first.
fn numbers_after<'a>(all: impl Iterator<Item = &'a u64>, after: u64) -> Vec<u64> {
    let mut later: Vec<u64> = all.copied().filter(|id| *id > after).collect();
    later.sort_unstable();
    later
}
