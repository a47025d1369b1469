use std::fmt::Write;

/// One entry of `spec.mounts`.
#[derive(Clone, Debug)]
pub struct MountSpec {
    /// Path below the Dataset's root, `/` for the root.
    pub path: String,
    /// URL of the store.
    pub source: String,
    /// Lines of `options`, as `key: value`.
    pub options: Vec<String>,
    /// Access key id and secret access key of an S3 store; goes to a Secret beside the Dataset.
    pub keys: Option<(String, String)>,
}

impl MountSpec {
    /// Anything that needs neither options nor keys.
    pub fn plain(path: &str, source: &str) -> Self {
        Self { path: path.into(), source: source.into(), options: Vec::new(), keys: None }
    }

    /// A bucket, or a prefix in one, of an S3 server at `endpoint`.
    pub fn s3(path: &str, bucket: &str, endpoint: &str, keys: (&str, &str)) -> Self {
        let mut mount = Self::plain(path, &format!("s3://{bucket}"));
        mount.options = vec![format!("endpoint: {endpoint}"), "region: us-east-1".into()];
        mount.keys = Some((keys.0.into(), keys.1.into()));
        mount
    }

    /// Adds one option line, `key: value`.
    pub fn option(mut self, line: &str) -> Self {
        self.options.push(line.into());
        self
    }
}

/// A manifest with one Dataset, its CacheRuntime and its Secrets, written as a person writes it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The Dataset's name.
    pub name: String,
    /// Its mounts.
    pub mounts: Vec<MountSpec>,
    /// Further lines of the Dataset's `spec`, without indentation (nested lines are indented by two).
    pub spec: Vec<String>,
    /// `spec.tiers` of the CacheRuntime, each in one line of YAML flow style.
    pub tiers: Vec<String>,
}

impl Manifest {
    /// A Dataset with one tier on disk.
    pub fn new(name: &str, mounts: Vec<MountSpec>, tier: &std::path::Path, capacity: &str) -> Self {
        let tier = format!("{{name: ssd, medium: Disk, path: {}, capacity: {capacity}, reserve: 0%}}", tier.display());
        Self { name: name.into(), mounts, spec: Vec::new(), tiers: vec![tier] }
    }

    /// One tier in memory instead. It has no path: the agent mounts a tmpfs below its state directory.
    pub fn in_memory(mut self, capacity: &str) -> Self {
        self.tiers = vec![format!("{{name: ram, medium: Memory, capacity: {capacity}}}")];
        self
    }

    /// Adds a line of the Dataset's `spec`.
    pub fn with(mut self, line: &str) -> Self {
        self.spec.push(line.into());
        self
    }

    /// The YAML documents.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).unwrap_or_else(|never| unreachable!("a String takes everything: {never}"));
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "apiVersion: forebay.io/v1alpha1\nkind: CacheRuntime\nmetadata: {{name: default}}\nspec:\n  tiers:")?;
        for tier in &self.tiers {
            writeln!(out, "  - {tier}")?;
        }
        writeln!(
            out,
            "---\napiVersion: forebay.io/v1alpha1\nkind: Dataset\nmetadata: {{name: {}, namespace: default}}",
            self.name
        )?;
        writeln!(out, "spec:\n  runtime: default\n  mounts:")?;
        for (n, mount) in self.mounts.iter().enumerate() {
            writeln!(out, "  - path: {}\n    source: {}", mount.path, mount.source)?;
            if !mount.options.is_empty() {
                writeln!(out, "    options:")?;
                for option in &mount.options {
                    writeln!(out, "      {option}")?;
                }
            }
            if mount.keys.is_some() {
                writeln!(out, "    secretRef: {{name: {}-{n}}}", self.name)?;
            }
        }
        for line in &self.spec {
            writeln!(out, "  {line}")?;
        }
        for (n, mount) in self.mounts.iter().enumerate() {
            let Some((access, secret)) = &mount.keys else { continue };
            writeln!(out, "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {}-{n}, namespace: default}}", self.name)?;
            writeln!(out, "stringData:\n  accessKeyId: {access}\n  secretAccessKey: {secret}")?;
        }
        Ok(())
    }
}
