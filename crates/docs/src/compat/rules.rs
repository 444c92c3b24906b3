//! What must hold before the page is written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mod_rwsgi::directives::daemon::OPTIONS;
use mod_rwsgi::directives::{ALL, accepted};

use super::rows::{Row, State, Table};

/// What the module knows, from the tables in the source.
pub struct Registry {
    /// Directives that work.
    pub directives: BTreeSet<String>,
    /// Directives that are checked and without effect.
    pub unbuilt_directives: BTreeSet<String>,
    /// Options of `WSGIDaemonProcess`.
    pub options: BTreeSet<String>,
}

impl Registry {
    /// That of this source.
    pub fn built() -> Registry {
        let plain = |name: &core::ffi::CStr| name.to_string_lossy().trim_start_matches('<').to_owned();
        let unbuilt_directives: BTreeSet<String> =
            accepted::METRICS.iter().map(|name| (*name).to_owned()).collect();
        let all = ALL.iter().map(|directive| plain(directive.name));
        Registry {
            directives: all.filter(|name| !unbuilt_directives.contains(name)).collect(),
            unbuilt_directives,
            options: OPTIONS
                .iter()
                .copied()
                .flatten()
                .map(|option| option.0.to_owned())
                .collect(),
        }
    }
}

/// Everything that is wrong with the rows; each a sentence with the remedy.
pub fn broken(table: &Table, registry: &Registry, tests: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    agree(
        &mut wrong,
        "directive",
        &table.directive,
        &registry.directives,
        &registry.unbuilt_directives,
    );
    agree(
        &mut wrong,
        "option",
        &table.option,
        &registry.options,
        &BTreeSet::new(),
    );
    for (section, row) in table.rows() {
        let about = format!("[[{section}]] \"{}\"", row.name);
        wrong.extend(incomplete(row).map(|what| format!("{about} {what}")));
        wrong.extend(
            unknown(row.tests.iter().chain(&row.ours_only), tests).map(|what| format!("{about} {what}")),
        );
    }
    for new in &table.new {
        let about = format!("[[new]] \"{}\"", new.name);
        if new.tests.is_empty() {
            wrong.push(format!("{about} names no test; add one"));
        }
        wrong.extend(unknown(new.tests.iter(), tests).map(|what| format!("{about} {what}")));
    }
    wrong.extend(repeated(table));
    wrong
}

/// The rows of `section` name what is `built` and `unbuilt`, each once, with the right state. A row may be about one value only
/// (`threads=0`): such rows come in addition.
fn agree(
    wrong: &mut Vec<String>,
    section: &str,
    rows: &[Row],
    built: &BTreeSet<String>,
    unbuilt: &BTreeSet<String>,
) {
    let plain = |row: &Row| row.name.trim_matches(['<', '>']).to_owned();
    for name in built.union(unbuilt) {
        if !rows.iter().any(|row| plain(row) == *name) {
            wrong.push(format!("the {section} {name} has no row; add a [[{section}]]"));
        }
    }
    for row in rows {
        let name = plain(row);
        let base = name.split('=').next().unwrap_or_default();
        if !built.contains(base) && !unbuilt.contains(base) {
            wrong.push(format!(
                "[[{section}]] \"{name}\" is none that the module knows; mend the name"
            ));
        }
        if built.contains(&name) && row.state == State::No {
            wrong.push(format!(
                "[[{section}]] \"{name}\" is built; write yes or better, with its tests"
            ));
        }
        if unbuilt.contains(&name) && row.state != State::No {
            wrong.push(format!("[[{section}]] \"{name}\" is not built; write no"));
        }
    }
}

/// What a row lacks.
fn incomplete(row: &Row) -> impl Iterator<Item = &'static str> {
    let Row {
        state,
        note,
        tests,
        ours_only,
        ..
    } = row;
    let said = !note.is_empty() || !row.ours.is_empty();
    let lacks = [
        (
            *state == State::Yes && tests.is_empty(),
            "is yes but names no test; add one that passes on the original, too",
        ),
        (
            *state == State::Better && tests.is_empty() && ours_only.is_empty(),
            "is better but names no test; add one",
        ),
        (*state == State::Better && !said, "is better; say in the note how"),
        (*state == State::No && !said, "is no; say in the note why"),
        (
            *state == State::No && !(tests.is_empty() && ours_only.is_empty()),
            "is no but names a test; is it built?",
        ),
        (
            !ours_only.is_empty() && !said,
            "has tests for this module only; say in the note what they show",
        ),
    ];
    lacks
        .into_iter()
        .filter(|(lacking, _)| *lacking)
        .map(|(_, what)| what)
}

fn unknown<'a>(
    named: impl Iterator<Item = &'a String>,
    tests: &BTreeSet<String>,
) -> impl Iterator<Item = String> {
    named
        .filter(|test| !tests.contains(*test))
        .map(|test| format!("names the test {test}, which tests/it does not have; mend the name"))
}

fn repeated(table: &Table) -> Vec<String> {
    let mut seen = BTreeSet::new();
    table
        .rows()
        .filter(|(section, row)| !seen.insert((*section, row.name.clone())))
        .map(|(section, row)| format!("[[{section}]] \"{}\" is there twice; keep one", row.name))
        .collect()
}

/// The names of all tests, `topic::test_name`, read from the source of the suite below `it`: a function that takes a `Case`, named once
/// more where it is registered.
pub fn existing_tests(it: &Path) -> Result<BTreeSet<String>, String> {
    let mut tests = BTreeSet::new();
    for entry in entries(it)? {
        let topic = entry
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut waiting = vec![entry];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(entries(&path)?);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text =
                    std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
                tests.extend(functions(&text).map(|name| format!("{topic}::{name}")));
            }
        }
    }
    Ok(tests)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let why = |why| format!("{}: {why}", directory.display());
    let entries = std::fs::read_dir(directory).map_err(why)?;
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(why))
        .collect()
}

fn functions(source: &str) -> impl Iterator<Item = &str> {
    let words: Vec<&str> = source.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    source.lines().filter_map(move |line| {
        let (name, _) = line
            .trim_start_matches("pub ")
            .strip_prefix("fn ")?
            .split_once("(case: &Case)")?;
        (words.iter().filter(|word| **word == name).count() > 1).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::small;
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn registry() -> Registry {
        Registry {
            directives: set(&["directive"]),
            unbuilt_directives: set(&[]),
            options: set(&["option"]),
        }
    }

    fn tests() -> BTreeSet<String> {
        set(&["hello::works", "hello::new"])
    }

    #[test]
    fn nothing_is_wrong_with_right_rows() {
        assert_eq!(broken(&small(), &registry(), &tests()), Vec::<String>::new());
    }

    #[test]
    fn rows_and_registry_must_agree() {
        let mut known = registry();
        known.directives = set(&["another"]);
        let wrong = broken(&small(), &known, &tests()).join("\n");
        assert!(
            wrong.contains("directive another has no row") && wrong.contains("\"directive\" is none"),
            "{wrong}"
        );
        let mut table = small();
        table.option[0].state = State::No;
        table.option[0].note = "later".to_owned();
        table.option[0].tests.clear();
        assert!(
            broken(&table, &registry(), &tests())
                .join("\n")
                .contains("\"option\" is built")
        );
        known = registry();
        known.unbuilt_directives = std::mem::take(&mut known.directives);
        assert!(
            broken(&small(), &known, &tests())
                .join("\n")
                .contains("\"directive\" is not built")
        );
    }

    #[test]
    fn a_row_about_one_value_comes_in_addition() {
        let mut table = small();
        let mut row = table.option[0].clone();
        (row.name, row.state, row.note) = ("option=0".to_owned(), State::No, "later".to_owned());
        row.tests.clear();
        table.option.push(row);
        assert_eq!(broken(&table, &registry(), &tests()), Vec::<String>::new());
        table.option.remove(0);
        assert!(broken(&table, &registry(), &tests())[0].contains("option option has no row"));
    }

    #[test]
    fn each_state_needs_what_it_claims() {
        for (state, note, tests_named, said) in [
            (State::Yes, "", false, "is yes but names no test"),
            (State::Better, "more", false, "is better but names no test"),
            (State::Better, "", true, "say in the note how"),
            (State::No, "", false, "say in the note why"),
            (State::No, "why", true, "is it built?"),
        ] {
            let mut table = small();
            (table.python[0].state, table.python[0].note) = (state, note.to_owned());
            if !tests_named {
                table.python[0].tests.clear();
            }
            let wrong = broken(&table, &registry(), &tests()).join("\n");
            assert!(wrong.contains(said), "{said}: {wrong}");
        }
    }

    #[test]
    fn tests_that_do_not_exist_and_rows_that_are_there_twice_are_named() {
        let mut table = small();
        table.client[0].tests = vec!["hello::wroks".to_owned()];
        table.client.push(table.client[0].clone());
        let wrong = broken(&table, &registry(), &tests()).join("\n");
        assert!(
            wrong.contains("hello::wroks") && wrong.contains("twice"),
            "{wrong}"
        );
    }

    #[test]
    fn a_test_is_a_function_of_a_case_that_is_registered() {
        let source = "test![works, helper_not]\nfn works(case: &Case) {\n}\nfn stray(case: &Case) {\n}\nfn helper_not(x: u8) {\n";
        assert_eq!(functions(source).collect::<Vec<_>>(), ["works"]);
    }

    #[test]
    fn the_rows_of_this_source_hold() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(top.join(super::super::ROWS)).expect("the rows");
        let table = Table::parse(&text).unwrap_or_else(|why| panic!("{why}"));
        let existing = existing_tests(&top.join("tests/it")).expect("the suite");
        assert_eq!(
            broken(&table, &Registry::built(), &existing),
            Vec::<String>::new()
        );
    }
}
