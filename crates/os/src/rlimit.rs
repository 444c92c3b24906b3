//! Resource limits of this process.

use crate::OsError;

/// A limit that the kernel enforces per process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Size of a core file, bytes.
    Core,
    /// Number of descriptors.
    Descriptors,
    /// Processes of the user.
    Processes,
    /// Processor time, seconds: SIGXCPU every second from the soft limit on, SIGKILL at the hard one.
    CpuTime,
    /// Data segment, bytes.
    Data,
    /// Address space, bytes.
    AddressSpace,
}

/// "No limit".
pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

impl Resource {
    fn name(self) -> &'static str {
        match self {
            Self::Core => "RLIMIT_CORE",
            Self::Descriptors => "RLIMIT_NOFILE",
            Self::Processes => "RLIMIT_NPROC",
            Self::CpuTime => "RLIMIT_CPU",
            Self::Data => "RLIMIT_DATA",
            Self::AddressSpace => "RLIMIT_AS",
        }
    }

    fn set(self, limit: &libc::rlimit) -> libc::c_int {
        // SAFETY: the number is that of a limit, the structure is readable.
        unsafe { libc::setrlimit(self.number(), std::ptr::from_ref(limit)) }
    }

    fn read(self, limit: &mut libc::rlimit) -> libc::c_int {
        // SAFETY: the number is that of a limit, the structure is writable.
        unsafe { libc::getrlimit(self.number(), std::ptr::from_mut(limit)) }
    }

    fn number(self) -> libc::__rlimit_resource_t {
        match self {
            Self::Core => libc::RLIMIT_CORE,
            Self::Descriptors => libc::RLIMIT_NOFILE,
            Self::Processes => libc::RLIMIT_NPROC,
            Self::CpuTime => libc::RLIMIT_CPU,
            Self::Data => libc::RLIMIT_DATA,
            Self::AddressSpace => libc::RLIMIT_AS,
        }
    }
}

/// The soft and the hard limit (`getrlimit`).
pub fn of(resource: Resource) -> Result<(u64, u64), OsError> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    if resource.read(&mut limit) < 0 {
        return Err(OsError::last("getrlimit", resource.name()));
    }
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets the soft and the hard limit (`setrlimit`). EPERM: the hard limit would rise.
pub fn set(resource: Resource, soft: u64, hard: u64) -> Result<(), OsError> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    if resource.set(&limit) < 0 {
        Err(OsError::last("setrlimit", resource.name()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_can_be_set_to_what_it_is() {
        let (soft, hard) = of(Resource::Descriptors).unwrap();
        assert!(soft > 0 && soft <= hard);
        set(Resource::Descriptors, soft, hard).unwrap();
    }
}
