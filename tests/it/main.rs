//! The integration suite: real httpd servers, real applications, one file per topic. See `tests/README.md`.

use std::process::ExitCode;

use rwsgi_testkit::Suite;

mod applications;
mod directives;
mod embedded;
mod environ;
mod errors;
mod groups;
mod hello;
mod identities;
mod input;
mod logging;
mod python_home;
mod pythons;
mod refuse_to_start;
mod response;
mod streaming;
mod truncation;

fn main() -> ExitCode {
    let mut suite = Suite::prepare();
    suite.topic("applications", applications::tests);
    suite.topic("directives", directives::tests);
    suite.topic("embedded", embedded::tests);
    suite.topic("environ", environ::tests);
    suite.topic("errors", errors::tests);
    suite.topic("groups", groups::tests);
    suite.topic("hello", hello::tests);
    suite.topic("identities", identities::tests);
    suite.topic("input", input::tests);
    suite.topic("logging", logging::tests);
    suite.topic("python_home", python_home::tests);
    suite.topic("pythons", pythons::tests);
    suite.topic("refuse_to_start", refuse_to_start::tests);
    suite.topic("response", response::tests);
    suite.topic("streaming", streaming::tests);
    suite.topic("truncation", truncation::tests);
    suite.run()
}
