//! The name that `ps` shows for this process.

use std::fs::{File, OpenOptions, read_to_string, write};
use std::os::unix::fs::FileExt;

/// Writes `name` over the arguments of the process. Best effort: without `/proc` the name stays.
pub fn set(name: &[u8]) {
    if name.is_empty() {
        return;
    }
    // Shown by `ps -o comm` and `top`; the kernel cuts it at 15 bytes.
    let _ = write("/proc/self/comm", name);
    let stat = read_to_string("/proc/self/stat").unwrap_or_default();
    let Some((start, end)) = argument_range(&stat) else {
        return;
    };
    let Ok(memory) = OpenOptions::new().write(true).open("/proc/self/mem") else {
        return;
    };
    overwrite(&memory, name, start, end);
}

/// The arguments are plain bytes that Python has long copied, so overwriting them changes nothing but what `ps` reads.
fn overwrite(memory: &File, name: &[u8], start: u64, end: u64) {
    let Ok(room) = usize::try_from(end.saturating_sub(start)) else {
        return;
    };
    // The last byte stays NUL.
    let mut text = name.get(..room.saturating_sub(1)).unwrap_or(name).to_vec();
    text.resize(room, 0);
    let _ = memory.write_all_at(&text, start);
}

/// Start and end of the arguments in memory: fields 48 and 49 of `/proc/self/stat`.
fn argument_range(stat: &str) -> Option<(u64, u64)> {
    // The second field may hold anything, but it ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(45);
    let start = fields.next()?.parse().ok()?;
    let end = fields.next()?.parse().ok()?;
    (0 < start && start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_range_of_this_process_holds_its_arguments() {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (start, end) = super::argument_range(&stat).unwrap();
        let line = std::fs::read("/proc/self/cmdline").unwrap();
        assert_eq!((end - start) as usize, line.len());
    }
}
