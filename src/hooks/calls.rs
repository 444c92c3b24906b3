//! A question to a script: who is asked, what it is told, what it says.

use std::time::Instant;

use once_cell::sync::OnceCell;
use rwsgi_wire::call::{Call, Verdict};
use rwsgi_wire::frame::{Kind, put_with};
use rwsgi_wire::head::{self, Head};
use rwsgi_wire::pairs::PairList;
use rwsgi_wire::response::AbortReason;

use super::child_init::Child;
use super::client::RequestClient;
use super::handler::limits;
use super::head::view;
use super::names::RequestNames;
use crate::backend::kept::{Kept, Key};
use crate::backend::pools::PoolName;
use crate::backend::{Failure, Fault, calls};
use crate::config::ServerConfig;
use crate::directives::Scoped;
use crate::directives::calls::CallScript;
use crate::httpd::{self, Request};
use crate::request::environ::Environ;
use crate::request::environ::call::Place;
use crate::request::ssl;
use crate::request::target::Settings;

/// One question.
#[derive(Clone, Copy)]
pub struct Question<'q> {
    /// Who is asked.
    pub script: &'q CallScript,
    /// What.
    pub call: Call,
    /// The arguments behind the environ.
    pub arguments: &'q [&'q [u8]],
}

/// There is no verdict.
pub enum NoVerdict {
    /// The script cannot be loaded; the log says why.
    NotLoaded,
    /// Anything else; a phrase for the log.
    Failed(String),
}

/// Verdicts that this child keeps.
static KEPT: OnceCell<Option<Kept>> = OnceCell::new();

/// Asks the script, or remembers what it said.
pub fn ask(request: &Request<'_>, question: Question<'_>) -> Result<Verdict, NoVerdict> {
    let failed = |cause: &str| Err(NoVerdict::Failed(cause.to_owned()));
    let server = request.server();
    let Some(config) = server.config() else {
        return failed("this server has no configuration");
    };
    let options = &question.script.options;
    let application_group = options
        .application_group
        .as_ref()
        .map_or_else(String::new, |group| group.0.group(&RequestNames(request)));
    let place = Place {
        process_group: question.script.process_group(),
        application_group: &application_group,
    };
    let time = options.cache.and_then(|seconds| seconds.limit());
    let keeping = time.and_then(|time| keep(request, &question, place).map(|(kept, key)| (kept, key, time)));
    if let Some((kept, key, _)) = &keeping {
        if let Some(verdict) = kept.get(key, Instant::now()) {
            return Ok(verdict);
        }
    }
    let verdict = match answer(request, config, &question, place) {
        Ok(verdict) => verdict,
        Err(Asking::NotPossible(cause)) => return failed(&cause),
        Err(Asking::Fault(Fault::Aborted {
            reason: AbortReason::Import,
            ..
        })) => return Err(NoVerdict::NotLoaded),
        Err(Asking::Fault(fault)) => return failed(&cause_of(fault)),
    };
    if let Some((kept, key, time)) = keeping {
        kept.put(key, &verdict, Instant::now(), time);
    }
    Ok(verdict)
}

/// Where the verdict is kept, and under which key: all that it may depend on.
fn keep(request: &Request<'_>, question: &Question<'_>, place: Place<'_>) -> Option<(&'static Kept, Key)> {
    let kept = KEPT.get_or_init(Kept::new).as_ref()?;
    let server = request.server();
    let port = server.named_port().to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![
        question.script.script.as_os_str().as_encoded_bytes(),
        question.script.directive.as_bytes(),
        place.process_group.as_bytes(),
        place.application_group.as_bytes(),
        server.name(),
        &port,
    ];
    let call = [question.call as u8];
    parts.push(&call);
    parts.extend(question.arguments);
    Some((kept, kept.key(&parts)))
}

enum Asking {
    /// Nobody could be asked.
    NotPossible(String),
    /// Who was asked did not answer.
    Fault(Fault),
}

fn answer(
    request: &Request<'_>,
    config: &ServerConfig,
    question: &Question<'_>,
    place: Place<'_>,
) -> Result<Verdict, Asking> {
    let unset = Scoped::default();
    let settings = Settings {
        alias: None,
        handler_script: None,
        directory: request.scoped().unwrap_or(&unset),
        server: &config.scoped,
        loaded_as: httpd::loaded_as(),
    };
    let mut client = RequestClient::new(request, settings.answer_rules(true), false);
    if place.process_group.is_empty() {
        let embedded = &config.site.embedded;
        if question.script.is_of_htaccess && !config.site.bases.is_empty() {
            let cause = "scripts that are named in .htaccess run in httpd's children, and where there is a WSGIUserProcess no code of users does; \
                         name it in the server's configuration";
            return Err(Asking::NotPossible(cause.into()));
        }
        if embedded.is_off && !embedded.is_forced {
            let cause = "WSGIRestrictEmbedded is On and no script of the server's own configuration runs in httpd's children; name it there, \
                         with process-group=";
            return Err(Asking::NotPossible(cause.into()));
        }
        let guest = Child::python()
            .map_err(|why| Asking::NotPossible(format!("Python is not available in this child: {why}")))?;
        let mut head = Vec::with_capacity(4 * 1024);
        put_head(&mut head, request, &settings, question, place);
        let record = settings.pass_apache_request().then(|| request.address());
        return calls::ask_embedded(guest, &head, record, &mut client).map_err(Asking::Fault);
    }
    let server = request.server();
    let name = String::from_utf8_lossy(server.name());
    let group = config
        .group(place.process_group, &name, server.is_virtual())
        .map_err(|_| Asking::NotPossible("its process group is not one that this server can use".into()))?;
    client.show_scoreboard(group.server_metrics);
    let pools = Child::pools().ok_or_else(|| Asking::NotPossible("this child knows no workers".into()))?;
    let mut head = Vec::with_capacity(4 * 1024);
    put_with(&mut head, Kind::Head, |out| {
        put_head(out, request, &settings, question, place);
    });
    let pool = PoolName::of_group(place.process_group.as_bytes(), place.application_group.as_bytes());
    calls::ask_worker(
        pools,
        &pool,
        &head,
        limits(request, group, request.start()),
        &mut client,
    )
    .map_err(Asking::Fault)
}

fn put_head(
    out: &mut Vec<u8>,
    request: &Request<'_>,
    settings: &Settings<'_>,
    question: &Question<'_>,
    place: Place<'_>,
) {
    let mut view = view(request, settings);
    let is_https = request.connection().is_https();
    let environ = match question.call {
        Call::Dispatch => Environ::for_dispatch(&view, place, is_https),
        _ => {
            // A password is for who checks it, and an argument then.
            (view.pass_all_auth, view.pass_authorization) = (false, false);
            Environ::for_auth(&view, place, request.remote_host(), request.signature())
        }
    };
    // In this process mod_ssl can be asked when it matters.
    let ssl = if is_https && !place.process_group.is_empty() && question.call != Call::Dispatch {
        ssl::VARIABLES
            .iter()
            .filter_map(|name| Some((name.to_bytes(), request.ssl_variable(name)?)))
            .filter(|(_, value)| !value.is_empty())
            .collect()
    } else {
        PairList::default()
    };
    let head = Head {
        call: question.call,
        script: question.script.script.as_os_str().as_encoded_bytes(),
        application_group: place.application_group.as_bytes(),
        script_mtime: if settings.script_reloading() {
            head::MTIME_UNKNOWN
        } else {
            0
        },
        content_length: Some(0),
        https: is_https,
        request_start: request.start(),
        httpd_version: httpd::httpd_version(),
        log_level: request.log_level(),
        environ: environ.pairs(),
        arguments: question.arguments.to_vec(),
        ssl: ssl.pairs(),
        ..Head::default()
    };
    head.encode(out);
}

fn cause_of(fault: Fault) -> String {
    match fault.into_failure(false) {
        Failure::Unanswered(refusal) => match refusal.message {
            Some(message) => format!("{} ({})", message.text, message.code),
            None => "see the lines before".to_owned(),
        },
        Failure::ClientGone => "the client has gone away".to_owned(),
        Failure::Truncated(_) | Failure::AnsweredByServer => "no answer came".to_owned(),
    }
}

/// What a call is, for the log.
pub fn function_of(call: Call) -> &'static str {
    match call {
        Call::Application => "application",
        Call::Dispatch => "the dispatch functions",
        Call::AllowAccess => "allow_access()",
        Call::CheckPassword => "check_password()",
        Call::RealmHash => "get_realm_hash()",
        Call::GroupsForUser => "groups_for_user()",
    }
}
