//! `WSGIDaemonProcess` and its options.

use super::cap::Cap;
use super::kinds::{
    Absolute, Bytes, Count, Identities, Identity, Milliseconds, PathList, Priority, Seconds, Text, Threads,
    Umask,
};
use super::python_kinds::Interval;
use super::script::invalid_option;
use super::{Context, Directive, OptionText, Place, Target, Words, Wrong, options};

options! {
    /// Who the workers of a process group are and what is theirs alone, as written. What runs below a `WSGIUserProcess` has all this from the owner
    /// of its directory.
    pub struct OwnOptions;

    /// The user that the workers run as. Default: httpd's `User`. Never root. Another user than the current one needs an httpd started
    /// as root.
    user: Identity = "user";

    /// The primary group of the workers. Default: httpd's `Group`.
    group: Identity = "group";

    /// The supplementary groups of the workers, exactly. Default: the user's groups in the group database, none of which may be a
    /// privileged one (`shadow`, `docker`, `sudo`, httpd's own, …): who means it lists them here. With `LoadModule wsgi_module` privileged ones
    /// are left out instead, with a warning. The group `root` is refused always.
    supplementary_groups: Identities = "supplementary-groups";

    /// `PYTHON_EGG_CACHE` of the workers: where `pkg_resources` unpacks eggs. `WSGIPythonEggs` is not taken over.
    python_eggs: Absolute = "python-eggs";

    /// Working directory of the workers, also put at the front of `sys.path`. Default: the user's home directory; `/` when
    /// the user is httpd's own.
    home: Absolute = "home";

    /// Name of the workers in process lists; `%{GROUP}` is `(wsgi:NAME)`.
    display_name: Text = "display-name";

    /// Root directory of the workers. Scripts, `python-home`, `python-path` and `home` are named as they are inside of it, but for the
    /// scripts of aliases, which are named as httpd sees them and must lie below it. It needs a Python, and `/proc` mounted. Needs an httpd
    /// started as root.
    chroot: Absolute = "chroot";

    /// Only scripts that this user owns are run, in directories that it owns; neither may be writable for the group or for others. Default:
    /// any. Else the client gets 403. Not together with `script-group`.
    script_user: Identity = "script-user";

    /// Only scripts of this group are run, in directories of this group; neither may be writable for others. Default: any.
    script_group: Identity = "script-group";

    /// The owner of the socket that httpd's children connect to. Default: root, and httpd's group may connect; it may with this option,
    /// too. Needs an httpd started as root.
    socket_user: Identity = "socket-user";

    /// On: applications may see httpd's scoreboard, by `mod_wsgi.server_metrics()` on the thread of a request: what each child and thread of
    /// httpd does, with the client and the first line of requests, those of other sites included. Default Off.
    server_metrics: super::kinds::OnOff = "server-metrics";
}

options! {
    /// How the workers run, as written: for `WSGIDaemonProcess` and `WSGIUserProcess` alike.
    pub struct GroupOptions;

    /// Worker processes of each application group; the most, with `min-processes`. Default 1. Writing the option at all makes
    /// `wsgi.multiprocess` true.
    processes: Count<1> = "processes";

    /// The least worker processes of each application group, once it has been asked for. Default: as many as `processes`. With fewer there
    /// are as many as requests need: one starts with the first request, another when a request has waited for 0.1 s, and those above the
    /// minimum end after `idle-timeout`. With 0 an application that nobody asks for has no process, and its scripts are not loaded when
    /// httpd starts but with its first worker.
    min_processes: Count<0> = "min-processes";

    /// Seconds without a request after which a worker ends, if there are more than `min-processes`. Default 300. 0: never. Requests with
    /// `WSGIIgnoreActivity On` do not count. No request is lost: one that comes meanwhile goes to another worker.
    idle_timeout: Seconds = "idle-timeout";

    /// On: workers are forked by a *template*, a process of the same user that has loaded the application and does nothing else, so that they
    /// share its memory and are there in milliseconds. Default Off. See "Preloading" below.
    preload: super::kinds::OnOff = "preload";

    /// Request threads of each worker. Default 15. 0 makes it a *service*: it takes no requests and runs, in the main thread of a process,
    /// what `WSGIImportScript` names for it. See "Services" below.
    threads: Threads = "threads";

    /// The Python of the workers: a virtual environment, or the prefix of an installation. Default: `WSGIPythonHome`, else
    /// `/usr/bin/python3`. Each process group may have a Python version of its own, from 3.9.
    python_home: Absolute = "python-home";

    /// Directories put in front of `sys.path`; `.pth` files in them count. Relative ones are below the working directory.
    python_path: PathList = "python-path";

    /// Seconds after which a thread lets others run Python, as with `sys.setswitchinterval()`. Default: `WSGISwitchInterval`, else
    /// Python's own, 0.005.
    switch_interval: Interval = "switch-interval";

    /// File mode creation mask of the workers. Default 0022.
    umask: Umask = "umask";

    /// `LANG` of the workers. Default `C.UTF-8`, with Python's UTF-8 mode on.
    lang: Text = "lang";

    /// `LC_ALL` of the workers.
    locale: Text = "locale";

    /// Priority of the workers: a nice value from -20 (first) to 19 (last). Default 0: as httpd. A negative one needs an httpd started as
    /// root. With control groups (see "Limits" below) it is that of an application as a whole as soon as workers of several users run.
    cpu_priority: Priority = "cpu-priority";

    /// Stack of a request thread in bytes. Default 0: 8 MiB. At least 256 KiB are used.
    stack_size: Bytes<0> = "stack-size";

    /// Processor time after which a worker is replaced. Default 0: no limit. The requests under way have `graceful-timeout`; a worker that
    /// uses `shutdown-timeout` more seconds of processor time than the limit is killed by the kernel.
    cpu_time_limit: Seconds = "cpu-time-limit";

    /// Most memory for data of a worker, in bytes (`RLIMIT_DATA`). Default 0: no limit. Then the application gets `MemoryError`, or
    /// an extension crashes. A worker whose application lets that exception through is replaced once its requests under way are finished.
    memory_limit: Bytes<0> = "memory-limit";

    /// Most address space of a worker, in bytes (`RLIMIT_AS`), the stacks of its threads and all libraries included. Default 0: no limit. Otherwise as
    /// `memory-limit`.
    virtual_memory_limit: Bytes<0> = "virtual-memory-limit";

    /// Most memory of all processes of an application group together, in bytes, at least 16 MiB (16777216); what they have started counts, too. Default 0: no
    /// limit. When it is reached, all of them are killed: requests get 502, or an answer that visibly breaks off, and the log has the limit. Needs control groups: see
    /// "Limits" below.
    application_memory_limit: Bytes<16_777_216> = "application-memory-limit";

    /// Most processes and threads of an application group together. Default 0: no limit. One worker needs as many as `threads`, and up to 8 more. Further
    /// ones are refused (`BlockingIOError`, `RuntimeError: can't start new thread`).
    application_processes_limit: Count<0> = "application-processes-limit";

    /// Most processor time of all processes of an application group together, in hundredths of one processor: 50 is half of one, 200 is two.
    /// Default 0: no limit. It is counted by the half second: who has used up what there is in one waits
    /// for the next.
    application_cpu_limit: Count<0> = "application-cpu-limit";

    /// The same for everything that the user of the group runs here, in bytes: all applications of all groups of this user together. When several groups of a user have
    /// such limits, the strictest of those with running workers holds. Default 0: no limit. The application whose process the kernel chooses is killed as a whole.
    user_memory_limit: Bytes<16_777_216> = "user-memory-limit";

    /// Most processes and threads of everything that the user of the group runs here. Default 0: no limit.
    user_processes_limit: Count<0> = "user-processes-limit";

    /// Most processor time of everything that the user of the group runs here, in hundredths of one processor. Default 0: no limit.
    user_cpu_limit: Count<0> = "user-cpu-limit";

    /// Requests after which a worker is replaced. Default 0: never.
    maximum_requests: Count<0> = "maximum-requests";

    /// Connections that may wait for a worker. Default 100.
    listen_backlog: Count<0> = "listen-backlog";

    /// How long httpd tries to reach a worker whose queue is full. Default 15; 0: not again. Then the client gets 503 with `Retry-After`.
    connect_timeout: Seconds = "connect-timeout";

    /// Most time without a byte between httpd and a worker, notably while the application computes. Default 0: httpd's `Timeout`. Then the
    /// client gets 504, or an answer that visibly breaks off.
    socket_timeout: Seconds = "socket-timeout";

    /// Most time from the arrival of a request until a worker takes it. Default 0: no limit. Then the client gets 504, or 503 with
    /// `Retry-After` if no worker has loaded the application yet; the application has not seen the request.
    queue_timeout: Seconds = "queue-timeout";

    /// Most requests that each application group of this process group may have under way in all of httpd's children together, those that wait
    /// for a worker included: a number, or a share of `MaxRequestWorkers` as in `25%`. Default 0: no limit. One more is answered 503 with
    /// `Retry-After` at once, so that an application that hangs cannot take all of httpd's threads. The log has a line when that begins, and
    /// one with the number of refused requests when it is over.
    request_limit: Cap = "request-limit";

    /// The same for the user of the process group: most requests under way in all process groups of that user that have this option.
    user_request_limit: Cap = "user-request-limit";

    /// Most time for one request. Default 0: no limit. Then the worker is replaced, and the client gets 504 or an answer that
    /// visibly breaks off; the log has the stack. With more than one thread the limit grows, because requests then wait for one another: it is
    /// the value times 1 + ln(`threads`), so 3.3 times the value with 10 threads, 3.7 times with the default of 15.
    request_timeout: Seconds = "request-timeout";

    /// How long a request that has reached `request-timeout` may go on after `mod_wsgi.RequestTimeout` was raised in its thread, before the
    /// worker is replaced. Default 0: nothing is raised. The exception is raised when the thread next runs Python code; a request that it ends
    /// is answered 504 with an empty body, and the worker goes on.
    interrupt_timeout: Seconds = "interrupt-timeout";

    /// How long a worker that was told to end may take before it is killed, once its requests have ended or were given up.
    /// Default 5. 0: no limit. When httpd itself ends, it waits for its workers for 10 s at most; systemd kills those that are left then.
    shutdown_timeout: Seconds = "shutdown-timeout";

    /// How long requests under way may take when a worker is to be replaced. Default 15. New requests go to its successor meanwhile.
    graceful_timeout: Seconds = "graceful-timeout";

    /// The same when SIGUSR1 asks a worker to go. Default 0: `graceful-timeout`.
    eviction_timeout: Seconds = "eviction-timeout";

    /// Age at which a worker is replaced. Default 0: never.
    restart_interval: Seconds = "restart-interval";

    /// Time without a request after which a worker is replaced by a fresh one, which has loaded nothing yet. Default 0: never. A worker
    /// that has had no request stays. Requests with `WSGIIgnoreActivity On` do not count.
    inactivity_timeout: Seconds = "inactivity-timeout";

    /// Most time from the first request until a script is loaded, and from the start of a worker until it is ready. Default 0: no limit, and
    /// 5 minutes. Then the log gets the stacks of all threads, requests are answered 503 with `Retry-After`, and the worker is replaced.
    startup_timeout: Seconds = "startup-timeout";

    /// Most time for which nothing may be able to take Python's lock (the GIL). Default 300; 0: no limit. Then the log gets the stacks of all
    /// threads, requests are answered 504, and the worker is replaced at once. Watched by a thread of the worker that needs no
    /// lock, and by the manager.
    deadlock_timeout: Seconds = "deadlock-timeout";

    /// Most time for which a client may take nothing of an answer. Default 0: `socket-timeout` if that is given, else httpd's `Timeout`. Then
    /// the connection is closed, and the worker is free again. No effect for HTTP/2, whose streams share a connection.
    response_socket_timeout: Seconds = "response-socket-timeout";

    /// How long to wait for more of an answer before what there is is sent, in milliseconds. Default 0: it is sent when no more is
    /// there at that moment.
    response_flush_delay: Milliseconds = "response-flush-delay";

    /// Bytes of an answer after which it is sent even if there is more, at least 65536. Default 0: httpd decides.
    response_buffer_size: Bytes<65536> = "response-buffer-size";

    /// Most bytes of an answer on their way from a worker to httpd, at least 512 (`SO_SNDBUF` of the worker's end). Default 0: the
    /// system's. A smaller one makes the application wait sooner for a slow client.
    send_buffer_size: Bytes<512> = "send-buffer-size";

    /// Most bytes of a request on their way from httpd to a worker, at least 512 (`SO_SNDBUF` of httpd's end). Default 0: the system's.
    receive_buffer_size: Bytes<512> = "receive-buffer-size";

    /// Longest header of an answer in bytes, name and value, at least 8192. Default 0: 1 MiB for all of them. Longer ones are 500.
    header_buffer_size: Bytes<8192> = "header-buffer-size";
}

/// All options of `WSGIDaemonProcess`.
pub const OPTIONS: &[&[OptionText]] = &[OwnOptions::OPTIONS, GroupOptions::OPTIONS];

/// A process group as written.
#[derive(Clone, Debug)]
pub struct RawGroup {
    /// Its name.
    pub name: String,
    /// Who its workers are.
    pub own: OwnOptions,
    /// How they run.
    pub options: GroupOptions,
    /// Where it was written.
    pub place: Place,
}

/// The directive.
pub const DAEMON_PROCESS: Directive = Directive {
    name: c"WSGIDaemonProcess",
    context: Context::Server,
    usage: c"name [name=value ...]",
    text: "Defines a process group: workers that run applications as a user of their own, with a Python of their own. Requests are sent \
to it by `WSGIProcessGroup`, or by the `process-group` option of an alias. Workers start when their application group is first asked for. \
A group defined in a virtual host serves virtual hosts of the same `ServerName` only. Names are unique in the whole configuration.\n\n\
Numbers are digits only: `5s` is refused here, where mod_wsgi reads it as 5.\n\n\
**Services.** With `threads=0` the scripts of `WSGIImportScript` are the program: each application group has `processes=` processes of its \
own, which run its scripts one after the other in their main thread, as the group's user, in a main interpreter. A script is expected to go \
on, in a loop or waiting. When httpd ends, when the service is no longer configured as it was, or at SIGTERM, `SystemExit` is raised in it (it \
may have a handler of its own: `signal.signal` works); then exit functions run, and after `shutdown-timeout` the process is ended by force, \
with the stacks of its threads in the log. When the last script has returned, or was ended by `sys.exit()`, and no thread is left that is not a \
daemon, the service is started again after a second; when a script failed, after 1, 2, 4 … 60 seconds. A restart of httpd, graceful or not, \
starts a service anew if its options or one of its scripts have changed (touch the script), and leaves it alone else. Two of it never overlap. \
Of the time limits, `shutdown-timeout`, `restart-interval` and `cpu-time-limit` hold for it; the others are about requests.\n\n\
**Preloading.** With `preload=On` the first worker of an application group is preceded by a template: an ordinary worker, already the group's \
user, that takes no requests. It loads what `WSGIImportScript` names for it, or the script of the first request, and then forks the workers, \
as `os.fork()` does: functions of `os.register_at_fork()` run, `random` is seeded anew. When a script changes, a new template loads it \
first, and the workers that replace the others come from that. A template has no thread: an application that starts one when it is \
imported cannot be preloaded, nor one that does not load or whose template dies. Then the workers start each by itself, and the log says why; it is \
tried again with a start after a minute, and when a script changes. What the application opens when it is imported (files, sockets, connections to \
databases) is shared by all workers: open it with the first request, or in `os.register_at_fork(after_in_child=...)`. What other \
libraries keep of random numbers or process numbers is theirs to renew there, too. Exit functions do not run in a template. With fewer \
`min-processes` than `processes` it ends when no worker has run for `idle-timeout`. It is no worker in what `processes` and `WSGIMaxWorkers` count.\n\n\
**Limits.** `memory-limit`, `virtual-memory-limit` and `cpu-time-limit` are about each process. The options that begin with `application-` and `user-` are about processes \
together, and need control groups: an httpd started as root, and either version 2, delegated (`Delegate=yes` in the systemd unit of httpd), or version 1. Without them \
workers run without these limits, and the log says why (RW0501). A changed limit holds for running workers at once, at a graceful restart, and replaces none. The log has a line \
when a limit begins to bite (RW0502 to RW0504). Control groups also make users equal: as soon as workers of several users run, each user gets the same \
part of the processor time that is short, whatever the number of processes, or more and less by the `cpu-priority` of its applications; httpd's \
threads compete with all workers together, not with each.\n",
    set,
};

/// These may be written without a value, and generators of configurations do so (`python-path=''` of mod_wsgi-express).
const AS_IF_ABSENT: [&str; 6] = [
    "lang",
    "locale",
    "display-name",
    "python-home",
    "python-path",
    "python-eggs",
];

fn set(target: &mut Target<'_>, words: &mut Words<'_>, place: &Place) -> Result<(), Wrong> {
    let name = words.next().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Wrong::new("has no name", "write the name of the process group first"))?;
    if name.starts_with('~') {
        return Err(Wrong::new(
            format!("{name} has a name that begins with '~'"),
            "choose another: such names are those of users below a WSGIUserProcess",
        ));
    }
    let (mut own, mut options) = (OwnOptions::default(), GroupOptions::default());
    while let Some(option) = words.next_option() {
        let (option, value) = option.map_err(|wrong| wrong.about(&name))?;
        if value.is_empty() && AS_IF_ABSENT.contains(&option.as_str()) {
            continue;
        }
        if let Some(result) = own
            .take(&option, &value)
            .or_else(|| options.take(&option, &value))
        {
            result.map_err(|wrong| wrong.about(format_args!("{name} {option}={value}")))?;
            continue;
        }
        return Err(invalid_option(
            &name,
            &option,
            OPTIONS
                .iter()
                .flat_map(|options| options.iter().map(|option| option.0)),
        ));
    }
    target.server()?.groups.push(RawGroup {
        name,
        own,
        options,
        place: place.clone(),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{RawServer, apply};
    use super::*;

    fn read(line: &str) -> Result<RawGroup, String> {
        let mut server = RawServer::default();
        apply(
            &DAEMON_PROCESS,
            Target::Server(&mut server),
            line.as_bytes(),
            &Place::default(),
        )?;
        Ok(server.groups.remove(0))
    }

    #[test]
    fn the_last_of_two_equal_options_counts() {
        let group = read("site threads=5 processes=2 threads=7 user=#1000").unwrap();
        assert_eq!(group.options.threads, Some(Threads(7)));
        assert_eq!(group.options.processes, Some(Count(2)));
        assert_eq!(group.own.user, Some(Identity::Number(1000)));
    }

    #[test]
    fn a_wrong_value_is_refused_with_group_option_value_and_remedy() {
        let said = read("site request-timeout=5s").unwrap_err();
        assert_eq!(
            said,
            "WSGIDaemonProcess site request-timeout=5s has the value '5s', which is not a number it can take; give a whole number \
             of seconds, digits only"
        );
    }

    #[test]
    fn some_options_may_be_empty() {
        let group = read("site python-path='' lang='' supplementary-groups=''").unwrap();
        assert_eq!(group.options.python_path, None);
        assert_eq!(
            group.own.supplementary_groups,
            Some(super::super::kinds::Identities(vec![]))
        );
        assert!(read("site home=''").is_err());
    }

    #[test]
    fn the_names_of_users_are_not_for_groups() {
        let said = read("~ann threads=5").unwrap_err();
        assert!(said.contains("WSGIDaemonProcess ~ann has a name"), "{said}");
        assert!(read("a~").is_ok());
    }

    #[test]
    fn unknown_options_list_the_known_ones() {
        let said = read("site thread=5").unwrap_err();
        assert!(
            said.contains("Invalid option 'thread'") && said.contains("threads"),
            "{said}"
        );
    }
}
