//! The Python half of rwsgi: WSGI for applications, whoever carries their requests. Built as `_rwsgi`, one file for every CPython
//! from 3.9.
//!
//! **The rule above all: a Python object belongs to an interpreter, never to the process.** Types and caches hang on the
//! [`cpython::Interpreter`] they were made in; no static holds an object.
//!
//! Two entrances:
//! - a **worker** is the site's own `python`, which imports `_rwsgi` and calls `serve(listener, control)`: [`worker`];
//! - **embedded**, the library is opened in an httpd child and called through the C table of `rwsgi-embedding`: [`embedded`].
//!
//! The life of a request: a thread receives a head ([`exchange`]), attaches to the interpreter once, loads the script
//! ([`script`]), builds the environ, calls the application and takes its blocks ([`wsgi`]), detaches, ends the exchange. The GIL
//! is given up in between only where something blocks.
//!
//! - [`api`]: the modules `mod_wsgi`, `rwsgi` and `apache` that applications may import
//! - [`calls`]: what httpd asks scripts before it answers a request
//! - [`cpython`]: door 3, the only unsafe code here
//! - [`metrics`]: what requests have cost
//! - [`threads`]: the threads that serve requests, and what they have done
//! - [`environment`]: `os.environ` in httpd's children
//! - [`codes`]: the messages of this half
#![deny(unsafe_code)]

pub mod api;
pub mod calls;
pub mod codes;
pub mod cpython;
pub mod embedded;
pub mod environment;
pub mod exchange;
pub mod metrics;
mod own_log;
pub mod script;
pub mod threads;
pub mod worker;
pub mod wsgi;
