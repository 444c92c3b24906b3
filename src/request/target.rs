//! Which file a URL is mapped to, and which group and callable serve it.

use std::borrow::Cow;

use super::instead::Rules;
use super::proxies::Trust;
use super::template::{DEFAULT_CALLABLE, Names, Template};
use crate::directives::Scoped;
use crate::directives::calls::CallScript;
use crate::directives::choices::{LoadedAs, OnOffAuto};
use crate::directives::handler_script::{self, HandlerScript};
use crate::directives::script::AliasOptions;
use crate::directives::users::UserOptions;

/// `WSGIResponseBuffering` where it is not written.
const RESPONSE_BUFFERING: u64 = 8 << 20;

/// How many bytes of `uri` an alias covers: characters compare exactly, a `/` of the alias covers one or more, and the match ends
/// where a component ends.
pub fn covered(uri: &[u8], alias: &[u8]) -> Option<usize> {
    let (mut at, mut of_alias) = (0, 0);
    while let Some(&wanted) = alias.get(of_alias) {
        if wanted == b'/' {
            let slashes = uri.iter().skip(at).take_while(|byte| **byte == b'/').count();
            if slashes == 0 {
                return None;
            }
            at += slashes;
            of_alias += alias
                .iter()
                .skip(of_alias)
                .take_while(|byte| **byte == b'/')
                .count();
        } else {
            if uri.get(at) != Some(&wanted) {
                return None;
            }
            at += 1;
            of_alias += 1;
        }
    }
    let ends_component = alias.last() == Some(&b'/') || matches!(uri.get(at), None | Some(b'/'));
    (ends_component && at > 0).then_some(at)
}

/// What of `uri` follows the target of an alias. The slash that ends an alias belongs to the rest, unless the target brings its own; so `/app/`
/// and `/app` give an application the same `SCRIPT_NAME`.
pub fn rest<'u>(target: &[u8], uri: &'u [u8], covered: usize) -> &'u [u8] {
    let matched = uri.get(..covered).unwrap_or_default();
    let slashes = matched.iter().rev().take_while(|byte| **byte == b'/').count();
    let rest_from = if target.ends_with(b"/") {
        covered
    } else {
        covered - slashes
    };
    uri.get(rest_from..).unwrap_or_default()
}

/// As [`rest`], for a regular expression: what follows the match, literally; only a match of `/` alone keeps its slash.
pub fn rest_of_match(uri: &[u8], covered: usize) -> &[u8] {
    if uri.get(..covered) == Some(b"/") {
        uri
    } else {
        uri.get(covered..).unwrap_or_default()
    }
}

/// The part of the URL path that is not `path_info`, with runs of `/` made one (in which httpd has made them one, too, where it has found out
/// what follows the file).
pub fn script_name<'p>(uri: &'p [u8], path_info: &[u8]) -> Cow<'p, [u8]> {
    let path_info = single_slashes(path_info);
    let without = |uri: &[u8]| uri.strip_suffix(&*path_info).map_or(uri.len(), <[u8]>::len);
    match single_slashes(uri) {
        Cow::Borrowed(uri) => Cow::Borrowed(uri.get(..without(uri)).unwrap_or_default()),
        Cow::Owned(mut uri) => {
            uri.truncate(without(&uri));
            Cow::Owned(uri)
        }
    }
}

/// Runs of `/` made one.
pub fn single_slashes(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return Cow::Borrowed(path);
    }
    let mut single = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || single.last() != Some(&b'/') {
            single.push(*byte);
        }
    }
    Cow::Owned(single)
}

/// `name`, and `:port` unless that is a default one.
pub fn name_and_port(name: &str, port: u16) -> String {
    match port {
        0 | 80 | 443 => name.to_owned(),
        port => format!("{name}:{port}"),
    }
}

/// Who serves a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Process group; empty is embedded mode.
    pub process_group: String,
    /// Application group; empty is the main interpreter.
    pub application_group: String,
    /// Name of the callable.
    pub callable: String,
}

/// The settings of a request: those of its alias or handler script, else of its directory, else of its server, else defaults.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The alias that mapped it, if one did.
    pub alias: Option<&'a AliasOptions>,
    /// The handler script that answers it, if one does.
    pub handler_script: Option<&'a HandlerScript>,
    /// Its directory's.
    pub directory: &'a Scoped,
    /// Its server's.
    pub server: &'a Scoped,
    /// What the defaults depend on.
    pub loaded_as: LoadedAs,
}

impl Settings<'_> {
    /// Who serves.
    pub fn target(&self, names: &impl Names) -> Target {
        let handler = self.handler_script.map(|handler| &handler.options);
        let process_group = handler
            .and_then(|handler| handler.process_group.as_ref())
            .or_else(|| self.alias.and_then(|alias| alias.process_group.as_ref()))
            .or_else(|| self.pick(|scoped| scoped.process_group.as_ref()))
            .map_or_else(String::new, |template| template.group(names));
        let application_group = handler
            .and_then(|handler| handler.application_group.as_ref())
            .or_else(|| self.alias.and_then(|alias| alias.application_group.as_ref()))
            .or_else(|| self.pick(|scoped| scoped.application_group.as_ref()))
            .unwrap_or(&Template::Resource)
            .group(names);
        Target {
            process_group,
            application_group,
            callable: self.callable(names),
        }
    }

    /// The callable.
    pub fn callable(&self, names: &impl Names) -> String {
        match self.alias.and_then(|alias| alias.callable_object.as_ref()) {
            _ if self.handler_script.is_some() => handler_script::CALLABLE.to_owned(),
            Some(name) => name.0.as_ref().to_owned(),
            None => self.pick(|scoped| scoped.callable_object.as_ref()).map_or_else(
                || DEFAULT_CALLABLE.to_owned(),
                |callable| callable.0.callable(names),
            ),
        }
    }

    /// The server's configuration says for this directory, alias or handler who answers. None of that can be said in `.htaccess`.
    pub fn names_process_group(&self) -> bool {
        self.handler_script.is_some()
            || self.directory.process_group.is_some()
            || self.alias.is_some_and(|alias| alias.process_group.is_some())
    }

    /// `WSGIUserOptions`.
    pub fn user_options(&self) -> UserOptions {
        self.directory.user_options.over(&self.server.user_options)
    }

    /// `WSGIIgnoreActivity`.
    pub fn ignore_activity(&self) -> bool {
        self.pick(|scoped| scoped.ignore_activity).unwrap_or(false)
    }

    /// `WSGIPassAuthorization`.
    pub fn pass_authorization(&self) -> OnOffAuto {
        let of_handler = self
            .handler_script
            .and_then(|handler| handler.options.pass_authorization);
        of_handler
            .or_else(|| self.alias.and_then(|alias| alias.pass_authorization))
            .or_else(|| self.pick(|scoped| scoped.pass_authorization))
            .unwrap_or_else(|| self.loaded_as.pass_authorization())
    }

    /// `WSGIScriptReloading`.
    pub fn script_reloading(&self) -> bool {
        self.pick(|scoped| scoped.script_reloading).unwrap_or(true)
    }

    /// `WSGIDispatchScript`.
    pub fn dispatch_script(&self) -> Option<&CallScript> {
        let of_directory = self.directory.dispatch_script.get();
        of_directory.or_else(|| self.server.dispatch_script.get())
    }

    /// `WSGIMapHEADToGET`.
    pub fn map_head_to_get(&self) -> OnOffAuto {
        self.pick(|scoped| scoped.map_head_to_get)
            .unwrap_or(OnOffAuto::Auto)
    }

    /// Which directions of the application's answer httpd follows.
    pub fn answer_rules(&self, is_embedded: bool) -> Rules {
        Rules {
            error_override: self.pick(|scoped| scoped.error_override).unwrap_or(false),
            cgi_headers: self
                .pick(|scoped| scoped.cgi_headers)
                .unwrap_or_else(|| self.loaded_as.cgi_headers(is_embedded)),
        }
    }

    /// `WSGITrustedProxyHeaders` and `WSGITrustedProxies`; none without the first.
    pub fn trust(&self) -> Option<Trust<'_>> {
        Some(Trust {
            headers: &self.pick(|scoped| scoped.trusted_proxy_headers.as_ref())?.known,
            proxies: self.pick(|scoped| scoped.trusted_proxies.as_ref()),
        })
    }

    /// `WSGIChunkedRequest`.
    pub fn chunked_request(&self) -> bool {
        self.pick(|scoped| scoped.chunked_request).unwrap_or(false)
    }

    /// `WSGIRestrictProcess` lets this process group be used.
    pub fn may_use(&self, process_group: &str) -> bool {
        self.pick(|scoped| scoped.restrict_process.as_ref())
            .is_none_or(|allowed| {
                let mut allowed = allowed.0.iter();
                allowed.any(|name| name.0.eq_ignore_ascii_case(process_group))
            })
    }

    /// `WSGIEnableSendfile`.
    pub fn enable_sendfile(&self) -> bool {
        self.pick(|scoped| scoped.enable_sendfile).unwrap_or(false)
    }

    /// `WSGIRequestBuffering`, in bytes.
    pub fn request_buffering(&self) -> u64 {
        self.pick(|scoped| scoped.request_buffering)
            .map_or(0, |bytes| bytes.0)
    }

    /// `WSGIResponseBuffering`, in bytes.
    pub fn response_buffering(&self) -> u64 {
        self.pick(|scoped| scoped.response_buffering)
            .map_or(RESPONSE_BUFFERING, |bytes| bytes.0)
    }

    /// `WSGIPassApacheRequest`.
    pub fn pass_apache_request(&self) -> bool {
        self.pick(|scoped| scoped.pass_apache_request).unwrap_or(false)
    }

    fn pick<'s, T>(&'s self, get: impl Fn(&'s Scoped) -> Option<T>) -> Option<T> {
        get(self.directory).or_else(|| get(self.server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_covers_whole_components_only() {
        assert_eq!(covered(b"/foo/bar", b"/foo"), Some(4));
        assert_eq!(covered(b"/foo", b"/foo"), Some(4));
        assert_eq!(covered(b"/foobar", b"/foo"), None);
        assert_eq!(covered(b"/foo/bar", b"/foo/"), Some(5));
        assert_eq!(covered(b"/foo", b"/foo/"), None);
        assert_eq!(covered(b"/Foo", b"/foo"), None);
        assert_eq!(covered(b"//foo///bar", b"/foo/bar"), Some(11));
    }

    #[test]
    fn the_root_alias_keeps_the_whole_path() {
        let all = |uri: &'static [u8]| rest(b"/srv/app.wsgi", uri, covered(uri, b"/").unwrap());
        assert_eq!(all(b"/"), b"/");
        assert_eq!(all(b"/a/b"), b"/a/b");
        assert_eq!(rest(b"/srv/app.wsgi", b"/x/a", 2), b"/a");
        assert_eq!(rest(b"/srv/scripts/", b"/x/a.wsgi", 3), b"a.wsgi");
        assert_eq!(all(b"//a"), b"//a");
    }

    #[test]
    fn the_slash_that_ends_an_alias_belongs_to_the_path_info() {
        assert_eq!(rest(b"/srv/app.wsgi", b"/x/a", 3), b"/a");
        assert_eq!(rest(b"/srv/app.wsgi", b"/x/", 3), b"/");
        assert_eq!(rest(b"/srv/app.wsgi/", b"/x/a", 3), b"a");
    }

    #[test]
    fn what_follows_a_match_is_taken_literally() {
        assert_eq!(rest_of_match(b"/x/p_a", 5), b"a");
        assert_eq!(rest_of_match(b"/a", 1), b"/a");
    }

    #[test]
    fn the_script_name_is_what_path_info_leaves() {
        assert_eq!(*script_name(b"/app/a/b", b"/a/b"), *b"/app");
        assert_eq!(*script_name(b"/a/b", b"/a/b"), *b"");
        assert_eq!(*script_name(b"//app", b""), *b"/app");
        assert_eq!(*script_name(b"/app//a///b", b"/a/b"), *b"/app");
        assert_eq!(*script_name(b"/app//a", b"//a"), *b"/app");
    }

    #[test]
    fn default_ports_are_not_part_of_a_name() {
        assert_eq!(name_and_port("site", 80), "site");
        assert_eq!(name_and_port("site", 443), "site");
        assert_eq!(name_and_port("site", 8000), "site:8000");
    }

    struct Here;
    impl Names for Here {
        fn server(&self) -> String {
            "s".into()
        }
        fn host(&self) -> String {
            "h".into()
        }
        fn resource(&self) -> String {
            "s|/x".into()
        }
        fn variable(&self, _: &str) -> Option<String> {
            None
        }
    }

    #[test]
    fn alias_beats_directory_beats_server_beats_default() {
        let (mut directory, mut server) = (Scoped::default(), Scoped::default());
        let alias = AliasOptions {
            process_group: Some(Template::new("of-alias")),
            ..AliasOptions::default()
        };
        let target = |alias: Option<&AliasOptions>, directory: &Scoped, server: &Scoped| {
            Settings {
                alias,
                handler_script: None,
                directory,
                server,
                loaded_as: LoadedAs::Rwsgi,
            }
            .target(&Here)
        };
        assert_eq!(target(None, &directory, &server).process_group, "");
        assert_eq!(target(None, &directory, &server).application_group, "s|/x");
        assert_eq!(target(None, &directory, &server).callable, "application");
        server.process_group = Some(Template::new("of-server"));
        assert_eq!(target(None, &directory, &server).process_group, "of-server");
        directory.process_group = Some(Template::Global);
        assert_eq!(target(None, &directory, &server).process_group, "");
        assert_eq!(
            target(Some(&alias), &directory, &server).process_group,
            "of-alias"
        );
    }

    #[test]
    fn an_alias_may_take_authorization_away() {
        let alias = AliasOptions {
            pass_authorization: Some(OnOffAuto::Off),
            ..AliasOptions::default()
        };
        let set = Scoped {
            pass_authorization: Some(OnOffAuto::On),
            ..Scoped::default()
        };
        let unset = Scoped::default();
        let passes = |alias, server, loaded_as| {
            Settings {
                alias,
                handler_script: None,
                directory: &unset,
                server,
                loaded_as,
            }
            .pass_authorization()
        };
        assert_eq!(passes(None, &set, LoadedAs::Wsgi), OnOffAuto::On);
        assert_eq!(passes(Some(&alias), &set, LoadedAs::Wsgi), OnOffAuto::Off);
        assert_eq!(passes(None, &unset, LoadedAs::Wsgi), OnOffAuto::Off);
        assert_eq!(passes(None, &unset, LoadedAs::Rwsgi), OnOffAuto::Auto);
    }
}
