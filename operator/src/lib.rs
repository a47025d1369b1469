//! The operator of Forebay: the only part that talks to the Kubernetes API.

pub mod cli;
