//! A request body that is received before anybody is asked to run the request.

use std::path::Path;

use crate::backend::client::BodyRead;
use crate::backend::spool::Spool;
use crate::codes;
use crate::httpd::{BodyError, Level, Request, Verdict};
use crate::log::log;

/// Bytes that are read at a time.
const STEP: u64 = 64 * 1024;
/// Seconds after which a client may try again when there was no room.
const RETRY_AFTER: &[u8] = b"5";

/// A body, or the beginning of one.
pub struct Upload {
    /// What has been received.
    pub spool: Spool,
    /// That is all of it.
    pub is_whole: bool,
}

/// Receives at most about `most` bytes. What breaks off, is too slow or finds no room is answered here, and nobody sees it.
pub fn receive(request: &Request<'_>, most: u64, directory: &Path) -> Result<Upload, Verdict> {
    let mut upload = Upload {
        spool: Spool::new(directory),
        is_whole: false,
    };
    while !upload.is_whole && upload.spool.length() < most {
        let step = usize::try_from(STEP.min(most - upload.spool.length())).unwrap_or(usize::MAX);
        let mut failed = None;
        let read = request.read_body(step, &mut |bytes| {
            if failed.is_none() {
                failed = upload.spool.push(bytes).err();
            }
        });
        if let Some(why) = failed {
            log!(
                request,
                Level::Error,
                codes::NO_ROOM,
                "a request body cannot be kept in {} until it is complete: {why}",
                directory.display()
            );
            request.add_header(b"Retry-After", RETRY_AFTER, true);
            request.connection().close_after_response();
            return Err(Verdict::Status(503));
        }
        match read {
            Ok(read) => upload.is_whole = read == BodyRead::End,
            Err(BodyError::Slow) => return Err(Verdict::Status(408)),
            Err(BodyError::Refused(status)) => return Err(Verdict::Status(status)),
            Err(BodyError::Answered) => return Err(Verdict::Ok),
            Err(BodyError::Gone) => {
                log!(
                    request,
                    Level::Info,
                    "the request body broke off after {} bytes, and the application has not seen it",
                    upload.spool.length()
                );
                return Err(Verdict::Status(400));
            }
        }
    }
    Ok(upload)
}
