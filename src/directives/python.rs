//! How Python is started and ended, in httpd's children and in workers alike.

use super::kinds::{Absolute, Count, OnOff};
use super::python_kinds::HashSeed;
use super::{Context, Directive, Target, Wrong, kinds, settings};

settings! {
    /// How Python is started and ended; unset is `None`.
    pub struct Python;

    /// Level of optimisation, as `-O` (1) and `-OO` (2) on Python's command line: 1 leaves `assert` out, 2 also docstrings. More is as 2.
    /// Default 0.
    optimize: Count<0> = c"WSGIPythonOptimize" in Global;

    /// On: Python does not write `.pyc` files, as with `-B`. Default Off: it does where the user may write.
    dont_write_bytecode: OnOff = c"WSGIDontWriteBytecode" in Global;

    /// Seed of the hashes of `str` and `bytes`, as `PYTHONHASHSEED`: `random`, or a number, the same for each process; 0 turns
    /// randomisation off. Default: Python's own, which is random.
    hash_seed: HashSeed = c"WSGIPythonHashSeed" in Global;

    /// `PYTHON_EGG_CACHE` in `os.environ` in embedded mode: where `pkg_resources` unpacks eggs. Process groups have an option
    /// `python-eggs` and do not take this one over.
    eggs: Absolute = c"WSGIPythonEggs" in Global;

    /// Off: Python is not ended with its process. Exit functions (`atexit`) do not run then, and threads are not waited for. For
    /// extension modules that crash or hang when Python ends. Default On.
    destroy_interpreter: OnOff = c"WSGIDestroyInterpreter" in Global;

    /// Off: paths that differ in case only are one script, for file systems that make no difference; the name of its module and
    /// `%{RESOURCE}` are made of lower-case letters. Default On.
    case_sensitivity: OnOff = c"WSGICaseSensitivity" in Global;
}

impl Python {
    fn settings_of<'a>(target: &'a mut Target<'_>) -> Result<&'a mut Self, Wrong> {
        Ok(&mut target.server()?.python)
    }
}

/// The directive.
pub const WARNINGS: Directive = Directive {
    name: c"WSGIPythonWarnings",
    context: Context::Global,
    usage: c"action:message:category:module:line",
    text: "A filter for warnings, as after `-W` on Python's command line (`error::DeprecationWarning`). May be repeated; later ones \
come first.\n",
    set: |target, words, _place| {
        let kinds::Text(filter) = kinds::one(words)?;
        target.server()?.warnings.push(filter);
        Ok(())
    },
};
