//! The limits that the kernel holds workers to.

use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Process, Topic, Value, test, until, with_root_directory};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        cpu_time_limit_replaces_a_worker,
        cpu_time_is_taken_from_a_request_that_does_not_end,
        memory_limit_is_a_memory_error,
        virtual_memory_limit_is_a_memory_error,
        f05_a_memory_error_replaces_a_worker_after_its_requests_and_only_with_a_limit,
        cpu_priority_is_the_nice_value,
        cpu_priority_may_be_negative_for_root,
        stack_size_is_that_of_request_threads,
        no_core_files_are_written,
        chroot_is_the_root_directory,
        a_script_outside_of_the_root_directory_is_refused,
        no_capability_can_be_had_in_a_worker,
    ]);
}

const SLOW: Duration = Duration::from_secs(25);

fn life(case: &Case, options: &str) -> Builder {
    case.httpd().daemon(options).app("life.wsgi")
}

fn limits(case: &Case, options: &str) -> Value {
    let httpd = life(case, options).start();
    let reply = httpd.get("/limits");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// R64
fn cpu_time_limit_replaces_a_worker(case: &Case) {
    let httpd = life(case, "threads=2 cpu-time-limit=1 shutdown-timeout=5").start();
    let limit = httpd.get("/limits").json()["RLIMIT_CPU"].clone();
    assert_eq!((limit[0].as_u64(), limit[1].as_u64()), (Some(1), Some(7)));
    let first = httpd.get("/pid").text();
    // The request under way is finished.
    assert_eq!(httpd.get("/compute?milliseconds=1500").text(), "done");
    until("another worker", SLOW, || {
        let reply = httpd.get("/pid");
        reply.status == 200 && reply.text() != first
    });
}

fn cpu_time_is_taken_from_a_request_that_does_not_end(case: &Case) {
    let httpd = life(
        case,
        "threads=2 cpu-time-limit=1 shutdown-timeout=1 graceful-timeout=60",
    )
    .start();
    let first: u32 = httpd.get("/pid").text().parse().expect("pid");
    let status = httpd.get("/compute?milliseconds=600000").status;
    // The kernel has killed it, for one of our limits.
    assert_eq!(status, if case.theirs() { 502 } else { 504 });
    assert!(Process::read(first).is_none_or(|p| p.state == 'Z'));
    if !case.theirs() {
        httpd.wait_log("more processor time than cpu-time-limit");
    }
    httpd.provoked(&[codes::DEATH, codes::FORCE]);
}

/// R64, F5
fn memory_limit_is_a_memory_error(case: &Case) {
    let httpd = life(case, "threads=2 memory-limit=400000000").start();
    assert_eq!(
        httpd.get("/limits").json()["RLIMIT_DATA"][0].as_u64(),
        Some(400_000_000)
    );
    assert_eq!(httpd.get("/allocate?mib=20").status, 200);
    let first = pid(&httpd);
    assert_eq!(httpd.get("/allocate?mib=600").status, 500);
    httpd.wait_log("MemoryError");
    if !case.theirs() {
        is_replaced(&httpd, first);
    }
    assert_eq!(httpd.get("/pid").status, 200);
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

/// Its requests under way are finished, those that come next wait for the next worker.
fn is_replaced(httpd: &Httpd, worker: u32) {
    assert_ne!(pid(httpd), worker);
    httpd.wait_log("its application has met memory-limit or virtual-memory-limit");
    until("the worker to end", SLOW, || {
        Process::read(worker).is_none_or(|p| p.state == 'Z')
    });
}

fn pid(httpd: &Httpd) -> u32 {
    httpd.get("/pid").text().parse().expect("pid")
}

/// F5
fn f05_a_memory_error_replaces_a_worker_after_its_requests_and_only_with_a_limit(case: &Case) {
    case.needs_ours("its process stays");
    let httpd = life(case, "threads=2 memory-limit=400000000").start();
    let first = pid(&httpd);
    // Another request is under way, and is finished.
    let mut other = httpd.raw_get("/wait");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    assert_eq!(httpd.get("/allocate?mib=600").status, 500);
    httpd.wait_log("MemoryError");
    httpd.wait_log("its application has met memory-limit");
    assert_ne!(pid(&httpd), first);
    std::fs::write(httpd.data().join("go"), "").expect("go");
    assert_eq!(other.reply().head.status, 200);
    is_replaced(&httpd, first);
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);

    let without = life(case, "threads=2").start();
    let first = pid(&without);
    assert_eq!(without.get("/allocate?mib=100000000").status, 500);
    without.wait_log("MemoryError");
    assert_eq!(pid(&without), first);
    without.announce_traceback();
    without.provoked(&[codes::APPLICATION]);
}

/// F5
fn virtual_memory_limit_is_a_memory_error(case: &Case) {
    // The original's processes have httpd's modules and threads in them as well.
    let httpd = life(case, "threads=2 virtual-memory-limit=2000000000").start();
    assert_eq!(
        httpd.get("/limits").json()["RLIMIT_AS"][0].as_u64(),
        Some(2_000_000_000)
    );
    let first = pid(&httpd);
    assert_eq!(httpd.get("/allocate?mib=3000").status, 500);
    httpd.wait_log("MemoryError");
    if !case.theirs() {
        is_replaced(&httpd, first);
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

fn cpu_priority_is_the_nice_value(case: &Case) {
    assert_eq!(limits(case, "threads=2 cpu-priority=7")["nice"].as_i64(), Some(7));
}

fn cpu_priority_may_be_negative_for_root(case: &Case) {
    case.needs_root();
    assert_eq!(
        limits(case, "threads=2 cpu-priority=-3")["nice"].as_i64(),
        Some(-3)
    );
}

fn stack_size_is_that_of_request_threads(case: &Case) {
    // An odd number of pages, which nothing else has.
    let size = 267 * 4096;
    let sizes = limits(case, &format!("threads=3 stack-size={size}"))["sizes"].clone();
    let alike = sizes.as_array().expect("sizes").iter().filter_map(Value::as_u64);
    let stacks = alike.filter(|found| found.abs_diff(size) <= 4096).count();
    assert!(stacks >= 3, "{sizes}");
}

fn no_core_files_are_written(case: &Case) {
    case.needs_ours("it has the limit of httpd");
    let limit = limits(case, "threads=2")["RLIMIT_CORE"].clone();
    assert_eq!((limit[0].as_u64(), limit[1].as_u64()), (Some(0), Some(0)));
}

/// An application below a root directory, and another one that is not.
fn jailed(case: &Case, root: &std::path::Path) -> rwsgi_testkit::Httpd {
    case.needs_root();
    let source = "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    \
        return [' '.join([environ['SCRIPT_FILENAME'], __file__, os.getcwd()] + sorted(os.listdir('/'))).encode()]\n";
    let script = root.join("srv/app.wsgi");
    std::fs::write(&script, source).expect("a script");
    let root = root.display();
    case.httpd()
        .daemon(&format!("threads=2 chroot={root} home=/srv"))
        .python_home(None)
        .script("hello.wsgi")
        .conf(&format!(
            "WSGIScriptAlias /in {root}/srv/app.wsgi\nWSGIScriptAlias /out @SCRIPTS@/hello.wsgi\n\
             <Directory {root}/srv>\nRequire all granted\n</Directory>"
        ))
        .start()
}

/// R27
fn chroot_is_the_root_directory(case: &Case) {
    case.needs_root();
    with_root_directory(|root| {
        let httpd = jailed(case, root);
        let reply = httpd.get("/in");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let text = reply.text();
        assert!(text.starts_with("/srv/app.wsgi /srv/app.wsgi /srv "), "{text}");
        assert!(text.contains(" srv ") && !text.contains(" home "), "{text}");
    });
}

fn a_script_outside_of_the_root_directory_is_refused(case: &Case) {
    case.needs_root();
    with_root_directory(|root| {
        let httpd = jailed(case, root);
        // The original's daemon drops the connection.
        assert_eq!(httpd.get("/out").status, if case.theirs() { 502 } else { 500 });
        httpd.wait_log(case.said("RW0110", "WSGI0081"));
        httpd.announce("WSGI0");
    });
}

/// R24, C23
fn no_capability_can_be_had_in_a_worker(case: &Case) {
    case.needs_root();
    case.needs_ours("it leaves the bounding set as it is");
    let httpd = life(case, "threads=2").start();
    assert_eq!(httpd.get("/pid").status, 200);
    for worker in httpd.workers() {
        let bounding = worker.status("CapBnd").expect("CapBnd");
        assert!(bounding.trim().bytes().all(|digit| digit == b'0'), "{bounding}");
    }
}
