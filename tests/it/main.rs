//! The integration suite: real httpd servers, real applications, one file per topic. See `tests/README.md`.

use std::process::ExitCode;

use rwsgi_testkit::Suite;

mod api_log_handler;
mod api_module;
mod api_request_timeout;
mod applications;
mod at_most_once;
mod codes;
mod concurrency;
mod conf_examples;
mod connections;
mod crash;
mod directives;
mod embedded;
mod environ;
mod environ_module;
mod environ_sources;
mod errors;
mod files;
mod groups;
mod guides;
mod hello;
mod http2;
mod identities;
mod input;
mod leaks;
mod logging;
mod neighbours;
mod proxies;
mod python_home;
mod python_side;
mod pythons;
mod refusals;
mod refuse_to_start;
mod reload;
mod response;
mod restart;
mod streaming;
mod timeouts;
mod truncation;
mod users;

fn main() -> ExitCode {
    let mut suite = Suite::prepare();
    suite.topic("api_log_handler", api_log_handler::tests);
    suite.topic("api_module", api_module::tests);
    suite.topic("api_request_timeout", api_request_timeout::tests);
    suite.topic("applications", applications::tests);
    suite.topic("at_most_once", at_most_once::tests);
    suite.topic("concurrency", concurrency::tests);
    suite.topic("conf_examples", conf_examples::tests);
    suite.topic("connections", connections::tests);
    suite.topic("crash", crash::tests);
    suite.topic("directives", directives::tests);
    suite.topic("embedded", embedded::tests);
    suite.topic("environ", environ::tests);
    suite.topic("environ_module", environ_module::tests);
    suite.topic("environ_sources", environ_sources::tests);
    suite.topic("errors", errors::tests);
    suite.topic("files", files::tests);
    suite.topic("groups", groups::tests);
    suite.topic("guides", guides::tests);
    suite.topic("hello", hello::tests);
    suite.topic("http2", http2::tests);
    suite.topic("identities", identities::tests);
    suite.topic("input", input::tests);
    suite.topic("leaks", leaks::tests);
    suite.topic("logging", logging::tests);
    suite.topic("neighbours", neighbours::tests);
    suite.topic("proxies", proxies::tests);
    suite.topic("python_home", python_home::tests);
    suite.topic("python_side", python_side::tests);
    suite.topic("pythons", pythons::tests);
    suite.topic("refuse_to_start", refuse_to_start::tests);
    suite.topic("refusals", refusals::tests);
    suite.topic("reload", reload::tests);
    suite.topic("response", response::tests);
    suite.topic("restart", restart::tests);
    suite.topic("streaming", streaming::tests);
    suite.topic("timeouts", timeouts::tests);
    suite.topic("truncation", truncation::tests);
    suite.topic("users", users::tests);
    suite.run()
}
