//! What Pythons are told, in httpd's children and in each process group.

use std::path::Path;

use rwsgi_wire::python::{Interpreters, Options, Python, Section};

use crate::directives::RawServer;
use crate::directives::daemon::GroupOptions;
use crate::directives::interpreter::{self, Interpreter};
use crate::directives::kinds::{Absolute, PathList};

/// For httpd's children.
pub fn embedded(main: &RawServer) -> Python {
    let base = options(&main.interpreters.base);
    let eggs = main.python.eggs.as_ref();
    python(main, base, eggs, "")
}

/// For the workers of a process group.
pub fn of_group(main: &RawServer, name: &str, group: &GroupOptions, eggs: Option<&Absolute>) -> Python {
    let outside = options(&main.interpreters.base);
    let base = Options {
        path: paths(group.python_path.as_ref()),
        switch_interval: group
            .switch_interval
            .map(|interval| interval.0)
            .or(outside.switch_interval),
        ..outside
    };
    python(main, base, eggs, name)
}

fn python(main: &RawServer, base: Options, eggs: Option<&Absolute>, process_group: &str) -> Python {
    let written = &main.python;
    let is_for_group = |section: &&interpreter::Section| {
        section
            .process_group
            .as_ref()
            .is_none_or(|name| name == process_group)
    };
    Python {
        optimize: written.optimize.map_or(0, |level| level.0.min(2) as u8),
        dont_write_bytecode: written.dont_write_bytecode.unwrap_or(false),
        warnings: main.warnings.iter().map(|filter| filter.clone().into()).collect(),
        hash_seed: written
            .hash_seed
            .clone()
            .map(|seed| seed.0.into())
            .unwrap_or_default(),
        eggs: eggs.map(|directory| bytes(&directory.0)).unwrap_or_default(),
        leave_interpreters: written.destroy_interpreter == Some(false),
        fold_case: written.case_sensitivity == Some(false),
        interpreters: Interpreters {
            base,
            sections: main
                .interpreters
                .sections
                .iter()
                .filter(is_for_group)
                .map(|section| Section {
                    names_process_group: section.process_group.is_some(),
                    application_group: section.application_group.clone().map(Into::into),
                    options: options(&section.options),
                })
                .collect(),
        },
    }
}

fn options(written: &Interpreter) -> Options {
    Options {
        path: paths(written.python_path.as_ref()),
        switch_interval: written.switch_interval.map(|interval| interval.0),
        own_gil: written.own_gil,
        restrict_stdin: written.restrict_stdin,
        restrict_stdout: written.restrict_stdout,
        restrict_signal: written.restrict_signal,
    }
}

fn paths(list: Option<&PathList>) -> Vec<Vec<u8>> {
    list.map(|list| list.0.iter().map(|path| bytes(path)).collect())
        .unwrap_or_default()
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directives::kinds::Count;
    use crate::directives::python_kinds::Interval;

    fn section(process_group: Option<&str>) -> interpreter::Section {
        interpreter::Section {
            process_group: process_group.map(Into::into),
            ..Default::default()
        }
    }

    fn main() -> RawServer {
        let mut main = RawServer::default();
        main.python.optimize = Some(Count(7));
        main.python.eggs = Some(Absolute("/eggs".into()));
        main.interpreters.base.python_path = Some(PathList(vec!["/embedded".into()]));
        main.interpreters.base.switch_interval = Some(Interval(20_000));
        main.interpreters.base.restrict_stdin = Some(true);
        main.interpreters.sections = [None, Some(""), Some("a"), Some("b")].map(section).into();
        main
    }

    #[test]
    fn children_take_what_is_outside_and_the_sections_of_embedded_mode() {
        let python = embedded(&main());
        assert_eq!((python.optimize, python.eggs.as_slice()), (2, &b"/eggs"[..]));
        assert_eq!(python.interpreters.base.path, [b"/embedded"]);
        assert_eq!(python.interpreters.sections.len(), 2);
    }

    #[test]
    fn groups_have_paths_and_eggs_of_their_own_and_their_interval_goes_before() {
        let mut group = GroupOptions::default();
        let python = of_group(&main(), "a", &group, None);
        assert_eq!((python.eggs.len(), python.interpreters.base.path.len()), (0, 0));
        assert_eq!(python.interpreters.base.switch_interval, Some(20_000));
        assert_eq!(python.interpreters.base.restrict_stdin, Some(true));
        assert_eq!(python.interpreters.sections.len(), 2);
        group.switch_interval = Some(Interval(1));
        let python = of_group(&main(), "a", &group, None);
        assert_eq!(python.interpreters.base.switch_interval, Some(1));
    }
}
