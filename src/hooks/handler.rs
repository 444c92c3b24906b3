//! Content: the checks that need no application, then the backend.

use std::path::Path;

use super::admission;
use super::arrival;
use super::dispatch::dispatch;
use super::head::{self, Body, Queue};
use super::names::RequestNames;
use super::owner;
use super::upload;
use super::user_application::{self, UserApplication};
use super::users::{is_mapped, lacks_slash};
use super::{ALIAS_NOTE, SCRIPT_HANDLER, SCRIPT_TYPE};
use crate::backend::intake::Room;
use crate::backend::{Failure, Refusal, daemon, embedded, pools::PoolName};
use crate::codes;
use crate::config::{Group, NoGroup, ServerConfig};
use crate::directives::Scoped;
use crate::directives::script::AliasOptions;
use crate::hooks::child_init::Child;
use crate::hooks::client::RequestClient;
use crate::httpd::{self, FileKind, Level, Request, Verdict};
use crate::log::log;
use crate::request::below::with_slash;
use crate::request::headers;
use crate::request::instead::Instead;
use crate::request::target::{Settings, Target, single_slashes};

/// Answers requests for scripts.
pub fn handler(request: &Request<'_>) -> Verdict {
    let handler = request.handler();
    let is_script = handler == SCRIPT_HANDLER.to_bytes() || handler == SCRIPT_TYPE;
    let server = request.server();
    let Some(config) = server.config() else {
        return if is_script {
            Verdict::Status(500)
        } else {
            Verdict::Declined
        };
    };
    let unset = Scoped::default();
    let directory = request.scoped().unwrap_or(&unset);
    let handler_script = if is_script {
        None
    } else {
        let of_directory = directory.handler_scripts.get(handler);
        let Some(found) = of_directory.or_else(|| config.scoped.handler_scripts.get(handler)) else {
            return Verdict::Declined;
        };
        Some(&**found)
    };
    let settings = Settings {
        alias: if is_script { alias(request, config) } else { None },
        handler_script,
        directory,
        server: &config.scoped,
        loaded_as: httpd::loaded_as(),
    };
    let names = RequestNames(request);
    let of_user = user_application::of(request, config, &settings, || settings.callable(&names));
    let needs_exec = settings.alias.is_none() && of_user.is_none() && !is_mapped(request);
    let checked = check_file(request, &settings, needs_exec).and_then(|()| check_body(request, &settings));
    let body = match checked {
        Ok(body) => body,
        Err(verdict) => return verdict,
    };
    if let Some(application) = of_user {
        return serve_user(
            request,
            &settings,
            application,
            body,
            &config.site.spool_directory,
        );
    }
    let mut target = settings.target(&names);
    if dispatch(request, &settings, &mut target, &names).is_err() {
        return Verdict::Status(500);
    }
    if !settings.may_use(&target.process_group) {
        return restricted(request, &target.process_group);
    }
    if target.process_group.is_empty() {
        return serve_embedded(request, config, &settings, &target, body);
    }
    let server_name = String::from_utf8_lossy(server.name());
    match config.group(&target.process_group, &server_name, server.is_virtual()) {
        Ok(group) => serve_by_worker(
            request,
            group,
            &settings,
            &target,
            body,
            &config.site.spool_directory,
        ),
        Err(why) => no_group(request, &target.process_group, why),
    }
}

/// The alias that mapped the request.
fn alias<'c>(request: &Request<'_>, config: &'c ServerConfig) -> Option<&'c AliasOptions> {
    let index = std::str::from_utf8(request.note(ALIAS_NOTE)?)
        .ok()?
        .parse::<usize>()
        .ok()?;
    config.aliases.get(index).map(|alias| &alias.options)
}

fn restricted(request: &Request<'_>, name: &str) -> Verdict {
    let name = if name.is_empty() { "%{GLOBAL}" } else { name };
    log!(
        request,
        Level::Error,
        codes::RESTRICTED,
        "WSGIRestrictProcess does not allow the process group '{name}' here; add it there, or choose another group"
    );
    Verdict::Status(500)
}

fn check_file(request: &Request<'_>, settings: &Settings<'_>, needs_exec: bool) -> Result<(), Verdict> {
    if settings.handler_script.is_none() {
        check_script(request, needs_exec)?;
    }
    if request.rejects_path_info() && !request.path_info().is_empty() {
        log!(
            request,
            Level::Error,
            codes::NO_PATH_INFO,
            "AcceptPathInfo is off, and the URL goes on behind: {}",
            String::from_utf8_lossy(request.filename())
        );
        return Err(Verdict::Status(404));
    }
    Ok(())
}

fn check_script(request: &Request<'_>, needs_exec: bool) -> Result<(), Verdict> {
    let script = || String::from_utf8_lossy(request.filename()).into_owned();
    if needs_exec && !request.may_execute() {
        log!(
            request,
            Level::Error,
            codes::NO_EXEC,
            "Options ExecCGI is off in this directory: {}",
            script()
        );
        return Err(Verdict::Status(403));
    }
    match request.file_kind() {
        FileKind::Missing => {
            log!(
                request,
                Level::Error,
                codes::NO_SCRIPT,
                "script not found or unable to stat: {}",
                script()
            );
            Err(Verdict::Status(404))
        }
        FileKind::Directory => {
            log!(
                request,
                Level::Error,
                codes::DIRECTORY,
                "attempt to run a directory as a script: {}",
                script()
            );
            Err(Verdict::Status(403))
        }
        FileKind::Other => Ok(()),
    }
}

fn check_body(request: &Request<'_>, settings: &Settings<'_>) -> Result<Body, Verdict> {
    if request
        .header(c"Content-Type")
        .is_some_and(headers::is_doubled_type)
    {
        log!(
            request,
            Level::Error,
            codes::DOUBLED_TYPE,
            "the request has two Content-Type headers"
        );
        return Err(Verdict::Status(400));
    }
    if let Some(coding) = request.header(c"Transfer-Encoding") {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            let coding = coding.escape_ascii();
            log!(
                request,
                Level::Error,
                codes::TRANSFER_CODING,
                "unexpected Transfer-Encoding '{coding}'"
            );
            return Err(Verdict::Status(501));
        }
        if !settings.chunked_request() {
            log!(
                request,
                Level::Error,
                codes::CHUNKED,
                "the request has a body of unknown length (chunked), and WSGIChunkedRequest is Off"
            );
            return Err(Verdict::Status(411));
        }
        return Ok(Body {
            length: None,
            may_come: true,
        });
    }
    let Some(length) = request.header(c"Content-Length") else {
        return Ok(Body {
            length: Some(0),
            may_come: false,
        });
    };
    let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(length)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse::<u64>().ok());
    let Some(number) = number else {
        log!(
            request,
            Level::Error,
            codes::LENGTH,
            "Content-Length '{}' is not a number of bytes",
            length.escape_ascii()
        );
        return Err(Verdict::Status(400));
    };
    if request.body_limit().is_some_and(|limit| number > limit) {
        return Err(Verdict::Status(413));
    }
    Ok(Body {
        length: Some(number),
        may_come: number > 0,
    })
}

fn no_group(request: &Request<'_>, name: &str, why: NoGroup) -> Verdict {
    match why {
        NoGroup::Unknown => log!(
            request,
            Level::Error,
            codes::UNKNOWN_GROUP,
            "no WSGIDaemonProcess defines the process group '{name}'; define it, or correct WSGIProcessGroup"
        ),
        NoGroup::OfAnotherServer => log!(
            request,
            Level::Error,
            codes::FOREIGN_GROUP,
            "the process group '{name}' belongs to a virtual host of another ServerName; define it in the main server"
        ),
        NoGroup::Service => log!(
            request,
            Level::Error,
            codes::SERVICE_GROUP,
            "the process group '{name}' takes no requests (threads=0); choose another one with WSGIProcessGroup"
        ),
    }
    Verdict::Status(500)
}

fn serve_by_worker(
    request: &Request<'_>,
    group: &Group,
    settings: &Settings<'_>,
    target: &Target,
    body: Body,
    directory: &Path,
) -> Verdict {
    if let Some(owner) = group.scripts_of {
        if let Err(why) = owner::check(request.filename(), owner) {
            log!(
                request,
                Level::Error,
                codes::SCRIPT_OWNER,
                "script-user or script-group of the process group '{}' forbids to run {}: {why}",
                target.process_group,
                String::from_utf8_lossy(request.filename())
            );
            return Verdict::Status(403);
        }
    }
    let pool = PoolName::of_group(
        target.process_group.as_bytes(),
        target.application_group.as_bytes(),
    );
    let can_grow = group.settings.scale.is_elastic(group.settings.processes);
    let by = Workers {
        group,
        pool,
        can_grow,
    };
    serve_by_pool(request, &by, settings, target, body, directory)
}

/// The application of a user; its directory is a directory to clients, too.
fn serve_user(
    request: &Request<'_>,
    settings: &Settings<'_>,
    application: UserApplication<'_>,
    body: Body,
    directory: &Path,
) -> Verdict {
    if lacks_slash(request) {
        let url = with_slash(&single_slashes(request.uri().to_bytes()), request.query());
        request.add_header(b"Location", &url, false);
        return Verdict::Status(301);
    }
    let UserApplication {
        base,
        pool,
        target,
        can_grow,
    } = application;
    let by = Workers {
        group: &base.group,
        pool,
        can_grow,
    };
    serve_by_pool(request, &by, settings, &target, body, directory)
}

/// Who answers.
struct Workers<'g> {
    group: &'g Group,
    pool: PoolName,
    /// Another one may start when a request waits.
    can_grow: bool,
}

fn serve_by_pool(
    request: &Request<'_>,
    Workers {
        group,
        pool,
        can_grow,
    }: &Workers<'_>,
    settings: &Settings<'_>,
    target: &Target,
    body: Body,
    directory: &Path,
) -> Verdict {
    let Some(pools) = Child::pools() else {
        return Verdict::Status(500);
    };
    let place = match admission::admit(request, group, pool) {
        Ok(place) => place,
        Err(seconds) => return come_again(request, seconds),
    };
    let most = settings.request_buffering();
    let upload = match most > 0 && body.may_come {
        false => None,
        true => match upload::receive(request, most, directory) {
            Ok(upload) => Some(upload),
            Err(verdict) => return verdict,
        },
    };
    let now = arrival::now();
    let arrived = if upload.is_some() { now } else { request.start() };
    let limits = daemon::Limits {
        can_grow: *can_grow,
        ..limits(request, group, arrived)
    };
    let queue = Queue {
        start: now,
        limit: limits.until_taken().as_millis().try_into().unwrap_or(u32::MAX),
    };
    let Some(head) = head::frame(request, settings, target, body, queue, group) else {
        log!(
            request,
            Level::Error,
            codes::OUTSIDE_ROOT,
            "the script {} is not below the root directory of its process group, {}",
            String::from_utf8_lossy(request.filename()),
            String::from_utf8_lossy(&group.settings.chroot)
        );
        return Verdict::Status(500);
    };
    let mut client = RequestClient::new(request, settings.answer_rules(false), settings.enable_sendfile());
    if let Some(upload) = upload {
        client.have_received(upload);
    }
    client.limit_client(group.client_timeout);
    client.show_scoreboard(group.server_metrics);
    let room = Room {
        directory,
        most: settings.response_buffering(),
    };
    client.take_place(place);
    let result = daemon::serve(pools, pool, &head, limits, room, &mut client);
    // Before httpd answers in the application's place, perhaps with another request for it.
    client.give_place_up();
    let result = match pool.below {
        Some(_) => result.map_err(Failure::of_user),
        None => result,
    };
    verdict(request, &client, result)
}

/// As many requests are under way as may be.
pub(super) fn come_again(request: &Request<'_>, seconds: u32) -> Verdict {
    request.add_header(b"Retry-After", seconds.to_string().as_bytes(), true);
    Verdict::Status(503)
}

/// How long workers of the group may take for a request that could run at `arrived`, in microseconds since 1970.
pub(super) fn limits(request: &Request<'_>, group: &Group, arrived: i64) -> daemon::Limits {
    daemon::Limits {
        connect: group.connect_timeout,
        socket: group.socket_timeout.unwrap_or_else(|| request.server().timeout()),
        queue: group
            .queue_timeout
            .map(|limit| limit.saturating_sub(Child::since(arrived))),
        send_buffer: group.receive_buffer,
        can_grow: group.settings.scale.is_elastic(group.settings.processes),
        relaying: group.relaying,
    }
}

fn serve_embedded(
    request: &Request<'_>,
    config: &ServerConfig,
    settings: &Settings<'_>,
    target: &Target,
    body: Body,
) -> Verdict {
    if config.site.embedded.is_off {
        log!(
            request,
            Level::Error,
            codes::EMBEDDED_OFF,
            "the request has no process group, and WSGIRestrictEmbedded is On; set WSGIProcessGroup"
        );
        return Verdict::Status(500);
    }
    let guest = match Child::python() {
        Ok(guest) => guest,
        Err(sentence) => {
            log!(
                request,
                Level::Error,
                codes::EMBEDDED_DOWN,
                "Python is not available in this child: {sentence}"
            );
            return Verdict::Status(500);
        }
    };
    let limit = config.site.embedded.request_limit;
    let place = match admission::admit_embedded(request, limit, &target.application_group) {
        Ok(place) => place,
        Err(seconds) => return come_again(request, seconds),
    };
    let head = head::payload(request, settings, target, body);
    let mut client = RequestClient::new(request, settings.answer_rules(true), settings.enable_sendfile());
    let record = settings.pass_apache_request().then(|| request.address());
    client.take_place(place);
    let result = embedded::serve(guest, &head, record, &mut client);
    client.give_place_up();
    verdict(request, &client, result)
}

/// Tells httpd how it ended, and the log why: the only place where a failed request is logged.
fn verdict(request: &Request<'_>, client: &RequestClient<'_, '_>, result: Result<(), Failure>) -> Verdict {
    match result {
        Ok(()) | Err(Failure::AnsweredByServer) => match (client.body_refusal(), client.instead()) {
            (Some(status), _) => Verdict::Status(status),
            (None, Some(instead)) => answer_instead(request, instead),
            (None, None) => {
                request.expect_next();
                Verdict::Ok
            }
        },
        Err(Failure::ClientGone) => {
            if !client.is_stopped() {
                // It may have closed its side only: an answer that looks whole would deceive it.
                request.connection().abandon();
            }
            Verdict::Ok
        }
        Err(Failure::Truncated(message)) => {
            if let Some(message) = message {
                request.log(
                    Level::Error,
                    httpd::site!(),
                    &format!("{}: {}", message.code, message.text),
                );
            }
            request.connection().close_after_response();
            Verdict::Ok
        }
        Err(Failure::Unanswered(Refusal {
            status,
            retry_after,
            message,
        })) => {
            if let Some(message) = message {
                request.log(
                    Level::Error,
                    httpd::site!(),
                    &format!("{}: {}", message.code, message.text),
                );
            }
            if let Some(seconds) = retry_after {
                request.add_header(b"Retry-After", seconds.to_string().as_bytes(), true);
            }
            Verdict::Status(status)
        }
    }
}

fn answer_instead(request: &Request<'_>, instead: &Instead) -> Verdict {
    match instead {
        Instead::Page(status) => Verdict::Status(*status),
        Instead::Redirect(path) => {
            request.redirect(path);
            Verdict::Ok
        }
    }
}
