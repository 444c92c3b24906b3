//! Whether the tests that rows name have passed: read from what the runs of the suite left in `target/outcomes`
//! (`crates/testkit/src/outcomes.rs` writes it).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::rows::{State, Table};

/// What became of a test in one run; the name of the run is `ours-event` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    run: String,
    passed: bool,
    /// Why it was skipped; empty when it was not.
    skipped: String,
}

/// The outcomes of all runs.
#[derive(Default)]
pub struct Outcomes {
    /// By `topic::test_name`, without the mode, and then by the whole name.
    by_test: BTreeMap<String, BTreeMap<String, Vec<Outcome>>>,
}

/// What a row's tests show, or fail to show.
#[derive(Default)]
pub struct Verdict {
    /// Rows that claim more than their tests showed; each a line.
    pub unproven: BTreeSet<String>,
    /// Tests that this machine cannot run, by module and reason.
    pub not_here: BTreeMap<String, BTreeSet<String>>,
}

/// Reasons of the harness that are no lack of this machine.
const ON_PURPOSE: &str = "not for the original";

impl Outcomes {
    /// Reads the files of `directory`.
    pub fn read(directory: &Path) -> Result<Outcomes, String> {
        let why = |why| {
            format!(
                "{}: {why}; run the suite first (`make test`)",
                directory.display()
            )
        };
        let mut outcomes = Outcomes::default();
        for entry in std::fs::read_dir(directory).map_err(why)? {
            let path = entry.map_err(why)?.path();
            let run = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            outcomes.add(&run, &std::fs::read_to_string(&path).map_err(why)?);
        }
        Ok(outcomes)
    }

    fn add(&mut self, run: &str, text: &str) {
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (Some(outcome), Some(name)) = (fields.next(), fields.next()) else {
                continue;
            };
            let test = name.split('[').next().unwrap_or(name).to_owned();
            self.by_test
                .entry(test)
                .or_default()
                .entry(name.to_owned())
                .or_default()
                .push(Outcome {
                    run: run.to_owned(),
                    passed: outcome == "passed",
                    skipped: fields.next().unwrap_or_default().to_owned(),
                });
        }
    }

    /// Holds the rows against what was run.
    pub fn judge(&self, table: &Table) -> Verdict {
        let mut verdict = Verdict::default();
        for (section, row) in table.rows() {
            let about = format!("[[{section}]] \"{}\"", row.name);
            for test in &row.tests {
                // What is better here may be what the original has in one mode only.
                let one_mode = row.state == State::Better;
                self.passed(test, "theirs", one_mode, &about, &mut verdict);
                self.passed(test, "ours", false, &about, &mut verdict);
            }
            for test in &row.ours_only {
                self.passed(test, "ours", false, &about, &mut verdict);
                let mut on_theirs = self.variants(test, "theirs").peekable();
                let both = on_theirs.peek().is_some()
                    && on_theirs.all(|(_, outcomes)| outcomes.iter().any(|outcome| outcome.passed));
                if both {
                    verdict.unproven.insert(format!(
                        "{about}: {test} passed on theirs, too: write it as `tests`"
                    ));
                }
            }
        }
        for new in &table.new {
            for test in &new.tests {
                let about = format!("[[new]] \"{}\"", new.name);
                self.passed(test, "ours", false, &about, &mut verdict);
            }
        }
        verdict
    }

    /// Adds to `verdict` that `about` claims a test which has not passed on this module.
    pub fn judge_here(&self, test: &str, about: &str, verdict: &mut Verdict) {
        self.passed(test, "ours", false, about, verdict);
    }

    /// The runs of each mode of `test` on one module.
    fn variants<'a>(
        &'a self,
        test: &str,
        module: &'a str,
    ) -> impl Iterator<Item = (&'a str, Vec<&'a Outcome>)> {
        self.by_test
            .get(test)
            .into_iter()
            .flatten()
            .map(move |(name, outcomes)| {
                let of_module = |outcome: &&Outcome| outcome.run.split('-').next() == Some(module);
                (name.as_str(), outcomes.iter().filter(of_module).collect())
            })
    }

    /// Every mode of the test must have passed on `module` under some MPM, and failed under none; with `one_mode`, others may have been
    /// skipped on purpose.
    fn passed(&self, test: &str, module: &str, one_mode: bool, about: &str, verdict: &mut Verdict) {
        let mut known = false;
        let may_be_skipped = one_mode
            && self
                .variants(test, module)
                .any(|(_, outcomes)| outcomes.iter().any(|outcome| outcome.passed));
        for (name, outcomes) in self.variants(test, module) {
            known = true;
            if let Some(failed) = outcomes.iter().find(|o| !o.passed && o.skipped.is_empty()) {
                verdict
                    .unproven
                    .insert(format!("{about}: {name} failed in {}", failed.run));
            } else if outcomes.iter().any(|outcome| outcome.passed) {
            } else if let Some(skipped) = outcomes.first() {
                if skipped.skipped.starts_with(ON_PURPOSE) {
                    if may_be_skipped {
                        continue;
                    }
                    let what = format!("{about}: {name} was not run on {module} ({})", skipped.skipped);
                    verdict
                        .unproven
                        .insert(format!("{what}: write it as `ours_only`"));
                } else {
                    let why = format!("{module}: {}", skipped.skipped);
                    verdict.not_here.entry(why).or_default().insert(name.to_owned());
                }
            } else {
                verdict
                    .unproven
                    .insert(format!("{about}: {name} was not run on {module}"));
            }
        }
        if !known {
            verdict.unproven.insert(format!("{about}: {test} was not run"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::small;
    use super::*;

    fn judge(theirs: &str, ours: &str) -> (String, String) {
        judge_as(State::Yes, theirs, ours)
    }

    fn judge_as(state: State, theirs: &str, ours: &str) -> (String, String) {
        let mut outcomes = Outcomes::default();
        outcomes.add("theirs-event", theirs);
        outcomes.add("ours-event", ours);
        let mut table = small();
        table.loading.truncate(1);
        for rows in [
            &mut table.directive,
            &mut table.option,
            &mut table.environ,
            &mut table.application,
            &mut table.python,
            &mut table.client,
            &mut table.operation,
        ] {
            rows.clear();
        }
        table.new.clear();
        table.loading[0].state = state;
        table.loading[0].ours_only = vec!["hello::more".to_owned()];
        let verdict = outcomes.judge(&table);
        let lines = |lines: BTreeSet<String>| lines.into_iter().collect::<Vec<_>>().join("\n");
        (lines(verdict.unproven), format!("{:?}", verdict.not_here))
    }

    const MORE: &str = "passed\thello::more\n";

    #[test]
    fn what_passed_on_both_is_proven() {
        let both = "passed\thello::works[daemon]\npassed\thello::works[embedded]\n";
        assert_eq!(
            judge(both, &format!("{both}{MORE}")),
            (String::new(), "{}".to_owned())
        );
    }

    #[test]
    fn a_mode_that_failed_was_skipped_on_purpose_or_never_ran_is_named() {
        let good = "passed\thello::works[daemon]\npassed\thello::works[embedded]\n";
        for (theirs, said) in [
            (
                "failed\thello::works[daemon]\npassed\thello::works[embedded]\n",
                "[daemon] failed in theirs-event",
            ),
            (
                "passed\thello::works[daemon]\nskipped\thello::works[embedded]\tnot for the original: ours\n",
                "`ours_only`",
            ),
            (
                "passed\thello::works[daemon]\n",
                "hello::works[embedded] was not run on theirs",
            ),
        ] {
            let (unproven, _) = judge(theirs, &format!("{good}{MORE}"));
            assert!(unproven.contains(said), "{said}: {unproven}");
        }
        let (unproven, _) = judge(good, good);
        assert!(unproven.contains("hello::more was not run"), "{unproven}");
        let (unproven, _) = judge(&format!("{good}{MORE}"), &format!("{good}{MORE}"));
        assert!(
            unproven.contains("hello::more passed on theirs, too"),
            "{unproven}"
        );
    }

    #[test]
    fn a_better_row_may_have_what_the_original_has_in_one_mode() {
        let theirs =
            "passed\thello::works[daemon]\nskipped\thello::works[embedded]\tnot for the original: no\n";
        let ours = format!("passed\thello::works[daemon]\npassed\thello::works[embedded]\n{MORE}");
        assert_eq!(judge_as(State::Better, theirs, &ours).0, "");
        let neither = theirs.replace("passed\thello::works[daemon]\n", "");
        assert!(judge_as(State::Better, &neither, &ours).0.contains("`ours_only`"));
    }

    #[test]
    fn what_this_machine_cannot_run_is_no_failure() {
        let both = "skipped\thello::works\tneeds root\n";
        let (unproven, not_here) = judge(both, &format!("{both}{MORE}"));
        assert_eq!(unproven, "");
        assert!(
            not_here.contains(r#""theirs: needs root": {"hello::works"}"#),
            "{not_here}"
        );
    }
}
