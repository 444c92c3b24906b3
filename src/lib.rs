//! Runs Python WSGI applications from Apache httpd.
