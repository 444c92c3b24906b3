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

/// Declares a catalogue: constants, each with its number and its four texts, and `TABLE` with all of them.
///
/// ```
/// rwsgi_wire::codes! {
///     EXAMPLE = 1, "title", "cause", "outcome", "what to do";
/// }
/// assert_eq!(TABLE, [EXAMPLE]);
/// assert_eq!(EXAMPLE.to_string(), "RW0001");
/// ```
#[macro_export]
macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal, $cause:literal, $outcome:literal, $action:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: $crate::code::Code =
                $crate::code::Code { number: $number, title: $title, cause: $cause, outcome: $outcome, action: $action };
        )*
        /// All of them.
        pub const TABLE: &[$crate::code::Code] = &[$($name),*];
    };
}
