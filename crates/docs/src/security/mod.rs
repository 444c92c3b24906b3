//! The table of security requirements: `docs/security.toml` has its rows, `docs/security.md` is made from them.
//!
//! - [`rules`], for what must hold before the page is written: every number once, the tests they name exist and carry it
//! - [`page`], for the page
//!
//! Whether the tests have passed says `compat::proof`.

pub mod page;
pub mod rules;

use std::path::Path;

use serde::Deserialize;

use crate::compat::proof::{Outcomes, Verdict};
use crate::compat::rules::existing_tests;

/// Where the rows are, from the top of the repository.
pub const ROWS: &str = "docs/security.toml";

/// Whether a requirement is met.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is, and tests show it.
    Built,
    /// A part of it is; `missing` says which is not.
    Partly,
    /// It is not; `missing` says why.
    No,
}

/// A requirement.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `R1` and so on, or `C1` and so on.
    pub number: String,
    /// How much depends on it: `P0`, `P1`, `P2`.
    pub weight: String,
    /// What is required; Markdown.
    pub what: String,
    /// Whether it is met.
    pub state: State,
    /// How it is met; Markdown, one line.
    #[serde(default)]
    pub how: String,
    /// What is not met, and why; Markdown, one line.
    #[serde(default)]
    pub missing: String,
    /// Tests of `tests/it`, `topic::test_name`.
    #[serde(default)]
    pub tests: Vec<String>,
    /// Tests elsewhere, `path/of/a/file.rs::test_name`.
    #[serde(default)]
    pub units: Vec<String>,
}

/// All of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// In the order of their numbers.
    pub requirement: Vec<Row>,
}

impl Table {
    /// Reads the file; the error says where it is wrong.
    pub fn parse(text: &str) -> Result<Table, String> {
        toml::from_str(text).map_err(|why| format!("{ROWS}: {why}"))
    }
}

fn read() -> Result<Table, String> {
    Table::parse(&std::fs::read_to_string(ROWS).map_err(|why| format!("{ROWS}: {why}"))?)
}

/// Writes the page, or says everything that is wrong with the rows.
pub fn write(docs: &Path) -> Result<(), String> {
    let table = read()?;
    let wrong = rules::broken(&table, &existing_tests(Path::new("tests/it"))?, Path::new("."));
    if !wrong.is_empty() {
        return Err(format!("{ROWS}:\n  {}", wrong.join("\n  ")));
    }
    std::fs::write(docs.join("security.md"), page::page(&table))
        .map_err(|why| format!("docs/security.md: {why}"))
}

/// Adds to `verdict` what the rows claim and the outcomes do not show.
pub fn judge(outcomes: &Outcomes, verdict: &mut Verdict) -> Result<(), String> {
    for row in read()?.requirement {
        for test in &row.tests {
            outcomes.judge_here(test, &row.number, verdict);
        }
    }
    Ok(())
}
