//! Who the workers of a process group are: looked up, and refused where they must not or cannot be.

use super::Refusal;
use super::group::Owner;
use super::privileged::{refuse_root, without_privileged};
use crate::directives::choices::LoadedAs;
use crate::directives::daemon::RawGroup;
use crate::directives::kinds::Identity;

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
    /// The module's name in `LoadModule`.
    pub loaded_as: LoadedAs,
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
    /// Those of [`NAMES`](super::privileged::NAMES) that exist, with their ids.
    fn privileged(&self) -> Result<Vec<(&'static str, u32)>, String>;
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

pub(super) fn refuse(
    raw: &RawGroup,
    option: &str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) -> Refusal {
    Refusal {
        place: raw.place.to_string(),
        subject: format!("WSGIDaemonProcess {} {option}", raw.name),
        problem: problem.into(),
        remedy: remedy.into(),
    }
}

pub(super) fn written(identity: &Identity) -> String {
    match identity {
        Identity::Name(name) => name.clone(),
        Identity::Number(number) => format!("#{number}"),
    }
}

/// The user that the workers run as.
pub(super) fn user(raw: &RawGroup, facts: &Facts, accounts: &dyn Accounts) -> Result<Account, Refusal> {
    let failed = |option: &str, why: String| {
        refuse(
            raw,
            option,
            format!("cannot be looked up ({why})"),
            "repair the user database",
        )
    };
    let Some(identity) = &raw.own.user else {
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
    let account = account(raw, accounts, &option, identity)?;
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

fn account(
    raw: &RawGroup,
    accounts: &dyn Accounts,
    option: &str,
    identity: &Identity,
) -> Result<Account, Refusal> {
    let found = match identity {
        Identity::Name(name) => accounts.user(name),
        Identity::Number(uid) => accounts.user_by_id(*uid),
    };
    let found = found.map_err(|why| {
        refuse(
            raw,
            option,
            format!("cannot be looked up ({why})"),
            "repair the user database",
        )
    })?;
    found.ok_or_else(|| {
        refuse(
            raw,
            option,
            "names a user that does not exist",
            "create the user (useradd --system), or correct the name",
        )
    })
}

/// Who must own the scripts.
pub(super) fn owner_of_scripts(raw: &RawGroup, accounts: &dyn Accounts) -> Result<Option<Owner>, Refusal> {
    match (&raw.own.script_user, &raw.own.script_group) {
        (None, None) => Ok(None),
        (Some(identity), None) => {
            let option = format!("script-user={}", written(identity));
            account(raw, accounts, &option, identity).map(|account| Some(Owner::User(account.uid)))
        }
        (None, Some(identity)) => {
            let option = format!("script-group={}", written(identity));
            group_id(raw, accounts, &option, identity).map(|gid| Some(Owner::Group(gid)))
        }
        (Some(_), Some(identity)) => Err(refuse(
            raw,
            &format!("script-group={}", written(identity)),
            "is given together with script-user",
            "remove one of the two",
        )),
    }
}

/// Who owns the pools' sockets, if not root.
pub(super) fn socket_user(
    raw: &RawGroup,
    facts: &Facts,
    accounts: &dyn Accounts,
) -> Result<Option<u32>, Refusal> {
    let Some(identity) = &raw.own.socket_user else {
        return Ok(None);
    };
    let option = format!("socket-user={}", written(identity));
    if !facts.is_root() {
        return Err(refuse(
            raw,
            &option,
            "needs an httpd started as root",
            "start httpd as root, or remove the option",
        ));
    }
    account(raw, accounts, &option, identity).map(|account| Some(account.uid))
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

/// Their primary group.
pub(super) fn group(raw: &RawGroup, facts: &Facts, accounts: &dyn Accounts) -> Result<u32, Refusal> {
    let (option, gid) = match &raw.own.group {
        Some(identity) => {
            let option = format!("group={}", written(identity));
            let gid = group_id(raw, accounts, &option, identity)?;
            (option, gid)
        }
        None if facts.is_root() => ("without group=, httpd's Group".to_owned(), facts.gid),
        None => return Ok(facts.own_gid),
    };
    if facts.is_root() {
        refuse_root(raw, &option, gid)?;
    }
    Ok(gid)
}

/// Without root nobody changes users or groups.
pub(super) fn refuse_other_identity(
    raw: &RawGroup,
    facts: &Facts,
    account: &Account,
    gid: u32,
) -> Result<(), Refusal> {
    let remedy = "start httpd as root, or remove the option";
    if account.uid != facts.own_uid {
        let option = raw.own.user.as_ref().map(written).unwrap_or_default();
        return Err(refuse(
            raw,
            &format!("user={option}"),
            "is another user than the one that starts httpd, and only root can change users",
            remedy,
        ));
    }
    if gid != facts.own_gid {
        let option = raw.own.group.as_ref().map(written).unwrap_or_default();
        return Err(refuse(
            raw,
            &format!("group={option}"),
            "is another group than the one that starts httpd, and only root can change groups",
            remedy,
        ));
    }
    Ok(())
}

/// What else only root can do for them.
pub(super) fn refuse_without_root(raw: &RawGroup) -> Result<(), Refusal> {
    let remedy = "start httpd as root, or remove the option";
    if let Some(path) = &raw.own.chroot {
        return Err(refuse(
            raw,
            &format!("chroot={}", path.0.display()),
            "needs an httpd started as root",
            remedy,
        ));
    }
    if let Some(priority) = raw.options.cpu_priority.filter(|priority| priority.0 < 0) {
        return Err(refuse(
            raw,
            &format!("cpu-priority={}", priority.0),
            "is a higher priority than httpd's own, which only root can give",
            remedy,
        ));
    }
    Ok(())
}

/// Their other groups, and a sentence for the log when some are left out.
pub(super) fn supplementary(
    raw: &RawGroup,
    facts: &Facts,
    accounts: &dyn Accounts,
    account: &Account,
    gid: u32,
) -> Result<(Vec<u32>, Option<String>), Refusal> {
    let Some(list) = &raw.own.supplementary_groups else {
        if !facts.is_root() || account.name.is_empty() {
            return Ok((Vec::new(), None));
        }
        let groups = accounts.groups_of(account, gid).map_err(|why| {
            refuse(
                raw,
                "",
                format!("cannot learn the user's groups ({why})"),
                "repair the group database",
            )
        })?;
        return without_privileged(raw, facts, accounts, account, groups, gid);
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
        refuse_root(raw, &format!("{option}={}", written(identity)), id)?;
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
    Ok((groups, None))
}
