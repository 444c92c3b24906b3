//! What the log is told about directives that do not do what their name says.

use crate::directives::RawServer;
use crate::directives::interpreter::Section;

/// A sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// A setting has no effect, and somebody may count on it.
    NoEffect(String),
    /// Metrics that are configured and not built.
    NoMetrics(String),
    /// Something else has taken the place of a setting; nothing is missing.
    Replaced(String),
}

/// All of them, from what is written for the main server.
pub fn remarks(main: &RawServer) -> Vec<Remark> {
    let replaced = main.accepted.notices().into_iter();
    let mut remarks: Vec<Remark> = replaced.map(|text| Remark::Replaced(text.into())).collect();
    let mut telemetry = main.telemetry.clone();
    if main.accepted.slow_requests.is_some() {
        telemetry.push("WSGISlowRequests");
    }
    telemetry.sort_unstable();
    telemetry.dedup();
    if !telemetry.is_empty() {
        remarks.push(Remark::NoMetrics(format!(
            "{}: no metrics are recorded or sent, since this version of rwsgi has none; everything else works",
            telemetry.join(", ")
        )));
    }
    if main.interpreters.base.free_threading == Some(true) {
        remarks.push(free_threading(None));
    }
    let sections = main.interpreters.sections.iter();
    let wanted = sections.filter(|section| section.options.free_threading == Some(true));
    remarks.extend(wanted.map(|section| free_threading(Some(section))));
    remarks
}

fn free_threading(section: Option<&Section>) -> Remark {
    let place = section
        .map(|section| format!(" ({})", section.place))
        .unwrap_or_default();
    let text = match section.and_then(|section| section.application_group.as_ref()) {
        Some(_) => format!(
            "WSGIFreeThreading in a section with application-group is ignored: threads are free in a whole process or not at all{place}"
        ),
        None => format!(
            "WSGIFreeThreading On has no effect: it needs a free-threaded Python (3.13t or newer) and a build of rwsgi for it, and this one \
             is built for the stable ABI, which free-threaded Pythons do not have; use more processes{place}"
        ),
    };
    Remark::NoEffect(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_is_told_once_and_what_is_not_written_is_not_told() {
        let mut main = RawServer::default();
        assert_eq!(remarks(&main), []);
        main.telemetry = vec![
            "WSGITelemetryService",
            "WSGITelemetryOptions",
            "WSGITelemetryService",
        ];
        main.interpreters.base.free_threading = Some(false);
        let told = remarks(&main);
        let [Remark::NoMetrics(text)] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(
            text.starts_with("WSGITelemetryOptions, WSGITelemetryService:"),
            "{text}"
        );
    }
}
