//! The order of the journey, and what becomes of it when a step fails or lies.

use rwsgi_os::fake::Fake;

use super::*;

fn entry() -> Entry {
    Entry {
        manager: 2,
        doors: 2,
        switch: true,
        uid: 1000,
        gid: 1001,
        groups: vec![1001, 44],
        server_uid: 33,
        user: b"ann".to_vec(),
        user_home: b"/home/ann".to_vec(),
        shell: b"/bin/sh".to_vec(),
        umask: 0o022,
        ..Entry::default()
    }
}

fn machine() -> Fake {
    let mut fake = Fake::default();
    for directory in ["/usr", "/usr/bin", "/proc", "/proc/self", "/proc/self/fd"] {
        fake.directory(directory);
    }
    fake.file("/usr/bin/python3", "");
    fake.file("/proc/self/fd/5", "");
    fake
}

/// The calls that change what the process is or may do.
const CHANGING: [&str; 17] = [
    "join_group",
    "join_group",
    "umask",
    "be_killed_first",
    "set_limit",
    "set_limit",
    "new_session",
    "drop_bounding_set",
    "set_groups",
    "set_group",
    "set_user",
    "drop_capabilities",
    "no_new_privileges",
    "die_with_parent",
    "change_directory",
    "close_from",
    "exec",
];

fn changes(fake: &Fake) -> Vec<&str> {
    fake.names()
        .into_iter()
        .filter(|n| CHANGING.contains(n))
        .collect()
}

// R21
#[test]
fn the_steps_are_made_in_their_order_and_the_python_runs_last() {
    let mut fake = machine();
    let mut events = Vec::new();
    travel(&mut fake, &entry(), |e| events.push(e.clone()));
    assert_eq!(changes(&fake), CHANGING);
    let begun: Vec<Step> = events
        .iter()
        .filter_map(|e| match e {
            Event::Began(step) => Some(*step),
            _ => None,
        })
        .collect();
    assert_eq!(begun, Step::ALL);
    assert_eq!(
        fake.calls.last().map(String::as_str),
        Some("exec(/usr/bin/python3)")
    );
    assert!(fake.calls.contains(&"set_groups([1001, 44])".to_owned()));
    assert!(fake.calls.contains(&"change_directory(/home/ann)".to_owned()));
}

// R28, C24
#[test]
fn the_python_is_looked_for_only_as_the_user() {
    let mut fake = machine();
    travel(&mut fake, &entry(), |_| {});
    let names = fake.names();
    let dropped = names.iter().position(|n| *n == "can_regain_root").unwrap();
    let looked = names.iter().position(|n| *n == "status_of").unwrap();
    assert!(dropped < looked);
}

#[test]
fn whichever_call_fails_nothing_after_it_is_tried_and_the_step_is_named() {
    let steps = [
        ("join_group", Step::Confinement, 500),
        ("be_killed_first", Step::Limits, 420),
        ("set_limit", Step::Limits, 420),
        ("new_session", Step::Session, 421),
        ("capabilities", Step::Capabilities, 467),
        ("drop_bounding_set", Step::Capabilities, 467),
        ("set_groups", Step::Groups, 422),
        ("set_group", Step::Group, 423),
        ("set_user", Step::User, 424),
        ("drop_capabilities", Step::Powers, 469),
        ("groups", Step::Verify, 425),
        ("no_new_privileges", Step::Privileges, 426),
        ("die_with_parent", Step::Parent, 427),
        ("change_directory", Step::Directory, 429),
        ("close_from", Step::Descriptors, 430),
        ("exec", Step::Exec, 431),
    ];
    // EPERM, EAGAIN, EINVAL, ENOMEM
    for errno in [1, 11, 22, 12] {
        for (call, step, code) in steps {
            let mut fake = machine();
            fake.fails = Some((call, errno));
            let mut last = None;
            let refusal = travel(&mut fake, &entry(), |e| last = Some(e.clone()));
            assert_eq!((refusal.step, refusal.code), (step, code), "{call}");
            assert_eq!(last, Some(Event::Failed(refusal.clone())));
            assert!(!refusal.text.is_empty());
            assert_eq!(
                fake.names().last(),
                Some(&call),
                "something was called after {call} failed"
            );
            if call != "groups" && call != "change_directory" {
                assert_eq!(refusal.passing, errno == 11 || errno == 12, "{call} {errno}");
            }
        }
    }
}

// R22
#[test]
fn a_call_that_lies_about_the_drop_is_found_out() {
    for lie in [
        "set_groups",
        "set_group",
        "set_user",
        "drop_capabilities",
        "can_regain_root",
        "can_take_group",
    ] {
        let mut fake = machine();
        fake.lies = Some(lie);
        let refusal = travel(&mut fake, &entry(), |_| {});
        assert_eq!((refusal.step, refusal.code), (Step::Verify, 425), "{lie}");
        assert!(!fake.names().contains(&"exec"), "{lie}");
    }
}

#[test]
fn a_bounding_set_that_cannot_be_dropped_matters_to_who_could_drop_it() {
    let mut fake = machine();
    fake.fails = Some(("drop_bounding_set", 1));
    fake.capabilities.effective = 0;
    travel(&mut fake, &entry(), |_| {});
    assert_eq!(fake.names().last(), Some(&"exec"));
    for (errno, effective) in [(1, u64::MAX), (22, u64::MAX), (22, 0)] {
        fake = machine();
        fake.fails = Some(("drop_bounding_set", errno));
        fake.capabilities.effective = effective;
        let refusal = travel(&mut fake, &entry(), |_| {});
        assert_eq!((refusal.step, refusal.code), (Step::Capabilities, 467), "{errno}");
    }
}

#[test]
fn limits_are_set_as_root_except_those_on_memory_which_are_set_last() {
    let mut fake = machine();
    let limited = Entry {
        bounds: rwsgi_wire::life::Bounds {
            cpu_time: 60,
            data: 1 << 28,
            address_space: 1 << 30,
            stack: 0,
            priority: -5,
        },
        chroot: b"/jail".to_vec(),
        shutdown_timeout: 5,
        ..entry()
    };
    fake.directory("/proc/self");
    travel(&mut fake, &limited, |_| {});
    let calls = &fake.calls;
    let at = |call: &str| {
        calls
            .iter()
            .position(|c| c == call)
            .unwrap_or_else(|| panic!("{call}: {calls:?}"))
    };
    let dropped = calls.iter().position(|c| c.starts_with("set_groups")).unwrap();
    assert!(at("set_priority(-5)") < dropped && at("set_limit(CpuTime 60)") < dropped);
    assert!(at("change_root(/jail)") < dropped);
    let last = calls.len() - 1;
    assert_eq!(at("set_limit(Data 268435456)"), last - 2);
    assert_eq!(at("set_limit(AddressSpace 1073741824)"), last - 1);
}

#[test]
fn a_root_directory_that_is_missing_or_has_no_proc_is_named() {
    let jailed = Entry {
        chroot: b"/jail".to_vec(),
        ..entry()
    };
    let mut fake = machine();
    fake.fails = Some(("change_root", 2));
    let refusal = travel(&mut fake, &jailed, |_| {});
    assert_eq!((refusal.step, refusal.code), (Step::Root, 465));
    let mut fake = machine();
    fake.files.remove(&b"/proc/self"[..]);
    let refusal = travel(&mut fake, &jailed, |_| {});
    assert_eq!((refusal.step, refusal.code), (Step::Descriptors, 466));
}

// C9
#[test]
fn root_is_never_a_worker() {
    for switch in [true, false] {
        let mut fake = machine();
        let root = Entry {
            uid: 0,
            switch,
            ..entry()
        };
        let refusal = travel(&mut fake, &root, |_| {});
        assert!([432, 425].contains(&refusal.code));
        assert!(!fake.names().contains(&"exec"));
    }
}

// R6
#[test]
fn without_root_nothing_is_switched_and_another_user_is_refused() {
    let mut fake = machine();
    let own = Entry {
        switch: false,
        ..entry()
    };
    let ids = |id| rwsgi_os::ids::Ids {
        real: id,
        effective: id,
        saved: id,
    };
    fake.user = ids(1000);
    travel(&mut fake, &own, |_| {});
    let names = fake.names();
    assert!(!names.contains(&"set_groups") && !names.contains(&"set_group") && !names.contains(&"set_user"));
    assert_eq!(names.last(), Some(&"exec"));

    let mut other = machine();
    other.user = ids(1001);
    assert_eq!(travel(&mut other, &own, |_| {}).code, 425);
}

#[test]
fn a_manager_that_ended_meanwhile_is_noticed() {
    let mut fake = machine();
    fake.parent = Pid(1);
    let refusal = travel(&mut fake, &entry(), |_| {});
    assert_eq!((refusal.step, refusal.passing), (Step::Parent, true));
}

#[test]
fn the_working_directory_is_the_option_or_the_home_of_a_user_who_is_not_httpds() {
    for (home, uid, expected) in [
        (&b"/srv/app"[..], 1000, "change_directory(/srv/app)"),
        (b"", 1000, "change_directory(/home/ann)"),
        (b"", 33, "change_directory(/)"),
    ] {
        let mut fake = machine();
        let entry = Entry {
            home: home.to_vec(),
            uid,
            ..entry()
        };
        travel(&mut fake, &entry, |_| {});
        assert!(fake.calls.contains(&expected.to_owned()), "{:?}", fake.calls);
    }
}

#[test]
fn a_gateway_closed_to_the_user_is_refused_before_the_python_runs() {
    let mut fake = machine();
    fake.forbidden = vec![b"/proc/self/fd/5".to_vec()];
    let refusal = travel(&mut fake, &entry(), |_| {});
    assert_eq!((refusal.step, refusal.code), (Step::Descriptors, 449));
}

/// An application of ann's that passes all checks.
fn application() -> (Fake, Entry) {
    let mut fake = machine();
    fake.directory("/home");
    for directory in ["/home/ann", "/home/ann/w"] {
        fake.directory(directory);
        fake.give(directory, 1000, 0o755);
    }
    fake.file("/home/ann/w/app.wsgi", "");
    fake.give("/home/ann/w/app.wsgi", 1000, 0o644);
    let place = Place {
        base: b"/home/ann/w".to_vec(),
        script: b"app.wsgi".to_vec(),
        user_log: b"logs/wsgi.log".to_vec(),
        ..Place::default()
    };
    let entry = Entry {
        place: Some(place),
        ..entry()
    };
    (fake, entry)
}

// C12 to C18, R28, R29
#[test]
fn c13_an_application_is_looked_at_only_as_the_user_and_entered_by_its_descriptor() {
    let (mut fake, entry) = application();
    travel(&mut fake, &entry, |_| {});
    let names = fake.names();
    let dropped = names.iter().position(|n| *n == "no_new_privileges").unwrap();
    let looked = names.iter().position(|n| *n == "root_directory").unwrap();
    assert!(dropped < looked);
    assert!(
        fake.calls.contains(&"enter(/home/ann/w)".to_owned()),
        "{:?}",
        fake.calls
    );
    assert!(!fake.names().contains(&"change_directory"));
    // The double's exec comes back, which is noted as every failure is.
    let names = fake.names();
    assert_eq!(names.iter().rev().nth(1), Some(&"exec"), "{names:?}");
}

#[test]
fn what_is_refused_as_the_user_is_noted_in_the_users_own_log() {
    let (mut fake, entry) = application();
    fake.give("/home/ann/w/app.wsgi", 1000, 0o666);
    let refusal = travel(&mut fake, &entry, |_| {});
    assert_eq!((refusal.step, refusal.code), (Step::Application, 491));
    let noted = fake.calls.last().unwrap();
    assert!(noted.starts_with("append(/home/ann/logs/wsgi.log: ["), "{noted}");
    assert!(noted.contains("RW0491: /home/ann/w/app.wsgi: "), "{noted}");
    // Before the change of user nothing is written there.
    let (mut fake, entry) = application();
    fake.fails = Some(("set_user", 1));
    travel(&mut fake, &entry, |_| {});
    assert!(!fake.names().contains(&"append"));
}

// R28: as the user or not at all.
#[test]
fn a_note_is_left_by_who_has_become_the_user_and_nothing_else_is_done() {
    let (mut fake, mut entry) = application();
    entry.note = b"a line\n".to_vec();
    leave_note(&mut fake, &entry).unwrap();
    assert_eq!(
        fake.calls.last().unwrap(),
        "append(/home/ann/logs/wsgi.log: a line\n)"
    );
    let names = fake.names();
    let place = |name: &str| names.iter().position(|n| *n == name);
    assert!(place("set_user") < place("can_regain_root") && place("can_regain_root") < place("append"));
    for name in ["component", "exec", "enter", "root_directory"] {
        assert_eq!(place(name), None, "{name}");
    }
    for call in [
        "set_groups",
        "set_group",
        "set_user",
        "drop_capabilities",
        "no_new_privileges",
    ] {
        let (mut fake, _) = application();
        fake.fails = Some((call, 1));
        assert!(leave_note(&mut fake, &entry).is_err(), "{call}");
        assert!(!fake.names().contains(&"append"), "{call}");
    }
}
