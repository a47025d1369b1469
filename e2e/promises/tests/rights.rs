//! What each of our programs may do in the cluster.

use anyhow::{Result, ensure};
use forebay_promises::{NAMESPACE, Site};
use serde_json::Value;

use crate::Promise;

pub(crate) const PROMISES: &[Promise] = &[
    ("rights::agents_and_csi_have_no_rule_and_can_read_no_secret", no_rules),
    ("rights::the_operator_reads_secrets_by_name_and_never_lists_them", operator_secrets),
];

fn account(name: &str) -> String {
    format!("system:serviceaccount:{NAMESPACE}:{name}")
}

/// Every role that a binding gives to the ServiceAccount.
fn bindings_of(site: &Site, name: &str) -> Result<Vec<String>> {
    let all = site.cluster.get(&["clusterrolebindings,rolebindings", "-A"])?;
    let named =
        |binding: &&Value| {
            binding["subjects"].as_array().into_iter().flatten().any(|subject| {
                subject["kind"] == "ServiceAccount" && subject["name"] == name && subject["namespace"] == NAMESPACE
            })
        };
    let items = all["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().filter(named).map(|binding| binding["metadata"]["name"].to_string()).collect())
}

fn no_rules(site: &Site) -> Result<()> {
    for name in ["forebay-agent", "forebay-csi"] {
        let bindings = bindings_of(site, name)?;
        ensure!(bindings.is_empty(), "{name} is given {bindings:?}");
        for verb in ["get", "list", "watch"] {
            let may = site.cluster.kubectl(&["auth", "can-i", verb, "secrets", "-A", "--as", &account(name)]);
            // kubectl ends with 1 when the answer is no.
            ensure!(may.is_err(), "{name} may {verb} Secrets");
        }
        // The test can fail: the administrator's answer is yes.
        ensure!(site.cluster.kubectl(&["auth", "can-i", "get", "secrets", "-A"])?.trim() == "yes");
    }
    Ok(())
}

fn operator_secrets(site: &Site) -> Result<()> {
    for verb in ["list", "watch", "create", "update", "patch", "delete"] {
        let may =
            site.cluster.kubectl(&["auth", "can-i", verb, "secrets", "-n", "default", "--as", &account("forebay-operator")]);
        ensure!(may.is_err(), "the operator may {verb} Secrets of other namespaces");
    }
    let may =
        site.cluster.kubectl(&["auth", "can-i", "get", "secrets", "-n", "default", "--as", &account("forebay-operator")])?;
    ensure!(may.trim() == "yes", "the operator may not get the Secrets that Datasets name");
    Ok(())
}
