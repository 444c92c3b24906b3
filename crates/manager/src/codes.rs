//! Messages of the manager at warning or above, RW0400 to RW0599. A number is used at one place and never again for another thing.

use rwsgi_wire::code::Code;

macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal, $cause:literal, $outcome:literal, $action:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: Code = Code {
                number: $number,
                title: $title,
                cause: $cause,
                outcome: $outcome,
                action: $action,
            };
        )*
        /// All of them, in order.
        pub const TABLE: &[Code] = &[$($name,)*];
    };
}

codes! {
    FOREIGN_MESSAGE = 401, "Control message from a foreign process",
        "A process other than httpd's parent wrote to the manager's control socket.",
        "The message is ignored.",
        "Find out what that process is: it may be a compromised httpd child.";
    UNREADABLE_MESSAGE = 402, "Control message cannot be read",
        "Module and manager are of different builds, or the message was damaged.",
        "The configuration is refused; the previous one stays.",
        "Install module, manager and Python half together, then stop and start httpd.";
    CONFIGURATION_REFUSED = 403, "Configuration refused by the manager",
        "A process group wants to run as root or, without root, as somebody else; or the runtime directory or the Python half is unusable; the text says which.",
        "httpd does not start, or keeps the previous configuration.",
        "Do what the text says.";
    FOREIGN_PEER = 404, "Connection to the manager from a foreign user",
        "A process that is neither httpd's child nor root connected to manager.sock.",
        "The connection is closed unread.",
        "Check the permissions of the runtime directory and who that user is.";
    MALFORMED_QUESTION = 405, "Question to the manager cannot be read",
        "An httpd child of another build, or a compromised one.",
        "That connection is closed.",
        "Stop and start httpd after an upgrade.";
    TOO_MANY_CONNECTIONS = 406, "Manager cannot accept more connections",
        "More connections at once than the manager keeps, or it is out of descriptors.",
        "Connections wait or are closed; requests for pools not yet known get 503.",
        "Raise the limit of open files for httpd's service.";
    NO_SOCKET = 407, "Socket of a pool cannot be made",
        "The runtime directory is gone, full or unwritable.",
        "Requests for this pool get 503.",
        "Check the runtime directory named in the text; restart httpd if it was removed.";
    NO_WORKER = 408, "Worker process cannot be started",
        "fork or exec of the manager itself failed: process limit, memory, or descriptors.",
        "Tried again after a growing pause; meanwhile requests get 503 with Retry-After.",
        "Look at the limits of httpd's service (TasksMax, LimitNOFILE, MemoryMax).";
    DROPPED_LINES = 409, "Lines of a worker were dropped",
        "The worker writes faster than lines may go to the log, or the log cannot be written without waiting, or its disk is full.",
        "The number of lines in the text is lost.",
        "Let the application log less, or to a file of its own.";
    SUCCEEDED = 410, "A manager has died and another one goes on in its place",
        "The process named in the text was killed or crashed, or hung for 8 seconds and was killed by the kernel.",
        "Workers and the requests in them go on; requests that need a worker to be started wait for a moment.",
        "Find out who killed it (memory, an operator), or report the crash.";
    NOT_ADOPTED = 411, "A worker is not gone on with",
        "Process id, time of start, user or control group of a process are not those that an earlier manager has noted.",
        "Its connection is closed; another worker takes its place.",
        "Nobody but root could have changed what is noted, or moved a worker to another control group. If you did not, report this.";
    NOT_KEPT = 412, "Something would be lost with the manager",
        "The system refuses to pass descriptors to the keeper: too many of them are on their way, or open.",
        "It goes on, and ends if the manager dies.",
        "Raise the limit of open files for httpd's service.";
    NO_CONFIGURATION = 413, "A new manager cannot use the configuration of the one before it",
        "A file or directory that it names is not as it was; the text says which.",
        "Workers that run go on; requests that need another one get 503.",
        "Do what the text says, and restart httpd.";
    OTHER_VERSION = 414, "A manager of another version cannot go on",
        "rwsgi was upgraded while httpd ran, and the manager was started anew.",
        "The former version goes on.",
        "Stop and start httpd.";
    NO_MANAGER = 415, "The manager cannot be started again",
        "fork or exec of the keeper failed: process limit, memory, or the program is gone.",
        "Workers that run go on; requests that need another one get 503.",
        "See the reason in the text; restart httpd if it does not pass.";
    LIMITS_FAILED = 420, "Resource limits cannot be set",
        "setrlimit failed.", "The worker is not started.", "See the reason in the text.";
    SESSION_FAILED = 421, "Session cannot be made",
        "setsid failed.", "The worker is not started.", "See the reason in the text.";
    GROUPS_FAILED = 422, "Supplementary groups cannot be set",
        "setgroups failed: too many groups, or the manager lacks CAP_SETGID.",
        "The worker is not started; there is no fall-back.",
        "Check supplementary-groups and the capabilities of httpd's service.";
    GROUP_FAILED = 423, "Group cannot be changed",
        "setresgid failed: the manager lacks CAP_SETGID.",
        "The worker is not started; there is no fall-back.",
        "Check the capabilities of httpd's service.";
    USER_FAILED = 424, "User cannot be changed",
        "setresuid failed: the user is at its process limit, or the manager lacks CAP_SETUID.",
        "The worker is not started; there is no fall-back.",
        "Check the user's process limit and the capabilities of httpd's service.";
    NOT_DROPPED = 425, "Privilege was not given up",
        "After the change of user, ids or groups differ from what was configured, or root could be regained.",
        "The worker is not started; there is no fall-back.",
        "Report this: it points to a kernel or container that fakes identities.";
    PRIVILEGES_FAILED = 426, "no_new_privs cannot be set",
        "prctl failed.", "The worker is not started.", "See the reason in the text.";
    ORPHANED = 427, "Worker lost its manager while starting",
        "The manager ended in the meantime, or prctl failed.", "The worker is not started.", "None; httpd starts a new manager.";
    ENVIRONMENT_FAILED = 428, "Environment cannot be made",
        "A configured value holds a NUL byte.", "The worker is not started.", "Correct lang, locale or the user's entry.";
    DIRECTORY_FAILED = 429, "Working directory cannot be entered",
        "The home option, or the user's home directory, is missing or closed to the user.",
        "The worker is not started.",
        "Set home=DIRECTORY to one that the user may enter.";
    DESCRIPTORS_FAILED = 430, "Descriptors cannot be closed",
        "close_range failed: a kernel older than 5.9.", "The worker is not started.", "Use a newer kernel.";
    EXEC_FAILED = 431, "Python cannot be executed",
        "exec failed: not a program for this machine, a file system mounted noexec, or the user's process limit.",
        "The worker is not started.",
        "Try to run the program named in the text as that user.";
    ROOT_REFUSED = 432, "Worker as root refused",
        "The settings of a worker name uid 0.", "The worker is not started.", "Name another user.";
    HOME_RELATIVE = 440, "python-home is not an absolute path",
        "The configured path does not begin with a slash.", "The worker is not started.", "Write the whole path.";
    HOME_MISSING = 441, "python-home does not exist",
        "The configured directory, or one above it, is missing.", "The worker is not started.",
        "Correct python-home, or create the venv.";
    HOME_NOT_DIRECTORY = 442, "python-home is not a directory",
        "It names a file, often the python program itself.", "The worker is not started.",
        "Name the directory that holds bin/python3.";
    HOME_WITHOUT_PYTHON = 443, "python-home has no Python",
        "Neither bin/python3 nor bin/python is in it.", "The worker is not started.",
        "Name a venv or the prefix of a Python installation.";
    PYTHON_NOT_EXECUTABLE = 444, "Python program is not executable",
        "The file is not a regular file or lacks the execute permission.", "The worker is not started.",
        "Correct its permissions.";
    PYTHON_FORBIDDEN = 445, "Python is closed to the user",
        "A directory or file on the way to the program may not be passed by the worker's user.", "The worker is not started.",
        "Open what the text names to that user, or install Python elsewhere (not below a private home directory).";
    VENV_ORPHANED = 446, "The venv's own Python is gone",
        "A venv borrows the Python it was made with, and that one has been removed or moved.", "The worker is not started.",
        "Create the venv again.";
    PYTHON_TOO_OLD = 447, "Python is older than 3.9",
        "pyvenv.cfg, the program's name or the prefix shows an older version.", "The worker is not started.",
        "Use Python 3.9 or newer.";
    NO_SYSTEM_PYTHON = 448, "No python3 on the fixed PATH",
        "No python-home is configured and the system has no python3 that the user may execute.", "The worker is not started.",
        "Install Python 3, or set python-home.";
    GATEWAY_UNREADABLE = 449, "Python half is closed to the user",
        "The file _rwsgi.abi3.so is not readable for the worker's user.", "The worker is not started.",
        "Make the file readable for all (chmod a+r).";
    CANNOT_SERVE = 450, "Worker says that it cannot serve",
        "The text is its own: Python too old, the Python half does not load, …", "Requests of this pool get 500.",
        "Do what the text says.";
    LOST_ON_THE_WAY = 451, "Worker died while being set up",
        "The process ended between two steps of its journey without giving a reason.", "Tried again after a growing pause.",
        "See the cause of death in the text (memory, a signal).";
    DIED_BEFORE_READY = 452, "Worker died before it was ready",
        "Python or an imported extension crashed or exited at start.",
        "Tried again after a growing pause; meanwhile requests get 503 with Retry-After.",
        "See the cause of death and the lines before it.";
    DIED = 453, "Worker died",
        "The application or an extension crashed, exited, or ran out of memory.",
        "Requests it was running get 502; it is replaced at once, or after a pause if that happens often. A service is started again after a growing pause.",
        "See the cause of death in the text.";
    KILLED_LATE = 454, "Worker was killed because it did not end in time",
        "A request ran longer than the time allowed to a leaving worker, or a thread does not return.",
        "Requests still running in it are lost.",
        "Raise graceful-timeout or shutdown-timeout, or find what hangs.";
    BACKING_OFF = 455, "Pool is waiting before it tries again",
        "Its workers keep dying, or the scripts of a service fail.", "If they die at start, requests get 503 with Retry-After until one is ready; if ready ones die too often, requests wait for about a second.",
        "Find the cause in the lines before.";
    WORKER_PROTOCOL = 456, "Worker broke the protocol",
        "It wrote something else than control messages to descriptor 4.", "It is killed and replaced.",
        "Look for application code that writes to descriptors it did not open.";
    START_LIMIT = 457, "Worker was killed because it did not become ready",
        "Python or the preloaded scripts took longer than the start limit.",
        "It counts as a death before ready.",
        "Find what blocks at import.";
    SPOILED_POOL = 458, "Socket of a pool has vanished",
        "Something removed it from the runtime directory.", "The pool is made anew.",
        "Keep cleaners of temporary files away from the runtime directory.";
    LOOP_FAILED = 459, "Manager's event loop failed",
        "The kernel refused a basic call.", "The manager ends all workers and exits; httpd starts it anew.",
        "See the reason in the text; report this.";
    TOO_MANY_POOLS = 460, "Too many pools",
        "More application groups are in use than the manager keeps.", "Requests for further ones get 503.",
        "Name application groups explicitly.";
    SPOILED_DOOR = 461, "manager.sock has vanished",
        "Something removed it, or the whole runtime directory.", "It is made anew; in between, requests for pools not yet known got 503.",
        "Keep cleaners of temporary files away from the runtime directory.";
    CROWDED = 462, "No worker can be started for a pool",
        "There are as many workers as WSGIMaxWorkers, or as WSGIMaxMemory allows, and none of them is idle and may be ended; or so many applications get their first request at once that this one's turn to start did not come in time.",
        "Its requests have waited for startup-timeout, or for 30 seconds, and get 503 with Retry-After. Told at most once a minute.",
        "Raise WSGIMaxWorkers if there is memory for more workers; find out what keeps the others busy; give groups min-processes=0, so that idle workers make room.";
    NO_TEMPLATE = 463, "Pool has no template",
        "The application starts threads when it is imported, does not load, or kills the template that loads it for its workers (preload=On).",
        "Its workers start each by itself, without shared memory. A template is tried again with a start after a minute, and when a script changes.",
        "The text says why: start threads with the first request; mend what does not load; or remove preload=On.";
    NOT_FORKED = 464, "A template cannot fork a worker",
        "The system refused: the user is at its limit of processes, or memory is short.", "The pool waits before the next try; its requests get 503 with Retry-After unless other workers serve.",
        "See the reason in the text; raise the limit, or lower processes.";
    ROOT_DIRECTORY_FAILED = 465, "Root directory cannot be changed",
        "The directory of the chroot option is missing, or the manager lacks CAP_SYS_CHROOT.", "The worker is not started.",
        "Correct chroot, or the capabilities of httpd's service.";
    ROOT_WITHOUT_PROC = 466, "The new root directory has no /proc",
        "Python and its modules find their files through it.", "The worker is not started.",
        "Mount it there: mount --bind /proc DIRECTORY/proc.";
    CAPABILITIES_FAILED = 467, "Capability bounding set cannot be dropped",
        "prctl failed.", "The worker is not started.", "See the reason in the text.";
    MEMORY_LIMITS_FAILED = 468, "Memory limits cannot be set",
        "setrlimit failed.", "The worker is not started.", "See the reason in the text.";
    CAPABILITIES_KEPT = 469, "Capabilities cannot be given up",
        "capset failed.", "The worker is not started.", "See the reason in the text.";
    OUT_OF_REACH = 470, "Sockets are out of httpd's reach",
        "A directory above the sockets is closed to httpd's user, so its children cannot ask for workers.", "Requests for workers get 503.",
        "Let that user pass through the directory (chmod o+x), or set WSGISocketPrefix to a path elsewhere.";
    NOT_ENDED = 471, "Worker was killed and does not end",
        "It sleeps in the kernel, where no signal ends it: mostly on a file system whose server has gone (NFS, FUSE), or on a broken disk.",
        "It keeps its place in the numbers of workers until it ends. Its pool may start as many others as it has processes; requests that it was running end at their time limits.",
        "Mend the file system, or unmount it with umount -f; the worker then ends by itself, which is told as a notice.";
    LINES_LOST = 472, "Lines of a log were dropped",
        "The log could not be written: its disk is full or hangs, or the program that it is piped to does not read.",
        "The number of lines in the text is lost: messages of the manager, and what workers have written. Nobody has waited for them.",
        "Make room, or mend the file system or the program.";
    NO_SCRIBE = 473, "The process that writes the logs cannot be started",
        "fork or exec failed: process limit, memory, or descriptors.",
        "httpd does not start, or keeps the previous configuration.",
        "Look at the limits of httpd's service (TasksMax, LimitNOFILE, MemoryMax).";
    NO_ACCOUNT = 480, "No such user (C6)",
        "A path below a base names a user whom the system does not know, or not any more.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Create the account, or remove the directory.";
    LOOKUP_FAILED = 481, "User cannot be looked up (C6)",
        "The name service failed or did not answer within 5 s; the text has its words.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Look after the name service (nsswitch.conf, sssd, LDAP); it is asked again after 5 s.";
    ACCOUNT_AMBIGUOUS = 482, "Name and user id do not lead to one another (C6)",
        "Two names share a user id, or the name service spells the name differently.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Give each user an id of its own, and name the directory as the account.";
    NO_GROUP = 483, "No such group (C7)",
        "The user's primary group has no entry.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Create the group, or change the account.";
    ACCOUNT_NOT_ALLOWED = 484, "User may not run applications (C9)",
        "The user is root, httpd's own user or nobody, has an id outside of min-uid and max-uid, or is in deny-users.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Nothing if that is meant; else change the options of the base.";
    GROUP_NOT_ALLOWED = 485, "User is in a privileged group (C10)",
        "One of the user's groups gives power over the machine (root, shadow, disk, docker, sudo, …) or is httpd's own.",
        "The application is not started and its requests are refused; the user's own log has a note, unless the group is the first of that user.",
        "Take the user out of that group.";
    ACCOUNT_EXPIRED = 486, "Account has expired (C22)",
        "The shadow entry names a day of expiry that has come.",
        "The application is not started and its requests are refused; the user's own log has a note.",
        "Nothing if that is meant; else chage -E.";
    HOME_NOT_OWN = 487, "Home directory is missing or not the user's (C22)",
        "The account's home directory does not exist, is no directory or belongs to somebody else.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Create it and give it to the user.";
    WAY_NOT_SAFE = 488, "A directory on the way can be changed by others (C13)",
        "It belongs to another user, or its group or everybody may write it: they could exchange what the user runs.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Do what the text says (chown, chmod go-w).";
    WAY_LEADS_OUT = 489, "Application cannot be reached within its base (C12)",
        "A component of the path is missing, closed to the user, no directory, or a symbolic link.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Use a directory where the text names something else; above a base root's own links are followed.";
    SCRIPT_NOT_A_FILE = 490, "Script is not a regular file (C14)",
        "It is missing, a symbolic link, a directory, a FIFO or a device.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Put the script itself there.";
    SCRIPT_WRITABLE = 491, "Script can be written by others (C15)",
        "Its group or everybody may write it.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "chmod go-w it.";
    SCRIPT_SETUID = 492, "Script is set-id (C16)",
        "The set-user-id or set-group-id bit is on.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "chmod ug-s it.";
    NOT_OWN = 493, "Script or directory belongs to somebody else (C17)",
        "What runs as a user must belong to that user (or root, with root-owned-scripts=On).",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "chown it.";
    SCRIPT_UNREADABLE = 494, "Script is closed to its user (C18)",
        "The user may not read it.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "chmod u+r it.";
    PYTHON_NOT_OWN = 495, "Python can be changed by others (C24)",
        "The venv or version that the application names belongs to another user, or others may write its program.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Create the venv as the user, from a Python of root or of that user.";
    NO_SUCH_VERSION = 496, "Python version is not there (C24)",
        ".python-version is unreadable, names no version, or one that is neither in python-versions nor in the user's ~/.pyenv/versions.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Name a version that is there, or create a venv.";
    NO_APPLICATION = 497, "A child asked for something that cannot be an application (C5)",
        "The user, directory or script in a question is empty, has '..' or control characters, or is too long; or there is no such base.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Find out why: httpd's children do not ask that, a compromised one may.";
    USER_FULL = 498, "User has as many workers as user-processes allows (C25)",
        "All workers of the user are busy and another application of the same user needs one.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Raise user-processes of the base if the machine has room for more.";
    ACCOUNT_SUSPENDED = 499, "Account is suspended (C22)",
        "Its login shell is one of those that suspended-shells of the base names.",
        "The application is not started and its requests are refused; the user's own log has a note.",
        "Nothing if that is meant; else chsh.";
    CONFINEMENT_FAILED = 500, "Control group cannot be entered",
        "Somebody has removed the group, or the kernel refuses new members.", "The worker is not started; there is no fall-back.",
        "See the reason in the text. Leave the groups below rwsgi-PID to the manager.";
    LIMITS_NOT_KEPT = 501, "Limits of applications or users cannot be kept",
        "A process group has such limits, and the manager cannot make control groups, or a controller is missing: the text says why.",
        "Workers run without these limits; those of each process hold.",
        "Do what the text says, or remove the limits. If httpd's unit has Delegate= and no CAP_SYS_ADMIN: systemd shows it to httpd from version 251 on.";
    MEMORY_REACHED = 502, "Memory limit of an application or user was reached",
        "application-memory-limit or user-memory-limit: the kernel has killed a process of the application, and the others are killed with it.",
        "Requests it was running get 502 or break off; its next worker starts at once, or after a pause if that happens often.",
        "Find out what needs the memory; raise the limit if it is not an error.";
    PROCESSES_REACHED = 503, "Limit on processes and threads was reached",
        "application-processes-limit or user-processes-limit: a fork, or the start of a thread, was refused.",
        "The application sees an error. Told when it begins; that it has not happened for a minute is told as a notice.",
        "Find out what starts them; a worker needs its threads and a few more.";
    CPU_REACHED = 504, "Limit on processor time was reached",
        "application-cpu-limit or user-cpu-limit: processes had to wait for half a second or more within five.",
        "Its requests take longer. Told when it begins; that it has not happened for a minute is told as a notice.",
        "Nothing, if that is what the limit is for.";
    MEMORY_IN_USE = 505, "Memory limit cannot be lowered yet",
        "The application uses more memory than its new limit.",
        "The former limit holds; it is tried again every five seconds.",
        "Wait, or have its workers replaced (touch the script).";
    QUOTA_FAILED = 506, "Limit of a running application cannot be changed",
        "The kernel has refused it, or somebody has removed the control group.",
        "The former limit holds.",
        "See the reason in the text.";
    NOT_RENEWED = 520, "the new version of a script cannot be loaded, and the old one serves on",
        "A script was changed. A worker was started for the new version, and the script raised, is not valid Python, cannot be read, lacks a callable that requests are given, or the worker died.",
        "Requests are answered by the workers that have the old version.",
        "Mend the script: it is tried again as soon as it changes. After mending something else that it imports, touch it. The traceback is in the log, before this line.";
    NOT_JOINED = 521, "A further worker does not serve beside others",
        "A worker was to start beside others and ended before it was ready, or got its first request for a script that they have loaded and could not load it: usually it has changed since.",
        "It leaves, and the request goes to the others. It is tried again every five seconds, and when the script has been mended.",
        "Mend the script; the text and the lines above it say what is wrong.";
    DIED_LOADING = 522, "Worker died while it loaded a script for its first request",
        "The script, or an extension that it imports, crashed, exited or ran out of memory, and no worker of the pool serves anything else.",
        "502. The next worker loads the script before it takes requests, after a growing pause (1 to 60 seconds); meanwhile requests get 503 with Retry-After.",
        "See the cause of death in the text. A script that is changed or touched is tried at once.";
    SCRIPT_TOO_LARGE = 535, "Script is too large (C15)",
        "It has more than 16 MiB.",
        "The application is not started and its requests are refused; the user's own log has a note where the check is made as the user.",
        "Put what is data into files of their own.";
    DESCRIPTORS_LEFT = 536, "Descriptors are left open (C26)",
        "After all others were closed, a process on its way to Python has more than those of a worker, or cannot see which it has.",
        "The worker is not started; there is no fall-back.",
        "Report this: it points to a kernel or container that only claims to close them.";
    FOREIGN_ADMINISTRATOR = 550, "Connection of a foreign process to the manager's ctl.sock",
        "A process that is not root's connected, although the socket's mode lets nobody else in: it has capabilities that it should not have, or has been \
         given the connection.",
        "The connection is closed; nothing else changes.",
        "Find out which process it is. rwsgictl is for root.";
    MALFORMED_QUERY = 551, "Question on ctl.sock cannot be read",
        "rwsgictl and the manager are of different builds, or something else writes to the socket.",
        "It is told so, and the connection is closed; nothing else changes.",
        "After an installation stop and start httpd, so that the manager is the one that was installed.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_stay_in_the_range_of_the_manager() {
        assert!(TABLE.windows(2).all(|w| w[0].number < w[1].number));
        assert!(TABLE.iter().all(|c| (400..600).contains(&c.number)));
    }

    #[test]
    fn every_code_is_used_at_one_place() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut text = String::new();
        for entry in std::fs::read_dir(source).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|n| n != "codes.rs") {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
        let own = include_str!("codes.rs");
        let names: Vec<&str> = own
            .lines()
            .filter_map(|l| {
                l.trim()
                    .split_once(" = ")
                    .filter(|(_, rest)| rest.starts_with(['4', '5']))
            })
            .map(|(name, _)| name)
            .filter(|n| n.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            .collect();
        assert_eq!(names.len(), TABLE.len());
        for name in names {
            let used = text.matches(&format!("codes::{name}")).count();
            let longer = text.matches(&format!("codes::{name}_")).count();
            assert_eq!(used - longer, 1, "codes::{name}");
        }
    }
}
