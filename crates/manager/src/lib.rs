//! The small root program of rwsgi: it starts workers as their users and supervises them. No Python, no httpd, no thread.
//!
//! **Who may talk to it.** httpd's parent, over descriptor 3: each message must carry that process's id and user. httpd's children,
//! over `manager.sock`: their user is checked; they may ask where a pool is and what a worker died of, nothing else. Its own workers,
//! each over its own descriptor: they are believed about themselves only. Root, over `ctl.sock`, with `rwsgictl`. Anything malformed closes that
//! connection alone.
//!
//! **What it believes.** User and group ids come from httpd's parent, or for applications below a base from the account that the pattern names, whose
//! files they must be. What it never does: read a file that a lesser user can
//! write, run a program as root (besides itself), fall back to another user.
//!
//! - [`keeper`]: the program's first form, which starts the manager and starts it again; [`kept`]: what the two say to each other
//! - [`supervise`]: the event loop; `commit`, `asking`, `pools`, `services`, `workers`, `launch`, `burial`, `turned_away`: what happens to
//!   each part
//! - `adoption`: how a manager goes on where the one before it ended; `keeping`, `records`: what it leaves to the next
//! - `demand`: how many workers a pool has; `starts`: whose turn it is to start one; `lateness`: what those are told who have waited too long
//! - `applications`, `lookups`: applications below bases, and who their users are ([`account`]; [`lookup`]: the same program started anew per name);
//!   [`place`], [`interpreters`]: what is looked at as the user before one runs
//! - `templates`: workers that fork others
//! - `tree`, `groups`, `quotas`, `shares`: control groups, where there are some, the limits on them, and processor time between users
//! - [`enter`]: the same program started anew per worker; [`journey`]: its steps from root to the user's Python; [`python`]: which Python
//! - [`back_off`], [`deaths`], [`log`], [`lines`]: delays, causes of death, log lines
//! - [`audit`]: the same and more, for machines; `notes`: what users' own logs get of it
//! - `administration`, `overview`, `incidents`, `orders`: what administrators ask, what is, what went wrong, what they have done
//! - [`codes`]: every message at warning or above
//!
//! # The journey
//!
//! Limits and umask, session, groups, gid, uid, capabilities, verified for ever, no new privileges, bound to the manager's life, the application below a base (looked at as the user), the Python (looked for as
//! the user), environment from nothing, working directory, descriptors, exec. A step that fails is told to the manager over a pipe that exec
//! closes, and becomes what waiting requests are answered with.
#![forbid(unsafe_code)]

pub mod account;
mod administration;
mod adoption;
mod applications;
mod asking;
pub mod audit;
pub mod back_off;
mod burial;
pub mod codes;
mod commit;
pub mod deaths;
mod demand;
pub mod enter;
pub mod entry;
mod groups;
mod heard;
mod incidents;
pub mod interpreters;
pub mod journey;
pub mod keeper;
mod keeping;
pub mod kept;
mod lateness;
mod launch;
pub mod lines;
mod loads;
pub mod log;
pub mod lookup;
mod lookups;
mod memory;
mod notes;
mod orders;
mod overview;
pub mod place;
mod pools;
pub mod python;
mod quotas;
mod records;
mod renewals;
pub mod report;
mod runtime_dir;
pub mod scribe;
mod services;
mod shares;
mod starts;
pub mod supervise;
mod templates;
mod timers;
mod tree;
mod turned_away;
mod undying;
mod workers;
