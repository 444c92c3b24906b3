//! What holds for the workers of a process group, as options of `WSGIDaemonProcess`: defaults filled in, and for an application of a user what the
//! base and the user have said.

use std::collections::BTreeMap;

use rwsgi_wire::control::Group;
use rwsgi_wire::text::escape;
use serde_json::{Value, json};

/// By name. A time is in seconds, memory in bytes; 0 is "no limit" where the option says so.
pub type Options = BTreeMap<&'static str, Value>;

/// All that the manager knows. What httpd's children see to (`queue-timeout`, `request-limit`, …) it does not.
pub fn of(group: &Group) -> Options {
    let mut options = Options::new();
    options.extend(identity(group));
    options.extend(life(group));
    options.extend(limits(group));
    options
}

fn identity(group: &Group) -> [(&'static str, Value); 15] {
    let python_path = group.python.interpreters.base.path.iter();
    let python_path: Vec<String> = python_path.map(|path| escape(path)).collect();
    [
        ("user", text(&group.user)),
        ("group", json!(group.gid)),
        ("supplementary-groups", json!(group.groups)),
        ("processes", json!(group.processes)),
        ("min-processes", json!(group.scale.min_processes)),
        ("threads", json!(group.threads)),
        ("preload", json!(if group.template { "On" } else { "Off" })),
        ("python-home", text(&group.python_home)),
        ("python-path", json!(python_path)),
        ("home", text(&group.home)),
        ("chroot", text(&group.chroot)),
        ("umask", json!(format!("{:04o}", group.umask.unwrap_or(0o022)))),
        ("lang", text(&group.lang)),
        ("locale", text(&group.locale)),
        ("display-name", text(&group.display_name)),
    ]
}

fn life(group: &Group) -> [(&'static str, Value); 11] {
    let life = &group.life;
    [
        ("idle-timeout", json!(group.scale.idle_timeout)),
        ("maximum-requests", json!(life.maximum_requests)),
        ("restart-interval", json!(life.restart_interval)),
        ("inactivity-timeout", json!(life.inactivity_timeout)),
        ("startup-timeout", json!(life.startup_timeout)),
        ("deadlock-timeout", json!(life.deadlock_timeout)),
        ("request-timeout", json!(life.request_timeout)),
        ("interrupt-timeout", json!(life.interrupt_timeout)),
        ("graceful-timeout", json!(life.graceful_timeout)),
        ("eviction-timeout", json!(life.eviction_timeout)),
        ("shutdown-timeout", json!(life.shutdown_timeout)),
    ]
}

fn limits(group: &Group) -> [(&'static str, Value); 13] {
    let (bounds, application, user) = (&group.bounds, &group.quotas.application, &group.quotas.user);
    [
        ("cpu-time-limit", json!(bounds.cpu_time)),
        ("memory-limit", json!(bounds.data)),
        ("virtual-memory-limit", json!(bounds.address_space)),
        ("stack-size", json!(bounds.stack)),
        ("cpu-priority", json!(bounds.priority)),
        ("application-memory-limit", json!(application.memory)),
        ("application-processes-limit", json!(application.processes)),
        ("application-cpu-limit", json!(application.cpu)),
        ("user-memory-limit", json!(user.memory)),
        ("user-processes-limit", json!(user.processes)),
        ("user-cpu-limit", json!(user.cpu)),
        ("listen-backlog", json!(group.listen_backlog)),
        ("send-buffer-size", json!(group.send_buffer)),
    ]
}

/// Nothing is `null`.
fn text(bytes: &[u8]) -> Value {
    match bytes {
        b"" => Value::Null,
        bytes => json!(escape(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_there_once_and_hostile_names_are_escaped() {
        let group = Group {
            home: b"/home/\x1b[2J".to_vec(),
            umask: Some(0o027),
            processes: 3,
            ..Group::default()
        };
        let options = of(&group);
        assert_eq!(options.len(), 15 + 11 + 13);
        assert_eq!(options["home"], "/home/\\x1b[2J");
        assert_eq!(
            (&options["umask"], &options["processes"]),
            (&json!("0027"), &json!(3))
        );
        assert_eq!(options["python-home"], Value::Null);
    }
}
