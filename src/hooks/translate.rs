//! Maps URLs to scripts.

use std::borrow::Cow;
use std::ffi::CString;

use super::{ALIAS_NOTE, SCRIPT_HANDLER};
use crate::directives::script::{Alias, Pattern};
use crate::httpd::{Regex, Request, Verdict};
use crate::request::target;

/// The first alias that matches decides.
pub fn translate_name(request: &Request<'_>) -> Verdict {
    let uri = request.uri().to_bytes();
    if !uri.starts_with(b"/") && !uri.is_empty() {
        return Verdict::Declined;
    }
    let server = request.server();
    let (Some(slot), Some(config)) = (server.slot(), server.config()) else {
        return Verdict::Declined;
    };
    let patterns = slot.patterns.get().map(Vec::as_slice).unwrap_or_default();
    let aliases = config.aliases.iter().zip(patterns);
    for (index, (alias, pattern)) in aliases.enumerate() {
        if let Some((file, rest)) = map(request, alias, pattern.as_ref()) {
            request.set_note(ALIAS_NOTE, index.to_string().as_bytes());
            request.map_to(&file, rest, SCRIPT_HANDLER);
            return Verdict::Ok;
        }
    }
    Verdict::Declined
}

/// The target, and the rest of the path.
fn map<'a>(
    request: &Request<'a>,
    alias: &'a Alias,
    pattern: Option<&Regex>,
) -> Option<(Cow<'a, [u8]>, &'a [u8])> {
    let uri = request.uri();
    match &alias.pattern {
        Pattern::Prefix(prefix) => {
            let covered = target::covered(uri.to_bytes(), prefix.as_bytes())?;
            let target = alias.target.as_bytes();
            Some((target.into(), target::rest(target, uri.to_bytes(), covered)))
        }
        Pattern::Regex(_) => {
            let template = CString::new(alias.target.as_str()).ok()?;
            let (covered, file) = pattern?.replace(&request.pool(), uri, &template)?;
            (covered > 0).then(|| (file.into(), target::rest_of_match(uri.to_bytes(), covered)))
        }
    }
}
