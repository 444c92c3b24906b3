//! What can go wrong, and the exit status of each.

use std::fmt;

/// Why nothing could be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is nothing of this name.
    NotFound(String),
    /// No manager runs here; the text says where it was looked.
    NoManager(String),
    /// Managers of several httpds run: their runtime directories.
    Several(Vec<String>),
    /// This user may not ask, or the manager is another user's.
    Refused(String),
    /// The manager does not answer, or what it says cannot be read.
    Silent(String),
    /// Standard output does not take the answer.
    Output(String),
    /// What was ordered is not done.
    NotDone(String),
}

/// All exit statuses, with what they mean. They do not change; new ones may come.
pub const STATUSES: [(u8, &str); 9] = [
    (0, "done"),
    (1, "there is no such process group or process"),
    (2, "the command line is wrong"),
    (3, "no manager runs here"),
    (4, "managers of several httpds run: choose one with --runtime-dir"),
    (5, "not permitted: only root may ask"),
    (6, "the manager does not answer, or is of another version"),
    (7, "standard output cannot be written"),
    (8, "what was ordered is not done, or not in time"),
];

/// [`STATUSES`] as the help has them.
pub fn statuses() -> String {
    let lines = STATUSES.map(|(status, meaning)| format!("  {status}  {meaning}"));
    format!("Exit status:\n{}", lines.join("\n"))
}

impl Failure {
    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::NotFound(_) => 1,
            Self::NoManager(_) => 3,
            Self::Several(_) => 4,
            Self::Refused(_) => 5,
            Self::Silent(_) => 6,
            Self::Output(_) => 7,
            Self::NotDone(_) => 8,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(what) => write!(f, "{what}; `rwsgictl list` shows what there is"),
            Self::NoManager(place) => write!(
                f,
                "no manager runs {place}: start httpd with an application in daemon mode (WSGIDaemonProcess, WSGIUserProcess); a manager of an \
                 earlier rwsgi cannot be asked until httpd is stopped and started"
            ),
            Self::Several(places) => {
                write!(
                    f,
                    "managers of several httpds run; choose one with --runtime-dir:"
                )?;
                places.iter().try_for_each(|place| write!(f, "\n  {place}"))
            }
            Self::Refused(why) => write!(f, "{why}"),
            Self::Silent(why) => write!(f, "{why}"),
            Self::NotDone(why) => write!(f, "{why}"),
            Self::Output(why) => write!(f, "standard output cannot be written: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_status_of_its_own_that_is_documented() {
        let text = || "x".to_owned();
        let all = [
            Failure::NotFound(text()),
            Failure::NoManager(text()),
            Failure::Several(vec![text()]),
            Failure::Refused(text()),
            Failure::Silent(text()),
            Failure::Output(text()),
            Failure::NotDone(text()),
        ];
        let statuses: Vec<u8> = all.iter().map(Failure::status).collect();
        assert_eq!(statuses, [1, 3, 4, 5, 6, 7, 8]);
        for (n, (status, _)) in STATUSES.iter().enumerate() {
            assert_eq!(n, usize::from(*status));
        }
    }
}
