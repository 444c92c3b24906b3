//! Runs Python WSGI applications from Apache httpd: the Apache half of rwsgi.
//!
//! ```text
//!  client ──> httpd child                                   worker (exec'd python, application's user)
//!             ┌───────────────────────────┐                 ┌───────────────────────────┐
//!             │ Apache half  mod_rwsgi.so │   frames        │ Python half  _rwsgi       │
//!             │ hooks → request → backend ├────────────────>│ exchange → wsgi → app     │
//!             │             └─ embedded ──┼─┐ C table       └───────────▲───────────────┘
//!             └───────────────────────────┘ │ (same events)             │ exec
//!                                           ▼                           │
//!                           Python half opened in the child      rwsgi-manager (root)
//! ```
//!
//! # The way of a request
//!
//! 1. httpd reads the configuration: [`directives`] keep what is written, [`config`] says what it means.
//! 2. [`hooks::post_config`] starts the manager through [`manager_link`], or tells it what changed.
//! 3. [`hooks::translate_name`] maps the URL to a script by the aliases ([`request::target`]).
//! 4. [`hooks::handler`] checks what can be checked without the application.
//! 5. It computes process group, application group and callable ([`request::template`]) and the environ ([`request::environ`]).
//! 6. [`backend::daemon`] sends the head to a worker, or [`backend::embedded`] hands it to Python in this child.
//! 7. [`backend::relay`] checks the answer ([`request::response`]) and passes it to httpd's filters.
//! 8. What fails becomes a status and one coded log line in [`backend`], at one place.
//!
//! # Doors
//!
//! Unsafe code is in [`httpd`] only; its contract is at the top of that module. Everywhere else the compiler refuses it.
//!
//! # Where to start
//!
//! To add a directive: a line in a file of [`directives`]. An environ variable: [`request::environ`]. A status rule:
//! [`request::response`]. A reason for 503: [`backend`].
//!
//! # What is not here
//!
//! Python (`crates/gateway`), privileges (`crates/manager`), system calls (`crates/os`), bytes on the wire (`crates/wire`).
#![deny(unsafe_code)]

mod audit;
pub mod backend;
pub mod codes;
pub mod config;
pub mod directives;
pub mod hooks;
pub mod httpd;
mod log;
pub mod manager_link;
pub mod request;
