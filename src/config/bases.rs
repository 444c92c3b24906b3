//! The bases of users, resolved: defaults for hosting many, cross-checks, refusals.

use std::path::Path;

use rwsgi_wire::base::BaseRules;

use super::group::{Group, Subject};
use super::identity::{Accounts, Facts};
use super::{Refusal, python};
use crate::directives::RawServer;
use crate::directives::cap::Cap;
use crate::directives::daemon::GroupOptions;
use crate::directives::kinds::{Count, Seconds, Threads, Umask};
use crate::directives::users::{AbsoluteList, RawBase};

/// A base.
#[derive(Clone, Debug)]
pub struct Base {
    /// As in [`rwsgi_wire::base`].
    pub pattern: Vec<u8>,
    /// What its applications have, and the most that users can get. Who they are is left open.
    pub group: Group,
    /// Whose applications may run.
    pub rules: BaseRules,
}

/// What holds unless it is written: an application costs nothing until it is asked for, and nothing of it takes for ever, or all
/// of httpd (R59, R68, C19).
fn defaults() -> GroupOptions {
    GroupOptions {
        processes: Some(Count(2)),
        min_processes: Some(Count(0)),
        threads: Some(Threads(5)),
        startup_timeout: Some(Seconds(30)),
        queue_timeout: Some(Seconds(10)),
        request_timeout: Some(Seconds(60)),
        graceful_timeout: Some(Seconds(30)),
        umask: Some(Umask(0o027)),
        user_request_limit: Some(Cap::Percent(25)),
        ..GroupOptions::default()
    }
}

/// Resolves the bases of the main server.
pub fn resolve(
    main: &RawServer,
    facts: &Facts,
    accounts: &dyn Accounts,
    python_home: Option<&Path>,
) -> Result<Vec<Base>, Refusal> {
    let mut bases: Vec<Base> = Vec::new();
    for raw in &main.bases {
        let base = one(raw, main, facts, accounts, python_home)?;
        if bases.iter().any(|other| other.pattern == base.pattern) {
            return Err(subject(raw).refuse("", "is written twice", "remove one of the two"));
        }
        bases.push(base);
    }
    Ok(bases)
}

fn subject(raw: &RawBase) -> Subject<'_> {
    Subject {
        text: format!("WSGIUserProcess {}", raw.pattern),
        place: &raw.place,
    }
}

fn one(
    raw: &RawBase,
    main: &RawServer,
    facts: &Facts,
    accounts: &dyn Accounts,
    python_home: Option<&Path>,
) -> Result<Base, Refusal> {
    let subject = subject(raw);
    if !facts.is_root() {
        return Err(subject.refuse(
            "",
            "needs an httpd started as root, which alone can become its users",
            "start httpd as root, or remove it",
        ));
    }
    let options = raw.options.over(&defaults());
    refuse_services(&options, &subject)?;
    refuse_open_files(&options, &subject)?;
    let mut group = Group::of(&options, &subject, python_home)?;
    group.settings.python = python::of_group(main, &raw.pattern, &options, None);
    Ok(Base {
        pattern: raw.pattern.clone().into_bytes(),
        group,
        rules: rules(raw, &subject, facts, accounts)?,
    })
}

fn refuse_services(options: &GroupOptions, subject: &Subject<'_>) -> Result<(), Refusal> {
    match options.threads {
        Some(Threads(0)) => Err(subject.refuse(
            "threads=0",
            "would make services of applications, which then answer no requests",
            "write threads=1 or more",
        )),
        _ => Ok(()),
    }
}

/// What others can write, others can change.
fn refuse_open_files(options: &GroupOptions, subject: &Subject<'_>) -> Result<(), Refusal> {
    match options.umask {
        Some(Umask(mask)) if mask & 0o002 == 0 => Err(subject.refuse(
            &format!("umask={mask:04o}"),
            "lets applications make files that every user can change",
            "write umask=0027, or another one whose last digit has the 2",
        )),
        _ => Ok(()),
    }
}

fn rules(
    raw: &RawBase,
    subject: &Subject<'_>,
    facts: &Facts,
    accounts: &dyn Accounts,
) -> Result<BaseRules, Refusal> {
    let own = &raw.own;
    let (min_uid, max_uid) = (
        own.min_uid.map_or(1000, |uid| uid.0),
        own.max_uid.map_or(60000, |uid| uid.0),
    );
    if min_uid > max_uid {
        return Err(subject.refuse(
            &format!("min-uid={min_uid}"),
            format!("is more than max-uid={max_uid}, so nobody could run an application"),
            "lower it, or raise max-uid=",
        ));
    }
    let privileged = accounts.privileged().map_err(|why| {
        subject.refuse(
            "",
            format!("cannot learn which groups are privileged ({why})"),
            "repair the group database",
        )
    })?;
    let mut refused_gids = vec![0, facts.gid];
    refused_gids.extend(privileged.iter().map(|(_, gid)| *gid));
    refused_gids.sort_unstable();
    refused_gids.dedup();
    let denied = own.deny_users.iter().flat_map(|names| &names.0);
    let paths = |list: &Option<AbsoluteList>| -> Vec<Vec<u8>> {
        let paths = list.iter().flat_map(|list| &list.0);
        paths
            .map(|path| path.as_os_str().as_encoded_bytes().to_vec())
            .collect()
    };
    Ok(BaseRules {
        min_uid,
        max_uid,
        denied: denied.map(|name| name.clone().into_bytes()).collect(),
        suspended_shells: paths(&own.suspended_shells),
        root_owned: own.root_owned_scripts.unwrap_or(false),
        refused_gids,
        python_versions: paths(&own.python_versions),
        user_processes: own.user_processes.map_or(10, |count| count.0),
        user_log: own
            .user_log
            .as_ref()
            .map_or_else(|| b"logs/wsgi.log".to_vec(), |path| path.0.clone().into_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::group::tests::{Book, facts};
    use super::*;
    use crate::directives::{Place, Target, apply, users};

    fn read(lines: &[&str], own: u32) -> Result<Vec<Base>, String> {
        let mut main = RawServer::default();
        for line in lines {
            let target = Target::Server(&mut main);
            apply(&users::USER_PROCESS, target, line.as_bytes(), &Place::default())?;
        }
        resolve(&main, &facts(own), &Book, Some(Path::new("/python"))).map_err(|refusal| refusal.to_string())
    }

    fn refused(line: &str) -> String {
        read(&[line], 0).unwrap_err()
    }

    // R68, C19
    #[test]
    fn r68_an_application_has_limits_that_nobody_wrote() {
        let base = read(&["/home/*/public_wsgi/"], 0).unwrap().remove(0);
        assert_eq!(base.pattern, b"/home/*/public_wsgi");
        let settings = &base.group.settings;
        assert_eq!((settings.processes, settings.threads), (2, 5));
        assert_eq!(
            (settings.scale.min_processes, settings.scale.idle_timeout),
            (0, 300)
        );
        let life = &settings.life;
        assert_eq!(
            (life.startup_timeout, life.request_timeout, life.graceful_timeout),
            (30, 60, 30)
        );
        assert_eq!(base.group.queue_timeout, Some(std::time::Duration::from_secs(10)));
        assert_eq!((settings.umask, settings.multiprocess), (Some(0o027), true));
        assert_eq!(settings.python_home, b"/python");
        assert!(settings.name.is_empty() && settings.user.is_empty() && settings.groups.is_empty());
        assert_eq!((settings.uid, settings.gid), (0, 0));
        assert_eq!((base.rules.min_uid, base.rules.max_uid), (1000, 60000));
        assert_eq!(base.rules.user_log, b"logs/wsgi.log");
        assert_eq!((base.rules.user_processes, base.rules.root_owned), (10, false));
        // Root's, httpd's, docker's.
        assert_eq!(base.rules.refused_gids, [0, 33, 999]);
    }

    #[test]
    fn what_is_written_counts_more_than_the_defaults() {
        let line = "/srv/www/* processes=1 min-processes=1 umask=0077 queue-timeout=0 python-home=/venv user-log='' \
                    deny-users=bob,eve root-owned-scripts=On python-versions=/opt/a:/opt/b suspended-shells=/bin/no user-processes=0 min-uid=500 max-uid=501 preload=On";
        let base = read(&[line], 0).unwrap().remove(0);
        let settings = &base.group.settings;
        assert_eq!((settings.processes, settings.scale.min_processes), (1, 1));
        assert!(settings.template);
        assert_eq!((settings.umask, base.group.queue_timeout), (Some(0o077), None));
        assert_eq!(settings.python_home, b"/venv");
        let rules = &base.rules;
        assert!(rules.root_owned && rules.user_log.is_empty() && rules.user_processes == 0);
        assert_eq!(rules.denied, [b"bob", b"eve"]);
        assert_eq!(rules.python_versions, [b"/opt/a", b"/opt/b"]);
        assert_eq!(rules.suspended_shells, [b"/bin/no"]);
    }

    // R6
    #[test]
    fn r6_without_root_there_are_no_users() {
        let said = read(&["/home/*/w"], 1000).unwrap_err();
        assert!(
            said.contains("WSGIUserProcess /home/*/w needs an httpd started as root"),
            "{said}"
        );
    }

    #[test]
    fn refusals_name_the_base_the_option_and_the_remedy() {
        for (line, words) in [
            ("", "has no pattern"),
            ("home/*", "home/* is not an absolute path"),
            ("/home/ann", "exactly one '*'"),
            ("/home/*/*", "exactly one '*'"),
            ("/home/u*/w", "exactly one '*'"),
            ("/home/../*", "no clean path"),
            ("/home/* threads=0", "/home/* threads=0 would make services"),
            ("/home/* umask=0", "umask=0000 lets applications"),
            ("/home/* umask=0075", "umask=0075 lets applications"),
            ("/home/* min-uid=9 max-uid=8", "min-uid=9 is more than max-uid=8"),
            (
                "/home/* min-processes=3",
                "min-processes=3 is more than processes=2",
            ),
            ("/home/* user=ann", "Invalid option 'user'"),
            ("/home/* chroot=/x", "Invalid option 'chroot'"),
            ("/home/* min-uid=0", "min-uid=0 has the value '0'"),
            ("/home/* deny-users=a,,b", "not a login name"),
            ("/home/* user-log=/var/log/x", "no path below a home directory"),
            ("/home/* user-log=../x", "no path below a home directory"),
            ("/home/* python-versions=versions", "absolute path"),
        ] {
            let said = refused(line);
            assert!(said.contains(words) && said.contains("; "), "{line}: {said}");
        }
        let said = read(&["/home/*/w", "/home/*/w/ threads=2"], 0).unwrap_err();
        assert!(said.contains("is written twice"), "{said}");
        assert!(read(&["/home/*/w", "/srv/*/w"], 0).is_ok());
    }
}
