//! What of a path is a user's application. Pure but for [`Files`]: what is found is not remembered, for the next request finds another.
//!
//! A path below the directory of a user leads through directories that exist, then goes on in the application (`PATH_INFO`) or in its
//! `public/`. The rules are those of the directive `WSGIUserProcess`.

use std::ops::Range;

use rwsgi_wire::base::{is_relative, is_user};

/// Scripts that make a directory an application, wherever it is.
const STRONG: [&[u8]; 2] = [b"passenger_wsgi.py", b"app.wsgi"];
/// The name of a module in many packages, too: one inside an application is that one's own.
const WEAK: &[u8] = b"wsgi.py";
/// What any script ends with.
const SUFFIX: &[u8] = b".wsgi";
/// Directories in which nothing is looked for.
const CLOSED: [&[u8]; 4] = [b"public", b"tmp", b"venv", b"__pycache__"];
/// How deep applications are looked for.
const DEPTH: usize = 16;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Missing,
    /// It cannot be seen from here: a directory on the way is closed.
    Closed,
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// Something else.
    Other,
}

/// The file system, as this process may see it.
pub trait Files {
    /// What is there, symbolic links followed.
    fn kind(&self, path: &[u8]) -> Kind;
    /// The name that ends so and does not begin with a dot, if there is exactly one in a directory that can be read.
    fn only(&self, directory: &[u8], suffix: &[u8]) -> Option<Vec<u8>>;
}

/// A path below the directory of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'p> {
    /// The user's name.
    pub user: &'p [u8],
    /// The user's directory.
    pub directory: &'p [u8],
    /// What follows it: empty, or from its slash on.
    pub rest: &'p [u8],
}

impl<'p> Place<'p> {
    /// Where `path` is in the directories that `pattern` covers; `None`: outside. The path is taken as it is: [`Place::is_clean`].
    pub fn of(pattern: &[u8], path: &'p [u8]) -> Option<Self> {
        let star = pattern.iter().position(|byte| *byte == b'*')?;
        let (before, after) = (pattern.get(..star)?, pattern.get(star + 1..)?);
        let rest = path.strip_prefix(before)?;
        let name = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (user, rest) = rest.split_at(name);
        let rest = rest.strip_prefix(after)?;
        let ends_component = rest.is_empty() || rest.starts_with(b"/");
        (ends_component && !user.is_empty()).then(|| Self {
            user,
            directory: path.get(..path.len() - rest.len()).unwrap_or_default(),
            rest,
        })
    }

    /// It leads where it seems to.
    pub fn is_clean(&self) -> bool {
        let mut components = self.rest.split(|byte| *byte == b'/');
        is_user(self.user) && !components.any(|component| matches!(component, b"." | b".."))
    }

    /// As a script: its directory below the user's, and its name.
    pub fn script(&self) -> Option<(&'p [u8], &'p [u8])> {
        let path = self.rest.strip_prefix(b"/").filter(|path| is_relative(path))?;
        Some(match path.iter().rposition(|byte| *byte == b'/') {
            None => (b"", path),
            Some(slash) => (path.get(..slash)?, path.get(slash + 1..)?),
        })
    }

    fn whole(&self) -> Vec<u8> {
        [self.directory, self.rest].concat()
    }
}

/// What answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A script, and the rest of the path behind it.
    Script {
        /// The script's path.
        script: Vec<u8>,
        /// What follows.
        path_info: Vec<u8>,
        /// The URL names the script itself, not its directory.
        is_named: bool,
    },
    /// A file of the application's `public/`.
    File(Vec<u8>),
    /// Nothing.
    Nothing,
    /// Nothing that this process can see: a directory on the way is closed to it.
    Closed,
}

/// Finds what answers a request. `wants_file`: a file of `public/` may.
pub fn find(files: &impl Files, place: &Place<'_>, wants_file: bool) -> Found {
    let path = place.whole();
    let to = |end: usize| path.get(..end).unwrap_or_default();
    let after = |end: usize| path.get(end..).unwrap_or_default().to_vec();
    let mut directories = vec![place.directory.len()];
    for component in components(&path, place.directory.len()) {
        let name = path.get(component.clone()).unwrap_or_default();
        match files.kind(to(component.end)) {
            Kind::Directory => directories.push(component.end),
            Kind::File if name.len() > SUFFIX.len() && name.ends_with(SUFFIX) => {
                return Found::Script {
                    script: to(component.end).to_vec(),
                    path_info: after(component.end),
                    is_named: true,
                };
            }
            _ => break,
        }
    }
    let mut is_closed = false;
    let mut look = |script: Vec<u8>| {
        let kind = files.kind(&script);
        is_closed |= kind == Kind::Closed;
        (kind == Kind::File).then_some(script)
    };
    let strong = directories.iter().rev().find_map(|end| {
        let script = STRONG
            .iter()
            .find_map(|name| look([to(*end), b"/", name].concat()))?;
        Some((*end, script))
    });
    let weak = || {
        directories.iter().find_map(|end| {
            let directory = to(*end);
            let only = || files.only(directory, SUFFIX);
            let script = look([directory, b"/", WEAK].concat())
                .or_else(|| only().and_then(|name| look([directory, b"/", &name].concat())))?;
            Some((*end, script))
        })
    };
    let Some((end, script)) = strong.or_else(weak) else {
        return if is_closed { Found::Closed } else { Found::Nothing };
    };
    let path_info = after(end);
    if wants_file && is_public(&path_info) {
        let file = [to(end), b"/public", &path_info].concat();
        if files.kind(&file) == Kind::File {
            return Found::File(file);
        }
    }
    Found::Script {
        script,
        path_info,
        is_named: false,
    }
}

/// Where the components behind `from` are in a path, as far as applications may be in them.
fn components(path: &[u8], from: usize) -> impl Iterator<Item = Range<usize>> {
    let rest = path.get(from + 1..).unwrap_or_default();
    let mut at = from + 1;
    let all = rest.split(|byte| *byte == b'/').map(move |component| {
        let start = at;
        at += component.len() + 1;
        (component, start..start + component.len())
    });
    let is_open = |component: &[u8]| {
        is_relative(component) && !component.starts_with(b".") && !CLOSED.contains(&component)
    };
    all.take_while(move |(component, _)| is_open(component))
        .map(|(_, range)| range)
        .take(DEPTH)
}

/// What can be the path of a file in `public/`.
fn is_public(path_info: &[u8]) -> bool {
    let mut components = path_info.split(|byte| *byte == b'/').skip(1).peekable();
    let is_visible = |component: &[u8]| {
        !component.is_empty() && (!component.starts_with(b".") || component == b".well-known")
    };
    components.peek().is_some() && components.all(is_visible)
}

/// A path with a slash at its end, as a URL.
pub fn with_slash(path: &[u8], query: Option<&[u8]>) -> Vec<u8> {
    let mut url = Vec::with_capacity(path.len() + 16);
    for byte in path {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(byte);
        match is_plain {
            true => url.push(*byte),
            false => url.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    url.push(b'/');
    if let Some(query) = query {
        url.push(b'?');
        url.extend_from_slice(query);
    }
    url
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use super::*;

    /// A tree: names that end with `/` are directories, those that end with `!` are closed ones.
    struct Tree {
        entries: BTreeMap<Vec<u8>, Kind>,
        calls: Cell<u32>,
    }

    impl Tree {
        fn of(names: &[&str]) -> Self {
            let mut entries = BTreeMap::new();
            for name in names {
                let kind = match name.chars().last() {
                    Some('/') => Kind::Directory,
                    Some('!') => Kind::Closed,
                    _ => Kind::File,
                };
                let path = format!("/home/ann/w/{}", name.trim_end_matches(['/', '!']));
                let mut parent = path.as_str();
                while let Some((above, _)) = parent.rsplit_once('/') {
                    entries.entry(above.into()).or_insert(Kind::Directory);
                    parent = above;
                }
                entries.insert(path.into_bytes(), kind);
            }
            Self {
                entries,
                calls: Cell::new(0),
            }
        }
    }

    impl Files for Tree {
        fn kind(&self, path: &[u8]) -> Kind {
            self.calls.set(self.calls.get() + 1);
            let above = (0..path.len())
                .filter(|at| path[*at] == b'/')
                .map(|at| &path[..at]);
            for directory in above.filter(|directory| !directory.is_empty()) {
                match self.entries.get(directory) {
                    Some(Kind::Directory) => {}
                    Some(Kind::Closed) => return Kind::Closed,
                    _ => return Kind::Missing,
                }
            }
            match self.entries.get(path) {
                Some(Kind::Closed) => Kind::Directory,
                Some(kind) => *kind,
                None => Kind::Missing,
            }
        }

        fn only(&self, directory: &[u8], suffix: &[u8]) -> Option<Vec<u8>> {
            self.calls.set(self.calls.get() + 4);
            let names = self.entries.keys().filter_map(|path| {
                let name = path.strip_prefix(directory)?.strip_prefix(b"/")?;
                (!name.contains(&b'/') && !name.starts_with(b".") && name.ends_with(suffix))
                    .then(|| name.to_vec())
            });
            let found: Vec<Vec<u8>> = names.collect();
            (found.len() == 1).then(|| found[0].clone())
        }
    }

    fn place(rest: &str) -> Place<'_> {
        Place {
            user: b"ann",
            directory: b"/home/ann/w",
            rest: rest.as_bytes(),
        }
    }

    /// `script|path_info`, `file`, `-` or `closed`, relative to the user's directory.
    fn found(names: &[&str], rest: &str) -> String {
        let relative =
            |path: &[u8]| String::from_utf8_lossy(path.strip_prefix(b"/home/ann/w/").unwrap()).into_owned();
        match find(&Tree::of(names), &place(rest), true) {
            Found::Script {
                script, path_info, ..
            } => format!("{}|{}", relative(&script), String::from_utf8_lossy(&path_info)),
            Found::File(file) => relative(&file),
            Found::Nothing => "-".into(),
            Found::Closed => "closed".into(),
        }
    }

    // R30
    #[test]
    fn a_place_is_below_whole_components_only() {
        let of = |path: &'static str| {
            Place::of(b"/home/*/w", path.as_bytes()).map(|place| (place.user, place.directory, place.rest))
        };
        assert_eq!(
            of("/home/ann/w"),
            Some((&b"ann"[..], &b"/home/ann/w"[..], &b""[..]))
        );
        assert_eq!(
            of("/home/ann/w/x"),
            Some((&b"ann"[..], &b"/home/ann/w"[..], &b"/x"[..]))
        );
        for outside in [
            "/home/ann/ww/x",
            "/home/ann",
            "/home//w/x",
            "/homes/ann/w",
            "/home/a/b/w",
            "/x/home/ann/w",
        ] {
            assert_eq!(of(outside), None, "{outside}");
        }
        for unclean in [
            "/home/ann/w/../x",
            "/home/ann/w/a/./b",
            "/home/../w/x",
            "/home/~ann/w",
            "/home/ann/w/..",
        ] {
            assert!(
                !Place::of(b"/home/*/w", unclean.as_bytes()).unwrap().is_clean(),
                "{unclean}"
            );
        }
        for clean in ["/home/ann/w/..a/b.", "/home/ann/w/", "/home/ann/w/a\nb"] {
            assert!(
                Place::of(b"/home/*/w", clean.as_bytes()).unwrap().is_clean(),
                "{clean}"
            );
        }
    }

    #[test]
    fn a_script_is_named_by_its_directory_and_its_name() {
        assert_eq!(place("/app.wsgi").script(), Some((&b""[..], &b"app.wsgi"[..])));
        assert_eq!(
            place("/a/b/app.wsgi").script(),
            Some((&b"a/b"[..], &b"app.wsgi"[..]))
        );
        for none in ["", "/", "/a/", "/../app.wsgi", "/a//app.wsgi", "/a\n/app.wsgi"] {
            assert_eq!(place(none).script(), None, "{none}");
        }
    }

    #[test]
    fn names_count_in_their_order() {
        let all = ["wsgi.py", "app.wsgi", "passenger_wsgi.py", "x.wsgi"];
        assert_eq!(found(&all, "/a/b"), "passenger_wsgi.py|/a/b");
        assert_eq!(found(&all[..2], "/"), "app.wsgi|/");
        assert_eq!(found(&["wsgi.py", "x.wsgi"], "/"), "wsgi.py|/");
        assert_eq!(found(&["x.wsgi", "y.py"], ""), "x.wsgi|");
        assert_eq!(found(&["x.wsgi", "y.wsgi"], "/"), "-");
        assert_eq!(found(&["app.wsgi/", "y.py"], "/"), "-");
        assert_eq!(found(&["index.html"], "/index.html"), "-");
    }

    #[test]
    fn any_script_answers_to_its_own_url() {
        let names = ["x.wsgi", "y.wsgi", "d/z.wsgi", "passenger_wsgi.py"];
        assert_eq!(found(&names, "/y.wsgi/a"), "y.wsgi|/a");
        assert_eq!(found(&names, "/d/z.wsgi"), "d/z.wsgi|");
        assert_eq!(
            found(&names, "/passenger_wsgi.py"),
            "passenger_wsgi.py|/passenger_wsgi.py"
        );
        assert_eq!(found(&[".wsgi"], "/.wsgi"), "-");
        for hidden in ["tmp", "venv", ".venv", "public", "__pycache__"] {
            let script = format!("{hidden}/z.wsgi");
            assert_eq!(found(&[&script], &format!("/{script}")), "-");
        }
    }

    #[test]
    fn the_innermost_application_counts_but_a_package_is_none() {
        let django = ["passenger_wsgi.py", "site/wsgi.py", "site/__init__.py"];
        assert_eq!(found(&django, "/site/x"), "passenger_wsgi.py|/site/x");
        assert_eq!(found(&["site/wsgi.py"], "/site/x"), "site/wsgi.py|/x");
        assert_eq!(found(&["wsgi.py", "site/wsgi.py"], "/site/x"), "wsgi.py|/site/x");
        assert_eq!(
            found(&["wsgi.py", "blog/app.wsgi"], "/blog/x"),
            "blog/app.wsgi|/x"
        );
        let two = ["app.wsgi", "blog/passenger_wsgi.py"];
        assert_eq!(found(&two, "/blog"), "blog/passenger_wsgi.py|");
        assert_eq!(found(&two, "/blogs"), "app.wsgi|/blogs");
    }

    #[test]
    fn files_of_public_come_first_and_no_others() {
        let names = [
            "app.wsgi",
            "public/a/b.css",
            "public/.htaccess",
            "public/.well-known/x",
            "data.db",
            ".env",
            "tmp/x",
        ];
        assert_eq!(found(&names, "/a/b.css"), "public/a/b.css");
        assert_eq!(found(&names, "/.well-known/x"), "public/.well-known/x");
        for not in [
            "/a",
            "/a/",
            "/.htaccess",
            "/data.db",
            "/.env",
            "/tmp/x",
            "/public/a/b.css",
            "/a/b.css/",
            "//a/b.css",
        ] {
            assert_eq!(found(&names, not), format!("app.wsgi|{not}"));
        }
        let tree = Tree::of(&names);
        let asked = find(&tree, &place("/a/b.css"), false);
        assert!(
            matches!(asked, Found::Script { .. }),
            "only where a file may answer"
        );
    }

    #[test]
    fn what_is_closed_is_told_from_what_is_not_there() {
        assert_eq!(found(&["blog!", "blog/app.wsgi"], "/blog/x"), "closed");
        assert_eq!(found(&["app.wsgi", "blog!"], "/blog/x"), "app.wsgi|/blog/x");
        assert_eq!(found(&["x.txt"], "/blog/x"), "-");
        let mut tree = Tree::of(&["app.wsgi"]);
        tree.entries.insert(b"/home/ann".to_vec(), Kind::Closed);
        assert_eq!(find(&tree, &place("/x"), true), Found::Closed);
    }

    #[test]
    fn looking_is_cheap_and_bounded() {
        let tree = Tree::of(&["passenger_wsgi.py"]);
        find(&tree, &place("/blog/post/1"), true);
        assert_eq!(tree.calls.get(), 3);
        let deep = "d/".repeat(1000);
        let tree = Tree::of(&[&deep]);
        find(&tree, &place(&format!("/{deep}")), true);
        assert!(tree.calls.get() < 200, "{}", tree.calls.get());
    }

    #[test]
    fn a_redirect_stays_where_it_is() {
        assert_eq!(with_slash(b"/~ann/a b", None), b"/~ann/a%20b/");
        assert_eq!(with_slash(b"/x\r\n%?", Some(b"q=1")), b"/x%0D%0A%25%3F/?q=1");
    }
}
