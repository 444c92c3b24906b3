//! WSGI: PEP 3333 between an [`Exchange`](crate::exchange::Exchange) and an application.
//!
//! - [`serve`]: one request from its head to its end
//! - [`environ`], [`input`], [`errors`]: what the application is given
//! - [`adapter`]: `start_response` and `write`; [`head`] and [`output`]: what they do to the answer; [`validate`]: the rules for status and headers
//! - [`iterate`]: the returned iterable; [`mod@file`]: a regular file in it
//! - [`request`]: what all these share; [`state`]: what an interpreter keeps between requests
//! - [`restrict`] and [`settle`]: what the configuration says of an interpreter
//! - [`fault`]: what went wrong, as log lines and as a reason to abort

pub mod adapter;
pub mod environ;
pub mod errors;
pub mod fault;
pub mod file;
pub mod head;
pub mod input;
pub mod iterate;
pub mod lines;
pub mod output;
pub mod request;
pub mod restrict;
pub mod serve;
pub mod settle;
pub mod state;
pub mod validate;
