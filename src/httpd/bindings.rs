//! The declarations that `build.rs` made from the installed headers; private to the door.
#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code
)]
#![allow(unknown_lints)] // One of the next is newer than the oldest Rust that builds this.
#![allow(unsafe_op_in_unsafe_fn, unnecessary_transmutes)]
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
