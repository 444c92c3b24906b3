//! What is shown, for people.

use std::fmt::Write;

use crate::shown::{Application, Detail, Done, Incident, Memory, Overview, Worker};

/// A table with one line per application.
pub(crate) fn overview(overview: &Overview) -> String {
    let head = ["STATE", "USER", "GROUP", "WORKERS", "RSS", "CPU", "APPLICATION"].map(str::to_owned);
    let lines = overview.applications.iter().map(|application| {
        [
            state(application),
            application.user.clone(),
            application.group.clone(),
            application.workers.len().to_string(),
            application.memory.rss_bytes.map_or("-".into(), bytes),
            format!("{:.1} s", application.cpu_seconds),
            name(application),
        ]
    });
    table(&std::iter::once(head).chain(lines).collect::<Vec<_>>())
}

/// What was done to whom.
pub(crate) fn done(done: &Done) -> String {
    match &done.applications[..] {
        [] => "no application of it runs: nothing to do\n".to_owned(),
        all => {
            let did = if done.order == "stop" {
                "stopped"
            } else {
                "restarted"
            };
            let line = |a: &Application| format!("{did}: {}  {} ({})\n", a.group, name(a), state(a));
            all.iter().map(line).collect()
        }
    }
}

/// Everything that is known, application by application.
pub(crate) fn detail(detail: &Detail) -> String {
    let mut out = String::new();
    for application in &detail.applications {
        describe(&mut out, application);
        out.push('\n');
    }
    match &detail.incidents[..] {
        [] => out.push_str("nothing went wrong since the manager was started\n"),
        incidents => {
            out.push_str("what went wrong\n");
            incidents.iter().for_each(|one| incident(&mut out, one));
        }
    }
    out
}

fn describe(out: &mut String, application: &Application) {
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<20}{value}");
    };
    line("process group", &application.group);
    if let Some(group) = &application.application_group {
        line("application group", group);
    }
    line("user", &format!("{} (uid {})", application.user, application.uid));
    if let Some(directory) = &application.directory {
        line("directory", directory);
    }
    for script in &application.scripts {
        line("script", script);
    }
    line("state", &state(application));
    if let Some(why) = &application.why {
        line("why", why);
    }
    if let Some(usage) = &application.control_group {
        let parts = [
            usage.memory_bytes.map(|n| format!("memory {}", bytes(n))),
            usage.processes.map(|n| format!("{n} processes and threads")),
            usage.cpu_seconds.map(|n| format!("processor time {n:.1} s")),
        ];
        line(
            "control group",
            &parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
        );
    }
    application
        .workers
        .iter()
        .for_each(|one| line("worker", &worker(one)));
    let options = application.options.iter().flatten();
    let said: Vec<String> = options
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        })
        .collect();
    let mut name = "options";
    for some in said.chunks(4) {
        line(name, &some.join("  "));
        name = "";
    }
}

fn worker(worker: &Worker) -> String {
    let mut text = format!(
        "{}  {}{} for {}",
        worker.pid,
        worker.state,
        if worker.template { " (template)" } else { "" },
        span(worker.seconds)
    );
    if let Some(idle) = worker.idle_seconds {
        let _ = write!(text, ", idle for {}", span(idle));
    }
    if let (Some(requests), Some(running)) = (worker.requests, worker.running) {
        let _ = write!(text, ", {requests} requests, {running} running");
    }
    if let Some(why) = &worker.why {
        let _ = write!(text, " ({why})");
    }
    let Memory { rss_bytes, pss_bytes } = worker.memory;
    for (name, value) in [("RSS", rss_bytes), ("PSS", pss_bytes)] {
        if let Some(value) = value {
            let _ = write!(text, ", {name} {}", bytes(value));
        }
    }
    if let Some(cpu) = worker.cpu_seconds {
        let _ = write!(text, ", processor time {cpu:.2} s");
    }
    text
}

fn incident(out: &mut String, incident: &Incident) {
    let _ = writeln!(out, "  {}  {}  {}", incident.time, incident.code, incident.text);
}

fn state(application: &Application) -> String {
    match application.next_try_seconds {
        Some(seconds) => format!("{} {}", application.state, span(seconds)),
        None => application.state.to_owned(),
    }
}

/// What tells it from others of its process group: its first script, else its application group.
fn name(application: &Application) -> String {
    match (application.scripts.first(), &application.application_group) {
        (Some(script), _) => script.clone(),
        (None, Some(group)) if !group.is_empty() => group.clone(),
        (None, Some(_)) => "%{GLOBAL}".to_owned(),
        (None, None) => "-".to_owned(),
    }
}

/// Columns as wide as they must be; the last one is not filled up.
fn table<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let fill = if column + 1 == N { 0 } else { width + 2 };
            let _ = write!(out, "{cell:<fill$}");
        }
        out.push('\n');
    }
    out
}

fn bytes(count: u64) -> String {
    match count {
        0..1_048_576 => format!("{} KiB", count / 1024),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

fn span(seconds: f64) -> String {
    match seconds as u64 {
        0..60 => format!("{seconds:.1} s"),
        whole @ 60..3600 => format!("{} min", whole / 60),
        whole @ 3600..172_800 => format!("{} h", whole / 3600),
        whole => format!("{} days", whole / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_last_is_not_filled_up() {
        let lines = [["a", "bbb", "c"], ["dddd", "e", "ff"]].map(|line| line.map(str::to_owned));
        assert_eq!(table(&lines), "a     bbb  c\ndddd  e    ff\n");
    }

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!((bytes(2048), bytes(5 << 20)), ("2 KiB".into(), "5.0 MiB".into()));
        let spans = [0.25, 61.0, 7200.0, 200_000.0].map(span);
        assert_eq!(spans, ["0.2 s", "1 min", "2 h", "2 days"]);
    }

    #[test]
    fn an_application_that_waits_says_for_how_long_and_why() {
        let application = Application {
            group: "~ann".into(),
            state: "backing-off",
            next_try_seconds: Some(3.5),
            why: Some("exited with status 1".into()),
            ..Application::default()
        };
        let shown = detail(&Detail {
            applications: vec![application],
            ..Detail::default()
        });
        assert!(
            shown.contains(
                "state               backing-off 3.5 s\nwhy                 exited with status 1\n"
            ),
            "{shown}"
        );
        assert!(shown.ends_with("nothing went wrong since the manager was started\n"));
    }
}
