//! A private server root and its configuration, before httpd is started.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{User, geteuid};

use crate::case::{Case, Mode, UnderTest};
use crate::httpd::{Httpd, Outcome};
use crate::places;
use crate::root::{ServerRoot, write_readable};

/// The Multi-Processing Module, from `RWSGI_MPM`: event (default), worker or prefork.
pub fn mpm() -> String {
    let mpm = std::env::var("RWSGI_MPM").unwrap_or_else(|_| "event".to_owned());
    assert!(
        matches!(mpm.as_str(), "event" | "worker" | "prefork"),
        "RWSGI_MPM is `{mpm}`"
    );
    mpm
}

/// The user of httpd's children when httpd runs as root.
pub fn httpd_user() -> &'static str {
    ["www-data", "apache", "nobody"]
        .into_iter()
        .find(|name| User::from_name(name).ok().flatten().is_some())
        .expect("one of www-data, apache, nobody")
}

/// A configuration in the making. Placeholders in its text: `@ROOT@`, `@SCRIPTS@`, `@DATA@`, `@PORT@`, `@VENV@`.
pub struct Builder {
    pub(crate) test: String,
    pub(crate) mode: Mode,
    pub(crate) under_test: UnderTest,
    pub(crate) root: Arc<ServerRoot>,
    /// `rwsgi_module` or `wsgi_module`: under which name our module is loaded.
    identity: Option<&'static str>,
    load_ours: bool,
    modules: Vec<String>,
    text: Vec<String>,
    own_process_group: bool,
    daemon_options: String,
    python_home: Option<PathBuf>,
    log_level: String,
    children: u32,
    only: bool,
    pub(crate) launcher: Vec<String>,
}

impl Builder {
    pub(crate) fn new(case: &Case) -> Builder {
        Builder {
            test: case.name.clone(),
            mode: case.mode,
            under_test: case.under_test,
            root: Arc::new(ServerRoot::make()),
            identity: None,
            load_ours: true,
            modules: Vec::new(),
            text: Vec::new(),
            own_process_group: true,
            daemon_options: "threads=4".to_owned(),
            python_home: places::apps_venv(),
            log_level: "info".to_owned(),
            children: 2,
            only: false,
            launcher: Vec::new(),
        }
    }

    /// The private server root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Copies a script of `tests/apps` into place and serves it at `/`.
    #[must_use]
    pub fn app(self, script: &str) -> Builder {
        self.alias("/", script)
    }

    /// Copies a script of `tests/apps` into place and serves it at `url`.
    #[must_use]
    pub fn alias(self, url: &str, script: &str) -> Builder {
        self.script(script)
            .conf(&format!("WSGIScriptAlias {url} @SCRIPTS@/{script}"))
    }

    /// Copies a script of `tests/apps` into place.
    #[must_use]
    pub fn script(self, script: &str) -> Builder {
        let content = std::fs::read(places::test_file("apps").join(script))
            .unwrap_or_else(|why| panic!("tests/apps/{script}: {why}"));
        self.file(&format!("scripts/{script}"), content)
    }

    /// Writes a script of the test's own and serves it at `url`.
    #[must_use]
    pub fn source(self, url: &str, script: &str, content: &str) -> Builder {
        self.file(&format!("scripts/{script}"), content)
            .conf(&format!("WSGIScriptAlias {url} @SCRIPTS@/{script}"))
    }

    /// Writes a file below the server root, readable by all.
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Builder {
        write_readable(&self.root.join(name), content.as_ref());
        self
    }

    /// Adds configuration text (at the end, main server).
    #[must_use]
    pub fn conf(mut self, text: &str) -> Builder {
        self.text.push(text.to_owned());
        self
    }

    /// Sets the options of the daemon group `site` (default: `threads=4`).
    #[must_use]
    pub fn daemon(mut self, options: &str) -> Builder {
        self.daemon_options = options.to_owned();
        self
    }

    /// Generates neither process group nor python-home: the test writes those itself.
    #[must_use]
    pub fn bare(mut self) -> Builder {
        self.own_process_group = false;
        self.python_home = None;
        self
    }

    /// Chooses the Python: a venv, a prefix or, with `None`, whatever the module takes by itself.
    #[must_use]
    pub fn python_home(mut self, home: Option<&Path>) -> Builder {
        self.python_home = home.map(Path::to_path_buf);
        self
    }

    /// Loads one more module of httpd, such as `http2`.
    #[must_use]
    pub fn load(mut self, module: &str) -> Builder {
        self.modules.push(module.to_owned());
        self
    }

    /// HTTP/2 without TLS, where the MPM can have it; tests that depend on it ask [`Case::needs_http2`].
    #[must_use]
    pub fn http2(self) -> Builder {
        if mpm() == "prefork" {
            self
        } else {
            self.load("http2").conf("Protocols h2c http/1.1")
        }
    }

    /// Loads our module under this name (`rwsgi_module`, `wsgi_module`).
    #[must_use]
    pub fn identity(mut self, name: &'static str) -> Builder {
        self.identity = Some(name);
        self
    }

    /// Leaves out the LoadModule line of the module under test.
    #[must_use]
    pub fn without_module(mut self) -> Builder {
        self.load_ours = false;
        self
    }

    /// The `LogLevel` (default `info`).
    #[must_use]
    pub fn log_level(mut self, level: &str) -> Builder {
        self.log_level = level.to_owned();
        self
    }

    /// How many children httpd keeps (default 2).
    #[must_use]
    pub fn children(mut self, count: u32) -> Builder {
        self.children = count;
        self
    }

    /// Starts httpd through this command, which gets httpd's command line behind its own arguments and has to execute it.
    #[must_use]
    pub fn launched_by(mut self, command: &[&str]) -> Builder {
        self.launcher = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The test's text is the whole configuration: nothing is generated around it. Further placeholders: `@MODULES@`,
    /// `@BUILD@` (the directory of the module).
    #[must_use]
    pub fn only(mut self) -> Builder {
        self.only = true;
        self
    }

    /// Starts httpd; returns its words when it refuses.
    pub fn try_start(self) -> Result<Httpd, String> {
        match Httpd::start(self) {
            Outcome::Running(httpd) => Ok(*httpd),
            Outcome::Refused(text) => Err(text),
        }
    }

    /// Starts httpd; panics with its words when it refuses.
    pub fn start(self) -> Httpd {
        self.try_start()
            .unwrap_or_else(|text| panic!("httpd did not start:\n{text}"))
    }

    /// Starts httpd, which must refuse; returns its words (console and error log, one string).
    pub fn refused(self) -> String {
        match Httpd::start(self) {
            Outcome::Running(_) => panic!("httpd started; it should have refused this configuration"),
            Outcome::Refused(text) => text,
        }
    }

    /// The configuration's text for one port.
    pub(crate) fn text(&self, port: u16) -> String {
        let mut all = if self.only { String::new() } else { self.base() };
        if self.load_ours && !self.only {
            let module = places::module(self.under_test).expect("checked by Case::httpd");
            let name = self.identity.unwrap_or(match self.under_test {
                UnderTest::Ours => "rwsgi_module",
                UnderTest::Theirs => "wsgi_module",
            });
            all.push_str(&format!("LoadModule {name} {}\n", module.display()));
            if self.under_test == UnderTest::Theirs {
                // The original ignores DefaultRuntimeDir; its sockets shall lie in the server root too.
                all.push_str("WSGISocketPrefix @ROOT@/run/wsgi\n");
            }
            self.push_python(&mut all);
        }
        for text in &self.text {
            all.push_str(text);
            all.push('\n');
        }
        all.replace("@SCRIPTS@", "@ROOT@/scripts")
            .replace("@DATA@", "@ROOT@/data")
            .replace("@ROOT@", &self.root.display().to_string())
            .replace("@PORT@", &port.to_string())
            .replace("@MODULES@", &places::modules().display().to_string())
            .replace("@BUILD@", &places::build_dir().display().to_string())
            .replace(
                "@VENV@",
                &places::apps_venv().unwrap_or_default().display().to_string(),
            )
    }

    fn push_python(&self, all: &mut String) {
        let home = self.python_home.as_ref().map(|home| home.display().to_string());
        match self.mode {
            Mode::Daemon if self.own_process_group => {
                let home = home
                    .map(|home| format!(" python-home={home}"))
                    .unwrap_or_default();
                all.push_str(&format!(
                    "WSGIDaemonProcess site {}{home}\nWSGIProcessGroup site\n",
                    self.daemon_options
                ));
            }
            _ => {
                if let Some(home) = home {
                    all.push_str(&format!("WSGIPythonHome {home}\n"));
                }
            }
        }
    }

    fn base(&self) -> String {
        let mpm = mpm();
        let children = self.children;
        let mut all = format!(
            "ServerRoot @ROOT@\nDefaultRuntimeDir @ROOT@/run\nPidFile @ROOT@/httpd.pid\nServerName 127.0.0.1\n\
             Listen 127.0.0.1:@PORT@\nErrorLog @ROOT@/error.log\nLogLevel {}\nTimeout 30\nGracefulShutdownTimeout 20\n\
             LoadModule mpm_{mpm}_module {}/mod_mpm_{mpm}.so\n",
            self.log_level,
            places::modules().display(),
        );
        let modules = [
            "authz_core",
            "authz_host",
            "alias",
            "mime",
            "env",
            "setenvif",
            "headers",
            "rewrite",
        ];
        for module in modules.into_iter().chain(self.modules.iter().map(String::as_str)) {
            let modules = places::modules().display();
            all.push_str(&format!("LoadModule {module}_module {modules}/mod_{module}.so\n"));
        }
        if geteuid().is_root() {
            let user = httpd_user();
            let group = if user == "nobody" { "nogroup" } else { user };
            all.push_str(&format!("User {user}\nGroup {group}\n"));
        }
        all.push_str(&match mpm.as_str() {
            "prefork" => format!(
                "StartServers {children}\nMinSpareServers 1\nMaxSpareServers {children}\nMaxRequestWorkers 8\n"
            ),
            _ => format!(
                "StartServers {children}\nServerLimit {children}\nThreadsPerChild 8\nThreadLimit 8\n\
                 MaxRequestWorkers {}\nMinSpareThreads 1\nMaxSpareThreads {}\n",
                8 * children,
                8 * children
            ),
        });
        all.push_str(
            "TypesConfig @ROOT@/mime.types\nLogFormat \"%h %t \\\"%r\\\" %>s %b %D \\\"%{X-Test}i\\\"\" tests\n\
             CustomLog @ROOT@/access.log tests\nDocumentRoot @ROOT@/www\n\
             <Directory />\nRequire all denied\n</Directory>\n<Directory @ROOT@>\nRequire all granted\n</Directory>\n",
        );
        all
    }
}
