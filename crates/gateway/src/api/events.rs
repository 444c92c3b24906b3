//! What happens to a request, told to the callbacks of its interpreter. Nothing is built, and nothing is timed, until somebody has
//! asked for it in this process: until then a request costs one look at [`IN_USE`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rwsgi_wire::head::Head;

use crate::cpython::{Attached, Exception, Object, PyResult, Stored, measure_waits};
use crate::wsgi::request::{Request, Used};
use crate::wsgi::serve::{Circumstances, seconds};

/// Somebody has asked for `event_callbacks` or `active_requests`, in whichever interpreter.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// From now on requests look whether somebody wants to know of them.
pub fn start_use() {
    IN_USE.store(true, Ordering::Relaxed);
    measure_waits();
}

/// The callbacks of one interpreter.
pub struct Events {
    /// The namespace of the module `mod_wsgi`, in which everything is looked up anew: applications may change it.
    names: Stored,
    event_callbacks: Stored,
    active_requests: Stored,
    data: Stored,
}

/// The values of an event.
pub struct Values<'py> {
    py: Attached<'py>,
    dict: Object<'py>,
}

impl<'py> Values<'py> {
    /// None yet.
    pub fn new(py: Attached<'py>) -> PyResult<'py, Self> {
        Ok(Self { py, dict: py.dict()? })
    }

    /// One more.
    pub fn set(&self, name: &str, value: PyResult<'py, Object<'py>>) -> PyResult<'py, ()> {
        self.dict.set(&self.py.text(name)?, &value?)
    }

    /// Numbers of seconds.
    pub fn set_times(&self, times: &[(&str, f64)]) -> PyResult<'py, ()> {
        times
            .iter()
            .try_for_each(|(name, time)| self.set(name, self.py.float(*time)))
    }

    /// Whole numbers.
    pub fn set_numbers(&self, numbers: &[(&str, i64)]) -> PyResult<'py, ()> {
        numbers
            .iter()
            .try_for_each(|(name, number)| self.set(name, self.py.int(*number)))
    }

    /// The token.
    pub fn py(&self) -> Attached<'py> {
        self.py
    }

    /// The dictionary.
    pub fn dict(&self) -> &Object<'py> {
        &self.dict
    }
}

impl Events {
    /// For the interpreter of the module `mod_wsgi`.
    pub fn new<'py>(py: Attached<'py>, module: &Object<'py>) -> PyResult<'py, Self> {
        Ok(Self {
            names: module.attribute(c"__dict__")?.store(),
            event_callbacks: py.interned(c"event_callbacks")?.store(),
            active_requests: py.interned(c"active_requests")?.store(),
            data: module.attribute(c"_data")?.store(),
        })
    }

    /// Whether there is a callback for events of requests.
    pub fn are_wanted(&self, py: Attached<'_>) -> bool {
        if !IN_USE.load(Ordering::Relaxed) {
            return false;
        }
        let names = self.names.get(py);
        let callbacks = self.event_callbacks.with(py, |key| names.lookup(key));
        matches!(callbacks, Ok(Some(list)) if !list.is_empty())
    }

    /// A request begins: it is among `active_requests` if anybody has looked at those.
    pub fn begin<'py>(&self, py: Attached<'py>, request: &Request) {
        if !IN_USE.load(Ordering::Relaxed) {
            return;
        }
        let names = self.names.get(py);
        let is_asked_for = self.active_requests.with(py, |key| names.lookup(key));
        if matches!(is_asked_for, Ok(Some(_))) {
            // Fails only for want of memory, which the request will notice soon enough.
            let _ = self.data(py, request);
        }
    }

    /// The data of a request.
    fn data<'py>(&self, py: Attached<'py>, request: &Request) -> PyResult<'py, Object<'py>> {
        let all = self.data.get(py);
        let id = py.latin1(request.about.id.bytes())?;
        request.has_data.store(true, Ordering::Relaxed);
        if let Some(data) = all.lookup(&id)? {
            return Ok(data);
        }
        let data = py.dict()?;
        all.set(&id, &data)?;
        Ok(data)
    }

    /// A request has ended: its data go.
    pub fn end(&self, py: Attached<'_>, request: &Request) {
        if !request.has_data.load(Ordering::Relaxed) {
            return;
        }
        let removed = py
            .latin1(request.about.id.bytes())
            .and_then(|id| self.data.get(py).call_method(c"pop", &[&id, &py.none()]));
        // `None` stands for an entry that the application has removed itself.
        drop(removed);
    }

    /// Calls the callbacks; a callback that raises is logged and passed over. An exception is `RequestTimeout`.
    pub fn publish<'py>(&self, py: Attached<'py>, event: &str, values: &Values<'py>) -> PyResult<'py, ()> {
        let publish = self.names.get(py).lookup(&py.text("_publish")?)?;
        match publish {
            Some(publish) => publish.call(&[&py.text(event)?, values.dict()]).map(drop),
            None => Ok(()),
        }
    }

    /// The values that each event of a request has.
    pub fn values<'py>(&self, py: Attached<'py>, request: &Request) -> PyResult<'py, Values<'py>> {
        let values = Values::new(py)?;
        values.set("request_id", py.latin1(request.about.id.bytes()))?;
        values.set("request_data", self.data(py, request))?;
        Ok(values)
    }

    /// `response_started`: what the application gave to `start_response`, unchecked.
    pub fn response_started<'py>(
        &self,
        py: Attached<'py>,
        request: &Request,
        [status, headers, exc_info]: [&Object<'py>; 3],
    ) -> PyResult<'py, ()> {
        let values = self.values(py, request)?;
        values.set("response_status", Ok(status.clone()))?;
        values.set("response_headers", Ok(headers.clone()))?;
        values.set("exception_info", Ok(exc_info.clone()))?;
        self.publish(py, "response_started", &values)
    }

    /// `request_exception`: what the application raised.
    pub fn request_exception<'py>(
        &self,
        py: Attached<'py>,
        request: &Request,
        exception: &Exception<'py>,
    ) -> PyResult<'py, ()> {
        let values = self.values(py, request)?;
        let value = exception.value();
        let info = py.tuple(&[
            &value.attribute(c"__class__")?,
            value,
            &value.attribute(c"__traceback__")?,
        ]);
        values.set("exception_info", info)?;
        self.publish(py, "request_exception", &values)
    }
}

/// The times of a request that its head and its carrier tell.
fn set_starts<'py>(values: &Values<'py>, head: &Head<'_>, circumstances: Circumstances) -> PyResult<'py, ()> {
    values.set_times(&[
        ("request_start", seconds(head.request_start)),
        ("queue_start", seconds(head.queue_start)),
        ("daemon_start", seconds(circumstances.daemon_start)),
    ])?;
    let pid = head.variable(b"mod_wsgi.server_pid");
    let pid = pid.and_then(|pid| std::str::from_utf8(pid).ok()?.parse().ok());
    let pid = pid.unwrap_or(0);
    values.set_numbers(&[("thread_id", circumstances.thread_id), ("server_pid", pid)])
}

/// The events at the two ends of a request.
pub struct Watch<'a> {
    /// Its interpreter's callbacks.
    pub events: &'a Events,
    /// The request.
    pub request: &'a Arc<Request>,
    /// Its head.
    pub head: &'a Head<'a>,
    /// What the carrier knows.
    pub circumstances: Circumstances,
    /// When the application was called, microseconds since 1970.
    pub application_start: i64,
}

impl Watch<'_> {
    /// `request_started`; answers what is to be called, which a callback may have replaced.
    pub fn started<'py>(
        &self,
        py: Attached<'py>,
        application: Object<'py>,
        environ: &Object<'py>,
    ) -> PyResult<'py, Object<'py>> {
        let values = self.events.values(py, self.request)?;
        set_starts(&values, self.head, self.circumstances)?;
        values.set_times(&[("application_start", seconds(self.application_start))])?;
        values.set_numbers(&[
            ("daemon_connects", self.head.connects.into()),
            ("daemon_restarts", self.head.restarts.into()),
        ])?;
        values.set("application_object", Ok(application.clone()))?;
        values.set("callable_object", py.latin1(self.head.callable))?;
        values.set("request_environ", Ok(environ.clone()))?;
        self.events.publish(py, "request_started", &values)?;
        let chosen = values.dict().lookup(&py.text("application_object")?)?;
        Ok(chosen.unwrap_or(application))
    }

    /// `request_finished`.
    pub fn finished<'py>(&self, py: Attached<'py>, status: u16, used: &Used, now: i64) -> PyResult<'py, ()> {
        let values = self.events.values(py, self.request)?;
        set_starts(&values, self.head, self.circumstances)?;
        let application = Duration::from_micros(u64::try_from(now - self.application_start).unwrap_or(0));
        values.set_times(&[
            ("application_finish", seconds(now)),
            ("application_time", application.as_secs_f64()),
            ("input_time", used.input.time.as_secs_f64()),
            ("output_time", used.output.time.as_secs_f64()),
            ("gil_wait_time", used.waits.time.as_secs_f64()),
            ("cpu_user_time", used.cpu.user.as_secs_f64()),
            ("cpu_system_time", used.cpu.system.as_secs_f64()),
            ("cpu_time", (used.cpu.user + used.cpu.system).as_secs_f64()),
        ])?;
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        values.set_numbers(&[
            ("input_reads", number(used.input.times)),
            ("input_length", number(used.input.bytes)),
            ("output_writes", number(used.output.times)),
            ("output_length", number(used.output.bytes)),
            ("gil_wait_count", number(used.waits.times)),
            ("status", status.into()),
        ])?;
        self.events.publish(py, "request_finished", &values)
    }
}

/// `process_stopping`, in the interpreter that the thread is attached to. Never fails: what is raised is logged.
pub fn process_stopping(py: Attached<'_>, reason: &str) {
    tell(py, |module| {
        module.call_method(c"_stopping", &[&py.text(reason)?])
    });
}

/// `process_signal`, as above.
pub fn process_signal(py: Attached<'_>, name: &str, number: i32) {
    tell(py, |module| {
        module.call_method(c"_signal", &[&py.text(name)?, &py.int(number.into())?])
    });
}

fn tell<'py>(py: Attached<'py>, call: impl FnOnce(&Object<'py>) -> PyResult<'py, Object<'py>>) {
    // What callbacks raise is logged in Python; this fails only if the application has put something else in the module's place.
    let _ = py.import(c"mod_wsgi").and_then(|module| call(&module));
}
