//! How many workers a pool has: as many as requests need, between two bounds.

use crate::WireError;
use crate::bytes::{Fields, Put};

/// How few workers a pool may have, and when it has too many. A change of it replaces no worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scale {
    /// Workers that stay once a pool has been asked for. The most are the group's `processes`; with as many as that their number never
    /// changes.
    pub min_processes: u32,
    /// Seconds without a request after which a worker above the minimum ends; 0: never.
    pub idle_timeout: u32,
}

impl Scale {
    /// Whether the number of workers of a pool with at most `processes` follows the requests.
    pub fn is_elastic(self, processes: u32) -> bool {
        self.min_processes < processes
    }

    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.put_u32(self.min_processes);
        out.put_u32(self.idle_timeout);
    }

    pub(crate) fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            min_processes: f.u32("least processes")?,
            idle_timeout: f.u32("idle timeout")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_with_as_many_workers_at_least_as_at_most_is_not_elastic() {
        let scale = |min_processes| Scale {
            min_processes,
            idle_timeout: 0,
        };
        assert!(scale(0).is_elastic(1) && scale(2).is_elastic(3));
        assert!(!scale(1).is_elastic(1) && !scale(3).is_elastic(3));
    }
}
