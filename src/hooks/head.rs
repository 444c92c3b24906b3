//! The head of a request, as the Python half receives it: everything that is known before the application runs.

use std::ffi::CStr;
use std::sync::OnceLock;

use rwsgi_wire::call::Call;
use rwsgi_wire::frame::{Kind, put_with};
use rwsgi_wire::head::{self, Head};
use rwsgi_wire::pairs::Pairs;

use crate::config::Group;
use crate::directives::choices::OnOffAuto;
use crate::httpd::{self, Request};
use crate::request::environ::{Environ, is_https};
use crate::request::filtered::{Filtered, filtered};
use crate::request::target::{Settings, Target};
use crate::request::{Redirected, View, proxies};

/// What is known of the request body.
#[derive(Clone, Copy)]
pub struct Body {
    /// Its length in bytes; `None` when the client did not say.
    pub length: Option<u64>,
    /// There may be one.
    pub may_come: bool,
}

/// What is known of the hand-over to a worker.
#[derive(Clone, Copy, Default)]
pub struct Queue {
    /// When it began, in microseconds since 1970.
    pub start: i64,
    /// How long it may take, in milliseconds.
    pub limit: u32,
}

/// A whole `Head` frame for a worker of `group`. `None`: the script is not below its root directory.
pub fn frame(
    request: &Request<'_>,
    settings: &Settings<'_>,
    target: &Target,
    body: Body,
    queue: Queue,
    group: &Group,
) -> Option<Vec<u8>> {
    let mut view = view(request, settings);
    view.filtered = filters(request, &view, body);
    if !group.settings.chroot.is_empty() {
        view.filename = group.inside(view.filename)?;
        view.document_root = group.inside(view.document_root).unwrap_or_default();
        view.context_document_root = group.inside(view.context_document_root).unwrap_or_default();
    }
    let mut out = Vec::with_capacity(6 * 1024);
    put_with(&mut out, Kind::Head, |out| {
        put_head(out, request, &view, settings, target, body, queue);
    });
    Some(out)
}

/// The payload of one for embedded mode.
pub fn payload(request: &Request<'_>, settings: &Settings<'_>, target: &Target, body: Body) -> Vec<u8> {
    let mut out = Vec::with_capacity(6 * 1024);
    let mut view = view(request, settings);
    view.filtered = filters(request, &view, body);
    put_head(&mut out, request, &view, settings, target, body, Queue::default());
    out
}

fn put_head(
    out: &mut Vec<u8>,
    request: &Request<'_>,
    view: &View<'_>,
    settings: &Settings<'_>,
    target: &Target,
    body: Body,
    queue: Queue,
) {
    let environ = Environ::of(view, target);
    let handler_script = settings
        .handler_script
        .map(|handler| handler.script.as_os_str().as_encoded_bytes());
    let head = Head {
        connects: (queue.start != 0).into(),
        restarts: 0,
        call: Call::Application,
        arguments: Vec::new(),
        ssl: Pairs::default(),
        script: handler_script.unwrap_or(view.filename),
        callable: target.callable.as_bytes(),
        application_group: target.application_group.as_bytes(),
        script_mtime: match handler_script {
            _ if !settings.script_reloading() => 0,
            Some(_) => head::MTIME_UNKNOWN,
            None => request.file_mtime(),
        },
        content_length: body.length.filter(|_| !view.filtered.length),
        has_body: body.may_come,
        head_only: request.is_head(),
        ignore_activity: settings.ignore_activity(),
        https: is_https(view),
        request_start: request.start(),
        queue_start: queue.start,
        queue_limit: queue.limit,
        log_level: request.log_level(),
        httpd_version: httpd::httpd_version(),
        environ: environ.pairs(),
    };
    head.encode(out);
}

/// What input filters will do to the body.
fn filters<'v>(request: &Request<'_>, view: &View<'v>, body: Body) -> Filtered<'v> {
    if body.may_come {
        filtered(view, &request.content_input_filters())
    } else {
        Filtered::default()
    }
}

fn head_as_get(request: &Request<'_>, settings: &Settings<'_>) -> bool {
    request.is_head()
        && match settings.map_head_to_get() {
            OnOffAuto::On => true,
            OnOffAuto::Off => false,
            OnOffAuto::Auto => request.filters_change_content(),
        }
}

fn passes_authorization(request: &Request<'_>, settings: &Settings<'_>) -> bool {
    match settings.pass_authorization() {
        OnOffAuto::On => true,
        OnOffAuto::Off => false,
        OnOffAuto::Auto => request.user().is_none() && request.auth_type().is_none(),
    }
}

/// This child, which does not fork. The C library would ask the kernel each time.
static PID: OnceLock<u32> = OnceLock::new();

/// What is known of the request.
pub(super) fn view<'v, 'r: 'v>(request: &Request<'r>, settings: &Settings<'v>) -> View<'v> {
    let connection = request.connection();
    let (client_ip, client_port) = request.client();
    let (context_prefix, context_document_root) = request.context();
    let headers = request.headers();
    let told = settings
        .trust()
        .map(|trust| proxies::told(&headers, client_ip, trust))
        .unwrap_or_default();
    View {
        method: request.method(),
        head_as_get: head_as_get(request, settings),
        protocol: request.protocol(),
        scheme: request.scheme(),
        request_line: request.request_line(),
        current_uri: request.wants_current_uri().then(|| CStr::to_bytes(request.uri())),
        uri: request.uri().to_bytes(),
        path_info: request.path_info(),
        query: request.query().unwrap_or_default(),
        filename: request.filename(),
        handler: request.handler(),
        handler_script: settings
            .handler_script
            .map_or(b"", |handler| handler.script.as_os_str().as_encoded_bytes()),
        server_name: request.server_name(),
        server_port: request.port(),
        server_admin: request.server().admin(),
        software: httpd::banner(),
        local_ip: connection.local_ip(),
        local_host: connection.local_host(),
        local_port: connection.local_port(),
        client_ip,
        client_port,
        document_root: request.document_root(),
        context_prefix,
        context_document_root,
        user: request.user(),
        auth_type: request.auth_type(),
        redirected: request.redirected_from().map(|(uri, query)| Redirected {
            user: request.redirected_user(),
            uri,
            query,
        }),
        is_https: connection.is_https(),
        pass_all_auth: request.passes_auth(),
        pass_authorization: passes_authorization(request, settings),
        request_id: request.log_id(),
        connection_id: connection.log_id(),
        server_pid: *PID.get_or_init(std::process::id),
        told,
        filtered: Filtered::default(),
        headers,
        environment: request.environment(),
    }
}
