//! What the processes of an application, or of a user, may have together. A change of it replaces no worker.

use crate::WireError;
use crate::bytes::{Fields, Put};

/// Limits of some processes together; 0 is "no limit".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Memory, bytes.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Processor time in hundredths of one processor.
    pub cpu: u32,
}

impl Quota {
    /// Nothing is limited.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The stricter limit of each.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        fn least<T: Default + Ord>(a: T, b: T) -> T {
            let none = T::default();
            match (a == none, b == none) {
                (true, _) => b,
                (_, true) => a,
                _ => a.min(b),
            }
        }
        Self {
            memory: least(self.memory, other.memory),
            processes: least(self.processes, other.processes),
            cpu: least(self.cpu, other.cpu),
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        out.put_u64(self.memory);
        out.put_u32(self.processes);
        out.put_u32(self.cpu);
    }

    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            memory: f.u64("memory quota")?,
            processes: f.u32("processes quota")?,
            cpu: f.u32("cpu quota")?,
        })
    }
}

/// The limits of a process group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Quotas {
    /// Of each application group.
    pub application: Quota,
    /// Of all that its user runs; the strictest of the user's running applications holds.
    pub user: Quota,
}

impl Quotas {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        self.application.put(out);
        self.user.put(out);
    }

    pub(crate) fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            application: Quota::take(f)?,
            user: Quota::take(f)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_of_two_limits_holds_and_none_is_the_laxest() {
        let one = Quota {
            memory: 5,
            processes: 0,
            cpu: 50,
        };
        let two = Quota {
            memory: 7,
            processes: 9,
            cpu: 0,
        };
        let both = Quota {
            memory: 5,
            processes: 9,
            cpu: 50,
        };
        assert_eq!((one.stricter(two), two.stricter(one)), (both, both));
        assert!(Quota::default().stricter(Quota::default()).is_empty());
    }
}
