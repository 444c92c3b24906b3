//! What the Python half provides: [`GuestSide`], and what it sees of a request: [`HostExchange`].

use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use rwsgi_wire::response::{BodyFault, File, Log};

use crate::host::{Offered, Outcome, ReadFault, Refused, WriteFault};
use crate::settings::Settings;
use crate::table::{ABI, FAILED, GuestTable, HostTable, NOT_HERE, SOME_LEFT, TEXT_ROOM};

/// The functions behind the guest's table.
pub trait GuestSide: 'static {
    /// Starts Python; a sentence when it cannot.
    fn open(settings: Settings, log: HostLog) -> Result<(), String>;
    /// Runs one request on the calling thread.
    fn serve(exchange: HostExchange<'_>, head: &[u8]) -> Outcome;
    /// Ends Python within `seconds`.
    fn close(seconds: u32);
}

/// The table of `G`, to be returned by the function named [`crate::table::GUEST_ENTRY`].
pub fn table<G: GuestSide>() -> &'static GuestTable {
    const { &Functions::<G>::TABLE }
}

struct Functions<G>(PhantomData<G>);

impl<G: GuestSide> Functions<G> {
    const TABLE: GuestTable = GuestTable {
        abi: ABI,
        size: size_of::<GuestTable>() as u32,
        open: Self::open,
        serve: Self::serve,
        close: Self::close,
    };

    extern "C" fn open(
        host: *const HostTable,
        settings: *const u8,
        len: usize,
        text: *mut u8,
        text_len: *mut usize,
    ) -> i32 {
        // SAFETY: the host's table lives as long as the process.
        let host: &'static HostTable = unsafe { &*host };
        // SAFETY: the host lends `len` readable bytes for this call.
        let settings = unsafe { std::slice::from_raw_parts(settings, len) };
        let result = if host.abi != ABI || (host.size as usize) < size_of::<HostTable>() {
            Err(format!(
                "the module has table version {}, the Python half {ABI}: files of different rwsgi builds are mixed",
                host.abi
            ))
        } else {
            catch_unwind(AssertUnwindSafe(|| {
                let settings = Settings::decode(settings).map_err(|e| e.to_string())?;
                G::open(settings, HostLog { host })?;
                Ok(())
            }))
            .unwrap_or_else(|_| Err("the Python half panicked while it started Python".into()))
        };
        match result {
            Ok(()) => {
                let _ = HOST.set(host);
                0
            }
            Err(sentence) => {
                // SAFETY: the host lends `TEXT_ROOM` writable bytes and a length for this call.
                unsafe { crate::load::fill_text(&sentence, text, text_len) };
                FAILED
            }
        }
    }

    extern "C" fn serve(exchange: *mut c_void, head: *const u8, len: usize, record: *mut c_void) -> i32 {
        // SAFETY: the host lends `len` readable bytes for this call.
        let head = unsafe { std::slice::from_raw_parts(head, len) };
        let Some(host) = HOST.get() else { return FAILED };
        catch_unwind(AssertUnwindSafe(|| {
            match G::serve(
                HostExchange {
                    host,
                    exchange,
                    record: NonNull::new(record),
                    request: PhantomData,
                },
                head,
            ) {
                Outcome::Done => 0,
                Outcome::Aborted(reason) => i32::from(reason as u8),
            }
        }))
        .unwrap_or(FAILED)
    }

    extern "C" fn close(seconds: u32) {
        let _ = catch_unwind(|| G::close(seconds));
    }
}

static HOST: std::sync::OnceLock<&'static HostTable> = std::sync::OnceLock::new();

/// Where lines go that belong to no request. Any thread may use it.
#[derive(Clone, Copy)]
pub struct HostLog {
    host: &'static HostTable,
}

impl HostLog {
    /// Logs one line.
    pub fn log(&self, log: &Log<'_>) {
        let mut bytes = Vec::with_capacity(log.text.len() + 64);
        log.encode(&mut bytes);
        (self.host.process_log)(bytes.as_ptr(), bytes.len());
    }

    /// httpd's scoreboard, encoded; empty when applications may not see it.
    pub fn scoreboard(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        (self.host.scoreboard)((&raw mut bytes).cast(), take_bytes);
        bytes
    }
}

extern "C" fn take_bytes(sink: *mut c_void, bytes: *const u8, len: usize) {
    // SAFETY: the host passes back the pointer of `HostLog::scoreboard`, which waits for it to return.
    let sink = unsafe { &mut *sink.cast::<Vec<u8>>() };
    // SAFETY: the host lends `len` readable bytes for this call.
    sink.extend_from_slice(unsafe { std::slice::from_raw_parts(bytes, len) });
}

/// Where the bytes of one [`HostExchange::read`] go.
struct Taker<'a> {
    into: &'a mut dyn FnMut(&[u8]),
    taken: usize,
    panicked: bool,
}

extern "C" fn take(taker: *mut c_void, bytes: *const u8, len: usize) {
    // SAFETY: the host passes back, during the call that it was given in, the pointer to the `Taker` of `HostExchange::read`, which nobody
    // else uses meanwhile.
    let taker = unsafe { &mut *taker.cast::<Taker<'_>>() };
    // SAFETY: the host lends `len` readable bytes for this call.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, len) };
    taker.taken += bytes.len();
    taker.panicked |= catch_unwind(AssertUnwindSafe(|| (taker.into)(bytes))).is_err();
}

/// One request, during [`GuestSide::serve`] and on its thread (neither `Send` nor `Sync`). Another thread may [`offer`](Self::offer), if
/// whoever lets it sees to it that the first makes no call meanwhile and that `serve` has not returned.
pub struct HostExchange<'r> {
    host: &'static HostTable,
    exchange: *mut c_void,
    record: Option<NonNull<c_void>>,
    request: PhantomData<&'r mut ()>,
}

impl HostExchange<'_> {
    /// The address of httpd's record of the request, if the application may have it.
    pub fn record(&self) -> Option<NonNull<c_void>> {
        self.record
    }

    /// Reads up to `limit` body bytes and gives them to `into`, in one or more pieces; the number of bytes, 0 at the end. Blocks: detach
    /// from Python first.
    pub fn read(&mut self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<usize, ReadFault> {
        let mut text = [0u8; TEXT_ROOM];
        let mut text_len = 0usize;
        let mut taker = Taker {
            into,
            taken: 0,
            panicked: false,
        };
        let fault = (self.host.read)(
            self.exchange,
            limit,
            take,
            (&raw mut taker).cast(),
            text.as_mut_ptr(),
            &raw mut text_len,
        );
        let Taker { taken, panicked, .. } = taker;
        if fault == 0 && !panicked {
            return Ok(taken);
        }
        let fault = u8::try_from(fault)
            .ok()
            .and_then(|n| BodyFault::from_wire(n).ok())
            .unwrap_or(BodyFault::Malformed);
        let text = String::from_utf8_lossy(text.get(..text_len).unwrap_or_default()).into_owned();
        Err((fault, text))
    }

    /// Hands over an encoded `Response`; `Err` when the host refused it (and logged why).
    pub fn response(&mut self, payload: &[u8]) -> Result<(), Refused> {
        if (self.host.response)(self.exchange, payload.as_ptr(), payload.len()) == 0 {
            Ok(())
        } else {
            Err(Refused)
        }
    }

    /// Hands over bytes of the answer. Blocks when `flush` is set or much is held back: detach from Python first.
    pub fn data(&mut self, bytes: &[u8], flush: bool) -> Result<(), WriteFault> {
        written((self.host.data)(
            self.exchange,
            bytes.as_ptr(),
            bytes.len(),
            flush.into(),
        ))
    }

    /// Hands over bytes of the answer as far as they can be sent without waiting for the client; `None` when the host does not know how far
    /// that would be. Does not block.
    pub fn offer(&mut self, bytes: &[u8]) -> Result<Option<Offered>, WriteFault> {
        let mut taken = 0;
        match (self.host.offer)(self.exchange, bytes.as_ptr(), bytes.len(), &raw mut taken) {
            0 => Ok(Some(Offered {
                taken: bytes.len(),
                is_sent: true,
            })),
            SOME_LEFT => Ok(Some(Offered {
                taken: taken.min(bytes.len()),
                is_sent: false,
            })),
            NOT_HERE => Ok(None),
            fault => written(fault).map(|()| None),
        }
    }

    /// Hands over part of a regular file as the rest of the answer. Blocks: detach from Python first.
    pub fn file(&mut self, fd: BorrowedFd<'_>, part: File) -> Result<(), WriteFault> {
        written((self.host.file)(
            self.exchange,
            fd.as_raw_fd(),
            part.from,
            part.length,
            part.wait.into(),
        ))
    }

    /// Hands over an encoded `Verdict`.
    pub fn verdict(&mut self, payload: &[u8]) {
        (self.host.verdict)(self.exchange, payload.as_ptr(), payload.len());
    }

    /// A variable of mod_ssl.
    pub fn ssl_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let mut value = vec![0u8; TEXT_ROOM];
        loop {
            let room = value.len();
            let length =
                (self.host.ssl_variable)(self.exchange, name.as_ptr(), name.len(), value.as_mut_ptr(), room);
            let length = usize::try_from(length).ok()?;
            // A longer one is asked for again, with the room that it needs.
            value.resize(length, 0);
            if length <= room {
                return Some(value);
            }
        }
    }

    /// Logs one line for this request.
    pub fn log(&mut self, log: &Log<'_>) {
        let mut bytes = Vec::with_capacity(log.text.len() + 64);
        log.encode(&mut bytes);
        (self.host.log)(self.exchange, bytes.as_ptr(), bytes.len());
    }
}

fn written(result: i32) -> Result<(), WriteFault> {
    match result {
        0 => Ok(()),
        1 => Err(WriteFault::ClientGone),
        _ => Err(WriteFault::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Guest, Host};
    use rwsgi_wire::response::{AbortReason, Level, Origin};
    use std::os::fd::AsFd;
    use std::sync::Mutex;

    struct Echo;
    static CLOSED: Mutex<Option<u32>> = Mutex::new(None);

    impl GuestSide for Echo {
        fn open(settings: Settings, log: HostLog) -> Result<(), String> {
            log.log(&line(Level::Info, b"opened"));
            assert_eq!(log.scoreboard().is_empty(), settings.program.is_empty());
            if settings.program.is_empty() {
                Err("no program given".into())
            } else {
                Ok(())
            }
        }
        fn serve(mut exchange: HostExchange<'_>, head: &[u8]) -> Outcome {
            if head == b"panic" {
                panic!("on purpose");
            }
            let mut buffer = Vec::new();
            exchange.response(b"head").unwrap();
            if head == b"file" {
                let part = File {
                    from: 1 << 40,
                    length: 3,
                    wait: true,
                };
                exchange.file(std::io::stdin().as_fd(), part).unwrap();
            }
            if head == b"offer" {
                let some = Offered {
                    taken: 2,
                    is_sent: false,
                };
                assert_eq!(exchange.offer(b"abc"), Ok(Some(some)));
                assert_eq!(exchange.offer(b"c").unwrap().map(|all| all.is_sent), Some(true));
                assert_eq!(exchange.offer(b""), Ok(None));
                assert_eq!(exchange.offer(b"gone"), Err(WriteFault::ClientGone));
            }
            loop {
                buffer.clear();
                match exchange.read(4, &mut |bytes| buffer.extend_from_slice(bytes)) {
                    Ok(0) => return Outcome::Done,
                    Ok(n) => exchange.data(&buffer[..n], true).unwrap(),
                    Err((fault, text)) => {
                        exchange.log(&line(Level::Error, format!("{fault:?}: {text}").as_bytes()));
                        return Outcome::Aborted(AbortReason::Application);
                    }
                }
            }
        }
        fn close(seconds: u32) {
            *CLOSED.lock().unwrap() = Some(seconds);
        }
    }

    struct Recorder {
        body: Vec<u8>,
        breaks: bool,
        seen: Vec<String>,
    }

    impl Host for Recorder {
        fn read(&mut self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<(), ReadFault> {
            if self.body.is_empty() && self.breaks {
                return Err((BodyFault::ClientSlow, "too slow".into()));
            }
            for byte in self.body.drain(..limit.min(self.body.len())) {
                into(&[byte]);
            }
            Ok(())
        }
        fn response(&mut self, payload: &[u8]) -> Result<(), Refused> {
            self.seen
                .push(format!("response {}", String::from_utf8_lossy(payload)));
            Ok(())
        }
        fn data(&mut self, bytes: &[u8], flush: bool) -> Result<(), WriteFault> {
            self.seen
                .push(format!("data {} {flush}", String::from_utf8_lossy(bytes)));
            Ok(())
        }
        fn file(&mut self, fd: BorrowedFd<'_>, part: File) -> Result<(), WriteFault> {
            assert!(fd.as_raw_fd() >= 0);
            self.seen
                .push(format!("file {}+{} {}", part.from, part.length, part.wait));
            Ok(())
        }
        fn offer(&mut self, bytes: &[u8]) -> Result<Option<Offered>, WriteFault> {
            match bytes {
                b"" => Ok(None),
                b"gone" => Err(WriteFault::ClientGone),
                _ => Ok(Some(Offered {
                    taken: bytes.len().min(2),
                    is_sent: bytes.len() <= 2,
                })),
            }
        }
        fn log(&mut self, log: &Log<'_>) {
            let text = String::from_utf8_lossy(log.text);
            self.seen
                .push(format!("log {:?} {text} {}", log.level, log.origin.line));
        }
    }

    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn process_log(log: &Log<'_>) {
        LINES
            .lock()
            .unwrap()
            .push(format!("{:?} {}", log.level, String::from_utf8_lossy(log.text)));
    }

    fn line(level: Level, text: &[u8]) -> Log<'_> {
        let origin = Origin {
            file: b"/app.wsgi",
            line: 7,
        };
        Log { level, origin, text }
    }

    #[test]
    fn an_exchange_crosses_the_table_and_no_panic_does() {
        let guest = Guest::checked(table::<Echo>()).expect("same build");
        assert_eq!(
            guest.open(&Settings::default(), process_log, None),
            Err("no program given".to_owned())
        );
        let settings = Settings {
            program: b"/usr/bin/python3".to_vec(),
            ..Settings::default()
        };
        assert_eq!(
            guest.open(&settings, process_log, Some(|| b"scores".to_vec())),
            Ok(())
        );
        assert_eq!(*LINES.lock().unwrap(), ["Info opened", "Info opened"]);

        let mut host = Recorder {
            body: b"abcdef".to_vec(),
            breaks: false,
            seen: vec![],
        };
        assert_eq!(guest.serve(&mut host, b"go", None), Outcome::Done);
        assert_eq!(host.seen, ["response head", "data abcd true", "data ef true"]);

        let mut host = Recorder {
            body: b"ab".to_vec(),
            breaks: true,
            seen: vec![],
        };
        assert_eq!(
            guest.serve(&mut host, b"go", None),
            Outcome::Aborted(AbortReason::Application)
        );
        assert_eq!(host.seen.last().unwrap(), "log Error ClientSlow: too slow 7");

        host = Recorder {
            body: vec![],
            breaks: false,
            seen: vec![],
        };
        assert_eq!(guest.serve(&mut host, b"file", None), Outcome::Done);
        assert_eq!(host.seen, ["response head", "file 1099511627776+3 true"]);

        host.seen.clear();
        assert_eq!(guest.serve(&mut host, b"offer", None), Outcome::Done);
        assert_eq!(host.seen, ["response head"]);

        assert_eq!(
            guest.serve(&mut host, b"panic", None),
            Outcome::Aborted(AbortReason::Internal)
        );
        guest.close(3);
        assert_eq!(*CLOSED.lock().unwrap(), Some(3));
    }
}
