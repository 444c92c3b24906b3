//! What a request and an application's answer become: no variable is of two headers, and nothing reaches the client that is not a head. The first
//! byte chooses.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use rwsgi_wire::response::Response;

#[path = "../src/config/mod.rs"]
#[allow(dead_code, unused_imports)]
mod config;
#[path = "../src/directives/mod.rs"]
#[allow(dead_code, unused_imports)]
mod directives;
#[path = "../src/request/mod.rs"]
#[allow(dead_code)]
mod request;

use directives::kinds::parse;
use directives::proxies::{ProxyHeaders, Subnets};
use request::environ::Environ;
use request::proxies::{Trust, told};
use request::target::{Target, covered, rest, rest_of_match, script_name, single_slashes};
use request::{View, response};

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else {
        return;
    };
    match which % 3 {
        0 => answer(bytes),
        1 => headers(bytes),
        _ => paths(bytes),
    }
});

/// R50 to R52
fn answer(bytes: &[u8]) {
    let Ok(response) = Response::decode(bytes) else {
        return;
    };
    let Ok(head) = response::check(&response) else {
        return;
    };
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != 0x7f || *byte == b'\t';
    assert!(head.line.iter().all(is_plain) && (200..=999).contains(&head.status));
    for (name, value) in head.headers {
        assert!(!name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':'));
        assert!(value.iter().all(is_plain));
        for framing in [&b"transfer-encoding"[..], b"connection", b"content-length", b"upgrade"] {
            assert!(!name.eq_ignore_ascii_case(framing));
        }
    }
}

/// The lines of a head, `name: value`; the first two are `WSGITrustedProxyHeaders` and `WSGITrustedProxies`.
fn headers(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let word = |line: Option<&[u8]>| String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    let known = parse::<ProxyHeaders>(&word(lines.next())).map(|headers| headers.known);
    let known = known.unwrap_or_default();
    let proxies = parse::<Subnets>(&word(lines.next())).ok();
    let mut headers: Vec<(&[u8], &[u8])> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            Some((name, value.get(1..)?.trim_ascii()))
        })
        .collect();
    // httpd has made one of those that are repeated.
    let mut names = HashSet::new();
    headers.retain(|(name, _)| names.insert(name.to_ascii_lowercase()));
    let trust = Trust {
        headers: &known,
        proxies: proxies.as_ref(),
    };
    let view = View {
        told: told(&headers, b"10.0.0.1", trust),
        headers: headers.clone(),
        ..View::default()
    };
    let target = Target {
        process_group: String::new(),
        application_group: String::new(),
        callable: "application".to_owned(),
    };
    let environ = Environ::of(&view, &target);
    // R43, R44
    let mut seen = HashSet::new();
    for (name, _) in environ.pairs().iter() {
        assert_ne!(name, b"HTTP_PROXY");
        if name.starts_with(b"HTTP_") {
            assert!(seen.insert(name.to_vec()), "twice: {}", String::from_utf8_lossy(name));
        }
    }
}

/// An alias, what it leads to, a path and the path info: one in each line.
fn paths(bytes: &[u8]) {
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (alias, target, uri, info) = (next(), next(), next(), next());
    if let Some(covered) = covered(uri, alias) {
        assert!(covered <= uri.len());
        assert!(uri.ends_with(rest(target, uri, covered)));
        assert!(uri.ends_with(rest_of_match(uri, covered)));
    }
    for path in [single_slashes(uri), script_name(uri, info)] {
        assert!(!path.windows(2).any(|two| two == b"//"));
    }
}
