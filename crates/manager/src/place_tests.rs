//! Every check on the way to a script, each with what it must refuse and what it must not.

use rwsgi_os::fake::Fake;

use super::*;

const ANN: u32 = 1000;
const BOB: u32 = 1001;

fn place() -> Place {
    Place {
        base: b"/home/ann/w".to_vec(),
        directory: b"blog/app".to_vec(),
        script: b"app.wsgi".to_vec(),
        ..Place::default()
    }
}

fn machine() -> Fake {
    let mut fake = Fake::default();
    fake.directory("/home");
    for directory in [
        "/home/ann",
        "/home/ann/w",
        "/home/ann/w/blog",
        "/home/ann/w/blog/app",
    ] {
        fake.directory(directory);
        fake.give(directory, ANN, 0o755);
    }
    fake.file(SCRIPT, "");
    fake.give(SCRIPT, ANN, 0o644);
    fake
}

const SCRIPT: &str = "/home/ann/w/blog/app/app.wsgi";

fn checked(fake: &mut Fake, place: &Place) -> Result<Vec<u8>, u16> {
    let owner = Owner {
        uid: ANN,
        name: "ann",
        home: b"/home/ann",
    };
    check(fake, place, owner).map_err(|stop| {
        assert!(!stop.passing && !stop.text.is_empty());
        stop.code.number
    })
}

fn with(change: impl Fn(&mut Fake)) -> Result<Vec<u8>, u16> {
    let mut fake = machine();
    change(&mut fake);
    checked(&mut fake, &place())
}

#[test]
fn an_application_that_is_the_users_own_is_found() {
    assert_eq!(with(|_| {}).unwrap(), b"/home/ann/w/blog/app");
    let at_the_base = Place {
        directory: Vec::new(),
        ..place()
    };
    let mut fake = machine();
    fake.file("/home/ann/w/app.wsgi", "");
    fake.give("/home/ann/w/app.wsgi", ANN, 0o600);
    assert_eq!(checked(&mut fake, &at_the_base).unwrap(), b"/home/ann/w");
}

// C22
#[test]
fn c22_the_home_directory_exists_and_is_the_users() {
    assert_eq!(with(|f| f.give("/home/ann", BOB, 0o755)), Err(487));
    assert_eq!(with(|f| drop(f.files.remove(&b"/home/ann"[..]))), Err(487));
    assert_eq!(with(|f| f.file("/home/ann", "")), Err(487));
}

// C13
#[test]
fn c13_nobody_else_can_exchange_a_directory_on_the_way() {
    assert_eq!(with(|f| f.give("/home", BOB, 0o755)), Err(488));
    assert_eq!(with(|f| f.give("/home", 0, 0o775)), Err(488));
    assert_eq!(
        with(|f| f.give("/home", 0, 0o1777)),
        Ok(b"/home/ann/w/blog/app".to_vec())
    );
    assert_eq!(with(|f| f.give("/home", BOB, 0o1777)), Err(488));
    for below in ["/home/ann/w", "/home/ann/w/blog", "/home/ann/w/blog/app"] {
        for mode in [0o775, 0o757, 0o1777] {
            assert_eq!(with(|f| f.give(below, ANN, mode)), Err(488), "{below} {mode:o}");
        }
        assert_eq!(with(|f| f.give(below, BOB, 0o755)), Err(488), "{below}");
    }
}

// C12, R30
#[test]
fn c12_below_the_base_no_link_is_followed_and_above_it_only_roots() {
    let linked = |path: &str, uid| {
        let mut fake = machine();
        fake.link(path, "/elsewhere");
        fake.owners.insert(path.into(), uid);
        fake.directory("/elsewhere");
        for directory in [
            "/elsewhere/ann",
            "/elsewhere/ann/w",
            "/elsewhere/ann/w/blog",
            "/elsewhere/ann/w/blog/app",
        ] {
            fake.directory(directory);
            fake.give(directory, ANN, 0o755);
        }
        fake.file("/elsewhere/ann/w/blog/app/app.wsgi", "");
        fake.give("/elsewhere/ann/w/blog/app/app.wsgi", ANN, 0o644);
        checked(&mut fake, &place())
    };
    assert_eq!(linked("/home", 0), Ok(b"/elsewhere/ann/w/blog/app".to_vec()));
    assert_eq!(linked("/home", BOB), Err(489));
    assert_eq!(linked("/home/ann/w/blog", 0), Err(489));
    assert_eq!(linked("/home/ann/w/blog/app", ANN), Err(489));
    assert_eq!(with(|f| f.link("/home", "/home")), Err(489), "a circle ends");
    assert_eq!(with(|f| drop(f.files.remove(&b"/home/ann/w/blog"[..]))), Err(489));
    assert_eq!(with(|f| f.forbidden = vec![b"/home/ann/w".to_vec()]), Err(489));
    assert_eq!(with(|f| f.file("/home/ann/w/blog", "")), Err(489));
}

// C14
#[test]
fn c14_the_script_is_a_regular_file_and_no_link() {
    assert_eq!(with(|f| drop(f.files.remove(SCRIPT.as_bytes()))), Err(490));
    assert_eq!(with(|f| f.link(SCRIPT, "/etc/passwd")), Err(490));
    assert_eq!(with(|f| f.directory(SCRIPT)), Err(490));
}

// C15
#[test]
fn c15_a_script_has_a_size() {
    let with_bytes = |count: u64| {
        with(|f| {
            f.file(SCRIPT, &" ".repeat(usize::try_from(count).unwrap()));
            f.give(SCRIPT, ANN, 0o600);
        })
    };
    assert!(with_bytes(SCRIPT_MAX).is_ok());
    assert_eq!(with_bytes(SCRIPT_MAX + 1), Err(535));
}

// C15, C16
#[test]
fn c15_c16_the_script_is_not_writable_for_others_and_not_set_id() {
    for mode in [0o664, 0o646, 0o666] {
        assert_eq!(with(|f| f.give(SCRIPT, ANN, mode)), Err(491), "{mode:o}");
    }
    for mode in [0o4755, 0o2755, 0o6644] {
        assert_eq!(with(|f| f.give(SCRIPT, ANN, mode)), Err(492), "{mode:o}");
    }
}

// C17, R15
#[test]
fn c17_what_runs_as_a_user_belongs_to_that_user_or_where_allowed_to_root() {
    assert_eq!(with(|f| f.give(SCRIPT, BOB, 0o644)), Err(493));
    assert_eq!(with(|f| f.give(SCRIPT, 0, 0o644)), Err(493));
    assert_eq!(with(|f| f.give("/home/ann/w", 0, 0o755)), Err(493));
    assert_eq!(with(|f| f.give("/home/ann/w/blog/app", 0, 0o755)), Err(493));
    let allowed = Place {
        root_owned: true,
        ..place()
    };
    let mut fake = machine();
    for path in ["/home/ann/w", "/home/ann/w/blog", "/home/ann/w/blog/app", SCRIPT] {
        fake.owners.insert(path.into(), 0);
    }
    assert!(checked(&mut fake, &allowed).is_ok());
    fake.owners.insert(SCRIPT.into(), BOB);
    assert_eq!(checked(&mut fake, &allowed), Err(493));
}

// C18
#[test]
fn c18_the_script_need_not_be_executable_but_readable() {
    assert!(with(|f| f.give(SCRIPT, ANN, 0o400)).is_ok());
    assert_eq!(with(|f| f.forbidden = vec![SCRIPT.as_bytes().to_vec()]), Err(494));
}

#[test]
fn a_place_survives_the_round_trip() {
    let place = Place {
        root_owned: true,
        python_versions: vec![b"/opt/v".to_vec()],
        user_log: b"logs/w".to_vec(),
        ..place()
    };
    let mut bytes = Vec::new();
    place.put(&mut bytes);
    assert_eq!(Place::take(&mut Fields::new(&bytes)), Ok(place));
}
