//! The CustomResourceDefinitions in the repository are those of the types.

use std::path::Path;

#[test]
fn checked_in_files_equal_the_generated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let files = forebay_crds::generated_files();
    assert_eq!(
        files.iter().map(|(path, _)| *path).collect::<Vec<_>>(),
        [
            "crds/dataset.yaml",
            "crds/cacheruntime.yaml",
            "crds/cacheruntimescale.yaml",
            "docs/reference/dataset.md",
            "docs/reference/cacheruntime.md",
            "docs/reference/cacheruntimescale.md"
        ]
    );
    for (path, wanted) in files {
        let found = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(found == wanted, "{path} is not what the types say: run `cargo xtask codegen`");
    }
}

#[test]
fn kubectl_sees_the_names_and_columns_of_the_design() {
    let crds = forebay_crds::codegen::crds();
    let dataset = &crds[0]["spec"];
    assert_eq!(dataset["scope"], "Namespaced");
    assert_eq!(dataset["names"]["shortNames"][0], "dset");
    assert_eq!(dataset["versions"][0]["subresources"], serde_json::json!({ "status": {} }));
    let columns = |crd: &serde_json::Value, priority: i64| -> Vec<String> {
        let all = crd["versions"][0]["additionalPrinterColumns"].as_array().unwrap();
        let shown = all.iter().filter(|column| column["priority"].as_i64().unwrap_or(0) == priority);
        shown.map(|column| column["name"].as_str().unwrap().to_uppercase()).collect()
    };
    assert_eq!(columns(dataset, 0), ["FILES", "SIZE", "CACHED", "PHASE", "AGE"]);
    assert_eq!(columns(dataset, 1), ["NODES", "HIT RATIO", "CLAIM"]);

    let runtime = &crds[1]["spec"];
    assert_eq!(runtime["scope"], "Cluster");
    assert_eq!(runtime["names"]["shortNames"][0], "cr");
    let scale = &crds[2]["spec"];
    assert_eq!(scale["scope"], "Namespaced");
    assert_eq!(columns(scale, 0), ["RUNTIME", "DESIRED", "AGENTS", "IN EFFECT", "AGE"]);
    for scaled in [runtime, scale] {
        let scale = &scaled["versions"][0]["subresources"]["scale"];
        assert_eq!(scale["specReplicasPath"], ".spec.replicas");
        assert_eq!(scale["statusReplicasPath"], ".status.replicas");
        assert_eq!(scale["labelSelectorPath"], ".status.selector");
    }
}

/// Every path that a column or the scale subresource reads is a field of the schema.
#[test]
fn columns_show_fields_that_exist() {
    for crd in forebay_crds::codegen::crds() {
        let version = &crd["spec"]["versions"][0];
        let columns = version["additionalPrinterColumns"].as_array().unwrap().iter().map(|column| column["jsonPath"].clone());
        let scale = version["subresources"]["scale"].as_object().into_iter().flat_map(|scale| scale.values().cloned());
        for path in columns.chain(scale) {
            let path = path.as_str().unwrap().to_owned();
            if path.starts_with(".metadata.") {
                continue;
            }
            let mut schema = &version["schema"]["openAPIV3Schema"];
            // Of a list, whichever element.
            let field = path.split('[').next().unwrap_or_default();
            for field in field.split('.').skip(1) {
                schema = &schema["properties"][field];
            }
            assert!(schema.is_object(), "{path} is not in the schema");
        }
    }
}
