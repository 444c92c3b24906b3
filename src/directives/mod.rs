//! What may be written in a configuration. Pure: words in, settings or a sentence out.
//!
//! A directive is declared once, in a family file: name, context, kind, where it is kept and its reference text. The field, the
//! parser, the merge, httpd's command table ([`ALL`]) and the reference page ([`pages`]) follow from that line.
//!
//! - [`scoped`], for directives of directories (and of servers)
//! - [`proxies`], for what proxies are trusted with
//! - [`server`], for directives of whole servers
//! - [`daemon`], for `WSGIDaemonProcess` and its options
//! - [`users`], for applications that run as the user whose directory they are in
//! - [`calls`], for scripts that httpd asks before it answers
//! - [`script`], for aliases; [`handler_script`], for handlers; [`import`], for scripts loaded at start
//! - [`python`], for how Python is started and ended; [`interpreter`], for what may be said of some interpreters only
//! - [`accepted`], for directives of mod_wsgi that have nothing to do here
//! - [`choices`], for `On|Off|Auto`, and defaults that depend on the module's name
//! - [`kinds`] and [`python_kinds`], for what a value may be; all refusals come from there
//!
//! Nothing is opened or looked up here; that is [`crate::config`].

pub mod accepted;
pub mod calls;
pub mod cap;
pub mod choices;
pub mod daemon;
pub mod handler_script;
pub mod import;
pub mod interpreter;
pub mod kinds;
pub mod pages;
pub mod proxies;
pub mod python;
pub mod python_kinds;
pub mod scoped;
pub mod script;
pub mod server;
mod table;
pub mod users;
mod words;

use core::ffi::CStr;
use std::fmt;

pub use scoped::Scoped;
pub use server::RawServer;
pub use table::OptionText;
pub(crate) use table::{options, settings};
pub use words::Words;

/// Where a directive may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The main server only.
    Global,
    /// The main server and virtual hosts.
    Server,
    /// Those, and directory-like sections.
    ServerDirectory,
    /// Those, and `.htaccess` under `AllowOverride FileInfo`.
    FileInfo,
    /// Directory-like sections, and `.htaccess` under `AllowOverride AuthConfig`.
    AuthConfig,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "main server",
            Self::Server => "main server, virtual host",
            Self::ServerDirectory => "main server, virtual host, directory",
            Self::FileInfo => "main server, virtual host, directory, .htaccess (FileInfo)",
            Self::AuthConfig => "directory, .htaccess (AuthConfig)",
        })
    }
}

/// A directive: how it is written, what it means, what happens when it is read.
pub struct Directive {
    /// Its name.
    pub name: &'static CStr,
    /// Where it may stand.
    pub context: Context,
    /// Its arguments, for `httpd -L` and the reference page.
    pub usage: &'static CStr,
    /// Its reference text, Markdown.
    pub text: &'static str,
    /// Takes the words that follow the name.
    pub set: fn(&mut Target<'_>, &mut Words<'_>, &Place) -> Result<(), Wrong>,
}

impl Directive {
    /// It is a section: what is inside is read after it, and then it is closed.
    pub fn is_section(&self) -> bool {
        self.name.to_bytes().starts_with(b"<")
    }
}

/// Where a directive was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Configuration file.
    pub file: String,
    /// Line in it.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a directive changes.
pub enum Target<'a> {
    /// The main server or a virtual host.
    Server(&'a mut RawServer),
    /// A directory-like section of the configuration, and the server that it is written in.
    Section(&'a mut Scoped, &'a mut RawServer),
    /// `.htaccess`.
    Directory(&'a mut Scoped),
}

impl Target<'_> {
    /// The settings that exist for servers and directories alike.
    pub fn scoped(&mut self) -> &mut Scoped {
        match self {
            Self::Server(server) => &mut server.scoped,
            Self::Section(scoped, _) | Self::Directory(scoped) => scoped,
        }
    }

    /// The server that the directive is written in; `None` in `.htaccess`.
    pub fn written_in(&mut self) -> Option<&mut RawServer> {
        match self {
            Self::Server(server) | Self::Section(_, server) => Some(server),
            Self::Directory(_) => None,
        }
    }

    /// The settings of a server.
    pub fn server(&mut self) -> Result<&mut RawServer, Wrong> {
        match self {
            Self::Server(server) => Ok(server),
            Self::Section(..) | Self::Directory(_) => Err(Wrong::new(
                "cannot be used in a directory section",
                "move it to the main server or a virtual host",
            )),
        }
    }
}

/// What is wrong with a value, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Continues a sentence that begins with the directive and the value: "is not a number".
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Wrong {
    /// Both halves of the sentence.
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// Says what the problem is about.
    #[must_use]
    pub fn about(mut self, what: impl fmt::Display) -> Self {
        self.problem = format!("{what} {}", self.problem);
        self
    }
}

/// Every family of directives.
const FAMILIES: &[&[Directive]] = &[
    OWN,
    scoped::DIRECTIVES,
    server::DIRECTIVES,
    python::DIRECTIVES,
    interpreter::DIRECTIVES,
    accepted::DIRECTIVES,
];

/// How many directives there are.
pub const COUNT: usize = {
    let (mut family, mut count) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
};

/// Every directive.
pub const ALL: [&Directive; COUNT] = {
    let mut all = [&OWN[0]; COUNT];
    let (mut family, mut filled) = (0, 0);
    while family < FAMILIES.len() {
        let mut index = 0;
        while index < FAMILIES[family].len() {
            all[filled] = &FAMILIES[family][index];
            filled += 1;
            index += 1;
        }
        family += 1;
    }
    all
};

/// Directives with a syntax of their own.
const OWN: &[Directive] = &[
    script::ALIAS,
    script::ALIAS_MATCH,
    daemon::DAEMON_PROCESS,
    users::USER_PROCESS,
    users::USER_OPTIONS,
    handler_script::HANDLER_SCRIPT,
    import::IMPORT_SCRIPT,
    python::WARNINGS,
    interpreter::SECTION,
    accepted::TELEMETRY_SERVICE,
    accepted::TELEMETRY_OPTIONS,
    calls::DISPATCH_SCRIPT,
    calls::ACCESS_SCRIPT,
    calls::AUTH_USER_SCRIPT,
    calls::AUTH_GROUP_SCRIPT,
];

/// Applies one directive to its target; the error is a sentence with directive, value and remedy.
pub fn apply(
    directive: &Directive,
    mut target: Target<'_>,
    line: &[u8],
    place: &Place,
) -> Result<(), String> {
    let name = directive.name.to_string_lossy();
    let name = name.trim_start_matches('<');
    let line = std::str::from_utf8(line)
        .map_err(|_| format!("{name}: the arguments are not UTF-8; write the configuration file in UTF-8"))?;
    let mut words = Words::new(line);
    let result = (directive.set)(&mut target, &mut words, place);
    result.map_err(|wrong| format!("{name} {}; {}", wrong.problem, wrong.remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn find(name: &str) -> &'static Directive {
        ALL.iter()
            .find(|directive| directive.name.to_bytes() == name.as_bytes())
            .unwrap()
    }

    #[test]
    fn no_name_is_declared_twice() {
        for (index, directive) in ALL.iter().enumerate() {
            let again = ALL
                .iter()
                .skip(index + 1)
                .any(|other| other.name == directive.name);
            assert!(!again, "{:?}", directive.name);
        }
    }

    #[test]
    fn a_wrong_flag_is_refused_with_directive_value_and_remedy() {
        let mut scoped = Scoped::default();
        let said = apply(
            find("WSGIScriptReloading"),
            Target::Directory(&mut scoped),
            b"yes",
            &Place::default(),
        );
        assert_eq!(
            said.unwrap_err(),
            "WSGIScriptReloading must be one of: Off | On; 'yes' is neither"
        );
    }

    #[test]
    fn a_directory_setting_goes_to_the_directory() {
        let mut scoped = Scoped::default();
        let place = Place::default();
        apply(
            find("WSGIProcessGroup"),
            Target::Directory(&mut scoped),
            b"site",
            &place,
        )
        .unwrap();
        assert!(scoped.process_group.is_some());
    }

    #[test]
    fn too_many_words_are_refused() {
        let mut scoped = Scoped::default();
        let said = apply(
            find("WSGIProcessGroup"),
            Target::Directory(&mut scoped),
            b"a b",
            &Place::default(),
        )
        .unwrap_err();
        assert!(said.contains("takes one argument"), "{said}");
    }
}
