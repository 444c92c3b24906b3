//! docs/rwsgictl.md, made from the command line and the structures.

use std::fmt::Write;

use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::failure::STATUSES;

/// What is said by hand.
const BEGINNING: &str = include_str!("manual/beginning.md");
const JSON: &str = include_str!("manual/json.md");

/// The page.
pub fn page() -> String {
    let mut page = format!("# rwsgictl\n\nThis page is made from the source by `make doc`.\n\n{BEGINNING}");
    let mut command = Arguments::command();
    command.build();
    page += "\n## Commands\n";
    for verb in command.get_subcommands_mut() {
        let (name, help) = (verb.get_name().to_owned(), verb.render_long_help().to_string());
        let _ = write!(page, "\n### {name}\n\n```text\n{}\n```\n", help.trim_end());
    }
    page += "\n## Exit status\n\n| status | means |\n|---|---|\n";
    for (status, meaning) in STATUSES {
        let _ = writeln!(page, "| {status} | {meaning} |");
    }
    page += "\nOther numbers may come; these do not change.\n\n";
    page + JSON
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::shown::{Application, Detail, GroupUsage, Incident, Worker};
    use serde_json::Value;

    /// The names of all fields, with those of what is in them.
    fn names(value: &Value, prefix: &str, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let name = format!("{prefix}{name}");
                    names(value, &format!("{name}."), into);
                    into.push(name);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| names(value, prefix, into)),
            _ => {}
        }
    }

    // The example is what panels are written after.
    #[test]
    fn the_example_has_the_fields_that_are_written() {
        let application = Application {
            workers: vec![Worker::default()],
            control_group: Some(GroupUsage::default()),
            options: Some(options::of(&rwsgi_wire::control::Group::default())),
            ..Application::default()
        };
        let written = Detail {
            applications: vec![application],
            incidents: vec![Incident::default()],
            ..Detail::default()
        };
        let example = JSON
            .split("```json")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let example: Value = serde_json::from_str(example.unwrap()).unwrap();
        let of = |value: &Value| {
            let mut all = Vec::new();
            names(value, "", &mut all);
            all.sort();
            all.dedup();
            all.retain(|name| !name.starts_with("applications.options."));
            all
        };
        assert_eq!(of(&example), of(&serde_json::to_value(&written).unwrap()));
    }
}
