//! What became of each test, kept below `target/` for the compatibility table: `rwsgi-docs proof` reads it.
//!
//! One file for each module under test and MPM, a line for each test: `passed`, `failed` or `skipped`, a tab, the test's name, and
//! for a skipped one a tab and the reason. A run of some tests leaves the lines of the others alone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::case::UnderTest;
use crate::conf;

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    Skipped(String),
}

/// The outcomes of this run, by the name of the test.
pub(crate) type Outcomes = BTreeMap<String, Outcome>;

/// Adds `outcomes` to what earlier runs left. That a run cannot keep them is no failure of what it tested: it is said, and that is all.
pub(crate) fn keep(under_test: UnderTest, outcomes: &Outcomes) {
    if outcomes.is_empty() {
        return;
    }
    let file =
        directory().map(|directory| directory.join(format!("{under_test:?}-{}", conf::mpm()).to_lowercase()));
    let kept = file.and_then(|file| merge(&file, outcomes));
    if let Err(why) = kept {
        println!("the outcomes were not kept for the compatibility table: {why}");
    }
}

/// `target/outcomes`, beside the profile's directory that this program is in.
fn directory() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).unwrap_or(Path::new("target"));
    let directory = target.join("outcomes");
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn merge(file: &Path, outcomes: &Outcomes) -> io::Result<()> {
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
        if let Some(name) = line.split('\t').nth(1) {
            lines.insert(name.to_owned(), line.to_owned());
        }
    }
    for (name, outcome) in outcomes {
        let line = match outcome {
            Outcome::Passed => format!("passed\t{name}"),
            Outcome::Failed => format!("failed\t{name}"),
            Outcome::Skipped(why) => format!("skipped\t{name}\t{}", why.replace(['\t', '\n'], " ")),
        };
        lines.insert(name.clone(), line);
    }
    let text: Vec<String> = lines.into_values().map(|line| line + "\n").collect();
    let unfinished = file.with_extension(std::process::id().to_string());
    std::fs::write(&unfinished, text.concat())?;
    std::fs::rename(&unfinished, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_run_replaces_its_own_tests_and_leaves_the_others() {
        let directory = std::env::temp_dir().join(format!("outcomes-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let file = directory.join("ours-event");
        let first = [
            ("a::x".to_owned(), Outcome::Passed),
            ("a::y".to_owned(), Outcome::Skipped("needs\troot".to_owned())),
        ];
        merge(&file, &first.into()).expect("first");
        merge(&file, &[("a::x".to_owned(), Outcome::Failed)].into()).expect("second");
        let text = std::fs::read_to_string(&file).expect("file");
        assert_eq!(text, "failed\ta::x\nskipped\ta::y\tneeds root\n");
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
