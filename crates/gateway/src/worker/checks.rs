//! What a worker verifies about itself before it loads anything of the site. The manager has seen to all of it; a deviation is a
//! defect, and is said.

use std::fs;

use rwsgi_wire::control::Start;
use rwsgi_wire::response::Level;

use super::control::Control;
use crate::codes;

/// Highest descriptor that the manager hands over.
const LAST_DESCRIPTOR: u32 = 5;
/// `O_CLOEXEC` in the octal flags of `/proc/self/fdinfo`.
const CLOSE_ON_EXEC: u32 = 0o2_000_000;

/// Descriptors that were inherited beyond those agreed on. Python's own are close-on-exec, so they could not be inherited.
pub fn surplus_descriptors() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers
        .filter(|number| *number > LAST_DESCRIPTOR && is_inheritable(*number))
        .collect()
}

fn is_inheritable(number: u32) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
}

/// Says what is not as it should be.
pub fn report(control: &Control, start: &Start, surplus: &[u32]) {
    if !surplus.is_empty() {
        let text = format!(
            "{}: the worker inherited descriptors {surplus:?}",
            codes::DESCRIPTORS_INHERITED
        );
        control.say(Level::Warn, &text);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let own = rwsgi_os::ids::user_ids().effective;
    if own == 0 {
        control.say(
            Level::Warn,
            &format!("{}: the worker runs as root", codes::RUNS_AS_ROOT),
        );
    } else if own != start.server_uid && field(&status, "NoNewPrivs") == Some("0") {
        let text = format!(
            "{}: no_new_privs is not set in the worker",
            codes::PRIVILEGES_POSSIBLE
        );
        control.say(Level::Warn, &text);
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim())
}

#[cfg(test)]
mod tests {
    use super::field;

    // C26
    #[test]
    fn a_field_of_the_status_is_found_by_its_whole_name() {
        let status = "Name:\tpython\nNoNewPrivs:\t1\n";
        assert_eq!(field(status, "NoNewPrivs"), Some("1"));
        assert_eq!(field(status, "NoNew"), None);
    }
}
