//! `WSGIDispatchScript`: a script chooses who answers.

use rwsgi_wire::call::Call;

use super::calls::{NoVerdict, Question, ask, function_of};
use crate::codes;
use crate::httpd::{Level, Request};
use crate::log::log;
use crate::request::target::{Settings, Target};
use crate::request::template::{Names, Template};

/// What the script chose in place of what the configuration says; `Err` when it failed, and the log says how.
pub fn dispatch(
    request: &Request<'_>,
    settings: &Settings<'_>,
    target: &mut Target,
    names: &impl Names,
) -> Result<(), ()> {
    let Some(script) = settings.dispatch_script() else {
        return Ok(());
    };
    let question = Question {
        script,
        call: Call::Dispatch,
        arguments: &[],
    };
    match ask(request, question) {
        Ok(verdict) => {
            let mut values = verdict.values.into_iter();
            let mut next = || {
                let value = values.next().flatten()?;
                Some(Template::new(&String::from_utf8_lossy(&value)))
            };
            if let Some(chosen) = next() {
                target.process_group = chosen.group(names);
            }
            if let Some(chosen) = next() {
                target.application_group = chosen.group(names);
            }
            if let Some(chosen) = next() {
                target.callable = chosen.callable(names);
            }
            Ok(())
        }
        Err(NoVerdict::NotLoaded) => {
            log!(
                request,
                Level::Error,
                codes::DISPATCH_NOT_LOADED,
                "the dispatch script '{}' cannot be loaded, see the lines before; the configuration alone decides",
                script.script.display()
            );
            Ok(())
        }
        Err(NoVerdict::Failed(cause)) => {
            log!(
                request,
                Level::Error,
                codes::DISPATCH_FAILED,
                "{} of '{}' chose nobody to answer: {cause}",
                function_of(Call::Dispatch),
                script.script.display()
            );
            Err(())
        }
    }
}
