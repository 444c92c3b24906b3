//! `WSGIVerboseDebugging`: checked, and without effect.

use super::{misplaced, refuses, replaced};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        verbose_debugging_is_on_or_off,
        verbose_debugging_is_for_the_whole_server,
        verbose_debugging_is_taken
    ]);
}

fn verbose_debugging_is_on_or_off(case: &Case) {
    refuses(case, &[("WSGIVerboseDebugging x", &["'x'", "Off | On"])]);
}

fn verbose_debugging_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIVerboseDebugging On\n</VirtualHost>"],
    );
}

fn verbose_debugging_is_taken(case: &Case) {
    replaced(case, "WSGIVerboseDebugging On");
}
