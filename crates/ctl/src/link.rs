//! The connection to a manager.

use std::time::Duration;

use rwsgi_os::socket::{self, Kind};
use rwsgi_os::{OsError, OwnedFd, ids, message};
use rwsgi_wire::admin::{GroupReport, Incident, PoolReport, Query, Report, Server, WorkerReport};
use rwsgi_wire::control::Group;
use rwsgi_wire::limits::CONTROL_MAX;
use rwsgi_wire::text::escape;

use crate::failure::Failure;
use crate::places::directory_of;

/// How long the manager may take to take a connection, and for each answer. It needs milliseconds.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct Link {
    socket: OwnedFd,
    path: Vec<u8>,
    pub(crate) server: Server,
}

impl Link {
    /// Connects to the socket of this path, and makes sure that it is a manager of root, or of this user.
    pub(crate) fn connect(path: &[u8]) -> Result<Self, Failure> {
        let shown = escape(path);
        let socket = socket::connect_within(Kind::SeqPacket, path, LIMIT).map_err(|e| no_link(&shown, &e))?;
        let peer = socket::peer(&socket).map_err(|e| Failure::Silent(format!("{shown}: {e}")))?;
        if peer.uid != 0 && peer.uid != ids::user_ids().effective {
            return Err(Failure::Refused(format!(
                "the manager at {shown} is neither root's nor yours, but runs as uid {}: it is not asked; run rwsgictl as that user",
                peer.uid
            )));
        }
        socket::set_receive_timeout(&socket, Some(LIMIT))
            .and_then(|()| socket::set_send_timeout(&socket, Some(LIMIT)))
            .map_err(|e| Failure::Silent(format!("{shown}: {e}")))?;
        let mut link = Self {
            socket,
            path: path.to_vec(),
            server: Server::default(),
        };
        let Report::Server(server) = link.ask(&Query::Server)? else {
            return Err(link.unexpected());
        };
        link.server = server;
        Ok(link)
    }

    /// The runtime directory.
    pub(crate) fn directory(&self) -> String {
        escape(directory_of(&self.path))
    }

    fn ask(&self, query: &Query) -> Result<Report, Failure> {
        let silent = |e: OsError| {
            Failure::Silent(match e.is_would_block() {
                true => format!(
                    "the manager at {} gave no answer within {} s: see httpd's error log",
                    escape(&self.path),
                    LIMIT.as_secs()
                ),
                false => format!("the manager at {} has gone ({e}): ask again", escape(&self.path)),
            })
        };
        message::send(&self.socket, &query.encode()).map_err(silent)?;
        let mut buffer = vec![0; CONTROL_MAX];
        let got = message::receive_packet(&self.socket, &mut buffer).map_err(silent)?;
        if got.len == 0 {
            let text = format!(
                "the manager at {} closed the connection: ask again",
                escape(&self.path)
            );
            return Err(Failure::Silent(text));
        }
        let report = buffer.get(..got.len).filter(|_| !got.truncated);
        let report = report.and_then(|bytes| Report::decode(bytes).ok());
        match report {
            Some(Report::Unread(why)) => Err(self.of_another_version(&escape(&why))),
            Some(report) => Ok(report),
            None => Err(self.unexpected()),
        }
    }

    /// `false`: what it was for has gone.
    pub(crate) fn order(&self, query: &Query) -> Result<bool, Failure> {
        match self.ask(query)? {
            Report::Begun => Ok(true),
            Report::Gone => Ok(false),
            Report::Declined(why) => Err(Failure::NotDone(escape(&why))),
            _ => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> Failure {
        self.of_another_version("its answer cannot be read")
    }

    fn of_another_version(&self, why: &str) -> Failure {
        Failure::Silent(format!(
            "the manager at {} is of another version than this rwsgictl ({why}): install them together, then stop and start httpd",
            escape(&self.path)
        ))
    }

    /// All parts of a list: `last` is how the next part is asked for.
    fn list<T>(
        &self,
        first: Query,
        entries: fn(Report) -> Option<Vec<T>>,
        next: fn(&T) -> Query,
    ) -> Result<Vec<T>, Failure> {
        let (mut all, mut query) = (Vec::new(), first);
        loop {
            let part = entries(self.ask(&query)?).ok_or_else(|| self.unexpected())?;
            let Some(last) = part.last() else {
                return Ok(all);
            };
            let following = next(last);
            // A manager that does not go on would be asked for ever.
            if following == query {
                return Err(self.unexpected());
            }
            query = following;
            all.extend(part);
        }
    }

    pub(crate) fn groups(&self) -> Result<Vec<GroupReport>, Failure> {
        let after = |group: &GroupReport| Query::Groups {
            after: group.name.clone(),
        };
        let entries = |report| match report {
            Report::Groups(part) => Some(part),
            _ => None,
        };
        self.list(Query::Groups { after: Vec::new() }, entries, after)
    }

    pub(crate) fn pools(&self) -> Result<Vec<PoolReport>, Failure> {
        let entries = |report| match report {
            Report::Pools(part) => Some(part),
            _ => None,
        };
        self.list(Query::Pools { after: 0 }, entries, |pool| Query::Pools {
            after: pool.id,
        })
    }

    pub(crate) fn workers(&self) -> Result<Vec<WorkerReport>, Failure> {
        let entries = |report| match report {
            Report::Workers(part) => Some(part),
            _ => None,
        };
        self.list(Query::Workers { after: 0 }, entries, |worker| Query::Workers {
            after: worker.id,
        })
    }

    pub(crate) fn incidents(&self) -> Result<Vec<Incident>, Failure> {
        let entries = |report| match report {
            Report::Incidents(part) => Some(part),
            _ => None,
        };
        self.list(Query::Incidents { after: 0 }, entries, |incident| {
            Query::Incidents {
                after: incident.number,
            }
        })
    }

    /// `None` if it is not there any more.
    pub(crate) fn settings(&self, query: &Query) -> Result<Option<Group>, Failure> {
        match self.ask(query)? {
            Report::Settings(group) => Ok(Some(*group)),
            Report::Gone => Ok(None),
            _ => Err(self.unexpected()),
        }
    }
}

fn no_link(shown: &str, e: &OsError) -> Failure {
    const ECONNREFUSED: i32 = 111;
    const EACCES: i32 = 13;
    const EPERM: i32 = 1;
    if e.is_not_found() || e.errno == ECONNREFUSED {
        Failure::NoManager(format!("at {shown}"))
    } else if e.errno == EACCES || e.errno == EPERM {
        Failure::Refused(format!("{shown} is for root only: run rwsgictl as root"))
    } else if e.is_would_block() {
        let seconds = LIMIT.as_secs();
        Failure::Silent(format!(
            "the manager at {shown} took no connection within {seconds} s: see httpd's error log"
        ))
    } else {
        Failure::Silent(format!("the manager at {shown} cannot be reached: {e}"))
    }
}
