//! What administrators order: that workers are replaced, and that they end.

use std::time::Instant;

use rwsgi_wire::admin::Report;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::Level;

use crate::audit::Record;
use crate::supervise::Manager;
use crate::workers::Worker;

impl Manager {
    /// Other workers take the place of a pool's, which stay until then. A pool that waits after failures tries at once.
    pub(crate) fn order_restart(&mut self, id: u64) -> Report {
        if let Some(report) = self.cannot_order(id) {
            return report;
        }
        self.note_order(id, "restart");
        let Some(pool) = self.pools.get_mut(&id) else {
            return Report::Gone;
        };
        let now = Instant::now();
        if pool.back_off.waiting(now).is_some() {
            pool.back_off.ends(now);
        }
        pool.refused = None;
        let (is_service, serving) = (pool.entrance.is_none(), self.serving_of(id));
        // Two of a service are one too many, so its end comes first; and who has loaded nothing is as good as the one that comes after.
        if is_service || !serving.is_empty() && !self.renew_all(id) {
            for worker in serving {
                self.drain(worker, LeaveReason::ShutdownSignal);
            }
        }
        self.tend(id, false);
        Report::Begun
    }

    /// A pool ends as one whose settings have changed; who asks for it again gets another one.
    pub(crate) fn order_stop(&mut self, id: u64) -> Report {
        if let Some(report) = self.cannot_order(id) {
            return report;
        }
        if self.is_service(id) {
            let why = "no request would start it again: a service ends with its process group, so take it from the configuration";
            return Report::Declined(why.into());
        }
        self.note_order(id, "stop");
        self.retire(id);
        Report::Begun
    }

    fn cannot_order(&self, id: u64) -> Option<Report> {
        let pool = self.pools.get(&id).filter(|pool| pool.is_current());
        match pool {
            None => Some(Report::Gone),
            Some(_) if self.ending => Some(Report::Declined(b"httpd is stopping".to_vec())),
            Some(_) => None,
        }
    }

    fn serving_of(&self, id: u64) -> Vec<u64> {
        let workers = self.pools.get(&id).into_iter().flat_map(|pool| &pool.workers);
        let serving = workers.filter(|id| self.workers.get(id).is_some_and(Worker::serves));
        serving.copied().collect()
    }

    fn note_order(&self, id: u64, order: &'static str) {
        let Some(pool) = self.pools.get(&id) else {
            return;
        };
        pool.target.note(Level::Notice, || {
            format!("root has ordered with rwsgictl: {order} {}", pool.title())
        });
        pool.target.logs.record(|| {
            Record::new("order")
                .text("order", order.as_bytes())
                .text("group", &pool.settings.group.name)
                .text("application_group", &pool.application_group)
        });
    }
}
