//! Valid manifest files are read as they are meant.

use forebay_crds::dataset::{Addressing, ConsistencyPolicy, PlacementPolicy, PrefetchOrder};
use forebay_crds::manifest::{Ignored, parse, parse_bytes};
use forebay_crds::runtime::Medium;
use forebay_crds::values::SourceKind;

const FULL: &str = include_str!("manifests/full.yaml");

#[test]
fn the_manifest_of_the_design() {
    let manifests = parse(FULL, "full.yaml").unwrap_or_else(|error| panic!("{error}"));
    let (dataset, runtime) = (&manifests.datasets[0], &manifests.runtimes[0]);
    assert_eq!((manifests.datasets.len(), manifests.runtimes.len(), manifests.secrets.len()), (1, 1, 1));
    assert_eq!(dataset.metadata.name.as_deref(), Some("imagenet"));
    assert_eq!(dataset.metadata.namespace.as_deref(), Some("ml"));
    assert_eq!(manifests.runtime_of(dataset), Some(runtime));

    let spec = &dataset.spec;
    let first = &spec.mounts[0];
    assert_eq!(*first.source.kind(), SourceKind::S3 { bucket: "imagenet".into(), prefix: "train".into() });
    assert_eq!(first.options.effective_addressing(), Addressing::Virtual);
    assert_eq!(first.options.bandwidth.as_ref().unwrap().bytes(), 1 << 30);
    assert_eq!((first.options.concurrency, first.options.retries), (32, 5));
    assert_eq!(first.include[1].as_str(), "it's \"quoted\"/*");
    let secret = manifests.secret_of(dataset, first.secret_ref.as_ref().unwrap()).unwrap();
    assert_eq!(secret.s3().unwrap().secret_access_key.expose_text(), Some("s/e+c=r"));
    assert_eq!(spec.mounts[1].options.headers[0].value.as_str(), "forebay: 1");
    assert_eq!((spec.owner.file_mode.bits(), spec.owner.dir_mode.bits()), (0o440, 0o750));
    assert_eq!(spec.consistency.policy, ConsistencyPolicy::MaxAge);
    assert_eq!(spec.consistency.max_age.as_ref().unwrap().duration().as_secs(), 5400);
    assert_eq!(spec.prefetch.order, PrefetchOrder::SmallestFirst);
    assert_eq!((spec.placement.policy, spec.placement.copies()), (PlacementPolicy::Sharded, Some(2)));

    assert_eq!(runtime.spec.tiers[0].medium, Medium::Memory);
    assert_eq!(runtime.spec.tiers[1].reserve.bytes_of(1000), 100);
    assert_eq!(runtime.spec.tolerations[0].key.as_deref(), Some("nvidia.com/gpu"));
    let pod = Ignored { api_version: "v1".into(), kind: "Pod".into(), name: "train".into(), line: 56 };
    assert_eq!(manifests.ignored, [pod], "other kinds are named, whatever is in them");
}

/// What a file says does not depend on how it is written.
#[test]
fn the_same_in_other_words() {
    let plain = parse(FULL, "f").unwrap();
    let as_json: Vec<String> = plain
        .datasets
        .iter()
        .map(|dataset| serde_json::to_string_pretty(dataset).unwrap())
        .chain(plain.runtimes.iter().map(|runtime| serde_json::to_string(runtime).unwrap()))
        .collect();
    let secret = "\n---\n{apiVersion: v1, kind: Secret, metadata: {name: obs, namespace: ml},\n  stringData: {accessKeyId: a, secretAccessKey: b}}\n";
    let json = parse(&(as_json.join("\n---\n") + secret), "f").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((&json.datasets, &json.runtimes), (&plain.datasets, &plain.runtimes));

    let windows = format!("\u{feff}{}", FULL.replace('\n', "\r\n"));
    assert_eq!(parse_bytes(windows.as_bytes(), "f").unwrap().datasets, plain.datasets);

    let listed = format!(
        "apiVersion: v1\nkind: List\nitems:\n{}",
        FULL.trim_end_matches("...\n")
            .split("---\n")
            .map(|document| {
                let body = document.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n  ");
                format!("- {body}\n")
            })
            .collect::<String>()
    );
    assert_eq!(parse(&listed, "f").unwrap_or_else(|error| panic!("{error}")).datasets, plain.datasets);
}

/// `kubectl get -o yaml` of a live object can be mounted as it is.
#[test]
fn what_a_cluster_wrote() {
    let text = "apiVersion: forebay.io/v1alpha1
kind: Dataset
metadata:
  name: d
  creationTimestamp: '2026-01-01T00:00:00Z'
  generation: 3
  resourceVersion: '12'
  uid: 3d0c
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {\"a\": 1}
  managedFields: [{manager: kubectl, operation: Apply}]
spec:
  mounts:
  - path: /
    source: /data
  quota: null
  ttl: ~
  consistency:
  access: null
status: {phase: SomethingNewer, catalog: {files: many}}
---
apiVersion: forebay.io/v1alpha1
kind: CacheRuntime
metadata: {name: default}
spec: {tiers: [{name: a, medium: Disk, path: /data2, capacity: 1073741824}]}
";
    let manifests = parse(text, "f").unwrap_or_else(|error| panic!("{error}"));
    let dataset = &manifests.datasets[0];
    assert_eq!(dataset.status, None);
    assert_eq!(dataset.metadata.namespace.as_deref(), Some("default"));
    assert_eq!(dataset.metadata.generation, Some(3));
    assert_eq!((dataset.spec.quota.clone(), dataset.spec.ttl.clone()), (None, None));
    assert_eq!(manifests.runtimes[0].spec.tiers[0].capacity.bytes(), 1 << 30);
}

#[test]
fn anchors_and_aliases() {
    let text = "apiVersion: forebay.io/v1alpha1
kind: Dataset
metadata: {name: d}
spec:
  mounts:
  - path: /a
    source: s3://bucket/a
    options: &o {endpoint: http://h:1, region: r}
  - path: /b
    source: s3://bucket/b
    options: *o
---
apiVersion: forebay.io/v1alpha1
kind: CacheRuntime
metadata: {name: default}
spec: {tiers: [{name: ram, medium: Memory, capacity: !!str 1Gi}]}
";
    let spec = &parse(text, "f").unwrap_or_else(|error| panic!("{error}")).datasets[0].spec.clone();
    assert_eq!(spec.mounts[0].options, spec.mounts[1].options);
    assert_eq!(spec.mounts[1].options.endpoint.as_ref().unwrap().as_str(), "http://h:1");
}

#[test]
fn files_with_nothing_in_them() {
    for text in ["", "\n", "# only a comment\n", "---\n---\n...\n", "~\n", "\u{feff}"] {
        let manifests = parse(text, "f").unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert!(manifests.datasets.is_empty() && manifests.ignored.is_empty());
    }
}

/// The two YAML parsers of the program read the same out of the same text.
#[test]
fn another_parser_agrees() {
    use serde::Deserialize as _;
    let mut documents = serde_yaml::Deserializer::from_str(FULL);
    let runtime = forebay_crds::CacheRuntime::deserialize(documents.next().unwrap()).unwrap();
    let dataset = forebay_crds::Dataset::deserialize(documents.next().unwrap()).unwrap();
    let manifests = parse(FULL, "f").unwrap();
    assert_eq!((&manifests.runtimes[0], &manifests.datasets[0]), (&runtime, &dataset));
}
