//! Local time as httpd's error log writes it. Intervals are measured with `std::time::Instant`, which is monotonic.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// "Fri Nov 20 12:33:06.123456 2026" in local time (`localtime_r`): weekday, month, day, time with microseconds, year; English
/// names whatever the locale.
pub fn log_time(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = libc::time_t::try_from(since.as_secs()).unwrap_or(libc::time_t::MAX);
    // SAFETY: all zeroes is a valid tm (its zone pointer may be null).
    let mut t: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both structures live through the call. A year out of range leaves the zeroes.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut t) };
    format!(
        "{} {} {:02} {:02}:{:02}:{:02}.{:06} {}",
        name(&DAYS, t.tm_wday),
        name(&MONTHS, t.tm_mon),
        t.tm_mday,
        t.tm_hour,
        t.tm_min,
        t.tm_sec,
        since.subsec_micros(),
        i64::from(t.tm_year) + 1900
    )
}

/// "2026-11-20T12:33:06.123456Z" (RFC 3339, UTC; `gmtime_r`).
pub fn utc(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = libc::time_t::try_from(since.as_secs()).unwrap_or(libc::time_t::MAX);
    // SAFETY: all zeroes is a valid tm (its zone pointer may be null).
    let mut t: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both structures live through the call. A year out of range leaves the zeroes.
    unsafe { libc::gmtime_r(&raw const seconds, &raw mut t) };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        i64::from(t.tm_year) + 1900,
        t.tm_mon + 1,
        t.tm_mday,
        t.tm_hour,
        t.tm_min,
        t.tm_sec,
        since.subsec_micros()
    )
}

/// Time since the start of the system that no setting of the clock changes (`CLOCK_MONOTONIC`): the same for all processes.
pub fn monotonic() -> Duration {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a place for the answer; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut t) };
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// A moment as a number that another process of this machine can make the same moment of: nanoseconds, never 0.
pub fn to_number(at: Instant) -> u64 {
    let (now, base) = (Instant::now(), monotonic());
    let moment = match at.checked_duration_since(now) {
        Some(ahead) => base.saturating_add(ahead),
        None => base.saturating_sub(now.duration_since(at)),
    };
    u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// The moment of such a number. One that lies too far away for an [`Instant`] is now.
pub fn from_number(number: u64) -> Instant {
    let (now, base) = (Instant::now(), monotonic());
    let moment = Duration::from_nanos(number);
    match moment.checked_sub(base) {
        Some(ahead) => now.checked_add(ahead),
        None => now.checked_sub(base - moment),
    }
    .unwrap_or(now)
}

fn name(names: &[&'static str], index: libc::c_int) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|i| names.get(i))
        .copied()
        .unwrap_or("???")
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_after_the_way_through_a_number() {
        let now = Instant::now();
        for at in [
            now,
            now + Duration::from_secs(90),
            now - Duration::from_millis(10),
        ] {
            let back = from_number(to_number(at));
            let off = back.max(at) - back.min(at);
            // This test may have to wait between two looks at a clock.
            assert!(off < Duration::from_secs(2), "{off:?}");
        }
        assert!(from_number(u64::MAX) >= now);
    }

    #[test]
    fn the_time_has_the_form_of_httpds_error_log() {
        let text = log_time(UNIX_EPOCH + Duration::new(1_700_000_000, 1_234_000));
        assert!(
            text.starts_with("Tue Nov 14 ") || text.starts_with("Wed Nov 15 "),
            "{text}"
        );
        assert!(text.ends_with(":20.001234 2023"), "{text}");
    }

    #[test]
    fn utc_is_rfc_3339_and_the_monotonic_clock_goes_forward() {
        let text = utc(UNIX_EPOCH + Duration::new(1_700_000_000, 1_234_000));
        assert_eq!(text, "2023-11-14T22:13:20.001234Z");
        let before = monotonic();
        assert!(before > Duration::ZERO && monotonic() >= before);
    }
}
