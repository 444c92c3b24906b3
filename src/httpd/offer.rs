//! Sending without waiting.
//!
//! What is passed to httpd's filters with a flush is waited for until the client has taken it, up to `Timeout`. Only the last filter can do
//! without: it keeps what the socket has no room for, and sends that when it is called without anything new, as MPMs do once a handler has
//! returned. So this is possible where all filters before it keep nothing.

use rwsgi_wire::field::{has_control_but_tab, is_token};

use super::bindings as c;
use super::request::Request;
use super::table::entries;
use crate::backend::client::{Gone, Offered, Piece, Unsent};

/// Bytes passed at once. From `FlushMaxThreshold` on (64 KiB, unless it is set), together with the frame around them, httpd waits.
const PIECE: usize = 32 * 1024;

impl Request<'_> {
    /// Whether httpd makes the head of the answer without waiting and without beginning another request. That it does when it finds a header
    /// that it cannot send: it answers by its `ErrorDocument` then, on this thread. So none may come from filters that are still to run.
    pub fn head_goes_at_once(&self) -> bool {
        // SAFETY: H1: the request's connection.
        let threshold = unsafe { c::rw_flush_threshold(self.rec().connection) };
        let is_sound = |(name, value): (&[u8], &[u8])| is_token(name) && !has_control_but_tab(value);
        threshold >= 2 * PIECE && self.only_httpd_writes_the_head() && self.answer_headers().all(is_sound)
    }

    fn answer_headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (ours, always) = (self.rec().headers_out, self.rec().err_headers_out);
        // SAFETY: H1: the request's tables, which nobody changes meanwhile.
        let ours = unsafe { entries(ours) };
        // SAFETY: as above.
        let always = unsafe { entries(always) };
        ours.into_iter().chain(always)
    }

    /// Passes bytes of an answer on, as far as they can be sent without waiting; `None` where that cannot be had. For its head, which goes with
    /// the first, see [`head_goes_at_once`](Self::head_goes_at_once).
    ///
    /// Once the head has gone it may be called on another thread than that of the request, as long as that is outside httpd. What httpd changes in it belongs to
    /// the request or its connection (pools, buckets, filters, the socket, which nobody else uses meanwhile), and nothing to a thread:
    /// there is neither TLS nor HTTP/2, and no filter that is not known.
    pub fn offer(&self, bytes: &[u8]) -> Result<Option<Offered>, Gone> {
        if self.connection().is_secondary() || !self.only_the_kernel_reads() {
            return Ok(None);
        }
        // SAFETY: H1: the request's connection.
        let most = PIECE.min(unsafe { c::rw_flush_threshold(self.rec().connection) } / 2);
        if most == 0 {
            return Ok(None);
        }
        let mut taken = 0;
        loop {
            // Behind what is kept, more of it would make httpd wait.
            let is_sent = self.connection().send_kept()?;
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() || !is_sent {
                return Ok(Some(Offered {
                    taken,
                    is_sent: is_sent && rest.is_empty(),
                }));
            }
            let piece = rest.get(..most).unwrap_or(rest);
            self.send(&[Piece::Data(piece)], false)
                .map_err(|_: Unsent| Gone)?;
            taken += piece.len();
        }
    }

    /// Sends what httpd keeps of an answer that is whole, as far as there is room, which it would do itself after it has looked for another
    /// request. So the client has its answer while httpd tidies up, and what it asks next is often there when httpd looks: then its
    /// connection need not go to the MPM and come back to another thread.
    pub fn send_now(&self) {
        if !self.connection().is_secondary() {
            // httpd will see for itself that a client is gone.
            let _ = self.connection().send_kept();
        }
    }
}
