//! Debian's suexec beside us, on the same files: whatever it refuses is refused here, except where a WSGI script is no program (C18) and where its group
//! does not matter because the group may not write it (C17). Root only; skipped without `apache2-suexec-custom`.
//!
//! Everything happens in a mount namespace with users and a configuration of its own: the test starts itself anew there.

#[path = "double/entering.rs"]
mod entering;

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use entering::travel;
use rwsgi_manager::account::Found;
use rwsgi_manager::entry::Entry;
use rwsgi_manager::journey::Event;
use rwsgi_manager::place::Place;
use rwsgi_os::{ids, users};
use rwsgi_wire::base::{self, BaseRules};

const SUEXEC: &str = "/usr/lib/apache2/suexec-custom";
const INSIDE: &str = "RWSGI_TEST_SUEXEC";
/// What shows that `/home` is the one that the test has laid over the machine's.
const MARK: &str = ".rwsgi-suexec";
/// In the files that take the place of the machine's.
const USERS: [(&str, u32, u32); 8] = [
    ("ann", 2001, 2001),
    ("bob", 2002, 2002),
    // Below the least id, in the group root, of root, and a second name of ann's.
    ("low", 50, 2001),
    ("gina", 2003, 0),
    ("toor", 0, 0),
    ("anna2", 2001, 2001),
    // In a group below suexec's least, and in one that does not exist.
    ("glow", 2004, 50),
    ("lost", 2005, 2999),
];

/// One arrangement of files, and who is asked for.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    user: &'static str,
    /// Directory and script below the user's `w`.
    directory: String,
    script: String,
    dir_owner: (u32, u32),
    dir_mode: u32,
    file_owner: (u32, u32),
    file_mode: u32,
    kind: Kind,
    /// suexec may be stricter.
    is_choice: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    File,
    Missing,
    Directory,
    Fifo,
    LinkToOwn,
    LinkToBobs,
    LinkToNothing,
    LinkedDirectory,
    Neighbour,
}

const ANN: (u32, u32) = (2001, 2001);
const BOB: (u32, u32) = (2002, 2002);
const ROOT: (u32, u32) = (0, 0);

fn ordinary(name: &str) -> Case {
    Case {
        name: name.to_owned(),
        user: "ann",
        directory: "app".to_owned(),
        script: "app.wsgi".to_owned(),
        dir_owner: ANN,
        dir_mode: 0o755,
        file_owner: ANN,
        file_mode: 0o755,
        kind: Kind::File,
        is_choice: false,
    }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![ordinary("all as it should be")];
    for dir_owner in [ANN, BOB, ROOT] {
        for file_owner in [ANN, BOB, ROOT] {
            let name = format!("owners {dir_owner:?} {file_owner:?}");
            cases.push(Case {
                dir_owner,
                file_owner,
                ..ordinary(&name)
            });
        }
    }
    for dir_gid in [2001, 2002, 0] {
        for file_gid in [2001, 2002, 0] {
            let name = format!("groups {dir_gid} {file_gid}");
            let (dir_owner, file_owner) = ((2001, dir_gid), (2001, file_gid));
            cases.push(Case {
                dir_owner,
                file_owner,
                is_choice: true,
                ..ordinary(&name)
            });
        }
    }
    let file_modes = [0o755, 0o700, 0o775, 0o757, 0o777, 0o4755, 0o2755, 0o6755, 0o4711];
    for dir_mode in [0o755, 0o711, 0o775, 0o757, 0o777, 0o1777, 0o2755] {
        for file_mode in file_modes {
            let name = format!("modes {dir_mode:o} {file_mode:o}");
            cases.push(Case {
                dir_mode,
                file_mode,
                ..ordinary(&name)
            });
        }
    }
    for file_mode in [0o644, 0o600, 0o400] {
        let name = format!("not executable {file_mode:o}");
        cases.push(Case {
            file_mode,
            is_choice: true,
            ..ordinary(&name)
        });
    }
    for user in [
        "bob",
        "low",
        "gina",
        "toor",
        "anna2",
        "glow",
        "lost",
        "nobody-here",
        "2001",
        "root",
        "",
        "..",
        "-1",
    ] {
        cases.push(Case {
            user,
            ..ordinary(&format!("user '{user}'"))
        });
    }
    for kind in [
        Kind::Missing,
        Kind::Directory,
        Kind::Fifo,
        Kind::LinkToOwn,
        Kind::LinkToBobs,
        Kind::LinkToNothing,
        Kind::LinkedDirectory,
        Kind::Neighbour,
    ] {
        cases.push(Case {
            kind,
            ..ordinary(&format!("{kind:?}"))
        });
    }
    for script in [
        "../app/app.wsgi",
        "/home/ann/w/app/app.wsgi",
        "x/../app.wsgi",
        "",
        ".",
        "..",
    ] {
        cases.push(Case {
            script: script.to_owned(),
            ..ordinary(&format!("script '{script}'"))
        });
    }
    for directory in ["../w2", "app/..", "..", "../../bob/w/app", "gone"] {
        cases.push(Case {
            directory: directory.to_owned(),
            ..ordinary(&format!("directory '{directory}'"))
        });
    }
    cases
}

/// Makes the files of a case below `/home`, which is empty before.
fn arrange(case: &Case) {
    let mark = Path::new("/home").join(MARK);
    assert!(mark.exists(), "this /home is not the test's own");
    for entry in std::fs::read_dir("/home").unwrap() {
        let path = entry.unwrap().path();
        if path != mark {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    for (name, uid, gid) in USERS {
        let home = Path::new("/home").join(name);
        for directory in [home.clone(), home.join("w"), home.join("w2"), home.join("w/app")] {
            std::fs::create_dir_all(&directory).unwrap();
            owned(&directory, (uid, gid), 0o755);
        }
        for file in ["w/app/app.wsgi", "w2/app.wsgi", "own"] {
            program(&home.join(file), (uid, gid), 0o755);
        }
    }
    let home = Path::new("/home").join(if case.user.is_empty() { "ann" } else { case.user });
    let script = home.join("w/app/app.wsgi");
    if !script.exists() {
        return;
    }
    let link = |to: &str| {
        std::fs::remove_file(&script).unwrap();
        symlink(to, &script).unwrap();
    };
    match case.kind {
        Kind::File | Kind::Neighbour => {
            let owner = |owner: (u32, u32)| match (case.user, owner) {
                ("ann", owner) => owner,
                // The file is as right for them as for ann, but for who they are.
                (name, owner) => USERS.iter().find(|u| u.0 == name).map_or(owner, |u| (u.1, u.2)),
            };
            program(&script, owner(case.file_owner), case.file_mode);
            owned(&home.join("w/app"), owner(case.dir_owner), case.dir_mode);
        }
        Kind::Missing => std::fs::remove_file(&script).unwrap(),
        Kind::Directory => {
            std::fs::remove_file(&script).unwrap();
            std::fs::create_dir(&script).unwrap();
            owned(&script, ANN, 0o755);
        }
        Kind::Fifo => {
            std::fs::remove_file(&script).unwrap();
            assert!(Command::new("mkfifo").arg(&script).status().unwrap().success());
            owned(&script, ANN, 0o755);
        }
        Kind::LinkToOwn => link("/home/ann/own"),
        Kind::LinkToBobs => link("/home/bob/w/app/app.wsgi"),
        Kind::LinkToNothing => link("/home/ann/nothing"),
        Kind::LinkedDirectory => {
            std::fs::rename(home.join("w/app"), home.join("w/real")).unwrap();
            symlink("/home/bob/w/app", home.join("w/app")).unwrap();
        }
    }
}

fn owned(path: &Path, owner: (u32, u32), mode: u32) {
    chown(path, Some(owner.0), Some(owner.1)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn program(path: &Path, owner: (u32, u32), mode: u32) {
    std::fs::write(path, "#!/bin/sh\necho ran\n").unwrap();
    owned(path, owner, mode);
}

fn directory_of(case: &Case) -> PathBuf {
    let user = if case.user.is_empty() { "ann" } else { case.user };
    let below = if case.kind == Kind::Neighbour { "w2" } else { "w" };
    Path::new("/home").join(user).join(below).join(match case.kind {
        Kind::Neighbour => "",
        _ => &case.directory,
    })
}

/// Whether suexec runs the script.
fn theirs(case: &Case) -> bool {
    let server = users::by_name(b"www-data").unwrap().unwrap();
    let group = USERS
        .iter()
        .find(|user| user.0 == case.user)
        .map_or(2001, |user| user.2);
    let run = Command::new(SUEXEC)
        .args([format!("~{}", case.user), group.to_string(), case.script.clone()])
        .current_dir(directory_of(case))
        .uid(server.uid)
        .gid(server.gid)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    // A directory that httpd's user cannot enter is none from which it would be asked for.
    run.is_ok_and(|run| run.stdout == b"ran\n")
}

/// Whether we do: what a question must be, who the user is, and the journey. Answers the reason if not.
fn ours(case: &Case) -> Result<(), String> {
    let directory = match case.kind {
        Kind::Neighbour => "../w2",
        _ => &case.directory,
    };
    let is_script = |name: &str| base::is_relative(name.as_bytes()) && !name.contains('/');
    if !base::is_user(case.user.as_bytes())
        || !base::is_relative(directory.as_bytes())
        || !is_script(&case.script)
    {
        return Err("C5".to_owned());
    }
    let Found::Account(account) = Found::look_up(case.user.as_bytes()) else {
        return Err("C6".to_owned());
    };
    let rules = BaseRules {
        min_uid: 100,
        max_uid: 60000,
        refused_gids: vec![0, 50],
        ..BaseRules::default()
    };
    account
        .judge(case.user.as_bytes(), &rules, 33, None)
        .map_err(|stop| stop.text)?;
    let entry = Entry {
        manager: std::process::id(),
        switch: true,
        uid: account.uid,
        gid: account.gid,
        groups: account.groups.clone(),
        server_uid: 33,
        user: account.name.clone(),
        user_home: account.home.clone(),
        shell: account.shell.clone(),
        python_home: PYTHON.get().unwrap().clone().into_bytes(),
        umask: 0o027,
        descriptors: (256, 256),
        place: Some(Place {
            base: base::directory(b"/home/*/w", case.user.as_bytes()).unwrap(),
            directory: directory.into(),
            script: case.script.clone().into(),
            ..Place::default()
        }),
        ..Entry::default()
    };
    let (said, events) = travel(&entry);
    match events.last() {
        _ if said == "ran\n" => Ok(()),
        Some(Event::Failed(refusal)) => Err(format!("RW{:04} {}", refusal.code, refusal.text)),
        other => panic!("{case:?}: neither ran nor was refused: {other:?}"),
    }
}

/// C5, C6, C7, C9, C10, C12, C13, C14, C15, C16, C17, C18: at least sixty arrangements of files and users.
#[test]
fn c5_to_c18_nothing_that_suexec_refuses_runs_here() {
    if std::env::var_os(INSIDE).is_some() {
        return compare();
    }
    if ids::user_ids().effective != 0 {
        eprintln!("needs root");
        return;
    }
    if !Path::new(SUEXEC).exists() {
        eprintln!("needs {SUEXEC}: apt-get install apache2-suexec-custom");
        return;
    }
    let place = std::env::temp_dir().join(format!("rwsgi-suexec-{}", std::process::id()));
    std::fs::create_dir_all(place.join("home")).unwrap();
    std::fs::write(place.join("home").join(MARK), "").unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let mut group = std::fs::read_to_string("/etc/group").unwrap();
    let own: Vec<u32> = USERS.iter().map(|user| user.1).filter(|uid| *uid > 0).collect();
    passwd = without(&passwd, &own);
    group = without(&group, &[2001, 2002, 2003, 2004, 2005, 2999, 50]);
    for (name, uid, gid) in USERS {
        passwd += &format!("{name}:x:{uid}:{gid}::/home/{name}:/bin/sh\n");
    }
    group += "ann:x:2001:\nbob:x:2002:\nstaffs:x:50:\n";
    std::fs::write(place.join("passwd"), passwd).unwrap();
    std::fs::write(place.join("group"), group).unwrap();
    std::fs::write(place.join("www-data"), "/var/www\nw\n").unwrap();
    let script = r#"set -e
        mount --bind "$0/home" /home
        mount -t tmpfs tmpfs /var/log
        mkdir /var/log/apache2
        mount --bind "$0/passwd" /etc/passwd
        mount --bind "$0/group" /etc/group
        mount --bind "$0/www-data" /etc/apache2/suexec/www-data
        exec "$1" --exact c5_to_c18_nothing_that_suexec_refuses_runs_here --nocapture"#;
    // The manager may lie below a closed home, and so may this program: both are run as root, and their Python is `sh`.
    let run = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(&place)
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, "1")
        .output()
        .unwrap();
    std::fs::remove_dir_all(&place).unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(run.status.success(), "{said}");
    println!("{said}");
}

/// Lines of a table of users or groups without those of these ids.
fn without(table: &str, numbers: &[u32]) -> String {
    let is_kept = |line: &&str| {
        let number = line.split(':').nth(2).and_then(|n| n.parse().ok());
        number.is_none_or(|number| !numbers.contains(&number))
    };
    table
        .lines()
        .filter(is_kept)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// In the namespace.
fn compare() {
    // What stands in for Python, outside of /home; the prefix is found by any user.
    let bin = Path::new("/tmp").join(format!("rwsgi-suexec-py-{}", std::process::id()));
    std::fs::create_dir_all(bin.join("bin")).unwrap();
    program(&bin.join("bin/python3"), ROOT, 0o755);
    owned(&bin, ROOT, 0o755);
    PYTHON.set(bin.to_str().unwrap().to_owned()).unwrap();
    let cases = cases();
    assert!(cases.len() >= 60);
    let (mut looser, mut both, mut stricter, mut chosen) = (Vec::new(), 0, Vec::new(), Vec::new());
    for case in &cases {
        arrange(case);
        let (theirs, ours) = (theirs(case), ours(case));
        match (theirs, &ours) {
            (true, Ok(())) => both += 1,
            (false, Ok(())) if case.is_choice => chosen.push(case.name.clone()),
            (false, Ok(())) => looser.push(format!("{case:?}")),
            (true, Err(why)) => stricter.push(format!("{}: {why}", case.name)),
            (false, Err(_)) => {}
        }
    }
    std::fs::remove_dir_all(&bin).unwrap();
    println!(
        "{} cases, both run {both}; only we refuse:\n  {}\nby choice only we run:\n  {}",
        cases.len(),
        stricter.join("\n  "),
        chosen.join("\n  ")
    );
    assert!(looser.is_empty(), "looser than suexec:\n{}", looser.join("\n"));
    // The oracle runs what it should, or it would prove nothing.
    assert!(both >= 4, "suexec and we agree on {both} only");
}

static PYTHON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
