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
}

impl Resource {
    fn name(self) -> &'static str {
        match self {
            Self::Core => "RLIMIT_CORE",
            Self::Descriptors => "RLIMIT_NOFILE",
            Self::Processes => "RLIMIT_NPROC",
        }
    }

    fn set(self, limit: &libc::rlimit) -> libc::c_int {
        let number = match self {
            Self::Core => libc::RLIMIT_CORE,
            Self::Descriptors => libc::RLIMIT_NOFILE,
            Self::Processes => libc::RLIMIT_NPROC,
        };
        // SAFETY: the structure is readable.
        unsafe { libc::setrlimit(number, std::ptr::from_ref(limit)) }
    }
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
