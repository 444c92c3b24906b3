//! Where the manager may make control groups, and the tree that it makes there: `rwsgi-<httpd's process id>`. It outlives the manager: the next
//! one goes on with it.

use std::time::Duration;

use rwsgi_os::cgroup::{self, Controller, Hierarchy, Version};
use rwsgi_os::process::{self, Pid};
use rwsgi_os::{OsError, OwnedFd, file};

/// Where httpd itself is put when its group of version 2 is divided: there a group with groups below has no members.
const OF_HTTPD: &[u8] = b"rwsgi-httpd";

/// The tree in one hierarchy. A process that holds its lock is a manager that lives.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) version: Version,
    /// What is limited in it.
    pub(crate) controllers: Vec<Controller>,
    /// The group that the tree is in.
    base: Vec<u8>,
    /// The directory of the tree.
    pub(crate) root: Vec<u8>,
    /// Nothing but processor time is limited in it: processes enter it only when somebody's is, for competing as groups makes a difference.
    pub(crate) on_demand: bool,
    _lock: OwnedFd,
}

impl Branch {
    /// The directory of a group, named from the tree on.
    pub(crate) fn group(&self, name: &[u8]) -> Vec<u8> {
        [&self.root[..], b"/", name].concat()
    }

    /// Groups right below this one get the controller, too (version 2 only; with version 1 all do).
    pub(crate) fn pass_on(&self, group: &[u8]) {
        for controller in self.controllers.iter().filter(|_| self.version == Version::Two) {
            let _ = cgroup::write(
                group,
                "cgroup.subtree_control",
                &format!("+{}", controller.name()),
            );
        }
    }

    /// From now on processor time can be limited in it.
    pub(crate) fn add_processor_time(&mut self) {
        let is_possible = self.version == Version::Two
            && !self.controllers.contains(&Controller::Cpu)
            && enable(&self.base, Controller::Cpu);
        if is_possible {
            self.controllers.push(Controller::Cpu);
            self.pass_on(&self.root);
        }
    }
}

/// Makes the tree in each hierarchy that is needed, and answers what dead managers have left beside it. The error says why there can be none.
///
/// `delegated`: see [`delegated`].
pub(crate) fn make(httpd: Pid, delegated: &[u8]) -> Result<(Vec<Branch>, Vec<Vec<u8>>), String> {
    let (mut branches, mut left) = (Vec::new(), Vec::new());
    for (mut hierarchy, on_demand) in choose(cgroup::hierarchies())? {
        let base = base_in(&mut hierarchy, delegated)?;
        let name = format!("rwsgi-{httpd}");
        let root = [&base[..], b"/", name.as_bytes()].concat();
        let made = cgroup::make(&root).and_then(|()| lock(&root));
        let lock = made
            .map_err(|e| format!("groups cannot be made ({e})"))?
            .ok_or_else(|| format!("another manager has {}", String::from_utf8_lossy(&root)))?;
        // Long the default, and without it a limit does not hold for groups below.
        let _ = cgroup::write(&root, "memory.use_hierarchy", "1");
        if hierarchy.version == Version::One && hierarchy.controllers.contains(&Controller::Cpu) {
            // httpd's threads compete with the tree as a whole: each of them gets at least half of a processor, whatever workers do, and they
            // the other. With version 2 httpd is a group, too, and has as much as the tree.
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            let share = processors.saturating_mul(cgroup::SHARE).to_string();
            let _ = cgroup::write(&root, "cpu.shares", &share);
        }
        left.extend(leftovers(&base, name.as_bytes()));
        let branch = Branch {
            version: hierarchy.version,
            controllers: hierarchy.controllers,
            base,
            root,
            on_demand,
            _lock: lock,
        };
        branch.pass_on(&branch.root);
        branches.push(branch);
    }
    Ok((branches, left))
}

/// The hierarchies to use: that of version 2 if something can be limited there, else those of version 1; the first of them will know who the
/// processes of an application are. With each, whether it is for processor time alone.
fn choose(found: Vec<Hierarchy>) -> Result<Vec<(Hierarchy, bool)>, String> {
    let limits = |h: &Hierarchy| h.controllers.iter().any(|c| *c != Controller::Cpu);
    let (mut two, mut one): (Vec<_>, Vec<_>) = found.into_iter().partition(|h| h.version == Version::Two);
    two.truncate(1);
    if one.iter().any(limits) && !two.iter().any(limits) {
        // `pids` first: it stops those that fork while they are killed.
        one.sort_by_key(|h| (!h.controllers.contains(&Controller::Pids), !limits(h)));
        return Ok(one
            .into_iter()
            .map(|h| (!limits(&h), h))
            .map(|(d, h)| (h, d))
            .collect());
    }
    if two.is_empty() {
        return Err("none are mounted".into());
    }
    Ok(two.into_iter().map(|h| (h, false)).collect())
}

/// The group in which the tree may be made, with the controllers that it can have enabled.
fn base_in(hierarchy: &mut Hierarchy, delegated: &[u8]) -> Result<Vec<u8>, String> {
    let own = hierarchy.own.clone();
    if hierarchy.version == Version::One {
        return Ok(own);
    }
    let is_divided = own.ends_with(&[b"/", OF_HTTPD].concat());
    let base = match above(&own) {
        Some(above) if is_divided || above == delegated => above,
        _ => own,
    };
    let is_managed = file::status_of(b"/run/systemd/system").is_ok();
    if !is_divided && hierarchy.group != b"/" && is_managed && base != delegated {
        return Err(format!(
            "the control group {} is systemd's and not delegated: write Delegate=yes into the unit of httpd",
            String::from_utf8_lossy(&hierarchy.group)
        ));
    }
    let wanted = [Controller::Memory, Controller::Pids];
    hierarchy
        .controllers
        .retain(|c| wanted.contains(c) && enable(&base, *c));
    Ok(base)
}

/// The lock of a tree. A process that a manager was just starting when it died holds it for a moment longer.
fn lock(root: &[u8]) -> Result<Option<OwnedFd>, OsError> {
    for _ in 0..50 {
        if let Some(lock) = cgroup::lock(root)? {
            return Ok(Some(lock));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

fn above(group: &[u8]) -> Option<Vec<u8>> {
    let end = group.iter().rposition(|b| *b == b'/')?;
    group.get(..end).map(<[u8]>::to_vec)
}

/// The group of version 2 that is said to be this process's to divide: its own or the one above; empty if neither is. Only those with all
/// capabilities are told.
pub(crate) fn delegated() -> Vec<u8> {
    let two = cgroup::hierarchies()
        .into_iter()
        .find(|h| h.version == Version::Two);
    let own = two.map(|h| h.own).unwrap_or_default();
    let places = [above(&own).unwrap_or_default(), own];
    let mut places = places.into_iter().filter(|place| !place.is_empty());
    places.find(|place| is_delegated(place)).unwrap_or_default()
}

/// systemd leaves the group alone, and what is below.
fn is_delegated(group: &[u8]) -> bool {
    [c"user.delegate", c"trusted.delegate"]
        .iter()
        .any(|name| file::attribute(group, name).is_some_and(|value| value == b"1"))
}

/// Groups below `base` can have the controller. If members are in the way, they go to a group of their own.
fn enable(base: &[u8], controller: Controller) -> bool {
    /// "Device or resource busy", the same number on every Linux.
    const EBUSY: i32 = 16;
    let text = format!("+{}", controller.name());
    match cgroup::write(base, "cgroup.subtree_control", &text) {
        Ok(()) => return true,
        Err(e) if e.errno == EBUSY => {}
        Err(_) => return false,
    }
    let place = [base, b"/", OF_HTTPD].concat();
    let _ = cgroup::make(&place);
    for _ in 0..8 {
        for pid in cgroup::members(base) {
            let _ = cgroup::write(&place, "cgroup.procs", &pid.to_string());
        }
    }
    cgroup::write(base, "cgroup.subtree_control", &text).is_ok()
}

/// Trees of managers that have died, with their httpd.
fn leftovers(base: &[u8], own: &[u8]) -> Vec<Vec<u8>> {
    let is_orphaned = |name: &[u8]| {
        let number = name.strip_prefix(b"rwsgi-").unwrap_or_default();
        let httpd = std::str::from_utf8(number).ok().and_then(|n| n.parse().ok());
        httpd.is_some_and(|pid| process::open(Pid(pid)).is_err())
    };
    let names = cgroup::children(base).into_iter();
    let others = names.filter(|name| name != own && is_orphaned(name));
    let groups = others.map(|name| [base, b"/", &name[..]].concat());
    groups
        .filter(|group| matches!(cgroup::lock(group), Ok(Some(_))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Controller::{Cpu, Memory, Pids};

    fn hierarchy(version: Version, controllers: &[Controller]) -> Hierarchy {
        Hierarchy {
            version,
            controllers: controllers.to_vec(),
            own: b"/x".to_vec(),
            group: b"/".to_vec(),
        }
    }

    // R65
    #[test]
    fn version_2_is_used_where_it_can_limit_something_and_version_1_else() {
        let chosen = |all: &[(Version, &[Controller])]| {
            let all = all
                .iter()
                .map(|(version, controllers)| hierarchy(*version, controllers));
            choose(all.collect()).map(|some| {
                let shown = some
                    .iter()
                    .map(|(h, on_demand)| (h.version, h.controllers[0], *on_demand));
                shown.collect::<Vec<_>>()
            })
        };
        let (one, two) = (Version::One, Version::Two);
        assert_eq!(
            chosen(&[(two, &[Memory, Pids, Cpu])]),
            Ok(vec![(two, Memory, false)])
        );
        assert_eq!(
            chosen(&[(one, &[Cpu]), (one, &[Memory]), (two, &[Cpu]), (one, &[Pids])]),
            Ok(vec![(one, Pids, false), (one, Memory, false), (one, Cpu, true)])
        );
        assert_eq!(
            chosen(&[(one, &[Cpu]), (two, &[Pids])]),
            Ok(vec![(two, Pids, false)])
        );
        assert!(chosen(&[(one, &[Cpu])]).is_err());
    }
}
