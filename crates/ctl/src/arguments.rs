//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::failure;

/// Shows which applications rwsgi knows, what they are doing, and what went wrong; restarts and stops them.
///
/// It talks to the running manager of an httpd, and only root may.
#[derive(Debug, Parser)]
#[command(name = "rwsgictl", version, after_help = failure::statuses(), disable_help_subcommand = true)]
pub struct Arguments {
    /// The manager's runtime directory: WSGISocketPrefix, a dot and the process id of httpd's parent; or WSGISocketPrefix alone. Without
    /// it the one manager of this machine is asked; if there are several, they are listed.
    #[arg(short = 'd', long, global = true, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// All applications, with their workers, memory and processor time.
    List {
        /// Only those that run as this user.
        #[arg(long, value_name = "NAME")]
        user: Option<OsString>,
    },
    /// One process group, or the application of one process: workers, limits and options in force, and what went wrong lately.
    Show {
        /// Name of a process group (that of a user's applications is ~ and the login name), or the process id of a worker, which may
        /// have ended.
        #[arg(value_name = "GROUP|PID")]
        what: OsString,
    },
    /// Replaces the workers of a process group without losing a request: new ones have loaded what the old ones have before these end. If they cannot, the old
    /// ones stay. What waits after failures is tried at once. Comes back when all that is over.
    Restart(Order),
    /// Ends the workers of a process group: they finish what they have. The next request starts one.
    Stop(Order),
}

/// Whom an order is for.
#[derive(Debug, Args)]
pub struct Order {
    /// Name of a process group; that of a user's applications is ~ and the login name.
    pub group: OsString,
    /// Only what runs as this user.
    #[arg(long, value_name = "NAME")]
    pub user: Option<OsString>,
    /// Most seconds to wait until it is done.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_its_help_has_the_exit_statuses() {
        Arguments::command().debug_assert();
        let help = Arguments::command().render_long_help().to_string();
        assert!(
            help.contains("Exit status") && help.contains("no manager"),
            "{help}"
        );
        assert!(Arguments::try_parse_from(["rwsgictl", "show"]).is_err());
    }
}
