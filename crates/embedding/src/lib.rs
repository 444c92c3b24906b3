//! DOOR 4: the exchange as a C table, for Python inside httpd's children (embedded mode).
//!
//! The **host** is the Apache half in an httpd child, the **guest** is `_rwsgi` opened there. Neither links the other: the guest
//! exports one function that returns a [`table::GuestTable`], the host hands it a [`table::HostTable`]. Both begin with the table's
//! version and size, and both sides check them, so that files of different builds refuse each other in words.
//!
//! | who calls | function | pointers live |
//! |---|---|---|
//! | host | `open(host table, settings)` once per process | host table: for the life of the process; settings: during the call |
//! | host | `serve(exchange, head)` once per request, on any thread | both: during the call |
//! | host | `close(seconds)` once | – |
//! | guest | `read`, `response`, `data`, `log` with the exchange it was given, on the thread of `serve` | buffers: during the call |
//! | guest | `offer` with such an exchange, on any thread, while no other function of that exchange runs | buffer: during the call |
//! | guest | `process_log` from any thread between `open` and the end of `close` | text: during the call |
//!
//! Nothing unwinds across: every function catches panics on its own side ([`table::FAILED`]).
//!
//! - [`host`]: [`host::Guest`], what the Apache half sees; [`host::Host`], what it provides per request
//! - [`guest`]: [`guest::GuestSide`], what the Python half provides; [`guest::HostExchange`], what it sees per request
//! - [`settings`]: how the interpreter is to be started
//! - [`load`]: opening libpython and the guest
//!
//! A field is added at the end of a table; a change of meaning raises [`table::ABI`].

pub mod guest;
pub mod host;
pub mod load;
pub mod settings;
pub mod table;
