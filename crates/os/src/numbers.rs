//! The kernel uses the numbers of processes again. In a namespace of its own a test can say which number comes next.

use std::process::{Child, Command};

use crate::process::{self, Pid};
use crate::signal::Signal;
use crate::{cgroup, ids};

/// Set in such a namespace, to the number of the process that has made it, which nobody else has.
const INSIDE: &str = "RWSGI_TEST_INSIDE";

/// Whether this process is in such a namespace. If not, it starts itself once more in one, for this test alone, and that must pass.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if ids::user_ids().effective != 0 {
        eprintln!("not root: no namespace can be made");
        return false;
    }
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            &format!("numbers::{test}"),
            "--nocapture",
            "--test-threads=1",
        ])
        .env(INSIDE, std::process::id().to_string())
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn sleeper() -> Child {
    Command::new("sleep").arg("600").spawn().expect("sleep")
}

fn pid_of(child: &Child) -> Pid {
    Pid(i32::try_from(child.id()).expect("a number"))
}

/// Ends a child for good, and gives its number to another process.
fn exchange(mut child: Child) -> Child {
    let number = child.id();
    child.kill().expect("kill");
    child.wait().expect("wait");
    std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).expect("the last number");
    let other = sleeper();
    assert_eq!(other.id(), number);
    other
}

fn is_alive(child: &mut Child) -> bool {
    child.try_wait().expect("wait").is_none()
}

// R69
#[test]
fn r69_a_descriptor_never_names_who_has_the_number_later() {
    if !is_inside("r69_a_descriptor_never_names_who_has_the_number_later") {
        return;
    }
    let child = sleeper();
    let held = process::open(pid_of(&child)).expect("a descriptor");
    assert_eq!(process::named_by(&held), Some(pid_of(&child)));
    let mut other = exchange(child);
    assert!(process::signal(&held, Signal::KILL).is_err());
    assert_eq!(process::named_by(&held), None);
    assert!(is_alive(&mut other));
    other.kill().and_then(|()| other.wait()).expect("the end");
}

// R69: a member ends after it was listed and before it is opened, and its number is a stranger's then.
#[test]
fn r69_who_gets_the_number_of_a_member_is_not_killed() {
    if !is_inside("r69_who_gets_the_number_of_a_member_is_not_killed") {
        return;
    }
    let outside = std::env::var(INSIDE).expect("a number");
    let directory = std::env::temp_dir().join(format!("rwsgi-numbers-{outside}"));
    std::fs::create_dir(&directory).expect("mkdir");
    // Stands for a group: who is in it now.
    let members = directory.join("cgroup.procs");
    let group = directory.as_os_str().as_encoded_bytes();
    let member = sleeper();
    let listed = [pid_of(&member)];
    let mut stranger = exchange(member);
    std::fs::write(&members, "").expect("write");
    cgroup::kill_listed(group, &listed);
    assert!(is_alive(&mut stranger), "a stranger was killed");
    // Were it a member, it would be.
    std::fs::write(&members, format!("{}\n", stranger.id())).expect("write");
    cgroup::kill_listed(group, &listed);
    let end = stranger.wait().expect("the end");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&end), Some(9));
    std::fs::remove_dir_all(&directory).expect("rm");
}
