//! A request as data. Pure: nothing here knows httpd, and nothing logs.
//!
//! - [`View`], what the rest may know of a request
//! - [`target`], which file; which process group, application group and callable
//! - [`below`], what of a path is a user's application
//! - [`template`], `%{…}`
//! - [`environ`], CGI and `mod_wsgi.*` variables
//! - [`instead`], when httpd answers in the application's place
//! - [`filtered`], what input filters make of a body
//! - [`headers`], which headers of a request become variables
//! - [`proxies`], what headers of proxies change
//! - [`response`], what of an application's answer goes to the client

pub mod below;
pub mod environ;
pub mod filtered;
pub mod headers;
pub mod instead;
pub mod proxies;
pub mod relaying;
pub mod response;
pub mod ssl;
pub mod target;
pub mod template;

/// A request, copied or borrowed from httpd's. All strings are bytes as httpd has them.
#[derive(Clone, Debug, Default)]
pub struct View<'r> {
    /// `GET`, …
    pub method: &'r [u8],
    /// `WSGIMapHEADToGET` makes this HEAD look like GET.
    pub head_as_get: bool,
    /// `HTTP/1.1`, …
    pub protocol: &'r [u8],
    /// `http` or `https` as httpd sees it.
    pub scheme: &'r [u8],
    /// The request line.
    pub request_line: &'r [u8],
    /// Set when `CGIVar REQUEST_URI current-uri` asks for the current one.
    pub current_uri: Option<&'r [u8]>,
    /// Decoded path.
    pub uri: &'r [u8],
    /// The part of it behind the mapped file.
    pub path_info: &'r [u8],
    /// Query string.
    pub query: &'r [u8],
    /// The mapped file.
    pub filename: &'r [u8],
    /// `r->handler`.
    pub handler: &'r [u8],
    /// The handler script in force, or empty.
    pub handler_script: &'r [u8],
    /// Name and port as httpd tells applications.
    pub server_name: &'r [u8],
    /// As above.
    pub server_port: u16,
    /// `ServerAdmin`.
    pub server_admin: Option<&'r [u8]>,
    /// `SERVER_SOFTWARE`.
    pub software: &'r [u8],
    /// Local address of the connection.
    pub local_ip: &'r [u8],
    /// Local host name, often empty.
    pub local_host: &'r [u8],
    /// Local port of the connection.
    pub local_port: u16,
    /// Address of the user agent.
    pub client_ip: &'r [u8],
    /// Its port.
    pub client_port: u16,
    /// `DocumentRoot`.
    pub document_root: &'r [u8],
    /// URL prefix of the alias in force.
    pub context_prefix: &'r [u8],
    /// Directory of the alias in force.
    pub context_document_root: &'r [u8],
    /// Authenticated user.
    pub user: Option<&'r [u8]>,
    /// How.
    pub auth_type: Option<&'r [u8]>,
    /// The request that was redirected to this one.
    pub redirected: Option<Redirected<'r>>,
    /// TLS, as mod_ssl says.
    pub is_https: bool,
    /// `CGIPassAuth On`.
    pub pass_all_auth: bool,
    /// `WSGIPassAuthorization` lets this request's through.
    pub pass_authorization: bool,
    /// What trusted proxies have told.
    pub told: proxies::Told<'r>,
    /// Log id of the request.
    pub request_id: &'r [u8],
    /// Log id of the connection, if it has one.
    pub connection_id: Option<&'r [u8]>,
    /// Process id of this httpd child.
    pub server_pid: u32,
    /// What input filters will make of the body.
    pub filtered: filtered::Filtered<'r>,
    /// Request headers.
    pub headers: Vec<(&'r [u8], &'r [u8])>,
    /// httpd's environment of the request.
    pub environment: Vec<(&'r [u8], &'r [u8])>,
}

/// What is kept of a request that was internally redirected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Redirected<'r> {
    /// Its user, or that of an earlier one; only passed on when the request itself has none.
    pub user: Option<&'r [u8]>,
    /// Its path.
    pub uri: &'r [u8],
    /// Its query string.
    pub query: Option<&'r [u8]>,
}
