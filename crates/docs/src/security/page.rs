//! The page, made from the rows.

use std::fmt::Write;

use super::{Row, State, Table};

const TOP: &str = "# Security, requirement by requirement

What a server that runs many people's Python beside its own keys has to guarantee. **built**: met, and the tests show it. **partly**, **no**: the note says what is missing
and why. P0 is what nobody can do without, P2 what is good to have. What is promised in short, and how to report a hole: [SECURITY.md](../SECURITY.md).

The last column names the tests: `topic::test` of `tests/it`, which `make test` ends with checking, or the file of a unit test. Each carries the number in its
name or in a comment. This page is made from `security.toml` by `make doc`.
";

/// The page, Markdown.
pub fn page(table: &Table) -> String {
    let mut page = String::from(TOP);
    let (requirements, checks): (Vec<&Row>, Vec<&Row>) = table
        .requirement
        .iter()
        .partition(|row| row.number.starts_with('R'));
    rows(&mut page, "Requirements", &requirements);
    rows(
        &mut page,
        "The checks of suEXEC, as far as something built is concerned",
        &checks,
    );
    page
}

fn rows(page: &mut String, heading: &str, rows: &[&Row]) {
    let count = |state: State| rows.iter().filter(|row| row.state == state).count();
    let _ = write!(
        page,
        "\n## {heading}\n\n{} built, {} partly, {} not.\n\n| | | required | | how, and what is missing | tests |\n|---|---|---|---|---|---|\n",
        count(State::Built),
        count(State::Partly),
        count(State::No)
    );
    for row in rows {
        let state = match row.state {
            State::Built => "built",
            State::Partly => "partly",
            State::No => "no",
        };
        let missing = match &row.missing[..] {
            "" => String::new(),
            missing if row.how.is_empty() => missing.to_owned(),
            missing => format!(" **Missing:** {missing}"),
        };
        let tests: Vec<String> = row
            .tests
            .iter()
            .chain(&row.units)
            .map(|test| format!("`{test}`"))
            .collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {state} | {}{missing} | {} |",
            row.number,
            row.weight,
            row.what,
            row.how,
            tests.join(", ")
        );
    }
}
