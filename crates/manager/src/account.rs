//! An account as the name service knows it, and whether a base lets it run applications.

use rwsgi_os::users;
use rwsgi_wire::WireError;
use rwsgi_wire::base::BaseRules;
use rwsgi_wire::bytes::{Fields, Put};

use crate::codes;
use crate::journey::Stop;

/// The uid that means nobody in particular.
const NOBODY: u32 = 65534;

/// What was found under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This.
    Account(Box<Account>),
    /// There is no such user.
    Nobody,
    /// The name service could not say: a phrase.
    Failure(String),
}

/// An account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Login name, as the entry has it.
    pub name: Vec<u8>,
    /// User id.
    pub uid: u32,
    /// The name of the entry that is found under that id.
    pub name_of_uid: Vec<u8>,
    /// Primary group id.
    pub gid: u32,
    /// That group exists.
    pub has_group: bool,
    /// All groups, the primary one included.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: Vec<u8>,
    /// Login shell.
    pub shell: Vec<u8>,
    /// It has expired.
    pub expired: bool,
}

impl Found {
    /// Asks the name service, for as long as that takes.
    pub fn look_up(name: &[u8]) -> Self {
        match Account::look_up(name) {
            Ok(Some(account)) => Self::Account(Box::new(account)),
            Ok(None) => Self::Nobody,
            Err(error) => Self::Failure(error.to_string()),
        }
    }

    /// The bytes on the pipe.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Account(account) => {
                out.put_u8(1);
                account.put(&mut out);
            }
            Self::Nobody => out.put_u8(2),
            Self::Failure(why) => {
                out.put_u8(3);
                out.put_bytes(why.as_bytes());
            }
        }
        out
    }

    /// Reads them.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(bytes);
        let found = match f.u8("kind")? {
            1 => Self::Account(Box::new(Account::take(&mut f)?)),
            2 => Self::Nobody,
            3 => Self::Failure(String::from_utf8_lossy(f.bytes("failure")?).into_owned()),
            found => {
                return Err(WireError::Value {
                    field: "kind",
                    found: found.into(),
                });
            }
        };
        f.end()?;
        Ok(found)
    }
}

impl Account {
    fn look_up(name: &[u8]) -> Result<Option<Self>, rwsgi_os::OsError> {
        let Some(user) = users::by_name(name)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            name_of_uid: users::by_id(user.uid)?.map(|user| user.name).unwrap_or_default(),
            has_group: users::group_by_id(user.gid)?.is_some(),
            groups: users::groups_of(&user.name, user.gid)?,
            expired: users::has_expired(&user.name)?,
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            home: user.home,
            shell: user.shell,
        }))
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_bytes(&self.name);
        out.put_u32(self.uid);
        out.put_bytes(&self.name_of_uid);
        out.put_u32(self.gid);
        out.put_u8(self.has_group.into());
        out.put_u32(u32::try_from(self.groups.len()).unwrap_or(u32::MAX));
        for gid in &self.groups {
            out.put_u32(*gid);
        }
        out.put_bytes(&self.home);
        out.put_bytes(&self.shell);
        out.put_u8(self.expired.into());
    }

    pub(crate) fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            name: f.bytes("name")?.into(),
            uid: f.u32("uid")?,
            name_of_uid: f.bytes("name of uid")?.into(),
            gid: f.u32("gid")?,
            has_group: f.bool("has group")?,
            groups: (0..f.u32("groups")?)
                .map(|_| f.u32("groups"))
                .collect::<Result<_, _>>()?,
            home: f.bytes("home")?.into(),
            shell: f.bytes("shell")?.into(),
            expired: f.bool("expired")?,
        })
    }

    /// Whether a base lets it run applications when httpd's children are `server_uid`; `asked` is the name in the path,
    /// `only` the one user as whom a manager that is not root can run anything.
    pub fn judge(
        &self,
        asked: &[u8],
        rules: &BaseRules,
        server_uid: u32,
        only: Option<u32>,
    ) -> Result<(), Stop> {
        self.judge_user(asked, rules, server_uid, only)?;
        self.judge_standing(asked, rules)
    }

    /// Whether it is a user as whom a process of ours may run at all, be it one that only writes to the user's log. The rest as for [`judge`](Self::judge).
    pub fn judge_user(
        &self,
        asked: &[u8],
        rules: &BaseRules,
        server_uid: u32,
        only: Option<u32>,
    ) -> Result<(), Stop> {
        let name = crate::lines::escape(asked);
        let refused = |code, what: String| Err(Stop::new(code, what));
        // C6
        if self.name != asked || self.name_of_uid != asked {
            return refused(
                codes::ACCOUNT_AMBIGUOUS,
                format!(
                    "the name {name} leads to uid {}, and that back to {}: two names share an account",
                    self.uid,
                    crate::lines::escape(&self.name_of_uid)
                ),
            );
        }
        // C7
        if !self.has_group {
            let what = format!(
                "the group {} of {name} does not exist: create it, or give {name} another",
                self.gid
            );
            return refused(codes::NO_GROUP, what);
        }
        // C9
        let why = match self.uid {
            0 => Some("is root"),
            uid if uid == server_uid => Some("is httpd's own user"),
            NOBODY => Some("is nobody"),
            uid if uid < rules.min_uid => Some("is below min-uid"),
            uid if uid > rules.max_uid => Some("is above max-uid"),
            uid if only.is_some_and(|only| uid != only) => {
                Some("is not who httpd runs as, which was not started as root,")
            }
            _ if rules.denied.iter().any(|denied| denied == asked) => Some("is in deny-users"),
            _ => None,
        };
        if let Some(why) = why {
            let what = format!("{name} (uid {}) {why} and runs no applications", self.uid);
            return refused(codes::ACCOUNT_NOT_ALLOWED, what);
        }
        Ok(())
    }

    fn judge_standing(&self, asked: &[u8], rules: &BaseRules) -> Result<(), Stop> {
        let name = crate::lines::escape(asked);
        let refused = |code, what: String| Err(Stop::new(code, what));
        // C10
        let is_refused = |gid: &&u32| **gid == 0 || rules.refused_gids.contains(gid);
        if let Some(gid) = self.groups.iter().chain([&self.gid]).find(is_refused) {
            return refused(
                codes::GROUP_NOT_ALLOWED,
                format!(
                    "{name} is in group {gid}, which gives power over the machine or over httpd: take {name} out of it, for who is in it \
                     runs no applications"
                ),
            );
        }
        // C22
        if self.expired {
            return refused(codes::ACCOUNT_EXPIRED, format!("the account {name} has expired"));
        }
        if rules.suspended_shells.contains(&self.shell) {
            let shell = crate::lines::escape(&self.shell);
            return refused(
                codes::ACCOUNT_SUSPENDED,
                format!("the account {name} is suspended: its login shell {shell} is in suspended-shells"),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Account {
        Account {
            name: b"ann".to_vec(),
            uid: 1000,
            name_of_uid: b"ann".to_vec(),
            gid: 1000,
            has_group: true,
            groups: vec![1000, 2000],
            home: b"/home/ann".to_vec(),
            shell: b"/bin/sh".to_vec(),
            ..Account::default()
        }
    }

    fn rules() -> BaseRules {
        BaseRules {
            min_uid: 1000,
            max_uid: 60000,
            denied: vec![b"bob".to_vec()],
            refused_gids: vec![4, 33],
            suspended_shells: vec![b"/usr/sbin/suspended".to_vec()],
            ..BaseRules::default()
        }
    }

    fn judged(account: &Account) -> Result<(), u16> {
        let judged = account.judge(b"ann", &rules(), 1500, None);
        judged.map_err(|stop| stop.code.number)
    }

    fn with(change: impl Fn(&mut Account)) -> Result<(), u16> {
        let mut account = ann();
        change(&mut account);
        judged(&account)
    }

    #[test]
    fn c6_c7_name_and_id_lead_to_one_another_and_the_group_exists() {
        assert_eq!(judged(&ann()), Ok(()));
        assert_eq!(with(|a| a.name_of_uid = b"anna".to_vec()), Err(482));
        assert_eq!(with(|a| a.name = b"ANN".to_vec()), Err(482));
        assert_eq!(with(|a| a.name_of_uid.clear()), Err(482));
        assert_eq!(with(|a| a.has_group = false), Err(483));
    }

    #[test]
    fn c9_only_ordinary_users_run_applications() {
        for uid in [0, 1, 33, 999, 1500, 60001, 65534, u32::MAX] {
            assert_eq!(with(|a| a.uid = uid), Err(484), "{uid}");
        }
        for uid in [1000, 60000] {
            assert_eq!(with(|a| a.uid = uid), Ok(()), "{uid}");
        }
        let everybody = BaseRules {
            min_uid: 0,
            max_uid: u32::MAX,
            ..rules()
        };
        for uid in [0, 1500, 65534] {
            let account = Account { uid, ..ann() };
            assert!(
                account.judge(b"ann", &everybody, 1500, None).is_err(),
                "{uid} whatever the bounds"
            );
        }
        let bob = Account {
            name: b"bob".to_vec(),
            name_of_uid: b"bob".to_vec(),
            ..ann()
        };
        assert!(ann().judge(b"ann", &rules(), 1500, Some(1001)).is_err(), "R6");
        assert!(ann().judge(b"ann", &rules(), 1500, Some(1000)).is_ok());
        assert_eq!(
            bob.judge(b"bob", &rules(), 1500, None).unwrap_err().code.number,
            484
        );
    }

    #[test]
    fn c10_nobody_in_a_privileged_group_runs_applications() {
        for gid in [0, 4, 33] {
            assert_eq!(with(|a| a.gid = gid), Err(485), "{gid}");
            assert_eq!(with(|a| a.groups.push(gid)), Err(485), "{gid}");
        }
    }

    #[test]
    fn c22_an_expired_account_runs_no_applications() {
        assert_eq!(with(|a| a.expired = true), Err(486));
    }

    #[test]
    fn c22_a_suspended_account_runs_no_applications() {
        assert_eq!(with(|a| a.shell = b"/usr/sbin/suspended".to_vec()), Err(499));
        assert_eq!(with(|a| a.shell.clear()), Ok(()));
    }

    #[test]
    fn what_was_found_survives_the_round_trip_and_nothing_else_is_read() {
        for found in [
            Found::Account(Box::new(ann())),
            Found::Nobody,
            Found::Failure("why".to_owned()),
        ] {
            let bytes = found.encode();
            assert_eq!(Found::decode(&bytes), Ok(found));
            assert!((0..bytes.len()).all(|cut| Found::decode(&bytes[..cut]).is_err()));
        }
        assert!(Found::decode(&[9]).is_err());
    }

    #[test]
    fn root_is_found_and_a_name_that_nobody_has_is_not() {
        assert!(matches!(Found::look_up(b"root"), Found::Account(root) if root.uid == 0 && root.has_group));
        assert_eq!(Found::look_up(b"no-such-user-here"), Found::Nobody);
    }
}
