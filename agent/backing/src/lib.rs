//! What csi and the agents of a node share about files that the kernel reads by itself.
//!
//! [`register`] and [`close`] tell the kernel of such files; only who may mount may do that. [`Table`] says, across processes and their
//! deaths, which inodes of a mount are open in which way.

mod ioctl;
mod seats;
mod table;

pub use ioctl::{close, register};
pub use table::{Begun, Claim, Heard, TABLE_BYTES, Table};
