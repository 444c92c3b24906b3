//! `WSGIImportScript`, and what aliases load at start.

use std::sync::Arc;

use super::kinds::FixedName;
use super::script::invalid_option;
use super::{Context, Directive, Place, Target, Words, Wrong, options};

options! {
    /// Where an import takes place.
    pub struct ImportOptions;

    /// The process group whose workers load the script; `%{GLOBAL}`: every httpd child, which starts Python for it also with
    /// `WSGIRestrictEmbedded On`. Required.
    process_group: FixedName = "process-group";

    /// The application group that loads the script; `%{GLOBAL}` is the main interpreter. Other `%{…}` forms are taken literally.
    /// Required.
    application_group: FixedName = "application-group";
}

/// A script to be loaded when its process starts.
#[derive(Clone, Debug)]
pub struct Load {
    /// Who wants it: directive and first argument.
    pub subject: String,
    /// Process group; empty is embedded mode.
    pub process_group: Arc<str>,
    /// Application group; empty is the main interpreter.
    pub application_group: Arc<str>,
    /// The script, an absolute path or one below `ServerRoot`.
    pub script: String,
    /// It starts Python in httpd's children even where requests may not use it there.
    pub is_import: bool,
    /// Where it was written.
    pub place: Place,
}

/// The directive.
pub const IMPORT_SCRIPT: Directive = Directive {
    name: c"WSGIImportScript",
    context: Context::Server,
    usage: c"/path/to/script process-group=name application-group=name",
    text: "Loads a script when a process starts, before it serves its first request. Both options are required. Scripts are loaded in \
the order in which they are written, those of aliases with both groups included. What fails is logged, and the process serves \
nevertheless. In a process group with `threads=0` the scripts are all that it runs: see \
[services](WSGIDaemonProcess.md). A path that does not begin with `/` is relative to `ServerRoot`.\n",
    set,
};

fn set(target: &mut Target<'_>, words: &mut Words<'_>, place: &Place) -> Result<(), Wrong> {
    let script = words.next().filter(|script| !script.is_empty());
    let script = script.ok_or_else(|| Wrong::new("has no script", "write the path of the script first"))?;
    let mut options = ImportOptions::default();
    while let Some(option) = words.next_option() {
        let (option, value) = option.map_err(|wrong| wrong.about(&script))?;
        match options.take(&option, &value) {
            Some(result) => result.map_err(|wrong| wrong.about(format_args!("{script} {option}={value}")))?,
            None => {
                let known = ImportOptions::OPTIONS.iter().map(|option| option.0);
                return Err(invalid_option(&script, &option, known));
            }
        }
    }
    let required = |value: Option<FixedName>, option: &str| {
        let wrong = || {
            Wrong::new(
                format!("{script} has no {option}"),
                format!("add {option}=name, or {option}=%{{GLOBAL}}"),
            )
        };
        value.map(|name| name.0).ok_or_else(wrong)
    };
    let load = Load {
        subject: format!("WSGIImportScript {script}"),
        process_group: required(options.process_group, "process-group")?,
        application_group: required(options.application_group, "application-group")?,
        script: script.clone(),
        is_import: true,
        place: place.clone(),
    };
    target.server()?.loads.push(load);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{RawServer, apply};
    use super::*;

    fn read(line: &str) -> Result<Load, String> {
        let mut server = RawServer::default();
        let target = Target::Server(&mut server);
        apply(&IMPORT_SCRIPT, target, line.as_bytes(), &Place::default())?;
        Ok(server.loads.remove(0))
    }

    #[test]
    fn both_options_are_required() {
        for (line, missing) in [
            ("/a.py application-group=x", "process-group"),
            ("/a.py process-group=x", "application-group"),
        ] {
            let said = read(line).unwrap_err();
            assert!(said.contains(&format!("/a.py has no {missing}; add")), "{said}");
        }
    }

    #[test]
    fn only_global_is_expanded() {
        let load = read("/a.py process-group=%{GLOBAL} application-group=%{SERVER}").unwrap();
        assert_eq!(
            (&*load.process_group, &*load.application_group),
            ("", "%{SERVER}")
        );
    }
}
