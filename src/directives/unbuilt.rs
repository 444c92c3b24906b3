//! Directives of mod_wsgi that this version knows by name only: the server refuses to start, with a sentence.

use super::{Context, Directive, Wrong};

macro_rules! unbuilt {
    ($($name:literal in $context:ident: $remedy:literal;)*) => {
        /// All of them.
        pub const DIRECTIVES: &[Directive] = &[$(Directive {
            name: $name,
            context: Context::$context,
            usage: c"(not built in this version of rwsgi)",
            text: concat!("Not built in this version of rwsgi: the server refuses to start with it. What to do: ", $remedy, ".\n"),
            set: |_, _, _| Err(Wrong::new("is not built in this version of rwsgi", $remedy)),
        },)*];
    };
}

unbuilt! {
    c"WSGIServerMetrics" in Global: "remove it";
}
