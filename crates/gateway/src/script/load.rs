//! One script, from the file to a module in `sys.modules`.

use std::fs::File;
use std::io::{self, Read};

use rwsgi_os::file::{self, Links};
use rwsgi_os::memory;
use rwsgi_wire::base::ScriptOwner;
use rwsgi_wire::limits::SCRIPT_MAX;

use super::md5::md5;
use super::other_callable;
use super::version::microseconds;
use crate::cpython::{Attached, Exception, Object, PyResult};

/// Why a script is not there.
pub enum NotLoaded<'py> {
    /// Opening or reading it failed.
    NotRead(io::Error),
    /// It is not what the user of this process may be made to run: why.
    NotOwn(String),
    /// It is not valid Python.
    NotCompiled(Exception<'py>),
    /// Executing it raised.
    Raised(Exception<'py>),
    /// It lacks this callable, which requests want; and what it may have instead.
    NoCallable(Vec<u8>, String),
}

/// Loads a script as a new module of this name and answers it with the modification time (microseconds) of what was read. The name that was
/// in `sys.modules` before is replaced; if this fails, it is there as before. `callables`: what it must have.
pub fn load<'py>(
    py: Attached<'py>,
    script: &[u8],
    name: &str,
    owner: ScriptOwner,
    callables: &[Vec<u8>],
) -> Result<(Object<'py>, i64), NotLoaded<'py>> {
    let (source, mtime) = py
        .detach(|| read(script, owner))
        .map_err(|refusal| match refusal {
            Refusal::NotRead(error) => NotLoaded::NotRead(error),
            Refusal::NotOwn(why) => NotLoaded::NotOwn(why),
        })?;
    let path = py.file_name(script).map_err(NotLoaded::Raised)?;
    let code = compile(py, &source, &path).map_err(NotLoaded::NotCompiled)?;
    drop(source);
    let module = execute(py, name, &code, &path, callables)?;
    let time = py.int(mtime).map_err(NotLoaded::Raised)?;
    module
        .set_attribute(c"__mtime__", &time)
        .map_err(NotLoaded::Raised)?;
    drop(code);
    // What compiling and importing has freed would stay between what is kept.
    py.detach(memory::give_back);
    Ok((module, mtime))
}

/// Name of the module of a script.
pub fn module_name(script: &[u8]) -> String {
    let digits = md5(script).map(|byte| format!("{byte:02x}")).concat();
    format!("_mod_wsgi_{digits}")
}

enum Refusal {
    NotRead(io::Error),
    NotOwn(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::NotRead(error)
    }
}

fn read(script: &[u8], owner: ScriptOwner) -> Result<(Vec<u8>, i64), Refusal> {
    let mut file = match owner {
        ScriptOwner::Any => open_any(script)?,
        _ => open_own(script, owner)?,
    };
    let mtime = microseconds(&file.metadata()?);
    let mut source = Vec::new();
    file.read_to_end(&mut source)?;
    Ok((source, mtime))
}

/// httpd has seen a file there; a FIFO that is in its place by now is not waited for.
fn open_any(script: &[u8]) -> Result<File, Refusal> {
    let opened = file::open(script, Links::Follow).map_err(io::Error::from)?;
    match file::status(&opened).map_err(io::Error::from)?.is_file() {
        true => Ok(File::from(opened)),
        false => Err(io::Error::other("it is not a regular file").into()),
    }
}

/// Opens it so that what is looked at is what is read, whatever becomes of the name meanwhile, and nothing that waits is waited for.
fn open_own(script: &[u8], owner: ScriptOwner) -> Result<File, Refusal> {
    /// "Too many links", which is what a link that is not to be followed is.
    const ELOOP: i32 = 40;
    let opened = file::open(script, Links::Refuse).map_err(|error| match error.errno {
        ELOOP => Refusal::NotOwn("is a symbolic link: put the file itself there".to_owned()),
        _ => Refusal::NotRead(error.into()),
    })?;
    if !file::is_plain(&opened).map_err(io::Error::from)? {
        return Err(Refusal::NotOwn("is not a regular file".to_owned()));
    }
    let status = file::status(&opened).map_err(io::Error::from)?;
    let uid = rwsgi_os::ids::user_ids().effective;
    if status.uid != uid && !(owner == ScriptOwner::UserOrRoot && status.uid == 0) {
        let why = format!(
            "belongs to uid {} and not to this user (uid {uid}): chown it",
            status.uid
        );
        return Err(Refusal::NotOwn(why));
    }
    if status.mode & 0o022 != 0 {
        let mode = status.mode & 0o7777;
        return Err(Refusal::NotOwn(format!("has mode {mode:04o}: chmod go-w it")));
    }
    if status.size > SCRIPT_MAX {
        let size = status.size;
        return Err(Refusal::NotOwn(format!(
            "has {size} bytes: no more than {SCRIPT_MAX} are loaded"
        )));
    }
    Ok(File::from(opened))
}

fn compile<'py>(py: Attached<'py>, source: &[u8], path: &Object<'py>) -> Result<Object<'py>, Exception<'py>> {
    // Bytes, so that Python honours the coding cookie and a byte order mark.
    let arguments: [&Object<'py>; 5] = [
        &py.bytes(source)?,
        path,
        &py.text("exec")?,
        &py.int(0)?,
        &py.bool(true),
    ];
    py.import(c"builtins")?.call_method(c"compile", &arguments)
}

fn execute<'py>(
    py: Attached<'py>,
    name: &str,
    code: &Object<'py>,
    path: &Object<'py>,
    callables: &[Vec<u8>],
) -> Result<Object<'py>, NotLoaded<'py>> {
    let name = py.text(name).map_err(NotLoaded::Raised)?;
    // A reload must not find the names of the old version.
    let modules = py.modules().map_err(NotLoaded::Raised)?;
    let old = modules.lookup(&name).map_err(NotLoaded::Raised)?;
    if old.is_some() {
        modules.remove(&name).map_err(NotLoaded::Raised)?;
    }
    let builtins = py.import(c"builtins").map_err(NotLoaded::Raised)?;
    let before = builtins
        .call_method(c"set", &[&modules])
        .map_err(NotLoaded::Raised)?;
    let executed = py.execute_module(&name, code, path).map_err(NotLoaded::Raised);
    let loaded = executed.and_then(|module| with_callables(py, module, callables));
    if loaded.is_err() {
        // Neither is worth hiding why the script failed.
        let _ = forget_unfinished(py, &before);
        let _ = old.map(|old| modules.set(&name, &old));
    }
    loaded
}

/// The module, if it has all of these.
fn with_callables<'py>(
    py: Attached<'py>,
    module: Object<'py>,
    callables: &[Vec<u8>],
) -> Result<Object<'py>, NotLoaded<'py>> {
    let globals = module.attribute(c"__dict__").map_err(NotLoaded::Raised)?;
    for name in callables {
        let found = py.latin1(name).and_then(|name| globals.lookup(&name));
        if !found.ok().flatten().is_some_and(|found| found.is_callable()) {
            return Err(NotLoaded::NoCallable(name.clone(), other_callable(py, &globals)));
        }
    }
    Ok(module)
}

/// Forgets what a failed import has left behind.
fn forget_unfinished<'py>(py: Attached<'py>, before: &Object<'py>) -> PyResult<'py, ()> {
    let code = py.text(include_str!("forget.py"))?;
    let names = py.dict()?;
    py.import(c"builtins")?.call_method(c"exec", &[&code, &names])?;
    if let Some(forget) = names.lookup(&py.text("forget")?)? {
        forget.call(&[before])?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "../../../../tests/racer/mod.rs"]
mod racer;

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::PathBuf;

    use super::racer::{self, Racer, Unprotected};
    use super::*;

    const SOMEBODY_ELSE: u32 = 41_002;

    struct Place(PathBuf);

    impl Place {
        /// A script that says `own`, and what takes its place.
        fn new(name: &str) -> Self {
            let place = std::env::temp_dir().join(format!("rwsgi-load-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&place);
            std::fs::create_dir_all(place.join("app/directory")).unwrap();
            let place = Self(place);
            for (name, text, mode) in [
                ("app.wsgi", "own", 0o644),
                ("writable", "writable", 0o666),
                ("elses", "else's", 0o644),
            ] {
                let path = place.0.join("app").join(name);
                std::fs::write(&path, text).unwrap();
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            }
            racer::fifo(&place.0.join("app/fifo"));
            for (target, name) in [("../device", "to-device"), ("elses", "link"), ("fifo", "to-fifo")] {
                symlink(target, place.0.join("app").join(name)).unwrap();
            }
            place
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// How often it was read and refused.
    fn race(place: &Place, owner: ScriptOwner, contestants: &[&str], rounds: usize) -> (usize, usize) {
        let _unprotected = Unprotected::new();
        let names = [&["app.wsgi"], contestants].concat();
        let racer = Racer::start(0, &place.0.join("device"), &[(&place.0.join("app"), &names)]);
        let script = place.0.join("app/app.wsgi");
        let (mut loaded, mut refused) = (0, 0);
        for _ in 0..rounds {
            match read(script.as_os_str().as_bytes(), owner) {
                Ok((source, _)) => {
                    assert_eq!(String::from_utf8_lossy(&source), "own");
                    loaded += 1;
                }
                Err(_) => refused += 1,
            }
        }
        let (exchanges, opened) = racer.end();
        println!("{rounds} looks, {exchanges} exchanges: {loaded} loaded, {refused} refused");
        assert!(opened == 0 || owner == ScriptOwner::Any, "the device was opened");
        (loaded, refused)
    }

    /// Until it was a race: on a busy machine the other side may have its turn late.
    fn race_until_both(place: &Place, owner: ScriptOwner, contestants: &[&str]) {
        let rounds = match std::env::var("RWSGI_FAULTS").as_deref() {
            Ok("long") => 1_000_000,
            _ => 20_000,
        };
        let is_race = || {
            let (loaded, refused) = race(place, owner, contestants, rounds);
            loaded > 0 && refused > 0
        };
        assert!((0..10).any(|_| is_race()), "one side had it all");
    }

    // R29, C14, C15
    #[test]
    fn r29_a_script_that_is_exchanged_meanwhile_is_the_users_own_or_none() {
        if rwsgi_os::ids::user_ids().effective != 0 {
            return eprintln!("needs root, to have files of somebody else");
        }
        let place = Place::new("own");
        racer::device(&place.0.join("device"));
        chown(
            place.0.join("app/elses"),
            Some(SOMEBODY_ELSE),
            Some(SOMEBODY_ELSE),
        )
        .unwrap();
        let contestants = [
            "elses",
            "writable",
            "directory",
            "fifo",
            "link",
            "to-device",
            "to-fifo",
        ];
        race_until_both(&place, ScriptOwner::User, &contestants);
    }

    // R29
    #[test]
    fn r29_a_fifo_in_place_of_a_script_of_the_administrator_is_not_waited_for() {
        let place = Place::new("any");
        std::fs::write(place.0.join("device"), "").unwrap();
        race_until_both(&place, ScriptOwner::Any, &["fifo", "directory", "to-fifo"]);
    }
}
