//! The page, made from the rows.

use std::fmt::Write;

use super::rows::{Row, State, Table};

const TOP: &str = "# Feature by feature against mod_wsgi 6.1.1

This is about the module. The program mod_wsgi-express beside it has no counterpart here (configurations that it has written work; `make run`
serves one application from a checkout), and there is nothing for Windows and macOS.

**yes**: works as there. **better**: works, and the note says what is more. **no**: not built; the directive is known by name and says so in a warning
at start, so that nothing is ignored silently. Where we differ on purpose is explained in [quirks.md](quirks.md).

The last column names the tests that show it (`tests/it`, `topic::test`); they run on mod_wsgi and on this module, those marked with * on this module
only. `make test` ends with checking that they passed. This page is made from `compat.toml` by `make doc`.
";

/// The page, Markdown.
pub fn page(table: &Table) -> String {
    let mut page = String::from(TOP);
    short(&mut page, "Loading", "", &table.loading, false);
    short(&mut page, "Directives", "directive", &table.directive, true);
    short(
        &mut page,
        "Options of `WSGIDaemonProcess`",
        "option",
        &table.option,
        true,
    );
    short(&mut page, "Keys of the environ", "key", &table.environ, true);
    short(
        &mut page,
        "What the application uses",
        "",
        &table.application,
        false,
    );
    short(
        &mut page,
        "`import mod_wsgi`, `import apache`, and the functions of scripts",
        "name",
        &table.python,
        false,
    );
    wide(&mut page, "What the client sees", "situation", &table.client);
    wide(&mut page, "Operation", "", &table.operation);
    page.push_str("\n## New here\n\nWhat mod_wsgi does not have.\n\n| | note | tests |\n|---|---|---|\n");
    for new in &table.new {
        let tests: Vec<String> = new.tests.iter().map(|test| format!("`{test}`*")).collect();
        let _ = writeln!(page, "| {} | {} | {} |", new.name, new.note, tests.join(", "));
    }
    page
}

/// A section of rows that are about a thing; with `code` a name that is one word is set as code.
fn short(page: &mut String, heading: &str, column: &str, rows: &[Row], code: bool) {
    let _ = write!(
        page,
        "\n## {heading}\n\n| {column} | | note | tests |\n|---|---|---|---|\n"
    );
    for row in rows {
        let name = if code && !row.name.contains([' ', '`']) {
            format!("`{}`", row.name)
        } else {
            row.name.clone()
        };
        let _ = writeln!(
            page,
            "| {name} | {} | {} | {} |",
            state(row),
            row.note,
            tests(row)
        );
    }
}

/// A section of rows that set the two side by side.
fn wide(page: &mut String, heading: &str, column: &str, rows: &[Row]) {
    let _ = write!(
        page,
        "\n## {heading}\n\n| {column} | mod_wsgi | rwsgi | | note | tests |\n|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let (theirs, ours) = (&row.theirs, &row.ours);
        let _ = writeln!(
            page,
            "| {} | {theirs} | {ours} | {} | {} | {} |",
            row.name,
            state(row),
            row.note,
            tests(row)
        );
    }
}

fn state(row: &Row) -> &'static str {
    match row.state {
        State::Yes => "yes",
        State::Better => "better",
        State::No => "no",
    }
}

fn tests(row: &Row) -> String {
    let both = row.tests.iter().map(|test| format!("`{test}`"));
    let ours = row.ours_only.iter().map(|test| format!("`{test}`*"));
    both.chain(ours).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::small;
    use super::*;

    #[test]
    fn every_row_is_on_the_page_with_state_and_tests() {
        let page = page(&small());
        for (_, row) in small().rows() {
            assert!(page.contains(&row.name), "{}", row.name);
        }
        assert!(
            page.contains("| `directive` | yes |  | `hello::works` |"),
            "{page}"
        );
        assert!(page.contains("| new |  | `hello::new`* |"), "{page}");
    }
}
