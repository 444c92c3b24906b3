//! Users who are nobody else's, with homes below the server root: the account files are replaced in a private mount namespace.

use rwsgi_testkit::{Builder, Case, Httpd, apps_venv, test_file, with_file_replaced};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

/// What the replaced account files begin with: the machine's own.
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
const SHADOW: &str = "/etc/shadow";

/// Ids of `ann`; those of `bob` are one higher.
pub const ANN: u32 = 41_001;
pub const BOB: u32 = 41_002;

/// A user; the group has the same name and id.
#[derive(Clone, Copy)]
pub struct User {
    pub name: &'static str,
    pub uid: u32,
}

pub const USERS: [User; 2] = [
    User {
        name: "ann",
        uid: ANN,
    },
    User {
        name: "bob",
        uid: BOB,
    },
];

/// The directories of users, as a pattern and as mod_userdir has them.
pub const BASE: &str = "@ROOT@/home/*/public_wsgi";

/// httpd with `ann` and `bob`, and nothing of ours in its configuration.
pub fn bare(case: &Case) -> World {
    case.needs_ours("it has no applications of users");
    case.needs_root();
    case.needs_apps();
    let builder = case.httpd().bare().load("userdir");
    World { builder }
}

/// httpd with `ann` and `bob`, and nothing in their directories. `options` are those of `WSGIUserProcess`.
pub fn world(case: &Case, options: &str) -> World {
    let venv = apps_venv().unwrap_or_default().display().to_string();
    bare(case).conf(&format!(
        "WSGIUserProcess {BASE} python-home={venv} {options}\nUserDir {BASE}\n\
         <Directory {BASE}>\nAllowOverride FileInfo\nOptions SymLinksIfOwnerMatch\n</Directory>"
    ))
}

/// More lines for the account files.
#[derive(Default)]
struct Accounts {
    passwd: String,
    group: String,
    shadow: String,
}

/// Users, files and configuration, before httpd starts.
pub struct World {
    builder: Builder,
}

impl World {
    pub fn conf(mut self, text: &str) -> Self {
        self.builder = self.builder.conf(text);
        self
    }

    pub fn load(mut self, module: &str) -> Self {
        self.builder = self.builder.load(module);
        self
    }

    pub fn root(&self) -> PathBuf {
        self.builder.root().to_path_buf()
    }

    pub fn home(&self, user: User) -> Home {
        Home::make(self.builder.root(), user)
    }

    /// Starts httpd and runs `work` with it, where the users exist.
    pub fn run(self, work: impl FnOnce(&Httpd) + Send) {
        let Self { builder } = self;
        let root = builder.root().to_path_buf();
        let mut own = Accounts::default();
        for user in USERS {
            let more = account(&root, user);
            own.passwd.push_str(&more.passwd);
            own.group.push_str(&more.group);
            own.shadow.push_str(&more.shadow);
        }
        let with = |path: &str, more: &str| std::fs::read_to_string(path).expect(path) + more;
        let (passwd, group, shadow) = (
            with(PASSWD, &own.passwd),
            with(GROUP, &own.group),
            with(SHADOW, &own.shadow),
        );
        with_file_replaced(Path::new(PASSWD), &passwd, || {
            with_file_replaced(Path::new(GROUP), &group, || {
                with_file_replaced(Path::new(SHADOW), &shadow, || {
                    let httpd = builder.start();
                    work(&httpd);
                    httpd.stop();
                });
            });
        });
    }
}

fn account(root: &Path, User { name, uid }: User) -> Accounts {
    let home = root.join("home").join(name);
    Accounts {
        passwd: format!("{name}:x:{uid}:{uid}::{}:/bin/sh\n", home.display()),
        group: format!("{name}:x:{uid}:\n"),
        shadow: format!("{name}:*:19000:0:99999:7:::\n"),
    }
}

/// Creates an account while httpd runs, as `useradd` does. To be called by the `work` of [`World::run`].
pub fn add_account(httpd: &Httpd, user: User) {
    let more = account(httpd.root(), user);
    for (path, line) in [(PASSWD, more.passwd), (GROUP, more.group), (SHADOW, more.shadow)] {
        let text = std::fs::read_to_string(path).expect(path) + &line;
        std::fs::write(path, text).expect(path);
    }
}

/// Replaces a line of an account file while httpd runs.
pub fn change_account(path: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).expect(path);
    assert!(text.contains(from), "{path}: {text}");
    std::fs::write(path, text.replace(from, to)).expect(path);
}

/// The home directory of a user, as `useradd` and a panel make it: httpd may pass, and read nothing.
pub struct Home {
    path: PathBuf,
    user: User,
}

impl Home {
    pub fn make(root: &Path, user: User) -> Home {
        let above = root.join("home");
        if !above.is_dir() {
            directory(&above, 0o755, 0);
        }
        let home = Home {
            path: above.join(user.name),
            user,
        };
        if !home.path.is_dir() {
            directory(&home.path, 0o711, user.uid);
            directory(&home.base(), 0o711, user.uid);
        }
        home
    }

    pub fn of(httpd: &Httpd, user: User) -> Home {
        Home::make(httpd.root(), user)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the applications.
    pub fn base(&self) -> PathBuf {
        self.path.join("public_wsgi")
    }

    /// Writes a file of the user below the base, for nobody else to read.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        self.write(name, content.as_ref(), 0o600)
    }

    /// The same, readable for httpd.
    pub fn open_file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        self.write(name, content.as_ref(), 0o644)
    }

    /// An application of `tests/apps`, under another name.
    pub fn app(&self, name: &str, script: &str) -> &Self {
        let content = std::fs::read(test_file("apps").join(script)).expect("an application");
        self.file(name, content)
    }

    /// Makes a directory below the base, and those above it.
    pub fn directory(&self, name: &str) -> PathBuf {
        let mut path = self.base();
        for part in Path::new(name) {
            path.push(part);
            if !path.is_dir() {
                directory(&path, 0o711, self.user.uid);
            }
        }
        path
    }

    /// Gives what is there to somebody else.
    pub fn give(&self, name: &str, uid: u32) -> &Self {
        chown(self.base().join(name), Some(uid), Some(uid)).expect("chown");
        self
    }

    /// A symbolic link of the user.
    pub fn link(&self, target: &str, name: &str) -> &Self {
        let path = self.base().join(name);
        symlink(target, &path).expect("symlink");
        lchown(&path, Some(self.user.uid), Some(self.user.uid)).expect("lchown");
        self
    }

    pub fn mode(&self, name: &str, mode: u32) -> &Self {
        std::fs::set_permissions(self.base().join(name), Permissions::from_mode(mode)).expect("chmod");
        self
    }

    fn write(&self, name: &str, content: &[u8], mode: u32) -> &Self {
        let path = self.base().join(name);
        let above = Path::new(name).parent().unwrap_or(Path::new(""));
        self.directory(above.to_str().expect("UTF-8"));
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, content).expect("write");
        std::fs::set_permissions(&fresh, Permissions::from_mode(mode)).expect("chmod");
        chown(&fresh, Some(self.user.uid), Some(self.user.uid)).expect("chown");
        std::fs::rename(&fresh, &path).expect("rename");
        self
    }
}

fn directory(path: &Path, mode: u32, owner: u32) {
    std::fs::create_dir(path).expect("mkdir");
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    chown(path, Some(owner), Some(owner)).expect("chown");
}
