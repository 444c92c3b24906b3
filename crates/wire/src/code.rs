//! One entry of the message catalogue (`docs/codes.md` is generated from the tables of such entries).

/// A message logged at warning or above: its number and what an operator needs to know. Codes are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The number in `RWnnnn`.
    pub number: u16,
    /// What the message says, in a few words.
    pub title: &'static str,
    /// Why it happens.
    pub cause: &'static str,
    /// What the client or the server experiences.
    pub outcome: &'static str,
    /// What the operator can do.
    pub action: &'static str,
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RW{:04}", self.number)
    }
}
