//! Who a process is to be.

use crate::WireError;
use crate::bytes::{Fields, Put};

/// User and groups of a worker, as ordered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Each of its user ids.
    pub uid: u32,
    /// `None`: those of a manager that is not root, and can change none.
    pub groups: Option<Groups>,
}

/// The groups of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups {
    /// Each of its group ids.
    pub gid: u32,
    /// Its supplementary groups, exactly, in any order.
    pub others: Vec<u32>,
}

impl Identity {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.uid);
        out.put_u8(self.groups.is_some().into());
        if let Some(Groups { gid, others }) = &self.groups {
            out.put_u32(*gid);
            put_ids(out, others);
        }
    }

    pub(crate) fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        let uid = f.u32("uid")?;
        let groups = match f.bool("groups are ordered")? {
            false => None,
            true => Some(Groups {
                gid: f.u32("gid")?,
                others: take_ids(f)?,
            }),
        };
        Ok(Self { uid, groups })
    }
}

/// Appends a list of supplementary groups to a message.
pub(crate) fn put_ids(out: &mut Vec<u8>, ids: &[u32]) {
    out.put_u32(u32::try_from(ids.len()).unwrap_or(u32::MAX));
    for id in ids {
        out.put_u32(*id);
    }
}

/// Takes it from one.
pub(crate) fn take_ids(f: &mut Fields<'_>) -> Result<Vec<u32>, WireError> {
    (0..f.u32("groups")?).map(|_| f.u32("groups")).collect()
}
