//! Bases: directories of users, below which every application runs as the user whose directory it is.
//!
//! A base is a pattern, `/home/*/public_wsgi`, in which one component is `*`: the login name. What is below a directory that matches belongs to
//! that user, who is asked for when a request comes: the configuration names no user, and says what holds for all of them.

use crate::WireError;
use crate::bytes::{Fields, Put};
use crate::control::Group;
use crate::response::numbered;

/// Longest path, bytes.
const PATH_MAX: usize = 4095;
/// Longest login name, bytes.
const USER_MAX: usize = 255;

/// One base, from httpd's parent to the manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    /// As [`check_pattern`] has it.
    pub pattern: Vec<u8>,
    /// What holds for a user's process group. Who it runs as is empty in it: name, uid, gid, groups, user, user home, shell.
    pub template: Group,
    /// Whose applications may run.
    pub rules: BaseRules,
}

/// Which users may run applications, and where these are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct BaseRules {
    /// Lowest user id.
    pub min_uid: u32,
    /// Highest user id.
    pub max_uid: u32,
    /// Login names that may not.
    pub denied: Vec<Vec<u8>>,
    /// Login shells of those who may not: accounts that are suspended.
    pub suspended_shells: Vec<Vec<u8>>,
    /// Scripts and their directories may belong to root instead of the user.
    pub root_owned: bool,
    /// Groups that give power over the machine, or that httpd runs in: who is in one of them may not.
    pub refused_gids: Vec<u32>,
    /// Directories with one Python per sub-directory, absolute: for the versions that users name.
    pub python_versions: Vec<Vec<u8>>,
    /// Most workers of one user; 0: as many as come.
    pub user_processes: u32,
    /// The user's own log, relative to the home directory; empty for none.
    pub user_log: Vec<u8>,
}

/// What a user has changed within the limits of the base; `None` where nothing is said. Times are seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuning {
    /// Most workers per application.
    pub processes: Option<u32>,
    /// Workers that stay.
    pub min_processes: Option<u32>,
    /// Serving threads per worker.
    pub threads: Option<u32>,
    /// As in [`Scale`](crate::scale::Scale).
    pub idle_timeout: Option<u32>,
    /// As in [`Life`](crate::life::Life).
    pub request_timeout: Option<u32>,
    /// As in [`Life`](crate::life::Life).
    pub maximum_requests: Option<u32>,
}

numbered! {
    /// Whose the scripts of a worker must be. What is somebody else's, or writable for others, is not loaded.
    #[derive(Default)]
    ScriptOwner, "script owner" {
        /// Anybody's: the administrator has named them.
        #[default]
        Any = 0,
        /// The worker's own user's.
        User = 1,
        /// That user's or root's.
        UserOrRoot = 2,
    }
}

impl Base {
    /// The packet of [`FromHttpd::Base`](crate::control::FromHttpd::Base), without its number.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_bytes(&self.pattern);
        self.template.put(out);
        self.rules.put(out);
    }

    pub(crate) fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            pattern: f.bytes("pattern")?.into(),
            template: Group::take(f)?,
            rules: BaseRules::take(f)?,
        })
    }
}

impl BaseRules {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.min_uid);
        out.put_u32(self.max_uid);
        out.put_list(&self.denied);
        out.put_list(&self.suspended_shells);
        out.put_u8(self.root_owned.into());
        out.put_u32(u32::try_from(self.refused_gids.len()).unwrap_or(u32::MAX));
        for gid in &self.refused_gids {
            out.put_u32(*gid);
        }
        out.put_list(&self.python_versions);
        out.put_u32(self.user_processes);
        out.put_bytes(&self.user_log);
    }

    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        let owned = |list: Vec<&[u8]>| list.into_iter().map(Into::into).collect();
        Ok(Self {
            min_uid: f.u32("lowest uid")?,
            max_uid: f.u32("highest uid")?,
            denied: owned(f.list("denied users")?),
            suspended_shells: owned(f.list("suspended shells")?),
            root_owned: f.bool("root-owned scripts")?,
            refused_gids: (0..f.u32("refused groups")?)
                .map(|_| f.u32("refused groups"))
                .collect::<Result<_, _>>()?,
            python_versions: owned(f.list("python versions")?),
            user_processes: f.u32("workers per user")?,
            user_log: f.bytes("user log")?.into(),
        })
    }
}

/// "Nothing is said."
const UNSAID: u32 = u32::MAX;

impl Tuning {
    fn fields(&mut self) -> [&mut Option<u32>; 6] {
        [
            &mut self.processes,
            &mut self.min_processes,
            &mut self.threads,
            &mut self.idle_timeout,
            &mut self.request_timeout,
            &mut self.maximum_requests,
        ]
    }

    /// Appends it to a message.
    pub fn put(mut self, out: &mut Vec<u8>) {
        for field in self.fields() {
            out.put_u32(field.unwrap_or(UNSAID));
        }
    }

    /// Takes it from a message.
    pub fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        let mut tuning = Self::default();
        for field in tuning.fields() {
            *field = Some(f.u32("tuning")?).filter(|value| *value != UNSAID);
        }
        Ok(tuning)
    }

    /// This, where it stays within what the base allows, and the base's value where it does not: no more of anything, and at least one
    /// worker and one thread. Where 0 is "no limit" it is more than any number.
    #[must_use]
    pub fn within(self, base: &Group) -> Self {
        let count = |value: Option<u32>, most: u32| value.map(|v| v.clamp(1, most.max(1)));
        let time = |value: Option<u32>, most: u32| match (value, most) {
            (Some(0), _) => Some(most),
            (Some(v), most) if most > 0 => Some(v.min(most)),
            (value, _) => value,
        };
        let requests = u32::try_from(base.life.maximum_requests).unwrap_or(u32::MAX - 1);
        Self {
            processes: count(self.processes, base.processes),
            min_processes: self.min_processes.map(|v| v.min(base.scale.min_processes)),
            threads: count(self.threads, base.threads),
            idle_timeout: time(self.idle_timeout, base.scale.idle_timeout),
            request_timeout: time(self.request_timeout, base.life.request_timeout),
            maximum_requests: time(self.maximum_requests, requests),
        }
    }

    /// Makes a group that was the base's what this says.
    pub fn apply(self, group: &mut Group) {
        let set = |value: &mut u32, tuned: Option<u32>| *value = tuned.unwrap_or(*value);
        set(&mut group.processes, self.processes);
        set(&mut group.scale.min_processes, self.min_processes);
        set(&mut group.threads, self.threads);
        set(&mut group.scale.idle_timeout, self.idle_timeout);
        set(&mut group.life.request_timeout, self.request_timeout);
        if let Some(requests) = self.maximum_requests {
            group.life.maximum_requests = requests.into();
        }
    }
}

/// What is wrong with a pattern: it is absolute, without `.` and `..`, and exactly one of its components is `*`, none has one in it.
pub fn check_pattern(pattern: &[u8]) -> Result<(), &'static str> {
    let Some(relative) = pattern.strip_prefix(b"/") else {
        return Err("is not an absolute path");
    };
    if !is_relative(relative) {
        return Err(
            "is no clean path: no component may be empty, '.' or '..', and no byte a control character",
        );
    }
    let stars = pattern.iter().filter(|byte| **byte == b'*').count();
    let named = relative.split(|b| *b == b'/').filter(|c| *c == b"*").count();
    match (stars, named) {
        (1, 1) => Ok(()),
        _ => Err("does not have exactly one '*', as a whole component, for the name of the user"),
    }
}

/// Whether something can be a login name.
pub fn is_user(name: &[u8]) -> bool {
    is_relative(name) && name.len() <= USER_MAX && !name.contains(&b'/') && !name.starts_with(b"~")
}

/// Whether this is a relative path that stays where it is: nothing empty, no `.`, no `..`, no control characters, not too long.
pub fn is_relative(path: &[u8]) -> bool {
    let is_component = |c: &[u8]| !matches!(c, b"" | b"." | b"..");
    path.len() <= PATH_MAX
        && path.split(|b| *b == b'/').all(is_component)
        && !path.iter().any(u8::is_ascii_control)
}

/// The user in whose directory an absolute path is, and the path in that directory (empty for the directory itself). `None`: it is below no
/// directory that matches the pattern. Nothing is resolved: the path must be clean.
pub fn split<'a>(pattern: &[u8], path: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (before, after) = halves(pattern)?;
    let rest = path.strip_prefix(before)?;
    let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let (user, rest) = rest.split_at(end);
    let below = rest.strip_prefix(after)?;
    let below = match below.split_first() {
        None => below,
        Some((b'/', below)) => below,
        // Another directory whose name begins as this one's.
        Some(_) => return None,
    };
    (is_user(user) && (below.is_empty() || is_relative(below))).then_some((user, below))
}

/// The directory of a user, absolute.
pub fn directory(pattern: &[u8], user: &[u8]) -> Option<Vec<u8>> {
    let (before, after) = halves(pattern)?;
    is_user(user).then(|| [before, user, after].concat())
}

fn halves(pattern: &[u8]) -> Option<(&[u8], &[u8])> {
    let star = pattern.iter().position(|b| *b == b'*')?;
    Some((pattern.get(..star)?, pattern.get(star + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Life;
    use crate::scale::Scale;

    fn template() -> Group {
        Group {
            processes: 2,
            threads: 5,
            scale: Scale {
                min_processes: 0,
                idle_timeout: 300,
            },
            life: Life {
                request_timeout: 60,
                ..Life::default()
            },
            ..Group::default()
        }
    }

    #[test]
    fn a_pattern_has_exactly_one_component_for_the_user() {
        for good in ["/home/*/public_wsgi", "/srv/www/*", "/*/a/b"] {
            assert_eq!(check_pattern(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/",
            "home/*",
            "/home",
            "/home/*/*",
            "/home/u*/x",
            "/home/**",
            "/home/*/../x",
            "/home/./*",
            "/home/*/",
            "//*",
            "/home/*/a\nb",
            "/home/*/a*",
        ] {
            assert!(check_pattern(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    // R30
    #[test]
    fn a_path_is_in_the_directory_of_one_user_or_of_none() {
        let of = |path: &'static str| split(b"/home/*/public_wsgi", path.as_bytes());
        assert_eq!(of("/home/ann/public_wsgi"), Some((&b"ann"[..], &b""[..])));
        assert_eq!(of("/home/ann/public_wsgi/"), Some((&b"ann"[..], &b""[..])));
        assert_eq!(
            of("/home/ann/public_wsgi/blog/app.wsgi"),
            Some((&b"ann"[..], &b"blog/app.wsgi"[..]))
        );
        for outside in [
            "/home/ann/public_wsgi2/x",
            "/home/ann/public",
            "/home/ann",
            "/home//public_wsgi/x",
            "/home/../public_wsgi/x",
            "/home/./public_wsgi/x",
            "/home/~ann/public_wsgi/x",
            "/home/ann/public_wsgi/../x",
            "/home/ann/public_wsgi/a//b",
            "/homes/ann/public_wsgi/x",
            "/home/ann/x/public_wsgi/x",
        ] {
            assert_eq!(of(outside), None, "{outside}");
        }
        assert_eq!(split(b"/srv/*", b"/srv/ann/x"), Some((&b"ann"[..], &b"x"[..])));
        assert_eq!(directory(b"/home/*/w", b"ann").unwrap(), b"/home/ann/w");
        for name in ["", "..", "a/b", "a\0b", "~a"] {
            assert_eq!(directory(b"/home/*/w", name.as_bytes()), None, "{name}");
        }
    }

    // R19, R20
    #[test]
    fn r20_whatever_a_user_asks_for_stays_within_the_base() {
        let base = template();
        let numbers = [0, 1, 2, 3, 5, 6, 59, 60, 61, 299, 300, 301, 1 << 31, u32::MAX];
        for number in numbers {
            let mut tuning = Tuning::default();
            for field in tuning.fields() {
                *field = Some(number);
            }
            let within = tuning.within(&base);
            let mut group = base.clone();
            within.apply(&mut group);
            assert!((1..=2).contains(&group.processes), "{number}: {group:?}");
            assert!((1..=5).contains(&group.threads), "{number}: {group:?}");
            assert!(
                (1..=300).contains(&group.scale.idle_timeout),
                "{number}: {group:?}"
            );
            assert!(
                (1..=60).contains(&group.life.request_timeout),
                "{number}: {group:?}"
            );
            assert_eq!(group.scale.min_processes, 0);
            assert_eq!(within.within(&base), within, "what is within stays");
        }
        let mut same = base.clone();
        Tuning::default().within(&base).apply(&mut same);
        assert_eq!(same, base);
    }

    #[test]
    fn tuning_survives_the_round_trip() {
        let tuning = Tuning {
            threads: Some(3),
            idle_timeout: Some(0),
            ..Tuning::default()
        };
        let mut bytes = Vec::new();
        tuning.put(&mut bytes);
        assert_eq!(Tuning::take(&mut Fields::new(&bytes)), Ok(tuning));
        assert!((0..bytes.len()).all(|cut| Tuning::take(&mut Fields::new(&bytes[..cut])).is_err()));
    }
}
