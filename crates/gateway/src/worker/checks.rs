//! What a worker verifies about itself before it loads anything of the site. The manager has seen to all of it and looked already; this
//! is what its Python really runs as, whatever has led to it (C26).

use std::fs;

use rwsgi_wire::identity::Identity;
use rwsgi_wire::response::Level;

use super::control::Control;
use crate::codes;

/// The exit status of a worker that is not who it should be.
const REFUSED: i32 = 78;

/// Ends this process if it is not who was ordered, or has a power: no fall-back.
pub fn leave_unless_as_ordered(control: &Control, ordered: &Identity) {
    let found = match fs::read_to_string("/proc/self/status") {
        Ok(status) => deviations(&status, ordered),
        Err(error) => vec![format!("who it is cannot be read (/proc/self/status: {error})")],
    };
    if found.is_empty() {
        return;
    }
    let text = format!(
        "{}: the worker is not what it should be, and ends before it runs anything of the application: {}",
        codes::NOT_AS_ORDERED,
        found.join("; ")
    );
    control.say(Level::Crit, &text);
    rwsgi_os::process::exit_now(REFUSED);
}

/// What the kernel says of the process (`/proc/self/status`) and was ordered otherwise. All ids of users and groups count, those for files
/// included. The bounding set does not: a manager without CAP_SETPCAP cannot change it, and no_new_privs makes it meaningless.
fn deviations(status: &str, ordered: &Identity) -> Vec<String> {
    let mut found = Vec::new();
    let mut expect = |name: &str, wanted: &str, is_so: &dyn Fn(&str) -> bool| {
        let value = field(status, name).unwrap_or("unknown");
        if !is_so(value) {
            found.push(format!("{name} is {value} instead of {wanted}"));
        }
    };
    let all_are = |value: &str, id: u32| {
        let ids = numbers(value);
        !ids.is_empty() && ids.iter().all(|other| *other == id)
    };
    expect("Uid", &ordered.uid.to_string(), &|value| {
        all_are(value, ordered.uid)
    });
    if let Some(groups) = &ordered.groups {
        let mut wanted = groups.others.clone();
        wanted.sort_unstable();
        wanted.dedup();
        expect("Gid", &groups.gid.to_string(), &|value| {
            all_are(value, groups.gid)
        });
        expect("Groups", &format!("{wanted:?}"), &|value| {
            let mut ids = numbers(value);
            ids.sort_unstable();
            ids.dedup();
            ids == wanted
        });
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        expect(set, "none", &|value| u64::from_str_radix(value, 16) == Ok(0));
    }
    expect("NoNewPrivs", "1", &|value| value == "1");
    found
}

/// What cannot be read is no id of anybody.
fn numbers(list: &str) -> Vec<u32> {
    let words = list.split_ascii_whitespace();
    words.map(|word| word.parse().unwrap_or(u32::MAX)).collect()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim())
}

#[cfg(test)]
mod tests {
    use rwsgi_wire::identity::{Groups, Identity};

    use super::{deviations, field};

    const STATUS: &str = "Name:\tpython\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t4 1000 \n\
        CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n\
        CapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";

    fn ordered() -> Identity {
        let (gid, others) = (1000, vec![1000, 4]);
        Identity {
            uid: 1000,
            groups: Some(Groups { gid, others }),
        }
    }

    // C26
    #[test]
    fn a_field_of_the_status_is_found_by_its_whole_name() {
        let status = "Name:\tpython\nNoNewPrivs:\t1\n";
        assert_eq!(field(status, "NoNewPrivs"), Some("1"));
        assert_eq!(field(status, "NoNew"), None);
    }

    // C26
    #[test]
    fn whatever_is_otherwise_than_ordered_is_found() {
        assert_eq!(deviations(STATUS, &ordered()), Vec::<String>::new());
        for (from, to) in [
            ("Uid:\t1000\t1000\t1000\t1000", "Uid:\t1000\t1000\t1000\t0"),
            ("Uid:\t1000\t1000\t1000\t1000", "Uid:"),
            ("Gid:\t1000\t1000\t1000\t1000", "Gid:\t1000\t1000\t0\t1000"),
            ("Groups:\t4 1000", "Groups:\t4 27 1000"),
            ("Groups:\t4 1000", "Groups:\t1000"),
            ("CapInh:\t0000000000000000", "CapInh:\t0000000000000400"),
            ("CapPrm:\t0000000000000000", "CapPrm:\t000001ffffffffff"),
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000000001"),
            ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000080"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("NoNewPrivs:\t1\n", ""),
        ] {
            assert!(STATUS.contains(from), "{from}");
            let found = deviations(&STATUS.replace(from, to), &ordered());
            assert_eq!(found.len(), 1, "{to}: {found:?}");
        }
    }

    // C26: who is not root can change no group, and orders none.
    #[test]
    fn groups_that_were_not_ordered_may_be_any() {
        let ordered = Identity {
            groups: None,
            ..ordered()
        };
        let status = STATUS.replace("Groups:\t4 1000", "Groups:\t4 27 1000");
        assert_eq!(deviations(&status, &ordered), Vec::<String>::new());
    }
}
