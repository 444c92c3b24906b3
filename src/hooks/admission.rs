//! Whether one more request may be under way: the limits of a process group on the requests of an application and of a user.

use std::os::fd::IntoRawFd;
use std::time::{SystemTime, UNIX_EPOCH};

use once_cell::sync::OnceCell;
use rwsgi_os::{OsError, fd};

use crate::backend::caps::{Caps, Change, Limited, Most, Place, Shape, Who};
use crate::backend::pools::PoolName;
use crate::codes;
use crate::config::{Group, Site};
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

/// Lets a request in, or says in how many seconds it may come again. Without limits there is no place to keep.
pub fn admit(request: &Request<'_>, group: &Group, pool: &PoolName) -> Result<Option<Place<'static>>, u32> {
    if !group.is_capped() {
        return Ok(None);
    }
    let Some((caps, all)) = CAPS.get() else {
        return Ok(None);
    };
    let most = Most {
        application: group.request_limit.of(*all),
        user: group.user_request_limit.of(*all),
    };
    let entry = caps.enter(Who::new(pool, user_of(group, pool)), most);
    for change in &entry.changes {
        say(request, group, pool, most, change);
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

fn say(request: &Request<'_>, group: &Group, pool: &PoolName, most: Most, change: &Change) {
    let whose = |of: &Limited| match of {
        Limited::Application => format!(
            "the application group '{}' of the process group '{}'",
            String::from_utf8_lossy(&pool.application_group).escape_debug(),
            String::from_utf8_lossy(&pool.group).escape_debug()
        ),
        Limited::User => format!("the user '{}'", String::from_utf8_lossy(user_of(group, pool))),
    };
    match change {
        Change::Reached(of) => {
            let (option, most) = match of {
                Limited::Application => ("request-limit", most.application),
                Limited::User => ("user-request-limit", most.user),
            };
            log!(
                request,
                Level::Warning,
                codes::REQUEST_LIMIT,
                "{} has {} requests under way, as many as {option} allows; others are answered 503 until some of them have ended",
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
