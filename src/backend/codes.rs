//! Messages of the backends: RW0300 to RW0349.

use rwsgi_wire::codes;

codes! {
    WORKER_DIED = 300, "A worker died while it ran a request",
        "The process was killed by a signal (a crash in an extension module, the kernel's out-of-memory killer, an administrator), ended \
         itself (os._exit), or exceeded a time limit. The message says which.",
        "502 (504 for a time limit) when the answer had not begun, else the client sees an aborted answer. The request is not repeated. The \
         worker is replaced.",
        "For a crash: run the application with PYTHONFAULTHANDLER or a core dump; look for mismatched binary packages in its venv. For memory: \
         give the host more, or the application less to do at a time.";
    MANAGER_SILENT = 301, "The manager cannot be asked",
        "rwsgi-manager has died and is being restarted by httpd, or is being stopped and cannot answer; or its socket lies below a directory \
         that is closed to httpd's user, which the message says.",
        "503 with Retry-After for requests that need a pool this httpd child does not know yet; others are served.",
        "Nothing if it passes within seconds. A closed directory: open it to httpd's user, or set WSGISocketPrefix to another place. Otherwise look for rwsgi-manager's own messages in the main error log, and restart httpd.";
    NO_CONNECTION = 302, "No connection to a pool of workers",
        "All threads of all its workers are busy and its backlog is full for longer than connect-timeout, or its workers keep going away, or \
         their socket is closed to httpd's user.",
        "503 with Retry-After; the request was not run.",
        "Give the process group more processes= or threads=, find out what makes requests slow, or set request-timeout.";
    QUEUE_TIMEOUT = 303, "No worker was free in time",
        "All threads of all workers of the pool were busy for the length of queue-timeout, counted from the arrival of the request.",
        "504; the request was not run.",
        "As for RW0302.";
    SOCKET_TIMEOUT = 304, "A worker was silent for too long",
        "The application neither answered nor read for the length of socket-timeout (the server's Timeout unless set).",
        "504 when the answer had not begun, else the client sees an aborted answer. The worker goes on with the request until it notices.",
        "Raise socket-timeout for slow applications; set request-timeout to have such workers replaced with a stack dump.";
    REQUEST_TIMEOUT = 305, "A request exceeded request-timeout",
        "The application ran longer than the process group allows.",
        "504 when the answer had not begun, else the client sees an aborted answer. The worker is replaced.",
        "The log of the worker has the stack of the thread at that moment; raise request-timeout if it was doing useful work.";
    BAD_ANSWER = 306, "A worker sent an answer that must not reach a client",
        "The worker broke the protocol between the two halves, or a header or status contains what HTTP forbids. The worker checks the same \
         before; so its process is damaged or hostile.",
        "500 when the answer had not begun, else the client sees an aborted answer.",
        "Find out which native extension the application loads, or which code tampers with the worker's descriptors.";
    APPLICATION_FAILED = 307, "The application failed",
        "It raised an exception, could not be imported, has no such callable, or broke PEP 3333; the entries before this one have the \
         traceback.",
        "500 when the answer had not begun, else the client sees an aborted answer.",
        "Mend the application.";
    WORKER_FAILED = 308, "A worker failed in itself",
        "An error inside rwsgi's own code in the worker.",
        "500 when the answer had not begun, else the client sees an aborted answer.",
        "Report it, with the message.";
    NO_WORKER = 309, "No worker took the request",
        "Workers of the pool were being replaced over and over while this request waited.",
        "503 with Retry-After; the request was not run.",
        "Look for the reason of the replacements in the log (script changed again and again, maximum-requests too small).";
    POOL_REFUSED = 310, "The workers of a process group cannot be started",
        "The configuration of the group cannot be put into effect: the message says which part.",
        "500 for every request to that group until the cause is gone, 503 with Retry-After for an application below a WSGIUserProcess; it is tried \
         again every few seconds.",
        "Do what the message says.";
    POOL_BACKS_OFF = 311, "The workers of a process group keep dying",
        "Its workers have died several times in a row soon after their start; the message has the last cause.",
        "503 with Retry-After at once, until the next start succeeds.",
        "Find the cause in the messages about that group; it is tried again by itself, at the latest after a minute.";
    TOO_SHORT = 312, "The application sent less than its Content-Length",
        "The bytes the application yielded are fewer than the Content-Length it declared (PEP 3333 asks for exactly as many).",
        "The client sees an aborted answer.",
        "Mend the application's Content-Length, or leave it out.";
    TOO_LONG = 313, "The application sent more than its Content-Length",
        "The bytes the application yielded are more than the Content-Length it declared (PEP 3333 asks for exactly as many).",
        "The excess is dropped; the client sees a complete answer of the declared length.",
        "Mend the application's Content-Length, or leave it out.";
    NOT_KEPT = 314, "An answer cannot be kept for a client that is slow",
        "WSGIResponseBuffering is on, and the file in WSGISpoolDirectory cannot be made or written (a full disk, a directory that httpd's user may not \
         write to, too many open files), or the thread that does it cannot be started; the sentence says which.",
        "The client gets its answer; until it has taken it the thread of the worker waits.",
        "Make room, or name another directory with WSGISpoolDirectory.";
    LOST = 315, "What a worker has answered is lost",
        "The file in WSGISpoolDirectory that holds it cannot be read: the disk fails, or somebody has cut the file. Or the answer is a file, or a large block in \
         memory of the worker, and httpd's child has no descriptor, or no room in its own memory, left for it.",
        "500, or the client sees an aborted answer.",
        "Look for errors of the file system, and at the limits on open files and on memory that httpd is started with.";
    LOOKS_LIMIT = 316, "As many requests as may wait for a user's directory do",
        "The file system of the directory does not answer, or takes long; user-request-limit of the WSGIUserProcess is the limit on those who wait.",
        "503 with Retry-After at once for further requests below that directory; other users are served as ever. A line of level notice says when it is \
         over, and how many were refused.",
        "Mend the file system, or unmount it with umount -f; those who wait go on by themselves.";
    LINES_DROPPED = 320, "Lines of requests were dropped",
        "The requests of a process group write more to wsgi.errors, sys.stderr or logging than goes to the error log: 5,000 lines at once and 1,000 a \
         second in the long run by each of httpd's children, where 3,000 bytes of a line count as one.",
        "The number of lines in the text is lost; the requests go on.",
        "Let the application log less, or to a file of its own.";
    FILE_SHRANK = 325, "A file became shorter while it was sent",
        "The application returned the file through wsgi.file_wrapper, and somebody truncated it before its last byte had been sent.",
        "The client sees an aborted answer.",
        "Replace files that are being served by renaming new ones over them, not by writing into them.";
    SCOREBOARD_TOO_LARGE = 326, "httpd's scoreboard is too large for a worker",
        "ServerLimit times ThreadLimit is so large that what server_metrics() would return is beyond what httpd's child passes to a worker.",
        "server_metrics() returns None in daemon processes.",
        "Make ServerLimit and ThreadLimit as small as they can be, or call it in embedded mode.";
    CROWDED = 327, "No worker could be started in time",
        "The application has no worker, and one could not be started: there are as many as WSGIMaxWorkers allows and none is idle, or too many \
         applications start at once. The message says which.",
        "503 with Retry-After; the request was not run.",
        "Raise WSGIMaxWorkers if there is memory for more workers; find out what keeps the others busy.";
    STILL_STARTING = 330, "The application has not started in time",
        "No worker of it has loaded the application within queue-timeout (else socket-timeout): importing it takes long, or none could be started \
         because all that there may be are busy.",
        "503 with Retry-After; the request was not run, and the start goes on.",
        "Nothing, if it serves afterwards; else look at what is imported. Keep workers from ending (min-processes, idle-timeout), load in advance          (WSGIImportScript), or raise queue-timeout. startup-timeout ends a start that hangs.";
}

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn numbers_are_distinct_and_in_range() {
        for (i, code) in TABLE.iter().enumerate() {
            assert!((300..350).contains(&code.number), "{code}");
            assert!(
                TABLE[..i].iter().all(|other| other.number != code.number),
                "{code} twice"
            );
        }
    }
}
