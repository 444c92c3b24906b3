//! How Pythons are to be started, set up and ended: read from the configuration once, the same for workers and httpd's children.

use crate::WireError;
use crate::bytes::{Fields, Put};

/// What holds for a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Python {
    /// `sys.flags.optimize`: 0, 1 or 2.
    pub optimize: u8,
    /// `sys.dont_write_bytecode`.
    pub dont_write_bytecode: bool,
    /// Warning filters, as after `-W`.
    pub warnings: Vec<Vec<u8>>,
    /// What `PYTHONHASHSEED` would be: `random` or decimal digits; empty for Python's default.
    pub hash_seed: Vec<u8>,
    /// `PYTHON_EGG_CACHE`; empty for none.
    pub eggs: Vec<u8>,
    /// Interpreters are not ended with their process (`WSGIDestroyInterpreter Off`).
    pub leave_interpreters: bool,
    /// Module names do not depend on the case of paths (`WSGICaseSensitivity Off`).
    pub fold_case: bool,
    /// What holds for its interpreters.
    pub interpreters: Interpreters,
}

/// What holds for the interpreters of one process group (or of httpd's children).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Interpreters {
    /// What is written outside of sections, and for the process group.
    pub base: Options,
    /// The sections that name this process group or none, in their order.
    pub sections: Vec<Section>,
}

/// One `<WSGIInterpreterOptions>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Section {
    /// It names the process group.
    pub names_process_group: bool,
    /// The application group it names, if any.
    pub application_group: Option<Vec<u8>>,
    /// What it says.
    pub options: Options,
}

/// What may be said of an interpreter; `None` where nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Directories put in front of `sys.path` through `site.addsitedir`.
    pub path: Vec<Vec<u8>>,
    /// `sys.setswitchinterval`, in microseconds.
    pub switch_interval: Option<u64>,
    /// A sub-interpreter has a GIL of its own.
    pub own_gil: Option<bool>,
    /// `sys.stdin` cannot be used.
    pub restrict_stdin: Option<bool>,
    /// `sys.stdout` cannot be used.
    pub restrict_stdout: Option<bool>,
    /// `signal.signal` does nothing.
    pub restrict_signal: Option<bool>,
}

/// What holds for one interpreter, with defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled<'a> {
    /// Lists of directories, each to be put in front of what was there before.
    pub path: Vec<&'a [Vec<u8>]>,
    /// In microseconds.
    pub switch_interval: Option<u64>,
    /// The switch interval is meant for this application group, not for the whole process.
    pub switch_interval_is_own: bool,
    /// A sub-interpreter has a GIL of its own.
    pub own_gil: bool,
    /// `sys.stdin` cannot be used.
    pub restrict_stdin: bool,
    /// `sys.stdout` cannot be used.
    pub restrict_stdout: bool,
    /// `signal.signal` does nothing.
    pub restrict_signal: bool,
}

impl Interpreters {
    /// What holds for the interpreter of an application group: each option by itself from the most specific section that has it (of equal
    /// ones the last), else from outside. Directories are not replaced, but added from the least to the most specific.
    pub fn of(&self, application_group: &[u8]) -> Settled<'_> {
        let mut matching: Vec<&Section> = self
            .sections
            .iter()
            .filter(|section| {
                section
                    .application_group
                    .as_ref()
                    .is_none_or(|name| name == application_group)
            })
            .collect();
        // Keeps the order of equal ones.
        matching.sort_by_key(|section| section.selectors());
        let layers = || std::iter::once(&self.base).chain(matching.iter().map(|section| &section.options));
        let last = |option: fn(&Options) -> Option<bool>| layers().filter_map(option).next_back();
        let interval = matching
            .iter()
            .rev()
            .find(|section| section.options.switch_interval.is_some());
        Settled {
            path: layers()
                .map(|options| options.path.as_slice())
                .filter(|path| !path.is_empty())
                .collect(),
            switch_interval: layers().filter_map(|options| options.switch_interval).next_back(),
            switch_interval_is_own: interval.is_some_and(|section| section.application_group.is_some()),
            own_gil: last(|options| options.own_gil).unwrap_or(false),
            restrict_stdin: last(|options| options.restrict_stdin).unwrap_or(false),
            restrict_stdout: last(|options| options.restrict_stdout).unwrap_or(false),
            restrict_signal: last(|options| options.restrict_signal).unwrap_or(true),
        }
    }
}

impl Section {
    /// How specific it is.
    fn selectors(&self) -> u8 {
        u8::from(self.names_process_group) + u8::from(self.application_group.is_some())
    }
}

impl Python {
    /// Appends it to a message.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.put_u8(self.optimize);
        out.put_u8(self.dont_write_bytecode.into());
        out.put_list(&self.warnings);
        out.put_bytes(&self.hash_seed);
        out.put_bytes(&self.eggs);
        out.put_u8(self.leave_interpreters.into());
        out.put_u8(self.fold_case.into());
        self.interpreters.base.put(out);
        out.put_u32(u32::try_from(self.interpreters.sections.len()).unwrap_or(u32::MAX));
        for section in &self.interpreters.sections {
            out.put_u8(section.names_process_group.into());
            out.put_u8(section.application_group.is_some().into());
            if let Some(name) = &section.application_group {
                out.put_bytes(name);
            }
            section.options.put(out);
        }
    }

    /// Takes it from a message.
    pub fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            optimize: f.u8("optimize")?,
            dont_write_bytecode: f.bool("dont write bytecode")?,
            warnings: owned(f.list("warnings")?),
            hash_seed: f.bytes("hash seed")?.into(),
            eggs: f.bytes("eggs")?.into(),
            leave_interpreters: f.bool("leave interpreters")?,
            fold_case: f.bool("fold case")?,
            interpreters: Interpreters {
                base: Options::take(f)?,
                sections: (0..f.u32("sections")?)
                    .map(|_| Section::take(f))
                    .collect::<Result<_, _>>()?,
            },
        })
    }
}

impl Section {
    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        let names_process_group = f.bool("process group is named")?;
        let is_named = f.bool("application group is named")?;
        Ok(Self {
            names_process_group,
            application_group: match is_named {
                true => Some(f.bytes("application group")?.into()),
                false => None,
            },
            options: Options::take(f)?,
        })
    }
}

/// "Nothing is said" among flags and intervals.
const UNSAID: u8 = u8::MAX;

impl Options {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_list(&self.path);
        out.put_u64(self.switch_interval.unwrap_or(u64::MAX));
        for flag in [
            self.own_gil,
            self.restrict_stdin,
            self.restrict_stdout,
            self.restrict_signal,
        ] {
            out.put_u8(flag.map_or(UNSAID, u8::from));
        }
    }

    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            path: owned(f.list("path")?),
            switch_interval: Some(f.u64("switch interval")?).filter(|interval| *interval != u64::MAX),
            own_gil: flag(f, "own GIL")?,
            restrict_stdin: flag(f, "restrict stdin")?,
            restrict_stdout: flag(f, "restrict stdout")?,
            restrict_signal: flag(f, "restrict signal")?,
        })
    }
}

fn flag(f: &mut Fields<'_>, field: &'static str) -> Result<Option<bool>, WireError> {
    match f.u8(field)? {
        0 => Ok(Some(false)),
        1 => Ok(Some(true)),
        UNSAID => Ok(None),
        found => Err(WireError::Value {
            field,
            found: found.into(),
        }),
    }
}

fn owned(list: Vec<&[u8]>) -> Vec<Vec<u8>> {
    list.into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(process: bool, application: Option<&str>, options: Options) -> Section {
        Section {
            names_process_group: process,
            application_group: application.map(|name| name.as_bytes().to_vec()),
            options,
        }
    }

    fn path(directory: &str) -> Vec<Vec<u8>> {
        vec![directory.as_bytes().to_vec()]
    }

    #[test]
    fn it_survives_the_round_trip() {
        let python = Python {
            optimize: 2,
            warnings: vec![b"error".to_vec()],
            hash_seed: b"random".to_vec(),
            interpreters: Interpreters {
                base: Options {
                    path: path("/a"),
                    restrict_signal: Some(false),
                    ..Options::default()
                },
                sections: vec![
                    section(
                        true,
                        Some(""),
                        Options {
                            switch_interval: Some(20_000),
                            ..Options::default()
                        },
                    ),
                    Section::default(),
                ],
            },
            ..Python::default()
        };
        let mut bytes = Vec::new();
        python.put(&mut bytes);
        assert_eq!(Python::take(&mut Fields::new(&bytes)), Ok(python));
        assert!((0..bytes.len()).all(|cut| Python::take(&mut Fields::new(&bytes[..cut])).is_err()));
    }

    #[test]
    fn each_option_comes_from_the_most_specific_section_that_has_it() {
        let stdin = |restrict_stdin| Options {
            restrict_stdin: Some(restrict_stdin),
            ..Options::default()
        };
        let signal = Options {
            restrict_signal: Some(false),
            ..Options::default()
        };
        let interpreters = Interpreters {
            base: stdin(true),
            sections: vec![
                section(true, Some("a"), stdin(false)),
                section(false, Some("a"), stdin(true)),
                section(false, None, signal),
                section(false, Some("b"), stdin(false)),
            ],
        };
        let of = |name: &str| {
            let settled = interpreters.of(name.as_bytes());
            (settled.restrict_stdin, settled.restrict_signal)
        };
        assert_eq!(of("a"), (false, false));
        assert_eq!(of("b"), (false, false));
        assert_eq!(of("c"), (true, false));
        assert!(Interpreters::default().of(b"").restrict_signal);
    }

    #[test]
    fn directories_are_layered_and_of_equal_sections_the_last_wins() {
        let at = |directory: &str, microseconds| Options {
            path: path(directory),
            switch_interval: Some(microseconds),
            ..Options::default()
        };
        let interpreters = Interpreters {
            base: at("/base", 1),
            sections: vec![
                section(true, Some("a"), at("/both", 2)),
                section(true, None, at("/process", 3)),
                section(false, Some("a"), at("/application", 4)),
                section(false, None, at("/all", 5)),
            ],
        };
        let a = interpreters.of(b"a");
        let directories = ["/base", "/all", "/process", "/application", "/both"];
        assert_eq!(a.path, directories.map(path).iter().collect::<Vec<_>>());
        assert_eq!((a.switch_interval, a.switch_interval_is_own), (Some(2), true));
        let other = interpreters.of(b"x");
        assert_eq!(
            (other.switch_interval, other.switch_interval_is_own),
            (Some(3), false)
        );
        let equal = Interpreters {
            sections: vec![
                section(true, None, at("/1", 1)),
                section(false, Some("a"), at("/2", 2)),
            ],
            ..Interpreters::default()
        };
        assert_eq!(equal.of(b"a").switch_interval, Some(2));
    }
}
