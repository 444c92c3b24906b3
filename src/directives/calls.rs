//! Scripts that httpd asks before it answers: `WSGIDispatchScript`, `WSGIAccessScript`, `WSGIAuthUserScript`, `WSGIAuthGroupScript`.

use std::path::PathBuf;
use std::sync::Arc;

use super::kinds::{self, Absolute, FixedName, Kind, Seconds};
use super::script::invalid_option;
use super::{Context, Directive, Place, Target, Words, Wrong, options};
use crate::request::template::Template;

options! {
    /// Where such a script runs.
    pub struct CallOptions;

    /// The application group: `%{GLOBAL}` (the default) is the main interpreter; `%{SERVER}` and `%{HOST}` are expanded for every request, other
    /// forms are taken literally.
    application_group: Limited = "application-group";

    /// The process group whose workers run the script. Default, and `%{GLOBAL}`: httpd's own children, which start Python for it also with
    /// `WSGIRestrictEmbedded On`. Not in `.htaccess`: it would choose the user that runs the script. mod_wsgi does not know this option.
    process_group: FixedName = "process-group";

    /// For `WSGIAuthUserScript` and `WSGIAuthGroupScript`: how many seconds an httpd child remembers a yes (a name, a hash, the groups), so that
    /// the script is not asked again. Default 0: every request asks. Remembered are at most 1024 answers in each child, for the same
    /// server, script, groups, user and realm, and only for the very same password, of which nothing but a salted hash is kept. A
    /// withdrawn right, a changed password or a changed script counts only after that time, or after a restart. Do not use it for a script
    /// whose answer depends on more than that, on the URL for one. mod_wsgi does not know this option.
    cache: Seconds = "cache";
}

/// An application group that knows fewer `%{…}` forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited(pub Template);

impl Kind for Limited {
    const USAGE: &'static core::ffi::CStr = c"name|%{GLOBAL}|%{SERVER}|%{HOST}";

    fn parse(word: &str) -> Result<Self, Wrong> {
        Ok(Self(match Template::new(word) {
            known @ (Template::Global | Template::Server | Template::Host) => known,
            _ => Template::Literal(word.into()),
        }))
    }
}

/// A script that httpd asks.
#[derive(Clone, Debug)]
pub struct CallScript {
    /// The directive that names it.
    pub directive: &'static str,
    /// Its absolute path.
    pub script: PathBuf,
    /// Where it runs.
    pub options: CallOptions,
    /// Where it was written.
    pub place: Place,
    /// That is `.htaccess`.
    pub is_of_htaccess: bool,
}

impl CallScript {
    /// Its process group; empty is an httpd child.
    pub fn process_group(&self) -> &str {
        self.options.process_group.as_ref().map_or("", |name| &name.0)
    }
}

/// The script in force, if there is one. None costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Asked(Option<Arc<CallScript>>);

impl Asked {
    /// This one, else that of `base`.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        Self(self.0.clone().or_else(|| base.0.clone()))
    }

    /// The script.
    pub fn get(&self) -> Option<&CallScript> {
        self.0.as_deref()
    }
}

/// The directive.
pub const DISPATCH_SCRIPT: Directive = Directive {
    name: c"WSGIDispatchScript",
    context: Context::ServerDirectory,
    usage: USAGE,
    text: "Names a script that chooses who answers a request. Its functions `process_group(environ)`, `application_group(environ)` and \
`callable_object(environ)` are called in this order, those that it defines; each returns a name (`%{…}` forms are expanded), or `None` to \
leave the choice to the configuration. What they raise, and any other result, is answered with 500; a script that cannot be loaded is \
logged and left out. `WSGIRestrictProcess` bounds what it can choose.\n",
    set: |target, words, place| {
        set(target, words, place, "WSGIDispatchScript", |all| {
            &mut all.dispatch_script
        })
    },
};

/// The directive.
pub const ACCESS_SCRIPT: Directive = Directive {
    name: c"WSGIAccessScript",
    context: Context::AuthConfig,
    usage: USAGE,
    text: "Names a script that decides who may come in, before users are asked for. Its function `allow_access(environ, host)` returns `True`, \
`False` (403) or `None`: no opinion. `host` is the client's name where `HostnameLookups` finds one, else its address. Anything else that \
happens is logged and answered with 403.\n",
    set: |target, words, place| {
        set(target, words, place, "WSGIAccessScript", |all| {
            &mut all.access_script
        })
    },
};

/// The directive.
pub const AUTH_USER_SCRIPT: Directive = Directive {
    name: c"WSGIAuthUserScript",
    context: Context::AuthConfig,
    usage: USAGE,
    text: "Names a script that knows the users, for `AuthBasicProvider wsgi` and `AuthDigestProvider wsgi`.\n\n\
Basic: `check_password(environ, user, password)` returns `True`, `False` (401), `None` (not known here: the next provider is asked, and 401 if \
there is none), or the name as which the user goes on in `REMOTE_USER`. Digest: `get_realm_hash(environ, user, realm)` returns the MD5 of \
`user:realm:password` in hexadecimal digits, or `None`. Anything else that happens is logged and answered with 500.\n\n\
`environ` has the headers of the request without `Authorization`, and what CGI says of request, client and server. \
`mod_ssl.is_https()` tells whether the connection is TLS. `mod_ssl.var_lookup(name)` gives a variable of mod_ssl: in httpd's children any, \
in a process group the `SSL_*` variables that mod_ssl documents, and `HTTPS`.\n",
    set: |target, words, place| {
        set(target, words, place, "WSGIAuthUserScript", |all| {
            &mut all.auth_user_script
        })
    },
};

/// The directive.
pub const AUTH_GROUP_SCRIPT: Directive = Directive {
    name: c"WSGIAuthGroupScript",
    context: Context::AuthConfig,
    usage: USAGE,
    text: "Names a script that knows the groups of users, for `Require wsgi-group name ...`. Its function `groups_for_user(environ, user)` \
returns an iterable of names; the request may go on when one of them is required (upper and lower case are the same). Anything else that \
happens is logged and counts as no group.\n",
    set: |target, words, place| {
        set(target, words, place, "WSGIAuthGroupScript", |all| {
            &mut all.auth_group_script
        })
    },
};

const USAGE: &core::ffi::CStr = c"/path/to/script [name=value ...]";

fn set(
    target: &mut Target<'_>,
    words: &mut Words<'_>,
    place: &Place,
    directive: &'static str,
    field: fn(&mut super::Scoped) -> &mut Asked,
) -> Result<(), Wrong> {
    let script = words
        .next()
        .ok_or_else(|| Wrong::new("has no script", "write the path of the script first"))?;
    let Absolute(path) = kinds::parse(&script).map_err(|wrong| wrong.about(&script))?;
    let mut options = CallOptions::default();
    while let Some(option) = words.next_option() {
        let (option, value) = option.map_err(|wrong| wrong.about(&script))?;
        match options.take(&option, &value) {
            Some(result) => result.map_err(|wrong| wrong.about(format_args!("{script} {option}={value}")))?,
            None => {
                let known = CallOptions::OPTIONS.iter().map(|option| option.0);
                return Err(invalid_option(&script, &option, known));
            }
        }
    }
    let call = Arc::new(CallScript {
        directive,
        script: path,
        options,
        place: place.clone(),
        is_of_htaccess: matches!(target, Target::Directory(_)),
    });
    check(&call, target)?;
    *field(target.scoped()) = Asked(Some(Arc::clone(&call)));
    if let Some(server) = target.written_in() {
        server.calls.push(call);
    }
    Ok(())
}

fn check(call: &CallScript, target: &Target<'_>) -> Result<(), Wrong> {
    let script = call.script.display();
    if call.options.process_group.is_some() && matches!(target, Target::Directory(_)) {
        return Err(Wrong::new(
            format!(
                "{script} has the option process-group in .htaccess, where nobody may choose whose process runs a script"
            ),
            "write the directive into the server's configuration, or remove the option",
        ));
    }
    let keeps = matches!(call.directive, "WSGIAuthUserScript" | "WSGIAuthGroupScript");
    if call.options.cache.is_some() && !keeps {
        return Err(Wrong::new(
            format!(
                "{script} has the option cache, but its answer depends on the whole request and cannot be kept"
            ),
            "remove the option; WSGIAuthUserScript and WSGIAuthGroupScript have it",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{RawServer, Scoped, apply};
    use super::*;

    fn in_section(directive: &Directive, line: &str) -> Result<(Scoped, RawServer), String> {
        let (mut scoped, mut server) = (Scoped::default(), RawServer::default());
        let target = Target::Section(&mut scoped, &mut server);
        apply(directive, target, line.as_bytes(), &Place::default())?;
        Ok((scoped, server))
    }

    #[test]
    fn a_script_of_a_section_is_known_to_its_server_too() {
        let (scoped, server) = in_section(&AUTH_USER_SCRIPT, "/a.py process-group=site cache=30").unwrap();
        let call = scoped.auth_user_script.get().unwrap();
        assert_eq!(
            (call.process_group(), call.options.cache),
            ("site", Some(Seconds(30)))
        );
        assert_eq!(server.calls.len(), 1);
    }

    #[test]
    fn htaccess_cannot_choose_whose_process_runs_a_script() {
        let mut scoped = Scoped::default();
        let mut read = |line: &[u8]| {
            let target = Target::Directory(&mut scoped);
            apply(&ACCESS_SCRIPT, target, line, &Place::default())
        };
        assert!(read(b"/a.py application-group=x").is_ok());
        assert!(
            read(b"/a.py process-group=site")
                .unwrap_err()
                .contains(".htaccess")
        );
    }

    #[test]
    fn only_answers_about_users_can_be_kept() {
        for directive in [&DISPATCH_SCRIPT, &ACCESS_SCRIPT] {
            let said = in_section(directive, "/a.py cache=5").unwrap_err();
            assert!(said.contains("whole request"), "{said}");
        }
        assert!(in_section(&AUTH_GROUP_SCRIPT, "/a.py cache=5").is_ok());
    }

    #[test]
    fn three_forms_are_expanded_and_the_others_are_literal() {
        let group = |text: &str| Limited::parse(text).unwrap().0;
        assert_eq!(group("%{GLOBAL}"), Template::Global);
        assert_eq!(group("%{HOST}"), Template::Host);
        assert_eq!(group("%{RESOURCE}"), Template::Literal("%{RESOURCE}".into()));
        assert_eq!(group("%{ENV:x}"), Template::Literal("%{ENV:x}".into()));
    }

    #[test]
    fn refusals_name_the_script_and_the_remedy() {
        for (line, words) in [
            ("", "has no script"),
            ("a.py", "absolute path"),
            (
                "/a.py callable-object=x",
                "/a.py: Invalid option 'callable-object'",
            ),
            ("/a.py cache=5s", "/a.py cache=5s"),
        ] {
            let said = in_section(&AUTH_USER_SCRIPT, line).unwrap_err();
            assert!(said.contains(words) && said.contains(';'), "{line}: {said}");
        }
    }
}
