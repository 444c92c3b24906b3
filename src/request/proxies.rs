//! What proxies in front of httpd tell of a request, and what of it is believed.

use std::net::IpAddr;

use crate::directives::proxies::{Category, ProxyHeader, Subnets};

/// Which headers are looked at, and whose.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// `WSGITrustedProxyHeaders`, in its order.
    pub headers: &'a [ProxyHeader],
    /// `WSGITrustedProxies`; without it every peer is believed.
    pub proxies: Option<&'a Subnets>,
}

/// What is believed; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told<'r> {
    /// The client's address.
    pub client: Option<&'r [u8]>,
    /// What is left of `X-Forwarded-For` when items at its beginning are not believed.
    pub forwarded_for: Option<Vec<u8>>,
    /// The host that the client asked.
    pub host: Option<&'r [u8]>,
    /// The server's name.
    pub server: Option<&'r [u8]>,
    /// The server's port.
    pub port: Option<&'r [u8]>,
    /// Where the application is mounted.
    pub script: Option<&'r [u8]>,
    /// The scheme is https, or is not.
    pub https: Option<bool>,
    /// The kinds of headers that are looked at, and of each the one that counted.
    looked_at: Vec<(Category, Option<ProxyHeader>)>,
}

impl Told<'_> {
    /// The header is of a kind that is looked at, and did not count: the application does not see it.
    pub fn hides(&self, name: &[u8]) -> bool {
        if self.looked_at.is_empty() {
            return false;
        }
        ProxyHeader::of(name).is_some_and(|header| {
            let category = header.category();
            self.looked_at
                .iter()
                .any(|(looked_at, counted)| *looked_at == category && *counted != Some(header))
        })
    }

    fn marks(&mut self, category: Category) -> &mut Option<ProxyHeader> {
        let found = self.looked_at.iter().position(|(marked, _)| *marked == category);
        let index = found.unwrap_or_else(|| {
            self.looked_at.push((category, None));
            self.looked_at.len() - 1
        });
        &mut self.looked_at[index].1
    }
}

/// Reads the headers of a request that comes from `peer` (an address as text).
pub fn told<'r>(headers: &[(&'r [u8], &'r [u8])], peer: &[u8], trust: Trust<'_>) -> Told<'r> {
    let believes = trust.proxies.is_none_or(|proxies| is_one_of(proxies, peer));
    let mut told = Told::default();
    for &header in trust.headers {
        let counted = told.marks(header.category());
        if !believes {
            continue;
        }
        let found = headers
            .iter()
            .rev()
            .find(|(name, _)| ProxyHeader::of(name) == Some(header) && !name.contains(&b'_'));
        if let Some((_, value)) = found {
            *counted = Some(header);
            told.take(header, value, trust.proxies);
        }
    }
    told
}

fn is_one_of(proxies: &Subnets, address: &[u8]) -> bool {
    let address = std::str::from_utf8(address).ok();
    address
        .and_then(|text| text.parse::<IpAddr>().ok())
        .is_some_and(|address| proxies.contain(address))
}

impl<'r> Told<'r> {
    fn take(&mut self, header: ProxyHeader, value: &'r [u8], proxies: Option<&Subnets>) {
        match (header.category(), header.name()) {
            (Category::Client, "X-Forwarded-For") => self.take_forwarded_for(value, proxies),
            (Category::Client, _) => {
                self.client = Some(value);
                self.forwarded_for = None;
            }
            (Category::Host, _) => self.host = Some(value),
            (Category::Server, _) => self.server = Some(value),
            (Category::Port, _) => self.port = Some(value),
            (Category::Script, _) => self.script = Some(value),
            (Category::Scheme, "X-Forwarded-HTTPS" | "X-Forwarded-SSL" | "X-HTTPS") => {
                self.https = one_of(value, &["on", "true", "1"], &["off", "false", "0"]).or(self.https);
            }
            (Category::Scheme, _) => self.https = one_of(value, &["https"], &["http"]).or(self.https),
        }
    }

    /// Each proxy adds the address that it was connected from; so the end of the list is as true as the proxies that wrote it.
    fn take_forwarded_for(&mut self, value: &'r [u8], proxies: Option<&Subnets>) {
        let items: Vec<&[u8]> = value
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|item| !item.is_empty())
            .collect();
        let Some(proxies) = proxies else {
            self.client = items.first().copied().or(self.client);
            return;
        };
        let trusted = items
            .iter()
            .rev()
            .take_while(|item| is_one_of(proxies, item))
            .count();
        let client = items.len().saturating_sub(trusted + 1);
        let Some(believed) = items.get(client..).filter(|items| !items.is_empty()) else {
            return;
        };
        self.client = believed.first().copied();
        self.forwarded_for = Some(believed.join(&b", "[..]));
    }
}

fn one_of(value: &[u8], yes: &[&str], no: &[&str]) -> Option<bool> {
    let is = |words: &[&str]| {
        words
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
    };
    if is(yes) {
        Some(true)
    } else if is(no) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directives::Words;
    use crate::directives::kinds::Kind;
    use crate::directives::proxies::{KNOWN, ProxyHeaders};

    fn declared(names: &str) -> Vec<ProxyHeader> {
        let headers = ProxyHeaders::read(&mut Words::new(names), None).unwrap();
        assert!(headers.unknown.is_empty(), "{names}");
        headers.known
    }

    fn told_by<'r>(
        names: &str,
        proxies: Option<&str>,
        peer: &str,
        headers: &[(&'r str, &'r str)],
    ) -> Told<'r> {
        let proxies = proxies.map(|words| Subnets::read(&mut Words::new(words), None).unwrap());
        let headers: Vec<(&[u8], &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        let trust = Trust {
            headers: &declared(names),
            proxies: proxies.as_ref(),
        };
        told(&headers, peer.as_bytes(), trust)
    }

    fn text(bytes: Option<&[u8]>) -> Option<&str> {
        bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn forwarded_for_is_read_from_its_end() {
        const PROXIES: &str = "10.0.0.0/8 fd00::/8";
        for (value, client, rest) in [
            ("1.1.1.1", "1.1.1.1", "1.1.1.1"),
            ("1.1.1.1, 10.0.0.1", "1.1.1.1", "1.1.1.1, 10.0.0.1"),
            (
                "6.6.6.6, 1.1.1.1,10.0.0.1 , 10.0.0.2",
                "1.1.1.1",
                "1.1.1.1, 10.0.0.1, 10.0.0.2",
            ),
            ("10.0.0.9, 1.1.1.1, 10.0.0.1", "1.1.1.1", "1.1.1.1, 10.0.0.1"),
            ("10.0.0.3, 10.0.0.1", "10.0.0.3", "10.0.0.3, 10.0.0.1"),
            ("6.6.6.6, 1.1.1.1", "1.1.1.1", "1.1.1.1"),
            ("1.1.1.1, unknown", "unknown", "unknown"),
            ("1.1.1.1, 10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:80"),
            ("1.1.1.1,,, 10.0.0.1,", "1.1.1.1", "1.1.1.1, 10.0.0.1"),
            ("1.1.1.1, localhost, fd00::7", "localhost", "localhost, fd00::7"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ] {
            let told = told_by(
                "X-Forwarded-For",
                Some(PROXIES),
                "10.0.0.1",
                &[("X-Forwarded-For", value)],
            );
            assert_eq!(text(told.client), Some(client), "{value}");
            assert_eq!(text(told.forwarded_for.as_deref()), Some(rest), "{value}");
        }
        for empty in ["", " , ,"] {
            let told = told_by(
                "X-Forwarded-For",
                Some(PROXIES),
                "10.0.0.1",
                &[("X-Forwarded-For", empty)],
            );
            assert_eq!((told.client, told.forwarded_for), (None, None), "{empty:?}");
        }
    }

    #[test]
    fn without_proxies_the_first_item_is_the_client_and_the_list_stays() {
        for (value, client) in [
            ("1.1.1.1, 2.2.2.2", Some("1.1.1.1")),
            (" ,x , y", Some("x")),
            (",", None),
        ] {
            let told = told_by("X-Forwarded-For", None, "9.9.9.9", &[("X-Forwarded-For", value)]);
            assert_eq!(
                (text(told.client), told.forwarded_for.as_ref()),
                (client, None),
                "{value}"
            );
        }
    }

    /// R47: category × synonym × peer.
    #[test]
    fn of_each_declared_kind_only_the_winner_is_seen_and_none_from_a_stranger() {
        let all: Vec<(&str, &str)> = KNOWN.iter().map(|(name, _)| (*name, "1")).collect();
        for (declared, category) in KNOWN {
            for (peer, believed) in [("10.0.0.1", true), ("6.6.6.6", false)] {
                let told = told_by(declared, Some("10.0.0.1"), peer, &all);
                for (name, of) in KNOWN {
                    let hidden = of == category && !(believed && name == declared);
                    assert_eq!(told.hides(name.as_bytes()), hidden, "{declared} {peer} {name}");
                }
                let changes = Told {
                    looked_at: Vec::new(),
                    ..told
                } != Told::default();
                // "1" is no scheme for the three headers that want a name.
                let is_named_scheme =
                    ["X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Scheme"].contains(&declared);
                assert_eq!(changes, believed && !is_named_scheme, "{declared} {peer}");
            }
        }
    }

    #[test]
    fn the_last_declared_one_that_is_present_wins() {
        let both = [("X-Real-IP", "2.2.2.2"), ("X-Client-IP", "3.3.3.3")];
        let told = told_by("X-Real-IP X-Client-IP", None, "", &both);
        assert_eq!(text(told.client), Some("3.3.3.3"));
        assert!(told.hides(b"x-real-ip") && !told.hides(b"X-Client-IP"));
        let told = told_by("X-Client-IP X-Real-IP", None, "", &both);
        assert_eq!(text(told.client), Some("2.2.2.2"));
        let told = told_by("X-Real-IP X-Client-IP", None, "", &both[..1]);
        assert_eq!(text(told.client), Some("2.2.2.2"));
        assert!(told.hides(b"X-Forwarded-For"));
        let list = [("X-Forwarded-For", "1.1.1.1"), ("X-Real-IP", "2.2.2.2")];
        let told = told_by("X-Forwarded-For X-Real-IP", Some("10.0.0.1"), "10.0.0.1", &list);
        assert_eq!((text(told.client), &told.forwarded_for), (Some("2.2.2.2"), &None));
    }

    #[test]
    fn schemes_are_words_in_any_case() {
        for (name, value, https) in [
            ("X-Forwarded-Proto", "HTTPS", Some(true)),
            ("X-Forwarded-Scheme", "http", Some(false)),
            ("X-Scheme", "on", None),
            ("X-Scheme", "wss", None),
            ("X-Forwarded-HTTPS", "On", Some(true)),
            ("X-Forwarded-SSL", "TRUE", Some(true)),
            ("X-HTTPS", "1", Some(true)),
            ("X-HTTPS", "false", Some(false)),
            ("X-HTTPS", "0", Some(false)),
            ("X-Forwarded-SSL", "off", Some(false)),
            ("X-Forwarded-SSL", "https", None),
        ] {
            assert_eq!(
                told_by(name, None, "", &[(name, value)]).https,
                https,
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn peers_that_are_no_addresses_are_strangers() {
        for peer in ["", "localhost", "10.0.0.1:80", "10.0.0.1 "] {
            let told = told_by(
                "X-Real-IP",
                Some("0.0.0.0/0 ::/0"),
                peer,
                &[("X-Real-IP", "1.1.1.1")],
            );
            assert_eq!(told.client, None, "{peer:?}");
        }
    }
}
