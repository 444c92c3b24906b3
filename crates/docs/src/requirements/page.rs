//! The page, made from the rows.

use std::fmt::Write;

use super::{Book, Row, State, Table};

/// How the page of security begins.
pub const SECURITY: &str = "# Security, requirement by requirement

What a server that runs many people's Python beside its own keys has to guarantee. **built**: met, and the tests show it. **partly**, **no**: the note says what is missing
and why. P0 is what nobody can do without, P2 what is good to have. What is promised in short, and how to report a hole: [SECURITY.md](../SECURITY.md).

The last column names the tests: `topic::test` of `tests/it`, which `make test` ends with checking, or the file of a unit test. Each carries the number in its
name or in a comment. This page is made from `security.toml` by `make doc`.
";

/// How that of reliability begins.
pub const RELIABILITY: &str = "# Reliability, failure by failure

What breaks on a server, and what holds meanwhile. **built**: so it is, and the tests make it happen and show it. **partly**, **no**: the note says what is missing
and why. *Warm* is a site with a worker that has loaded it; *cold* is one that a worker has to be started for.

The last column names the tests, as in [security.md](security.md): `topic::test` of `tests/it`, which `make test` ends with checking, or the file of a unit test. Most of
them do a little in `make test`, and all of it in `make test-faults`. This page is made from `reliability.toml` by `make doc`.
";

/// The page, Markdown.
pub fn page(book: &Book, table: &Table) -> String {
    let mut page = String::from(book.top);
    for series in book.series {
        let all = table.requirement.iter();
        let of_series: Vec<&Row> = all.filter(|row| row.number.starts_with(series.letter)).collect();
        rows(&mut page, book.weighed, series.heading, &of_series);
    }
    page
}

fn rows(page: &mut String, weighed: bool, heading: &str, rows: &[&Row]) {
    let count = |state: State| rows.iter().filter(|row| row.state == state).count();
    let _ = write!(
        page,
        "\n## {heading}\n\n{} built, {} partly, {} not.\n\n| |{} required | | how, and what is missing | tests |\n|---|{}---|---|---|---|\n",
        count(State::Built),
        count(State::Partly),
        count(State::No),
        if weighed { " |" } else { "" },
        if weighed { "---|" } else { "" }
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
            "| {} |{} {} | {state} | {}{missing} | {} |",
            row.number,
            if weighed {
                format!(" {} |", row.weight)
            } else {
                String::new()
            },
            row.what,
            row.how,
            tests.join(", ")
        );
    }
}
