//! User and group ids of this process.

use crate::OsError;

/// Real, effective and saved id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Real.
    pub real: u32,
    /// Effective: decides what is allowed.
    pub effective: u32,
    /// Saved: may be taken back.
    pub saved: u32,
}

impl Ids {
    /// All three are `id`.
    pub fn all_are(self, id: u32) -> bool {
        [self.real, self.effective, self.saved] == [id; 3]
    }
}

/// The user ids (`getresuid`).
pub fn user_ids() -> Ids {
    let mut ids = [0; 3];
    let [r, e, s] = &mut ids;
    // SAFETY: three writable integers; cannot fail with valid addresses.
    unsafe { libc::getresuid(r, e, s) };
    let [real, effective, saved] = ids;
    Ids {
        real,
        effective,
        saved,
    }
}

/// The group ids (`getresgid`).
pub fn group_ids() -> Ids {
    let mut ids = [0; 3];
    let [r, e, s] = &mut ids;
    // SAFETY: three writable integers; cannot fail with valid addresses.
    unsafe { libc::getresgid(r, e, s) };
    let [real, effective, saved] = ids;
    Ids {
        real,
        effective,
        saved,
    }
}

/// The supplementary groups, sorted (`getgroups`).
pub fn groups() -> Result<Vec<u32>, OsError> {
    // SAFETY: a size of zero asks for the count only.
    let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    let room = usize::try_from(count).map_err(|_| OsError::last("getgroups", ""))?;
    let mut list = vec![0; room];
    // SAFETY: the list has room for `count` ids.
    let got = unsafe { libc::getgroups(count, list.as_mut_ptr()) };
    list.truncate(usize::try_from(got).map_err(|_| OsError::last("getgroups", ""))?);
    list.sort_unstable();
    Ok(list)
}

/// Sets the supplementary groups, exactly (`setgroups`). EPERM without privilege, EINVAL for too many.
pub fn set_groups(groups: &[u32]) -> Result<(), OsError> {
    // SAFETY: the list is readable for its length.
    let done = unsafe { libc::setgroups(groups.len(), groups.as_ptr()) };
    if done < 0 {
        Err(OsError::last("setgroups", ""))
    } else {
        Ok(())
    }
}

/// Sets all three group ids (`setresgid`).
pub fn set_group(gid: u32) -> Result<(), OsError> {
    // SAFETY: three integers.
    let done = unsafe { libc::setresgid(gid, gid, gid) };
    if done < 0 {
        Err(OsError::last("setresgid", format!("{gid}")))
    } else {
        Ok(())
    }
}

/// Sets all three user ids (`setresuid`); of every thread, through the C library. EAGAIN on old kernels: the user is at its process limit.
pub fn set_user(uid: u32) -> Result<(), OsError> {
    // SAFETY: three integers.
    let done = unsafe { libc::setresuid(uid, uid, uid) };
    if done < 0 {
        Err(OsError::last("setresuid", format!("{uid}")))
    } else {
        Ok(())
    }
}

/// Tries to become root again (`setuid` and `seteuid` with 0); `true` if that succeeded. For
/// proving that a drop of privilege is for ever.
pub fn can_regain_root() -> bool {
    // SAFETY: one integer each.
    let user = unsafe { libc::setuid(0) };
    // SAFETY: as above.
    let effective_user = unsafe { libc::seteuid(0) };
    user == 0 || effective_user == 0
}

/// Tries to take group `gid` (`setgid`, `setegid`); `true` if that succeeded. For proving that the group was really left.
pub fn can_take_group(gid: u32) -> bool {
    // SAFETY: one integer each.
    let group = unsafe { libc::setgid(gid) };
    // SAFETY: as above.
    let effective_group = unsafe { libc::setegid(gid) };
    group == 0 || effective_group == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_equal_ids_are_recognised() {
        let ids = Ids {
            real: 5,
            effective: 5,
            saved: 0,
        };
        assert!(!ids.all_are(5));
        assert!(Ids { saved: 5, ..ids }.all_are(5));
    }

    #[test]
    fn this_process_knows_its_ids() {
        assert!(groups().is_ok());
        assert_eq!(user_ids().real, user_ids().saved);
        assert_eq!(group_ids().real, group_ids().saved);
    }
}
