//! What httpd's input filters will make of a request's body. They begin when it is read, which is after the environ has been made.

use super::View;

/// What of the request's headers will no longer be true of the body that the application reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filtered<'r> {
    /// Its length is not known.
    pub length: bool,
    /// What is left of `Content-Encoding`, perhaps nothing; `None`: all that was there.
    pub codings: Option<&'r [u8]>,
}

impl Filtered<'_> {
    /// Whether a header of this name is about bytes that the application does not get.
    pub fn hides(&self, name: &[u8]) -> bool {
        self.length
            && (name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"Content-MD5"))
    }
}

/// `filters` are the names of those that deal with content, the one nearest to the application first. Of those that come with httpd two change
/// lengths: mod_deflate, of bodies that are compressed, and mod_sed.
pub fn filtered<'r>(view: &View<'r>, filters: &[&[u8]]) -> Filtered<'r> {
    let mut filtered = Filtered::default();
    // Both leave alone what was redirected; the filters see the request that came first.
    if filters.is_empty() || view.redirected.is_some() {
        return filtered;
    }
    let header = |name: &[u8]| {
        let found = view
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value)
    };
    let has = |name: &[u8]| filters.iter().any(|filter| filter.eq_ignore_ascii_case(name));
    if has(b"deflate") && header(b"Content-Range").is_none() {
        filtered.codings = header(b"Content-Encoding").and_then(without_gzip);
        filtered.length = filtered.codings.is_some();
    }
    filtered.length |= has(b"sed");
    filtered
}

/// The codings that are left when mod_deflate has undone the last one; `None` when that is none of its own.
fn without_gzip(codings: &[u8]) -> Option<&[u8]> {
    let mut rest = codings;
    loop {
        let (before, last) = match rest.iter().rposition(|byte| *byte == b',') {
            Some(comma) => rest.split_at(comma),
            None => (&[][..], rest),
        };
        let last = last.strip_prefix(b",").unwrap_or(last).trim_ascii();
        if last.eq_ignore_ascii_case(b"gzip") || last.eq_ignore_ascii_case(b"x-gzip") {
            return Some(before.trim_ascii());
        }
        if before.is_empty() || !last.eq_ignore_ascii_case(b"identity") {
            return None;
        }
        rest = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Redirected;

    fn of<'r>(filters: &[&[u8]], headers: &[(&'r str, &'r str)]) -> Filtered<'r> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let view = View {
            headers: headers.collect(),
            ..View::default()
        };
        filtered(&view, filters)
    }

    #[test]
    fn what_is_decompressed_has_no_length() {
        for (codings, rest) in [
            ("gzip", Some("")),
            ("X-GZip", Some("")),
            ("br, gzip", Some("br")),
            ("gzip, identity", Some("")),
            ("gzip, br", None),
            ("identity", None),
            ("deflate", None),
            ("", None),
        ] {
            let found = of(&[b"kept_body", b"deflate"], &[("content-encoding", codings)]);
            let expected = Filtered {
                length: rest.is_some(),
                codings: rest.map(str::as_bytes),
            };
            assert_eq!(found, expected, "{codings}");
        }
        assert_eq!(of(&[], &[("Content-Encoding", "gzip")]), Filtered::default());
    }

    #[test]
    fn what_is_not_changed_keeps_its_length() {
        let partial = [("Content-Encoding", "gzip"), ("Content-Range", "bytes 0-1/9")];
        assert_eq!(of(&[b"deflate"], &partial), Filtered::default());
        assert_eq!(
            of(&[b"buffer"], &[("Content-Encoding", "gzip")]),
            Filtered::default()
        );
        let view = View {
            headers: vec![(b"Content-Encoding", b"gzip")],
            redirected: Some(Redirected::default()),
            ..View::default()
        };
        assert_eq!(filtered(&view, &[b"deflate"]), Filtered::default());
    }

    #[test]
    fn what_is_edited_has_no_length() {
        let edited = of(&[b"sed"], &[("Content-Encoding", "gzip")]);
        assert_eq!((edited.length, edited.codings), (true, None));
    }
}
