//! Whether one more request may be under way: the limits of a process group on the requests of an application and of a user, and that of
//! embedded mode on those of an application.

use std::os::fd::IntoRawFd;
use std::time::{SystemTime, UNIX_EPOCH};

use once_cell::sync::OnceCell;
use rwsgi_os::{OsError, fd};
use rwsgi_wire::code::Code;

use crate::backend::caps::{Caps, Change, Limited, Most, Place, Shape, Who};
use crate::backend::pools::PoolName;
use crate::codes;
use crate::config::{Group, Site};
use crate::directives::cap::Cap;
use crate::httpd::{Counting, Level, Mpm, Request, Server};
use crate::log::log;

/// What this child counts in, and how many requests httpd serves at once.
static CAPS: OnceCell<(Caps, u32)> = OnceCell::new();

/// Makes the memory for children to count in, once for the life of httpd, when it is needed first.
pub fn prepare(main: Server<'_>, site: &Site) -> Result<(), OsError> {
    if !site.is_capped() || main.with_counting(|counting| counting.fd) >= 0 {
        return Ok(());
    }
    let limits = Mpm::limits();
    let shape = Shape::of(limits.children, limits.threads);
    let file = shape.make()?;
    main.with_counting(|counting| {
        *counting = Counting {
            fd: file.into_raw_fd(),
            rows: shape.rows,
            places: shape.places,
        };
    });
    Ok(())
}

/// Joins those who count.
pub fn join(main: Server<'_>, site: &Site) {
    let Counting { fd, rows, places } = main.with_counting(|counting| *counting);
    if !site.is_capped() || fd < 0 {
        return;
    }
    let joined = fd::duplicate_number(fd).and_then(|file| Caps::join(file, Shape { rows, places }));
    let why = match joined {
        Ok(Some(caps)) => {
            let mpm = Mpm::query();
            let _ = CAPS.set((caps, mpm.threads.saturating_mul(mpm.children)));
            return;
        }
        Ok(None) => format!("there are {rows} of them already"),
        Err(why) => why.to_string(),
    };
    log!(
        main,
        Level::Error,
        codes::NOT_COUNTED,
        "this httpd child cannot count requests together with the others: {why}; request-limit and user-request-limit do not hold in it"
    );
}

/// Who asks for a place, and how many may have one.
struct Asking<'a> {
    pool: &'a PoolName,
    user: &'a [u8],
    of_application: Cap,
    of_user: Cap,
    /// What sets the limit of the application.
    option: &'static str,
    /// What the requests that count do, and the code of the message that there are too many.
    what: (&'static str, Code),
}

/// They have a worker, or wait for one.
const UNDER_WAY: (&str, Code) = ("under way", codes::REQUEST_LIMIT);
/// They wait for a file system.
const LOOKING: (&str, Code) = (
    "that wait for the user's directory",
    crate::backend::codes::LOOKS_LIMIT,
);

/// Lets a request in, or says in how many seconds it may come again. Without limits there is no place to keep.
pub fn admit(request: &Request<'_>, group: &Group, pool: &PoolName) -> Result<Option<Place<'static>>, u32> {
    let asking = Asking {
        pool,
        user: user_of(group, pool),
        of_application: group.request_limit,
        of_user: group.user_request_limit,
        option: "request-limit",
        what: UNDER_WAY,
    };
    enter(request, &asking)
}

/// As [`admit`], for an application in embedded mode.
pub fn admit_embedded(
    request: &Request<'_>,
    limit: Cap,
    application_group: &str,
) -> Result<Option<Place<'static>>, u32> {
    let asking = Asking {
        pool: &PoolName::of_group(b"", application_group.as_bytes()),
        // No user has this name.
        user: b"%{GLOBAL}",
        of_application: limit,
        of_user: Cap::None,
        option: "WSGIEmbeddedRequestLimit",
        what: UNDER_WAY,
    };
    enter(request, &asking)
}

/// As [`admit`], for as long as it is looked what a path below the directory of a user is. That takes no time, unless the user's file system hangs:
/// then a thread of httpd sleeps there for each request, and no signal wakes it.
pub fn admit_look(request: &Request<'_>, group: &Group, user: &[u8]) -> Result<Option<Place<'static>>, u32> {
    // Apart from those that are under way, since what is in `public/` is served beside them. No user has a name with a slash.
    let looking = [b"/", user].concat();
    let asking = Asking {
        pool: &PoolName::of_group(b"", &looking),
        user: &looking,
        of_application: Cap::None,
        of_user: group.user_request_limit,
        option: "request-limit",
        what: LOOKING,
    };
    enter(request, &asking)
}

fn enter(request: &Request<'_>, asking: &Asking<'_>) -> Result<Option<Place<'static>>, u32> {
    if asking.of_application == Cap::None && asking.of_user == Cap::None {
        return Ok(None);
    }
    let Some((caps, all)) = CAPS.get() else {
        return Ok(None);
    };
    let most = Most {
        application: asking.of_application.of(*all),
        user: asking.of_user.of(*all),
    };
    let entry = caps.enter(Who::new(asking.pool, asking.user), most);
    for change in &entry.changes {
        say(request, asking, most, change);
    }
    match entry.place {
        Some(place) => Ok(Some(place)),
        None => Err(retry_after()),
    }
}

/// Whose application it is.
fn user_of<'n>(group: &'n Group, pool: &'n PoolName) -> &'n [u8] {
    pool.below
        .as_ref()
        .map_or(&group.settings.user, |below| &below.user)
}

fn say(request: &Request<'_>, asking: &Asking<'_>, most: Most, change: &Change) {
    let whose = |of: &Limited| match of {
        Limited::Application => format!(
            "the application group '{}' {}",
            String::from_utf8_lossy(&asking.pool.application_group).escape_debug(),
            match String::from_utf8_lossy(&asking.pool.group) {
                group if group.is_empty() => "in embedded mode".into(),
                group => format!("of the process group '{}'", group.escape_debug()),
            }
        ),
        Limited::User => {
            let user = String::from_utf8_lossy(asking.user);
            format!("the user '{}'", user.trim_start_matches('/'))
        }
    };
    match change {
        Change::Reached(of) => {
            let (option, most) = match of {
                Limited::Application => (asking.option, most.application),
                Limited::User => ("user-request-limit", most.user),
            };
            let (what, code) = asking.what;
            log!(
                request,
                Level::Warning,
                code,
                "{} has {} requests {what}, as many as {option} allows; others are answered 503 until some of them have ended",
                whose(of),
                most.unwrap_or_default()
            );
        }
        Change::Over { of, refused, seconds } => log!(
            request,
            Level::Notice,
            "{} is below its limit on requests again; {refused} were answered 503 within {seconds} s",
            whose(of)
        ),
    }
}

/// 1 to 5 seconds, so that those who were refused together do not come back together.
fn retry_after() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    1 + now.subsec_micros() % 5
}
