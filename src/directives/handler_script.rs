//! `WSGIHandlerScript`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::choices::OnOffAuto;
use super::kinds::{self, Absolute};
use super::script::invalid_option;
use super::{Context, Directive, Place, Target, Words, Wrong, options};
use crate::request::template::Template;

options! {
    /// What a handler script settles for the requests it answers.
    pub struct HandlerOptions;

    /// As `WSGIProcessGroup`, for what this handler answers.
    process_group: Template = "process-group";

    /// As `WSGIApplicationGroup`, for what this handler answers.
    application_group: Template = "application-group";

    /// As `WSGIPassAuthorization`, for what this handler answers.
    pass_authorization: OnOffAuto = "pass-authorization";
}

/// A handler as written.
#[derive(Clone, Debug)]
pub struct HandlerScript {
    /// Its absolute path.
    pub script: PathBuf,
    /// What it settles.
    pub options: HandlerOptions,
}

/// The callable of handler scripts.
pub const CALLABLE: &str = "handle_request";

/// Handlers by name. Empty costs nothing.
#[derive(Clone, Debug, Default)]
pub struct HandlerScripts(Option<Arc<BTreeMap<String, Arc<HandlerScript>>>>);

impl HandlerScripts {
    /// Both, the nearer one first where a name is in both.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        match (&self.0, &base.0) {
            (Some(near), Some(far)) => {
                let mut all = BTreeMap::clone(far);
                all.extend(
                    near.iter()
                        .map(|(name, script)| (name.clone(), Arc::clone(script))),
                );
                Self(Some(Arc::new(all)))
            }
            (None, far) => Self(far.clone()),
            (near, None) => Self(near.clone()),
        }
    }

    /// The handler of that name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<HandlerScript>> {
        self.0.as_ref()?.get(std::str::from_utf8(name).ok()?)
    }

    fn insert(&mut self, name: String, script: HandlerScript) {
        let all = self.0.get_or_insert_default();
        Arc::make_mut(all).insert(name, Arc::new(script));
    }
}

/// The directive.
pub const HANDLER_SCRIPT: Directive = Directive {
    name: c"WSGIHandlerScript",
    context: Context::ServerDirectory,
    usage: c"handler-name /path/to/script [name=value ...]",
    text: "Names a script that answers requests in place of the file they are mapped to: for `SetHandler handler-name`, \
`AddHandler handler-name .extension`, or `RewriteRule … [H=handler-name]`. The script's callable is `handle_request`, whatever \
`WSGICallableObject` says; it finds the mapped file in `SCRIPT_FILENAME`, and itself in `mod_wsgi.handler_script`. Neither the mapped \
file nor `Options ExecCGI` is needed.\n\n\
Handlers of a directory and of its server count together; of equal names the nearer one.\n",
    set,
};

fn set(target: &mut Target<'_>, words: &mut Words<'_>, _place: &Place) -> Result<(), Wrong> {
    let name = words.next().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        Wrong::new(
            "has no handler name",
            "write the name, then the path of the script",
        )
    })?;
    let script = words.next().ok_or_else(|| {
        Wrong::new(
            format!("{name} has no script"),
            "write the path of the script behind the name",
        )
    })?;
    let Absolute(script) =
        kinds::parse(&script).map_err(|wrong| wrong.about(format_args!("{name} {script}")))?;
    let mut options = HandlerOptions::default();
    while let Some(option) = words.next_option() {
        let (option, value) = option.map_err(|wrong| wrong.about(&name))?;
        match options.take(&option, &value) {
            Some(result) => result.map_err(|wrong| wrong.about(format_args!("{name} {option}={value}")))?,
            None => {
                let known = HandlerOptions::OPTIONS.iter().map(|option| option.0);
                return Err(invalid_option(&name, &option, known));
            }
        }
    }
    let script = HandlerScript { script, options };
    target.scoped().handler_scripts.insert(name, script);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Scoped, apply};
    use super::*;

    fn read(lines: &[&str]) -> Result<HandlerScripts, String> {
        let mut scoped = Scoped::default();
        for line in lines {
            let target = Target::Directory(&mut scoped);
            apply(&HANDLER_SCRIPT, target, line.as_bytes(), &Place::default())?;
        }
        Ok(scoped.handler_scripts)
    }

    #[test]
    fn handlers_of_both_scopes_count_and_the_nearer_one_of_equal_names() {
        let far = read(&["a /far/a.py", "b /far/b.py"]).unwrap();
        let near = read(&["b /near/b.py", "c /near/c.py"]).unwrap();
        let all = near.over(&far);
        let script = |name: &[u8]| all.get(name).and_then(|handler| handler.script.to_str());
        assert_eq!(script(b"a"), Some("/far/a.py"));
        assert_eq!(script(b"b"), Some("/near/b.py"));
        assert_eq!(script(b"c"), Some("/near/c.py"));
        assert_eq!(script(b"d"), None);
        assert!(HandlerScripts::default().over(&far).get(b"a").is_some());
    }

    #[test]
    fn refusals_name_the_handler_and_the_remedy() {
        assert!(read(&[""]).unwrap_err().contains("no handler name"));
        assert!(read(&["bob"]).unwrap_err().contains("bob has no script"));
        assert!(read(&["bob b.py"]).unwrap_err().contains("absolute path"));
        let said = read(&["bob /b.py callable-object=x"]).unwrap_err();
        assert!(
            said.contains("bob: Invalid option 'callable-object'") && said.contains("pass-authorization"),
            "{said}"
        );
    }
}
