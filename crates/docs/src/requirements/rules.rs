//! What must hold for the rows: every requirement has one, and the tests that it names exist and carry its number.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Book, Row, State, Table};

/// Everything that is wrong with the rows; each a sentence with the remedy. `top` is the top of the repository, `tests` are those that
/// its suite has.
pub fn broken(book: &Book, table: &Table, tests: &BTreeSet<String>, top: &Path) -> Vec<String> {
    let numbers: Vec<&str> = table.requirement.iter().map(|row| &row.number[..]).collect();
    let mut wrong = Vec::new();
    for series in book.series {
        let letter = series.letter;
        let Some(last) = series.last else {
            continue;
        };
        let required = (1..=last).map(|number| format!("{letter}{number}"));
        let given = numbers.iter().filter(|number| number.starts_with(letter));
        if !given.copied().eq(required) {
            wrong.push(format!(
                "{letter}1 to {letter}{last} are not there once each, in their order"
            ));
        }
    }
    let mut seen = BTreeSet::new();
    for row in &table.requirement {
        if !seen.insert(&row.number) {
            wrong.push(format!("{} is there twice; keep one", row.number));
        }
        wrong.extend(lacking(row, book.weighed).map(|what| format!("{} {what}", row.number)));
        wrong.extend(
            row.tests
                .iter()
                .filter_map(|test| of_the_suite(row, test, tests, top)),
        );
        wrong.extend(row.units.iter().filter_map(|unit| elsewhere(row, unit, top)));
    }
    wrong
}

fn lacking(row: &Row, weighed: bool) -> impl Iterator<Item = &'static str> {
    let shown = !(row.tests.is_empty() && row.units.is_empty());
    let known = match weighed {
        true => ["P0", "P1", "P2"].contains(&&row.weight[..]),
        false => row.weight.is_empty(),
    };
    let lacks = [
        (
            !known,
            "has another weight than P0, P1, P2, or one where none is weighed",
        ),
        (row.state != State::No && !shown, "names no test; add one"),
        (
            row.state != State::No && row.how.is_empty(),
            "does not say how it is met",
        ),
        (
            row.state != State::Built && row.missing.is_empty(),
            "does not say what is missing",
        ),
        (
            row.state == State::Built && !row.missing.is_empty(),
            "is built and misses something: write partly",
        ),
        (
            row.state == State::No && shown,
            "is no but names a test: write partly",
        ),
    ];
    lacks
        .into_iter()
        .filter(|(lacking, _)| *lacking)
        .map(|(_, what)| what)
}

fn of_the_suite(row: &Row, test: &str, tests: &BTreeSet<String>, top: &Path) -> Option<String> {
    let number = &row.number;
    if !tests.contains(test) {
        return Some(format!(
            "{number} names the test {test}, which tests/it does not have"
        ));
    }
    let (topic, name) = test.split_once("::")?;
    let it = top.join("tests/it");
    let mut files = vec![it.join(format!("{topic}.rs"))];
    files.extend(
        std::fs::read_dir(it.join(topic))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    let carried = |file: &PathBuf| {
        let source = std::fs::read_to_string(file).unwrap_or_default();
        about(&source, name).is_some_and(|about| carries(&about, number))
    };
    (!files.iter().any(carried))
        .then(|| format!("{test} does not carry {number}: name it so, or write it in the comment above"))
}

fn elsewhere(row: &Row, unit: &str, top: &Path) -> Option<String> {
    let number = &row.number;
    let Some((file, name)) = unit.split_once("::") else {
        return Some(format!("{number}: {unit} is not FILE::TEST"));
    };
    let source = std::fs::read_to_string(top.join(file)).unwrap_or_default();
    match about(&source, name) {
        Some(about) if !about.contains("#[test]") => Some(format!("{number}: {unit} is not a test")),
        Some(about) if !carries(&about, number) => Some(format!(
            "{unit} does not carry {number}: name it so, or write it in the comment above"
        )),
        Some(_) => None,
        None => Some(format!("{number} names {unit}, which does not exist")),
    }
}

/// The lines of a function's head: its comments, its attributes and its name.
fn about(source: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let begin = format!("fn {name}(");
    let at = lines
        .iter()
        .position(|line| line.trim_start_matches("pub ").starts_with(&begin))?;
    let mut first = at;
    while first > 0 && (lines[first - 1].starts_with("//") || lines[first - 1].starts_with("#[")) {
        first -= 1;
    }
    Some(lines[first..=at].join("\n"))
}

fn carries(about: &str, number: &str) -> bool {
    let plain = |word: &str| -> Option<String> {
        let digits = word.get(1..)?.trim_start_matches('0');
        Some(format!("{}{digits}", word.get(..1)?.to_uppercase()))
    };
    about
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| plain(word).as_deref() == Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_carried_by_the_name_or_by_the_comment() {
        let source = "/// R10, R4\n#[test]\nfn r05_works() {\n}\n\nfn other() {\n";
        let head = about(source, "r05_works").expect("found");
        for number in ["R5", "R10", "R4"] {
            assert!(carries(&head, number), "{number}");
        }
        for number in ["R1", "R50", "R0"] {
            assert!(!carries(&head, number), "{number}");
        }
        assert!(!carries(&about(source, "other").expect("found"), "R5"));
        assert_eq!(about(source, "missing"), None);
    }

    fn row(number: &str, state: State) -> Row {
        Row {
            number: number.to_owned(),
            weight: "P0".to_owned(),
            what: "something".to_owned(),
            state,
            how: "so".to_owned(),
            missing: String::new(),
            tests: Vec::new(),
            units: Vec::new(),
        }
    }

    #[test]
    fn every_number_is_there_once_with_what_its_state_claims() {
        let nowhere = Path::new("/nonexistent");
        let [book, _] = super::super::BOOKS;
        let mut table = Table {
            requirement: (1..=76)
                .map(|n| Row {
                    missing: "later".to_owned(),
                    ..row(&format!("R{n}"), State::No)
                })
                .collect(),
        };
        let said = |table: &Table| broken(&book, table, &BTreeSet::new(), nowhere).join("\n");
        assert_eq!(said(&table), "");
        table.requirement[4] = row("R5", State::Built);
        assert_eq!(said(&table), "R5 names no test; add one");
        table.requirement[4].tests = vec!["attacks::none".to_owned()];
        assert!(said(&table).contains("attacks::none, which tests/it does not have"));
        table.requirement[4] = row("R4", State::Partly);
        let all = said(&table);
        for part in [
            "in their order",
            "R4 is there twice",
            "R4 does not say what is missing",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }

    #[test]
    fn the_rows_of_this_source_hold() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let existing = crate::compat::rules::existing_tests(&top.join("tests/it")).expect("the suite");
        for book in super::super::BOOKS {
            let text = std::fs::read_to_string(top.join(book.rows)).expect("the rows");
            let table = book.parse(&text).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(broken(&book, &table, &existing, &top), Vec::<String>::new());
        }
    }
}
