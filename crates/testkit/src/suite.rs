//! Registration, running and the summary: what ran, what was skipped and why.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::case::{Case, Mode, Skip, UnderTest};
use crate::namespace;
use crate::outcomes::{self, Outcome, Outcomes};

/// No single test may take longer, unless it says so ([`Case::may_take`]): a hang must name itself instead of stalling everything.
const LONGEST: Duration = Duration::from_secs(180);

thread_local! {
    /// What the fixtures of the running test want printed before its failure (log slices, process lists).
    static EVIDENCE: RefCell<String> = const { RefCell::new(String::new()) };
    /// Where and why this thread last panicked.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Adds to what is printed first if the running test fails.
pub(crate) fn evidence(text: &str) {
    EVIDENCE.with_borrow_mut(|all| {
        all.push_str(text);
        all.push('\n');
    });
}

/// What was said so far on this thread, to be said again on another; ends with where and why the thread panicked.
pub(crate) fn take_evidence() -> String {
    format!(
        "{}{}",
        EVIDENCE.with_borrow_mut(std::mem::take),
        PANIC.with_borrow(String::clone)
    )
}

/// A test function with its name; made by [`crate::test!`].
#[derive(Clone, Copy)]
pub struct Test {
    name: &'static str,
    run: fn(&Case),
}

impl Test {
    /// A test called `name`.
    pub const fn new(name: &'static str, run: fn(&Case)) -> Test {
        Test { name, run }
    }
}

#[derive(Default)]
struct Record {
    skipped: BTreeMap<String, Vec<String>>,
    passed: usize,
    not_yet: BTreeMap<String, &'static str>,
    again: Vec<String>,
    running: BTreeMap<String, (Instant, Arc<AtomicU64>)>,
    outcomes: Outcomes,
}

/// All tests of this run.
pub struct Suite {
    under_test: UnderTest,
    trials: Vec<Trial>,
    record: Arc<Mutex<Record>>,
}

/// The tests of one file.
pub struct Topic<'s> {
    suite: &'s mut Suite,
    name: &'static str,
}

impl Suite {
    /// Call this first thing in `main`: it may move the process into a private mount namespace, which has to happen while
    /// there is only one thread.
    pub fn prepare() -> Suite {
        namespace::make_places_reachable();
        std::panic::set_hook(Box::new(|info| {
            let place = info
                .location()
                .map(|l| format!("{}:{}", l.file(), l.line()))
                .unwrap_or_default();
            let what = text_of(info.payload());
            PANIC.with_borrow_mut(|text| *text = format!("{place}: {what}"));
        }));
        Suite {
            under_test: UnderTest::chosen(),
            trials: Vec::new(),
            record: Arc::default(),
        }
    }

    /// Registers the tests of a file.
    pub fn topic(&mut self, name: &'static str, register: impl FnOnce(&mut Topic)) {
        register(&mut Topic { suite: self, name });
    }

    /// Runs what the command line selects; fails also when nothing ran at all.
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        if arguments.test_threads.is_none() {
            arguments.test_threads = Some(3);
        }
        let listing = arguments.list;
        let record = Arc::clone(&self.record);
        watch(Arc::clone(&record));
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        let record = record.lock().expect("record");
        if listing {
            return ExitCode::SUCCESS;
        }
        outcomes::keep(self.under_test, &record.outcomes);
        for (why, names) in &record.skipped {
            println!("skipped {:3} tests: {why}", names.len());
            if names.len() <= 4 {
                println!("                  {}", names.join(", "));
            }
        }
        for name in &record.again {
            println!("the original failed once, and passed when asked again: {name}");
        }
        for (name, why) in &record.not_yet {
            println!("not built yet: {name}: {why}");
        }
        let skipped: usize = record.skipped.values().map(Vec::len).sum();
        println!(
            "{:?}: {} passed, {} failed, {skipped} skipped",
            self.under_test, record.passed, conclusion.num_failed
        );
        if conclusion.num_failed > 0 {
            return ExitCode::from(101);
        }
        if record.passed == 0 {
            println!("no test ran: that is a failure");
            return ExitCode::from(102);
        }
        ExitCode::SUCCESS
    }

    fn add(&mut self, name: String, mode: Mode, run: fn(&Case)) {
        let record = Arc::clone(&self.record);
        let case = self.case(&name, mode);
        self.trials
            .push(Trial::test(name, move || judge(&case, run, &record)));
    }

    fn add_not_yet(&mut self, name: String, mode: Mode, why: &'static str, run: fn(&Case)) {
        let record = Arc::clone(&self.record);
        let case = self.case(&name, mode);
        self.trials.push(Trial::test(name, move || {
            if case.theirs() {
                return Ok(());
            }
            let passed = run_one(&case, run, &record).is_ok();
            let mut record = record.lock().expect("record");
            if record.skipped.values().flatten().any(|name| *name == case.name) {
                return Ok(());
            }
            if passed {
                return Err(Failed::from("passes now: register it like the others"));
            }
            record.not_yet.insert(case.name.clone(), why);
            Ok(())
        }));
    }

    fn case(&self, name: &str, mode: Mode) -> Case {
        Case {
            name: name.to_owned(),
            mode,
            under_test: self.under_test,
            seconds: Arc::new(AtomicU64::new(LONGEST.as_secs())),
        }
    }
}

impl Topic<'_> {
    /// For daemon mode and for embedded mode.
    pub fn both(&mut self, tests: &[Test]) {
        self.daemon(tests);
        self.embedded(tests);
    }

    /// For daemon mode only.
    pub fn daemon(&mut self, tests: &[Test]) {
        for test in tests {
            self.suite.add(
                format!("{}::{}[daemon]", self.name, test.name),
                Mode::Daemon,
                test.run,
            );
        }
    }

    /// For embedded mode only.
    pub fn embedded(&mut self, tests: &[Test]) {
        for test in tests {
            self.suite.add(
                format!("{}::{}[embedded]", self.name, test.name),
                Mode::Embedded,
                test.run,
            );
        }
    }

    /// In daemon mode, and not built yet: the test must fail, and says so in the summary; when it passes, that is a failure.
    pub fn not_yet(&mut self, why: &'static str, tests: &[Test]) {
        for test in tests {
            let name = format!("{}::{}[daemon]", self.name, test.name);
            self.suite.add_not_yet(name, Mode::Daemon, why, test.run);
        }
    }

    /// Where the mode makes no difference.
    pub fn once(&mut self, tests: &[Test]) {
        for test in tests {
            self.suite
                .add(format!("{}::{}", self.name, test.name), Mode::Daemon, test.run);
        }
    }
}

/// Runs the test, and on the original once more when it fails: it has races that are not ours to mend. Ours has one chance.
fn judge(case: &Case, run: fn(&Case), record: &Mutex<Record>) -> Result<(), Failed> {
    let first = run_one(case, run, record);
    if first.is_ok() || !case.theirs() {
        return first;
    }
    run_one(case, run, record)?;
    let mut record = record.lock().expect("record");
    record.again.push(case.name.clone());
    Ok(())
}

fn run_one(case: &Case, run: fn(&Case), record: &Mutex<Record>) -> Result<(), Failed> {
    record
        .lock()
        .expect("record")
        .running
        .insert(case.name.clone(), (Instant::now(), Arc::clone(&case.seconds)));
    EVIDENCE.with_borrow_mut(String::clear);
    let outcome = catch_unwind(AssertUnwindSafe(|| run(case)));
    let mut record = record.lock().expect("record");
    record.running.remove(&case.name);
    let mut became = |outcome| record.outcomes.insert(case.name.clone(), outcome);
    match outcome {
        Ok(()) => {
            became(Outcome::Passed);
            record.passed += 1;
            Ok(())
        }
        Err(payload) => match payload.downcast_ref::<Skip>() {
            Some(Skip(why)) => {
                became(Outcome::Skipped(why.clone()));
                record
                    .skipped
                    .entry(why.clone())
                    .or_default()
                    .push(case.name.clone());
                Ok(())
            }
            None => {
                became(Outcome::Failed);
                let evidence = EVIDENCE.with_borrow(String::clone);
                Err(Failed::from(format!(
                    "{evidence}{}",
                    PANIC.with_borrow(String::clone)
                )))
            }
        },
    }
}

/// Ends the whole run when a test hangs; its httpd ends with us (parent-death signal).
fn watch(record: Arc<Mutex<Record>>) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let record = record.lock().expect("record");
            for (name, (since, seconds)) in &record.running {
                let limit = Duration::from_secs(seconds.load(Ordering::Relaxed));
                if since.elapsed() > limit {
                    eprintln!("{name} hangs (more than {limit:?}); giving up");
                    std::process::exit(103);
                }
            }
        }
    });
}

fn text_of(payload: &dyn Any) -> String {
    if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else {
        String::new()
    }
}
