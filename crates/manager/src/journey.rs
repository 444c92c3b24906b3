//! The journey from root to the user's Python, step by step. Each step is told when it begins, when it is done, or why it
//! failed; nothing after a failed step is tried, and no privileged step has a fall-back.

use rwsgi_os::OsError;
use rwsgi_os::capability::{Capability, Sets};
use rwsgi_os::process::Pid;
use rwsgi_os::rlimit::{Resource, UNLIMITED};
use rwsgi_os::signal::Signal;
use rwsgi_os::system::System;
use rwsgi_wire::code::Code;
use rwsgi_wire::python::Python;

use crate::codes;
use crate::entry::Entry;
use crate::interpreters;
use crate::place::{self, Owner, Place};
use crate::python::{self, PATH};

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $words:literal;)*) => {
        /// One step, in the order in which they are made.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Step { $($(#[$doc])* $name = $number,)* }

        impl Step {
            /// All steps in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
            /// The step with this number in a report.
            pub fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
            /// What it does, after "while".
            pub fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }
        }
    };
}

steps! {
    /// The control groups of its application.
    Confinement = 21, "entering its control group";
    /// No core files, file mode creation mask.
    Limits = 1, "setting limits";
    /// A session and process group of its own.
    Session = 2, "making a session";
    /// The new root directory, if there is one.
    Root = 14, "changing the root directory";
    /// No capability can be had any more by executing a program.
    Capabilities = 15, "dropping the capability bounding set";
    /// Supplementary groups.
    Groups = 3, "setting the supplementary groups";
    /// Primary group.
    Group = 4, "changing the group";
    /// User.
    User = 5, "changing the user";
    /// No capability is left in any set.
    Powers = 16, "giving up capabilities";
    /// All ids are as configured and there is no way back.
    Verify = 6, "verifying the change of user";
    /// No program started from here gains privilege.
    Privileges = 7, "giving up new privileges";
    /// Ends with the manager.
    Parent = 8, "binding itself to the manager";
    /// The application below a base, looked at as the user.
    Application = 17, "looking at the application";
    /// Which Python, looked for as the user.
    Python = 9, "looking for the Python";
    /// Environment from nothing.
    Environment = 10, "making the environment";
    /// Working directory.
    Directory = 11, "entering the working directory";
    /// Descriptors 0 to 5 and no other.
    Descriptors = 12, "closing descriptors";
    /// The Python takes over.
    Exec = 13, "executing the Python";
}

/// Why a journey ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// At which step.
    pub step: Step,
    /// Number of the code.
    pub code: u16,
    /// It may pass by itself (a limit reached); else the configuration or the installation must be changed.
    pub passing: bool,
    /// A sentence with the remedy, without the code.
    pub text: String,
}

/// What happens on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step begins.
    Began(Step),
    /// A step is done.
    Done(Step),
    /// A step failed; the journey is over.
    Failed(Refusal),
}

/// The bootstrap that the Python runs.
pub const BOOT: &str = include_str!("boot.py");

/// Descriptor of the Python half in a worker.
const GATEWAY: &[u8] = b"/proc/self/fd/5";
/// First descriptor that a worker has not; the status pipe is here, and closes itself at exec.
pub const STATUS_FD: i32 = 6;
/// Where the entering process finds its settings.
pub const SETTINGS_FD: i32 = 7;
/// From here on are the doors of control groups.
pub const DOORS_FD: i32 = 8;

struct Journey<'a, S, W> {
    system: &'a mut S,
    entry: &'a Entry,
    witness: W,
    /// The change of user is done and verified: what is done from here on the user could do.
    is_user: bool,
}

/// Makes the journey. Comes back only if a step failed; the witness has been told of that too.
pub fn travel<S: System>(system: &mut S, entry: &Entry, witness: impl FnMut(&Event)) -> Refusal {
    let mut journey = Journey {
        system,
        entry,
        witness,
        is_user: false,
    };
    // A journey that arrives does not come back.
    match journey.run() {
        Ok(never) => match never {},
        Err(refusal) => {
            journey.note(&refusal);
            refusal
        }
    }
}

/// Becomes the user as [`travel`] does, and appends the note to the user's log, whatever there is to run.
pub fn leave_note<S: System>(system: &mut S, entry: &Entry) -> Result<(), Refusal> {
    let mut journey = Journey {
        system,
        entry,
        witness: |_: &Event| {},
        is_user: false,
    };
    journey.become_user()?;
    if let Some(place) = &entry.place {
        // The administrator's log has it in any case.
        let _ = journey
            .system
            .append(&place.log_of(&entry.user_home), &entry.note);
    }
    Ok(())
}

impl<S: System, W: FnMut(&Event)> Journey<'_, S, W> {
    fn become_user(&mut self) -> Result<(), Refusal> {
        self.step(Step::Confinement, Self::confinement)?;
        self.step(Step::Limits, Self::limits)?;
        self.step(Step::Session, Self::session)?;
        if self.entry.switch {
            self.step(Step::Root, Self::root)?;
            self.step(Step::Capabilities, Self::capabilities)?;
            self.step(Step::Groups, Self::groups)?;
            self.step(Step::Group, Self::group)?;
            self.step(Step::User, Self::user)?;
        }
        self.step(Step::Powers, Self::powers)?;
        self.step(Step::Verify, Self::verify)?;
        self.step(Step::Privileges, Self::privileges)?;
        self.step(Step::Parent, Self::parent)?;
        self.is_user = true;
        Ok(())
    }

    fn run(&mut self) -> Result<std::convert::Infallible, Refusal> {
        self.become_user()?;
        let application = self.step(Step::Application, Self::application)?;
        let program = self.step(Step::Python, |j| j.python(application.as_ref()))?;
        let environment = self.step(Step::Environment, Self::environment)?;
        self.step(Step::Directory, |j| j.directory(application.as_ref()))?;
        drop(application);
        self.step(Step::Descriptors, Self::descriptors)?;
        self.step(Step::Exec, |j| j.exec(&program, &environment))
    }

    fn step<T>(&mut self, step: Step, act: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Refusal> {
        (self.witness)(&Event::Began(step));
        match act(self) {
            Ok(done) => {
                (self.witness)(&Event::Done(step));
                Ok(done)
            }
            Err(stop) => {
                let refusal = Refusal {
                    step,
                    code: stop.code.number,
                    passing: stop.passing,
                    text: stop.text,
                };
                (self.witness)(&Event::Failed(refusal.clone()));
                Err(refusal)
            }
        }
    }

    fn user_name(&self) -> String {
        match &self.entry.user[..] {
            b"" => format!("uid {}", self.entry.uid),
            name => String::from_utf8_lossy(name).into_owned(),
        }
    }

    fn confinement(&mut self) -> Result<(), Stop> {
        let doors = DOORS_FD..DOORS_FD.saturating_add_unsigned(self.entry.doors);
        for door in doors {
            self.system
                .join_group(door)
                .map_err(|e| Stop::call(codes::CONFINEMENT_FAILED, &e))?;
        }
        Ok(())
    }

    fn limits(&mut self) -> Result<(), Stop> {
        self.system.umask(self.entry.umask);
        self.set_limits()
            .map_err(|e| Stop::call(codes::LIMITS_FAILED, &e))
    }

    fn set_limits(&mut self) -> Result<(), OsError> {
        let (bounds, system) = (&self.entry.bounds, &mut *self.system);
        system.be_killed_first()?;
        system.set_limit(Resource::Core, 0, 0)?;
        let (soft, hard) = self.entry.descriptors;
        system.set_limit(Resource::Descriptors, soft, hard)?;
        if bounds.priority != 0 {
            system.set_priority(bounds.priority.into())?;
        }
        if bounds.cpu_time > 0 {
            // From the soft limit on the worker leaves; where that takes too long, the hard one kills it.
            let soft = u64::from(bounds.cpu_time);
            let hard = match self.entry.shutdown_timeout {
                0 => UNLIMITED,
                grace => soft + 1 + u64::from(grace),
            };
            lower(system, Resource::CpuTime, soft, hard)?;
        }
        Ok(())
    }

    /// Last, since this process needs memory, too.
    fn set_memory_limits(&mut self) -> Result<(), OsError> {
        let bounds = &self.entry.bounds;
        for (resource, bytes) in [
            (Resource::Data, bounds.data),
            (Resource::AddressSpace, bounds.address_space),
        ] {
            if bytes > 0 {
                lower(self.system, resource, bytes, bytes)?;
            }
        }
        Ok(())
    }

    fn root(&mut self) -> Result<(), Stop> {
        let path = &self.entry.chroot;
        if path.is_empty() {
            return Ok(());
        }
        self.system.change_root(path).map_err(|error| {
            Stop::new(
                codes::ROOT_DIRECTORY_FAILED,
                format!(
                    "{} cannot become the root directory: {}; set chroot=DIRECTORY to one that exists",
                    String::from_utf8_lossy(path),
                    error.reason()
                ),
            )
        })
    }

    /// Without CAP_SETPCAP (a service that was given few capabilities) it cannot be done, and is not needed: no_new_privs alone keeps
    /// programs from gaining any.
    fn capabilities(&mut self) -> Result<(), Stop> {
        /// Of Linux everywhere.
        const EPERM: i32 = 1;
        let failed = |e| Stop::call(codes::CAPABILITIES_FAILED, &e);
        let held = self.system.capabilities().map_err(failed)?;
        match self.system.drop_bounding_set() {
            Err(e) if e.errno == EPERM && held.effective & Capability::SetPcap.bit() == 0 => Ok(()),
            other => other.map_err(failed),
        }
    }

    /// The change of user clears them, but not where root has none by itself (ambient ones, securebits of a container).
    fn powers(&mut self) -> Result<(), Stop> {
        self.system
            .drop_capabilities()
            .map_err(|e| Stop::call(codes::CAPABILITIES_KEPT, &e))
    }

    fn session(&mut self) -> Result<(), Stop> {
        self.system
            .new_session()
            .map_err(|e| Stop::call(codes::SESSION_FAILED, &e))
    }

    fn groups(&mut self) -> Result<(), Stop> {
        self.system
            .set_groups(&self.entry.groups)
            .map_err(|e| Stop::call(codes::GROUPS_FAILED, &e))
    }

    fn group(&mut self) -> Result<(), Stop> {
        self.system
            .set_group(self.entry.gid)
            .map_err(|e| Stop::call(codes::GROUP_FAILED, &e))
    }

    fn user(&mut self) -> Result<(), Stop> {
        if self.entry.uid == 0 {
            return Err(Stop::new(
                codes::ROOT_REFUSED,
                "a worker never runs as root: name another user",
            ));
        }
        self.system
            .set_user(self.entry.uid)
            .map_err(|e| Stop::call(codes::USER_FAILED, &e))
    }

    /// Nothing is believed that a call returned: the ids are read back, and the way to root is tried.
    fn verify(&mut self) -> Result<(), Stop> {
        let wrong = |what: &str| {
            Stop::new(
                codes::NOT_DROPPED,
                format!("after the change of user {what}: the worker is not started"),
            )
        };
        let user = self.system.user_ids();
        if !user.all_are(self.entry.uid) || self.entry.uid == 0 {
            return Err(wrong(&format!(
                "the user ids are {user:?} instead of {}",
                self.entry.uid
            )));
        }
        if self.system.can_regain_root() {
            return Err(wrong("root could be regained"));
        }
        let held = self.system.capabilities();
        if !held.is_ok_and(Sets::are_empty) {
            return Err(wrong("capabilities are left"));
        }
        if !self.entry.switch {
            return Ok(());
        }
        let group = self.system.group_ids();
        if !group.all_are(self.entry.gid) {
            return Err(wrong(&format!(
                "the group ids are {group:?} instead of {}",
                self.entry.gid
            )));
        }
        if self.entry.gid != 0 && self.system.can_take_group(0) {
            return Err(wrong("group 0 could be regained"));
        }
        let groups = self
            .system
            .groups()
            .map_err(|e| wrong(&format!("the groups cannot be read ({e})")))?;
        let mut wanted = self.entry.groups.clone();
        wanted.sort_unstable();
        if groups != wanted {
            return Err(wrong(&format!(
                "the supplementary groups are {groups:?} instead of {wanted:?}"
            )));
        }
        Ok(())
    }

    fn privileges(&mut self) -> Result<(), Stop> {
        self.system
            .no_new_privileges()
            .map_err(|e| Stop::call(codes::PRIVILEGES_FAILED, &e))
    }

    /// After the change of user, which would clear it. The manager may have ended before: then its death is not told.
    fn parent(&mut self) -> Result<(), Stop> {
        let bound = self.system.die_with_parent(Signal::KILL);
        let here = self.system.parent() == Pid(i32::try_from(self.entry.manager).unwrap_or(-1));
        match bound {
            Ok(()) if here => Ok(()),
            Ok(()) => Err(OsError::new("prctl", "the manager has ended", 3)),
            Err(e) => Err(e),
        }
        .map_err(|e| Stop::call(codes::ORPHANED, &e))
    }

    /// Answers the application's directory.
    fn application(&mut self) -> Result<Option<S::Opened>, Stop> {
        let name = self.user_name();
        let owner = owner(self.entry, &name);
        match &self.entry.place {
            Some(place) => place::check(self.system, place, owner).map(Some),
            None => Ok(None),
        }
    }

    fn python(&mut self, application: Option<&S::Opened>) -> Result<Vec<u8>, Stop> {
        let e = self.entry;
        let name = self.user_name();
        match (&e.place, application) {
            (Some(place), Some(directory)) => {
                interpreters::choose(self.system, place, directory, owner(e, &name), &e.python_home)
            }
            _ => python::find(self.system, &e.python_home, &name),
        }
    }

    /// Tells the user, in the user's own log and as the user, why an application does not start.
    fn note(&mut self, refusal: &Refusal) {
        let Some(place) = self.entry.place.as_ref().filter(|_| self.is_user) else {
            return;
        };
        let path = place.log_of(&self.entry.user_home);
        if path.is_empty() {
            return;
        }
        let line = format!(
            "[{}] RW{:04}: {}: {}\n",
            rwsgi_os::clock::log_time(std::time::SystemTime::now()),
            refusal.code,
            crate::lines::escape(&place.script_path()),
            refusal.text
        );
        // The administrator's log has it in any case.
        let _ = self.system.append(&path, line.as_bytes());
    }

    /// Only these names, whatever httpd or its starter had.
    fn environment(&mut self) -> Result<Vec<Vec<u8>>, Stop> {
        let e = self.entry;
        let lang: &[u8] = if e.lang.is_empty() { b"C.UTF-8" } else { &e.lang };
        let mut all = vec![[b"PATH=", PATH.join(":").as_bytes()].concat()];
        let named: [(&[u8], &[u8]); 8] = [
            (b"HOME=", &e.user_home),
            (b"USER=", &e.user),
            (b"LOGNAME=", &e.user),
            (b"SHELL=", &e.shell),
            (b"LANG=", lang),
            (b"LC_ALL=", &e.locale),
            (b"PYTHON_EGG_CACHE=", &e.python.eggs),
            // There is no option for it; the bootstrap takes it out again.
            (b"PYTHONHASHSEED=", &e.python.hash_seed),
        ];
        for (name, value) in named {
            if value.contains(&0) {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(Stop::new(
                    codes::ENVIRONMENT_FAILED,
                    format!("the value for {name} in the environment holds a NUL byte"),
                ));
            }
            if !value.is_empty() {
                all.push([name, value].concat());
            }
        }
        Ok(all)
    }

    /// The application's directory below a base; else the `home` option; else the user's home if the user is not httpd's own; else `/`.
    fn directory(&mut self, application: Option<&S::Opened>) -> Result<(), Stop> {
        let e = self.entry;
        let (entered, what, path) = match application {
            Some(directory) => {
                let path = e.place.as_ref().map(Place::path).unwrap_or_default();
                (self.system.enter(directory), "the application's directory", path)
            }
            None => {
                let (path, what): (&[u8], _) = if !e.home.is_empty() {
                    (&e.home, "the directory of the home option")
                } else if e.uid != e.server_uid && !e.user_home.is_empty() {
                    (&e.user_home, "the user's home directory")
                } else {
                    (b"/", "the root directory")
                };
                (self.system.change_directory(path), what, path.to_vec())
            }
        };
        entered.map_err(|error| {
            Stop::new(
                codes::DIRECTORY_FAILED,
                format!(
                    "{} cannot enter {what}, {}: {}; set home=DIRECTORY to one that this user may enter, or give the user the right to",
                    self.user_name(),
                    String::from_utf8_lossy(&path),
                    error.reason()
                ),
            )
        })
    }

    fn descriptors(&mut self) -> Result<(), Stop> {
        if !self.entry.chroot.is_empty() && self.system.status_of(b"/proc/self").is_err() {
            return Err(Stop::new(
                codes::ROOT_WITHOUT_PROC,
                format!(
                    "the root directory {0} has no /proc, without which Python cannot be started there: mount it (mount --bind /proc {0}/proc)",
                    String::from_utf8_lossy(&self.entry.chroot)
                ),
            ));
        }
        if self.system.check(GATEWAY, rwsgi_os::file::Right::Read).is_err() {
            return Err(Stop::new(
                codes::GATEWAY_UNREADABLE,
                format!(
                    "{} may not read the Python half of rwsgi (_rwsgi.abi3.so beside the module): make the file readable for all",
                    self.user_name()
                ),
            ));
        }
        self.system
            .close_from(SETTINGS_FD.unsigned_abs())
            .map_err(|e| Stop::call(codes::DESCRIPTORS_FAILED, &e))?;
        self.no_descriptor_is_left()
    }

    /// C26: what is still open now would be the application's. Looked at here, because later what Python's own start opens for the site
    /// (`.pth` files, `sitecustomize`) could not be told from it.
    fn no_descriptor_is_left(&mut self) -> Result<(), Stop> {
        let open = self.system.names_in(b"/proc/self/fd").map(|names| {
            let numbers = names
                .iter()
                .filter_map(|name| std::str::from_utf8(name).ok()?.parse().ok());
            numbers
                .filter(|number| *number >= SETTINGS_FD)
                .collect::<Vec<i32>>()
        });
        let text = match open {
            // One of them is where they are read from.
            Ok(left) if left.len() <= 1 => return Ok(()),
            Ok(left) => {
                format!("descriptors from {SETTINGS_FD} on were closed, and these are open: {left:?}")
            }
            Err(e) => format!("it cannot be seen which descriptors are open: {e}"),
        };
        Err(Stop::new(codes::DESCRIPTORS_LEFT, text))
    }

    fn exec(&mut self, program: &[u8], environment: &[Vec<u8>]) -> Result<std::convert::Infallible, Stop> {
        let mut arguments = vec![program.to_vec()];
        // A program not named python3 may be Python 2, which does not know the option but can say what it is.
        let is_3 = program.ends_with(b"/python3");
        if is_3 && self.entry.lang.is_empty() && self.entry.locale.is_empty() {
            arguments.extend([b"-X".to_vec(), b"utf8".to_vec()]);
        }
        arguments.extend(interpreter_options(&self.entry.python));
        arguments.extend([b"-c".to_vec(), BOOT.as_bytes().to_vec()]);
        self.set_memory_limits()
            .map_err(|e| Stop::call(codes::MEMORY_LIMITS_FAILED, &e))?;
        let error = self.system.exec(program, &arguments, environment);
        Err(Stop {
            text: format!(
                "{} cannot be executed as {}: {}{}",
                String::from_utf8_lossy(program),
                self.user_name(),
                error.reason(),
                limit_of(&error)
            ),
            ..Stop::call(codes::EXEC_FAILED, &error)
        })
    }
}

fn owner<'a>(entry: &'a Entry, name: &'a str) -> Owner<'a> {
    Owner {
        uid: entry.uid,
        name,
        home: &entry.user_home,
    }
}

/// Sets a limit that is never higher than the one there is.
fn lower(system: &mut impl System, resource: Resource, soft: u64, hard: u64) -> Result<(), OsError> {
    let most = system.limit(resource)?.1;
    system.set_limit(resource, soft.min(most), hard.min(most))
}

/// The command line's options for settings of the configuration; every Python since 2.7 knows them.
fn interpreter_options(python: &Python) -> Vec<Vec<u8>> {
    let mut options = vec![b"-O".to_vec(); python.optimize.into()];
    if python.dont_write_bytecode {
        options.push(b"-B".to_vec());
    }
    for filter in &python.warnings {
        options.extend([b"-W".to_vec(), filter.clone()]);
    }
    options
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Its code.
    pub code: Code,
    /// As in [`Refusal`].
    pub passing: bool,
    /// As in [`Refusal`].
    pub text: String,
}

impl Stop {
    /// Something must be changed before this works.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            passing: false,
            text: text.into(),
        }
    }

    /// A call failed; want of a resource passes by itself.
    fn call(code: Code, error: &OsError) -> Self {
        /// EAGAIN, ENOMEM, ETXTBSY, ENFILE, EMFILE, ESRCH: the numbers are those of Linux everywhere.
        const PASSING: [i32; 6] = [11, 12, 26, 23, 24, 3];
        Self {
            code,
            passing: PASSING.contains(&error.errno),
            text: format!("{error}{}", limit_of(error)),
        }
    }
}

/// Which limit an error is probably due to.
fn limit_of(error: &OsError) -> &'static str {
    match error.is_would_block() {
        true => " (the user may be at its process limit)",
        false => "",
    }
}

#[cfg(test)]
#[path = "journey_tests.rs"]
mod tests;
