//! What `WSGITrustedProxyHeaders` and `WSGITrustedProxies` take: names of headers, and addresses.

use core::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::kinds::Kind;
use super::{Words, Wrong};

/// What a header of a proxy tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Who the client is.
    Client,
    /// Which host it asked.
    Host,
    /// The server's name.
    Server,
    /// The server's port.
    Port,
    /// Where the application is mounted.
    Script,
    /// http or https.
    Scheme,
}

/// A header by which proxies tell what they know: an index into [`KNOWN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader(u8);

/// All of them.
pub const KNOWN: [(&str, Category); 15] = [
    ("X-Forwarded-For", Category::Client),
    ("X-Client-IP", Category::Client),
    ("X-Real-IP", Category::Client),
    ("X-Forwarded-Host", Category::Host),
    ("X-Host", Category::Host),
    ("X-Forwarded-Server", Category::Server),
    ("X-Forwarded-Port", Category::Port),
    ("X-Script-Name", Category::Script),
    ("X-Forwarded-Script-Name", Category::Script),
    ("X-Forwarded-Proto", Category::Scheme),
    ("X-Forwarded-Scheme", Category::Scheme),
    ("X-Scheme", Category::Scheme),
    ("X-Forwarded-HTTPS", Category::Scheme),
    ("X-Forwarded-SSL", Category::Scheme),
    ("X-HTTPS", Category::Scheme),
];

impl ProxyHeader {
    /// The header of that name; `_` is as good as `-`.
    pub fn of(name: &[u8]) -> Option<Self> {
        // No hot path: almost every header fails at its first two bytes.
        if !matches!(name, [b'x' | b'X', b'-' | b'_', ..]) {
            return None;
        }
        let same = |known: &str| {
            known.len() == name.len()
                && known
                    .bytes()
                    .zip(name)
                    .all(|(a, b)| a.eq_ignore_ascii_case(b) || (a == b'-' && *b == b'_'))
        };
        let index = KNOWN.iter().position(|(known, _)| same(known))?;
        u8::try_from(index).ok().map(Self)
    }

    /// Its usual spelling.
    pub fn name(self) -> &'static str {
        KNOWN.get(usize::from(self.0)).map_or("", |known| known.0)
    }

    /// What it tells.
    pub fn category(self) -> Category {
        KNOWN
            .get(usize::from(self.0))
            .map_or(Category::Client, |known| known.1)
    }
}

/// The headers that `WSGITrustedProxyHeaders` names, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyHeaders {
    /// Those that mean something.
    pub known: Vec<ProxyHeader>,
    /// The others.
    pub unknown: Vec<String>,
}

impl Kind for ProxyHeaders {
    const USAGE: &'static CStr = c"header [header ...]";

    fn parse(word: &str) -> Result<Self, Wrong> {
        let mut headers = Self::default();
        match ProxyHeader::of(word.as_bytes()) {
            Some(header) => headers.known.push(header),
            None => headers.unknown.push(word.to_owned()),
        }
        Ok(headers)
    }

    fn read(words: &mut Words<'_>, earlier: Option<Self>) -> Result<Self, Wrong> {
        several(words, earlier, |all: &mut Self, more| {
            all.known.extend(more.known);
            all.unknown.extend(more.unknown);
        })
    }
}

/// Reads one or more words, and adds them to what stood in the same scope before.
fn several<K: Kind + Default>(
    words: &mut Words<'_>,
    earlier: Option<K>,
    add: impl Fn(&mut K, K),
) -> Result<K, Wrong> {
    let mut all = earlier.unwrap_or_default();
    let mut count = 0;
    while let Some(word) = words.next() {
        add(&mut all, super::kinds::parse(&word)?);
        count += 1;
    }
    if count == 0 {
        let usage = K::USAGE.to_string_lossy();
        return Err(Wrong::new(
            "requires at least one argument",
            format!("write: {usage}"),
        ));
    }
    Ok(all)
}

/// An address, or all addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    address: u128,
    mask: u128,
}

/// IPv4 addresses as IPv6 has them: an address written either way is the same one.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

const IPV4: u128 = u128::MAX << 32;

impl Subnet {
    /// Whether the address is one of it.
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.address
    }

    fn new(address: IpAddr, mask: u128) -> Self {
        Self {
            address: bits(address) & mask,
            mask,
        }
    }

    fn of(word: &str) -> Option<Self> {
        let Some((address, mask)) = word.split_once('/') else {
            return match word.parse() {
                Ok(address) => Some(Self::new(address, u128::MAX)),
                Err(_) => Self::of_beginning(word),
            };
        };
        match address.parse().ok()? {
            IpAddr::V4(v4) => {
                let mask = match mask.parse::<Ipv4Addr>() {
                    Ok(mask) => mask.to_bits(),
                    Err(_) => high_bits(mask, 32)? as u32,
                };
                Some(Self::new(v4.into(), IPV4 | u128::from(mask)))
            }
            IpAddr::V6(v6) => {
                let mask = match mask.parse::<Ipv6Addr>() {
                    Ok(mask) => mask.to_bits(),
                    Err(_) => high_bits(mask, 128)?,
                };
                Some(Self::new(v6.into(), mask))
            }
        }
    }

    /// `10` and `192.168.` are the networks of all addresses that begin so.
    fn of_beginning(word: &str) -> Option<Self> {
        let word = word.strip_suffix('.').unwrap_or(word);
        let mut octets = [0_u8; 4];
        let mut count = 0;
        for part in word.split('.') {
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            *octets.get_mut(count)? = part.parse().ok()?;
            count += 1;
        }
        let mask = u128::MAX << (8 * (4 - count));
        (count < 4).then(|| Self::new(Ipv4Addr::from(octets).into(), mask))
    }
}

/// A mask of `count` one bits in front, of `width` bits.
fn high_bits(count: &str, width: u32) -> Option<u128> {
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u32 = count.parse().ok().filter(|count| *count <= width)?;
    let ones = u128::MAX.checked_shl(width - count).unwrap_or(0);
    Some(if width == 128 {
        ones
    } else {
        ones & ((1 << width) - 1)
    })
}

/// The proxies that `WSGITrustedProxies` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnets(Vec<Subnet>);

impl Subnets {
    /// Whether one of them has the address.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|subnet| subnet.contains(address))
    }
}

impl Kind for Subnets {
    const USAGE: &'static CStr = c"address[/mask] [address[/mask] ...]";

    fn parse(word: &str) -> Result<Self, Wrong> {
        let subnet = Subnet::of(word).ok_or_else(|| {
            Wrong::new(
                format!("has the value '{word}', which is neither an IP address nor a network"),
                "write addresses as in 10.0.0.1, 10.0.0.0/8 or fd00::/8; names are not looked up",
            )
        })?;
        Ok(Self(vec![subnet]))
    }

    fn read(words: &mut Words<'_>, earlier: Option<Self>) -> Result<Self, Wrong> {
        several(words, earlier, |all: &mut Self, more| all.0.extend(more.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::parse;
    use super::*;

    #[test]
    fn headers_are_known_in_any_spelling() {
        for (name, category) in KNOWN {
            let header = ProxyHeader::of(name.to_lowercase().as_bytes()).unwrap();
            assert_eq!((header.name(), header.category()), (name, category));
            assert_eq!(ProxyHeader::of(name.replace('-', "_").as_bytes()), Some(header));
        }
        for name in ["X-Forwarded-Fo", "X-Forwarded-Fors", "Host", "", "X-"] {
            assert_eq!(ProxyHeader::of(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn networks_contain_what_begins_alike() {
        for (network, inside, outside) in [
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.9.9.9/8", "10.1.2.3", "11.9.9.9"),
            ("192.168.0.0/255.255.0.0", "192.168.7.7", "192.169.0.0"),
            ("10", "10.7.7.7", "1.0.0.0"),
            ("172.16.", "172.16.0.1", "172.17.0.1"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::1", "::1", "::2"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("FD00::/8", "fdff::1", "10.0.0.1"),
            ("fd00::/ff00::", "fdff::1", "fe00::1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ] {
            let network = parse::<Subnets>(network).unwrap();
            assert!(network.contain(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(
                !network.contain(outside.parse().unwrap()),
                "{network:?} {outside}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for word in [
            "proxy.example.org",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.256",
            "1.2.3.4.5",
            "..",
            "",
            "::1/129",
            "10.0/8",
            "[::1]",
            "10.0.0.1:80",
            "*",
        ] {
            assert!(parse::<Subnets>(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_repeated_directive_adds_to_the_first() {
        let mut words = Words::new("X-Real-IP X-Unheard-Of");
        let earlier = parse::<ProxyHeaders>("X-Forwarded-For").unwrap();
        let headers = ProxyHeaders::read(&mut words, Some(earlier)).unwrap();
        let names: Vec<_> = headers.known.iter().map(|header| header.name()).collect();
        assert_eq!(names, ["X-Forwarded-For", "X-Real-IP"]);
        assert_eq!(headers.unknown, ["X-Unheard-Of"]);
        assert!(ProxyHeaders::read(&mut Words::new(""), None).is_err());
    }
}
