//! What is done to applications. The manager begins at once; here it is waited until the workers that there were have gone, or stay because something failed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use rwsgi_wire::admin::{PoolState, Query, WorkerReport, WorkerState};
use rwsgi_wire::text::escape;

use crate::arguments::Order;
use crate::failure::Failure;
use crate::link::Link;
use crate::shown::{Application, Done, Known, SCHEMA, is_named, manager};

/// Between two looks at what has become of an order.
const LOOK: Duration = Duration::from_millis(100);

/// Replaces workers.
pub(crate) fn restart(link: &Link, order: &Order) -> Result<Done, Failure> {
    let last = link.incidents()?.last().map_or(0, |incident| incident.number);
    let (pools, before) = give(link, order, |pool| Query::Restart { pool })?;
    let is_old = |worker: &WorkerReport| before.iter().any(|old| old.id == worker.id);
    wait(order, || {
        let failed = link.incidents()?.into_iter().find(|incident| {
            // That an old one does not end in time is no failure of the new ones.
            let is_of_old = before.iter().any(|old| old.pid == incident.pid);
            incident.number > last && !is_of_old && is_named(&incident.group, order.group.as_bytes())
        });
        if let Some(incident) = failed {
            let text = escape(&incident.text);
            return Err(Failure::NotDone(format!("RW{:04}: {text}", incident.code)));
        }
        let known = Known::of(link)?;
        // Those that leave finish what they have: others take what comes.
        let takes = |worker: &WorkerReport| worker.state == WorkerState::Ready;
        let gone = !known.workers.iter().any(|worker| is_old(worker) && takes(worker));
        let mut its = known.pools.iter().filter(|pool| pools.contains(&pool.id));
        let calm = its.all(|pool| matches!(pool.state, PoolState::Serving | PoolState::Idle));
        Ok((gone && calm)
            .then(|| known.applications(|pool, _| pool.is_some_and(|id| pools.contains(&id)), false)))
    })
    .map(|applications| done(link, "restart", applications))
}

/// Ends workers.
pub(crate) fn stop(link: &Link, order: &Order) -> Result<Done, Failure> {
    let known = Known::of(link)?;
    let (pools, before) = give(link, order, |pool| Query::Stop { pool })?;
    wait(order, || {
        let is_old = |worker: &WorkerReport| before.iter().any(|old| old.id == worker.id);
        let runs = link.workers()?.iter().any(is_old);
        // As they were, but for the workers: the pools are gone.
        Ok((!runs).then(|| {
            let mut applications =
                known.applications(|pool, _| pool.is_some_and(|id| pools.contains(&id)), false);
            for application in &mut applications {
                application.has_stopped();
            }
            applications
        }))
    })
    .map(|applications| done(link, "stop", applications))
}

/// Gives the order for each pool that it is for; answers those, and the workers of theirs that took requests.
fn give(
    link: &Link,
    order: &Order,
    query: fn(u64) -> Query,
) -> Result<(Vec<u64>, Vec<WorkerReport>), Failure> {
    let known = Known::of(link)?;
    let (group, user) = (order.group.as_bytes(), order.user.as_deref().map(OsStr::as_bytes));
    let wanted = known.pools.iter().filter(|pool| {
        is_named(&pool.group, group)
            && user.is_none_or(|user| is_named(&pool.user, user))
            && pool.state != PoolState::Ending
    });
    let wanted: Vec<u64> = wanted.map(|pool| pool.id).collect();
    if wanted.is_empty() && !known.has_group(group) {
        return Err(Failure::NotFound(format!(
            "there is no process group {}, or nobody has asked for an application of it",
            escape(group)
        )));
    }
    let mut pools = Vec::new();
    for pool in wanted {
        if link.order(&query(pool))? {
            pools.push(pool);
        }
    }
    let served = |worker: &&WorkerReport| worker.state == WorkerState::Ready && !worker.is_template;
    let workers = known.workers.iter().filter(served);
    let workers = workers.filter(|worker| pools.contains(&worker.pool));
    let workers = workers.cloned().collect();
    Ok((pools, workers))
}

fn wait<T>(order: &Order, look: impl Fn() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    let until = Instant::now() + Duration::from_secs(order.wait.into());
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= until {
            return Err(Failure::NotDone(format!(
                "process group {}: begun, but not done within {} s; `rwsgictl show` says how far it is",
                escape(order.group.as_bytes()),
                order.wait
            )));
        }
        std::thread::sleep(LOOK);
    }
}

fn done(link: &Link, order: &'static str, applications: Vec<Application>) -> Done {
    Done {
        schema: SCHEMA,
        manager: manager(link),
        order,
        applications,
    }
}
