//! Applications of users: what is below a base is mapped to the application that it belongs to, after everybody else has mapped.
//!
//! Only the file is changed, and httpd goes on as with any other: it walks through the directories of what was found, with their
//! `Require`, `Options` and `.htaccess`. Who an application runs as is not decided here, nor by anything that is noted here: the handler goes
//! by the file once more, and the manager checks.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::admission::admit_look;
use super::handler::come_again;
use super::{ALIAS_NOTE, SCRIPT_HANDLER};
use crate::codes;
use crate::config::{Base, ServerConfig};
use crate::httpd::{Level, Request, Verdict};
use crate::log::log;
use crate::request::below::{Files, Found, Kind, Place, find};
use crate::request::target::single_slashes;

/// The note that tells what was found for a request.
const NOTE: &core::ffi::CStr = c"mod_wsgi.user";
/// An application, by its directory.
const APPLICATION: &[u8] = b"application";
/// A script, by its own name.
const SCRIPT: &[u8] = b"script";
/// Nothing that may be served.
const NOTHING: &[u8] = b"nothing";
/// What httpd serves files with, if it is named.
const DEFAULT_HANDLER: &[u8] = b"default-handler";

/// Maps what is below a base.
pub fn map_to_storage(request: &Request<'_>) -> Verdict {
    let server = request.server();
    let Some(config) = server.config().filter(|config| !config.site.bases.is_empty()) else {
        return Verdict::Declined;
    };
    if request.note(ALIAS_NOTE).is_some() {
        // The configuration names the script itself.
        return Verdict::Declined;
    }
    let path = single_slashes(request.filename());
    let Some(((_, base), place)) = base_of(config, &path) else {
        return Verdict::Declined;
    };
    if !place.is_clean() {
        log!(
            request,
            Level::Info,
            "no path of a user's application: {}",
            path.escape_ascii()
        );
        return Verdict::Status(403);
    }
    // A directory may be mapped without the slash of its URL.
    let is_bare = place.rest.is_empty() && request.uri().to_bytes().ends_with(b"/");
    let place = Place {
        rest: if is_bare { b"/" } else { place.rest },
        ..place
    };
    let looking = match admit_look(request, &base.group, place.user) {
        Ok(looking) => looking,
        Err(seconds) => return come_again(request, seconds),
    };
    let found = find(&Disk, &place, matches!(request.method(), b"GET" | b"HEAD"));
    drop(looking);
    match found {
        Found::Script {
            script,
            path_info,
            is_named,
        } => {
            request.set_note(NOTE, if is_named { SCRIPT } else { APPLICATION });
            request.map_anew(&script, &path_info, Some(SCRIPT_HANDLER));
        }
        Found::File(file) => request.map_anew(&file, b"", None),
        Found::Nothing => {
            log!(
                request,
                Level::Info,
                "there is no application and no file of one: {}",
                path.escape_ascii()
            );
            if Disk.kind(place.directory) == Kind::Missing {
                // No section of the configuration can be about it, but for those of what is above it.
                return Verdict::Status(404);
            }
            request.set_note(NOTE, NOTHING);
            request.map_anew(&path, b"", Some(SCRIPT_HANDLER));
        }
        Found::Closed => return closed(request, &place),
    }
    Verdict::Declined
}

/// The type of what was mapped here is nobody's to guess: `AddHandler cgi-script .py` means other files.
pub fn type_checker(request: &Request<'_>) -> Verdict {
    match request.note(NOTE) {
        Some(_) => Verdict::Ok,
        None => Verdict::Declined,
    }
}

/// Where no other handler was chosen (`SetHandler server-status`): nothing is nothing, and the source of an application is not served.
pub fn fixups(request: &Request<'_>) -> Verdict {
    let Some(found) = request.note(NOTE) else {
        return Verdict::Declined;
    };
    let handler = request.handler();
    if handler != SCRIPT_HANDLER.to_bytes() && handler != DEFAULT_HANDLER {
        return Verdict::Declined;
    }
    if found == NOTHING {
        return Verdict::Status(404);
    }
    request.set_handler(SCRIPT_HANDLER);
    Verdict::Declined
}

/// The request was mapped here: what it was mapped to is a script, whatever `Options` say.
pub(super) fn is_mapped(request: &Request<'_>) -> bool {
    request.note(NOTE).is_some()
}

/// The URL is that of an application's directory, without its slash.
pub(super) fn lacks_slash(request: &Request<'_>) -> bool {
    request.note(NOTE) == Some(APPLICATION)
        && request.path_info().is_empty()
        && !request.uri().to_bytes().ends_with(b"/")
        && matches!(request.method(), b"GET" | b"HEAD")
}

/// The first base that covers a path, with its number, and where in it that is.
pub(super) fn base_of<'c, 'p>(
    config: &'c ServerConfig,
    path: &'p [u8],
) -> Option<((usize, &'c Base), Place<'p>)> {
    let mut bases = config.site.bases.iter().enumerate();
    bases.find_map(|base| Some((base, Place::of(&base.1.pattern, path)?)))
}

fn closed(request: &Request<'_>, place: &Place<'_>) -> Verdict {
    let whole = [place.directory, place.rest].concat();
    let mut ends = (1..whole.len())
        .filter(|at| whole.get(*at) == Some(&b'/'))
        .chain([whole.len()]);
    let mut last = 0;
    let door = ends.find_map(|end| {
        let is_behind = Disk.kind(whole.get(..end)?) == Kind::Closed;
        let before = std::mem::replace(&mut last, end);
        is_behind.then(|| whole.get(..before))?
    });
    // It is the last one if nothing of the path itself is behind it.
    let door = door.unwrap_or(&whole);
    let door = door.strip_suffix(b"/").unwrap_or(door);
    log!(
        request,
        Level::Error,
        codes::CLOSED_DIRECTORY,
        "httpd's user may not pass through '{}', so no application below it can be found; let it pass with `chmod o+x` or `setfacl -m u:USER:x`",
        door.escape_ascii()
    );
    Verdict::Status(403)
}

/// The file system, as httpd's user.
struct Disk;

impl Files for Disk {
    fn kind(&self, path: &[u8]) -> Kind {
        match std::fs::metadata(OsStr::from_bytes(path)) {
            Ok(status) if status.is_file() => Kind::File,
            Ok(status) if status.is_dir() => Kind::Directory,
            Ok(_) => Kind::Other,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Kind::Closed,
            Err(_) => Kind::Missing,
        }
    }

    fn only(&self, directory: &[u8], suffix: &[u8]) -> Option<Vec<u8>> {
        let entries = std::fs::read_dir(Path::new(OsStr::from_bytes(directory))).ok()?;
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().into_encoded_bytes());
        let mut scripts = names.filter(|name| name.ends_with(suffix) && !name.starts_with(b"."));
        let first = scripts.next()?;
        scripts.next().is_none().then_some(first)
    }
}
