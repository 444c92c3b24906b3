//! Applications below a base, asked of the real manager: whose they are, what is refused, and what becomes of them when things change. As root with
//! users of the machine; otherwise as this user.

#[allow(dead_code)]
mod double;

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use double::{Httpd, SERVE, eventually, is_alive, kill};
use rwsgi_os::{ids, users};
use rwsgi_wire::base::{Base, BaseRules, Tuning};
use rwsgi_wire::control::{Answer, Ask, ToHttpd};
use rwsgi_wire::response::AbortReason;
use rwsgi_wire::scale::Scale;

/// A user of the machine whose home directory exists and is the user's own, other than root; as root any, else this one.
fn somebody() -> Option<users::User> {
    let own = ids::user_ids().effective;
    let names = std::fs::read_to_string("/etc/passwd").unwrap();
    let all = names.lines().filter_map(|line| line.split(':').next());
    all.filter_map(|name| users::by_name(name.as_bytes()).ok().flatten())
        .find(|user| {
            let home = std::fs::metadata(String::from_utf8_lossy(&user.home).into_owned());
            let is_own =
                home.is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == user.uid && m.is_dir());
            user.uid != 0 && user.uid != 65534 && is_own && (own == 0 || own == user.uid)
        })
}

struct Site {
    httpd: Httpd,
    user: users::User,
    base: PathBuf,
}

impl Site {
    /// A manager with one base, in which the user has an application `blog/app.wsgi`.
    fn new(name: &str) -> Option<Self> {
        let Some(user) = somebody() else {
            eprintln!("no user of this machine has a home directory of its own");
            return None;
        };
        let httpd = Httpd::start(name);
        let place = httpd.place.join("users");
        let base = place.join(String::from_utf8_lossy(&user.name).as_ref()).join("w");
        std::fs::create_dir_all(base.join("blog")).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(base.join("blog/app.wsgi"), "").unwrap();
        let site = Self { httpd, user, base };
        for path in [
            site.base.parent().unwrap(),
            &site.base,
            &site.base.join("blog"),
            &site.script(),
        ] {
            site.give(path, if path.is_dir() { 0o755 } else { 0o644 });
        }
        Some(site)
    }

    fn script(&self) -> PathBuf {
        self.base.join("blog/app.wsgi")
    }

    fn give(&self, path: &Path, mode: u32) {
        if ids::user_ids().effective == 0 {
            chown(path, Some(self.user.uid), Some(self.user.gid)).unwrap();
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn base(&self, python: &str) -> Base {
        let mut template = self.httpd.group("", python);
        (template.uid, template.gid) = (0, 0);
        (template.user, template.user_home) = (Vec::new(), Vec::new());
        template.processes = 2;
        template.threads = 5;
        template.scale = Scale {
            min_processes: 1,
            idle_timeout: 300,
        };
        Base {
            pattern: format!("{}/users/*/w", self.httpd.place.display()).into_bytes(),
            template,
            rules: BaseRules {
                min_uid: 1,
                max_uid: 65533,
                ..BaseRules::default()
            },
        }
    }

    fn serve(&mut self, change: impl Fn(&mut Base)) {
        let python = self.httpd.python("py", SERVE);
        let mut base = self.base(&python);
        change(&mut base);
        self.httpd.bases = vec![base];
        assert_eq!(self.httpd.configure(&[]), ToHttpd::Ready);
    }

    fn question(&self) -> Ask {
        Ask::Application {
            generation: 1,
            base: 0,
            user: self.user.name.clone(),
            directory: b"blog".to_vec(),
            script: b"app.wsgi".to_vec(),
            tuning: Tuning::default(),
        }
    }

    fn pool(&self) -> Vec<u8> {
        match self.httpd.ask(&self.question()) {
            Answer::Pool { path } => path,
            other => panic!("{other:?}\n{}", self.httpd.log()),
        }
    }

    fn refusal(&self, question: &Ask) -> (AbortReason, String) {
        match self.httpd.ask(question) {
            Answer::Refused { reason, text, .. } => (reason, String::from_utf8(text).unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

// R14, C4
#[test]
fn r14_an_application_runs_as_the_owner_of_its_directory_in_that_directory() {
    let Some(mut site) = Site::new("app-runs") else {
        return;
    };
    site.serve(|_| {});
    let path = site.pool();
    let worker = site.httpd.nth_ready(1);
    let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    let uid = site.user.uid;
    assert!(
        status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}")),
        "{status}"
    );
    let directory = std::fs::read_link(format!("/proc/{worker}/cwd")).unwrap();
    assert_eq!(directory, site.base.join("blog"));
    assert_eq!(site.pool(), path, "the same pool for the same question");
    // A new configuration in which nothing has changed for it keeps it.
    assert_eq!(site.httpd.configure(&[]), ToHttpd::Ready);
    assert_eq!(site.pool(), path);
    assert!(is_alive(worker));
    // An old child may still ask by its own number; one that never was is refused.
    let Ask::Application {
        base,
        user,
        directory,
        script,
        tuning,
        ..
    } = site.question()
    else {
        unreachable!()
    };
    let never = Ask::Application {
        generation: 77,
        base,
        user,
        directory,
        script,
        tuning,
    };
    assert_eq!(site.refusal(&never).0, AbortReason::Refused);
    // Another base for the same path is another pool.
    site.httpd.bases[0].template.threads = 3;
    assert_eq!(site.httpd.configure(&[]), ToHttpd::Ready);
    assert_ne!(site.pool(), path);
    site.httpd.nth_ready(2);
    eventually("the end of the old one", || (!is_alive(worker)).then_some(()));
}

// R14, R37, C5
#[test]
fn r14_what_cannot_be_an_application_is_refused_whatever_a_child_says() {
    let Some(mut site) = Site::new("app-rogue") else {
        return;
    };
    site.serve(|_| {});
    let user = site.user.name.clone();
    let long = vec![b'a'; 5000];
    for (base, user, directory, script) in [
        (1, &user[..], &b"blog"[..], &b"app.wsgi"[..]),
        (u32::MAX, &user, b"blog", b"app.wsgi"),
        (0, b"", b"blog", b"app.wsgi"),
        (0, b"..", b"blog", b"app.wsgi"),
        (0, b"a/b", b"blog", b"app.wsgi"),
        (0, &user, b"../blog", b"app.wsgi"),
        (0, &user, b"blog/../blog", b"app.wsgi"),
        (0, &user, b"/blog", b"app.wsgi"),
        (0, &user, b"blog", b""),
        (0, &user, b"blog", b"../blog/app.wsgi"),
        (0, &user, b"", b"blog/app.wsgi"),
        (0, &user, b"blog", b"app.wsgi\0"),
        (0, &user, &long, b"app.wsgi"),
    ] {
        let (user, directory, script) = (user.to_vec(), directory.to_vec(), script.to_vec());
        let tuning = Tuning::default();
        let question = Ask::Application {
            generation: 1,
            base,
            user,
            directory,
            script,
            tuning,
        };
        let (reason, text) = site.refusal(&question);
        assert_eq!(
            (reason, &text[..]),
            (AbortReason::Refused, "there is no such application")
        );
    }
    site.httpd.logged("RW0497", 1);
    assert!(!site.httpd.log().contains(" starts for "));
}

// R16, C6, C9
#[test]
fn r16_nobody_and_those_who_may_not_get_no_process() {
    let Some(mut site) = Site::new("app-denied") else {
        return;
    };
    let ask = |user: &str| Ask::Application {
        generation: 1,
        base: 0,
        user: user.into(),
        directory: b"blog".to_vec(),
        script: b"app.wsgi".to_vec(),
        tuning: Tuning::default(),
    };
    site.serve(|_| {});
    assert!(
        site.refusal(&ask("no-such-user-here"))
            .1
            .contains("there is no user")
    );
    assert!(site.refusal(&ask("root")).1.contains("is root"));
    site.refusal(&ask("no-such-user-here"));
    site.httpd.logged("RW0480", 1);
    site.httpd.logged("RW0484", 1);
    assert_eq!(
        site.httpd.log().matches("RW0480").count(),
        1,
        "told once for each look-up"
    );
    let (name, gid) = (site.user.name.clone(), site.user.gid);
    site.serve(|base| base.rules.denied = vec![name.clone()]);
    assert!(site.refusal(&site.question()).1.contains("deny-users"));
    site.serve(|base| base.rules.refused_gids = vec![gid]);
    assert!(site.refusal(&site.question()).1.contains("is in group"));
    assert!(!site.httpd.log().contains(" starts for "));
}

// R15, C14, C15
#[test]
fn r15_what_is_refused_as_the_user_is_said_with_its_code_and_is_served_when_it_is_mended() {
    let Some(mut site) = Site::new("app-checks") else {
        return;
    };
    site.serve(|_| {});
    let script = site.script();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o666)).unwrap();
    let path = site.pool();
    let (reason, _, text) = site.httpd.abort_from(&path);
    assert_eq!(reason, AbortReason::Refused);
    assert!(text.contains("chmod go-w"), "{text}");
    site.httpd.logged("RW0491", 1);
    std::fs::remove_file(&script).unwrap();
    symlink("/etc/passwd", &script).unwrap();
    eventually("the next refusal", || {
        let _ = site.httpd.abort_from(&path);
        site.httpd.log().contains("RW0490").then_some(())
    });
    std::fs::remove_file(&script).unwrap();
    std::fs::write(&script, "").unwrap();
    site.give(&script, 0o644);
    eventually("a worker after the cause is gone", || {
        let _ = rwsgi_os::socket::connect(
            rwsgi_os::socket::Kind::Stream,
            &path,
            rwsgi_os::socket::Mode::NonBlocking,
        );
        (!site.httpd.ready().is_empty()).then_some(())
    });
}

// R20
#[test]
fn r20_what_a_user_tunes_stays_within_the_base() {
    let Some(mut site) = Site::new("app-tuned") else {
        return;
    };
    site.serve(|_| {});
    let Ask::Application {
        generation,
        base,
        user,
        directory,
        script,
        ..
    } = site.question()
    else {
        unreachable!()
    };
    let tuning = Tuning {
        processes: Some(1000),
        min_processes: Some(1000),
        ..Tuning::default()
    };
    let much = Ask::Application {
        generation,
        base,
        user,
        directory,
        script,
        tuning,
    };
    let path = site.pool();
    site.httpd.nth_ready(1);
    assert_eq!(
        site.httpd.ask(&much),
        Answer::Pool { path },
        "it is the same as without"
    );
    assert_eq!(site.httpd.ready().len(), 1);
}

// C25, R64
#[test]
fn c25_the_applications_of_one_user_share_what_the_base_allows() {
    let Some(mut site) = Site::new("app-share") else {
        return;
    };
    site.serve(|base| {
        base.rules.user_processes = 1;
        base.template.life.startup_timeout = 1;
    });
    let first = site.pool();
    let worker = site.httpd.nth_ready(1);
    let other = site.base.join("other.wsgi");
    std::fs::write(&other, "").unwrap();
    site.give(&other, 0o644);
    let question = Ask::Application {
        generation: 1,
        base: 0,
        user: site.user.name.clone(),
        directory: Vec::new(),
        script: b"other.wsgi".to_vec(),
        tuning: Tuning::default(),
    };
    let Answer::Pool { path } = site.httpd.ask(&question) else {
        panic!("no pool")
    };
    let (reason, _, text) = site.httpd.abort_from(&path);
    assert_eq!(reason, AbortReason::Crowded);
    assert!(text.contains("user-processes"), "{text}");
    site.httpd.logged("RW0498", 1);
    assert!(is_alive(worker) && first != path);
    assert_eq!(site.httpd.ready().len(), 1);
}

// R17, F47
#[test]
fn a_dead_worker_of_an_application_is_replaced_and_its_user_is_looked_up_by_another_process() {
    let Some(mut site) = Site::new("app-death") else {
        return;
    };
    site.serve(|_| {});
    site.pool();
    kill(site.httpd.nth_ready(1));
    site.httpd.nth_ready(2);
    // R17: nothing of the name service is in the manager.
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", site.httpd.manager())).unwrap_or_default();
    assert!(!maps.contains("libnss"), "{maps}");
}
