//! A script of an application, as workers and the manager speak of it.

use crate::WireError;
use crate::bytes::{Fields, Put};

/// A script that a worker has loaded or is to load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// Absolute path.
    pub path: Vec<u8>,
    /// Names of the callables in it that requests are given: a version without one of them cannot take the place of one that has them.
    pub callables: Vec<Vec<u8>>,
}

impl Script {
    /// One of which nothing is asked but that it loads.
    pub fn at(path: &[u8]) -> Self {
        Self {
            path: path.to_vec(),
            callables: Vec::new(),
        }
    }

    /// How much of a message it takes, bytes.
    pub fn length(&self) -> usize {
        let callables = self.callables.iter().map(|name| 4 + name.len());
        8 + self.path.len() + callables.sum::<usize>()
    }

    /// Appends it to a message.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.put_bytes(&self.path);
        out.put_list(&self.callables);
    }

    /// Takes it from a message.
    pub fn take(f: &mut Fields<'_>, field: &'static str) -> Result<Self, WireError> {
        Ok(Self {
            path: f.bytes(field)?.into(),
            callables: f.list(field)?.into_iter().map(Into::into).collect(),
        })
    }

    /// Appends a list of them to a message.
    pub fn put_list(list: &[Self], out: &mut Vec<u8>) {
        out.put_u32(u32::try_from(list.len()).unwrap_or(u32::MAX));
        list.iter().for_each(|script| script.put(out));
    }

    /// Takes a list of them from a message.
    pub fn take_list(f: &mut Fields<'_>, field: &'static str) -> Result<Vec<Self>, WireError> {
        let count = f.u32(field)?;
        (0..count).map(|_| Self::take(f, field)).collect()
    }
}
