//! Runs Python WSGI applications from Apache httpd.

pub mod backend;
