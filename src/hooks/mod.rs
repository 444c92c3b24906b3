//! What httpd asks of us and when; each hook a thin shell.
//!
//! | hook | order | why |
//! |---|---|---|
//! | pre_config | – | what must not be loaded beside us is refused before any directive is read |
//! | check_config | – | resolves everything; `httpd -t` runs it too, so it tells the truth |
//! | post_config | – | starts the manager; needs the open error logs |
//! | child_init | first | gives up the manager's control socket before anybody else's code runs |
//! | translate_name | after mod_alias, before mod_userdir and mod_vhost_alias | `Alias` beats us: static files are carved out of an application |
//! | map_to_storage | before httpd's own | applications of users ([`users`]): when everybody has mapped, before the directories are walked |
//! | type_checker | first | what is mapped there has no type to be guessed |
//! | fixups | after `SetHandler` counts | what is mapped to nothing is not found |
//! | access_checker | after mod_ssl, before mod_authz_host | access scripts; users and groups are asked through providers ([`auth`]) |
//! | handler | – | |
//!
//! Beside these there is a filter on what httpd reads of a connection (`httpd/next_request.rs`): where it looks for another request and finds none.

mod admission;
mod arrival;
pub mod auth;
mod calls;
mod child_init;
mod client;
mod configure;
mod dispatch;
mod handler;
mod head;
mod names;
mod owner;
mod translate;
mod upload;
mod user_application;
mod users;

pub use child_init::child_init;
pub use configure::{check_config, post_config, pre_config};
pub use handler::handler;
pub use translate::translate_name;
pub use users::{fixups, map_to_storage, type_checker};

/// `r->handler` of what an alias maps.
pub const SCRIPT_HANDLER: &core::ffi::CStr = c"wsgi-script";
/// The MIME type that selects us too.
pub const SCRIPT_TYPE: &[u8] = b"application/x-httpd-wsgi";
/// The note that tells which of the server's aliases mapped a request: its index, in digits.
pub const ALIAS_NOTE: &core::ffi::CStr = c"mod_wsgi.alias";
