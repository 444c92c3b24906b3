//! `WSGISocketRotation`: checked, and without effect.

use super::{misplaced, refuses, replaced};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        socket_rotation_is_on_or_off,
        socket_rotation_is_for_the_whole_server,
        socket_rotation_is_taken
    ]);
}

fn socket_rotation_is_on_or_off(case: &Case) {
    refuses(case, &[("WSGISocketRotation never", &["'never'", "Off | On"])]);
}

fn socket_rotation_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGISocketRotation Off\n</VirtualHost>"],
    );
}

fn socket_rotation_is_taken(case: &Case) {
    replaced(case, "WSGISocketRotation Off");
}
