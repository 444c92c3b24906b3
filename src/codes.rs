//! The message catalogue of the Apache half: `RW0001` to `RW0399`. Each code is used at one place; `docs/codes.md` is generated from
//! [`TABLE`].

use rwsgi_wire::code::Code;
use rwsgi_wire::codes;

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

codes! {
    PANIC = 1, "A bug in the module was caught",
        "a panic in mod_rwsgi reached the boundary to httpd",
        "the request or step under way fails; the process goes on",
        "report it with this line and the one before it";
    PANIC_PLACE = 2, "Where a bug in the module is",
        "a panic in an httpd child",
        "see RW0001",
        "report it with RW0001";
    BOTH_IDENTITIES = 10, "The module is loaded twice",
        "LoadModule rwsgi_module and LoadModule wsgi_module both name mod_rwsgi.so",
        "httpd does not start",
        "remove one of the two LoadModule lines";
    ORIGINAL_LOADED = 11, "mod_wsgi is loaded too",
        "mod_rwsgi and mod_wsgi are loaded in the same httpd",
        "httpd does not start",
        "remove the LoadModule line of mod_wsgi (on Debian: a2dismod wsgi)";
    CONFIGURATION = 12, "The configuration cannot be used",
        "a value is impossible, or two settings contradict each other",
        "httpd does not start, or does not come back from a restart",
        "do what the sentence says";
    PATTERN = 13, "A regular expression is wrong",
        "the first argument of WSGIScriptAliasMatch is not a regular expression",
        "httpd does not start",
        "correct the expression";
    DOUBT = 14, "A setting can not be meant",
        "an alias or WSGIProcessGroup names a process group that can never be used, or a directive names something that has no meaning",
        "httpd starts; requests for such a process group are answered with 500",
        "do what the sentence says";
    GROUPS_LEFT_OUT = 15, "A process group runs without privileged groups of its user",
        "the user of a WSGIDaemonProcess is a member of a group that gives power over the machine or over httpd; mod_wsgi gives it to the application",
        "httpd serves; the application is not in that group",
        "write the groups that the application shall have with supplementary-groups=";
    COMPANION = 20, "A file of the module is missing",
        "rwsgi-manager or _rwsgi.abi3.so is not beside mod_rwsgi.so, or cannot be read",
        "httpd does not start",
        "install all files of rwsgi into one directory";
    MANAGER_START = 21, "The manager could not be started",
        "the program failed, or refused the configuration",
        "httpd does not start",
        "do what the sentence says";
    MANAGER_DIED = 22, "The manager's keeper died",
        "the first of the two processes rwsgi-manager was killed, or crashed, and the second ended with it",
        "workers finish what they have and end; both are started again at once, and workers with them",
        "find out who killed it (memory, an operator), or report the crash";
    MANAGER_LOST = 23, "The manager could not be started again",
        "see the sentence",
        "daemon processes are unavailable: requests for them are answered with 503",
        "remove the cause and restart httpd";
    PYTHON = 30, "Python could not be started in an httpd child",
        "libpython or the Python half cannot be opened, or Python refuses to start",
        "requests for embedded mode are answered with 500 by this child",
        "do what the sentence says";
    NO_EFFECT = 40, "A setting has no effect",
        "the directive asks for something that this httpd, Python or build cannot do",
        "httpd serves as if it were not written",
        "do what the sentence says, or remove the directive";
    NO_METRICS = 41, "Metrics are not built",
        "WSGITelemetryService, WSGITelemetryOptions or WSGISlowRequests is written",
        "httpd serves; nothing is recorded or sent",
        "remove the directives, or leave them for a version that has metrics";
    RESTRICTED = 50, "A process group is not allowed here",
        "the request chose a process group that WSGIRestrictProcess does not name for its directory or server",
        "500",
        "add the group to WSGIRestrictProcess, or choose another one";
    NO_VERDICT = 51, "A script that decides who may come in gave no verdict",
        "it cannot be loaded, raised, returned something else than it may, or who runs it cannot be reached; the sentence names script, function and cause",
        "403 for an access script, 500 for a user script, not a member for a group script; never a yes",
        "do what the sentence, or the lines before it, say";
    ACCESS_DENIED = 52, "An access script keeps a client out",
        "allow_access() returned False",
        "403",
        "none, if that is what the script is for";
    NO_USER_SCRIPT = 53, "There is no script to check users with",
        "AuthBasicProvider wsgi or AuthDigestProvider wsgi is in force where no WSGIAuthUserScript is",
        "500",
        "set WSGIAuthUserScript, or choose another provider";
    NO_GROUP_SCRIPT = 54, "There is no script to ask for groups",
        "Require wsgi-group is in force where no WSGIAuthGroupScript is",
        "the requirement is not met",
        "set WSGIAuthGroupScript, or remove the requirement";
    DISPATCH_FAILED = 55, "A dispatch script failed",
        "one of its functions raised, or returned something else than it may, or who runs it cannot be reached; the sentence has the cause",
        "500",
        "fix the script";
    DISPATCH_NOT_LOADED = 56, "A dispatch script cannot be loaded",
        "it is missing, not readable, not valid Python, or raised; the lines before say which",
        "the request goes on with what the configuration says",
        "fix the script";
    NOT_IN_GROUP = 57, "A user is in none of the required groups",
        "groups_for_user() of the script returned no group that Require wsgi-group names",
        "the requirement is not met; others of the same place may be",
        "add the user to one of the groups, or the group to the requirement";
    CLOSED_DIRECTORY = 60, "The way to the applications of a user is closed to httpd",
        "a directory above them, often the user's home, lets httpd's user not pass",
        "403",
        "let httpd's user pass through that directory (chmod o+x, or an access control list); it need not be able to read it";
    CLAMPED = 61, "WSGIUserOptions asks for more than is allowed",
        "a value in .htaccess is beyond what the WSGIUserProcess of the directory allows; the message has both",
        "the application has what is allowed",
        "lower the value, or raise that of WSGIUserProcess";
    SOCKETS = 62, "The directory for the sockets of workers is not usable",
        "the directory that WSGISocketPrefix names a path in does not exist, or others than root can change it; said by the test of a configuration only",
        "the test fails, or warns if the directory may still be made; httpd would not start, and a restart would keep the configuration that is in force",
        "create the directory, or name another path with WSGISocketPrefix";
    REQUEST_LIMIT = 75, "An application or a user has as many requests under way as it may have",
        "request-limit or user-request-limit of a WSGIDaemonProcess, or WSGIEmbeddedRequestLimit, is reached; the sentence says which, and whose",
        "503 with Retry-After at once for further ones; other applications and users are served as ever. A line of level notice says when it is over, and how many were refused",
        "find out what keeps its requests waiting (queue-timeout, request-timeout), give it more threads= or processes=, or raise the limit";
    NOT_COUNTED = 76, "A child of httpd cannot count requests",
        "the memory that children share for that cannot be used by this one; the sentence has the cause",
        "request-limit, user-request-limit and WSGIEmbeddedRequestLimit do not hold for the requests of this child",
        "do what the sentence says; report it if there is no reason in it";
    NO_COUNTING = 77, "There is no memory to count requests in",
        "the system refuses a file in memory; the sentence has the cause",
        "httpd does not start",
        "do what the sentence says, or remove request-limit, user-request-limit and WSGIEmbeddedRequestLimit";
    NO_ROOM = 78, "A request body cannot be kept until it is complete",
        "WSGIRequestBuffering is on, and the file in WSGISpoolDirectory cannot be made or written: a full disk, a directory that httpd's user may not write to, too many open files; the sentence says which",
        "503 with Retry-After for this upload; the application has not seen it",
        "make room, or name another directory with WSGISpoolDirectory";
    DOUBLED_TYPE = 85, "Content-Type is there twice",
        "the request has two Content-Type headers, which say different things to different readers",
        "400",
        "none: the client is wrong";
    OUTSIDE_ROOT = 110, "The script is outside of the root directory of its workers",
        "the process group has a chroot= option, and the script does not lie below it",
        "500",
        "move the script below the directory that chroot= names";
    SCRIPT_OWNER = 111, "The script belongs to somebody else, or others can change it",
        "the process group has a script-user= or script-group= option, which the script or its directory does not meet",
        "403",
        "give file and directory to that owner, and take the permission to write from the others";
    NO_EXEC = 200, "Options ExecCGI is off",
        "a script was reached by SetHandler or AddHandler in a directory without Options ExecCGI",
        "403",
        "add Options +ExecCGI, or use WSGIScriptAlias";
    NO_SCRIPT = 201, "The script does not exist",
        "no file at the mapped path, or httpd's user cannot see it",
        "404",
        "correct the path, or let httpd's user pass through the directories above it";
    DIRECTORY = 202, "The script is a directory",
        "the mapped path is a directory",
        "403",
        "name a script in it";
    NO_PATH_INFO = 203, "AcceptPathInfo is off",
        "the URL has a path behind the script",
        "404",
        "set AcceptPathInfo On, if such URLs are meant to work";
    TRANSFER_CODING = 204, "Unknown transfer coding",
        "the request has a Transfer-Encoding other than chunked",
        "501",
        "none: the client is wrong";
    CHUNKED = 205, "A body of unknown length",
        "the request has no Content-Length and WSGIChunkedRequest is off",
        "411",
        "set WSGIChunkedRequest On, if the application reads its input to the end instead of trusting CONTENT_LENGTH";
    LENGTH = 206, "Content-Length is not a number",
        "the request's Content-Length is not a number of bytes",
        "400",
        "none: the client is wrong";
    UNKNOWN_GROUP = 207, "The process group does not exist",
        "WSGIProcessGroup, or the process-group option, gives a name that no WSGIDaemonProcess defines",
        "500",
        "define the group, or correct the name";
    FOREIGN_GROUP = 208, "The process group belongs to another virtual host",
        "the group is defined in a virtual host of another ServerName",
        "500",
        "define it in the main server, or in this virtual host";
    EMBEDDED_OFF = 209, "Embedded mode is off",
        "the request has no process group, and WSGIRestrictEmbedded is On",
        "500",
        "give it a process group";
    EMBEDDED_DOWN = 210, "Python is not available in this child",
        "Python could not be started; an earlier message of this child says why",
        "500",
        "see RW0030";
    SERVICE_GROUP = 211, "The process group takes no requests",
        "the request was sent to a process group with threads=0, which only runs what WSGIImportScript names",
        "500",
        "send it to another process group, or give this one threads";
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
