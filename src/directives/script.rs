//! `WSGIScriptAlias` and `WSGIScriptAliasMatch`.

use super::choices::OnOffAuto;
use super::import::Load;
use super::kinds::Name;
use super::{Context, Directive, Place, Target, Words, Wrong, options};
use crate::request::template::Template;

options! {
    /// What an alias settles for the requests it maps.
    pub struct AliasOptions;

    /// As `WSGIProcessGroup`, for what this alias maps.
    process_group: Template = "process-group";

    /// As `WSGIApplicationGroup`, for what this alias maps.
    application_group: Template = "application-group";

    /// As `WSGICallableObject`, for what this alias maps; taken as it is, without `%{…}`.
    callable_object: Name = "callable-object";

    /// As `WSGIPassAuthorization`, for what this alias maps.
    pass_authorization: OnOffAuto = "pass-authorization";
}

/// How an alias finds its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// By the beginning of the path.
    Prefix(String),
    /// By a regular expression.
    Regex(String),
}

/// One alias as written.
#[derive(Clone, Debug)]
pub struct Alias {
    /// Which requests.
    pub pattern: Pattern,
    /// The file or directory; for a regular expression with `$0` to `$9`.
    pub target: String,
    /// What it settles.
    pub options: AliasOptions,
    /// Where it was written.
    pub place: Place,
}

/// The directive.
pub const ALIAS: Directive = Directive {
    name: c"WSGIScriptAlias",
    context: Context::Server,
    usage: c"/url-path /path/to/script-or-directory [name=value ...]",
    text: "Maps a URL path to a WSGI script, or to a directory of them. The first alias that matches counts, so write the more \
specific ones first; those of a virtual host are tried before those of the main server.\n\n\
With a file, the rest of the path becomes `PATH_INFO`. With a directory, the rest of the path chooses the script. \
`WSGIScriptAlias / …` maps the whole site. The directory of the script must be opened with `Require all granted`; \
`Options ExecCGI` is not needed. A target that does not begin with `/` is relative to `ServerRoot`.\n\n\
If both `process-group` and `application-group` are given, without `%{…}` except `%{GLOBAL}`, the script is loaded when the server \
starts; the process group must be declared earlier in the configuration.\n",
    set: |target, words, place| set(target, words, place, Pattern::Prefix),
};

/// The directive.
pub const ALIAS_MATCH: Directive = Directive {
    name: c"WSGIScriptAliasMatch",
    context: Context::Server,
    usage: c"regular-expression /path/with/$1 [name=value ...]",
    text: "Like `WSGIScriptAlias`, with a regular expression in place of the URL path. It is searched in the path (write `^` to \
anchor it); what follows the match is appended to the target, in which `$0` to `$9` stand for the groups of the match.\n",
    set: |target, words, place| set(target, words, place, Pattern::Regex),
};

fn set(
    target: &mut Target<'_>,
    words: &mut Words<'_>,
    place: &Place,
    pattern: fn(String) -> Pattern,
) -> Result<(), Wrong> {
    let (Some(from), Some(to)) = (words.next(), words.next()) else {
        return Err(Wrong::new(
            "requires at least two arguments",
            "write the URL path, then the script",
        ));
    };
    if to.is_empty() {
        return Err(Wrong::new(
            format!("{from} has an empty target"),
            "write the path of the script",
        ));
    }
    let mut options = AliasOptions::default();
    while let Some(option) = words.next_option() {
        let (name, value) = option.map_err(|wrong| wrong.about(&from))?;
        match options.take(&name, &value) {
            Some(result) => result.map_err(|wrong| wrong.about(format_args!("{from} {name}={value}")))?,
            None => {
                return Err(invalid_option(
                    &from,
                    &name,
                    AliasOptions::OPTIONS.iter().map(|o| o.0),
                ));
            }
        }
    }
    let alias = Alias {
        pattern: pattern(from),
        target: to,
        options,
        place: place.clone(),
    };
    let server = target.server()?;
    server.loads.extend(load(&alias));
    server.aliases.push(alias);
    Ok(())
}

/// With both groups named, and the same for every request, the script is loaded at start.
fn load(alias: &Alias) -> Option<Load> {
    let process_group = alias.options.process_group.as_ref()?.fixed()?;
    let application_group = alias.options.application_group.as_ref()?.fixed()?;
    let from = match &alias.pattern {
        Pattern::Regex(_) if alias.target.contains('$') => return None,
        Pattern::Prefix(from) | Pattern::Regex(from) => from,
    };
    Some(Load {
        subject: format!("WSGIScriptAlias {from}"),
        process_group: process_group.into(),
        application_group: application_group.into(),
        script: alias.target.clone(),
        is_import: false,
        place: alias.place.clone(),
    })
}

/// The refusal of an option that does not exist.
pub(super) fn invalid_option<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Wrong {
    let known: Vec<&str> = known.collect();
    Wrong::new(
        format!("{what}: Invalid option '{name}'"),
        format!("the options are {}", known.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::super::{RawServer, apply};
    use super::*;

    fn read(line: &str) -> Result<RawServer, String> {
        let mut server = RawServer::default();
        apply(
            &ALIAS,
            Target::Server(&mut server),
            line.as_bytes(),
            &Place::default(),
        )
        .map(|()| server)
    }

    #[test]
    fn an_alias_keeps_path_target_and_options() {
        let server = read("/app '/srv/my app.wsgi' process-group=site application-group=%{GLOBAL}").unwrap();
        let alias = &server.aliases[0];
        assert_eq!(alias.pattern, Pattern::Prefix("/app".into()));
        assert_eq!(alias.target, "/srv/my app.wsgi");
        assert_eq!(alias.options.process_group, Some(Template::new("site")));
        assert_eq!(alias.options.application_group, Some(Template::Global));
    }

    #[test]
    fn refusals_name_the_alias_and_the_remedy() {
        assert!(
            read("/app")
                .unwrap_err()
                .contains("requires at least two arguments")
        );
        let said = read("/app /srv/a.wsgi proces-group=x").unwrap_err();
        assert!(
            said.contains("/app: Invalid option 'proces-group'") && said.contains("process-group,"),
            "{said}"
        );
        let said = read("/app /srv/a.wsgi pass-authorization=yes").unwrap_err();
        assert!(
            said.contains("pass-authorization=yes must be one of: Off | On | Auto"),
            "{said}"
        );
        assert!(
            read("/app /srv/a.wsgi callable-object=")
                .unwrap_err()
                .contains("empty value")
        );
    }
}
