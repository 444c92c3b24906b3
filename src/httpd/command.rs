//! One setter for all directives: httpd's command table is made from the registry of directives.

use core::ffi::{CStr, c_char, c_int, c_void};
use std::ffi::CString;

use super::bindings as c;
use super::entry::guard;
use super::module;
use super::pool::Pool;
use super::server::ServerSlot;
use super::table;
use crate::directives::{self, Context, Directive, Place, Scoped, Target};

const COUNT: usize = directives::COUNT;

/// httpd's command table, ended by an empty entry.
pub(super) struct CommandTable([c::command_rec; COUNT + 1]);

// SAFETY: constants and pointers to constants.
unsafe impl Sync for CommandTable {}

pub(super) static TABLE: CommandTable = CommandTable(make());

impl CommandTable {
    pub(super) const fn first(&self) -> *const c::command_rec {
        self.0.as_ptr()
    }
}

const fn make() -> [c::command_rec; COUNT + 1] {
    const END: c::command_rec = c::command_rec {
        name: core::ptr::null(),
        func: c::cmd_func { raw_args: None },
        cmd_data: core::ptr::null_mut(),
        req_override: 0,
        args_how: c::RAW_ARGS,
        errmsg: core::ptr::null(),
    };
    let mut table = [END; COUNT + 1];
    let mut index = 0;
    while index < COUNT {
        let directive: &Directive = directives::ALL[index];
        table[index] = c::command_rec {
            name: directive.name.as_ptr(),
            func: c::cmd_func { raw_args: Some(set) },
            cmd_data: core::ptr::without_provenance_mut(index),
            req_override: allowed_in(directive.context),
            args_how: c::RAW_ARGS,
            errmsg: directive.usage.as_ptr(),
        };
        index += 1;
    }
    table
}

const fn allowed_in(context: Context) -> c_int {
    let bits = match context {
        Context::Global | Context::Server => c::RSRC_CONF,
        Context::ServerDirectory => c::RSRC_CONF | c::ACCESS_CONF,
        Context::FileInfo => c::OR_FILEINFO,
        Context::AuthConfig => c::OR_AUTHCFG,
    };
    bits as c_int
}

unsafe extern "C" fn set(
    cmd: *mut c::cmd_parms,
    mconfig: *mut c_void,
    arguments: *const c_char,
) -> *const c_char {
    // SAFETY: H1: httpd lends its parameters for this call.
    let Some(parms) = (unsafe { cmd.as_ref() }) else {
        return c"mod_rwsgi: httpd called a directive without parameters".as_ptr();
    };
    let fallback = c"mod_rwsgi: a bug was caught while this directive was read".as_ptr();
    guard(fallback, || match apply(cmd, parms, mconfig, arguments) {
        Ok(directive) if directive.is_section() => read_section(cmd),
        Ok(_) => core::ptr::null(),
        Err(sentence) => {
            let sentence = CString::new(sentence.replace('\0', " ")).unwrap_or_default();
            // SAFETY: H1: the pool of the configuration under way.
            let pool = unsafe { Pool::lend(parms.pool) };
            pool.map_or(fallback, |pool| pool.c_string(sentence.to_bytes()))
        }
    })
}

fn apply(
    cmd: *mut c::cmd_parms,
    parms: &c::cmd_parms,
    mconfig: *mut c_void,
    arguments: *const c_char,
) -> Result<&'static Directive, String> {
    // SAFETY: H1: the entry of our own table; its data is an index, not a pointer.
    let index = unsafe { (*parms.cmd).cmd_data }.addr();
    let directive = directives::ALL
        .get(index)
        .copied()
        .ok_or("mod_rwsgi: unknown directive")?;
    if directive.context == Context::Global {
        // SAFETY: H1.
        let refusal = unsafe { c::ap_check_cmd_context(cmd, c::GLOBAL_ONLY) };
        if !refusal.is_null() {
            // SAFETY: H2: a sentence of httpd.
            return Err(unsafe { CStr::from_ptr(refusal) }.to_string_lossy().into_owned());
        }
    }
    // SAFETY: H2.
    let arguments = unsafe { table::bytes(arguments) }.unwrap_or_default();
    let place = place(parms);
    let server = || {
        // SAFETY: H1: the server whose section is being read.
        let slot = unsafe { slot(parms.server) };
        // SAFETY: H6: while the configuration is read nobody else looks at the slot.
        let slot = unsafe { slot.as_mut() };
        slot.map(|slot| &mut slot.raw)
            .ok_or("mod_rwsgi: no server settings")
    };
    let target = if parms.path.is_null() {
        Target::Server(server()?)
    } else {
        // SAFETY: H6: while the section is read nobody else looks at its settings.
        let scoped =
            unsafe { mconfig.cast::<Scoped>().as_mut() }.ok_or("mod_rwsgi: no directory settings")?;
        // `.htaccess` is read for a request, into the pool of that request alone. httpd tells them apart in this way, too.
        if parms.pool == parms.temp_pool {
            Target::Directory(scoped)
        } else {
            Target::Section(scoped, server()?)
        }
    };
    directives::apply(directive, target, arguments, &place)?;
    Ok(directive)
}

/// # Safety
/// `server` is the server whose configuration is being read (H1).
unsafe fn slot(server: *mut c::server_rec) -> *mut ServerSlot {
    // SAFETY: the caller's promise.
    let configs = unsafe { (*server).module_config };
    // SAFETY: H6.
    unsafe { c::ap_get_module_config(configs, module::record()) }.cast()
}

/// Lets httpd hand over what is in a section, then closes it. Its refusal is passed on.
fn read_section(cmd: *mut c::cmd_parms) -> *const c_char {
    // SAFETY: H1: the parameters of this call. A copy, since httpd changes them meanwhile.
    let parms = unsafe { *cmd };
    // SAFETY: H1: the section's own line.
    let inside = unsafe { (*parms.directive).first_child };
    // SAFETY: H1: as httpd's own sections do it, with the context that is in force.
    let refusal = unsafe { c::ap_walk_config(inside, cmd, parms.context) };
    // SAFETY: H1: the server whose section was read.
    let slot = unsafe { slot(parms.server) };
    // SAFETY: H6: as in `apply`.
    if let Some(slot) = unsafe { slot.as_mut() } {
        slot.raw.interpreters.close();
    }
    refusal
}

fn place(parms: &c::cmd_parms) -> Place {
    // SAFETY: H1: the directive under way, or null.
    let Some(directive) = (unsafe { parms.directive.as_ref() }) else {
        return Place::default();
    };
    // SAFETY: H2.
    let file = unsafe { table::bytes(directive.filename) }.unwrap_or_default();
    Place {
        file: String::from_utf8_lossy(file).into_owned(),
        line: u32::try_from(directive.line_num).unwrap_or(0),
    }
}
