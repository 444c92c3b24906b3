//! Groups that give power over the machine or over httpd: hosted code is in none of them by accident.

use super::Refusal;
use super::identity::{Account, Accounts, Facts, refuse, written};
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

/// The groups that a user has by the group database alone: powerful ones must be taken away, or written down by who means it.
pub(super) fn refuse_by_accident(
    raw: &RawGroup,
    facts: &Facts,
    accounts: &dyn Accounts,
    account: &Account,
    groups: &[u32],
    primary: u32,
) -> Result<(), Refusal> {
    let mut others = groups.iter().filter(|gid| **gid != primary).peekable();
    if others.peek().is_none() {
        return Ok(());
    }
    let known = accounts.privileged().map_err(|why| {
        refuse(
            raw,
            "",
            format!("cannot learn which groups are privileged ({why})"),
            "repair the group database",
        )
    })?;
    for gid in others {
        let name = known.iter().find(|(_, id)| id == gid).map(|(name, _)| *name);
        let what = match name {
            _ if *gid == 0 => "the group root".to_owned(),
            Some(name) => format!("the group '{name}'"),
            None if *gid == facts.gid && account.uid != facts.uid => "httpd's own group".to_owned(),
            None => continue,
        };
        let option = raw.options.user.as_ref().map(written);
        return Err(refuse(
            raw,
            &option.map_or("without user=".to_owned(), |user| format!("user={user}")),
            format!("would run the application in {what}, because the user is a member of it"),
            "write the groups that it shall have, with supplementary-groups=, or take the user out of that group",
        ));
    }
    Ok(())
}
