//! What is required, row by row: `docs/security.toml` and `docs/reliability.toml` have the rows, the pages beside them are made from these.
//!
//! - [`rules`], for what must hold before a page is written: every number once, the tests they name exist and carry it
//! - [`page`], for the page
//!
//! Whether the tests have passed says `compat::proof`.

pub mod page;
pub mod rules;

use std::path::Path;

use serde::Deserialize;

use crate::compat::proof::{Outcomes, Verdict};
use crate::compat::rules::existing_tests;

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
    /// The letter of its series, and its number in that.
    pub number: String,
    /// How much depends on it: `P0`, `P1`, `P2`; empty where all do.
    #[serde(default)]
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

/// All of one page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// In the order of their numbers.
    pub requirement: Vec<Row>,
}

/// Requirements whose numbers begin with the same letter.
pub struct Series {
    letter: char,
    heading: &'static str,
    /// The highest number, if each up to it has a row.
    last: Option<u32>,
}

/// A page, and where its rows are.
pub struct Book {
    /// The rows, from the top of the repository.
    pub rows: &'static str,
    /// The page.
    pub page: &'static str,
    /// How the page begins.
    top: &'static str,
    weighed: bool,
    series: &'static [Series],
}

/// All of them.
pub const BOOKS: [Book; 2] = [
    Book {
        rows: "docs/security.toml",
        page: "docs/security.md",
        top: page::SECURITY,
        weighed: true,
        series: &[
            Series {
                letter: 'R',
                heading: "Requirements",
                last: Some(76),
            },
            Series {
                letter: 'C',
                heading: "The checks of suEXEC, as far as something built is concerned",
                last: None,
            },
        ],
    },
    Book {
        rows: "docs/reliability.toml",
        page: "docs/reliability.md",
        top: page::RELIABILITY,
        weighed: false,
        series: &[
            Series {
                letter: 'N',
                heading: "What holds whatever happens",
                last: Some(6),
            },
            Series {
                letter: 'F',
                heading: "What may happen",
                last: Some(58),
            },
        ],
    },
];

impl Book {
    /// Reads the rows; the error says where they are wrong.
    pub fn parse(&self, text: &str) -> Result<Table, String> {
        toml::from_str(text).map_err(|why| format!("{}: {why}", self.rows))
    }

    fn read(&self) -> Result<Table, String> {
        self.parse(&std::fs::read_to_string(self.rows).map_err(|why| format!("{}: {why}", self.rows))?)
    }

    /// Writes the page, or says everything that is wrong with the rows.
    fn write(&self) -> Result<(), String> {
        let table = self.read()?;
        let wrong = rules::broken(
            self,
            &table,
            &existing_tests(Path::new("tests/it"))?,
            Path::new("."),
        );
        if !wrong.is_empty() {
            return Err(format!("{}:\n  {}", self.rows, wrong.join("\n  ")));
        }
        std::fs::write(self.page, page::page(self, &table)).map_err(|why| format!("{}: {why}", self.page))
    }
}

/// Writes all pages.
pub fn write() -> Result<(), String> {
    BOOKS.iter().try_for_each(Book::write)
}

/// Adds to `verdict` what the rows claim and the outcomes do not show.
pub fn judge(outcomes: &Outcomes, verdict: &mut Verdict) -> Result<(), String> {
    for book in &BOOKS {
        for row in book.read()?.requirement {
            for test in &row.tests {
                outcomes.judge_here(test, &row.number, verdict);
            }
        }
    }
    Ok(())
}
