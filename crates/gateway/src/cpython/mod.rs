//! DOOR 3: CPython's C API, and the only unsafe code of this crate.
//!
//! It uses `pyo3::ffi` alone (declarations of the stable ABI of 3.9) and looks newer functions up in the running process. What it
//! exports is safe: no raw pointer and no `unsafe fn` leaves it.
//!
//! # The contract
//!
//! - **P1** An [`Attached`] exists only while this thread holds the GIL with a thread state of the interpreter in question.
//! - **P2** [`Object`] and [`Stored`] own one reference to a live object of that interpreter.
//! - **P3** A function documented to return a new reference returns one, or null with an exception set.
//! - **P4** Arguments that CPython passes to a callback live until the callback returns.
//! - **P5** An instance of a [`Class`] was made by [`Class::make`]: its payload follows the object header and is initialised.
//! - **P6** A thread state is used on the thread that made it, until its interpreter is being closed.
//! - **P7** A Python `bytes` object never changes; its buffer lives as long as the object.
//! - **P8** No panic leaves a callback: each runs under `catch_unwind`.
//!
//! What is [`Send`] cannot contain an [`Object`], a [`Stored`] or an [`Attached`]. [`Attached::detach`] and
//! [`Interpreter::enter`] take and return only `Send` values, so no reference is used or dropped without the GIL.
#![allow(unsafe_code)]

mod class;
mod error;
mod filling;
mod fork;
mod interpreter;
mod interrupt;
mod lend;
mod module;
mod object;
mod own_gil;
mod start;
mod symbols;
mod turn;
mod values;

pub use class::{Call, Class, Function, Getter, Method, Payload, free_function};
pub use error::{Exception, PyResult, Raise};
pub use filling::Room;
pub use fork::guard_forks;
pub use interpreter::{Closed, Interpreter, Waits, measure_waits, waits};
pub use lend::{Lent, Taken, lend};
pub use object::{Attached, Object, Stored};
pub use own_gil::is_possible as own_gil_is_possible;
pub use start::{Embedded, End, Gil, Others, StartUp, another, halt};
