//! Local time as httpd's error log writes it. Intervals are measured with `std::time::Instant`, which is monotonic.

use std::time::{SystemTime, UNIX_EPOCH};

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
    use std::time::Duration;

    #[test]
    fn the_time_has_the_form_of_httpds_error_log() {
        let text = log_time(UNIX_EPOCH + Duration::new(1_700_000_000, 1_234_000));
        assert!(
            text.starts_with("Tue Nov 14 ") || text.starts_with("Wed Nov 15 "),
            "{text}"
        );
        assert!(text.ends_with(":20.001234 2023"), "{text}");
    }
}
