//! Request bodies in, answers out.

use core::ptr::NonNull;

use rwsgi_os::region::Bytes;

use super::bindings as c;
use super::request::Request;
use crate::backend::client::{BodyRead, Gone, Piece, Unsent};

/// Why a body could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The client was slower than `Timeout`.
    Slow,
    /// It is to be refused with this HTTP status (too large, malformed).
    Refused(u16),
    /// A filter has answered already.
    Answered,
    /// The client closed or broke its connection.
    Gone,
}

/// Bytes of one bucket with a copy.
const COPY: usize = 64 * 1024;

const AP_FILTER_ERROR: i32 = -102;
/// `APR_EAGAIN`, which is the system's, the same number on every Linux.
pub(super) const EAGAIN: c::apr_status_t = 11;

impl Request<'_> {
    /// Reads body bytes, at most `limit`, and gives them to `into`, in one or more pieces. Blocks until there is at least one or the end;
    /// the first call makes httpd send `100 Continue` to a client that waits for it.
    pub fn read_body(&self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<BodyRead, BodyError> {
        loop {
            match self.fetch_body(c::APR_BLOCK_READ, limit, into) {
                Ok((true, _)) => return Ok(BodyRead::End),
                Ok((false, true)) => return Ok(BodyRead::More),
                Ok((false, false)) => {}
                Err(status) => return Err(self.body_failed(status)),
            }
        }
    }

    /// As [`read_body`](Self::read_body), of what is there already; `None` when that is nothing.
    pub fn read_arrived_body(
        &self,
        limit: usize,
        into: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<BodyRead>, BodyError> {
        match self.fetch_body(c::APR_NONBLOCK_READ, limit, into) {
            Ok((true, _)) => Ok(Some(BodyRead::End)),
            Ok((false, true)) => Ok(Some(BodyRead::More)),
            Ok((false, false)) | Err(EAGAIN) => Ok(None),
            Err(status) => Err(self.body_failed(status)),
        }
    }

    /// One call of the input filters: whether that was the end, and whether there was something.
    fn fetch_body(
        &self,
        mode: c::apr_read_type_e,
        limit: usize,
        into: &mut dyn FnMut(&[u8]),
    ) -> Result<(bool, bool), c::apr_status_t> {
        let brigade = self.brigade();
        let filters = self.rec().input_filters;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // SAFETY: H1: the filters and the brigade are this request's.
        let status =
            unsafe { c::ap_get_brigade(filters, brigade.as_ptr(), c::AP_MODE_READBYTES, mode, limit) };
        let fetched = match status {
            0 => drain(brigade, into),
            status => Err(status),
        };
        if fetched.is_err() {
            empty(brigade);
        }
        fetched
    }

    /// No request can follow a body that was not read to its end.
    fn body_failed(&self, status: c::apr_status_t) -> BodyError {
        self.connection().close_after_response();
        body_error(status)
    }

    /// Passes pieces of the answer to the client. Data is copied where it is held back, so it need not live longer than the call.
    /// `sendfile`: files may be sent with that system call.
    pub fn send(&self, pieces: &[Piece<'_>], sendfile: bool) -> Result<(), Unsent> {
        let brigade = self.brigade();
        let buckets = self.bucket_allocator();
        for piece in pieces {
            let bucket = match *piece {
                Piece::Data([]) => continue,
                Piece::Shared(bytes) => {
                    self.append_shared(brigade, bytes);
                    continue;
                }
                Piece::File(ref part) => {
                    self.append_file(brigade, part, sendfile).map_err(|Gone| {
                        empty(brigade);
                        Unsent::NoDescriptor
                    })?;
                    continue;
                }
                Piece::Data(bytes) => {
                    // SAFETY: "transient": whoever keeps the bucket copies the bytes; the slice outlives this call.
                    unsafe { c::apr_bucket_transient_create(bytes.as_ptr().cast(), bytes.len(), buckets) }
                }
                // SAFETY: H5.
                Piece::Flush => unsafe { c::apr_bucket_flush_create(buckets) },
                // SAFETY: H5.
                Piece::End => unsafe { c::apr_bucket_eos_create(buckets) },
                Piece::Abort => self.error_bucket(brigade, buckets),
            };
            // SAFETY: a fresh bucket of the same allocator.
            unsafe { c::rw_brigade_append(brigade.as_ptr(), bucket) };
        }
        // SAFETY: H1: the filters and the brigade are this request's.
        let status = unsafe { c::ap_pass_brigade(self.rec().output_filters, brigade.as_ptr()) };
        empty(brigade);
        if status != 0 || self.connection().is_aborted() {
            Err(Unsent::Gone)
        } else {
            Ok(())
        }
    }

    /// Appends bytes that may change meanwhile: as they are, where nobody but the kernel reads them, for it copies what it reads; else as a copy, since
    /// filters may look twice.
    fn append_shared(&self, brigade: NonNull<c::apr_bucket_brigade>, mut bytes: Bytes<'_>) {
        let buckets = self.bucket_allocator();
        if self.only_the_kernel_reads() {
            // SAFETY: "transient": whoever keeps the bucket copies the bytes; they stay mapped beyond this call.
            let bucket =
                unsafe { c::apr_bucket_transient_create(bytes.as_ptr().cast(), bytes.len(), buckets) };
            // SAFETY: a fresh bucket of the same allocator.
            unsafe { c::rw_brigade_append(brigade.as_ptr(), bucket) };
            return;
        }
        while !bytes.is_empty() {
            let (first, rest) = bytes.split(COPY);
            // SAFETY: without a function to free it, APR copies what it is given.
            let bucket =
                unsafe { c::apr_bucket_heap_create(first.as_ptr().cast(), first.len(), None, buckets) };
            // SAFETY: a fresh bucket of the same allocator.
            unsafe { c::rw_brigade_append(brigade.as_ptr(), bucket) };
            bytes = rest;
        }
    }

    /// Appends an error bucket, and returns the end-of-stream bucket that has to follow it.
    fn error_bucket(
        &self,
        brigade: NonNull<c::apr_bucket_brigade>,
        buckets: *mut c::apr_bucket_alloc_t,
    ) -> *mut c::apr_bucket {
        let status = c::HTTP_BAD_GATEWAY as i32;
        // SAFETY: H5.
        let error = unsafe { c::ap_bucket_error_create(status, core::ptr::null(), self.rec().pool, buckets) };
        // SAFETY: a fresh bucket of the same allocator.
        unsafe { c::rw_brigade_append(brigade.as_ptr(), error) };
        // SAFETY: H5.
        unsafe { c::apr_bucket_eos_create(buckets) }
    }

    pub(super) fn bucket_allocator(&self) -> *mut c::apr_bucket_alloc_t {
        // SAFETY: H1: the connection outlives the request.
        unsafe { (*self.rec().connection).bucket_alloc }
    }

    /// The request's brigade, empty; made once, for a pool's memory comes back only with the pool.
    fn brigade(&self) -> NonNull<c::apr_bucket_brigade> {
        if let Some(brigade) = self.brigade.get() {
            return brigade;
        }
        // SAFETY: H5.
        let raw = unsafe { c::apr_brigade_create(self.rec().pool, self.bucket_allocator()) };
        match NonNull::new(raw) {
            Some(brigade) => {
                self.brigade.set(Some(brigade));
                brigade
            }
            // H5.
            None => unreachable!("APR returned no brigade"),
        }
    }
}

/// Frees what is left in a brigade.
fn empty(brigade: NonNull<c::apr_bucket_brigade>) {
    // SAFETY: made by `Request::brigade`, live as long as the request.
    unsafe { c::apr_brigade_cleanup(brigade.as_ptr().cast()) };
}

/// Moves all data out of a brigade and empties it; tells whether the end of the body was in it, and whether data was.
fn drain(
    brigade: NonNull<c::apr_bucket_brigade>,
    into: &mut dyn FnMut(&[u8]),
) -> Result<(bool, bool), c::apr_status_t> {
    let (mut ended, mut some) = (false, false);
    loop {
        // SAFETY: a live brigade.
        let bucket = unsafe { c::rw_brigade_first(brigade.as_ptr()) };
        if bucket.is_null() {
            return Ok((ended, some));
        }
        // SAFETY: a live bucket of that brigade.
        match unsafe { c::rw_bucket_kind(bucket) } as u32 {
            c::RW_BUCKET_EOS => ended = true,
            c::RW_BUCKET_DATA if !ended => some |= take(bucket, into)?,
            _ => {}
        }
        // SAFETY: still the first of the brigade; not used afterwards.
        unsafe { c::rw_bucket_delete(bucket) };
    }
}

/// Gives a bucket's data to `into`; tells whether there was any.
fn take(bucket: *mut c::apr_bucket, into: &mut dyn FnMut(&[u8])) -> Result<bool, c::apr_status_t> {
    let (mut data, mut length) = (core::ptr::null(), 0);
    // SAFETY: a live bucket; both places are writable.
    let status = unsafe { c::rw_bucket_read(bucket, &raw mut data, &raw mut length) };
    if status != 0 {
        return Err(status);
    }
    let some = length > 0 && !data.is_null();
    if some {
        // SAFETY: the bucket holds `length` bytes at `data` until it is deleted.
        into(unsafe { core::slice::from_raw_parts(data.cast::<u8>(), length) });
    }
    Ok(some)
}

fn body_error(status: c::apr_status_t) -> BodyError {
    // SAFETY: numbers only.
    let http = unsafe { c::ap_map_http_request_error(status, c::HTTP_BAD_REQUEST as i32) };
    match (status, http as u32) {
        (AP_FILTER_ERROR, _) => BodyError::Answered,
        (_, c::HTTP_REQUEST_TIME_OUT) => BodyError::Slow,
        (_, refused @ (c::HTTP_REQUEST_ENTITY_TOO_LARGE | c::HTTP_NOT_IMPLEMENTED)) => {
            BodyError::Refused(refused as u16)
        }
        _ => BodyError::Gone,
    }
}
