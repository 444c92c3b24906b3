//! The capabilities of this process.

use crate::OsError;

/// A capability, by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Capability {
    /// Give files away.
    Chown = 0,
    /// Read any file and pass any directory.
    DacReadSearch = 2,
    /// Signal processes of others.
    Kill = 5,
    /// Change groups.
    SetGid = 6,
    /// Change the user.
    SetUid = 7,
    /// Take from the bounding set.
    SetPcap = 8,
    /// Change the root directory.
    SysChroot = 18,
    /// Better priorities.
    SysNice = 23,
    /// Exceed limits.
    SysResource = 24,
}

impl Capability {
    /// Its bit in a [set](Sets).
    pub const fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// What a process may do, a bit for each capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sets {
    /// Counts now.
    pub effective: u64,
    /// May be made effective.
    pub permitted: u64,
    /// May survive an exec. Ambient ones, which do, are a part of it.
    pub inheritable: u64,
}

impl Sets {
    /// There is nothing in any of them.
    pub fn are_empty(self) -> bool {
        self == Self::default()
    }
}

/// Version 3 of the structures: two words for each set.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The sets of this thread (`capget`).
pub fn sets() -> Result<Sets, OsError> {
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut words = [Words::default(); 2];
    // SAFETY: the header is readable, and there is room for the two structures of this version.
    let done = unsafe { libc::syscall(libc::SYS_capget, &raw const header, words.as_mut_ptr()) };
    if done < 0 {
        return Err(OsError::last("capget", ""));
    }
    let [low, high] = words;
    let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    Ok(Sets {
        effective: join(low.effective, high.effective),
        permitted: join(low.permitted, high.permitted),
        inheritable: join(low.inheritable, high.inheritable),
    })
}

/// Sets them (`capset`); of this thread. Less is always allowed. What is not inheritable is not ambient either.
pub fn set(sets: Sets) -> Result<(), OsError> {
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    let words = [0, 32].map(|shift| {
        let word = |set: u64| u32::try_from(set >> shift & 0xffff_ffff).unwrap_or(0);
        Words {
            effective: word(sets.effective),
            permitted: word(sets.permitted),
            inheritable: word(sets.inheritable),
        }
    });
    // SAFETY: the header and the two structures of this version are readable.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) };
    if done < 0 {
        Err(OsError::last("capset", ""))
    } else {
        Ok(())
    }
}

/// Takes every capability but those in `kept` out of the bounding set of this process (`PR_CAPBSET_DROP`): no program executed from here
/// can have another one. It is read back. EPERM: CAP_SETPCAP is missing.
pub fn bound(kept: u64) -> Result<(), OsError> {
    for capability in 0..64u64 {
        // SAFETY: integers only.
        let here = unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) };
        if here < 0 {
            // Beyond the last that the kernel knows.
            break;
        }
        if here == 0 || kept >> capability & 1 != 0 {
            continue;
        }
        // SAFETY: integers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } < 0 {
            return Err(OsError::last("prctl", "PR_CAPBSET_DROP"));
        }
        // SAFETY: integers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) } != 0 {
            return Err(OsError::new("prctl", "PR_CAPBSET_DROP", libc::EINVAL));
        }
    }
    Ok(())
}

/// Of all capabilities this process keeps at most those in `kept`, and so do programs that it executes as root. Without CAP_SETPCAP the
/// bounding set stays as it is.
pub fn keep_only(kept: u64) -> Result<(), OsError> {
    let now = sets()?;
    if now.effective & Capability::SetPcap.bit() != 0 {
        bound(kept)?;
    }
    set(Sets {
        effective: now.permitted & kept,
        permitted: now.permitted & kept,
        inheritable: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_given_up_for_ever() {
        // They are a thread's own: this one ends with the test.
        std::thread::spawn(|| {
            let before = sets().unwrap();
            let kept = Capability::Kill.bit() | Capability::SetPcap.bit();
            set(Sets {
                effective: before.permitted & kept,
                permitted: before.permitted & kept,
                inheritable: 0,
            })
            .unwrap();
            assert_eq!(sets().unwrap().permitted, before.permitted & kept);
            set(Sets::default()).unwrap();
            assert!(sets().unwrap().are_empty());
            let again = Sets {
                effective: 1,
                permitted: 1,
                inheritable: 0,
            };
            assert_eq!(set(again).unwrap_err().errno, libc::EPERM);
        })
        .join()
        .unwrap();
    }
}
