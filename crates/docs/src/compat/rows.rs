//! The rows of the compatibility table as they are written down.

use serde::Deserialize;

/// Whether we have what mod_wsgi has.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Works as there.
    Yes,
    /// Works, and the note says what is more.
    Better,
    /// Not built; the note says why, or what to do instead.
    No,
}

/// One thing that mod_wsgi has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What it is: the name alone for directives, options, keys and Python names; else a piece of Markdown.
    pub name: String,
    /// Whether we have it.
    pub state: State,
    /// What is to be said about it; Markdown.
    #[serde(default)]
    pub note: String,
    /// What the original does, where a table sets the two beside each other.
    #[serde(default)]
    pub theirs: String,
    /// What this module does, there.
    #[serde(default)]
    pub ours: String,
    /// Tests that show it, `topic::test_name`; they pass on the original and here.
    #[serde(default)]
    pub tests: Vec<String>,
    /// Tests of what only this module has; the note says what that is.
    #[serde(default)]
    pub ours_only: Vec<String>,
}

/// Something that mod_wsgi does not have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// What it is; Markdown.
    pub name: String,
    /// What is to be said about it; Markdown.
    #[serde(default)]
    pub note: String,
    /// Tests that show it, here.
    pub tests: Vec<String>,
}

/// The sections of the table, in the order of the page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Loading the module.
    pub loading: Vec<Row>,
    /// Each directive.
    pub directive: Vec<Row>,
    /// Each option of `WSGIDaemonProcess`.
    pub option: Vec<Row>,
    /// Each key of the environ.
    pub environ: Vec<Row>,
    /// What the application gets from it and gives back: input, errors, `start_response`, the script itself.
    pub application: Vec<Row>,
    /// Names in the modules `mod_wsgi` and `apache`, payloads of events, keys of metrics, functions of auth scripts.
    pub python: Vec<Row>,
    /// What a client sees of a failure.
    pub client: Vec<Row>,
    /// Running the server.
    pub operation: Vec<Row>,
    /// What is new here.
    pub new: Vec<New>,
}

impl Table {
    /// Reads the file; the error says where it is wrong.
    pub fn parse(text: &str) -> Result<Table, String> {
        toml::from_str(text).map_err(|why| why.to_string())
    }

    /// All rows that compare, with the heading of their section.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &Row)> {
        let sections = [
            ("loading", &self.loading),
            ("directive", &self.directive),
            ("option", &self.option),
            ("environ", &self.environ),
            ("application", &self.application),
            ("python", &self.python),
            ("client", &self.client),
            ("operation", &self.operation),
        ];
        sections
            .into_iter()
            .flat_map(|(section, rows)| rows.iter().map(move |row| (section, row)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A table with one row in each section, to be changed by tests.
    pub(crate) fn small() -> Table {
        let mut text = String::new();
        for section in [
            "loading",
            "directive",
            "option",
            "environ",
            "application",
            "python",
            "client",
            "operation",
        ] {
            text += &format!(
                "[[{section}]]\nname = \"{section}\"\nstate = \"yes\"\ntests = [\"hello::works\"]\n"
            );
        }
        text += "[[new]]\nname = \"new\"\ntests = [\"hello::new\"]\n";
        Table::parse(&text).expect("a table")
    }

    #[test]
    fn unknown_fields_and_states_are_refused_with_their_line() {
        for wrong in ["state = \"maybe\"", "stat = \"yes\""] {
            let text = format!("[[loading]]\nname = \"x\"\n{wrong}\n");
            let said = Table::parse(&text).expect_err("refused");
            assert!(said.contains("line 3") && said.contains("expected"), "{said}");
        }
    }

    #[test]
    fn all_sections_are_walked() {
        assert_eq!(small().rows().count(), 8);
    }
}
