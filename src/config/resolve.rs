//! Defaults, cross-checks and refusals, once, when the whole configuration has been read.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rwsgi_wire::control::Preload;

use super::group::Group;
use super::identity::{Accounts, Facts};
use super::remembered::Remembered;
use super::{Base, Embedded, Refusal, ServerConfig, Site, bases, python};
use crate::directives::Place;
use crate::directives::RawServer;
use crate::directives::calls::CallScript;
use crate::directives::daemon::RawGroup;
use crate::directives::import::Load;
use crate::directives::kinds::Count;
use crate::directives::proxies::KNOWN;
use crate::directives::script::{Alias, Pattern};
use crate::request::template::Template;

/// A server as httpd knows it, with what was written for it. The first one is the main server.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// `ServerName`.
    pub name: &'a str,
    /// It is a `<VirtualHost>`.
    pub is_virtual: bool,
    /// Its settings, merged over the main server's.
    pub raw: &'a RawServer,
}

/// Resolves everything; one configuration per server, in their order. Also sentences for things that work but cannot be meant.
pub fn resolve(
    servers: &[Written<'_>],
    facts: &Facts,
    accounts: &dyn Accounts,
) -> Result<(Vec<ServerConfig>, Vec<String>), Refusal> {
    let accounts = &Remembered::new(accounts);
    let main = servers.first().map(|main| main.raw.clone()).unwrap_or_default();
    let global = main.global.clone();
    let python_home = global.python_home.map(|home| home.0);
    let mut groups: BTreeMap<String, (Group, &RawGroup)> = BTreeMap::new();
    let writers = writers(servers);
    for (index, server) in &writers {
        let index = *index;
        for raw in &server.raw.groups {
            let mut group = Group::resolve(raw, facts, accounts, python_home.as_deref())?;
            group.settings.python =
                python::of_group(&main, &raw.name, &raw.options, raw.own.python_eggs.as_ref());
            group.server = index;
            group.server_names.push(server.name.to_owned());
            group.is_of_virtual_host = server.is_virtual;
            match groups.entry(raw.name.clone()) {
                Entry::Vacant(entry) => _ = entry.insert((group, raw)),
                Entry::Occupied(mut entry) => {
                    let (first, written) = entry.get_mut();
                    let is_twice_here = first.server == index;
                    if is_twice_here
                        || first.is_of_virtual_host != server.is_virtual
                        || !first.is_same(&group)
                    {
                        return Err(duplicate(raw, written, is_twice_here));
                    }
                    first.server_names.push(server.name.to_owned());
                }
            }
        }
    }
    let mut groups: BTreeMap<String, Group> = groups
        .into_iter()
        .map(|(name, (group, _))| (name, group))
        .collect();
    let mut doubts = Vec::new();
    for server in servers {
        doubt_proxy_headers(server, &mut doubts);
        doubt_process_group(server, &groups, &mut doubts);
        for alias in &server.raw.aliases {
            doubts.extend(doubt(alias, server, &groups));
        }
    }
    let mut embedded_loads = Vec::new();
    let mut imports_embedded = false;
    for (server, load) in own(&writers, |raw| &raw.loads) {
        check_load(load, server, &groups)?;
        let mut preload = preload(load, facts);
        let list = match groups.get_mut(&*load.process_group) {
            Some(group) => {
                // The script of an alias is named as httpd sees it. One outside of the root directory of the workers is refused to requests.
                if !load.is_import {
                    let Some(script) = group.inside(&preload.script).map(<[u8]>::to_vec) else {
                        continue;
                    };
                    preload.script = script;
                }
                &mut group.settings.preload
            }
            None => {
                imports_embedded |= load.is_import;
                &mut embedded_loads
            }
        };
        if !list.contains(&preload) {
            list.push(preload);
        }
    }
    doubt_idle_services(&writers, &groups, &mut doubts);
    let mut calls_embedded = false;
    for (server, call) in own(&writers, |raw| &raw.calls) {
        check_call(call, server, &groups)?;
        calls_embedded |= call.process_group().is_empty();
    }
    let bases = bases::resolve(&main, facts, accounts, python_home.as_deref())?;
    let is_forced = imports_embedded || calls_embedded;
    let is_off = global.restrict_embedded.unwrap_or(false);
    let embedded = Embedded {
        is_off,
        request_limit: global.embedded_request_limit.unwrap_or_default(),
        server_metrics: global.server_metrics.unwrap_or(false),
        python_home,
        python: python::embedded(&main),
        // With process groups about, an alias may find its group in a directory section, which is not known here.
        is_forced,
        is_expected: is_forced || (!is_off && groups.is_empty() && servers.iter().any(runs_embedded)),
        preload: embedded_loads,
    };
    let socket_prefix = match global.socket_prefix {
        Some(prefix) => facts.server_root.join(prefix.0),
        None => facts.runtime_dir.clone(),
    };
    let site = Arc::new(Site {
        audit_log: global.audit_log.map(|path| facts.server_root.join(path.0)),
        max_workers: max_workers(global.max_workers, &groups, &bases)?,
        spool_directory: global
            .spool_directory
            .map_or_else(|| "/var/tmp".into(), |directory| directory.0),
        max_memory: global.max_memory.map_or(0, |bytes| bytes.0),
        groups,
        bases,
        embedded,
        socket_prefix,
        run: OnceLock::new(),
        gateway: OnceLock::new(),
    });
    let configs = servers.iter().map(|server| ServerConfig {
        site: Arc::clone(&site),
        scoped: server.raw.scoped.clone(),
        aliases: server
            .raw
            .aliases
            .iter()
            .map(|alias| below_server_root(alias, facts))
            .collect(),
    });
    Ok((configs.collect(), doubts))
}

/// `WSGIMaxWorkers`, unless a single group could never have the workers it always has.
fn max_workers(
    written: Option<Count<0>>,
    groups: &BTreeMap<String, Group>,
    bases: &[Base],
) -> Result<u32, Refusal> {
    let most = written.map_or(0, |count| count.0);
    let least = |group: &Group| group.settings.scale.min_processes;
    let of_groups = groups
        .iter()
        .map(|(name, group)| (group, format!("application group of WSGIDaemonProcess {name}")));
    let of_bases = bases.iter().map(|base| {
        let pattern = String::from_utf8_lossy(&base.pattern);
        (&base.group, format!("application of WSGIUserProcess {pattern}"))
    });
    let too_many = |group: &Group| most != 0 && least(group) > most && !group.settings.is_service();
    match of_groups.chain(of_bases).find(|(group, _)| too_many(group)) {
        None => Ok(most),
        Some((group, what)) => Err(Refusal {
            place: String::new(),
            subject: format!("WSGIMaxWorkers {most}"),
            problem: format!(
                "is less than the {} workers that each {what} always has",
                least(group)
            ),
            remedy: "raise it, or give that one a smaller min-processes= or processes=".into(),
        }),
    }
}

/// A copy of a virtual host (for another port, as certbot makes them) declares its groups again, which is one group as long as it
/// says the same. Anything else is a mistake.
fn duplicate(raw: &RawGroup, first: &RawGroup, is_twice_here: bool) -> Refusal {
    let of_own = first.own.first_difference(&raw.own);
    let (problem, remedy) = match of_own.or_else(|| first.options.first_difference(&raw.options)) {
        _ if is_twice_here => (String::new(), "remove one of the two, or choose another name"),
        Some(option) => (
            format!(", and the two differ in '{option}'"),
            "write the same options in both, declare the group once in the main server, or choose another name",
        ),
        None => (
            ", one in the main server and one in a virtual host".to_owned(),
            "keep the one in the main server, or choose another name",
        ),
    };
    Refusal {
        place: raw.place.to_string(),
        subject: format!("WSGIDaemonProcess {}", raw.name),
        problem: format!("duplicates the name of the one at {}{problem}", first.place),
        remedy: remedy.into(),
    }
}

/// An alias of this server names no process group, and neither does the server.
fn runs_embedded(server: &Written<'_>) -> bool {
    let embedded = |template: Option<&Template>| template.is_none_or(|template| template.fixed() == Some(""));
    server.raw.aliases.iter().any(|alias| {
        embedded(
            alias
                .options
                .process_group
                .as_ref()
                .or(server.raw.scoped.process_group.as_ref()),
        )
    })
}

/// What is written in a server itself, with that server.
fn own<'a, T: 'a>(
    writers: &'a [(usize, &'a Written<'a>)],
    list: impl Fn(&'a RawServer) -> &'a Vec<T>,
) -> impl Iterator<Item = (&'a Written<'a>, &'a T)> {
    writers
        .iter()
        .flat_map(move |(_, server)| list(server.raw).iter().map(move |item| (*server, item)))
}

/// The servers with settings of their own, and their places: httpd gives a virtual host without settings of ours the main server's
/// very own.
fn writers<'a>(servers: &'a [Written<'a>]) -> Vec<(usize, &'a Written<'a>)> {
    let mut seen: HashSet<*const RawServer> = HashSet::with_capacity(servers.len());
    let all = servers.iter().enumerate();
    all.filter(|(_, server)| seen.insert(std::ptr::from_ref(server.raw)))
        .collect()
}

/// Why a server cannot use a process group: problem and remedy.
fn unusable(
    name: &str,
    server: &Written<'_>,
    groups: &BTreeMap<String, Group>,
) -> Option<(String, &'static str)> {
    match groups.get(name) {
        Some(group) if group.is_visible_to(server.name, server.is_virtual) => None,
        Some(group) => Some((
            format!(
                "names a process group of the virtual host '{}', which this server cannot use",
                group.server_names.join("', '")
            ),
            "define it in the main server, or in a virtual host of the same ServerName",
        )),
        None => Some((
            "names a process group that is not configured".to_owned(),
            "define it with WSGIDaemonProcess, or correct the name",
        )),
    }
}

/// Why requests of a server cannot be sent to a process group: problem and remedy.
fn unfit(
    name: &str,
    server: &Written<'_>,
    groups: &BTreeMap<String, Group>,
) -> Option<(String, &'static str)> {
    let is_service = || groups.get(name).is_some_and(|group| group.settings.is_service());
    unusable(name, server, groups).or_else(|| {
        is_service().then(|| {
            (
                "names a process group that takes no requests, since it has threads=0".to_owned(),
                "choose another one, or give it threads",
            )
        })
    })
}

/// A service that runs nothing.
fn doubt_idle_services(
    writers: &[(usize, &Written<'_>)],
    groups: &BTreeMap<String, Group>,
    doubts: &mut Vec<String>,
) {
    for (_, raw) in own(writers, |raw| &raw.groups) {
        let group = groups.get(&raw.name).map(|group| &group.settings);
        if group.is_some_and(|group| group.is_service() && group.preload.is_empty()) {
            doubts.push(format!(
                "WSGIDaemonProcess {0} threads=0 has nothing to run, so no process is started for it; name a script with WSGIImportScript \
                 and process-group={0} application-group=%{{GLOBAL}}, or remove it ({1})",
                raw.name, raw.place
            ));
        }
    }
}

/// An alias that names a process group it cannot use, and is not loaded at start.
fn doubt(alias: &Alias, server: &Written<'_>, groups: &BTreeMap<String, Group>) -> Option<String> {
    let options = &alias.options;
    let name = options
        .process_group
        .as_ref()?
        .fixed()
        .filter(|name| !name.is_empty())?;
    let (problem, remedy) = unfit(name, server, groups)?;
    let (Pattern::Prefix(from) | Pattern::Regex(from)) = &alias.pattern;
    let refusal = Refusal {
        place: alias.place.to_string(),
        subject: format!("WSGIScriptAlias {from} process-group={name}"),
        problem,
        remedy: remedy.into(),
    };
    Some(refusal.to_string())
}

/// A `WSGIProcessGroup` that nothing defines, or that takes no requests. Groups of other virtual hosts are left alone: a main server that serves nothing may name them.
fn doubt_process_group(server: &Written<'_>, groups: &BTreeMap<String, Group>, doubts: &mut Vec<String>) {
    let group = server.raw.scoped.process_group.as_ref();
    let Some(name) = group.and_then(Template::fixed).filter(|name| !name.is_empty()) else {
        return;
    };
    let why = match groups.get(name) {
        None => "that is not configured; define it with WSGIDaemonProcess, or correct the name",
        Some(group) if group.settings.is_service() => {
            "that takes no requests, since it has threads=0; choose another one, or give it threads"
        }
        Some(_) => return,
    };
    let doubt = format!("WSGIProcessGroup {name} names a process group {why}");
    if !doubts.contains(&doubt) {
        doubts.push(doubt);
    }
}

/// Headers of which nobody knows what they tell do nothing; most likely they are misspelt.
fn doubt_proxy_headers(server: &Written<'_>, doubts: &mut Vec<String>) {
    let headers = server.raw.scoped.trusted_proxy_headers.as_ref();
    for name in headers
        .map(|headers| headers.unknown.as_slice())
        .unwrap_or_default()
    {
        let known: Vec<&str> = KNOWN.iter().map(|known| known.0).collect();
        let doubt = format!(
            "WSGITrustedProxyHeaders {name} has no effect: it is not one of the headers that proxies use; remove it, or write one of {}",
            known.join(", ")
        );
        if !doubts.contains(&doubt) {
            doubts.push(doubt);
        }
    }
}

/// What is loaded at start needs its process group; the script of an alias one that takes requests.
fn check_load(load: &Load, server: &Written<'_>, groups: &BTreeMap<String, Group>) -> Result<(), Refusal> {
    let name = &load.process_group;
    let why = match load.is_import {
        true => unusable(name, server, groups),
        false => unfit(name, server, groups),
    };
    check_group(name, why, &load.place, || load.subject.clone())
}

/// A script that httpd asks needs its process group.
fn check_call(
    call: &CallScript,
    server: &Written<'_>,
    groups: &BTreeMap<String, Group>,
) -> Result<(), Refusal> {
    let subject = || format!("{} {}", call.directive, call.script.display());
    let name = call.process_group();
    check_group(name, unfit(name, server, groups), &call.place, subject)
}

/// Refuses a process group that cannot be used, for that reason, as what `subject` names at `place`; none at all is embedded mode.
fn check_group(
    name: &str,
    why: Option<(String, &'static str)>,
    place: &Place,
    subject: impl FnOnce() -> String,
) -> Result<(), Refusal> {
    match why.filter(|_| !name.is_empty()) {
        None => Ok(()),
        Some((problem, remedy)) => Err(Refusal {
            place: place.to_string(),
            subject: format!("{} process-group={name}", subject()),
            problem,
            remedy: remedy.into(),
        }),
    }
}

fn preload(load: &Load, facts: &Facts) -> Preload {
    let script = facts.server_root.join(&load.script);
    Preload {
        application_group: load.application_group.as_bytes().to_vec(),
        script: script.into_os_string().into_encoded_bytes(),
        mtime: 0,
    }
}

fn below_server_root(alias: &Alias, facts: &Facts) -> Alias {
    let mut alias = alias.clone();
    if !alias.target.starts_with(['/', '$']) {
        let path: PathBuf = facts.server_root.join(&alias.target);
        if let Ok(path) = path.into_os_string().into_string() {
            alias.target = path;
        }
    }
    alias
}

#[cfg(test)]
mod tests {
    use super::super::NoGroup;
    use super::super::group::tests::{Book, facts};
    use super::*;
    use crate::directives::{ALL, Target, apply};

    fn server(lines: &[&str]) -> RawServer {
        let mut raw = RawServer::default();
        for line in lines {
            let (name, rest) = line.split_once(' ').unwrap();
            let directive = ALL
                .iter()
                .find(|directive| directive.name.to_bytes() == name.as_bytes())
                .unwrap();
            apply(
                directive,
                Target::Server(&mut raw),
                rest.as_bytes(),
                &Place::default(),
            )
            .unwrap();
        }
        raw
    }

    fn all(main: &[&str], hosts: &[(&str, &[&str])]) -> Result<(Vec<ServerConfig>, Vec<String>), String> {
        let base = server(main);
        let hosts: Vec<(&str, RawServer)> = hosts
            .iter()
            .map(|(name, lines)| (*name, server(lines).over(&base)))
            .collect();
        let mut written = vec![Written {
            name: "main",
            is_virtual: false,
            raw: &base,
        }];
        written.extend(hosts.iter().map(|(name, raw)| Written {
            name,
            is_virtual: true,
            raw,
        }));
        resolve(&written, &facts(0), &Book).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_name_used_twice_is_refused_unless_two_virtual_hosts_say_the_same() {
        let (a, b) = ("WSGIDaemonProcess a threads=2", "WSGIDaemonProcess a threads=3");
        let said = all(&[a], &[("x", &[a])]).unwrap_err();
        assert!(
            said.contains("WSGIDaemonProcess a duplicates") && said.contains("the main server"),
            "{said}"
        );
        let said = all(&[], &[("x", &[a, a])]).unwrap_err();
        assert!(said.contains("remove one"), "{said}");
        let said = all(&[], &[("x", &[a]), ("x", &[b])]).unwrap_err();
        assert!(said.contains("differ in 'threads'"), "{said}");
        for option in [
            "response-flush-delay",
            "response-socket-timeout",
            "connect-timeout",
            "cpu-priority",
        ] {
            let other = format!("{a} {option}=3");
            let said = all(&[], &[("x", &[a]), ("x", &[&other])]).unwrap_err();
            assert!(said.contains(&format!("differ in '{option}'")), "{said}");
        }
        let shown = format!("{a} server-metrics=On");
        let said = all(&[], &[("x", &[a]), ("x", &[&shown])]).unwrap_err();
        assert!(said.contains("differ in 'server-metrics'"), "{said}");
        let (configs, _) = all(&[], &[("x", &[a]), ("y", &[a]), ("z", &[])]).unwrap();
        let visible = |name| configs[0].group("a", name, true).is_ok();
        assert!(visible("x") && visible("y") && !visible("z"));
        // Defaults that are written say the same.
        let written = "WSGIDaemonProcess a threads=2 shutdown-timeout=5";
        assert!(all(&[], &[("x", &[a]), ("x", &[written])]).is_ok());
    }

    #[test]
    fn a_group_of_a_virtual_host_serves_hosts_of_the_same_name_only() {
        let hosts: &[(&str, &[&str])] = &[("x", &["WSGIDaemonProcess a"]), ("x", &[]), ("y", &[])];
        let (configs, _) = all(&["WSGIDaemonProcess m"], hosts).unwrap();
        let config = &configs[0];
        assert!(config.group("a", "x", true).is_ok());
        assert_eq!(config.group("a", "y", true).err(), Some(NoGroup::OfAnotherServer));
        assert_eq!(
            config.group("a", "x", false).err(),
            Some(NoGroup::OfAnotherServer)
        );
        assert!(config.group("m", "y", true).is_ok() && config.group("m", "main", false).is_ok());
        assert_eq!(config.group("z", "x", true).err(), Some(NoGroup::Unknown));
    }

    #[test]
    fn a_virtual_host_that_shares_the_main_servers_settings_declares_nothing_again() {
        let raw = server(&["WSGIDaemonProcess a"]);
        let written = |name, is_virtual| Written {
            name,
            is_virtual,
            raw: &raw,
        };
        let (configs, _) = resolve(&[written("main", false), written("x", true)], &facts(0), &Book).unwrap();
        assert!(configs[1].group("a", "x", true).is_ok());
    }

    #[test]
    fn an_alias_with_both_groups_needs_a_group_and_one_with_one_group_raises_doubt() {
        let alias = "WSGIScriptAlias / /app.wsgi process-group=none";
        assert_eq!(all(&[alias], &[]).unwrap().1.len(), 1);
        let said = all(&[&format!("{alias} application-group=%{{GLOBAL}}")], &[]).unwrap_err();
        assert!(
            said.contains("process-group=none names a process group that is not configured"),
            "{said}"
        );
    }

    #[test]
    fn a_process_group_that_nothing_defines_raises_doubt_once() {
        let named = "WSGIProcessGroup a";
        let (_, doubts) = all(&[named], &[("x", &[]), ("y", &[])]).unwrap();
        assert_eq!(doubts.len(), 1);
        assert!(doubts[0].contains("WSGIProcessGroup a names"), "{}", doubts[0]);
        for defined in [
            &["WSGIDaemonProcess a", named],
            &["WSGIProcessGroup %{GLOBAL}", "WSGIProcessGroup %{ENV:x}"],
        ] {
            assert!(all(defined, &[("x", &[])]).unwrap().1.is_empty());
        }
        assert!(
            all(&[named], &[("x", &["WSGIDaemonProcess a"])])
                .unwrap()
                .1
                .is_empty()
        );
    }

    #[test]
    fn an_alias_with_both_groups_is_loaded_at_start_once() {
        let alias = "WSGIScriptAlias / app.wsgi process-group=a application-group=%{GLOBAL}";
        let (configs, _) = all(&["WSGIDaemonProcess a", alias], &[("x", &[]), ("y", &[])]).unwrap();
        let preload = &configs[0].site.groups["a"].settings.preload;
        assert_eq!(preload.len(), 1);
        assert_eq!(preload[0].script, b"/etc/httpd/app.wsgi");
        assert_eq!(configs[0].aliases[0].target, "/etc/httpd/app.wsgi");
    }

    #[test]
    fn a_proxy_header_that_tells_nothing_raises_doubt_once() {
        let (_, doubts) = all(
            &["WSGITrustedProxyHeaders X-Forwarded-Fro X-Real-IP"],
            &[("x", &[]), ("y", &[])],
        )
        .unwrap();
        assert_eq!(doubts.len(), 1);
        assert!(
            doubts[0].contains("X-Forwarded-Fro ") && doubts[0].contains("X-Forwarded-For,"),
            "{doubts:?}"
        );
    }

    #[test]
    fn embedded_mode_is_expected_only_where_an_alias_uses_it() {
        let expected = |main: &[&str]| all(main, &[]).unwrap().0[0].site.embedded.is_expected;
        assert!(expected(&["WSGIScriptAlias / /app.wsgi"]));
        assert!(!expected(&[]));
        assert!(!expected(&[
            "WSGIScriptAlias / /app.wsgi",
            "WSGIRestrictEmbedded On"
        ]));
        let daemon = ["WSGIDaemonProcess a", "WSGIScriptAlias / /app.wsgi"];
        assert!(!expected(&daemon));
    }

    #[test]
    fn sockets_lie_below_the_server_root_or_the_runtime_directory() {
        let prefix = |main: &[&str]| all(main, &[]).unwrap().0[0].site.socket_prefix.clone();
        assert_eq!(prefix(&[]), PathBuf::from("/run/httpd/rwsgi"));
        assert_eq!(
            prefix(&["WSGISocketPrefix run/w"]),
            PathBuf::from("/etc/httpd/run/w")
        );
        assert_eq!(prefix(&["WSGISocketPrefix /tmp/w"]), PathBuf::from("/tmp/w"));
    }
}
