//! The message catalogue of the Apache half: `RW0001` to `RW0399`. Each code is used at one place; `docs/codes.md` is generated from
//! [`TABLE`].

pub use rwsgi_wire::code::Code;

/// A message with its code in front.
pub trait Line {
    /// `RWnnnn: text`.
    fn line(&self, text: &str) -> String;
}

impl Line for Code {
    fn line(&self, text: &str) -> String {
        format!("{self}: {text}")
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal, cause $cause:literal, outcome $outcome:literal, action $action:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code {
            number: $number, title: $title, cause: $cause, outcome: $outcome, action: $action,
        };)*

        /// All of them, by number.
        pub const TABLE: &[Code] = &[$($name,)*];
    };
}

codes! {
    PANIC = 1, "A bug in the module was caught",
        cause "a panic in mod_rwsgi reached the boundary to httpd",
        outcome "the request or step under way fails; the process goes on",
        action "report it with this line and the one before it";
    PANIC_PLACE = 2, "Where a bug in the module is",
        cause "a panic in an httpd child",
        outcome "see RW0001",
        action "report it with RW0001";
    BOTH_IDENTITIES = 10, "The module is loaded twice",
        cause "LoadModule rwsgi_module and LoadModule wsgi_module both name mod_rwsgi.so",
        outcome "httpd does not start",
        action "remove one of the two LoadModule lines";
    ORIGINAL_LOADED = 11, "mod_wsgi is loaded too",
        cause "mod_rwsgi and mod_wsgi are loaded in the same httpd",
        outcome "httpd does not start",
        action "remove the LoadModule line of mod_wsgi (on Debian: a2dismod wsgi)";
    CONFIGURATION = 12, "The configuration cannot be used",
        cause "a value is impossible, or two settings contradict each other",
        outcome "httpd does not start, or does not come back from a restart",
        action "do what the sentence says";
    PATTERN = 13, "A regular expression is wrong",
        cause "the first argument of WSGIScriptAliasMatch is not a regular expression",
        outcome "httpd does not start",
        action "correct the expression";
    DOUBT = 14, "A setting can not be meant",
        cause "an alias names a process group that it can never use",
        outcome "httpd starts; requests for that alias are answered with 500",
        action "do what the sentence says";
    COMPANION = 20, "A file of the module is missing",
        cause "rwsgi-manager or _rwsgi.abi3.so is not beside mod_rwsgi.so, or cannot be read",
        outcome "httpd does not start",
        action "install all files of rwsgi into one directory";
    MANAGER_START = 21, "The manager could not be started",
        cause "the program failed, or refused the configuration",
        outcome "httpd does not start",
        action "do what the sentence says";
    MANAGER_DIED = 22, "The manager died",
        cause "rwsgi-manager was killed, or crashed",
        outcome "workers end with it; it is started again at once",
        action "find out who killed it (memory, an operator), or report the crash";
    MANAGER_LOST = 23, "The manager could not be started again",
        cause "see the sentence",
        outcome "daemon processes are unavailable: requests for them are answered with 503",
        action "remove the cause and restart httpd";
    PYTHON = 30, "Python could not be started in an httpd child",
        cause "libpython or the Python half cannot be opened, or Python refuses to start",
        outcome "requests for embedded mode are answered with 500 by this child",
        action "do what the sentence says";
    NO_EXEC = 200, "Options ExecCGI is off",
        cause "a script was reached by SetHandler or AddHandler in a directory without Options ExecCGI",
        outcome "403",
        action "add Options +ExecCGI, or use WSGIScriptAlias";
    NO_SCRIPT = 201, "The script does not exist",
        cause "no file at the mapped path, or httpd's user cannot see it",
        outcome "404",
        action "correct the path, or let httpd's user pass through the directories above it";
    DIRECTORY = 202, "The script is a directory",
        cause "the mapped path is a directory",
        outcome "403",
        action "name a script in it";
    NO_PATH_INFO = 203, "AcceptPathInfo is off",
        cause "the URL has a path behind the script",
        outcome "404",
        action "set AcceptPathInfo On, if such URLs are meant to work";
    TRANSFER_CODING = 204, "Unknown transfer coding",
        cause "the request has a Transfer-Encoding other than chunked",
        outcome "501",
        action "none: the client is wrong";
    CHUNKED = 205, "A body of unknown length",
        cause "the request has no Content-Length and WSGIChunkedRequest is off",
        outcome "411",
        action "set WSGIChunkedRequest On, if the application reads its input to the end instead of trusting CONTENT_LENGTH";
    LENGTH = 206, "Content-Length is not a number",
        cause "the request's Content-Length is not a number of bytes",
        outcome "400",
        action "none: the client is wrong";
    UNKNOWN_GROUP = 207, "The process group does not exist",
        cause "WSGIProcessGroup, or the process-group option, gives a name that no WSGIDaemonProcess defines",
        outcome "500",
        action "define the group, or correct the name";
    FOREIGN_GROUP = 208, "The process group belongs to another virtual host",
        cause "the group is defined in a virtual host of another ServerName",
        outcome "500",
        action "define it in the main server, or in this virtual host";
    EMBEDDED_OFF = 209, "Embedded mode is off",
        cause "the request has no process group, and WSGIRestrictEmbedded is On",
        outcome "500",
        action "give it a process group";
    EMBEDDED_DOWN = 210, "Python is not available in this child",
        cause "Python could not be started; an earlier message of this child says why",
        outcome "500",
        action "see RW0030";
    UNREACHABLE = 220, "No worker could be reached",
        cause "the manager does not answer, or a socket cannot be used",
        outcome "503",
        action "look for messages of the manager; check the permissions of the socket directory";
    FULL = 221, "All workers are busy and the queue is full",
        cause "no worker accepted the connection within connect-timeout",
        outcome "503 with Retry-After",
        action "more processes or threads, or a longer listen-backlog; look for slow requests";
    QUEUED_TOO_LONG = 222, "The request waited too long for a worker",
        cause "queue-timeout passed before a worker took the request",
        outcome "504; the application has not seen the request",
        action "more processes or threads; look for slow requests";
    SILENT = 223, "The application did not answer in time",
        cause "no byte from the worker within socket-timeout (default: Timeout)",
        outcome "504",
        action "look for what the application waits for; raise socket-timeout if it needs the time";
    DIED = 224, "The worker died while it ran the request",
        cause "the message names the cause of death",
        outcome "502; the request is not repeated, because the application may have acted on it",
        action "repair what killed the worker";
    REFUSED = 225, "The process group cannot start",
        cause "the reason lies in the configuration or the file system: the message says which",
        outcome "500",
        action "do what the sentence says";
    BACK_OFF = 226, "The process group keeps failing",
        cause "its workers end before they serve; the manager waits before it tries again",
        outcome "503 with Retry-After",
        action "see the messages of its workers";
    TIME_LIMIT = 227, "The request ran into request-timeout",
        cause "the application took longer than request-timeout",
        outcome "504",
        action "look for what the application waits for; raise request-timeout if it needs the time";
    GARBLED = 228, "The worker does not speak the protocol",
        cause "files of different rwsgi builds are mixed, or a worker was tampered with",
        outcome "502",
        action "install all files of rwsgi anew and restart httpd";
    RULE = 229, "The application's answer breaks a rule",
        cause "the message quotes the rule",
        outcome "500",
        action "correct the application";
    NO_TURN = 230, "No worker took the request",
        cause "every worker that was asked closed the connection without taking the request",
        outcome "503 with Retry-After",
        action "look for messages of the workers";
    WORKER_FAULT = 231, "The worker failed in itself",
        cause "the message says how",
        outcome "500",
        action "report it";
    CUT = 240, "The answer broke off",
        cause "the worker died or failed, or the time was up, after the answer had begun",
        outcome "the client sees an incomplete answer: the connection is broken off",
        action "repair what the message names";
    SHORT = 241, "The answer is shorter than its Content-Length",
        cause "the application declared more bytes than it gave",
        outcome "the client sees an incomplete answer",
        action "correct the application";
    EXCESS = 242, "The answer is longer than its Content-Length",
        cause "the application gave more bytes than it declared",
        outcome "the excess is dropped, as PEP 3333 demands",
        action "correct the application";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ascending_and_in_the_range_of_this_half() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].number < pair[1].number, "{}", pair[1]);
        }
        assert!(TABLE.iter().all(|code| (1..400).contains(&code.number)));
    }

    #[test]
    fn every_code_says_what_to_do() {
        for code in TABLE {
            for text in [code.title, code.cause, code.outcome, code.action] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{code}");
            }
        }
    }
}
