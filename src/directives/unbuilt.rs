//! Directives of mod_wsgi that this version knows by name only: the server refuses to start, with a sentence.

use super::{Context, Directive, Wrong};

macro_rules! unbuilt {
    ($($name:literal in $context:ident: $remedy:literal;)*) => {
        /// All of them.
        pub const DIRECTIVES: &[Directive] = &[$(Directive {
            name: $name,
            context: Context::$context,
            usage: c"(not built in this version of rwsgi)",
            text: concat!("Not built in this version of rwsgi: the server refuses to start with it. What to do: ", $remedy, ".\n"),
            set: |_, _, _| Err(Wrong::new("is not built in this version of rwsgi", $remedy)),
        },)*];
    };
}

unbuilt! {
    c"WSGISocketRotation" in Global: "remove it; sockets outlive a graceful restart in any case";
    c"WSGIAcceptMutex" in Global: "remove it; no lock is needed";
    c"WSGIVerboseDebugging" in Global: "remove it and use LogLevel rwsgi:debug";
    c"WSGIDontWriteBytecode" in Global: "remove it, or set sys.dont_write_bytecode in the script";
    c"WSGIPythonWarnings" in Global: "remove it and use warnings.filterwarnings() in the script";
    c"WSGIPythonOptimize" in Global: "remove it";
    c"WSGIPythonEggs" in Global: "remove it";
    c"WSGIPythonHashSeed" in Global: "remove it; hash randomisation stays on";
    c"WSGISwitchInterval" in Global: "remove it and call sys.setswitchinterval() in the script";
    c"WSGIDestroyInterpreter" in Global: "remove it";
    c"WSGIPerInterpreterGIL" in Global: "remove it and use daemon processes, which have a GIL each";
    c"WSGIFreeThreading" in Global: "remove it";
    c"<WSGIInterpreterOptions" in Global: "remove the section and use options of WSGIDaemonProcess";
    c"WSGIRestrictStdin" in Global: "remove it";
    c"WSGIRestrictStdout" in Global: "remove it";
    c"WSGIRestrictSignal" in Global: "remove it";
    c"WSGICaseSensitivity" in Global: "remove it";
    c"WSGIDispatchScript" in ServerDirectory: "remove it and use WSGIProcessGroup %{ENV:variable}";
    c"WSGIPassApacheRequest" in ServerDirectory: "remove it";
    c"WSGIAccessScript" in AuthConfig: "remove it and use Require";
    c"WSGIAuthUserScript" in AuthConfig: "remove it and use another AuthBasicProvider";
    c"WSGIAuthGroupScript" in AuthConfig: "remove it and use another group provider";
    c"WSGIGroupAuthoritative" in AuthConfig: "remove it; it has no effect with httpd 2.4";
    c"WSGIServerMetrics" in Global: "remove it";
    c"WSGITelemetryService" in Global: "remove it";
    c"WSGISlowRequests" in Global: "remove it";
    c"WSGITelemetryOptions" in Global: "remove it";
}
