//! What requests in workers write to the error log, kept within bounds: of the lines of a process group as many go there by one child as
//! the manager lets through of the output of one worker.
//!
//! They are counted here, and by the process group that the configuration names, because what a worker says of itself and of its lines need
//! not be true. Nobody waits: lines beyond the bound are dropped, and how many is told in the log of a request of that group, once a second
//! while it goes on and when a request ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rwsgi_wire::flow::{Flow, LINE_MAX, RATE};

use super::{Message, codes};

/// Groups that are remembered even if they have been silent for a while.
const KEPT_SILENT: usize = 64;

/// The lines of all process groups, in one child.
#[derive(Default)]
pub struct Lines {
    groups: Mutex<HashMap<Vec<u8>, Group>>,
    /// Groups with a loss that has not been told.
    losing: AtomicUsize,
}

struct Group {
    flow: Flow,
    /// When a loss that goes on is to be told, if there is one.
    tell_at: Option<Instant>,
    /// Until then none is told again.
    told_until: Instant,
}

/// When a loss is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A request goes on.
    Within,
    /// A request ends: perhaps nobody comes after it.
    End,
}

impl Lines {
    /// How much of `text`, lines with line ends between them, may go to the log of a request of `group`: whole lines from its beginning. A
    /// long line counts as several. The rest is counted.
    pub fn admit<'t>(&self, group: &[u8], text: &'t [u8], now: Instant) -> Option<&'t [u8]> {
        let mut groups = self.lock();
        if !groups.contains_key(group) {
            if groups.len() >= KEPT_SILENT {
                groups.retain(|_, group| !group.flow.is_at_rest(now));
            }
            groups.insert(group.to_vec(), Group::new(now));
        }
        let group = groups.get_mut(group)?;
        let mut fitting = None;
        let mut end = 0;
        for line in text.split(|byte| *byte == b'\n') {
            end += line.len() + 1;
            if (0..line.len().div_ceil(LINE_MAX).max(1)).all(|_| group.flow.admits(now)) {
                fitting = text.get(..end - 1);
            }
        }
        if group.flow.has_dropped() && group.tell_at.is_none() {
            group.tell_at = Some(Flow::tell_at(now));
            self.losing.fetch_add(1, Relaxed);
        }
        fitting
    }

    /// What is to be told now of lines that `group` has lost.
    pub fn loss(&self, group: &[u8], moment: Moment, now: Instant) -> Option<Message> {
        if self.losing.load(Relaxed) == 0 {
            return None;
        }
        let mut groups = self.lock();
        let found = groups.get_mut(group)?;
        let at = found.tell_at?;
        let is_time = match moment {
            Moment::Within => now >= at,
            Moment::End => now >= found.told_until,
        };
        if !is_time {
            return None;
        }
        let lost = found.flow.take_dropped()?;
        found.tell_at = None;
        found.told_until = Flow::tell_at(now);
        self.losing.fetch_sub(1, Relaxed);
        Some(Message {
            code: codes::LINES_DROPPED,
            text: format!(
                "{lost} lines of requests to process group '{}' were dropped: in the long run {RATE} a second go to the log by one httpd child",
                group.escape_ascii()
            ),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Group>> {
        // What is inside is whole at every moment, so a panic elsewhere has not harmed it.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    fn new(now: Instant) -> Self {
        Self {
            flow: Flow::new(now),
            tell_at: None,
            told_until: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn number(loss: Option<Message>) -> Option<u64> {
        let text = loss?.text;
        Some(text.split(' ').next()?.parse().unwrap())
    }

    // R64, R74
    #[test]
    fn a_flood_passes_as_far_as_the_bound_and_the_rest_is_told_to_the_line() {
        let (lines, now) = (Lines::default(), Instant::now());
        let ten = [b"x".as_slice(); 10].join(&b'\n');
        let passed: usize = (0..600)
            .filter_map(|_| lines.admit(b"site", &ten, now))
            .map(|text| text.split(|byte| *byte == b'\n').count())
            .sum();
        assert_eq!(passed, 5000);
        assert_eq!(lines.loss(b"site", Moment::Within, now), None);
        assert_eq!(lines.loss(b"other", Moment::End, now), None);
        assert_eq!(number(lines.loss(b"site", Moment::End, now)), Some(1000));
        assert_eq!(lines.loss(b"site", Moment::End, now), None);
    }

    // R64
    #[test]
    fn a_loss_is_told_once_a_second_and_what_is_left_by_the_next_request() {
        let (lines, begin) = (Lines::default(), Instant::now());
        let flood = vec![b'\n'; 5999];
        assert_eq!(lines.admit(b"site", &flood, begin).map(<[u8]>::len), Some(4999));
        let later = begin + Duration::from_secs(1);
        assert_eq!(number(lines.loss(b"site", Moment::Within, later)), Some(1000));
        lines.admit(b"site", &flood, later);
        let soon = later + Duration::from_millis(500);
        assert_eq!(lines.loss(b"site", Moment::Within, soon), None);
        assert_eq!(lines.loss(b"site", Moment::End, soon), None);
        let next = later + Duration::from_secs(1);
        assert_eq!(number(lines.loss(b"site", Moment::End, next)), Some(5000));
    }

    // R64
    #[test]
    fn a_flood_of_one_group_takes_nothing_from_another_and_long_lines_are_several() {
        let (lines, now) = (Lines::default(), Instant::now());
        lines.admit(b"site", &[b'\n'; 9000], now);
        assert_eq!(lines.admit(b"site", b"a line", now), None);
        assert_eq!(lines.admit(b"other", b"a\n\nb", now), Some(b"a\n\nb".as_slice()));
        let long = vec![b'x'; 4 * LINE_MAX];
        let passed = (0..2000).filter(|_| lines.admit(b"long", &long, now).is_some());
        assert_eq!(passed.count(), 1250);
        assert_eq!(number(lines.loss(b"long", Moment::End, now)), Some(750));
    }

    #[test]
    fn groups_that_have_been_silent_are_forgotten_unless_there_is_something_to_tell() {
        let (lines, now) = (Lines::default(), Instant::now());
        lines.admit(b"loud", &[b'\n'; 9000], now);
        let later = now + Duration::from_secs(60);
        for n in 0..10 * KEPT_SILENT {
            let at = later + Duration::from_secs(n as u64);
            lines.admit(n.to_string().as_bytes(), b"a line", at);
        }
        assert!(lines.lock().len() <= KEPT_SILENT + 1);
        assert_eq!(number(lines.loss(b"loud", Moment::End, later)), Some(4001));
    }
}
