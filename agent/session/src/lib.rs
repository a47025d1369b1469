//! The agent's end of the stream with the operator: enrolment, the session, and its renewal for as long as the agent lives.
//!
//! - [`Operator`]: where the operator is, and by what it and the agent know each other; [`run`] talks to it.
//! - [`Event`]: what happens on the stream. What to do about it is the caller's.

mod identity;
mod stream;

pub use identity::{Identity, Operator};
pub use stream::{Event, run};
