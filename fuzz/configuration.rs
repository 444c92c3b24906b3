//! What is written in a configuration and in `.htaccess`, line by line: a refusal says what and why in one line, and whatever a user writes
//! stays within the base. The first byte chooses where it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rwsgi_wire::base::{self, Tuning};
use rwsgi_wire::control::Group;

// The pure part of the Apache half, without the headers of httpd that the whole of it is compiled with.
#[path = "../src/config/mod.rs"]
#[allow(dead_code, unused_imports)]
mod config;
#[path = "../src/directives/mod.rs"]
#[allow(dead_code, unused_imports)]
mod directives;
#[path = "../src/request/mod.rs"]
#[allow(dead_code)]
mod request;

use directives::{ALL, Context, Place, RawServer, Scoped, Target, Words, apply};
use request::below;
use request::template::{Names, Template};

fuzz_target!(|data: &[u8]| {
    let Some((which, text)) = data.split_first() else {
        return;
    };
    match which % 4 {
        0 => lines(text, |scoped, _| Target::Directory(scoped)),
        1 => lines(text, |_, server| Target::Server(server)),
        2 => lines(text, |scoped, server| Target::Section(scoped, server)),
        _ => patterns(text),
    }
});

/// Reads directives as httpd does, which has taken off the name.
fn lines(text: &[u8], target: for<'a> fn(&'a mut Scoped, &'a mut RawServer) -> Target<'a>) {
    let (mut scoped, mut server) = (Scoped::default(), RawServer::default());
    for line in text.split(|byte| *byte == b'\n').take(20) {
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (name, words) = line.split_at(end);
        let Some(directive) = ALL.iter().find(|known| known.name.to_bytes().eq_ignore_ascii_case(name)) else {
            continue;
        };
        let is_users = matches!(target(&mut scoped, &mut server), Target::Directory(_));
        if is_users && matches!(directive.context, Context::Global | Context::Server | Context::ServerDirectory) {
            // httpd refuses it there.
            continue;
        }
        if let Err(why) = apply(directive, target(&mut scoped, &mut server), words, &Place::default()) {
            assert!(why.contains("; ") && !why.contains('\n'), "{why:?}");
        }
        quoted(words);
    }
    within(scoped.over(&Scoped::default()).user_options.tuning());
}

/// A word that is quoted is the same word again.
fn quoted(line: &[u8]) {
    let Ok(line) = std::str::from_utf8(line) else {
        return;
    };
    let mut words = Words::new(line);
    while let Some(word) = words.next() {
        let written = format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
        assert_eq!(Words::new(&written).next().as_deref(), Some(&*word), "{written}");
        template(&word);
    }
}

/// R20: no more than the administrator has.
fn within(asked: Tuning) {
    let mut group = Group {
        processes: 3,
        threads: 5,
        ..Group::default()
    };
    let limit = group.clone();
    asked.within(&limit).apply(&mut group);
    assert!(group.processes <= limit.processes && group.threads <= limit.threads);
}

/// Names in a request that are what its client and its users like.
struct Whatever<'a>(&'a str);

impl Names for Whatever<'_> {
    fn server(&self) -> String {
        self.0.to_owned()
    }
    fn host(&self) -> String {
        self.0.to_owned()
    }
    fn resource(&self) -> String {
        self.0.to_owned()
    }
    fn variable(&self, name: &str) -> Option<String> {
        (!name.is_empty()).then(|| self.0.to_owned())
    }
}

fn template(text: &str) {
    let template = Template::new(text);
    for value in [text, "%{SERVER}", "%{ENV:x}"] {
        template.group(&Whatever(value));
        assert!(!template.callable(&Whatever(value)).is_empty());
    }
    if let Some(fixed) = template.fixed() {
        assert_eq!(template.group(&Whatever("else")), fixed);
    }
}

/// httpd's child and the manager agree on whose a path is: pattern, user and path, one in each line.
fn patterns(text: &[u8]) {
    let mut parts = text.splitn(3, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (pattern, user, path) = (next(), next(), next());
    if base::check_pattern(pattern).is_err() {
        return;
    }
    let place = below::Place::of(pattern, path);
    let ours = base::split(pattern, path);
    if let Some((user, below)) = ours {
        let place = place.as_ref().expect("the manager's user is the child's");
        assert_eq!(place.user, user);
        assert!(place.is_clean());
        assert!(place.script().is_some() || below.is_empty());
    }
    if let Some(directory) = base::directory(pattern, user) {
        let place = below::Place::of(pattern, &directory).expect("a user's own directory");
        assert_eq!((place.user, place.rest), (user, &b""[..]));
        assert_eq!(base::split(pattern, &directory), Some((user, &b""[..])));
    }
}
