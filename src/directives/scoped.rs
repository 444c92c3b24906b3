//! Settings of a directory, a location, a file, or a whole server.
//!
//! Used outside a section they go to the server, inside one to the section. For a request the section counts first (merged by
//! httpd as for every directive), then the server.

use super::calls::Asked;
use super::choices::OnOffAuto;
use super::handler_script::HandlerScripts;
use super::kinds::{Bytes, Callable, FixedNames, OnOff};
use super::proxies::{ProxyHeaders, Subnets};
use super::users::UserOptions;
use super::{Target, Wrong, settings};
use crate::request::template::Template;

settings! {
    /// Settings that exist for directories and servers alike; unset is `None`.
    pub struct Scoped;

    /// The process group whose workers run the application: the name of a `WSGIDaemonProcess`. Unset or `%{GLOBAL}`: the
    /// application runs in httpd's own children (embedded mode). The `%{…}` forms are expanded for every request; a name
    /// that no `WSGIDaemonProcess` defines, or that belongs to a virtual host of another `ServerName`, is answered with 500.
    process_group: Template = c"WSGIProcessGroup" in ServerDirectory;

    /// The application group: applications of one group share one Python. In daemon mode each application group of a
    /// process group has worker processes of its own, and runs in their main interpreter; in embedded mode `%{GLOBAL}` is the main
    /// interpreter, any other name a sub-interpreter.
    ///
    /// Default `%{RESOURCE}`: one group for each server and mount point. Server name and port in it come from the configuration
    /// and the listening socket, never from the client's `Host` header.
    application_group: Template = c"WSGIApplicationGroup" in ServerDirectory;

    /// The name of the application in its script. Default `application`. Looked up in the module as it is: no dots, no calls.
    callable_object: Callable = c"WSGICallableObject" in FileInfo;

    /// Whether `Authorization` reaches the application as `HTTP_AUTHORIZATION`. Off: the application learns the user from `REMOTE_USER`,
    /// and passwords stay in httpd. Auto: passed unless httpd itself has authenticated the request (it has a `REMOTE_USER` or an
    /// `AUTH_TYPE`), so that applications can check tokens and passwords of their own, and those of httpd stay there.
    ///
    /// Default Auto with `LoadModule rwsgi_module`, and Off, as in mod_wsgi, with `LoadModule wsgi_module`. `CGIPassAuth On` passes it in any
    /// case, and lets `Proxy-Authorization` through too.
    pass_authorization: OnOffAuto = c"WSGIPassAuthorization" in FileInfo;

    /// Whether a changed script is noticed: before each request its time stamp is compared with that of the loaded one. In
    /// daemon mode its workers are replaced, in embedded mode the module is loaded anew. Default On.
    ///
    /// In daemon mode with a virtual environment as Python (`python-home`, or `.venv` of a user's application) it is also noticed, at most once
    /// a second, that packages were installed, upgraded or removed there. That counts when it has been at rest for three seconds and nothing is left
    /// half installed.
    script_reloading: OnOff = c"WSGIScriptReloading" in FileInfo;

    /// Whether requests leave the `inactivity-timeout` of their process group running: for health checks, which would keep a worker
    /// from ever being idle. Default Off. No effect in embedded mode.
    ignore_activity: OnOff = c"WSGIIgnoreActivity" in FileInfo;

    /// Whether requests without `Content-Length` (chunked; HTTP/2 uploads of unknown length) reach the application. Default
    /// Off: they are answered with 411, for an application that trusts `CONTENT_LENGTH` would take them for empty.
    chunked_request: OnOff = c"WSGIChunkedRequest" in FileInfo;

    /// Whether a HEAD request looks like GET to the application. Auto (the default): when a filter of httpd that changes content follows,
    /// mod_deflate for one, for it has to see the body to compute the headers that GET would have. On: always. Off: never.
    /// The body of the answer to a HEAD request is never sent.
    map_head_to_get: OnOffAuto = c"WSGIMapHEADToGET" in FileInfo;

    /// On: an answer with an error status (400 to 599) is replaced by httpd's page for that status, which `ErrorDocument` chooses. Of
    /// the application's headers only `WWW-Authenticate` is kept. Works in daemon mode and in embedded mode. Default Off.
    error_override: OnOff = c"WSGIErrorOverride" in FileInfo;

    /// On: two headers of an answer are directions to httpd, as they are in the answers of CGI scripts. `Status` replaces the status.
    /// `Location` with a path of this server, while the status is exactly 200, makes httpd answer with what it has at that path in place
    /// of the application's answer. That is a GET request with all access checks and handlers of its own, and without a body; of the
    /// application's headers only `WWW-Authenticate` is kept; `LimitInternalRecursion` ends loops.
    ///
    /// Off: both are data, and the client gets them as they are. Choose Off when you do not trust the application with every URL that
    /// the client itself may ask for.
    ///
    /// Default Off; On in daemon mode with `LoadModule wsgi_module`, because that is what mod_wsgi does. mod_wsgi does not know this directive.
    cgi_headers: OnOff = c"WSGICGIHeaders" in FileInfo;

    /// The process groups that may be used here, whatever chooses them; `%{GLOBAL}` is embedded mode. Without a name none may be used. A
    /// request for another one is answered with 500. Names compare without case. Default: no restriction.
    restrict_process: FixedNames = c"WSGIRestrictProcess" in ServerDirectory;

    /// The headers by which a proxy in front of httpd tells what it knows of the client. Default none: no header changes what an
    /// application is told.
    ///
    /// | | headers | a trusted one sets |
    /// |---|---|---|
    /// | client | `X-Forwarded-For` | `REMOTE_ADDR`, see below |
    /// | client | `X-Client-IP`, `X-Real-IP` | `REMOTE_ADDR` |
    /// | host | `X-Forwarded-Host`, `X-Host` | `HTTP_HOST` |
    /// | server | `X-Forwarded-Server` | `SERVER_NAME` |
    /// | port | `X-Forwarded-Port` | `SERVER_PORT` |
    /// | script | `X-Script-Name`, `X-Forwarded-Script-Name` | `SCRIPT_NAME` and `mod_wsgi.mount_point` |
    /// | scheme | `X-Forwarded-Proto`, `X-Forwarded-Scheme`, `X-Scheme` | `wsgi.url_scheme`, by `https` or `http` |
    /// | scheme | `X-Forwarded-HTTPS`, `X-Forwarded-SSL`, `X-HTTPS` | `wsgi.url_scheme`, by `on`, `true`, `1` or `off`, `false`, `0` |
    ///
    /// Name only headers that the proxy sets or removes itself. Of each kind of which one is named here, the application sees the one that
    /// counted, the last in the order written here that the request has, and none of the others; when the request does not come from a
    /// proxy of `WSGITrustedProxies`, it sees none at all. A scheme told by a proxy counts more than TLS at this server and more than
    /// `SetEnv HTTPS`.
    ///
    /// `X-Forwarded-For` is a list to which each proxy adds the address that it was connected from. With `WSGITrustedProxies` it is read
    /// from its end: the proxies of that directive are passed over, and the first other item is the client; what stands before that is cut
    /// off. Without it the first item is taken. Items are addresses; names in it are not looked up.
    ///
    /// Written several times in the same section, the directive adds to its list.
    trusted_proxy_headers: ProxyHeaders = c"WSGITrustedProxyHeaders" in FileInfo;

    /// The proxies whose headers are believed, see `WSGITrustedProxyHeaders`: addresses, or networks as in `10.0.0.0/8`,
    /// `10.0.0.0/255.0.0.0`, `10.` or `fd00::/8`. The peer is compared as httpd knows it, so after mod_remoteip. Default: every peer is
    /// believed, which is right only where nobody but the proxy can reach httpd. Has no effect without `WSGITrustedProxyHeaders`.
    ///
    /// Written several times in the same section, the directive adds to its list.
    trusted_proxies: Subnets = c"WSGITrustedProxies" in FileInfo;

    /// Whether a file that the application returns through `wsgi.file_wrapper` may be sent with the system call sendfile. Default
    /// Off, as for httpd's own `EnableSendfile`, which does not matter here: then the file is mapped into memory where `EnableMMAP` allows,
    /// else read. Over TLS, through compression and over HTTP/2 it is read in any case.
    enable_sendfile: OnOff = c"WSGIEnableSendfile" in FileInfo;

    /// Bytes of a request body that httpd receives before a worker gets the request, so that a slow client keeps no worker waiting: 64 KiB in
    /// memory, the rest in a file without a name in `WSGISpoolDirectory`. Of a longer body the beginning is received first and the rest
    /// while the application reads; `LimitRequestBody` refuses longer ones. `queue-timeout` counts from the moment at which the request could
    /// run. A body that breaks off is answered 400 (408 when the client was too slow), and the application does not see it; when there is no
    /// room it is 503 with `Retry-After`. Default 0: the body is read when the application reads it. No effect in embedded mode.
    request_buffering: Bytes<0> = c"WSGIRequestBuffering" in FileInfo;

    /// Bytes of an answer that httpd receives from the worker before the client takes them, so that a slow client keeps no worker waiting:
    /// 64 KiB in memory, the rest in a file without a name in `WSGISpoolDirectory`. Nothing waits there for a client that keeps up: what
    /// an application yields is sent at once, and only while the client has been taking a part of it for longer than 10 milliseconds the
    /// worker is listened to meanwhile. An answer of which more is waiting holds its worker until the client has taken all of that. When there is no
    /// room on the disk the worker waits for the client. Of an answer that breaks off the client gets what came, and sees that it is cut. Default
    /// 8388608 (8 MiB); 0: workers wait for their clients. No effect in embedded mode.
    response_buffering: Bytes<0> = c"WSGIResponseBuffering" in FileInfo;

    /// Accepted for old configurations, and without effect, as in mod_wsgi with httpd 2.4: `AuthzProviderAlias` and the `<Require...>` sections
    /// say which rules decide.
    group_authoritative: OnOff = c"WSGIGroupAuthoritative" in AuthConfig;

    /// On: the environ of applications in embedded mode has `apache.request_rec`, a capsule without a name that holds the address of
    /// httpd's record of the request, for extension modules that call httpd. The record is valid until the request ends, on its thread;
    /// use after that reads freed memory. In daemon mode the process has no such record, and the environ no such key. Default Off.
    pass_apache_request: OnOff = c"WSGIPassApacheRequest" in ServerDirectory;

    + {
        /// `WSGIHandlerScript`.
        handler_scripts: HandlerScripts;
        /// `WSGIUserOptions`.
        user_options: UserOptions;
        /// `WSGIDispatchScript`.
        dispatch_script: Asked;
        /// `WSGIAccessScript`.
        access_script: Asked;
        /// `WSGIAuthUserScript`.
        auth_user_script: Asked;
        /// `WSGIAuthGroupScript`.
        auth_group_script: Asked;
    }
}

impl Scoped {
    fn settings_of<'a>(target: &'a mut Target<'_>) -> Result<&'a mut Self, Wrong> {
        Ok(target.scoped())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_setting_wins_and_an_unset_one_falls_through() {
        let base = Scoped {
            process_group: Some(Template::new("far")),
            script_reloading: Some(false),
            ..Scoped::default()
        };
        let near = Scoped {
            process_group: Some(Template::new("near")),
            ..Scoped::default()
        };
        let merged = near.over(&base);
        assert_eq!(merged.process_group, Some(Template::new("near")));
        assert_eq!(merged.script_reloading, Some(false));
    }
}
