//! `WSGIUserProcess` and `WSGIUserOptions`: applications that run as the user whose directory they are in.

use core::ffi::CStr;
use std::path::PathBuf;

use rwsgi_wire::base::{Tuning, check_pattern, is_relative, is_user};

use super::daemon::GroupOptions;
use super::kinds::{Absolute, Count, Kind, OnOff, PathList};
use super::script::invalid_option;
use super::{Context, Directive, Place, Target, Words, Wrong, options};

options! {
    /// What a base has besides the options of process groups.
    pub struct UserProcessOptions;

    /// The lowest user id that may own applications. Default 1000.
    min_uid: Count<1> = "min-uid";

    /// The highest user id that may own applications. Default 60000.
    max_uid: Count<1> = "max-uid";

    /// Login names whose applications are refused, separated by commas.
    deny_users: LoginNames = "deny-users";

    /// Login shells that mean that an account is suspended, absolute paths separated by colons: who has one of them runs no applications. Default:
    /// none, since many accounts without a shell are in use.
    suspended_shells: AbsoluteList = "suspended-shells";

    /// On: scripts, and the directories they are in, may belong to root instead of the user: for applications that the administrator has
    /// installed in a user's directory. Default Off.
    root_owned_scripts: OnOff = "root-owned-scripts";

    /// Directories with one Python per sub-directory, named by its version, as pyenv has them in `versions`. They and all above them must
    /// belong to root. Here the `.python-version` of an application is looked up, before `~/.pyenv/versions` of its user.
    python_versions: AbsoluteList = "python-versions";

    /// Most workers of one user below this base, all applications together. Default 10. 0: no limit.
    user_processes: Count<0> = "user-processes";

    /// The user's own log, a path below the home directory: what the error log has of the user's applications, that is, what they write to
    /// `wsgi.errors`, `sys.stdout`, `sys.stderr` and by `logging`, tracebacks, and why one was not started. Written as the user, and made with mode
    /// 0640; its directory is made if the one above is there. From 10 MiB on it is renamed to end with `.1`, in place of the one before; who moves
    /// it away gets a new one. At most 1,000 lines a second of each process in the long run; what does not fit on the disk is counted in the next line that does.
    /// What libraries and other programs write to descriptors 1 and 2, and what a worker died of, comes a second later and without what is more than 64 KiB at a time. Default `logs/wsgi.log`. Empty: none.
    user_log: BelowHome = "user-log";
}

options! {
    /// What a user may change of an application; unset is `None`.
    pub struct UserOptions;

    /// Most workers of the application.
    processes: Tuned = "processes";

    /// Workers that stay when nobody asks for the application.
    min_processes: Tuned = "min-processes";

    /// Request threads of each worker.
    threads: Tuned = "threads";

    /// Seconds without a request after which a worker ends. 0: never.
    idle_timeout: Tuned = "idle-timeout";

    /// Most time for one request, in seconds. 0: no limit.
    request_timeout: Tuned = "request-timeout";

    /// Requests after which a worker is replaced. 0: never.
    maximum_requests: Tuned = "maximum-requests";
}

impl UserOptions {
    /// As the manager has it.
    pub fn tuning(&self) -> Tuning {
        let value = |option: Option<Tuned>| option.map(|number| number.0);
        Tuning {
            processes: value(self.processes),
            min_processes: value(self.min_processes),
            threads: value(self.threads),
            idle_timeout: value(self.idle_timeout),
            request_timeout: value(self.request_timeout),
            maximum_requests: value(self.maximum_requests),
        }
    }
}

/// A base as written.
#[derive(Clone, Debug)]
pub struct RawBase {
    /// The directories, with `*` for the user's name.
    pub pattern: String,
    /// What is its own.
    pub own: UserProcessOptions,
    /// How workers run; what is not written has defaults of its own.
    pub options: GroupOptions,
    /// Where it was written.
    pub place: Place,
}

/// A number that a user writes: digits only, and a huge one is as good as the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuned(pub u32);

impl Kind for Tuned {
    const USAGE: &'static CStr = c"number";

    fn parse(word: &str) -> Result<Self, Wrong> {
        if !word.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Wrong::new(
                format!("has the value '{word}', which is not a number"),
                "give a whole number, digits only",
            ));
        }
        let number = word.parse::<i32>().unwrap_or(i32::MAX);
        Ok(Self(number.unsigned_abs()))
    }
}

/// Login names separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginNames(pub Vec<String>);

impl Kind for LoginNames {
    const USAGE: &'static CStr = c"name[,name...]";

    fn parse(word: &str) -> Result<Self, Wrong> {
        let names = word.split(',').map(|name| match is_user(name.as_bytes()) {
            true => Ok(name.to_owned()),
            false => Err(Wrong::new(
                format!("has '{name}', which is not a login name"),
                "write login names separated by commas, without blanks",
            )),
        });
        names.collect::<Result<_, _>>().map(Self)
    }
}

/// Absolute directories separated by colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsoluteList(pub Vec<PathBuf>);

impl Kind for AbsoluteList {
    const USAGE: &'static CStr = PathList::USAGE;

    fn parse(word: &str) -> Result<Self, Wrong> {
        let directories = word.split(':').filter(|path| !path.is_empty());
        let absolute = directories.map(|path| Absolute::parse(path).map(|path| path.0));
        absolute.collect::<Result<_, _>>().map(Self)
    }
}

/// A path below a home directory, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BelowHome(pub String);

impl Kind for BelowHome {
    const USAGE: &'static CStr = c"path";
    const MAY_BE_EMPTY: bool = true;

    fn parse(word: &str) -> Result<Self, Wrong> {
        if word.is_empty() || is_relative(word.as_bytes()) {
            return Ok(Self(word.to_owned()));
        }
        Err(Wrong::new(
            format!("has the value '{word}', which is no path below a home directory"),
            "write it without '/' at the beginning and without '..', as in logs/wsgi.log",
        ))
    }
}

/// The directive.
pub const USER_PROCESS: Directive = Directive {
    name: c"WSGIUserProcess",
    context: Context::Global,
    usage: c"/path/with/*/in/it [name=value ...]",
    text: "Hosts the applications of users: what is below a directory that the pattern covers runs as the user whose name stands for `*`, if \
that user owns it. `*` is one whole component of the path. Users come and go without a restart of httpd, and an application that \
nobody asks for costs nothing.\n\n\
What counts is the file that a URL is mapped to, whoever maps it: `UserDir`, `VirtualDocumentRoot`, `Alias`, `DocumentRoot`. The \
directory must be open to requests (`Require all granted`), and httpd's user must be able to pass through it and all above it (`chmod o+x`); it \
need not be able to read anything but `public/`. With several of these directives the first whose pattern covers the file counts. Needs an \
httpd started as root.\n\n\
**What is an application.** A directory, this one or one below it, with one of these files: `passenger_wsgi.py`, `app.wsgi`, \
`wsgi.py`, or a single file that ends with `.wsgi`; the first of them answers. Where such directories are inside one another, the innermost \
with `passenger_wsgi.py` or `app.wsgi` counts, else the outermost. The URL of the directory is `SCRIPT_NAME`; without its slash, GET and \
HEAD are redirected to it. Any file that ends with `.wsgi` also answers to its own URL, with what follows in `PATH_INFO`. Nothing is looked for in \
directories that begin with a dot, in `public`, `tmp`, `venv` and `__pycache__`, nor more than 16 directories deep.\n\n\
**Which files are served.** Files in `public/` of the application's directory, for GET and HEAD, before the application is asked; not those \
that begin with a dot, but for `.well-known`. Everything else below the pattern is served by an application or not at all (404): no \
source, no `.venv`, no data.\n\n\
**Renewal.** When the script has changed, or is touched, the application is loaded anew, as everywhere; and when `tmp/restart.txt` of its directory is touched or created (not when it is removed). \
So it is a few seconds after packages were installed in its virtual environment. `WSGIScriptReloading Off` turns all of this off.\n\n\
**Python.** `.venv` or `venv` in the application's directory, or the version that its `.python-version` names; else `python-home=`, else \
`WSGIPythonHome`, else `/usr/bin/python3`. The working directory is the application's, which is also the first of `sys.path`.\n\n\
**What the administrator names counts more.** Where a `<Directory>` or `<Location>` section has a `WSGIProcessGroup`, or an alias or handler \
script a `process-group=`, that process group runs the script, as its own user. A `WSGIProcessGroup` outside of sections does not count here, nor \
do `WSGIApplicationGroup`, `WSGIRestrictProcess` and `WSGIDispatchScript`.\n\n\
**What users may say** in `.htaccess` is in `WSGIUserOptions`. Nothing there chooses who runs an application. Scripts of users that httpd \
would ask in its own children (`WSGIAccessScript` and others in `.htaccess`) are refused with 500 while there is a `WSGIUserProcess`.\n\n\
**Preloading.** With `preload=On` each application has a template, as with `WSGIDaemonProcess`: a process of its user that has loaded the script and forks \
the workers. Who the user is, is looked at before each worker; whose the script and its directories are, before each template. A template ends with its \
last worker, and is not counted by `user-processes`: a user has at most one besides the workers of each application that runs.\n\n\
**Options.** The options of `WSGIDaemonProcess` about how workers run are taken here, too, and hold for each application: they are what an application \
has and the most that it can get. Different are the defaults of these: `processes=2 min-processes=0 threads=5 idle-timeout=300 startup-timeout=30 \
queue-timeout=10 request-timeout=60 graceful-timeout=30 umask=0027 user-request-limit=25%`. Not taken are those that say who the workers are or that are one group's alone: \
`user`, `group`, `supplementary-groups`, `script-user`, `script-group`, `socket-user`, `chroot`, `home`, `display-name`, `python-eggs`, \
`server-metrics`; and `threads=0`. The process group of an application is called `~` and the user's name, its application group is the path of \
its script.\n",
    set: set_base,
};

/// The directive.
pub const USER_OPTIONS: Directive = Directive {
    name: c"WSGIUserOptions",
    context: Context::FileInfo,
    usage: c"name=value ...",
    text: "What users may change of their applications below a `WSGIUserProcess`, in `.htaccess` of the application's directory. It takes effect \
with the next request. Values that the base does not allow are lowered to what it allows, which is logged once by each httpd child; text \
that is no number is an error of the `.htaccess` (500). Elsewhere the directive has no effect.\n\n\
`AllowOverrideList WSGIUserOptions` allows this directive without the rest of `FileInfo`.\n",
    set: |target, words, _place| set_options(&mut target.scoped().user_options, words),
};

fn set_base(target: &mut Target<'_>, words: &mut Words<'_>, place: &Place) -> Result<(), Wrong> {
    let pattern = words.next().unwrap_or_default();
    let pattern = match pattern.trim_end_matches('/') {
        "" => {
            return Err(Wrong::new(
                "has no pattern",
                "write the directory of a user's applications, with * for the user's name, as in /home/*/public_wsgi",
            ));
        }
        pattern => pattern.to_owned(),
    };
    check_pattern(pattern.as_bytes()).map_err(|problem| {
        Wrong::new(
            format!("{pattern} {problem}"),
            "write an absolute path in which one component is *, the user's name, as in /home/*/public_wsgi",
        )
    })?;
    let (mut own, mut options) = (UserProcessOptions::default(), GroupOptions::default());
    while let Some(option) = words.next_option() {
        let (name, value) = option.map_err(|wrong| wrong.about(&pattern))?;
        match own.take(&name, &value).or_else(|| options.take(&name, &value)) {
            Some(result) => result.map_err(|wrong| wrong.about(format_args!("{pattern} {name}={value}")))?,
            None => {
                let known = UserProcessOptions::OPTIONS.iter().chain(GroupOptions::OPTIONS);
                return Err(invalid_option(&pattern, &name, known.map(|option| option.0)));
            }
        }
    }
    target.server()?.bases.push(RawBase {
        pattern,
        own,
        options,
        place: place.clone(),
    });
    Ok(())
}

fn set_options(options: &mut UserOptions, words: &mut Words<'_>) -> Result<(), Wrong> {
    let mut is_empty = true;
    while let Some(option) = words.next_option() {
        let (name, value) = option?;
        is_empty = false;
        match options.take(&name, &value) {
            Some(result) => result.map_err(|wrong| wrong.about(format_args!("{name}={value}")))?,
            None => {
                let known = UserOptions::OPTIONS.iter().map(|option| option.0);
                return Err(invalid_option("", &name, known));
            }
        }
    }
    match is_empty {
        true => Err(Wrong::new("has no options", "write name=value, as in threads=2")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rwsgi_wire::control::Group;

    use super::super::{Scoped, apply};
    use super::*;

    fn read(line: &str) -> Result<Tuning, String> {
        let mut scoped = Scoped::default();
        let target = Target::Directory(&mut scoped);
        apply(&USER_OPTIONS, target, line.as_bytes(), &Place::default())?;
        Ok(scoped.user_options.tuning())
    }

    #[test]
    fn options_add_up_and_the_nearer_one_counts() {
        let mut scoped = Scoped::default();
        for line in ["threads=2 processes=3", "threads=4"] {
            let target = Target::Directory(&mut scoped);
            apply(&USER_OPTIONS, target, line.as_bytes(), &Place::default()).unwrap();
        }
        let mut near = Scoped::default();
        let target = Target::Directory(&mut near);
        apply(&USER_OPTIONS, target, b"processes=1", &Place::default()).unwrap();
        let tuning = near.over(&scoped).user_options.tuning();
        assert_eq!((tuning.threads, tuning.processes), (Some(4), Some(1)));
    }

    #[test]
    fn huge_numbers_are_numbers_and_others_are_not() {
        assert_eq!(
            read("threads=99999999999999999999").unwrap().threads,
            Some(i32::MAX as u32)
        );
        assert_eq!(read("threads=4294967295").unwrap().threads, Some(i32::MAX as u32));
        assert_eq!(read("threads=007").unwrap().threads, Some(7));
        for value in ["-1", "+1", "1.5", "1e3", "0x1", "１", "٣", "''", "' 1'", "1,2"] {
            assert!(read(&format!("threads={value}")).is_err(), "{value}");
        }
        let said = read("threads=-1").unwrap_err();
        assert!(
            said.starts_with("WSGIUserOptions threads=-1 has the value '-1'"),
            "{said}"
        );
        assert!(read("").unwrap_err().contains("has no options"));
        assert!(
            read("umask=0")
                .unwrap_err()
                .contains("the options are processes,")
        );
    }

    /// Numbers from a seed that is always the same.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % most as u64).unwrap()
        }
    }

    // R20
    #[test]
    fn r20_whatever_a_user_writes_is_refused_or_stays_within_the_base() {
        let pieces = [
            "0", "1", "9", "5", "000", "-", "+", " ", "\t", ".", "e", "x", "٣", "１", "\u{a0}", "\"", "'",
            "\\", "=", "threads=", "💥",
        ];
        let names = UserOptions::OPTIONS;
        let mut base = Group {
            processes: 2,
            threads: 5,
            ..Group::default()
        };
        base.scale.idle_timeout = 300;
        base.life.request_timeout = 60;
        base.life.maximum_requests = 1000;
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let name = names[dice.below(names.len())].0;
            let value: String = (0..dice.below(12))
                .map(|_| pieces[dice.below(pieces.len())])
                .collect();
            let Ok(tuning) = read(&format!("{name}={value}")) else {
                refused += 1;
                continue;
            };
            taken += 1;
            let mut group = base.clone();
            tuning.within(&base).apply(&mut group);
            let is_within = (1..=2).contains(&group.processes)
                && (1..=5).contains(&group.threads)
                && group.scale.min_processes == 0
                && (1..=300).contains(&group.scale.idle_timeout)
                && (1..=60).contains(&group.life.request_timeout)
                && (1..=1000).contains(&group.life.maximum_requests);
            assert!(is_within, "{name}={value}: {group:?}");
        }
        assert!(taken > 500 && refused > 500, "{taken} {refused}");
    }
}
