//! What a worker's journey needs to know, passed from the supervisor to the entering process in a memory file.

use rwsgi_wire::WireError;
use rwsgi_wire::bytes::{Fields, Put};
use rwsgi_wire::life::Bounds;
use rwsgi_wire::python::Python;

use crate::place::Place;

/// Settings of a journey.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Process id of the supervisor: who the parent must still be.
    pub manager: u32,
    /// So many descriptors from [`DOORS_FD`](crate::journey::DOORS_FD) on lead into control groups.
    pub doors: u32,
    /// Whether identities are switched (the manager is root). Without, `uid` must be the process's own.
    pub switch: bool,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups, exactly.
    pub groups: Vec<u32>,
    /// The user httpd's children run as.
    pub server_uid: u32,
    /// Login name.
    pub user: Vec<u8>,
    /// Home directory of the user.
    pub user_home: Vec<u8>,
    /// Login shell.
    pub shell: Vec<u8>,
    /// As in `Group`.
    pub python_home: Vec<u8>,
    /// As in `Group`.
    pub python: Python,
    /// As in `Group`.
    pub home: Vec<u8>,
    /// File mode creation mask.
    pub umask: u32,
    /// New root directory; empty for none.
    pub chroot: Vec<u8>,
    /// As in `Group`.
    pub bounds: Bounds,
    /// As in `Life`: what an ending worker needs beyond its limit on processor time.
    pub shutdown_timeout: u32,
    /// Soft and hard limit on descriptors, as the manager was started with; it raises its own.
    pub descriptors: (u64, u64),
    /// As in `Group`.
    pub lang: Vec<u8>,
    /// As in `Group`.
    pub locale: Vec<u8>,
    /// The application below a base that is to be run; `None`: the group is the administrator's.
    pub place: Option<Place>,
    /// Nothing is to be run: this is to be appended to the log of the application's user.
    pub note: Vec<u8>,
}

impl Entry {
    /// The bytes of the memory file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32(self.manager);
        out.put_u32(self.doors);
        out.put_u8(self.switch.into());
        out.put_u32(self.uid);
        out.put_u32(self.gid);
        out.put_u32(u32::try_from(self.groups.len()).unwrap_or(u32::MAX));
        for gid in &self.groups {
            out.put_u32(*gid);
        }
        out.put_u32(self.server_uid);
        out.put_bytes(&self.user);
        out.put_bytes(&self.user_home);
        out.put_bytes(&self.shell);
        out.put_bytes(&self.python_home);
        self.python.put(&mut out);
        out.put_bytes(&self.home);
        out.put_u32(self.umask);
        out.put_bytes(&self.chroot);
        self.bounds.put(&mut out);
        out.put_u32(self.shutdown_timeout);
        out.put_u64(self.descriptors.0);
        out.put_u64(self.descriptors.1);
        out.put_bytes(&self.lang);
        out.put_bytes(&self.locale);
        out.put_u8(self.place.is_some().into());
        if let Some(place) = &self.place {
            place.put(&mut out);
        }
        out.put_bytes(&self.note);
        out
    }

    /// Reads them.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(bytes);
        let entry = Self {
            manager: f.u32("manager")?,
            doors: f.u32("doors")?,
            switch: f.bool("switch")?,
            uid: f.u32("uid")?,
            gid: f.u32("gid")?,
            groups: (0..f.u32("groups")?)
                .map(|_| f.u32("groups"))
                .collect::<Result<_, _>>()?,
            server_uid: f.u32("server uid")?,
            user: f.bytes("user")?.into(),
            user_home: f.bytes("user home")?.into(),
            shell: f.bytes("shell")?.into(),
            python_home: f.bytes("python home")?.into(),
            python: Python::take(&mut f)?,
            home: f.bytes("home")?.into(),
            umask: f.u32("umask")?,
            chroot: f.bytes("chroot")?.into(),
            bounds: Bounds::take(&mut f)?,
            shutdown_timeout: f.u32("shutdown timeout")?,
            descriptors: (f.u64("descriptors")?, f.u64("descriptors")?),
            lang: f.bytes("lang")?.into(),
            locale: f.bytes("locale")?.into(),
            place: match f.bool("place")? {
                true => Some(Place::take(&mut f)?),
                false => None,
            },
            note: f.bytes("note")?.into(),
        };
        f.end()?;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_the_round_trip() {
        let entry = Entry {
            manager: 9,
            doors: 2,
            switch: true,
            groups: vec![4, 5],
            user: b"ann".to_vec(),
            umask: 0o027,
            bounds: Bounds {
                priority: -3,
                data: 1 << 40,
                ..Bounds::default()
            },
            descriptors: (1024, 4096),
            place: Some(Place {
                script: b"app.wsgi".to_vec(),
                ..Place::default()
            }),
            note: b"a line\n".to_vec(),
            ..Entry::default()
        };
        assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
    }
}
