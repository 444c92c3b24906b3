//! What the Apache half sees: [`Guest`], and what it provides for a request: [`Host`].

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::OnceLock;

use rwsgi_wire::response::{AbortReason, BodyFault, File, Log};

use crate::settings::Settings;
use crate::table::{ABI, FAILED, GuestTable, HostTable, NOT_HERE, SOME_LEFT, TEXT_ROOM, Take};

/// The body broke off: why, and a sentence.
pub type ReadFault = (BodyFault, String);

/// Why bytes of the answer did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum WriteFault {
    /// The client closed its connection.
    ClientGone = 1,
    /// Anything else; the host has logged it.
    Failed = 2,
}

/// How far bytes went that were not to wait for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    /// So many of them have been taken.
    pub taken: usize,
    /// All of them have, and all that was taken is on its way.
    pub is_sent: bool,
}

/// The host refused the answer's head, and has logged why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// One request as the host offers it. Called on the thread that called [`Guest::serve`], but for [`offer`](Self::offer): that may come from
/// another thread, while the first is not in here.
pub trait Host {
    /// Reads up to `limit` body bytes and gives them to `into`, in one or more pieces; none at the end.
    fn read(&mut self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<(), ReadFault>;
    /// Takes an encoded `Response`; `Err` when it breaks a rule (the host has logged which).
    fn response(&mut self, payload: &[u8]) -> Result<(), Refused>;
    /// Takes bytes of the answer.
    fn data(&mut self, bytes: &[u8], flush: bool) -> Result<(), WriteFault>;
    /// Takes part of a regular file as the rest of the answer.
    fn file(&mut self, fd: BorrowedFd<'_>, part: File) -> Result<(), WriteFault>;
    /// Logs one line for this request.
    fn log(&mut self, log: &Log<'_>);
    /// Takes an encoded `Verdict`. Only calls other than `Application` have one.
    fn verdict(&mut self, _payload: &[u8]) {}
    /// A variable of mod_ssl.
    fn ssl_variable(&mut self, _name: &[u8]) -> Option<Vec<u8>> {
        None
    }
    /// Takes bytes of the answer as far as they can be sent without waiting for the client, and sends what it kept of those before; `None`
    /// when that cannot be had: nothing was taken.
    fn offer(&mut self, _bytes: &[u8]) -> Result<Option<Offered>, WriteFault> {
        Ok(None)
    }
}

/// Logs one line for the process.
pub type ProcessLog = fn(&Log<'_>);

/// Looks at httpd's scoreboard: an encoded `Scoreboard`.
pub type Look = fn() -> Vec<u8>;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The answer is complete.
    Done,
    /// It is not; the log says why.
    Aborted(AbortReason),
}

static PROCESS_LOG: OnceLock<ProcessLog> = OnceLock::new();
static LOOK: OnceLock<Look> = OnceLock::new();

static HOST: HostTable = HostTable {
    abi: ABI,
    size: size_of::<HostTable>() as u32,
    read: host_read,
    response: host_response,
    data: host_data,
    file: host_file,
    verdict: host_verdict,
    ssl_variable: host_ssl_variable,
    log: host_log,
    process_log: host_process_log,
    scoreboard: host_scoreboard,
    offer: host_offer,
};

/// Python, started in this process. Neither it nor its library is ever unloaded.
#[derive(Clone, Copy)]
pub struct Guest {
    table: &'static GuestTable,
}

impl Guest {
    /// Checks a guest's table. The sentence says what is wrong.
    pub(crate) fn checked(table: &'static GuestTable) -> Result<Self, String> {
        if table.abi != ABI || (table.size as usize) < size_of::<GuestTable>() {
            return Err(format!(
                "the Python half has table version {} of {} bytes, this module needs version {ABI} of {}: files of different \
                 rwsgi builds are mixed; install all of them anew",
                table.abi,
                table.size,
                size_of::<GuestTable>()
            ));
        }
        Ok(Self { table })
    }

    /// Starts Python with `settings`; `log` receives lines that belong to no request, and `look` is asked for the scoreboard if
    /// applications may see that, both from any thread. Call once.
    pub fn open(&self, settings: &Settings, log: ProcessLog, look: Option<Look>) -> Result<(), String> {
        let _ = PROCESS_LOG.set(log);
        if let Some(look) = look {
            let _ = LOOK.set(look);
        }
        let bytes = settings.encode();
        let mut text = [0u8; TEXT_ROOM];
        let mut text_len = 0usize;
        match (self.table.open)(
            &raw const HOST,
            bytes.as_ptr(),
            bytes.len(),
            text.as_mut_ptr(),
            &raw mut text_len,
        ) {
            0 => Ok(()),
            _ => Err(String::from_utf8_lossy(text.get(..text_len).unwrap_or_default()).into_owned()),
        }
    }

    /// Runs one request on this thread; `head` is an encoded `Head`, `record` the address of httpd's record of it if the application may
    /// have that.
    pub fn serve(&self, mut host: &mut dyn Host, head: &[u8], record: Option<NonNull<c_void>>) -> Outcome {
        let exchange = (&raw mut host).cast::<c_void>();
        let record = record.map_or(std::ptr::null_mut(), NonNull::as_ptr);
        match (self.table.serve)(exchange, head.as_ptr(), head.len(), record) {
            0 => Outcome::Done,
            n => {
                let reason = u8::try_from(n).ok().and_then(|n| AbortReason::from_wire(n).ok());
                Outcome::Aborted(reason.unwrap_or(AbortReason::Internal))
            }
        }
    }

    /// Ends Python within `seconds`. No `serve` may be under way or follow.
    pub fn close(&self, seconds: u32) {
        (self.table.close)(seconds);
    }
}

/// Runs `body` with the exchange behind the pointer that [`Guest::serve`] handed out.
fn with<T>(exchange: *mut c_void, panicked: T, body: impl FnOnce(&mut dyn Host) -> T) -> T {
    let exchange = exchange.cast::<&mut dyn Host>();
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by the contract of the table the guest passes back, during `serve`, the pointer it was given, which points to the
        // `&mut dyn Host` on the stack of `Guest::serve`; nobody else uses that meanwhile: the guest is on the same thread, or in `offer`
        // while that thread is in none of these functions.
        let host = unsafe { &mut *exchange };
        body(&mut **host)
    }))
    .unwrap_or(panicked)
}

extern "C" fn host_read(
    exchange: *mut c_void,
    limit: usize,
    take: Take,
    taker: *mut c_void,
    text: *mut u8,
    text_len: *mut usize,
) -> i32 {
    let mut into = |bytes: &[u8]| take(taker, bytes.as_ptr(), bytes.len());
    let internal = BodyFault::Malformed as i32;
    with(exchange, internal, |host| match host.read(limit, &mut into) {
        Ok(()) => 0,
        Err((fault, sentence)) => {
            // SAFETY: the guest lends `TEXT_ROOM` writable bytes and a length for this call.
            unsafe { crate::load::fill_text(&sentence, text, text_len) };
            fault as i32
        }
    })
}

extern "C" fn host_response(exchange: *mut c_void, payload: *const u8, len: usize) -> i32 {
    // SAFETY: the guest lends `len` readable bytes for this call.
    let payload = unsafe { std::slice::from_raw_parts(payload, len) };
    with(exchange, FAILED, |host| {
        host.response(payload).map_or(FAILED, |()| 0)
    })
}

extern "C" fn host_data(exchange: *mut c_void, bytes: *const u8, len: usize, flush: u8) -> i32 {
    // SAFETY: the guest lends `len` readable bytes for this call.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, len) };
    with(exchange, FAILED, |host| {
        host.data(bytes, flush != 0)
            .map_or_else(|fault| fault as i32, |()| 0)
    })
}

extern "C" fn host_offer(exchange: *mut c_void, bytes: *const u8, len: usize, taken: *mut usize) -> i32 {
    // SAFETY: the guest lends `len` readable bytes for this call.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, len) };
    with(exchange, FAILED, |host| match host.offer(bytes) {
        Ok(Some(offered)) => {
            // SAFETY: the guest lends a place for a number for this call.
            unsafe { taken.write(offered.taken) };
            if offered.is_sent { 0 } else { SOME_LEFT }
        }
        Ok(None) => NOT_HERE,
        Err(fault) => fault as i32,
    })
}

extern "C" fn host_file(exchange: *mut c_void, fd: i32, from: u64, length: u64, wait: u8) -> i32 {
    if fd < 0 {
        return FAILED;
    }
    // SAFETY: the guest lends an open descriptor for this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let part = File {
        from,
        length,
        wait: wait != 0,
    };
    with(exchange, FAILED, |host| {
        host.file(fd, part).map_or_else(|fault| fault as i32, |()| 0)
    })
}

extern "C" fn host_verdict(exchange: *mut c_void, payload: *const u8, len: usize) {
    // SAFETY: the guest lends `len` readable bytes for this call.
    let payload = unsafe { std::slice::from_raw_parts(payload, len) };
    with(exchange, (), |host| host.verdict(payload));
}

extern "C" fn host_ssl_variable(
    exchange: *mut c_void,
    name: *const u8,
    len: usize,
    value: *mut u8,
    room: usize,
) -> isize {
    // SAFETY: the guest lends `len` readable bytes for this call.
    let name = unsafe { std::slice::from_raw_parts(name, len) };
    // SAFETY: the guest lends `room` writable bytes for this call.
    let value = unsafe { std::slice::from_raw_parts_mut(value, room) };
    with(exchange, -1, |host| match host.ssl_variable(name) {
        Some(found) => {
            for (to, from) in value.iter_mut().zip(&found) {
                *to = *from;
            }
            isize::try_from(found.len()).unwrap_or(-1)
        }
        None => -1,
    })
}

extern "C" fn host_log(exchange: *mut c_void, log: *const u8, len: usize) {
    // SAFETY: the guest lends `len` readable bytes for this call.
    let log = unsafe { std::slice::from_raw_parts(log, len) };
    with(exchange, (), |host| {
        // Both halves encode and decode with the same code, which their table versions vouch for.
        if let Ok(log) = Log::decode(log) {
            host.log(&log);
        }
    });
}

extern "C" fn host_process_log(log: *const u8, len: usize) {
    // SAFETY: the guest lends `len` readable bytes for this call.
    let log = unsafe { std::slice::from_raw_parts(log, len) };
    let _ = catch_unwind(|| {
        if let (Some(to), Ok(log)) = (PROCESS_LOG.get(), Log::decode(log)) {
            to(&log);
        }
    });
}

extern "C" fn host_scoreboard(sink: *mut c_void, take: extern "C" fn(*mut c_void, *const u8, usize)) {
    let looked = catch_unwind(|| LOOK.get().map(|look| look()));
    if let Ok(Some(bytes)) = looked {
        take(sink, bytes.as_ptr(), bytes.len());
    }
}
