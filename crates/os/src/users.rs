//! Names of users and groups, as the system's name service knows them.

use std::ffi::{CStr, CString};

use crate::OsError;
use crate::error::c_path;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: Vec<u8>,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home directory.
    pub home: Vec<u8>,
    /// Login shell.
    pub shell: Vec<u8>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// Its id.
    pub gid: u32,
}

/// The user of this name, if there is one (`getpwnam_r`). An error is a failure of the name service, not absence.
pub fn by_name(name: &[u8]) -> Result<Option<User>, OsError> {
    let c = c_path("getpwnam", name)?;
    look_up(
        "getpwnam",
        name,
        |record: *mut libc::passwd, buffer, size, found| {
            // SAFETY: a C string, and room for the record and `size` bytes of its strings.
            unsafe { libc::getpwnam_r(c.as_ptr(), record, buffer, size, found) }
        },
    )
    .map(|found| found.map(|(record, _strings)| user(&record)))
}

/// The user with this id, if there is one (`getpwuid_r`).
pub fn by_id(uid: u32) -> Result<Option<User>, OsError> {
    let name = uid.to_string();
    look_up(
        "getpwuid",
        name.as_bytes(),
        |record: *mut libc::passwd, buffer, size, found| {
            // SAFETY: an integer, and room for the record and `size` bytes of its strings.
            unsafe { libc::getpwuid_r(uid, record, buffer, size, found) }
        },
    )
    .map(|found| found.map(|(record, _strings)| user(&record)))
}

/// The group of this name, if there is one (`getgrnam_r`).
pub fn group_by_name(name: &[u8]) -> Result<Option<Group>, OsError> {
    let c = c_path("getgrnam", name)?;
    look_up(
        "getgrnam",
        name,
        |record: *mut libc::group, buffer, size, found| {
            // SAFETY: a C string, and room for the record and `size` bytes of its strings.
            unsafe { libc::getgrnam_r(c.as_ptr(), record, buffer, size, found) }
        },
    )
    .map(|found| found.map(|(record, _strings)| group(&record)))
}

/// The group with this id, if there is one (`getgrgid_r`).
pub fn group_by_id(gid: u32) -> Result<Option<Group>, OsError> {
    let name = gid.to_string();
    look_up(
        "getgrgid",
        name.as_bytes(),
        |record: *mut libc::group, buffer, size, found| {
            // SAFETY: an integer, and room for the record and `size` bytes of its strings.
            unsafe { libc::getgrgid_r(gid, record, buffer, size, found) }
        },
    )
    .map(|found| found.map(|(record, _strings)| group(&record)))
}

/// The groups of a user as at login: `gid` and every group that lists the name (`getgrouplist`), sorted.
pub fn groups_of(name: &[u8], gid: u32) -> Result<Vec<u32>, OsError> {
    let c: CString = c_path("getgrouplist", name)?;
    let mut list: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(list.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: a C string, an integer, and room for `count` ids.
        let done = unsafe { libc::getgrouplist(c.as_ptr(), gid, list.as_mut_ptr(), &raw mut count) };
        let count = usize::try_from(count).unwrap_or(0);
        if done >= 0 {
            list.truncate(count);
            list.sort_unstable();
            list.dedup();
            return Ok(list);
        }
        if list.len() >= 65_536 {
            return Err(OsError::new(
                "getgrouplist",
                String::from_utf8_lossy(name).into_owned(),
                libc::E2BIG,
            ));
        }
        list.resize(count.max(list.len() * 2), 0);
    }
}

/// Whether the account of this name has expired by now, where there is a shadow entry that says when (`getspnam_r`). Needs root.
pub fn has_expired(name: &[u8]) -> Result<bool, OsError> {
    let c = c_path("getspnam", name)?;
    let found = look_up(
        "getspnam",
        name,
        |record: *mut libc::spwd, buffer, size, found| {
            // SAFETY: a C string, and room for the record and `size` bytes of its strings.
            unsafe { libc::getspnam_r(c.as_ptr(), record, buffer, size, found) }
        },
    )?;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let today = since.map_or(0, |since| since.as_secs() / 86_400);
    Ok(found.is_some_and(|(record, _strings)| is_over(record.sp_expire, today)))
}

/// The day on which an account expires is the first on which it cannot be used; -1 (and, as `login` has it, 0) is none.
fn is_over(expires: libc::c_long, today: u64) -> bool {
    u64::try_from(expires).is_ok_and(|day| day > 0 && day <= today)
}

/// A record and the buffer that its strings lie in.
type Looked<T> = (T, Vec<libc::c_char>);

/// Calls with a growing buffer until the record fits. Zeroes are valid for all records: null strings and numbers of 0.
fn look_up<T>(
    call: &'static str,
    name: &[u8],
    f: impl Fn(*mut T, *mut libc::c_char, usize, *mut *mut T) -> libc::c_int,
) -> Result<Option<Looked<T>>, OsError> {
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        let mut record = std::mem::MaybeUninit::<T>::zeroed();
        let mut found: *mut T = std::ptr::null_mut();
        match f(
            record.as_mut_ptr(),
            buffer.as_mut_ptr(),
            buffer.len(),
            &raw mut found,
        ) {
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: a non-null result means that the record was filled.
                let record = unsafe { record.assume_init() };
                return Ok(Some((record, buffer)));
            }
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < 1 << 24 => buffer.resize(buffer.len() * 4, 0),
            // What various name services answer for "no such entry".
            libc::ENOENT | libc::ESRCH => return Ok(None),
            errno => {
                return Err(OsError::new(
                    call,
                    String::from_utf8_lossy(name).into_owned(),
                    errno,
                ));
            }
        }
    }
}

fn user(record: &libc::passwd) -> User {
    User {
        name: bytes(record.pw_name),
        uid: record.pw_uid,
        gid: record.pw_gid,
        home: bytes(record.pw_dir),
        shell: bytes(record.pw_shell),
    }
}

fn group(record: &libc::group) -> Group {
    Group {
        name: bytes(record.gr_name),
        gid: record.gr_gid,
    }
}

fn bytes(at: *const libc::c_char) -> Vec<u8> {
    if at.is_null() {
        return Vec::new();
    }
    // SAFETY: strings of a filled record end in NUL and lie in the buffer that the caller keeps.
    unsafe { CStr::from_ptr(at) }.to_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_by_name_and_by_id() {
        let root = by_name(b"root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(by_id(0).unwrap().unwrap().name, root.name);
        let group = group_by_id(0).unwrap().unwrap();
        assert_eq!(group_by_name(&group.name).unwrap().unwrap().gid, 0);
        assert!(groups_of(b"root", 0).unwrap().contains(&0));
    }

    // C22
    #[test]
    fn c22_an_account_expires_with_the_day_that_its_entry_names() {
        assert!(is_over(1, 20_000) && is_over(20_000, 20_000));
        assert!(!is_over(20_001, 20_000) && !is_over(-1, 20_000) && !is_over(0, 20_000));
    }

    #[test]
    fn an_unknown_name_is_absence_not_an_error() {
        assert_eq!(by_name(b"no-such-user-here").unwrap(), None);
        assert_eq!(group_by_name(b"no-such-group-here").unwrap(), None);
    }
}
