//! The reference pages, made from the table.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use super::calls::CallOptions;
use super::handler_script::HandlerOptions;
use super::import::ImportOptions;
use super::script::AliasOptions;
use super::users::{UserOptions, UserProcessOptions};
use super::{ALL, Directive, OptionText, daemon};

/// Writes one page per directive into `directory`, which must exist.
pub fn write(directory: &Path) -> io::Result<()> {
    for directive in ALL {
        let name = plain_name(directive);
        fs::write(directory.join(format!("{name}.md")), page(directive))?;
    }
    Ok(())
}

fn plain_name(directive: &Directive) -> String {
    directive
        .name
        .to_string_lossy()
        .trim_start_matches('<')
        .to_owned()
}

/// The page of one directive, Markdown.
pub fn page(directive: &Directive) -> String {
    let name = plain_name(directive);
    let usage = directive.usage.to_string_lossy();
    let text = unindent(directive.text);
    let mut page = format!(
        "# {name}\n\n| | |\n|---|---|\n| Syntax | `{name} {usage}` |\n| Context | {} |\n\n{text}",
        directive.context
    );
    let options: &[&[OptionText]] = match name.as_str() {
        "WSGIDaemonProcess" => daemon::OPTIONS,
        "WSGIUserProcess" => &[UserProcessOptions::OPTIONS],
        "WSGIUserOptions" => &[UserOptions::OPTIONS],
        "WSGIScriptAlias" | "WSGIScriptAliasMatch" => &[AliasOptions::OPTIONS],
        "WSGIDispatchScript" | "WSGIAccessScript" | "WSGIAuthUserScript" | "WSGIAuthGroupScript" => {
            &[CallOptions::OPTIONS]
        }
        "WSGIHandlerScript" => &[HandlerOptions::OPTIONS],
        "WSGIImportScript" => &[ImportOptions::OPTIONS],
        _ => &[],
    };
    if !options.is_empty() {
        page.push_str("\n## Options\n");
    }
    for (option, usage, text) in options.iter().copied().flatten() {
        let _ = write!(
            page,
            "\n### `{option}={}`\n\n{}",
            usage.to_string_lossy(),
            unindent(text)
        );
    }
    page
}

/// Doc comments begin each line with a blank.
fn unindent(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_has_a_page_that_says_something() {
        for directive in ALL {
            assert!(directive.text.trim().len() > 20, "{:?}", directive.name);
            assert!(!directive.usage.is_empty(), "{:?}", directive.name);
            assert!(page(directive).starts_with("# WSGI"), "{:?}", directive.name);
        }
    }

    #[test]
    fn every_option_has_a_text() {
        let of_groups = daemon::OPTIONS.iter().copied().flatten();
        let of_users = UserProcessOptions::OPTIONS.iter().chain(UserOptions::OPTIONS);
        for (option, _, text) in of_groups.chain(of_users).chain(AliasOptions::OPTIONS) {
            assert!(text.trim().len() > 20, "{option}");
        }
    }
}
