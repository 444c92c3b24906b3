//! Who may come in: what the scripts say, and what that means for httpd. Whatever fails is a refusal.

use rwsgi_wire::call::{Call, Said, Verdict};

use super::calls::{NoVerdict, Question, ask, function_of};
use crate::codes;
use crate::directives::Scoped;
use crate::directives::Words;
use crate::directives::calls::CallScript;
use crate::httpd::{Level, Request};
use crate::log::log;

/// What the access hook tells httpd.
pub enum Access {
    /// The script allows it.
    Allowed,
    /// It has no opinion, or there is none.
    NoOpinion,
    /// It does not.
    Forbidden,
}

/// What the password of Basic authentication is worth.
pub enum Password {
    /// Right.
    Right,
    /// Wrong.
    Wrong,
    /// The script does not know the user: httpd asks the next provider.
    UnknownUser,
    /// It cannot be told.
    Failed,
}

/// What Digest authentication compares with.
pub enum Hash {
    /// The hash of user, realm and password.
    Known(Vec<u8>),
    /// The script does not know the user: httpd asks the next provider.
    UnknownUser,
    /// It cannot be told.
    Failed,
}

/// Whether a user is in one of the required groups.
pub enum Group {
    /// In one of them.
    Yes,
    /// In none, or it cannot be told.
    No,
    /// Nobody has been asked who they are yet.
    NoUser,
}

/// The hook in front of authentication.
pub fn access(request: &Request<'_>) -> Access {
    let Some(script) = request.scoped().and_then(|scoped| scoped.access_script.get()) else {
        return Access::NoOpinion;
    };
    let host = request.remote_host().unwrap_or_else(|| request.client().0);
    let verdict = put(request, script, Call::AllowAccess, &[host], "403");
    match verdict.map(|verdict| verdict.said) {
        Some(Said::Yes) => return Access::Allowed,
        Some(Said::Nothing) => return Access::NoOpinion,
        Some(Said::No | Said::Values) if !request.may_be_satisfied_otherwise() => log!(
            request,
            Level::Error,
            codes::ACCESS_DENIED,
            "allow_access() of '{}' does not let the client in: {}",
            script.script.display(),
            String::from_utf8_lossy(request.filename())
        ),
        _ => {}
    }
    Access::Forbidden
}

/// For `AuthBasicProvider wsgi`.
pub fn check_password(request: &Request<'_>, user: &[u8], password: &[u8]) -> Password {
    let Some(script) = user_script(request) else {
        return Password::Failed;
    };
    let verdict = put(request, script, Call::CheckPassword, &[user, password], "500");
    match verdict {
        Some(Verdict { said: Said::Yes, .. }) => Password::Right,
        Some(Verdict { said: Said::No, .. }) => Password::Wrong,
        Some(Verdict {
            said: Said::Nothing, ..
        }) => Password::UnknownUser,
        Some(Verdict {
            said: Said::Values,
            values,
        }) => match values.into_iter().next().flatten() {
            Some(name) if !name.is_empty() => {
                request.set_user(&name);
                Password::Right
            }
            _ => Password::Failed,
        },
        None => Password::Failed,
    }
}

/// For `AuthDigestProvider wsgi`.
pub fn realm_hash(request: &Request<'_>, user: &[u8], realm: &[u8]) -> Hash {
    let Some(script) = user_script(request) else {
        return Hash::Failed;
    };
    let verdict = put(request, script, Call::RealmHash, &[user, realm], "500");
    match verdict {
        Some(Verdict {
            said: Said::Nothing, ..
        }) => Hash::UnknownUser,
        Some(Verdict {
            said: Said::Values,
            values,
        }) => match values.into_iter().next().flatten() {
            Some(hash) if !hash.is_empty() => Hash::Known(hash),
            _ => Hash::Failed,
        },
        _ => Hash::Failed,
    }
}

fn user_script<'s>(request: &'s Request<'_>) -> Option<&'s CallScript> {
    let script = script(request, |scoped| scoped.auth_user_script.get());
    if script.is_none() {
        log!(
            request,
            Level::Error,
            codes::NO_USER_SCRIPT,
            "the provider 'wsgi' is to check a user, but no WSGIAuthUserScript is set here; set it, or choose another provider"
        );
    }
    script
}

fn script<'s>(
    request: &'s Request<'_>,
    pick: impl Fn(&'s Scoped) -> Option<&'s CallScript>,
) -> Option<&'s CallScript> {
    request.scoped().and_then(pick)
}

/// For `Require wsgi-group`: `wanted` is the rest of that line.
pub fn in_group(request: &Request<'_>, wanted: &[u8]) -> Group {
    let Some(user) = request.user() else {
        return Group::NoUser;
    };
    let Some(script) = script(request, |scoped| scoped.auth_group_script.get()) else {
        log!(
            request,
            Level::Error,
            codes::NO_GROUP_SCRIPT,
            "Require wsgi-group is to be checked, but no WSGIAuthGroupScript is set here; set it, or remove the requirement"
        );
        return Group::No;
    };
    let Some(verdict) = put(request, script, Call::GroupsForUser, &[user], "no group") else {
        return Group::No;
    };
    let wanted = String::from_utf8_lossy(wanted);
    let mut words = Words::new(&wanted);
    let is_in = |name: &str| {
        let mut groups = verdict.values.iter().flatten();
        groups.any(|group| group.eq_ignore_ascii_case(name.as_bytes()))
    };
    while let Some(name) = words.next() {
        if is_in(&name) {
            return Group::Yes;
        }
    }
    log!(
        request,
        Level::Error,
        codes::NOT_IN_GROUP,
        "user '{}' is in none of the groups {wanted}, says groups_for_user() of '{}'",
        user.escape_ascii(),
        script.script.display()
    );
    Group::No
}

/// Asks; what fails is logged with what follows from it.
fn put(
    request: &Request<'_>,
    script: &CallScript,
    call: Call,
    arguments: &[&[u8]],
    outcome: &str,
) -> Option<Verdict> {
    let question = Question {
        script,
        call,
        arguments,
    };
    let cause = match ask(request, question) {
        Ok(verdict) => return Some(verdict),
        Err(NoVerdict::NotLoaded) => "it cannot be loaded, see the lines before".to_owned(),
        Err(NoVerdict::Failed(cause)) => cause,
    };
    log!(
        request,
        Level::Error,
        codes::NO_VERDICT,
        "{} of '{}' gave no verdict, so this counts as refused ({outcome}): {cause}",
        function_of(call),
        script.script.display()
    );
    None
}
