//! What the program that stays root reads, and what it writes of others' words: the keeper's records, the settings and the report of an entering
//! process, accounts, what users say of their Python, lines of workers. The first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rwsgi_manager::account::Found;
use rwsgi_manager::audit::{Audit, Record as Event};
use rwsgi_manager::entry::Entry;
use rwsgi_manager::interpreters;
use rwsgi_manager::kept::{FromKeeper, ToKeeper};
use rwsgi_manager::lines::Lines;
use rwsgi_manager::place::{Owner, Place};
use rwsgi_manager::report::{self, Reader};
use rwsgi_os::fake::Fake;
use rwsgi_os::fd;
use rwsgi_wire::flow::LINE_MAX;

// The manager keeps what a record is to itself.
#[path = "../crates/manager/src/records.rs"]
#[allow(dead_code)]
mod records;

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else {
        return;
    };
    match which % 8 {
        0 => again(bytes, records::Record::decode, records::Record::encode),
        1 => again(bytes, Entry::decode, Entry::encode),
        2 => again(bytes, Found::decode, Found::encode),
        3 => again(bytes, ToKeeper::decode, ToKeeper::encode),
        4 => again(bytes, FromKeeper::decode, FromKeeper::encode),
        5 => steps(bytes),
        6 => python(bytes),
        _ => lines(bytes),
    }
});

/// What is accepted is what would be written for it, or says the same.
fn again<T: PartialEq + std::fmt::Debug, E>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = decode(bytes) {
        let second = decode(&encode(&value)).ok();
        assert_eq!(second.as_ref(), Some(&value));
    }
}

fn steps(bytes: &[u8]) {
    let (mut reader, mut events) = (Reader::default(), Vec::new());
    for part in bytes.chunks(7) {
        reader.push(part);
        while let Ok(Some(event)) = reader.next() {
            events.push(event);
        }
    }
    let mut reader = Reader::default();
    for event in events {
        reader.push(&report::encode(&event));
        assert!(reader.next().is_ok_and(|event| event.is_some()));
    }
}

/// `.python-version`, and behind a byte 0 `pyvenv.cfg` of a virtual environment: which Python runs is one of the administrator's or of the user's.
fn python(bytes: &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == 0);
    let version = String::from_utf8_lossy(halves.next().unwrap_or_default()).into_owned();
    let mut fake = Fake::default();
    for directory in ["/home", "/home/ann", "/home/ann/w", "/opt", "/opt/v", "/usr", "/usr/bin"] {
        fake.directory(directory);
    }
    fake.file("/usr/bin/python3", "");
    fake.file("/etc/evil/bin/python3", "");
    let mut prefix = |path: &str, config: Option<&[u8]>| {
        fake.directory(path);
        fake.directory(&format!("{path}/bin"));
        fake.file(&format!("{path}/bin/python3"), "");
        if let Some(config) = config {
            fake.file(&format!("{path}/pyvenv.cfg"), &String::from_utf8_lossy(config));
        }
    };
    prefix("/opt/v/3.12.7", None);
    prefix("/opt/v/3.9", None);
    if let Some(config) = halves.next() {
        prefix("/home/ann/w/.venv", Some(config));
    }
    fake.file("/home/ann/w/.python-version", &version);
    let place = Place {
        base: b"/home/ann/w".to_vec(),
        python_versions: vec![b"/opt/v".to_vec()],
        ..Place::default()
    };
    let owner = Owner {
        uid: 1000,
        name: "ann",
        home: b"/home/ann",
    };
    match interpreters::choose(&mut fake, &place, &b"/home/ann/w".to_vec(), owner, b"") {
        Ok(program) => {
            let program = String::from_utf8_lossy(&program).into_owned();
            let is_known = |place: &&str| program.starts_with(*place);
            assert!(["/usr/bin/", "/opt/v/3", "/home/ann/w/.venv/bin/"].iter().any(|p| is_known(p)), "{program}");
            assert!(!program.contains(".."), "{program}");
        }
        Err(stop) => assert!(!stop.text.contains('\n') && !stop.text.contains('\x1b'), "{:?}", stop.text),
    }
}

/// R74: whatever a worker writes is lines of the error log, and text in the audit log.
fn lines(bytes: &[u8]) {
    let is_plain = |c: char| !c.is_control() || c == '\t';
    let mut reader = Lines::default();
    let mut all = Vec::new();
    for part in bytes.chunks(100) {
        reader.push(part, |line| all.push(line.to_owned()));
    }
    reader.flush(|line| all.push(line.to_owned()));
    for line in all {
        assert!(line.len() <= 4 * LINE_MAX && line.chars().all(is_plain), "{line:?}");
    }
    let file = fd::memory_file("audit").expect("a memory file");
    let copy = file.try_clone().expect("a descriptor");
    Audit::new(file).record(&Event::new("message").text("text", bytes).number("code", 7));
    let line = fd::read_all(&copy, 1 << 20).expect("a line");
    let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
    assert!(value["text"].as_str().is_some_and(|text| text.chars().all(is_plain)));
    assert_eq!((&value["event"], &value["code"]), (&"message".into(), &7.into()));
}
