//! What may be said of an interpreter, for all of them or in `<WSGIInterpreterOptions>`.

use super::kinds::{OnOff, PathList};
use super::python_kinds::Interval;
use super::{Context, Directive, Place, Target, Words, Wrong, settings};

settings! {
    /// What may be said of an interpreter; unset is `None`.
    pub struct Interpreter;

    /// Directories for embedded mode, put in front of `sys.path`; `.pth` files in them count. A daemon process has its own
    /// `python-path` option and does not take this one over.
    ///
    /// In a `<WSGIInterpreterOptions>` section the directories come in front of those of less specific sections, in both modes.
    python_path: PathList = c"WSGIPythonPath" in Global;

    /// Seconds after which a thread lets others run Python, as with `sys.setswitchinterval()`. For process groups the option
    /// `switch-interval` counts before this directive. Default: Python's own, 0.005.
    ///
    /// In embedded mode interpreters share one interval unless they have a GIL of their own: what a `<WSGIInterpreterOptions>` section
    /// with `application-group` says for one of them is not applied, with a warning.
    switch_interval: Interval = c"WSGISwitchInterval" in Global;

    /// On: in embedded mode each application group but the main interpreter has a GIL of its own, so that they compute at the same time.
    /// Needs Python 3.12, better 3.13; on older ones it has no effect, with a warning. Extension modules that do not support it
    /// cannot be imported then. Processes of `WSGIDaemonProcess` have a GIL each in any case. Default Off.
    own_gil: OnOff = c"WSGIPerInterpreterGIL" in Global;

    /// On asks for Python without its GIL. That needs a free-threaded Python (3.13t or newer) and a build of rwsgi for it, which there is
    /// none of: rwsgi uses the stable ABI, so that one file serves every Python, and free-threaded Pythons do not have it. So it has no
    /// effect, with a warning. Use more `processes`. Default Off.
    free_threading: OnOff = c"WSGIFreeThreading" in Global;

    /// On: whoever uses `sys.stdin` gets `OSError`. Default Off.
    restrict_stdin: OnOff = c"WSGIRestrictStdin" in Global;

    /// On: whoever uses `sys.stdout`, as `print()` does, gets `OSError`. Default Off: it goes to the error log.
    restrict_stdout: OnOff = c"WSGIRestrictStdout" in Global;

    /// On: `signal.signal()` returns the handler it was given and does nothing else; the log has a line and the stack, at level info.
    /// Signals belong to the server. Processes that the application forks can set handlers. Default On.
    restrict_signal: OnOff = c"WSGIRestrictSignal" in Global;
}

impl Interpreter {
    fn settings_of<'a>(target: &'a mut Target<'_>) -> Result<&'a mut Self, Wrong> {
        let server = target.server()?;
        let open = server.interpreters.open.last();
        Ok(
            match open.and_then(|index| server.interpreters.sections.get_mut(*index)) {
                Some(section) => &mut section.options,
                None => &mut server.interpreters.base,
            },
        )
    }
}

/// Everything written about interpreters.
#[derive(Clone, Debug, Default)]
pub struct Interpreters {
    /// Outside of sections.
    pub base: Interpreter,
    /// The sections, in their order.
    pub sections: Vec<Section>,
    /// Those that are being read, the innermost last.
    open: Vec<usize>,
}

impl Interpreters {
    /// The innermost section has been read.
    pub fn close(&mut self) {
        self.open.pop();
    }
}

/// One section as written.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// The process group it is for.
    pub process_group: Option<String>,
    /// The application group it is for.
    pub application_group: Option<String>,
    /// What it says.
    pub options: Interpreter,
    /// Where it begins.
    pub place: Place,
}

/// The section. httpd hands over what is inside, line by line, until [`Interpreters::close`].
pub const SECTION: Directive = Directive {
    name: c"<WSGIInterpreterOptions",
    context: Context::Global,
    usage:
        c"[process-group=name|%{GLOBAL}] [application-group=name|%{GLOBAL}]> ... </WSGIInterpreterOptions>",
    text: "Says something of some interpreters only: of those of a process group (`%{GLOBAL}`: embedded mode), of an application group \
(`%{GLOBAL}`: the main one), of both, or of all. Names are compared as they are, after `WSGIApplicationGroup` and the others were \
expanded.\n\nInside, `WSGIPythonPath`, `WSGISwitchInterval`, `WSGIPerInterpreterGIL`, `WSGIFreeThreading`, `WSGIRestrictStdin`, \
`WSGIRestrictStdout` and `WSGIRestrictSignal` are for these interpreters; any other directive means what it means outside. If several \
sections say something of one interpreter, the one with more selectors counts, of equal ones the last; directories of `WSGIPythonPath` \
are all used, those of more specific sections first.\n",
    set,
};

fn set(target: &mut Target<'_>, words: &mut Words<'_>, place: &Place) -> Result<(), Wrong> {
    words.end_section()?;
    let mut section = Section {
        place: place.clone(),
        ..Section::default()
    };
    while let Some(selector) = words.next_option() {
        let (key, value) = selector?;
        let selected = match key.to_ascii_lowercase().as_str() {
            "process-group" => &mut section.process_group,
            "application-group" => &mut section.application_group,
            _ => {
                return Err(Wrong::new(
                    format!("has the unknown selector '{key}'"),
                    "expected are process-group and application-group",
                ));
            }
        };
        let value = if value == "%{GLOBAL}" {
            String::new()
        } else {
            value
        };
        if selected.replace(value).is_some() {
            return Err(Wrong::new(
                format!("has {key} twice"),
                "give it once, and write another section for another name",
            ));
        }
    }
    let interpreters = &mut target.server()?.interpreters;
    interpreters.open.push(interpreters.sections.len());
    interpreters.sections.push(section);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{ALL, RawServer, apply};
    use super::*;

    fn read(server: &mut RawServer, name: &str, line: &str) -> Result<(), String> {
        let directive = ALL
            .iter()
            .find(|directive| directive.name.to_bytes() == name.as_bytes());
        apply(
            directive.unwrap(),
            Target::Server(server),
            line.as_bytes(),
            &Place::default(),
        )
    }

    #[test]
    fn what_is_inside_belongs_to_the_innermost_section() {
        let mut server = RawServer::default();
        let section = "<WSGIInterpreterOptions";
        read(&mut server, section, "Process-Group=%{GLOBAL}>").unwrap();
        read(&mut server, section, "application-group=\"a b\" >").unwrap();
        read(&mut server, "WSGIRestrictStdin", "On").unwrap();
        server.interpreters.close();
        read(&mut server, "WSGISwitchInterval", "0.02").unwrap();
        server.interpreters.close();
        read(&mut server, "WSGIRestrictStdout", "On").unwrap();
        let [outer, inner] = server.interpreters.sections.as_slice() else {
            panic!()
        };
        assert_eq!(outer.process_group.as_deref(), Some(""));
        assert_eq!(outer.options.switch_interval, Some(Interval(20_000)));
        assert_eq!(outer.options.restrict_stdin, None);
        assert_eq!(inner.application_group.as_deref(), Some("a b"));
        assert_eq!(inner.options.restrict_stdin, Some(true));
        assert_eq!(server.interpreters.base.restrict_stdout, Some(true));
    }

    #[test]
    fn wrong_selectors_are_refused() {
        for (line, said) in [
            ("process-group=a", "closing '>'"),
            ("process-group=a> b", "closing '>'"),
            ("foo=a>", "unknown selector 'foo'"),
            ("foo>", "'foo'"),
            ("process-group=a PROCESS-GROUP=b>", "twice"),
        ] {
            let refusal = read(&mut RawServer::default(), "<WSGIInterpreterOptions", line).unwrap_err();
            assert!(
                refusal.starts_with("WSGIInterpreterOptions") && refusal.contains(said),
                "{refusal}"
            );
        }
    }
}
