//! Groups that give power over the machine or over httpd: hosted code is in none of them by accident.

use super::Refusal;
use super::identity::{Account, Accounts, Facts, refuse, written};
use crate::directives::choices::LoadedAs;
use crate::directives::daemon::RawGroup;

/// Their names. Who is in one of them can become root, or reads what only administrators and servers may read.
pub const NAMES: [&str; 16] = [
    "root",
    "adm",
    "admin",
    "disk",
    "docker",
    "incus",
    "incus-admin",
    "kmem",
    "libvirt",
    "lxd",
    "shadow",
    "ssl-cert",
    "staff",
    "sudo",
    "systemd-journal",
    "wheel",
];

/// Those of them that there are, with their ids.
pub fn existing(accounts: &dyn Accounts) -> Result<Vec<(&'static str, u32)>, String> {
    let mut found = Vec::new();
    for name in NAMES {
        found.extend(accounts.group(name)?.map(|gid| (name, gid)));
    }
    Ok(found)
}

/// The group root is for nobody, not even when it is written down.
pub(super) fn refuse_root(raw: &RawGroup, option: &str, gid: u32) -> Result<(), Refusal> {
    if gid != 0 {
        return Ok(());
    }
    Err(refuse(
        raw,
        option,
        "is the group root, to which much of the system is open",
        "name an ordinary group",
    ))
}

/// The groups that workers get, of those that their user has by the group database alone, and a sentence for the log when powerful ones are left
/// out. As `rwsgi_module` these are refused: who means them writes them down. As `wsgi_module` httpd starts as before.
pub(super) fn without_privileged(
    raw: &RawGroup,
    facts: &Facts,
    accounts: &dyn Accounts,
    account: &Account,
    groups: Vec<u32>,
    primary: u32,
) -> Result<(Vec<u32>, Option<String>), Refusal> {
    if groups.iter().all(|gid| *gid == primary) {
        return Ok((groups, None));
    }
    let known = accounts.privileged().map_err(|why| {
        refuse(
            raw,
            "",
            format!("cannot learn which groups are privileged ({why})"),
            "repair the group database",
        )
    })?;
    let powerful = |gid: u32| {
        let name = known.iter().find(|(_, id)| *id == gid).map(|(name, _)| *name);
        match name {
            _ if gid == primary => None,
            _ if gid == 0 => Some("the group root".to_owned()),
            Some(name) => Some(format!("the group '{name}'")),
            None if gid == facts.gid && account.uid != facts.uid => Some("httpd's own group".to_owned()),
            None => None,
        }
    };
    let found: Vec<String> = groups.iter().filter_map(|gid| powerful(*gid)).collect();
    if found.is_empty() {
        return Ok((groups, None));
    }
    let what = found.join(", ");
    let option = match &raw.own.user {
        Some(user) => format!("user={}", written(user)),
        None => "without user=".to_owned(),
    };
    let remedy =
        "write the groups that it shall have, with supplementary-groups=, or take the user out of the others";
    if facts.loaded_as == LoadedAs::Rwsgi {
        let problem = format!("would run the application in {what}, because the user is a member");
        return Err(refuse(raw, &option, problem, remedy));
    }
    let left = groups
        .into_iter()
        .filter(|gid| powerful(*gid).is_none())
        .collect();
    let sentence = format!(
        "WSGIDaemonProcess {} {option} runs the application without {what}, of which the user is a member; {remedy} ({})",
        raw.name, raw.place
    );
    Ok((left, Some(sentence)))
}
