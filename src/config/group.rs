//! A process group, resolved: names looked up, defaults filled.

use std::time::Duration;

use rwsgi_wire::control;

use super::Refusal;
use crate::directives::daemon::RawGroup;
use crate::directives::kinds::{Identity, Seconds};

/// A process group.
#[derive(Clone, Debug)]
pub struct Group {
    /// What the manager needs to know of it. `log` and `log_level` are filled in when it is sent.
    pub settings: control::Group,
    /// The server that declares it: its index in httpd's list.
    pub server: usize,
    /// Its name; visible to servers of this name only, unless it is the main server.
    pub server_name: String,
    /// It was declared in a virtual host.
    pub is_of_virtual_host: bool,
    /// How long to try to reach a worker.
    pub connect_timeout: Duration,
    /// Most time without a byte from the worker; `None`: httpd's `Timeout`.
    pub socket_timeout: Option<Duration>,
    /// Most time from the arrival of a request until a worker takes it.
    pub queue_timeout: Option<Duration>,
}

/// What resolving needs to know of httpd.
#[derive(Clone, Debug)]
pub struct Facts {
    /// httpd's `User`.
    pub uid: u32,
    /// httpd's `Group`.
    pub gid: u32,
    /// Who reads the configuration.
    pub own_uid: u32,
    /// And of which group.
    pub own_gid: u32,
    /// `ServerRoot`.
    pub server_root: std::path::PathBuf,
    /// `rwsgi` in `DefaultRuntimeDir`.
    pub runtime_dir: std::path::PathBuf,
}

impl Facts {
    /// httpd can change users.
    pub fn is_root(&self) -> bool {
        self.own_uid == 0
    }
}

/// The user and group database.
pub trait Accounts {
    /// The user of this name.
    fn user(&self, name: &str) -> Result<Option<Account>, String>;
    /// The user with this id.
    fn user_by_id(&self, uid: u32) -> Result<Option<Account>, String>;
    /// The id of the group of this name.
    fn group(&self, name: &str) -> Result<Option<u32>, String>;
    /// All groups of a user.
    fn groups_of(&self, account: &Account, gid: u32) -> Result<Vec<u32>, String>;
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: Vec<u8>,
    /// User id.
    pub uid: u32,
    /// Home directory.
    pub home: Vec<u8>,
    /// Login shell.
    pub shell: Vec<u8>,
}

impl Group {
    /// Resolves a group as written.
    pub fn resolve(
        raw: &RawGroup,
        facts: &Facts,
        accounts: &dyn Accounts,
        python_home: Option<&std::path::Path>,
    ) -> Result<Self, Refusal> {
        let options = &raw.options;
        let account = user(raw, facts, accounts)?;
        let gid = group(raw, facts, accounts)?;
        if !facts.is_root() {
            refuse_other_identity(raw, facts, &account, gid)?;
        }
        let groups = supplementary(raw, facts, accounts, &account, gid)?;
        let seconds = |option: Option<Seconds>, default: u32| option.map_or(default, |seconds| seconds.0);
        let bytes = |path: &std::path::Path| path.as_os_str().as_encoded_bytes().to_vec();
        let python_home = options
            .python_home
            .as_ref()
            .map(|home| home.0.as_path())
            .or(python_home);
        let display_name = options.display_name.as_ref().map(|name| match name.0.as_str() {
            "%{GROUP}" => format!("(wsgi:{})", raw.name),
            name => name.to_owned(),
        });
        let settings = control::Group {
            name: raw.name.clone().into_bytes(),
            log: control::NO_LOG,
            log_level: 0,
            uid: account.uid,
            gid,
            groups,

            user_home: account.home,
            user: account.name,
            shell: account.shell,
            processes: options.processes.map_or(1, |count| count.0),
            multiprocess: options.processes.is_some(),
            threads: options.threads.map_or(15, |threads| threads.0),
            python_home: python_home.map(bytes).unwrap_or_default(),
            python_path: options
                .python_path
                .as_ref()
                .map(|list| list.0.iter().map(|path| bytes(path)).collect())
                .unwrap_or_default(),
            home: options
                .home
                .as_ref()
                .map(|home| bytes(&home.0))
                .unwrap_or_default(),
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
            display_name: display_name.unwrap_or_default().into_bytes(),
            listen_backlog: options.listen_backlog.map_or(100, |count| count.0),
            maximum_requests: options.maximum_requests.map_or(0, |count| count.0.into()),
            request_timeout: seconds(options.request_timeout, 0),
            shutdown_timeout: seconds(options.shutdown_timeout, 5),
            graceful_timeout: seconds(options.graceful_timeout, 15),
            preload: Vec::new(),
        };
        Ok(Self {
            settings,
            server: 0,
            server_name: String::new(),
            is_of_virtual_host: false,
            connect_timeout: Duration::from_secs(seconds(options.connect_timeout, 15).into()),
            socket_timeout: options.socket_timeout.and_then(Seconds::limit),
            queue_timeout: options.queue_timeout.and_then(Seconds::limit),
        })
    }

    /// A server of this name may use it.
    pub fn is_visible_to(&self, name: &str, is_virtual: bool) -> bool {
        !self.is_of_virtual_host || (is_virtual && self.server_name == name)
    }
}

fn refuse(raw: &RawGroup, option: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal {
        place: raw.place.to_string(),
        subject: format!("WSGIDaemonProcess {} {option}", raw.name),
        problem: problem.into(),
        remedy: remedy.into(),
    }
}

fn written(identity: &Identity) -> String {
    match identity {
        Identity::Name(name) => name.clone(),
        Identity::Number(number) => format!("#{number}"),
    }
}

fn user(raw: &RawGroup, facts: &Facts, accounts: &dyn Accounts) -> Result<Account, Refusal> {
    let failed = |option: &str, why: String| {
        refuse(
            raw,
            option,
            format!("cannot be looked up ({why})"),
            "repair the user database",
        )
    };
    let Some(identity) = &raw.options.user else {
        // httpd's own user needs no name: it may be a bare number in a container.
        let uid = if facts.is_root() { facts.uid } else { facts.own_uid };
        let found = accounts.user_by_id(uid).map_err(|why| failed("user", why))?;
        if uid == 0 {
            return Err(refuse(
                raw,
                "without user=",
                "would run the application as root, because httpd's User is root",
                "add user= with a user of its own",
            ));
        }
        return Ok(found.unwrap_or(Account {
            uid,
            home: b"/".to_vec(),
            ..Account::default()
        }));
    };
    let option = format!("user={}", written(identity));
    let found = match identity {
        Identity::Name(name) => accounts.user(name),
        Identity::Number(uid) => accounts.user_by_id(*uid),
    };
    let account = found.map_err(|why| failed(&option, why))?.ok_or_else(|| {
        refuse(
            raw,
            &option,
            "names a user that does not exist",
            "create the user (useradd --system), or correct the name",
        )
    })?;
    if account.uid == 0 {
        return Err(refuse(
            raw,
            &option,
            "is root",
            "name an ordinary user: applications never run as root",
        ));
    }
    Ok(account)
}

fn group_id(
    raw: &RawGroup,
    accounts: &dyn Accounts,
    option: &str,
    identity: &Identity,
) -> Result<u32, Refusal> {
    match identity {
        Identity::Number(gid) => Ok(*gid),
        Identity::Name(name) => {
            let found = accounts.group(name).map_err(|why| {
                refuse(
                    raw,
                    option,
                    format!("cannot be looked up ({why})"),
                    "repair the group database",
                )
            })?;
            found.ok_or_else(|| {
                refuse(
                    raw,
                    option,
                    format!("names the group '{name}', which does not exist"),
                    "create it, or correct the name",
                )
            })
        }
    }
}

fn group(raw: &RawGroup, facts: &Facts, accounts: &dyn Accounts) -> Result<u32, Refusal> {
    match &raw.options.group {
        Some(identity) => group_id(raw, accounts, &format!("group={}", written(identity)), identity),
        None if facts.is_root() => Ok(facts.gid),
        None => Ok(facts.own_gid),
    }
}

fn refuse_other_identity(raw: &RawGroup, facts: &Facts, account: &Account, gid: u32) -> Result<(), Refusal> {
    let remedy = "start httpd as root, or remove the option";
    if account.uid != facts.own_uid {
        let option = raw.options.user.as_ref().map(written).unwrap_or_default();
        return Err(refuse(
            raw,
            &format!("user={option}"),
            "is another user than the one that starts httpd, and only root can change users",
            remedy,
        ));
    }
    if gid != facts.own_gid {
        let option = raw.options.group.as_ref().map(written).unwrap_or_default();
        return Err(refuse(
            raw,
            &format!("group={option}"),
            "is another group than the one that starts httpd, and only root can change groups",
            remedy,
        ));
    }
    Ok(())
}

fn supplementary(
    raw: &RawGroup,
    facts: &Facts,
    accounts: &dyn Accounts,
    account: &Account,
    gid: u32,
) -> Result<Vec<u32>, Refusal> {
    let Some(list) = &raw.options.supplementary_groups else {
        if !facts.is_root() || account.name.is_empty() {
            return Ok(Vec::new());
        }
        return accounts.groups_of(account, gid).map_err(|why| {
            refuse(
                raw,
                "",
                format!("cannot learn the user's groups ({why})"),
                "repair the group database",
            )
        });
    };
    let option = "supplementary-groups";
    if !facts.is_root() {
        return Err(refuse(
            raw,
            option,
            "needs an httpd started as root",
            "start httpd as root, or remove the option",
        ));
    }
    let mut groups = vec![gid];
    for identity in &list.0 {
        let id = group_id(raw, accounts, option, identity)?;
        if !groups.contains(&id) {
            groups.push(id);
        }
    }
    // The kernel's limit.
    if groups.len() > 65536 {
        return Err(refuse(
            raw,
            option,
            "has more groups than a process can have",
            "list fewer",
        ));
    }
    Ok(groups)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::directives::{Place, RawServer, Target, apply, daemon};

    pub(in crate::config) struct Book;

    impl Accounts for Book {
        fn user(&self, name: &str) -> Result<Option<Account>, String> {
            Ok(match name {
                "root" => Some(account("root", 0)),
                "www" => Some(account("www", 33)),
                "site" => Some(account("site", 1000)),
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
                _ => None,
            })
        }
        fn groups_of(&self, _: &Account, gid: u32) -> Result<Vec<u32>, String> {
            Ok(vec![gid, 50])
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
            server_root: "/etc/httpd".into(),
            runtime_dir: "/run/httpd/rwsgi".into(),
        }
    }

    fn group_of(line: &str, own: u32) -> Result<Group, String> {
        let mut server = RawServer::default();
        apply(
            &daemon::DAEMON_PROCESS,
            Target::Server(&mut server),
            line.as_bytes(),
            &Place::default(),
        )?;
        Group::resolve(&server.groups[0], &facts(own), &Book, None).map_err(|refusal| refusal.to_string())
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
                settings.shutdown_timeout,
                settings.graceful_timeout,
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

    #[test]
    fn unknown_names_are_refused_by_name() {
        assert!(
            group_of("g user=nobody-here", 0)
                .unwrap_err()
                .contains("user=nobody-here names a user that does not exist")
        );
        assert!(group_of("g group=none", 0).unwrap_err().contains("'none'"));
    }

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
    fn writing_processes_makes_it_multiprocess() {
        assert!(group_of("g processes=1", 0).unwrap().settings.multiprocess);
    }
}
