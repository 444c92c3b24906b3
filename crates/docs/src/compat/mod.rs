//! The compatibility table: `docs/compat.toml` has its rows, `docs/compat.md` is made from them.
//!
//! - [`rows`], for what a row is
//! - [`rules`], for what must hold before the page is written: the rows agree with the directives, the tests they name exist
//! - [`proof`], for whether the tests they name have passed, on the original and here
//! - [`page`], for the page

pub mod page;
pub mod proof;
pub mod rows;
pub mod rules;

use std::path::Path;

use rows::Table;

/// Where the rows are, from the top of the repository.
pub const ROWS: &str = "docs/compat.toml";

/// Reads the rows.
pub fn read() -> Result<Table, String> {
    let text = std::fs::read_to_string(ROWS).map_err(|why| format!("{ROWS}: {why}"))?;
    Table::parse(&text).map_err(|why| format!("{ROWS}: {why}"))
}

/// Writes the page, or says everything that is wrong with the rows.
pub fn write(docs: &Path) -> Result<(), String> {
    let table = read()?;
    let wrong = rules::broken(
        &table,
        &rules::Registry::built(),
        &rules::existing_tests(Path::new("tests/it"))?,
    );
    if !wrong.is_empty() {
        return Err(format!("{ROWS}:\n  {}", wrong.join("\n  ")));
    }
    std::fs::write(docs.join("compat.md"), page::page(&table)).map_err(|why| format!("docs/compat.md: {why}"))
}
