//! The integration suite: real httpd servers, real applications, one file per topic. See `tests/README.md`.

use std::process::ExitCode;

use rwsgi_testkit::Suite;

mod environ;
mod errors;
mod hello;
mod input;
mod response;

fn main() -> ExitCode {
    let mut suite = Suite::prepare();
    suite.topic("hello", hello::tests);
    suite.topic("environ", environ::tests);
    suite.topic("errors", errors::tests);
    suite.topic("input", input::tests);
    suite.topic("response", response::tests);
    suite.run()
}
