//! Applications below bases: who their user is and what holds for them, found out when a child asks and again before each start.

use std::collections::VecDeque;
use std::rc::Rc;

use rwsgi_os::process;
use rwsgi_wire::WireError;
use rwsgi_wire::base::{self, Base, Tuning};
use rwsgi_wire::bytes::{Fields, Put};
use rwsgi_wire::control::{Answer, Group};
use rwsgi_wire::response::{AbortReason, Level};

use crate::account::{Account, Found};
use crate::codes;
use crate::commit::{Config, Settings};
use crate::journey::Stop;
use crate::lines::escape;
use crate::log::Target;
use crate::notes;
use crate::place::Place;
use crate::supervise::Manager;

/// Configurations whose numbers of bases are remembered: children of those may still ask.
const GENERATIONS: usize = 16;
/// Seconds after which a client may come again whose user could not be looked up.
const LOOKUP_RETRY: u32 = 5;

/// What a child asks for: as in [`Ask::Application`](rwsgi_wire::control::Ask).
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) generation: u32,
    pub(crate) base: u32,
    pub(crate) user: Vec<u8>,
    pub(crate) directory: Vec<u8>,
    pub(crate) script: Vec<u8>,
    pub(crate) tuning: Tuning,
}

/// An application below a base, and whose it was found to be.
#[derive(Debug, Clone)]
pub(crate) struct Application {
    /// Pattern of the base, which outlives its number.
    pub(crate) pattern: Vec<u8>,
    pub(crate) user: Vec<u8>,
    directory: Vec<u8>,
    script: Vec<u8>,
    tuning: Tuning,
    account: Account,
    /// Most workers of the user below this base; 0: as many as come.
    pub(crate) user_processes: usize,
    pub(crate) place: Place,
}

impl Application {
    /// Appends it to the record of its pool.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_bytes(&self.pattern);
        out.put_bytes(&self.user);
        out.put_bytes(&self.directory);
        out.put_bytes(&self.script);
        self.tuning.put(out);
        self.account.put(out);
        out.put_u64(self.user_processes as u64);
        self.place.put(out);
    }

    /// Takes it from there.
    pub(crate) fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            pattern: f.bytes("pattern")?.into(),
            user: f.bytes("user")?.into(),
            directory: f.bytes("directory")?.into(),
            script: f.bytes("script")?.into(),
            tuning: Tuning::take(f)?,
            account: Account::take(f)?,
            user_processes: usize::try_from(f.u64("most workers of a user")?).unwrap_or(usize::MAX),
            place: Place::take(f)?,
        })
    }
}

/// Patterns by the number that children of a configuration have for them.
#[derive(Debug, Default)]
pub(crate) struct Patterns(VecDeque<(u32, Vec<Vec<u8>>)>);

impl Patterns {
    pub(crate) fn remember(&mut self, generation: u32, bases: &[(Base, Target)]) {
        self.0.retain(|(known, _)| *known != generation);
        let patterns = bases.iter().map(|(base, _)| base.pattern.clone()).collect();
        self.0.push_front((generation, patterns));
        self.0.truncate(GENERATIONS);
    }

    fn find(&self, generation: u32, number: u32) -> Option<&[u8]> {
        let (_, patterns) = self.0.iter().find(|(known, _)| *known == generation)?;
        patterns.get(number as usize).map(Vec::as_slice)
    }
}

impl Question {
    /// C5: whether it can be an application at all.
    fn is_possible(&self) -> bool {
        base::is_user(&self.user)
            && (self.directory.is_empty() || base::is_relative(&self.directory))
            && base::is_relative(&self.script)
            && !self.script.contains(&b'/')
    }
}

impl Manager {
    /// The answer to a child, or `None` while the user is being looked up.
    pub(crate) fn application_for(&mut self, question: &Question) -> Option<Answer> {
        let Some(config) = &self.config else {
            return Some(crate::asking::later("the manager has no configuration yet"));
        };
        let pattern = self.patterns.find(question.generation, question.base);
        let known = pattern.and_then(|pattern| config.base(pattern));
        let Some((base, target)) = known.filter(|_| question.is_possible()) else {
            if self.may_tell_peer() {
                let text = format!(
                    "a child asked for base {} of configuration {}, user '{}', directory '{}', script '{}', which cannot be",
                    question.base,
                    question.generation,
                    escape(&question.user),
                    escape(&question.directory),
                    escape(&question.script)
                );
                self.log.coded(Level::Warn, no_application().code.number, &text);
            }
            return Some(refused(&no_application()));
        };
        let target = target.clone();
        let Some(found) = self.lookups.fresh(&question.user) else {
            self.look_up(&question.user);
            return None;
        };
        let Found::Account(account) = &*found else {
            return Some(self.without_account(&question.user, &found, &target));
        };
        let application = Application {
            pattern: base.pattern.clone(),
            user: question.user.clone(),
            directory: question.directory.clone(),
            script: question.script.clone(),
            tuning: question.tuning,
            account: (**account).clone(),
            user_processes: 0,
            place: Place::default(),
        };
        Some(match self.resolve(&application) {
            Ok((settings, target)) => self.pool_of(&settings, &target),
            Err(stop) => {
                if self.tell_refusal(&question.user, &stop, &target) {
                    self.note_refusal(application, &stop);
                }
                refused(&stop)
            }
        })
    }

    /// What holds for an application under the configuration in force.
    pub(crate) fn resolve(&self, application: &Application) -> Result<(Rc<Settings>, Target), Stop> {
        let gone = no_application;
        let config = self.config.as_ref().ok_or_else(gone)?;
        let (base, target) = config.base(&application.pattern).ok_or_else(gone)?;
        let account = &application.account;
        let only = (!self.root).then_some(self.uid);
        account.judge(&application.user, &base.rules, config.begin.server_uid, only)?;
        let settings = config.settings_of(base, application).ok_or_else(gone)?;
        Ok((Rc::new(settings), target.clone()))
    }

    /// A user is known, or known not to be: who waited goes on.
    pub(crate) fn on_account(&mut self, name: &[u8]) {
        self.review_pools(name);
        self.answer_waiting(name);
        // Starts that waited are looked at when this turn of the event loop ends.
    }

    /// Ends the pools of a user who is not what they were made for any more.
    fn review_pools(&mut self, name: &[u8]) {
        let Some(found) = self.lookups.fresh(name) else {
            return;
        };
        if matches!(*found, Found::Failure(_)) {
            // Not known is not gone; but nothing new starts.
            return;
        }
        let mut over = Vec::new();
        for (id, pool) in self.pools.iter().filter(|(_, pool)| pool.is_current()) {
            let Some(application) = pool.settings.application.as_ref().filter(|a| a.user == name) else {
                continue;
            };
            let as_before = match &*found {
                Found::Account(account) => {
                    let now = Application {
                        account: (**account).clone(),
                        ..application.clone()
                    };
                    self.resolve(&now)
                        .is_ok_and(|(settings, _)| settings == pool.settings)
                }
                _ => false,
            };
            if !as_before {
                over.push(*id);
            }
        }
        for id in over {
            if let Some(pool) = self.pools.get(&id) {
                let title = pool.title();
                pool.target.note(Level::Notice, || {
                    format!("{title} ends: the account of its user has changed")
                });
            }
            self.retire(id);
        }
    }

    fn without_account(&mut self, name: &[u8], found: &Found, target: &Target) -> Answer {
        let shown = escape(name);
        let stop = match found {
            Found::Failure(why) => Stop::new(
                codes::LOOKUP_FAILED,
                format!("the user {shown} cannot be looked up: {why}"),
            ),
            _ => Stop::new(codes::NO_ACCOUNT, format!("there is no user {shown}")),
        };
        self.tell_refusal(name, &stop, target);
        match found {
            Found::Failure(_) => Answer::Refused {
                reason: AbortReason::BackOff,
                retry_after: LOOKUP_RETRY,
                text: stop.text.into_bytes(),
            },
            _ => refused(&stop),
        }
    }

    /// Once for each look-up, however many requests come; whether this was the time.
    fn tell_refusal(&mut self, name: &[u8], stop: &Stop, target: &Target) -> bool {
        let is_untold = self.lookups.is_untold(name);
        if is_untold {
            let text = format!("applications of {} are refused: {}", escape(name), stop.text);
            target.say(Level::Error, stop.code, &text);
            self.remember_of([b"~", name].concat(), Vec::new(), None, stop.code.number, &text);
        }
        is_untold
    }

    /// Tells a user in the user's own log why none of the user's applications runs. Not one as whom nothing may run: not even what writes that.
    fn note_refusal(&mut self, application: Application, stop: &Stop) {
        let Some(config) = self.config.as_ref() else {
            return;
        };
        let Some((base, _)) = config.base(&application.pattern) else {
            return;
        };
        let only = (!self.root).then_some(self.uid);
        // In no group but the first, and not if that is one which gives power.
        let mut account = application.account.clone();
        account.groups = vec![account.gid];
        let may_run = account.judge_user(&application.user, &base.rules, config.begin.server_uid, only);
        if may_run.is_err() || account.gid == 0 || base.rules.refused_gids.contains(&account.gid) {
            return;
        }
        let application = Application {
            account,
            ..application
        };
        if let Some(settings) = config.settings_of(base, &application) {
            let text = format!("RW{:04}: {}", stop.code.number, stop.text);
            self.note_for(&Rc::new(settings), &notes::line(process::this(), &text));
        }
    }

    /// Whether what is known of a pool's user is fresh enough to start a worker; has it looked up if not. The error is a sentence: it
    /// could not be.
    pub(crate) fn knows_user(&mut self, pool: u64) -> Result<bool, String> {
        let Some(settings) = self.pools.get(&pool).map(|pool| Rc::clone(&pool.settings)) else {
            return Ok(true);
        };
        let Some(user) = settings
            .application
            .as_ref()
            .map(|application| application.user.clone())
        else {
            return self.knows_account(&settings.group);
        };
        match self.lookups.fresh(&user).as_deref() {
            Some(Found::Account(_)) => Ok(true),
            Some(Found::Failure(why)) => {
                Err(format!("the user {} cannot be looked up: {why}", escape(&user)))
            }
            // Its pools are ending.
            Some(Found::Nobody) => Ok(false),
            None => {
                self.look_up(&user);
                Ok(false)
            }
        }
    }

    /// The same of the user of a process group, whose ids are those of the configuration: nobody runs as somebody who has gone since. A name
    /// service that cannot say whether that is so stops nobody.
    fn knows_account(&mut self, group: &Group) -> Result<bool, String> {
        if !self.root || group.user.is_empty() {
            return Ok(true);
        }
        let changed = match self.lookups.fresh(&group.user).as_deref() {
            Some(Found::Account(account)) if account.uid == group.uid => return Ok(true),
            Some(Found::Failure(_)) => return Ok(true),
            Some(Found::Account(account)) => format!("has uid {} now", account.uid),
            Some(Found::Nobody) => "does not exist any more".to_owned(),
            None => {
                // Where the name service hangs only the first start waits for it.
                let failed = matches!(self.lookups.last(&group.user), Some(Found::Failure(_)));
                self.look_up(&group.user);
                return Ok(failed);
            }
        };
        let (user, uid) = (escape(&group.user), group.uid);
        Err(format!(
            "the user {user}, which had uid {uid} when the configuration was read, {changed}: remove the process group, or restart httpd gracefully, which reads anew who the user is"
        ))
    }
}

impl Config {
    pub(crate) fn base(&self, pattern: &[u8]) -> Option<&(Base, Target)> {
        self.bases.iter().find(|(base, _)| base.pattern == pattern)
    }

    fn settings_of(&self, base: &Base, application: &Application) -> Option<Settings> {
        let account = &application.account;
        let directory = base::directory(&base.pattern, &application.user)?;
        let place = Place {
            base: directory,
            directory: application.directory.clone(),
            script: application.script.clone(),
            root_owned: base.rules.root_owned,
            python_versions: base.rules.python_versions.clone(),
            user_log: base.rules.user_log.clone(),
        };
        let mut group = base.template.clone();
        application.tuning.within(&base.template).apply(&mut group);
        let group = Group {
            name: [b"~", &application.user[..]].concat(),
            uid: account.uid,
            gid: account.gid,
            groups: account.groups.clone(),
            user: account.name.clone(),
            user_home: account.home.clone(),
            shell: account.shell.clone(),
            home: place.path(),
            ..group
        };
        let mut settings = self.common.settings(group);
        settings.application = Some(Application {
            user_processes: base.rules.user_processes as usize,
            place,
            ..application.clone()
        });
        Some(settings)
    }
}

/// C5
fn no_application() -> Stop {
    Stop::new(codes::NO_APPLICATION, "there is no such application")
}

/// As an answer. A child shows nothing of it to a client.
fn refused(stop: &Stop) -> Answer {
    Answer::Refused {
        reason: AbortReason::Refused,
        retry_after: 0,
        text: stop.text.clone().into_bytes(),
    }
}
