//! The webhook that tells the scheduler where a new pod's data is, as a preference.
//!
//! The API server goes on without an answer (`failurePolicy: Ignore`): nothing here may fail a pod, and what is not known is not
//! said. Which nodes hold what, only the replica that leads knows, from the agents' reports; the other one forwards what is about
//! one of our volumes, and answers everything else itself.
//!
//! - `placed`: whether it matters; `prefer`: where it had better run; `patch`: the words for the API server. All pure.
//! - `review`: the answer to one pod; `leader`: the way to the other replica; [`serve`]: the TLS listener.
//! - [`bundle`]: the authority's certificate in the webhook's configuration.

pub(crate) mod bundle;
mod leader;
mod patch;
mod placed;
mod prefer;
mod review;
pub(crate) mod serve;

pub(crate) use leader::Elsewhere;
pub(crate) use review::Reviewer;
