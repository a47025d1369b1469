//! What only the cluster knows to be wrong with a Dataset: pure.

use forebay_crds::conditions::{dataset as kind, reason};
use forebay_crds::values::SourceKind;

use super::observe::Observed;
use super::unallowed_paths;
use crate::secrets::SecretState;
use crate::verdict::Verdict;

/// Something wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Everything that is wrong, the gravest first.
pub(super) fn validate(observed: &Observed) -> Vec<Finding> {
    let spec = &observed.dataset.spec;
    let mut findings = Vec::new();
    // Admission has checked these, except in objects from before a rule.
    findings.extend(
        forebay_crds::validate(spec).into_iter().map(|error| Finding { reason: reason::INVALID, message: error.to_string() }),
    );
    let wanted = &*spec.runtime;
    match &observed.runtime {
        None => findings.push(Finding {
            reason: reason::RUNTIME_NOT_FOUND,
            message: format!(
                "there is no CacheRuntime {wanted}: create it, or set spec.runtime to one that `kubectl get cacheruntimes` shows"
            ),
        }),
        Some(runtime) if runtime.metadata.deletion_timestamp.is_some() => findings.push(Finding {
            reason: reason::RUNTIME_NOT_FOUND,
            message: format!("CacheRuntime {wanted} is being deleted: set spec.runtime to another one"),
        }),
        Some(runtime) => {
            let tiers: Vec<&str> = runtime.spec.tiers.iter().map(|tier| &*tier.name).collect();
            if let Some(tier) = spec.prefetch.tier.as_ref().filter(|tier| !tiers.contains(&&***tier)) {
                let message = format!(
                    "CacheRuntime {wanted} has no tier {}: set spec.prefetch.tier to one of its tiers: {}",
                    tier.as_str(),
                    tiers.join(", ")
                );
                findings.push(Finding { reason: reason::TIER_NOT_FOUND, message });
            }
            for path in unallowed_paths(spec, &runtime.spec) {
                let message = format!(
                    "CacheRuntime {wanted} does not let Datasets mount {path} of its nodes: add it, or a directory above it, to the \
                     runtime's spec.allowedHostPaths"
                );
                findings.push(Finding { reason: reason::HOST_PATH_NOT_ALLOWED, message });
            }
        }
    }
    for mount in &spec.mounts {
        let Some(secret) = &mount.secret_ref else { continue };
        findings.extend(unusable(observed, &secret.name, mount.source.kind()));
    }
    findings.dedup();
    findings
}

fn unusable(observed: &Observed, name: &str, store: &SourceKind) -> Option<Finding> {
    let namespace = &observed.namespace;
    match observed.secrets.get(name)? {
        SecretState::Unknown => None,
        SecretState::Missing => Some(Finding {
            reason: reason::SECRET_NOT_FOUND,
            message: format!("there is no Secret {name} in namespace {namespace}: create it, or correct the mount's secretRef"),
        }),
        SecretState::Denied(why) => Some(Finding {
            reason: reason::SECRET_NOT_READABLE,
            message: format!(
                "the operator may not read Secret {name} in namespace {namespace}: give its ServiceAccount the verb get on it there ({why})"
            ),
        }),
        SecretState::Found(data) => {
            let error = match store {
                SourceKind::S3 { .. } => data.s3().err(),
                SourceKind::Http { .. } => data.http().err(),
                SourceKind::File { .. } | SourceKind::Memory { .. } => None,
            };
            error.map(|error| Finding { reason: reason::SECRET_INCOMPLETE, message: error.to_string() })
        }
    }
}

/// The condition that the findings make.
pub(super) fn accepted(findings: &[Finding], observed: &Observed) -> Verdict {
    match findings {
        [] if observed.secrets.values().any(|secret| *secret == SecretState::Unknown) => {
            Verdict::unknown(kind::ACCEPTED, reason::STARTING, "the Secrets that the mounts name are being read")
        }
        [] => Verdict::good(kind::ACCEPTED, "the spec is valid and everything that it names exists"),
        [first, rest @ ..] => {
            let all =
                std::iter::once(first).chain(rest).map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; and ");
            Verdict::bad(kind::ACCEPTED, first.reason, all)
        }
    }
}

#[cfg(test)]
mod tests;
