//! What `helm lint` and `helm template` make of the chart, for values that are good and values that are nonsense.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod rendered;
mod rights;

use std::path::PathBuf;
use std::process::{Command, Output};

use forebay_e2e::part;
use serde_json::Value;

use self::rendered::Rendered;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn helm(args: &[&str], values: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("values.yaml");
    std::fs::write(&file, values).unwrap();
    let mut helm = Command::new(part("helm").unwrap());
    helm.args(args).arg("--values").arg(&file).args(["--kube-version", "1.37.2"]);
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        helm.env(name, dir.path());
    }
    helm.output().unwrap()
}

fn render(values: &str) -> Result<Rendered, String> {
    let chart = root().join("charts/forebay");
    let output = helm(&["template", "forebay", chart.to_str().unwrap(), "--namespace", "forebay-system"], values);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(Rendered::parse(&String::from_utf8(output.stdout).unwrap()))
}

#[test]
fn lint_finds_nothing() {
    let chart = root().join("charts/forebay");
    let output = helm(&["lint", "--strict", chart.to_str().unwrap()], "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("WARNING") && !text.contains("ERROR"), "{text}");
}

#[test]
fn nonsense_is_refused_with_the_place_named() {
    let table = [
        ("operater: {replicas: 2}", "operater"),
        ("operator: {replica: 2}", "replica"),
        ("operator: {replicas: 0}", "replicas"),
        ("operator: {replicas: two}", "replicas"),
        ("operator: {leaseDurationSeconds: 5}", "leaseDurationSeconds"),
        ("operator: {secrets: {namespaces: [Team_A]}}", "namespaces"),
        ("operator: {resources: {requests: {cpu: lots}}}", "cpu"),
        ("operator: {tolerations: [{operator: Sometimes}]}", "operator"),
        ("image: {pullPolicy: always}", "pullPolicy"),
        ("image: {registry: 'https://registry.example'}", "registry"),
        ("image: {tag: 'a b'}", "tag"),
        ("agent: {memory: 512MiB}", "memory"),
        ("agent: {priorityClass: {value: 2000000000}}", "value"),
        ("csi: {kubeletDir: var/lib/kubelet}", "kubeletDir"),
        ("csi: {kubeletDir: /var/lib/kubelet/}", "kubeletDir"),
        ("csi: {controller: {provisioner: {tag: ''}}}", "tag"),
        ("cacheRuntime: {create: true}", "tiers"),
        ("crds: {keep: 'yes please'}", "keep"),
        ("monitoring: {serviceMonitor: {interval: often}}", "interval"),
        ("networkPolicy: true", "networkPolicy"),
        ("webhook: {timeoutSeconds: 30}", "timeoutSeconds"),
    ];
    for (values, place) in table {
        match render(values) {
            Ok(_) => panic!("{values} was accepted"),
            Err(said) => {
                assert!(said.contains("values don't meet the specifications") && said.contains(place), "{values}: {said}")
            }
        }
    }
}

#[test]
fn what_values_ask_for_is_there_and_no_more() {
    let table = [
        ("{}", &[][..]),
        ("operator: {replicas: 1}", &["-PodDisruptionBudget/forebay-operator"]),
        ("csi: {controller: {enabled: false}}", &["-Deployment/forebay-csi-controller", "-ClusterRole/forebay-csi-controller"]),
        ("agent: {priorityClass: {create: false}}", &["-PriorityClass/forebay-agent"]),
        ("agent: {priorityClass: {name: ''}}", &["-PriorityClass/forebay-agent"]),
        ("crds: {install: false}", &["-CustomResourceDefinition/datasets.forebay.io"]),
        (
            "cacheRuntime: {create: true, spec: {tiers: [{name: ssd, medium: Disk, path: /cache, capacity: 1Gi}]}}",
            &["+CacheRuntime/default"],
        ),
        (
            "networkPolicy: {enabled: true}",
            &["+NetworkPolicy/forebay-operator", "+NetworkPolicy/forebay-csi", "+NetworkPolicy/forebay-agent"],
        ),
        ("monitoring: {serviceMonitor: {enabled: true}}", &["+ServiceMonitor/forebay-operator", "+PodMonitor/forebay-agent"]),
        ("monitoring: {dashboard: {enabled: true}}", &["+ConfigMap/forebay-dashboard"]),
        ("operator: {secrets: {namespaces: [ml]}}", &["+Role/forebay-operator-secrets"]),
        ("webhook: {enabled: false}", &["-MutatingWebhookConfiguration/forebay-placement"]),
        ("global: {anything: goes}", &[]),
    ];
    let plain = render("{}").unwrap().names();
    for (values, changes) in table {
        let names = render(values).unwrap_or_else(|said| panic!("{values}: {said}")).names();
        for change in changes {
            let (sign, name) = change.split_at(1);
            assert_eq!(names.contains(name), sign == "+", "{values}: {name}");
            assert_ne!(plain.contains(name), sign == "+", "{name} without values");
        }
    }
}

#[test]
fn the_definitions_are_those_of_the_types_and_stay_when_the_release_goes() {
    for (file, name) in [
        ("dataset", "datasets.forebay.io"),
        ("cacheruntime", "cacheruntimes.forebay.io"),
        ("cacheruntimescale", "cacheruntimescales.forebay.io"),
    ] {
        let text = std::fs::read_to_string(root().join(format!("crds/{file}.yaml"))).unwrap();
        let generated: Value = serde_yaml::from_str(&text).unwrap();
        let kept = render("{}").unwrap().object("CustomResourceDefinition", name);
        assert_eq!(kept["spec"], generated["spec"]);
        assert_eq!(kept["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        let given_up = render("crds: {keep: false}").unwrap().object("CustomResourceDefinition", name);
        assert_eq!(given_up, generated);
    }
}

#[test]
fn only_the_node_driver_is_privileged_and_every_container_says_what_it_needs() {
    let rendered = render("{}").unwrap();
    let mut privileged = Vec::new();
    for (name, container) in rendered.containers() {
        assert!(container["resources"]["requests"]["cpu"].is_string(), "{name}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
        assert!(container["livenessProbe"].is_object(), "{name}");
        let context = &container["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
        if context["privileged"] == true {
            privileged.push(name);
        } else {
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["capabilities"]["drop"][0], "ALL", "{name}");
        }
    }
    assert_eq!(privileged, ["DaemonSet/forebay-csi/node"]);
}

#[test]
fn agents_and_node_driver_have_no_right_and_nobody_has_them_all() {
    let rendered = render("{}").unwrap();
    for account in rendered.accounts_with_rules() {
        assert!(!["forebay-agent", "forebay-csi"].contains(&account.as_str()), "a role is bound to {account}");
    }
    for account in ["forebay-agent", "forebay-csi"] {
        assert_eq!(rendered.object("ServiceAccount", account)["automountServiceAccountToken"], false);
    }
    let rules = rendered.rules();
    assert!(rules.len() > 10);
    for (role, rule) in rules {
        for field in ["apiGroups", "resources", "verbs"] {
            assert!(rule[field].as_array().unwrap().iter().all(|word| word != "*"), "{role}: {rule}");
        }
        let secrets = rule["resources"].as_array().unwrap().iter().any(|resource| resource == "secrets");
        let verbs: Vec<_> = rule["verbs"].as_array().unwrap().iter().map(|verb| verb.as_str().unwrap()).collect();
        assert!(!secrets || !verbs.contains(&"list") && !verbs.contains(&"watch"), "{role} reads Secrets by the dozen: {rule}");
    }
    // Told the namespaces, the operator has no right on Secrets elsewhere.
    let limited = render("operator: {secrets: {namespaces: [ml]}}").unwrap();
    for (role, rule) in limited.rules().iter().filter(|(role, _)| role.starts_with("ClusterRole/")) {
        assert!(!rule["resources"].to_string().contains("secrets"), "{role}: {rule}");
    }
}

#[test]
fn what_a_node_needs_to_become_warm_runs_on_it_before_it_is() {
    let warming = serde_json::json!({"key": "forebay.io/warming", "operator": "Exists"});
    // Also where an administrator's own tolerations take the place of the default.
    for values in ["{}", "{operator: {tolerations: []}, csi: {node: {tolerations: []}}}"] {
        let rendered = render(values).unwrap();
        for (kind, name) in [("Deployment", "forebay-operator"), ("DaemonSet", "forebay-csi")] {
            let tolerations = &rendered.object(kind, name)["spec"]["template"]["spec"]["tolerations"];
            assert!(tolerations.as_array().unwrap().contains(&warming), "{values}: {name} has {tolerations}");
        }
    }
}

#[test]
fn no_pod_waits_for_the_webhook_and_only_pods_with_volumes_are_asked_about() {
    let configuration = render("{}").unwrap().object("MutatingWebhookConfiguration", "forebay-placement");
    let webhook = &configuration["webhooks"][0];
    assert_eq!((&webhook["failurePolicy"], &webhook["sideEffects"]), (&"Ignore".into(), &"None".into()));
    assert!(webhook["timeoutSeconds"].as_u64().unwrap() <= 2);
    assert!(webhook["matchConditions"][0]["expression"].as_str().unwrap().contains("csi.forebay.io"));
    let excluded = &webhook["namespaceSelector"]["matchExpressions"][0];
    assert_eq!(excluded["values"], serde_json::json!(["kube-system", "forebay-system"]));
    // Switched off, nothing is served for it and no right is left.
    let off = render("webhook: {enabled: false}").unwrap();
    let operator = off.object("Deployment", "forebay-operator").to_string();
    assert!(!operator.contains("webhook"), "{operator}");
    assert!(!off.rules().iter().any(|(_, rule)| rule.to_string().contains("webhook")));
}

/// What cluster-autoscaler looks at before it takes a node away: pods of a DaemonSet do not count, and those that do must be
/// evictable. Ours are never annotated otherwise, none has data of a node, and no budget covers an agent.
#[test]
fn nothing_of_the_release_keeps_a_node_from_being_removed() {
    let rendered = render("{}").unwrap();
    for name in rendered.names() {
        let (kind, name) = name.split_once('/').unwrap();
        let object = rendered.object(kind, name);
        assert!(!object.to_string().contains("safe-to-evict"), "{kind}/{name}");
        match kind {
            "PodDisruptionBudget" => {
                assert_eq!(object["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"], "forebay-operator");
                assert_eq!((&object["spec"]["maxUnavailable"], &object["spec"]["minAvailable"]), (&1.into(), &Value::Null));
            }
            "Deployment" => {
                // A Deployment's pod with a hostPath or an emptyDir on disk is what --skip-nodes-with-local-storage stops at.
                for volume in object["spec"]["template"]["spec"]["volumes"].as_array().into_iter().flatten() {
                    let on_disk = volume["emptyDir"].is_object() && volume["emptyDir"]["medium"] != "Memory";
                    assert!(volume["hostPath"].is_null() && !on_disk, "{name}: {volume}");
                }
            }
            "CSIDriver" => {
                // Capacity by node would make a new node, which has published none, look full.
                assert_ne!(object["spec"]["storageCapacity"], true);
            }
            _ => {}
        }
    }
}

#[test]
fn every_value_that_the_schema_knows_stands_in_the_values_with_its_default() {
    fn compare(at: &str, schema: &Value, values: &Value) {
        let Some(properties) = schema["properties"].as_object() else { return };
        for (key, inner) in properties.iter().filter(|(key, _)| *key != "global") {
            let at = format!("{at}.{key}");
            assert!(!values[key].is_null(), "values.yaml does not show {at}");
            compare(&at, inner, &values[key]);
        }
    }
    let chart = root().join("charts/forebay");
    let schema = serde_json::from_str(&std::fs::read_to_string(chart.join("values.schema.json")).unwrap()).unwrap();
    let values = serde_yaml::from_str(&std::fs::read_to_string(chart.join("values.yaml")).unwrap()).unwrap();
    compare("", &schema, &values);
}

#[test]
fn the_provisioner_is_the_one_that_tests_build() {
    let pinned = std::fs::read_to_string(root().join("e2e/parts/csi-provisioner/go.mod")).unwrap();
    let line = pinned.lines().find_map(|line| line.trim().strip_prefix("github.com/kubernetes-csi/external-provisioner/v6 "));
    let version = line.unwrap().split(' ').next().unwrap();
    let controller = render("{}").unwrap().object("Deployment", "forebay-csi-controller");
    let image = &controller["spec"]["template"]["spec"]["containers"][1]["image"];
    assert_eq!(image, &format!("localhost/csi-provisioner:{version}"));
}

#[test]
fn the_dashboard_shows_only_what_is_measured() {
    let documented = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rendered = render("monitoring: {dashboard: {enabled: true}}").unwrap();
    let text = rendered.object("ConfigMap", "forebay-dashboard")["data"]["forebay.json"].as_str().unwrap().to_owned();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let expressions: Vec<_> =
        dashboard["panels"].as_array().unwrap().iter().map(|p| p["targets"][0]["expr"].to_string()).collect();
    let words = expressions.iter().flat_map(|e| e.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let metrics: Vec<_> = words.filter(|word| word.starts_with("forebay_")).collect();
    assert!(metrics.len() >= 8, "{metrics:?}");
    for metric in metrics {
        assert!(documented.contains(&format!("`{metric}`")), "docs/metrics.md does not know {metric}");
    }
}
