//! Each system call on the way from root to a user fails or lies in its turn, in the real program: no instruction of the user is ever executed, and the
//! step is named. Root only.

// The tests of supervision use the rest of it.
#[allow(dead_code)]
mod double;
#[path = "double/entering.rs"]
mod entering;

use std::path::{Path, PathBuf};

use double::Httpd;
use entering::travel_by;
use rwsgi_manager::entry::Entry;
use rwsgi_manager::journey::{Event, Step};
use rwsgi_os::ids;
use rwsgi_os::process::End;
use rwsgi_wire::control::ToHttpd;
use rwsgi_wire::life::Bounds;
use rwsgi_wire::response::AbortReason;

const UID: u32 = 65534;
const MANAGER: &str = env!("CARGO_BIN_EXE_rwsgi-manager");

/// A call: its number, and where it matters the index and the value of an argument.
type Call = (libc::c_long, Option<(u32, u32)>);

fn spec(call: Call, errno: i32) -> String {
    match call {
        (number, None) => format!("{number}:{errno}"),
        (number, Some((index, value))) => format!("{number}:{errno}:{index}:{value}"),
    }
}

fn is_root() -> bool {
    let root = ids::user_ids().effective == 0;
    if !root {
        eprintln!("needs root");
    }
    root
}

struct Place(PathBuf);

impl Place {
    /// A directory with a Python that says that it ran, and as whom.
    fn new(name: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let place = std::env::temp_dir().join(format!("rwsgi-faults-{name}-{}", std::process::id()));
        let program = place.join("py/bin/python3");
        std::fs::create_dir_all(place.join("py/bin")).unwrap();
        std::fs::write(&program, "#!/bin/sh\necho ran\nexec cat /proc/self/status\n").unwrap();
        for path in [&place, &program] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(place)
    }

    fn entry(&self) -> Entry {
        Entry {
            manager: std::process::id(),
            switch: true,
            uid: UID,
            gid: UID,
            groups: vec![UID, 61234],
            server_uid: 33,
            user: b"somebody".to_vec(),
            user_home: b"/".to_vec(),
            python_home: self.0.join("py").to_str().unwrap().into(),
            umask: 0o022,
            descriptors: (256, 256),
            bounds: Bounds {
                cpu_time: 1000,
                data: 1 << 32,
                priority: 1,
                ..Bounds::default()
            },
            ..Entry::default()
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes the journey with this fault. Answers how it ended, what it told, and what the Python wrote.
fn travel(entry: &Entry, fault: &str) -> (End, Vec<Event>, String) {
    let injector = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/double/inject.py");
    let arguments = [
        "env",
        "python3",
        "-IS",
        injector.to_str().unwrap(),
        fault,
        MANAGER,
        "rwsgi-manager",
        "enter",
    ];
    let environment = [b"PATH=/usr/bin:/bin:/usr/local/bin".to_vec()];
    travel_by("/usr/bin/env", &arguments, &environment, entry)
}

fn refused(entry: &Entry, fault: &str, what: &str, step: Step, code: u16) {
    let (end, events, said) = travel(entry, fault);
    assert_eq!(said, "", "{what}: the user's program ran");
    assert_eq!(end, End::Exit(78), "{what}: {events:?}");
    match events.last() {
        Some(Event::Failed(refusal)) => {
            assert_eq!((refusal.step, refusal.code), (step, code), "{what}: {refusal:?}")
        }
        other => panic!("{what}: {other:?}"),
    }
}

/// R21, C11, R23, F30
#[test]
fn r21_whichever_system_call_fails_no_instruction_of_the_user_is_executed() {
    if !is_root() {
        return;
    }
    let place = Place::new("fails");
    let entry = place.entry();
    let limit = |resource: libc::__rlimit_resource_t| (libc::SYS_prlimit64, Some((1, resource)));
    let option = |option: libc::c_int| (libc::SYS_prctl, Some((0, option.unsigned_abs())));
    let calls: [(&str, Call, Step, u16); 19] = [
        ("setrlimit CORE", limit(libc::RLIMIT_CORE), Step::Limits, 420),
        ("setrlimit NOFILE", limit(libc::RLIMIT_NOFILE), Step::Limits, 420),
        ("setrlimit CPU", limit(libc::RLIMIT_CPU), Step::Limits, 420),
        ("setpriority", (libc::SYS_setpriority, None), Step::Limits, 420),
        ("setsid", (libc::SYS_setsid, None), Step::Session, 421),
        ("capget", (libc::SYS_capget, None), Step::Capabilities, 467),
        (
            "PR_CAPBSET_DROP",
            option(libc::PR_CAPBSET_DROP),
            Step::Capabilities,
            467,
        ),
        ("setgroups", (libc::SYS_setgroups, None), Step::Groups, 422),
        ("setresgid", (libc::SYS_setresgid, None), Step::Group, 423),
        ("setresuid", (libc::SYS_setresuid, None), Step::User, 424),
        ("capset", (libc::SYS_capset, None), Step::Powers, 469),
        ("getresuid", (libc::SYS_getresuid, None), Step::Verify, 425),
        ("getresgid", (libc::SYS_getresgid, None), Step::Verify, 425),
        ("getgroups", (libc::SYS_getgroups, None), Step::Verify, 425),
        (
            "PR_SET_NO_NEW_PRIVS",
            option(libc::PR_SET_NO_NEW_PRIVS),
            Step::Privileges,
            426,
        ),
        (
            "PR_SET_PDEATHSIG",
            option(libc::PR_SET_PDEATHSIG),
            Step::Parent,
            427,
        ),
        ("chdir", (libc::SYS_chdir, None), Step::Directory, 429),
        (
            "close_range",
            (libc::SYS_close_range, None),
            Step::Descriptors,
            430,
        ),
        ("execve", (libc::SYS_execve, None), Step::Exec, 431),
    ];
    for errno in [libc::EPERM, libc::EAGAIN, libc::EINVAL, libc::ENOMEM] {
        for (name, call, step, code) in calls {
            refused(
                &entry,
                &spec(call, errno),
                &format!("{name}, {errno}"),
                step,
                code,
            );
        }
    }
    let jailed = Entry {
        chroot: b"/".to_vec(),
        ..entry.clone()
    };
    refused(
        &jailed,
        &spec((libc::SYS_chroot, None), libc::EPERM),
        "chroot",
        Step::Root,
        465,
    );
    let memory = spec(limit(libc::RLIMIT_DATA), libc::EPERM);
    refused(&entry, &memory, "setrlimit DATA", Step::Exec, 468);
}

/// R22, C11, C26
#[test]
fn r22_a_system_call_that_lies_is_found_out() {
    if !is_root() {
        return;
    }
    let place = Place::new("lies");
    let entry = place.entry();
    for (name, number) in [
        ("setgroups", libc::SYS_setgroups),
        ("setresgid", libc::SYS_setresgid),
        ("setresuid", libc::SYS_setresuid),
        // The way back is tried, and seems to be open.
        ("setuid", libc::SYS_setuid),
        ("setgid", libc::SYS_setgid),
    ] {
        refused(&entry, &spec((number, None), 0), name, Step::Verify, 425);
    }
    let option = |option: libc::c_int| spec((libc::SYS_prctl, Some((0, option.unsigned_abs()))), 0);
    let (bounding, privileges) = (option(libc::PR_CAPBSET_DROP), option(libc::PR_SET_NO_NEW_PRIVS));
    refused(&entry, &bounding, "PR_CAPBSET_DROP", Step::Capabilities, 467);
    let close = spec((libc::SYS_close_range, None), 0);
    refused(&entry, &close, "close_range", Step::Descriptors, 536);
    refused(&entry, &privileges, "PR_SET_NO_NEW_PRIVS", Step::Privileges, 426);
}

/// R21, R24: without a fault it arrives, as exactly who it should be.
#[test]
fn r21_without_a_fault_the_user_has_the_listed_groups_and_no_capability() {
    if !is_root() {
        return;
    }
    let place = Place::new("none");
    let (end, events, said) = travel(&place.entry(), &spec((libc::SYS_swapon, None), 1));
    assert_eq!(end, End::Exit(0), "{events:?}");
    assert_eq!(events.last(), Some(&Event::Began(Step::Exec)));
    let field = |name: &str| -> Vec<&str> {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {said}"))
            .split_whitespace()
            .collect()
    };
    assert!(said.starts_with("ran\n"));
    assert_eq!(field("Uid:"), ["65534"; 4]);
    assert_eq!(field("Gid:"), ["65534"; 4]);
    assert_eq!(field("Groups:"), ["61234", "65534"]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    assert_eq!(field("SigBlk:"), ["0000000000000000"]);
}

/// R21, R23, F30, F45: what a request is told, and the log.
#[test]
fn r23_a_user_at_its_process_limit_is_a_pause_and_not_a_storm_of_starts() {
    use std::os::unix::fs::PermissionsExt;
    if !is_root() {
        return;
    }
    let place = Place::new("limit");
    let injector = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/double/inject.py");
    let wrapper = place.0.join("manager");
    let fault = spec((libc::SYS_setresuid, None), libc::EAGAIN);
    let text = format!(
        "#!/bin/sh\nPATH=/usr/bin:/bin:/usr/local/bin exec python3 -IS {} {fault} {MANAGER} rwsgi-manager\n",
        injector.display()
    );
    std::fs::write(&wrapper, text).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut httpd = Httpd::start_by("limit", wrapper.to_str().unwrap());
    let home = place.0.join("py");
    let group = httpd.group("site", home.to_str().unwrap());
    assert_eq!(httpd.configure(&[group]), ToHttpd::Ready);
    let path = httpd.pool("site");
    for _ in 0..50 {
        let (reason, retry_after, text) = httpd.abort_from(&path);
        assert_eq!(reason, AbortReason::BackOff, "{text}");
        assert!(
            retry_after >= 1 && text.contains("process limit"),
            "{retry_after} {text}"
        );
    }
    let starts = httpd.log().matches(" starts for ").count();
    assert!(starts <= 3, "{starts} starts for 50 requests");
    httpd.logged("RW0424", 1);
    assert!(!httpd.log().contains("] ran"), "{}", httpd.log());
}
