//! Writes `docs/codes.md` and `docs/directives/` from the tables in the source, `docs/rwsgictl.md` from its command line, `docs/compat.md`, `docs/security.md` and `docs/reliability.md` from their rows. `make doc` runs it at
//! the top of the repository. `rwsgi-docs proof` says whether the tests named in those rows have passed.

mod compat;
mod requirements;

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compat::proof::Outcomes;

use rwsgi_wire::code::Code;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    let done = match verb.as_deref() {
        None => write(Path::new("docs")),
        Some("proof") => proof(&target().join("outcomes")),
        Some(other) => Err(format!(
            "rwsgi-docs: nothing (write the pages) or `proof`, not '{other}'"
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn write(docs: &Path) -> Result<(), String> {
    pages(docs).map_err(|why| format!("docs: {why}"))?;
    compat::write(docs)?;
    requirements::write()
}

fn pages(docs: &Path) -> io::Result<()> {
    let directives = docs.join("directives");
    std::fs::create_dir_all(&directives)?;
    for entry in std::fs::read_dir(&directives)? {
        std::fs::remove_file(entry?.path())?;
    }
    mod_rwsgi::directives::pages::write(&directives)?;
    std::fs::write(directives.join("README.md"), directives_index())?;
    std::fs::write(docs.join("rwsgictl.md"), rwsgi_ctl::manual::page())?;
    std::fs::write(docs.join("codes.md"), codes_page(&tables()))
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// The tests that the tables of compatibility, security and reliability name have passed in the runs whose outcomes are in `directory`.
fn proof(directory: &Path) -> Result<(), String> {
    let outcomes = Outcomes::read(directory)?;
    let mut verdict = outcomes.judge(&compat::read()?);
    requirements::judge(&outcomes, &mut verdict)?;
    for (why, tests) in &verdict.not_here {
        let some: Vec<&str> = tests.iter().map(String::as_str).take(4).collect();
        println!(
            "not shown on this machine: {} tests on {why}: {} …",
            tests.len(),
            some.join(", ")
        );
    }
    if verdict.unproven.is_empty() {
        println!(
            "every row of docs/compat.md, docs/security.md and docs/reliability.md is shown by its tests"
        );
        return Ok(());
    }
    let lines: Vec<&str> = verdict.unproven.iter().map(String::as_str).collect();
    Err(format!(
        "{}, {}: {} claims are not shown by the tests they name:\n  {}",
        compat::ROWS,
        requirements::BOOKS.map(|book| book.rows).join(", "),
        lines.len(),
        lines.join("\n  ")
    ))
}

/// One line for each directive.
fn directives_index() -> String {
    let mut page = String::from(
        "# Directives\n\nThis index and its pages are made from the source by `make doc`.\n\n| directive | where | |\n|---|---|---|\n",
    );
    for directive in mod_rwsgi::directives::ALL {
        let name = directive.name.to_string_lossy();
        let plain = name.trim_start_matches('<');
        let first = directive
            .text
            .trim()
            .split_inclusive(". ")
            .next()
            .unwrap_or_default()
            .split('\n');
        let first: Vec<&str> = first.map(str::trim).take_while(|line| !line.is_empty()).collect();
        let _ = writeln!(
            page,
            "| [{plain}]({plain}.md) | {} | {} |",
            directive.context,
            first.join(" ").trim()
        );
    }
    page
}

/// The tables of all parts, with the part's heading.
fn tables() -> Vec<(&'static str, Vec<Code>)> {
    let server = [mod_rwsgi::codes::TABLE, mod_rwsgi::backend::codes::TABLE].concat();
    vec![
        ("httpd's side", server),
        ("The manager", rwsgi_manager::codes::TABLE.to_vec()),
        ("Workers and embedded Python", _rwsgi::codes::TABLE.to_vec()),
    ]
}

fn codes_page(tables: &[(&str, Vec<Code>)]) -> String {
    let mut page = String::from(
        "# Message codes\n\nEvery message at warning or above carries a code. Numbers are never used again for something else.\n\
         This page is made from the source by `make doc`.\n",
    );
    for (heading, codes) in tables {
        let mut codes = codes.clone();
        codes.sort_by_key(|code| code.number);
        let _ = write!(page, "\n## {heading}\n");
        for code in codes {
            let _ = write!(
                page,
                "\n### {code}: {}\n\n**Cause.** {}\n\n**Outcome.** {}\n\n**What to do.** {}\n",
                code.title, code.cause, code.outcome, code.action
            );
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_used_twice_and_each_says_cause_outcome_and_action() {
        let all: Vec<Code> = tables().into_iter().flat_map(|(_, codes)| codes).collect();
        for (i, code) in all.iter().enumerate() {
            assert!(
                all[..i].iter().all(|other| other.number != code.number),
                "{code} twice"
            );
            for text in [code.title, code.cause, code.outcome, code.action] {
                assert!(!text.is_empty(), "{code} has an empty part");
            }
        }
    }

    #[test]
    fn options_are_shown_under_the_names_that_they_are_written_by() {
        let known: Vec<&str> = mod_rwsgi::directives::daemon::OPTIONS
            .iter()
            .flat_map(|part| part.iter().map(|(name, _, _)| *name))
            .collect();
        for name in rwsgi_ctl::options::of(&rwsgi_wire::control::Group::default()).keys() {
            assert!(known.contains(name), "{name} is no option of WSGIDaemonProcess");
        }
    }

    #[test]
    fn every_code_in_the_catalogue_is_used_in_the_source() {
        // A code is used by its constant's name, which its table mentions once: a second mention is a use.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut source = String::new();
        for part in ["src", "crates/manager/src", "crates/gateway/src"] {
            read(&root.join(part), &mut source);
        }
        for table in [
            "src/codes.rs",
            "src/backend/codes.rs",
            "crates/manager/src/codes.rs",
            "crates/gateway/src/codes.rs",
        ] {
            let text = std::fs::read_to_string(root.join(table)).expect(table);
            for line in text.lines() {
                let Some((name, _)) = line.trim().split_once(" = ") else {
                    continue;
                };
                let is_constant = name.len() > 3
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit());
                if is_constant {
                    let named = |line: &str| {
                        line.split(|c: char| !c.is_alphanumeric() && c != '_')
                            .any(|word| word == name)
                    };
                    let mentions = source.lines().filter(|line| named(line)).count();
                    assert!(mentions > 1, "{name} of {table} is never used");
                }
            }
        }
    }

    fn read(dir: &Path, into: &mut String) {
        for entry in std::fs::read_dir(dir).expect("a directory of the source") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                read(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push_str(&std::fs::read_to_string(&path).expect("a source file"));
            }
        }
    }
}
