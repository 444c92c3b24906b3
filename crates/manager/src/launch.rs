//! A worker's process: the manager anew, in its second form, with the worker's descriptors and settings.

use std::os::fd::AsFd;

use rwsgi_os::process;
use rwsgi_os::signal::Signal;
use rwsgi_os::socket::{self, Kind, Mode};
use rwsgi_os::spawn::Spawn;
use rwsgi_os::{OsError, OwnedFd, fd, file, message};
use rwsgi_wire::base::ScriptOwner;
use rwsgi_wire::control::{Start, ToWorker};
use rwsgi_wire::identity::{Groups, Identity};
use rwsgi_wire::script::Script;

use crate::commit::Settings;
use crate::entry::Entry;
use crate::place::Place;
use crate::pools::Pool;
use crate::renewals::Renewal;
use crate::supervise::Manager;
use crate::workers::Person;

/// A new worker, and the manager's ends of its descriptors.
pub(crate) struct Ends {
    pub(crate) person: Person,
    /// The control group that it is in, or enters.
    pub(crate) cgroup: Option<u64>,
    pub(crate) control: OwnedFd,
    pub(crate) output: OwnedFd,
    /// On which it tells of its journey, if it makes one.
    pub(crate) status: Option<OwnedFd>,
}

/// What connects the manager and a worker for the worker's life: one end of each.
pub(crate) struct Channels {
    pub(crate) control: OwnedFd,
    pub(crate) output: OwnedFd,
}

impl Channels {
    /// The manager's ends, which never wait, and the worker's.
    pub(crate) fn make() -> Result<(Self, Self), OsError> {
        let (output, output_theirs) = fd::pipe()?;
        let (control, control_theirs) = socket::pair(Kind::SeqPacket, Mode::Blocking)?;
        for end in [&output, &control] {
            fd::set_nonblocking(end, true)?;
        }
        let theirs = Self {
            control: control_theirs,
            output: output_theirs,
        };
        Ok((Self { control, output }, theirs))
    }
}

impl Manager {
    /// Starts the process, which waits for its settings; first of all it passes these doors of control groups.
    pub(crate) fn launch(&self, pool: &Pool, doors: &[OwnedFd]) -> Result<Ends, OsError> {
        let null = file::null()?;
        let (Channels { control, output }, theirs) = Channels::make()?;
        let (status, status_theirs) = fd::pipe()?;
        fd::set_nonblocking(&status, true)?;
        let settings = fd::memory_file("rwsgi-settings")?;
        let entry = Entry {
            doors: u32::try_from(doors.len()).unwrap_or(u32::MAX),
            ..self.entry_of(&pool.settings)
        };
        fd::write_all(&settings, &entry.encode())?;
        let listener = pool
            .entrance
            .as_ref()
            .map_or(null.as_fd(), |e| e.listener.as_fd());
        let mut descriptors = vec![
            null.as_fd(),
            theirs.output.as_fd(),
            theirs.output.as_fd(),
            listener,
            theirs.control.as_fd(),
            pool.settings.gateway.as_fd(),
            status_theirs.as_fd(),
            settings.as_fd(),
        ];
        descriptors.extend(doors.iter().map(AsFd::as_fd));
        let pid = Spawn {
            program: b"/proc/self/exe",
            arguments: &[b"rwsgi-manager".to_vec(), b"enter".to_vec()],
            environment: &[],
            descriptors: &descriptors,
            dies_with_parent: true,
        }
        .start()?;
        let person = Person::own(pid).inspect_err(|_| {
            let _ = process::signal_child(pid, Signal::KILL);
        })?;
        Ok(Ends {
            person,
            cgroup: None,
            control,
            output,
            status: Some(status),
        })
    }

    /// Tells a new worker what to serve. `kept`: it may outlive this manager.
    pub(crate) fn instruct(&mut self, id: u64, renewal: Option<&Renewal>, kept: bool) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let Some(pool) = self.pools.get(&worker.pool) else {
            return;
        };
        let start = self.start_of(pool, renewal, worker.is_template, kept);
        let loads = (start.renews || start.template).then(|| start.preload.clone());
        let joins = start.renews && renewal.is_none();
        // To one that has died already nothing can be told.
        let _ = message::try_send(worker.control(), &ToWorker::Start(Box::new(start)).encode());
        if let (Some(worker), Some(scripts)) = (self.workers.get_mut(&id), loads) {
            worker.loads.has(scripts);
            worker.joins = joins;
        }
    }

    pub(crate) fn entry_of(&self, settings: &Settings) -> Entry {
        let g = &settings.group;
        Entry {
            manager: process::this().0.unsigned_abs(),
            doors: 0,
            switch: self.root,
            uid: g.uid,
            gid: g.gid,
            groups: g.groups.clone(),
            server_uid: settings.server_uid,
            user: g.user.clone(),
            user_home: g.user_home.clone(),
            shell: g.shell.clone(),
            python_home: g.python_home.clone(),
            home: g.home.clone(),
            umask: g.umask.unwrap_or(0o022),
            chroot: g.chroot.clone(),
            bounds: g.bounds,
            shutdown_timeout: g.life.shutdown_timeout,
            descriptors: self.descriptors,
            python: g.python.clone(),
            lang: g.lang.clone(),
            locale: g.locale.clone(),
            place: settings.place().cloned(),
            note: Vec::new(),
        }
    }

    /// The first packet to a worker.
    pub(crate) fn start_of(
        &self,
        pool: &Pool,
        renewal: Option<&Renewal>,
        is_template: bool,
        outlives: bool,
    ) -> Start {
        let g = &pool.settings.group;
        let display_name = if g.display_name == b"%{GROUP}" {
            [b"(wsgi:", &g.name[..], b")"].concat()
        } else {
            g.display_name.clone()
        };
        Start {
            group: g.name.clone(),
            application_group: pool.application_group.clone(),
            identity: Identity {
                uid: g.uid,
                groups: self.root.then(|| Groups {
                    gid: g.gid,
                    others: g.groups.clone(),
                }),
            },
            server_uid: pool.settings.server_uid,
            processes: g.processes,
            threads: g.threads,
            multiprocess: g.multiprocess,
            python: g.python.clone(),
            home: g.home.clone(),
            display_name,
            life: g.life,
            stack: g.bounds.stack,
            memory_is_limited: g.bounds.data > 0 || g.bounds.address_space > 0,
            send_buffer: g.send_buffer,
            tells_idle: pool.is_elastic(),
            log_level: g.log_level,
            preload: self.scripts_in_advance(pool, renewal, is_template),
            renews: renewal.is_some() || self.has_serving(pool),
            template: is_template,
            script_owner: match pool.settings.place() {
                None => ScriptOwner::Any,
                Some(place) if place.root_owned => ScriptOwner::UserOrRoot,
                Some(_) => ScriptOwner::User,
            },
            user_log: pool
                .settings
                .place()
                .map(|place| place.log_of(&g.user_home))
                .unwrap_or_default(),
            outlives,
            httpd: self
                .config
                .as_ref()
                .map(|config| config.begin.httpd.clone())
                .unwrap_or_default(),
        }
    }
}

impl Pool {
    /// What a worker loads before it serves, of what is known without its workers.
    pub(crate) fn scripts_in_advance(&self, renewal: Option<&Renewal>, is_template: bool) -> Vec<Script> {
        let group = self.settings.group.preload.iter();
        let configured = group.filter(|p| p.application_group == self.application_group);
        let asked = self.templates.asked.iter().filter(|_| is_template);
        // Below a base it is known what requests will be for.
        let place = self.settings.place().filter(|_| is_template);
        let own = place.map(Place::script_path);
        let loaded = renewal.map_or(&self.renewals.scripts, |r| &r.scripts);
        let mut scripts = loaded.clone();
        let fatal = self.renewals.fatal.iter().map(|version| &version.script);
        for path in configured
            .map(|p| &p.script)
            .chain(asked)
            .chain(&own)
            .chain(fatal)
        {
            if scripts.iter().all(|script| script.path != *path) {
                scripts.push(Script::at(path));
            }
        }
        scripts
    }
}
