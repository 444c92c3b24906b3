//! The messages of the Python half, `RW0600` to `RW0799`. Each is used at one place.

use rwsgi_wire::codes;

codes! {
    APPLICATION_RAISED = 600, "the application raised an exception",
        "The callable, its iterable or its close() raised; the traceback follows line by line.",
        "500 if nothing was sent yet, else the response is cut off visibly.",
        "Fix the application; the last lines of the traceback say where.";
    RULE_BROKEN = 601, "the application broke a rule of PEP 3333",
        "A wrong type, status or header was given to start_response or returned; the message quotes the rule.",
        "500 if nothing was sent yet, else the response is cut off visibly.",
        "Change the application as the message says.";
    SCRIPT_NOT_READ = 602, "the script cannot be read",
        "The file is missing or this user may not read it or pass through its directories.",
        "500 for each request that needs it.",
        "Give the worker's user the right to read the file and to pass through every directory above it.";
    SCRIPT_RAISED = 603, "the script failed to load",
        "Executing the script raised an exception (often an import that fails); the traceback follows.",
        "500; the next request tries again, in daemon mode in a fresh worker.",
        "Fix the script; for a missing module check python-home and python-path.";
    SCRIPT_NOT_COMPILED = 604, "the script is not valid Python",
        "Compiling the script failed; the message names line and reason.",
        "500; the next request tries again.",
        "Fix the syntax, or the encoding declared in the file.";
    NO_CALLABLE = 605, "the script has no such callable",
        "The name looked up (by default `application`) is not defined in the script.",
        "500.",
        "Define it, or name the right one with WSGICallableObject.";
    NOT_CALLABLE = 606, "the object found is not callable",
        "The name looked up is defined but is not a function, class or object with __call__.",
        "500.",
        "Make it a callable, or name the right one with WSGICallableObject.";
    SHORT_BODY = 607, "the application sent fewer bytes than its Content-Length",
        "The iterable ended before the declared number of bytes.",
        "500 if nothing was sent yet, else the response is cut off visibly.",
        "Declare the right length or none; httpd then chooses the framing.";
    LONG_BODY = 608, "the application sent more bytes than its Content-Length",
        "The iterable or write() produced bytes beyond the declared number.",
        "They are dropped; the client gets exactly the declared length.",
        "Declare the right length or none; httpd then chooses the framing.";
    NO_START_RESPONSE = 609, "the application did not call start_response",
        "The iterable produced its first bytes, or ended, before start_response was called.",
        "500.",
        "Call start_response before the first block is produced.";
    CLOSE_RAISED = 610, "close() of the response iterable raised an exception",
        "The application's clean-up failed; the traceback follows.",
        "The response is not affected.",
        "Fix the clean-up.";
    REQUEST_TIMED_OUT = 611, "a request ran longer than request-timeout",
        "The application did not finish in time (request-timeout grows with the number of threads).",
        "504 if nothing was sent yet, else the response is cut off; the worker is replaced.",
        "Look at the stack in the log; make the request faster or raise request-timeout.";
    EXIT_FORCED = 612, "the worker had to be ended by force",
        "Requests, threads or exit functions of the application did not end within shutdown-timeout.",
        "Requests still under way are cut off; exit functions may not have run.",
        "Find out what does not end; raise shutdown-timeout if it needs the time.";
    STRANGER_REFUSED = 613, "a connection of another user was refused",
        "Something else than httpd connected to the pool's socket.",
        "The connection was closed before a byte was read.",
        "Find out which process of that user did it: it should not be able to reach the socket.";
    PROTOCOL_BROKEN = 614, "httpd broke the protocol",
        "A message could not be read; usually files of different rwsgi builds are mixed.",
        "The connection was closed.",
        "Install all files from one build and restart httpd.";
    PATH_NOT_ADDED = 615, "a directory of python-path could not be added",
        "site.addsitedir raised for it (usually a .pth file that fails).",
        "This and the following entries are not on sys.path.",
        "Check the directory and its .pth files.";
    SIGNAL_HANDLER_IGNORED = 619, "signal.signal was called and ignored",
        "The application, or a library, wanted to handle a signal; in a web server signals belong to the server.",
        "The handler is not installed; signal.signal returned it.",
        "Usually nothing; WSGIRestrictSignal Off allows it.";
    PYTHON_NOT_STARTED = 620, "Python could not be started",
        "The interpreter's own start-up failed; the message says at which step.",
        "500 for each request that needs it.",
        "Check WSGIPythonHome: it must name a complete Python.";
    INTERPRETER_NOT_MADE = 621, "an interpreter for the application group could not be made",
        "Py_NewInterpreter or the set-up of the new interpreter failed.",
        "500.",
        "Look at the lines before; WSGIApplicationGroup %{GLOBAL} uses the main interpreter.";
    INTERPRETERS_LEFT = 622, "Python was not finalised",
        "Threads were still inside an interpreter when the httpd child ended.",
        "Exit functions of the applications have not run.",
        "Find out which request or thread does not end.";
    PRELOAD_FAILED = 623, "a script could not be loaded in advance",
        "Loading failed; the messages before say why.",
        "The worker serves; the first request loads it again.",
        "Fix the script.";
    PANICKED = 624, "rwsgi failed in itself",
        "A defect in rwsgi.",
        "The request under way failed; the process goes on.",
        "Report it with the place named in the message.";
    NOT_ACCEPTED = 625, "a connection could not be accepted",
        "The worker is at its limit of open files, or the system is short of memory.",
        "The connection waits. The worker tries again, and after a second in vain another one takes its place.",
        "Find out what keeps files open in the application, or raise the limit.";
    NO_OWN_GIL = 630, "WSGIPerInterpreterGIL has no effect with this Python",
        "Interpreters with a GIL of their own exist from Python 3.12.",
        "The interpreters of the httpd child share one GIL.",
        "Use a newer Python, or process groups; else remove the directive.";
    INTERVAL_NOT_SET = 631, "a switch interval for one application group was not applied",
        "WSGISwitchInterval stands in a section with application-group, and the interpreter shares the GIL with others.",
        "The interval of the main interpreter holds.",
        "Set it outside of the section, or use WSGIPerInterpreterGIL or a process group.";
    CALL_RAISED = 640, "a script that httpd asks raised an exception",
        "A function of an access, authentication, group or dispatch script raised; the traceback follows.",
        "The request is refused: 403 for access and groups, else 500.",
        "Fix the script; the last lines of the traceback say where.";
    CALL_RESULT = 641, "a script that httpd asks returned something else than it may",
        "Only True, False and None themselves count, and names as str or bytes; the message says what is allowed.",
        "The request is refused: 403 for access and groups, else 500.",
        "Return what the message says.";
    NO_CALL_FUNCTION = 642, "a script that httpd asks has no such function",
        "The script does not define the function that its directive calls.",
        "The request is refused: 403 for access and groups, else 500.",
        "Define allow_access, check_password, get_realm_hash or groups_for_user, as the message says.";
    CALLABLE_GONE = 643, "the new version of a script lacks a callable that the one before has",
        "The script was changed and loads, but the callable that requests are given is not defined in it any more, or is not callable.",
        "The version before goes on serving.",
        "Define it: the script is tried again as soon as it changes. Under another name, say so with WSGICallableObject and touch the script.";
    CALLBACK_RAISED = 660, "a callback for an event raised an exception",
        "A function given to mod_wsgi.subscribe_events(), subscribe_shutdown() or subscribe_signals() failed; the traceback follows.",
        "The request, and the other callbacks, are not affected.",
        "Mend the callback.";
    APACHE_NOT_IMPORTED = 661, "the module apache could not be imported",
        "A module of this name is on sys.path of an httpd child, and executing it raised; the traceback follows.",
        "The module apache has the names of mod_wsgi only.",
        "Mend the module, or rename it if it is not meant for httpd's children.";
    NOT_AS_ORDERED = 662, "the worker is not what it should be (C26)",
        "Its user, groups, capabilities or no_new_privs are not those that the manager has given it: the program of python-home changes them (a user namespace), or the kernel or container only claims to.",
        "It ends with status 78 before it runs anything of the application; there is no fall-back. Another one is tried after a growing pause, and requests get 503 with Retry-After.",
        "Name a Python in python-home that does not lead elsewhere; if it does not, report this with the text.";
    NO_THREADS = 663, "the worker cannot start its threads",
        "The system refused a thread: a limit on processes and threads of the user, the application, the user's applications or httpd's service is reached, or memory is short.",
        "The worker ends before it serves; another one is tried after a growing pause, and requests get 503 with Retry-After.",
        "Raise the limit that the text points to, or lower threads.";
    RELOAD_REQUIRED_RAISED = 690, "reload_required() raised an exception",
        "The script defines this function, which says before each request whether the script must be loaded again.",
        "It counts as no: the request is served by what is loaded.",
        "Mend the function; the traceback says where.";
    OLD_VERSION_KEPT = 691, "the new version of a script does not load, and the old one serves on",
        "The script was changed and its new version raises, cannot be read or is not valid Python; the lines before say why.",
        "Requests are answered by the version that was loaded before.",
        "Mend the script: it is tried again as soon as it changes. After mending something else that it imports, touch it.";
    JUST_FAILED = 692, "the script failed to load for another request at the same time",
        "Several requests waited for a script to be loaded for the first time, and it raised.",
        "500; the next request tries again.",
        "The traceback is in the log of the request that came first.";
    DEADLOCKED = 700, "nothing could take Python's lock for deadlock-timeout",
        "An extension module or a C library keeps the GIL, or waits for something that needs it.",
        "504 for requests under way if nothing was sent yet, else the response is cut off; the worker is replaced at once.",
        "Look at the stacks in the log: the thread that is in a C call without a Python frame below it, or the one that should not wait there.";
    NOT_STARTED = 701, "no script was loaded within startup-timeout",
        "Importing the application takes too long, hangs, or fails again and again.",
        "503 with Retry-After for requests that wait for it; the worker is replaced.",
        "Look at the stacks in the log and at the messages before; raise startup-timeout if the import needs the time.";
    SERVICE_FAILED = 710, "a script of a service failed",
        "A script that WSGIImportScript runs in a process group with threads=0 raised, called sys.exit() with a status, or could not be loaded.",
        "The scripts after it run; when the last has ended the service is started again, after a growing pause.",
        "Mend the script; the message and the traceback say where.";
    SCRIPT_NOT_OWN = 720, "a script is not the user's own",
        "Below a WSGIUserProcess a script must be a regular file of the user (or root, with root-owned-scripts=On), not writable for others, and no symbolic link.",
        "It is not loaded: 500, and what was loaded before is kept.",
        "Do what the text says: chown or chmod the script, or put a file where the link is.";
}

/// The message for a panic: a defect, with its place.
pub fn panicked(panic: &std::panic::PanicHookInfo<'_>) -> String {
    format!("{PANICKED}: rwsgi failed in itself: {panic}").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn numbers_rise_within_the_range_of_this_half() {
        assert!(TABLE.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert!(TABLE.iter().all(|code| (600..800).contains(&code.number)));
    }
}
