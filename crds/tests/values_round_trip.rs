//! Values are read as the schema's patterns say, keep their meaning, and are written back as they were.

use std::sync::LazyLock;
use std::time::Duration;

use forebay_crds::values::{
    ByteSize, DnsLabel, DnsName, Endpoint, FileMode, Glob, HeaderName, HeaderValue, HostPath, NamespaceName, ProfileName, Region,
    RelativePath, Reserve, Source, SourceKind, TimeSpan, TreePath, human,
};
use forebay_crds::{DatasetSpec, validate};
use proptest::prelude::*;
use regex::Regex;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Whether the schema of `T` accepts `text`.
struct Accepts {
    pattern: Regex,
    length: std::ops::RangeInclusive<usize>,
}

impl Accepts {
    fn of<T: JsonSchema>() -> Self {
        let schema = T::json_schema(&mut SchemaGenerator::default());
        let number = |key: &str| usize::try_from(schema.get(key).and_then(Value::as_u64).unwrap()).unwrap();
        let pattern = schema.get("pattern").and_then(Value::as_str).unwrap();
        Self { pattern: Regex::new(pattern).unwrap(), length: number("minLength")..=number("maxLength") }
    }

    fn accepts(&self, text: &str) -> bool {
        self.length.contains(&text.chars().count()) && self.pattern.is_match(text)
    }
}

/// Texts that come close to being values, so that both verdicts occur.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        r"[0-9]{0,20}(\.[0-9]{0,11})?(k|K|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|m|B|GB|%|\.)?",
        r"[0-9]{0,4}(\.[0-9]{0,3})?%?",
        r"-?([0-9]{1,7}(d|h|m|s|ms|us)){0,5}",
        r"(/(\.{0,3}|[a-c.]{1,4}|[a-c é\x01]{0,3})){0,5}",
        r"(\.{0,3}|[a-c.]{1,3})(/(\.{0,3}|[a-c.]{1,4})){0,4}",
        r"(s3|S3|http|https|file|gs|mem)?(:|:/|://|:///)([aA.@:_-]{0,3}|[a-c]{3}|\[::1\])(:[0-9]{0,6})?(/(\.{0,3}|[a-c? #@]{0,3})){0,4}",
        r"https?://[a-c]{1,3}(\.[a-c]{1,3})?(:[0-9]{1,5})?(/(\.{0,3}|[a-c@%]{1,3})){0,4}",
        r"[0-8]{0,5}",
        r"[a-cA9*.-]{0,5}",
        r"[a-c*?{}\[\]!,/\\\x00]{0,8}",
        // Around the bounds of lengths.
        r"[0-9]{1,11}(d|h|m|s|ms)",
        r"[a-z]{60,66}",
        r"[a-z]{125,131}",
        r"([a-z]{62}\.){3}[a-z]{60,66}",
        r"(/[a-c]{250}){4}/[a-c]{15,25}",
        r"[a-c]{250}(/[a-c]{250}){3}/[a-c]{15,25}",
        r"([a-c]{200}/é){5}[a-c]{10,18}",
        r"s3://[a-z]{61,65}(/[a-c]{953,965})?",
        r"https://h/[a-c]{1010,1018}",
        r"\PC{0,6}",
    ]
}

macro_rules! parser_is_the_pattern {
    ($($name:ident: $type:ty),* $(,)?) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $name(text in texts()) {
                    static SCHEMA: LazyLock<Accepts> = LazyLock::new(Accepts::of::<$type>);
                    let schema = &*SCHEMA;
                    match text.parse::<$type>() {
                        Ok(value) => {
                            prop_assert!(schema.accepts(&text), "{text:?} is read, but not let through by the schema");
                            prop_assert_eq!(value.to_string(), text.clone());
                            prop_assert_eq!(serde_json::to_value(&value).unwrap(), json!(text));
                            let again: $type = serde_json::from_value(json!(text)).unwrap();
                            prop_assert_eq!(again, value);
                        }
                        Err(error) => {
                            prop_assert!(!schema.accepts(&text), "{text:?} is let through by the schema, but: {error}");
                            prop_assert!(!error.remedy().is_empty());
                            prop_assert!(!error.to_string().contains(['\n', '\0']), "{error:?}");
                        }
                    }
                }
            )*
        }
    };
}

parser_is_the_pattern! {
    sizes: ByteSize,
    reserves: Reserve,
    time_spans: TimeSpan,
    tree_paths: TreePath,
    host_paths: HostPath,
    relative_paths: RelativePath,
    sources: Source,
    endpoints: Endpoint,
    modes: FileMode,
    labels: DnsLabel,
    names: DnsName,
    namespaces: NamespaceName,
    header_names: HeaderName,
    header_values: HeaderValue,
    regions: Region,
    profiles: ProfileName,
}

proptest! {
    /// Of patterns the schema knows the first character only: whether brackets match is for the parser.
    #[test]
    fn globs(text in texts()) {
        if text.parse::<Glob>().is_ok() {
            prop_assert!(Accepts::of::<Glob>().accepts(&text));
        }
    }

    #[test]
    fn any_number_of_bytes(bytes in 0..=i64::MAX as u64) {
        prop_assert_eq!(ByteSize::from_bytes(bytes).bytes(), bytes);
        prop_assert_eq!(serde_json::to_value(ByteSize::from_bytes(bytes)).unwrap(), json!(bytes));
        let read: ByteSize = serde_json::from_value(json!(bytes)).unwrap();
        prop_assert_eq!(read.bytes(), bytes);
        // For people: within half of the last of three digits.
        let shown = human(bytes);
        let (digits, unit) = shown.split_at(shown.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap());
        let power = ["B", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|u| *u == unit).unwrap();
        let back = digits.parse::<f64>().unwrap() * 1024f64.powi(i32::try_from(power).unwrap());
        prop_assert!((back - bytes as f64).abs() <= bytes as f64 * 0.0051, "{bytes} is shown as {shown}");
    }

    #[test]
    fn any_share(hundredths in 0u32..10_000, total: u64) {
        let text = format!("{}.{:02}%", hundredths / 100, hundredths % 100);
        let reserve: Reserve = text.parse().unwrap();
        let exact = (u128::from(total) * u128::from(hundredths)).div_ceil(10_000);
        prop_assert_eq!(u128::from(reserve.bytes_of(total)), exact);
    }
}

#[test]
fn sizes_mean_what_kubernetes_says() {
    for (text, bytes) in [
        ("0", 0),
        ("1024", 1024),
        ("1k", 1000),
        ("1Ki", 1024),
        ("1.5Ki", 1536),
        ("0.001k", 1),
        ("0.0001k", 1),
        ("500G", 500_000_000_000),
        ("64Gi", 64 << 30),
        ("1.5T", 1_500_000_000_000),
        ("7.999999999Ei", 9_223_372_035_701_854_304),
        ("8.5E", 8_500_000_000_000_000_000),
        ("999999999999999999", 999_999_999_999_999_999),
    ] {
        let size: ByteSize = text.parse().unwrap();
        assert_eq!(size.bytes(), bytes, "{text}");
    }
    assert_eq!("1Ki".parse::<ByteSize>().unwrap(), ByteSize::from_bytes(1024));
    assert!("1Gi".parse::<ByteSize>().unwrap() > "1G".parse::<ByteSize>().unwrap());
}

#[test]
fn spans_mean_what_they_say() {
    for (text, millis) in
        [("10m", 600_000), ("1h30m", 5_400_000), ("30d", 2_592_000_000), ("500ms", 500), ("1d2h3m4s5ms", 93_784_005), ("0s", 0)]
    {
        assert_eq!(text.parse::<TimeSpan>().unwrap().duration(), Duration::from_millis(millis), "{text}");
    }
    for (longest, unit) in [(5, "d"), (6, "h"), (7, "m"), (9, "s"), (9, "ms")] {
        let digits = |count| format!("{}{unit}", "9".repeat(count));
        assert!(digits(longest).parse::<TimeSpan>().is_ok() && digits(longest + 1).parse::<TimeSpan>().is_err(), "{unit}");
    }
    assert_eq!("60s".parse::<TimeSpan>().unwrap(), "1m".parse().unwrap());
    assert_eq!(TimeSpan::from_secs(30).to_string(), "30s");
}

/// What no pattern says: bytes of a name, and brackets that match. Only the parser refuses these.
#[test]
fn names_fit_the_file_system() {
    let name = |letter: &str, count: usize| format!("/{}", letter.repeat(count));
    assert!(name("x", 255).parse::<TreePath>().is_ok() && name("x", 256).parse::<TreePath>().is_err());
    assert!(name("é", 127).parse::<TreePath>().is_ok() && name("é", 128).parse::<TreePath>().is_err());
    assert!(name("x", 256).parse::<HostPath>().is_err() && name("x", 256).parse::<Source>().is_err());
    assert!("[a".parse::<Glob>().is_err() && "a".repeat(256).parse::<Glob>().is_ok() && "a".repeat(257).parse::<Glob>().is_err());
}

#[test]
fn modes_are_octal() {
    assert_eq!("0644".parse::<FileMode>().unwrap().bits(), 0o644);
    assert_eq!("750".parse::<FileMode>().unwrap().bits(), 0o750);
    assert_eq!(FileMode::from_bits(0o4755).to_string(), "0755");
}

#[test]
fn paths_know_what_lies_within() {
    let path = |text: &str| text.parse::<TreePath>().unwrap();
    assert!(path("/a/b").is_within(&path("/a")));
    assert!(path("/a").is_within(&path("/a")));
    assert!(path("/a").is_within(&path("/")));
    assert!(!path("/ab").is_within(&path("/a")));
    assert!(!path("/a").is_within(&path("/a/b")));
    assert_eq!(path("/a/b").segments().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(path("/").segments().count(), 0);
    assert_eq!((path("/").relative(), path("/a/b").relative()), ("", "a/b"));
}

#[test]
fn sources_are_taken_apart() {
    let kind = |text: &str| text.parse::<Source>().unwrap_or_else(|error| panic!("{text}: {error}")).kind().clone();
    let s3 = |bucket: &str, prefix: &str| SourceKind::S3 { bucket: bucket.into(), prefix: prefix.into() };
    let file = |path: &str| SourceKind::File { path: path.into() };
    let http = |base: &str| SourceKind::Http { base: base.into() };
    for (text, wanted) in [
        ("s3://bucket", s3("bucket", "")),
        ("s3://bucket/", s3("bucket", "")),
        ("s3://bucket/a/b", s3("bucket", "a/b")),
        ("s3://bucket/a b@c?d#e/", s3("bucket", "a b@c?d#e")),
        ("/", file("/")),
        ("/data/", file("/data")),
        ("file:///", file("/")),
        ("file:///data", file("/data")),
        ("https://h", http("https://h/")),
        ("http://h:80/a/", http("http://h:80/a/")),
        ("http://[::1]:80/a", http("http://[::1]:80/a/")),
    ] {
        assert_eq!(kind(text), wanted, "{text}");
    }
    assert_eq!(Source::memory("m").scheme(), "mem");
    assert!("mem://m".parse::<Source>().is_err(), "no manifest may name a store in memory");
}

#[test]
fn globs_match_paths() {
    for (glob, path, matches) in [
        ("*.jpg", "a.jpg", true),
        ("*.jpg", "d/a.jpg", false),
        ("**/*.jpg", "a.jpg", true),
        ("**/*.jpg", "d/e/a.jpg", true),
        ("/train/*", "train/x", true),
        ("train/**", "train/x/y", true),
        ("train/**", "trainer/x", false),
        ("{a,b}/?.txt", "b/1.txt", true),
        ("[!a]*", "abc", false),
        ("it's \"quoted\"", "it's \"quoted\"", true),
        (r"\*", "*", true),
        (r"\*", "x", false),
    ] {
        let glob: Glob = glob.parse().unwrap();
        assert_eq!(glob.matcher().unwrap().is_match(path), matches, "{glob} {path}");
        assert_eq!(Glob::set(std::slice::from_ref(&glob)).unwrap().is_match(path), matches);
    }
    // As long and as branched as a pattern may be, and as many as a mount may have.
    let wide: Glob = format!("{{{}}}", "a,".repeat(126)).parse().unwrap();
    assert!(Glob::set(&vec![wide; 128]).is_ok());
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> (T, String) {
    let yaml = serde_yaml::to_string(value).unwrap();
    (serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}: {yaml}")), yaml)
}

/// One mount as people write them, of any kind.
fn mounts() -> impl Strategy<Value = Value> {
    let glob = r#"[a-z*?'" #:-]{1,8}"#;
    let options = prop_oneof![
        ("s3://[a-z]{3,9}(/[a-z .'#-]{1,6}[a-z]){0,2}", "[1-9][0-9]{0,2}(Gi|M)").prop_map(|(source, bandwidth)| json!({
            "source": source,
            "options": { "endpoint": "https://s3.example:9000", "region": "eu-de", "addressing": "Virtual", "bandwidth": bandwidth },
            "secretRef": { "name": "obs" },
        })),
        "(file://)?(/[a-zé: ]{1,6}){1,3}".prop_map(|source| json!({ "source": source })),
        ("https?://[a-z]{1,9}(/[a-z%]{1,6}){0,2}/?", "[a-zA-Z-]{1,9}", "v[ -~]{0,12}").prop_map(|(source, name, value)| json!({
            "source": source,
            "options": { "index": "index.txt", "headers": [{ "name": format!("X-{name}"), "value": value }], "retries": 0 },
        })),
    ];
    (options, prop::collection::vec(glob, 0..3), prop::collection::vec(glob, 0..3)).prop_map(|(mut mount, include, exclude)| {
        // serde_yaml writes these without quotes, and the strict reader refuses them so as kubectl's truth values.
        const AMBIGUOUS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
        let valid =
            |globs: Vec<String>| globs.into_iter().filter(|g| g.parse::<Glob>().is_ok() && !AMBIGUOUS.contains(&g.as_str()));
        mount["include"] = valid(include).collect();
        mount["exclude"] = valid(exclude).collect();
        mount
    })
}

fn specs() -> impl Strategy<Value = Value> {
    let policies = (
        prop_oneof![
            Just(json!({})),
            Just(json!({ "policy": "Validate" })),
            Just(json!({ "refresh": "NewPods" })),
            "[1-9][0-9]?(d|h|m|s)".prop_map(|age| json!({ "policy": "MaxAge", "maxAge": age }))
        ],
        prop_oneof![
            Just(json!({})),
            ("(/[a-z ]{1,5}){1,3}", 1..=256u32)
                .prop_map(|(path, n)| json!({ "policy": "Eager", "paths": [path], "tier": "ram", "concurrency": n, "order": "LargestFirst" })),
        ],
        prop_oneof![Just(json!({})), (1..=16u32).prop_map(|n| json!({ "policy": "Sharded", "replicas": n }))],
        prop_oneof![(1u64..1 << 60).prop_map(|bytes| json!(bytes)), "[1-9]{1,4}(Gi|T|k)".prop_map(|size| json!(size))],
        "[0-7]{3}",
        any::<u16>(),
    );
    (prop::collection::vec(mounts(), 1..5), policies).prop_map(
        |(mut mounts, (consistency, prefetch, placement, quota, mode, uid))| {
            for (i, mount) in mounts.iter_mut().enumerate() {
                mount["path"] = json!(if i == 0 { "/".to_owned() } else { format!("/m {i}") });
            }
            json!({
                "mounts": mounts,
                "consistency": consistency,
                "prefetch": prefetch,
                "placement": placement,
                "quota": quota,
                "ttl": "30d",
                "owner": { "uid": uid, "fileMode": mode },
                "allowedNamespaces": ["*"],
            })
        },
    )
}

proptest! {
    /// A valid Dataset is the same after YAML -> type -> YAML, and what was written is written again.
    #[test]
    fn datasets(written in specs()) {
        let spec: DatasetSpec = serde_yaml::from_str(&serde_yaml::to_string(&written).unwrap()).unwrap();
        prop_assert_eq!(validate(&spec), vec![]);
        let (again, yaml) = round_trip(&spec);
        prop_assert_eq!(&again, &spec);
        prop_assert_eq!(serde_yaml::to_string(&again).unwrap(), yaml);
        contains(&serde_json::to_value(&spec).unwrap(), &written)?;
        // And through the strict reader, which has a YAML parser of its own.
        let manifest = format!(
            "apiVersion: forebay.io/v1alpha1\nkind: CacheRuntime\nmetadata: {{name: default}}\n\
             spec: {{tiers: [{{name: ram, medium: Memory, capacity: 1Gi}}]}}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: obs}}\nstringData: {{accessKeyId: a, secretAccessKey: b}}\n---\n{}",
            serde_yaml::to_string(&json!({
                "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset", "metadata": { "name": "d" }, "spec": &spec
            })).unwrap()
        );
        let read = forebay_crds::manifest::parse(&manifest, "generated").map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&read.datasets[0].spec, &spec);
    }
}

/// Everything that `written` says, `value` says in the same words; empty lists may be left out.
fn contains(value: &Value, written: &Value) -> Result<(), TestCaseError> {
    match (value, written) {
        (Value::Object(value), Value::Object(written)) => {
            for (key, inner) in written {
                if inner.as_array().is_some_and(Vec::is_empty) {
                    continue;
                }
                prop_assert!(value.contains_key(key), "{} is lost", key);
                contains(&value[key], inner)?;
            }
        }
        (Value::Array(value), Value::Array(written)) => {
            prop_assert_eq!(value.len(), written.len());
            for (value, written) in value.iter().zip(written) {
                contains(value, written)?;
            }
        }
        _ => prop_assert_eq!(value, written),
    }
    Ok(())
}
