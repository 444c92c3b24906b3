//! Files as buckets.
//!
//! A file comes from an application: it may become shorter at any moment, its position may be shared, and its descriptor must be gone with the
//! request. So where the kernel alone reads the bytes (plain HTTP/1) the file is a bucket of APR's, for sendfile or a memory
//! mapping: bytes that have vanished are an error of the system call there. Everywhere else (TLS, compression, HTTP/2) a
//! mapping would be SIGBUS, so it is a bucket of our own, read with `pread`, to which the end of the file is an error too.

use core::ffi::{c_char, c_int, c_void};
use core::ptr::NonNull;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rwsgi_os::{fd, file};

use super::bindings as c;
use super::entry::guard;
use super::log::{Level, site};
use super::request::Request;
use crate::backend::Message;
use crate::backend::client::{FilePart, Gone};

/// Parts shorter than this are read: a mapping or sendfile would cost more.
const LEAST_FOR_KERNEL: u64 = 16 * 1024;
/// Bytes of one read. httpd's last filter gathers up to 16 before it writes.
const BLOCK: usize = 64 * 1024;

/// Filters that look at no byte of data and keep none but the last, nor anything that belongs to a thread. Behind them the socket takes what
/// is there.
const BLIND_FILTERS: [&[u8]; 7] = [
    b"byterange",
    b"content_length",
    b"http_header",
    b"http_outerror",
    b"reqtimeout",
    b"chunk",
    b"core",
];
/// As these, but they change headers.
const BLIND_BUT_FOR_HEADERS: [&[u8]; 3] = [b"fixup_headers_out", b"fixup_headers_err", b"mod_expires"];

impl Request<'_> {
    /// Appends part of a file to a brigade; `sendfile`: that system call may be used. The descriptor is duplicated.
    pub(super) fn append_file(
        &self,
        brigade: NonNull<c::apr_bucket_brigade>,
        part: &FilePart<'_>,
        sendfile: bool,
    ) -> Result<(), Gone> {
        // SAFETY: H1.
        let mmap = unsafe { c::rw_enable_mmap(self.raw()) } != 0;
        if part.length >= LEAST_FOR_KERNEL && (sendfile || mmap) && self.only_the_kernel_reads() {
            self.append_file_of_apr(brigade, part, sendfile, mmap)
        } else {
            self.append_own(brigade, part)
        }
    }

    /// No filter between here and the socket looks at the data.
    pub(super) fn only_the_kernel_reads(&self) -> bool {
        self.all_filters(|name| BLIND_FILTERS.contains(&name) || BLIND_BUT_FOR_HEADERS.contains(&name))
    }

    /// Nor does one change the head.
    pub(super) fn only_httpd_writes_the_head(&self) -> bool {
        self.all_filters(|name| BLIND_FILTERS.contains(&name))
    }

    fn all_filters(&self, is_one: impl Fn(&[u8]) -> bool) -> bool {
        let mut next = self.rec().output_filters;
        // SAFETY: H1: the filter chain is this request's.
        while let Some(filter) = unsafe { next.as_ref() } {
            // SAFETY: every filter in a chain has its record.
            let name = unsafe { filter.frec.as_ref() }.map(|record| record.name);
            // SAFETY: H2: a registered name.
            let name = name.and_then(|name| unsafe { super::table::bytes(name) });
            if !name.is_some_and(&is_one) {
                return false;
            }
            next = filter.next;
        }
        true
    }

    fn append_file_of_apr(
        &self,
        brigade: NonNull<c::apr_bucket_brigade>,
        part: &FilePart<'_>,
        sendfile: bool,
        mmap: bool,
    ) -> Result<(), Gone> {
        let pool = self.pool().raw();
        let mut number: c_int = part.fd.as_raw_fd();
        let flags = c::APR_FOPEN_READ
            | if sendfile {
                c::APR_FOPEN_SENDFILE_ENABLED
            } else {
                0
            };
        let (mut lent, mut own) = (core::ptr::null_mut(), core::ptr::null_mut());
        // SAFETY: H5; an open descriptor; the file made of it never closes it.
        let put = unsafe { c::apr_os_file_put(&raw mut lent, &raw mut number, flags as i32, pool) };
        if put != 0 {
            return Err(Gone);
        }
        // A duplicate made by APR is closed by it wherever it goes, a file made by `apr_os_file_put` is not.
        // SAFETY: H5; the file just made.
        if unsafe { c::apr_file_dup(&raw mut own, lent, pool) } != 0 {
            return Err(Gone);
        }
        let mut duplicate: c_int = -1;
        // SAFETY: the file just made.
        if unsafe { c::apr_os_file_get(&raw mut duplicate, own) } == 0 && duplicate >= 0 {
            // SAFETY: open as long as the file.
            let duplicate = unsafe { BorrowedFd::borrow_raw(duplicate) };
            // APR's duplicate would go to programs that httpd starts.
            let _ = fd::set_close_on_exec(duplicate, true);
        }
        let (from, length) = (as_offset(part.from), as_offset(part.length));
        // SAFETY: a live brigade, an open file, the request's pool.
        let bucket = unsafe { c::apr_brigade_insert_file(brigade.as_ptr(), own, from, length, pool) };
        // SAFETY: the bucket just made.
        unsafe { c::apr_bucket_file_enable_mmap(bucket, mmap.into()) };
        Ok(())
    }

    fn append_own(&self, brigade: NonNull<c::apr_bucket_brigade>, part: &FilePart<'_>) -> Result<(), Gone> {
        let fd = part.fd.try_clone_to_owned().map_err(|_| Gone)?;
        let length = usize::try_from(part.length).map_err(|_| Gone)?;
        let shared = Box::new(Shared {
            references: c::apr_bucket_refcount { refcount: 0 },
            fd,
        });
        // SAFETY: H5.
        let bucket = unsafe { c::rw_bucket_new(self.bucket_allocator()) };
        let shared = Box::into_raw(shared).cast::<c_void>();
        // SAFETY: a fresh bucket; `Shared` begins with the count that this function sets up.
        let bucket = unsafe { c::apr_bucket_shared_make(bucket, shared, as_offset(part.from), length) };
        // SAFETY: as above; the type's functions expect a `Shared`.
        unsafe { (*bucket).type_ = &raw const TYPE.0 };
        // SAFETY: a fresh bucket of the brigade's allocator.
        unsafe { c::rw_brigade_append(brigade.as_ptr(), bucket) };
        Ok(())
    }

    /// Keeps a file until the request is over. Should the connection have been given up by then and the file be shorter than `end`, that
    /// is why.
    pub fn watch_file(&self, fd: OwnedFd, end: u64, why: Message) {
        let request = self.raw();
        self.pool().before_end(move || {
            // SAFETY: H1, H4: a request's structure is there until its pool's memory goes, after this.
            let connection = unsafe { (*request).connection };
            // SAFETY: H1: a connection outlives its requests.
            let aborted = unsafe { (*connection).aborted } != 0;
            if aborted && file::status(&fd).is_ok_and(|status| status.size < end) {
                Request::lend(request, (), |request| {
                    request.log(Level::Error, site!(), &format!("{}: {}", why.code, why.text));
                });
            }
        });
    }
}

fn as_offset(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// What the buckets that one was split into have in common.
#[repr(C)]
struct Shared {
    /// First, as APR's functions for shared buckets want it.
    references: c::apr_bucket_refcount,
    fd: OwnedFd,
}

struct BucketType(c::apr_bucket_type_t);

// SAFETY: constants and pointers to constants.
unsafe impl Sync for BucketType {}

static TYPE: BucketType = BucketType(c::apr_bucket_type_t {
    name: c"RWSGI_FILE".as_ptr(),
    num_func: 5,
    is_metadata: c::APR_BUCKET_DATA,
    destroy: Some(destroy),
    read: Some(read),
    // The descriptor belongs to no pool.
    setaside: Some(c::apr_bucket_setaside_noop),
    split: Some(c::apr_bucket_shared_split),
    copy: Some(c::apr_bucket_shared_copy),
});

unsafe extern "C" fn destroy(shared: *mut c_void) {
    guard((), || {
        // SAFETY: buckets of `TYPE` carry a `Shared`; this gives up one reference.
        if unsafe { c::apr_bucket_shared_destroy(shared) } != 0 {
            // SAFETY: that was the last one; the box was made in `append_own`.
            drop(unsafe { Box::from_raw(shared.cast::<Shared>()) });
        }
    });
}

/// Turns the bucket into one of memory with the next block, followed by one with the rest.
unsafe extern "C" fn read(
    bucket: *mut c::apr_bucket,
    data: *mut *const c_char,
    length: *mut usize,
    _block: c::apr_read_type_e,
) -> c::apr_status_t {
    let failed = c::APR_EGENERAL as c::apr_status_t;
    guard(failed, || {
        // SAFETY: a live bucket, ours alone during the call; it is not used through this reference once it has changed.
        let &c::apr_bucket {
            data: shared,
            list,
            start,
            length: size,
            ..
        } = unsafe { &*bucket };
        let wanted = size.min(BLOCK);
        // SAFETY: H5; the bucket's own allocator.
        let memory = unsafe { c::apr_bucket_alloc(wanted, list) }.cast::<u8>();
        // SAFETY: buckets of `TYPE` carry a `Shared`, which they keep alive.
        let Shared { fd, .. } = unsafe { &*shared.cast::<Shared>() };
        // SAFETY: `wanted` bytes just allocated, which the kernel fills before anybody reads them.
        let room = unsafe { core::slice::from_raw_parts_mut(memory, wanted) };
        let got = match fd::read_at(fd, room, start) {
            Ok(got) if got > 0 || size == 0 => got,
            other => {
                // SAFETY: allocated above, used by nobody.
                unsafe { c::apr_bucket_free(memory.cast()) };
                // A file that ends early is no end to a filter: it must not take the answer for whole.
                return other.map_or_else(|e| e.errno, |_| failed);
            }
        };
        if got < size {
            // SAFETY: a live bucket that is longer than `got`; the rest becomes a bucket of its own, with its own reference.
            unsafe { c::apr_bucket_shared_split(bucket, got) };
        }
        // SAFETY: the bucket becomes owner of the memory, which it frees by its allocator.
        unsafe { c::apr_bucket_heap_make(bucket, memory.cast(), got, Some(c::apr_bucket_free)) };
        // SAFETY: the reference of what the bucket was before.
        unsafe { destroy(shared) };
        // SAFETY: the caller's place for the result.
        unsafe { *data = memory.cast() };
        // SAFETY: as above.
        unsafe { *length = got };
        0
    })
}
