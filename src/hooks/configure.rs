//! From the configuration that was read to one that is in force.

use std::sync::Arc;

use super::admission;
use crate::codes;
use crate::config::identity::{Account, Accounts, Facts};
use crate::config::privileged;
use crate::config::remarks::{Remark, remarks};
use crate::config::resolve::{Written, resolve};
use crate::config::sockets::{self, Trouble};
use crate::directives::script::{Alias, Pattern};
use crate::httpd::{self, BesideUs, Level, Pool, Regex, RunState, Server, Terminal, Verdict};
use crate::log::log;
use crate::manager_link;

const REFUSED: Verdict = Verdict::Status(500);

/// Refuses what must not be loaded beside us.
pub fn pre_config(main: Server<'_>) -> Verdict {
    match httpd::beside_us() {
        BesideUs::Nothing => Verdict::Ok,
        BesideUs::Ourselves => {
            log!(
                Terminal(main),
                Level::Crit,
                codes::BOTH_IDENTITIES,
                "mod_rwsgi is loaded as rwsgi_module and as wsgi_module; remove one of the two LoadModule lines"
            );
            REFUSED
        }
        BesideUs::Original => {
            log!(
                Terminal(main),
                Level::Crit,
                codes::ORIGINAL_LOADED,
                "mod_wsgi and mod_rwsgi cannot serve in one httpd; remove the LoadModule line of mod_wsgi, or that of mod_rwsgi"
            );
            REFUSED
        }
    }
}

/// Resolves and cross-checks the whole configuration, and keeps the result with each server.
pub fn check_config(pconf: Pool<'_>, main: Server<'_>) -> Verdict {
    let servers = main.and_following();
    let names: Vec<String> = servers
        .iter()
        .map(|server| String::from_utf8_lossy(server.name()).into_owned())
        .collect();
    let mut written = Vec::with_capacity(servers.len());
    for (server, name) in servers.iter().zip(&names) {
        if let Some(slot) = server.slot() {
            written.push(Written {
                name,
                is_virtual: server.is_virtual(),
                raw: &slot.raw,
            });
        }
    }
    let (configs, doubts) = match resolve(&written, &facts(&pconf), &System::default()) {
        Ok(resolved) => resolved,
        Err(refusal) => {
            log!(Terminal(main), Level::Crit, codes::CONFIGURATION, "{refusal}");
            return REFUSED;
        }
    };
    for doubt in doubts {
        log!(Terminal(main), Level::Warning, codes::DOUBT, "{doubt}");
    }
    for (server, config) in servers.iter().zip(configs) {
        let patterns = match compile(&pconf, &config.aliases) {
            Ok(patterns) => patterns,
            Err(sentence) => {
                log!(Terminal(main), Level::Crit, codes::PATTERN, "{sentence}");
                return REFUSED;
            }
        };
        if let Some(slot) = server.slot() {
            // Set once per configuration: the slots are new each time.
            let _ = slot.patterns.set(patterns);
            let _ = slot.config.set(Arc::new(config));
        }
    }
    if RunState::is_dry_run() {
        remark(main);
        return look_at_sockets(main);
    }
    Verdict::Ok
}

/// Says what the manager would not take, to who tests a configuration: at a restart it keeps what it has.
fn look_at_sockets(main: Server<'_>) -> Verdict {
    let Some(config) = main.config() else {
        return Verdict::Ok;
    };
    let needs_manager = !config.site.groups.is_empty() || !config.site.bases.is_empty();
    let trouble = sockets::trouble(&config.site.socket_prefix).filter(|_| needs_manager);
    let (level, text, verdict) = match trouble {
        None => return Verdict::Ok,
        Some(Trouble::Missing(text)) => (Level::Warning, text, Verdict::Ok),
        Some(Trouble::Open(text)) => (Level::Crit, text, REFUSED),
    };
    log!(Terminal(main), level, codes::SOCKETS, "{text}");
    verdict
}

/// Says, once for each start and restart, what does not do what its name says.
fn remark(main: Server<'_>) {
    let Some(slot) = main.slot() else { return };
    for remark in remarks(&slot.raw) {
        match remark {
            Remark::NoEffect(text) => log!(main, Level::Warning, codes::NO_EFFECT, "{text}"),
            Remark::NoMetrics(text) => log!(main, Level::Warning, codes::NO_METRICS, "{text}"),
            Remark::Replaced(text) => log!(main, Level::Notice, "{text}"),
        }
    }
}

/// Starts the manager, or tells the running one what changed.
pub fn post_config(pconf: Pool<'_>, main: Server<'_>) -> Verdict {
    if RunState::query() == RunState::FirstPass || RunState::is_dry_run() {
        return Verdict::Ok;
    }
    remark(main);
    httpd::add_version_component(&pconf, concat!("mod_rwsgi/", env!("CARGO_PKG_VERSION")));
    let Some(config) = main.config() else {
        return REFUSED;
    };
    for sentence in config
        .site
        .groups
        .values()
        .filter_map(|group| group.left_out.as_ref())
    {
        log!(main, Level::Warning, codes::GROUPS_LEFT_OUT, "{sentence}");
    }
    if let Err(why) = admission::prepare(main, &config.site) {
        log!(
            main,
            Level::Crit,
            codes::NO_COUNTING,
            "the memory in which children count requests for request-limit and user-request-limit cannot be made: {why}"
        );
        return REFUSED;
    }
    match manager_link::configure(pconf, main, &config.site) {
        Ok(()) => {
            log!(
                main,
                Level::Info,
                "mod_rwsgi {} as {}, {} process groups",
                env!("CARGO_PKG_VERSION"),
                httpd::loaded_as().name(),
                config.site.groups.len()
            );
            Verdict::Ok
        }
        Err(manager_link::LinkError::Companion(sentence)) => {
            log!(main, Level::Crit, codes::COMPANION, "{sentence}");
            REFUSED
        }
        Err(manager_link::LinkError::Manager(sentence)) => {
            log!(main, Level::Crit, codes::MANAGER_START, "{sentence}");
            REFUSED
        }
    }
}

fn compile(pconf: &Pool<'_>, aliases: &[Alias]) -> Result<Vec<Option<Regex>>, String> {
    let one = |alias: &Alias| match &alias.pattern {
        Pattern::Prefix(_) => Ok(None),
        Pattern::Regex(pattern) => match Regex::compile(pconf, pattern) {
            Some(regex) => Ok(Some(regex)),
            None => Err(format!(
                "WSGIScriptAliasMatch {pattern}: the regular expression could not be compiled; correct it ({})",
                alias.place
            )),
        },
    };
    aliases.iter().map(one).collect()
}

fn facts(pconf: &Pool<'_>) -> Facts {
    let (uid, gid) = httpd::unix_identity();
    Facts {
        uid,
        gid,
        loaded_as: httpd::loaded_as(),
        own_uid: rwsgi_os::ids::user_ids().effective,
        own_gid: rwsgi_os::ids::group_ids().effective,
        server_root: httpd::in_server_root(pconf, ""),
        runtime_dir: httpd::in_runtime_dir(pconf, "rwsgi"),
    }
}

/// The system's user database.
#[derive(Default)]
struct System {
    /// As in [`Accounts`], looked up once for all process groups.
    privileged: std::cell::OnceCell<Vec<(&'static str, u32)>>,
}

impl Accounts for System {
    fn user(&self, name: &str) -> Result<Option<Account>, String> {
        rwsgi_os::users::by_name(name.as_bytes())
            .map(|user| user.map(account))
            .map_err(|why| why.to_string())
    }

    fn user_by_id(&self, uid: u32) -> Result<Option<Account>, String> {
        rwsgi_os::users::by_id(uid)
            .map(|user| user.map(account))
            .map_err(|why| why.to_string())
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        let group = rwsgi_os::users::group_by_name(name.as_bytes()).map_err(|why| why.to_string())?;
        Ok(group.map(|group| group.gid))
    }

    fn groups_of(&self, account: &Account, gid: u32) -> Result<Vec<u32>, String> {
        rwsgi_os::users::groups_of(&account.name, gid).map_err(|why| why.to_string())
    }

    fn privileged(&self) -> Result<Vec<(&'static str, u32)>, String> {
        if self.privileged.get().is_none() {
            let _ = self.privileged.set(privileged::existing(self)?);
        }
        Ok(self.privileged.get().cloned().unwrap_or_default())
    }
}

fn account(user: rwsgi_os::users::User) -> Account {
    Account {
        name: user.name,
        uid: user.uid,
        home: user.home,
        shell: user.shell,
    }
}
