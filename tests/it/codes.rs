//! The messages that tests provoke on purpose, by code. Everything else of level warn or worse fails a test.

/// The application raised, could not be loaded, or broke PEP 3333.
pub const APPLICATION: &[&str] = &[
    "RW0307", "RW0600", "RW0601", "RW0602", "RW0603", "RW0604", "RW0605", "RW0606", "RW0609",
];

/// `close()` of the iterable raised.
pub const CLOSE: &[&str] = &["RW0610"];

/// More or fewer bytes than the Content-Length.
pub const LENGTH: &[&str] = &["RW0307", "RW0312", "RW0313", "RW0607", "RW0608"];

/// A worker died: told by the child for its request, by the manager for its pool.
pub const DEATH: &[&str] = &["RW0300", "RW0453", "RW0522"];

/// Workers die so often that their pool waits before it tries again.
pub const BACK_OFF: &[&str] = &["RW0311", "RW0452", "RW0455"];

/// No worker took the request, or none answered, in time.
pub const LATE: &[&str] = &["RW0302", "RW0303", "RW0304", "RW0309"];

/// A request ran too long, or a worker would not end: it is ended by force.
pub const FORCE: &[&str] = &["RW0300", "RW0305", "RW0454", "RW0611", "RW0612"];

/// A worker sent an answer that must not reach a client.
pub const BAD_ANSWER: &[&str] = &["RW0306"];

/// A script of a service failed, and the service waits before it runs again.
pub const SERVICE: &[&str] = &["RW0455", "RW0710"];

/// A limit on the life of a worker was reached.
pub const LIFE: &[&str] = &["RW0700", "RW0701"];

/// A python-home cannot be used, in daemon mode or in httpd's children.
pub const PYTHON_HOME: &[&str] = &[
    "RW0030", "RW0210", "RW0310", "RW0441", "RW0442", "RW0443", "RW0444", "RW0445", "RW0446", "RW0447",
    "RW0450", "RW0620",
];

/// The manager was killed, and another one goes on.
pub const MANAGER: &[&str] = &["RW0410", "RW0301", "RW0302", "RW0309"];

/// The new version of a script does not load, and the old one serves on.
pub const OLD_VERSION: &[&str] = &[
    "RW0520", "RW0521", "RW0602", "RW0603", "RW0604", "RW0643", "RW0691",
];

/// A callback for an event raised.
pub const CALLBACK: &[&str] = &["RW0660"];

/// A file became shorter while it was sent.
pub const FILE: &[&str] = &["RW0325"];

/// There is no room for an answer whose client is slow.
pub const NOT_KEPT: &[&str] = &["RW0314"];

/// A script that httpd asks before it answers was wrong, or could not be asked.
pub const CALLS: &[&str] = &[
    "RW0051", "RW0052", "RW0055", "RW0056", "RW0640", "RW0641", "RW0642",
];

/// There is no template for a group that is to have one.
pub const NO_TEMPLATE: &[&str] = &["RW0463"];

/// No worker could be started for a pool, because of how many there are.
pub const CROWDED: &[&str] = &["RW0327", "RW0462"];

/// An application or a user has as many requests under way as it may have.
pub const REQUEST_LIMIT: &[&str] = &["RW0075"];

/// A request body cannot be kept until it is complete.
pub const NO_ROOM: &[&str] = &["RW0078"];

/// A limit on an application or a user was reached.
pub const LIMIT: &[&str] = &["RW0502", "RW0503", "RW0504"];

/// Lines of requests, or of a worker, were dropped.
pub const DROPPED: &[&str] = &["RW0320", "RW0409", "RW0472"];

/// A worker was killed and does not end.
pub const UNDYING: &[&str] = &["RW0471"];

/// As many requests as may wait for the directory of a user do.
pub const HANGS: &[&str] = &["RW0316"];
