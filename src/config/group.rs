//! A process group, resolved: names looked up, defaults filled.

use std::path::Path;
use std::time::Duration;

use rwsgi_wire::control;
use rwsgi_wire::life::{Bounds, Life};
use rwsgi_wire::quota::{Quota, Quotas};
use rwsgi_wire::scale::Scale;

use super::Refusal;
use super::identity::{
    Accounts, Facts, group, owner_of_scripts, refuse_other_identity, refuse_without_root, socket_user,
    supplementary, user,
};
use crate::directives::Place;
use crate::directives::cap::Cap;
use crate::directives::daemon::{GroupOptions, RawGroup};
use crate::directives::kinds::{Absolute, Bytes, Count, Seconds, Threads};
use crate::request::relaying::Relaying;

/// A process group.
#[derive(Clone, Debug)]
pub struct Group {
    /// What the manager needs to know of it. `log` and `log_level` are filled in when it is sent.
    pub settings: control::Group,
    /// The server that declares it: its index in httpd's list. The first of them, when several declare the same.
    pub server: usize,
    /// Names of the servers that declare it; it is visible to virtual hosts of these names only, unless it is the main server's.
    pub server_names: Vec<String>,
    /// It was declared in a virtual host.
    pub is_of_virtual_host: bool,
    /// How long to try to reach a worker.
    pub connect_timeout: Duration,
    /// Most time without a byte from the worker; `None`: httpd's `Timeout`.
    pub socket_timeout: Option<Duration>,
    /// Most time from the arrival of a request until a worker takes it.
    pub queue_timeout: Option<Duration>,
    /// `SO_SNDBUF` of httpd's end of a connection, in bytes; `None` for the system's.
    pub receive_buffer: Option<u32>,
    /// Who must own the scripts.
    pub scripts_of: Option<Owner>,
    /// How answers are passed on.
    pub relaying: Relaying,
    /// Most time for which a client may take nothing of an answer; `None`: httpd's own.
    pub client_timeout: Option<Duration>,
    /// Its applications may see the scoreboard.
    pub server_metrics: bool,
    /// Most requests at once of each application.
    pub request_limit: Cap,
    /// Most requests at once of the user, in all groups that have such a limit.
    pub user_request_limit: Cap,
    /// Says which groups of the user its workers do not have, if there are such.
    pub left_out: Option<String>,
}

/// The owner that scripts must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A user, by id.
    User(u32),
    /// A group, by id.
    Group(u32),
}

impl Group {
    /// Resolves a group as written.
    pub fn resolve(
        raw: &RawGroup,
        facts: &Facts,
        accounts: &dyn Accounts,
        python_home: Option<&Path>,
    ) -> Result<Self, Refusal> {
        let own = &raw.own;
        let account = user(raw, facts, accounts)?;
        let gid = group(raw, facts, accounts)?;
        if !facts.is_root() {
            refuse_other_identity(raw, facts, &account, gid)?;
            refuse_without_root(raw)?;
        }
        let scripts_of = owner_of_scripts(raw, accounts)?;
        let socket_user = socket_user(raw, facts, accounts)?;
        let (groups, left_out) = supplementary(raw, facts, accounts, &account, gid)?;
        let display_name = own.display_name.as_ref().map(|name| match name.0.as_str() {
            "%{GROUP}" => format!("(wsgi:{})", raw.name),
            name => name.to_owned(),
        });
        let path = |path: &Option<Absolute>| path.as_ref().map(|path| bytes(&path.0)).unwrap_or_default();
        let subject = Subject {
            text: format!("WSGIDaemonProcess {}", raw.name),
            place: &raw.place,
        };
        let group = Self::of(&raw.options, &subject, python_home)?;
        Ok(Self {
            settings: control::Group {
                name: raw.name.clone().into_bytes(),
                uid: account.uid,
                gid,
                groups,
                user_home: account.home,
                user: account.name,
                shell: account.shell,
                home: path(&own.home),
                socket_user,
                chroot: path(&own.chroot),
                display_name: display_name.unwrap_or_default().into_bytes(),
                ..group.settings
            },
            scripts_of,
            server_metrics: own.server_metrics.unwrap_or(false),
            left_out,
            ..group
        })
    }

    /// How workers run; who they are is left open.
    pub(super) fn of(
        options: &GroupOptions,
        subject: &Subject<'_>,
        python_home: Option<&Path>,
    ) -> Result<Self, Refusal> {
        let seconds = |option: Option<Seconds>, default: u32| option.map_or(default, |seconds| seconds.0);
        let python_home = options
            .python_home
            .as_ref()
            .map(|home| home.0.as_path())
            .or(python_home);
        let threads = options.threads.map_or(15, |threads| threads.0);
        let settings = control::Group {
            log: control::NO_LOG,
            processes: processes(options),
            scale: scale(options, subject)?,
            multiprocess: options.processes.is_some(),
            threads,
            python_home: python_home.map(bytes).unwrap_or_default(),
            // Filled in by who knows the main server.
            python: rwsgi_wire::python::Python::default(),
            umask: options.umask.map(|umask| umask.0),
            lang: options
                .lang
                .as_ref()
                .map(|text| text.0.clone().into_bytes())
                .unwrap_or_default(),
            locale: options
                .locale
                .as_ref()
                .map(|text| text.0.clone().into_bytes())
                .unwrap_or_default(),
            send_buffer: buffer(options.send_buffer_size),
            listen_backlog: options.listen_backlog.map_or(100, |count| count.0),
            life: Life {
                maximum_requests: options.maximum_requests.map_or(0, |count| count.0.into()),
                request_timeout: seconds(options.request_timeout, 0),
                shutdown_timeout: seconds(options.shutdown_timeout, 5),
                graceful_timeout: seconds(options.graceful_timeout, 15),
                eviction_timeout: seconds(options.eviction_timeout, 0),
                restart_interval: seconds(options.restart_interval, 0),
                inactivity_timeout: seconds(options.inactivity_timeout, 0),
                startup_timeout: seconds(options.startup_timeout, 0),
                // A service may keep Python's lock as long as it likes: nobody waits for it.
                deadlock_timeout: match threads {
                    0 => 0,
                    _ => seconds(options.deadlock_timeout, 300),
                },
                interrupt_timeout: seconds(options.interrupt_timeout, 0),
            },
            bounds: Bounds {
                cpu_time: seconds(options.cpu_time_limit, 0),
                data: options.memory_limit.map_or(0, |bytes| bytes.0),
                address_space: options.virtual_memory_limit.map_or(0, |bytes| bytes.0),
                stack: options.stack_size.map_or(0, |bytes| bytes.0),
                priority: options.cpu_priority.map_or(0, |priority| priority.0),
            },
            quotas: quotas(options, subject, threads)?,
            template: template(options, subject)?,
            // Who they are.
            ..control::Group::default()
        };
        Ok(Self {
            settings,
            server: 0,
            server_names: Vec::new(),
            is_of_virtual_host: false,
            connect_timeout: Duration::from_secs(seconds(options.connect_timeout, 15).into()),
            socket_timeout: options.socket_timeout.and_then(Seconds::limit),
            queue_timeout: options.queue_timeout.and_then(Seconds::limit),
            receive_buffer: Some(buffer(options.receive_buffer_size)).filter(|bytes| *bytes != 0),
            scripts_of: None,
            relaying: Relaying {
                flush_delay: Duration::from_millis(
                    options.response_flush_delay.map_or(0, |delay| delay.0.into()),
                ),
                flush_after: options.response_buffer_size.map_or(0, |bytes| bytes.0),
                header_limit: options.header_buffer_size.map_or(0, |bytes| bytes.0),
            },
            server_metrics: false,
            request_limit: options.request_limit.unwrap_or_default(),
            user_request_limit: options.user_request_limit.unwrap_or_default(),
            left_out: None,
            client_timeout: options
                .response_socket_timeout
                .and_then(Seconds::limit)
                .or(options.socket_timeout.and_then(Seconds::limit)),
        })
    }

    /// Its requests are counted.
    pub fn is_capped(&self) -> bool {
        self.request_limit != Cap::None || self.user_request_limit != Cap::None
    }

    /// A path as the workers see it; `None` when it is not below their root directory.
    pub fn inside<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let root = &self.settings.chroot;
        let root = root.strip_suffix(b"/").unwrap_or(root);
        path.strip_prefix(root).filter(|rest| rest.starts_with(b"/"))
    }

    /// A server of this name may use it.
    pub fn is_visible_to(&self, name: &str, is_virtual: bool) -> bool {
        !self.is_of_virtual_host || (is_virtual && self.server_names.iter().any(|own| own == name))
    }

    /// Whether it is the same but for who declares it.
    pub fn is_same(&self, other: &Self) -> bool {
        // Named one by one, so that a new one is not forgotten here.
        let Self {
            settings,
            server: _,
            server_names: _,
            is_of_virtual_host: _,
            left_out: _,
            connect_timeout,
            socket_timeout,
            queue_timeout,
            receive_buffer,
            scripts_of,
            relaying,
            client_timeout,
            server_metrics,
            request_limit,
            user_request_limit,
        } = self;
        *settings == other.settings
            && *connect_timeout == other.connect_timeout
            && *socket_timeout == other.socket_timeout
            && *queue_timeout == other.queue_timeout
            && *receive_buffer == other.receive_buffer
            && *scripts_of == other.scripts_of
            && *relaying == other.relaying
            && *client_timeout == other.client_timeout
            && *server_metrics == other.server_metrics
            && *request_limit == other.request_limit
            && *user_request_limit == other.user_request_limit
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

fn processes(options: &GroupOptions) -> u32 {
    options.processes.map_or(1, |count| count.0)
}

/// What a refusal is about.
pub(super) struct Subject<'a> {
    /// Directive and name.
    pub text: String,
    /// Where it was written.
    pub place: &'a Place,
}

impl Subject<'_> {
    /// The refusal of one option of it.
    pub fn refuse(&self, option: &str, problem: impl Into<String>, remedy: &str) -> Refusal {
        Refusal {
            place: self.place.to_string(),
            subject: match option {
                "" => self.text.clone(),
                option => format!("{} {option}", self.text),
            },
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// Whether there is a template.
fn template(options: &GroupOptions, subject: &Subject<'_>) -> Result<bool, Refusal> {
    let wanted = options.preload.unwrap_or(false);
    if wanted && options.threads == Some(Threads(0)) {
        return Err(subject.refuse(
            "preload=On",
            "has no effect with threads=0, for what a service loads is its program",
            "remove it",
        ));
    }
    Ok(wanted)
}

/// What `idle-timeout` is unless it is given.
const IDLE_TIMEOUT: u32 = 300;

/// How few workers there may be.
fn scale(options: &GroupOptions, subject: &Subject<'_>) -> Result<Scale, Refusal> {
    let most = processes(options);
    let least = options.min_processes.map_or(most, |count| count.0);
    if least > most {
        let problem = format!("is more than processes={most}");
        return Err(subject.refuse(
            &format!("min-processes={least}"),
            problem,
            "processes= is the most; raise it, or lower min-processes=",
        ));
    }
    if least < most && options.threads == Some(Threads(0)) {
        return Err(subject.refuse(
            &format!("min-processes={least}"),
            "has no effect with threads=0, for all processes of a service always run".to_owned(),
            "remove it, or write fewer processes=",
        ));
    }
    let idle = options.idle_timeout.map(|seconds| seconds.0);
    if let Some(seconds) = idle.filter(|_| least == most) {
        return Err(subject.refuse(
            &format!("idle-timeout={seconds}"),
            format!("has no effect, for the group always has {most} workers"),
            "write a smaller min-processes=, such as min-processes=0",
        ));
    }
    Ok(Scale {
        min_processes: least,
        idle_timeout: if least == most {
            0
        } else {
            idle.unwrap_or(IDLE_TIMEOUT)
        },
    })
}

/// What a worker has besides the threads of requests.
const OTHER_THREADS: u32 = 8;

/// Limits on processes together, unless not even one worker would fit in.
fn quotas(options: &GroupOptions, subject: &Subject<'_>, threads: u32) -> Result<Quotas, Refusal> {
    let count = |option: Option<Count<0>>| option.map_or(0, |count| count.0);
    let quotas = Quotas {
        application: Quota {
            memory: options.application_memory_limit.map_or(0, |bytes| bytes.0),
            processes: count(options.application_processes_limit),
            cpu: count(options.application_cpu_limit),
        },
        user: Quota {
            memory: options.user_memory_limit.map_or(0, |bytes| bytes.0),
            processes: count(options.user_processes_limit),
            cpu: count(options.user_cpu_limit),
        },
    };
    let needed = threads.saturating_add(OTHER_THREADS);
    for (option, limit) in [
        ("application-processes-limit", quotas.application.processes),
        ("user-processes-limit", quotas.user.processes),
    ] {
        if limit > 0 && limit < needed {
            return Err(subject.refuse(
                &format!("{option}={limit}"),
                format!("is less than the {needed} threads that one worker with threads={threads} may need"),
                "raise it, or write fewer threads=",
            ));
        }
    }
    Ok(quotas)
}

fn buffer(bytes: Option<Bytes<512>>) -> u32 {
    bytes.map_or(0, |bytes| u32::try_from(bytes.0).unwrap_or(u32::MAX))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::identity::Account;
    use crate::directives::choices::LoadedAs;
    use crate::directives::{Place, RawServer, Target, apply, daemon};

    pub(in crate::config) struct Book;

    impl Accounts for Book {
        fn user(&self, name: &str) -> Result<Option<Account>, String> {
            Ok(match name {
                "root" => Some(account("root", 0)),
                "www" => Some(account("www", 33)),
                "site" => Some(account("site", 1000)),
                // Members of a powerful group, of root's, and of httpd's.
                "mighty" => Some(account("mighty", 1001)),
                "rooted" => Some(account("rooted", 1002)),
                "near" => Some(account("near", 1003)),
                _ => None,
            })
        }
        fn user_by_id(&self, uid: u32) -> Result<Option<Account>, String> {
            self.user(match uid {
                0 => "root",
                33 => "www",
                1000 => "site",
                _ => "",
            })
        }
        fn group(&self, name: &str) -> Result<Option<u32>, String> {
            Ok(match name {
                "www" => Some(33),
                "site" => Some(1000),
                "media" => Some(50),
                "root" => Some(0),
                "docker" => Some(999),
                _ => None,
            })
        }
        fn groups_of(&self, account: &Account, gid: u32) -> Result<Vec<u32>, String> {
            Ok(match &account.name[..] {
                b"mighty" => vec![gid, 999],
                b"rooted" => vec![gid, 0],
                b"near" => vec![gid, 33],
                _ => vec![gid, 50],
            })
        }
        fn privileged(&self) -> Result<Vec<(&'static str, u32)>, String> {
            crate::config::privileged::existing(self)
        }
    }

    fn account(name: &str, uid: u32) -> Account {
        Account {
            name: name.into(),
            uid,
            home: format!("/home/{name}").into(),
            shell: b"/bin/sh".to_vec(),
        }
    }

    pub(in crate::config) fn facts(own: u32) -> Facts {
        Facts {
            uid: 33,
            gid: 33,
            own_uid: own,
            own_gid: own,
            loaded_as: LoadedAs::Rwsgi,
            server_root: "/etc/httpd".into(),
            runtime_dir: "/run/httpd/rwsgi".into(),
        }
    }

    fn group_of(line: &str, own: u32) -> Result<Group, String> {
        group_as(LoadedAs::Rwsgi, line, own)
    }

    fn group_as(loaded_as: LoadedAs, line: &str, own: u32) -> Result<Group, String> {
        let mut server = RawServer::default();
        apply(
            &daemon::DAEMON_PROCESS,
            Target::Server(&mut server),
            line.as_bytes(),
            &Place::default(),
        )?;
        let facts = Facts {
            loaded_as,
            ..facts(own)
        };
        Group::resolve(&server.groups[0], &facts, &Book, None).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn defaults_are_httpds_user_and_the_documented_numbers() {
        let group = group_of("g", 0).unwrap();
        let settings = &group.settings;
        assert_eq!(
            (settings.uid, settings.gid, settings.processes, settings.threads),
            (33, 33, 1, 15)
        );
        assert_eq!(
            (
                settings.life.shutdown_timeout,
                settings.life.graceful_timeout,
                settings.listen_backlog
            ),
            (5, 15, 100)
        );
        assert!(!settings.multiprocess);
        assert_eq!(group.connect_timeout, Duration::from_secs(15));
        assert_eq!((group.socket_timeout, group.queue_timeout), (None, None));
    }

    #[test]
    fn a_user_brings_its_groups_and_a_list_replaces_them() {
        assert_eq!(
            group_of("g user=site group=site", 0).unwrap().settings.groups,
            [1000, 50]
        );
        let group = group_of("g user=site supplementary-groups=media,#7", 0).unwrap();
        assert_eq!(group.settings.groups, [33, 50, 7]);
    }

    #[test]
    fn root_is_refused_by_name_and_by_number() {
        for user in ["root", "#0"] {
            let said = group_of(&format!("g user={user}"), 0).unwrap_err();
            assert!(said.contains(&format!("user={user} is root")), "{said}");
        }
    }

    // R18
    #[test]
    fn r18_no_privileged_group_comes_by_accident() {
        for (user, group) in [
            ("mighty", "the group 'docker'"),
            ("rooted", "the group root"),
            ("near", "httpd's own group"),
        ] {
            let said = group_of(&format!("g user={user} group=site"), 0).unwrap_err();
            assert!(
                said.contains(&format!("user={user}"))
                    && said.contains(group)
                    && said.contains("supplementary-groups="),
                "{said}"
            );
            let listed = format!("g user={user} group=site supplementary-groups=media");
            assert_eq!(group_of(&listed, 0).unwrap().settings.groups, [1000, 50]);
            // An existing configuration starts, and the application is not in that group.
            let swapped = group_as(LoadedAs::Wsgi, &format!("g user={user} group=site"), 0).unwrap();
            let said = swapped.left_out.unwrap();
            assert!(said.contains(&format!("without {group}")), "{said}");
            assert!(said.contains("supplementary-groups="), "{said}");
            assert_eq!(swapped.settings.groups, [1000]);
        }
        // Who writes it down means it; httpd's group is what a user without a group= has.
        let listed = "g user=site group=site supplementary-groups=docker";
        assert_eq!(group_of(listed, 0).unwrap().settings.groups, [1000, 999]);
        assert_eq!(group_of("g user=near", 0).unwrap().settings.groups, [33, 33]);
        for root in [
            "group=root",
            "group=#0",
            "group=site supplementary-groups=root",
            "group=site supplementary-groups=media,#0",
        ] {
            let said = group_of(&format!("g user=site {root}"), 0).unwrap_err();
            assert!(said.contains("is the group root"), "{root}: {said}");
        }
    }

    // R16, C6
    #[test]
    fn unknown_names_are_refused_by_name() {
        assert!(
            group_of("g user=nobody-here", 0)
                .unwrap_err()
                .contains("user=nobody-here names a user that does not exist")
        );
        assert!(group_of("g group=none", 0).unwrap_err().contains("'none'"));
    }

    // R6
    #[test]
    fn without_root_only_the_own_identity_is_possible() {
        assert_eq!(group_of("g", 1000).unwrap().settings.uid, 1000);
        assert_eq!(
            group_of("g user=site group=site", 1000).unwrap().settings.uid,
            1000
        );
        assert!(
            group_of("g user=www", 1000)
                .unwrap_err()
                .contains("only root can change users")
        );
        assert!(
            group_of("g group=www", 1000)
                .unwrap_err()
                .contains("only root can change groups")
        );
        assert!(
            group_of("g supplementary-groups=media", 1000)
                .unwrap_err()
                .contains("started as root")
        );
    }

    #[test]
    fn the_number_of_workers_is_fixed_unless_min_processes_is_smaller() {
        let scale = |line: &str| group_of(line, 0).map(|group| group.settings.scale);
        let of = |min_processes, idle_timeout| {
            Ok(Scale {
                min_processes,
                idle_timeout,
            })
        };
        assert_eq!(scale("g"), of(1, 0));
        assert_eq!(scale("g processes=3"), of(3, 0));
        assert_eq!(scale("g min-processes=0"), of(0, 300));
        assert_eq!(scale("g processes=4 min-processes=2 idle-timeout=9"), of(2, 9));
        let said = scale("g processes=2 min-processes=3").unwrap_err();
        assert!(
            said.contains("min-processes=3 is more than processes=2"),
            "{said}"
        );
        let said = scale("g idle-timeout=9").unwrap_err();
        assert!(
            said.contains("idle-timeout=9 has no effect") && said.contains("min-processes=0"),
            "{said}"
        );
    }

    #[test]
    fn writing_processes_makes_it_multiprocess() {
        assert!(group_of("g processes=1", 0).unwrap().settings.multiprocess);
    }
}
