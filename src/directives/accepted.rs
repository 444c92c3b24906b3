//! Directives of mod_wsgi that have nothing to do here: their values are checked, and the log says once at start what takes their
//! place.

use super::kinds::OnOff;
use super::python_kinds::{Mechanism, Threshold, seconds};
use super::{Context, Directive, Target, Words, Wrong, settings};

settings! {
    /// Those with one value; unset is `None`.
    pub struct Accepted;

    /// Without effect: sockets of workers outlive a graceful restart together with the workers.
    socket_rotation: OnOff = c"WSGISocketRotation" in Global;

    /// Without effect: workers of a pool need no lock; the kernel gives each connection to one of them.
    accept_mutex: Mechanism = c"WSGIAcceptMutex" in Global;

    /// Without effect: write `LogLevel rwsgi:debug` (`wsgi:debug`, if loaded as `wsgi_module`).
    verbose_debugging: OnOff = c"WSGIVerboseDebugging" in Global;

    /// Without effect until metrics are built, with a warning. Seconds after which a request counts as slow; 0 is never.
    slow_requests: Threshold = c"WSGISlowRequests" in Global;
}

/// Directives that record or send what this version does not have.
pub const METRICS: &[&str] = &["WSGITelemetryService", "WSGITelemetryOptions", "WSGISlowRequests"];

impl Accepted {
    fn settings_of<'a>(target: &'a mut Target<'_>) -> Result<&'a mut Self, Wrong> {
        Ok(&mut target.server()?.accepted)
    }

    /// What takes the place of those that are set.
    pub fn notices(&self) -> Vec<&'static str> {
        let mut notices = Vec::new();
        if self.socket_rotation.is_some() {
            notices.push(
                "WSGISocketRotation has nothing to do here: sockets and workers outlive a graceful restart in any case",
            );
        }
        if self.accept_mutex.is_some() {
            notices.push("WSGIAcceptMutex has nothing to do here: workers need no lock to share a socket");
        }
        if self.verbose_debugging.is_some() {
            notices.push(
                "WSGIVerboseDebugging has nothing to do here: use LogLevel with rwsgi:debug, or wsgi:debug if loaded as wsgi_module",
            );
        }
        notices
    }
}

/// The directive.
pub const TELEMETRY_SERVICE: Directive = Directive {
    name: c"WSGITelemetryService",
    context: Context::Global,
    usage: c"unix:/path [interval=seconds]",
    text: "Without effect until metrics are built, with a warning.\n",
    set: |target, words, _place| {
        service(words)?;
        target.server()?.telemetry.push("WSGITelemetryService");
        Ok(())
    },
};

/// The directive.
pub const TELEMETRY_OPTIONS: Directive = Directive {
    name: c"WSGITelemetryOptions",
    context: Context::Global,
    usage: c"None|All|[+|-]CaptureUserAgent ...",
    text: "Without effect until metrics are built, with a warning.\n",
    set: |target, words, _place| {
        flags(words)?;
        target.server()?.telemetry.push("WSGITelemetryOptions");
        Ok(())
    },
};

fn service(words: &mut Words<'_>) -> Result<(), Wrong> {
    const REMEDY: &str = "write: unix:/path [interval=seconds]";
    let (target, interval, more) = (words.next(), words.next(), words.next());
    let Some(target) = target.filter(|_| more.is_none()) else {
        return Err(Wrong::new("takes 1-2 arguments", REMEDY));
    };
    if !target.starts_with("unix:") {
        let old = if target.starts_with("udp:") {
            " (targets elsewhere are no longer supported)"
        } else {
            ""
        };
        return Err(Wrong::new(
            format!("has the target '{target}', which is not unix:/path{old}"),
            REMEDY,
        ));
    }
    let Some(option) = interval else { return Ok(()) };
    let Some(value) = option.strip_prefix("interval=") else {
        return Err(Wrong::new(
            format!("has the second argument '{option}'"),
            "it may be interval=seconds only",
        ));
    };
    match seconds(value) {
        Some(seconds) if seconds >= 0.5 => Ok(()),
        _ => Err(Wrong::new(
            format!("has the interval '{value}'"),
            "give a number of seconds of at least 0.5",
        )),
    }
}

fn flags(words: &mut Words<'_>) -> Result<(), Wrong> {
    const REMEDY: &str = "write None, All, CaptureUserAgent, +CaptureUserAgent or -CaptureUserAgent";
    let mut forms = None;
    while let Some(word) = words.next() {
        let name = word.strip_prefix(['+', '-']);
        let is_change = name.is_some();
        let name = name.unwrap_or(&word);
        let is = |flag: &str| name.eq_ignore_ascii_case(flag);
        let problem = if name.is_empty() {
            "has a bare sign, which is not a flag".to_owned()
        } else if is("None") || is("All") {
            if is_change {
                format!("has '{word}': it cannot have a sign")
            } else {
                String::new()
            }
        } else if is("CaptureUserAgent") {
            String::new()
        } else {
            format!("has the unknown flag '{word}'")
        };
        if !problem.is_empty() {
            return Err(Wrong::new(problem, REMEDY));
        }
        if forms.replace(is_change).is_some_and(|before| before != is_change) {
            return Err(Wrong::new(
                "mixes flags with and without a sign",
                "write all with a sign, or none",
            ));
        }
    }
    if forms.is_none() {
        return Err(Wrong::new("needs at least one flag", REMEDY));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telemetry_service_is_a_socket_with_an_interval() {
        let read = |line| service(&mut Words::new(line));
        for line in ["unix:/a", "unix:/a interval=0.5", "unix:/a interval=10"] {
            assert_eq!(read(line), Ok(()), "{line}");
        }
        for line in [
            "",
            "udp:host:1",
            "tcp:1",
            "unix:/a interval=0.4",
            "unix:/a interval=x",
            "unix:/a foo=1",
            "unix:/a interval=1 x",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn telemetry_flags_have_all_a_sign_or_none() {
        let read = |line| flags(&mut Words::new(line));
        for line in [
            "None",
            "all",
            "CaptureUserAgent",
            "+captureuseragent -CaptureUserAgent",
            "None CaptureUserAgent",
        ] {
            assert_eq!(read(line), Ok(()), "{line}");
        }
        for line in ["", "+", "+All", "-None", "foo", "All +CaptureUserAgent"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
