use super::{Rule, Ruled, Transition};
use crate::scale::CacheRuntimeScaleSpec;

impl Ruled for CacheRuntimeScaleSpec {
    const RULES: &'static [Rule<Self>] = &[];

    const TRANSITIONS: &'static [Transition<Self>] = &[Transition {
        field: "runtime",
        cel: "self.runtime == oldSelf.runtime",
        problem: "the runtime of a CacheRuntimeScale does not change",
        remedy: "make another one for the other CacheRuntime, and delete this one",
        holds: |old, new| old.runtime == new.runtime,
    }];
}
