use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::run::run;

/// The image of every pod's first container.
pub(crate) const PAUSE: &str = "localhost/pause:1";

/// A container image of one layer, made from files without a container engine. The same content gives the same bytes: every
/// time is 0, every owner root, the order is that of the paths.
#[derive(Debug, Clone)]
pub struct Image {
    reference: String,
    entrypoint: Vec<String>,
    arguments: Vec<String>,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    Directory(u32),
    File(PathBuf, u32),
    Text(String),
    Link(String),
}

impl Image {
    /// An empty image with this full name, e.g. `localhost/forebay-agent:dev`, that runs `entrypoint`.
    pub fn new(reference: &str, entrypoint: &[&str]) -> Self {
        let image = Self { reference: String::new(), entrypoint: Vec::new(), arguments: Vec::new(), entries: BTreeMap::new() };
        image.named(reference).entrypoint(entrypoint)
    }

    /// The same under another full name.
    #[must_use]
    pub fn named(mut self, reference: &str) -> Self {
        reference.clone_into(&mut self.reference);
        self
    }

    /// Runs this instead.
    #[must_use]
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The arguments of a container that gives none.
    #[must_use]
    pub fn arguments(mut self, words: &[&str]) -> Self {
        self.arguments = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Adds a program.
    #[must_use]
    pub fn program(self, path: &str, from: &Path) -> Self {
        self.with(path, Entry::File(from.to_path_buf(), 0o755))
    }

    /// Adds a file that is not a program.
    #[must_use]
    pub fn file(self, path: &str, from: &Path) -> Self {
        self.with(path, Entry::File(from.to_path_buf(), 0o644))
    }

    /// Adds a file with this text.
    #[must_use]
    pub fn text(self, path: &str, text: &str) -> Self {
        self.with(path, Entry::Text(text.to_owned()))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        self.with(path, Entry::Link(target.to_owned()))
    }

    /// Adds an empty directory. Those above files come by themselves.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.with(path, Entry::Directory(mode))
    }

    fn with(mut self, path: &str, entry: Entry) -> Self {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry::Directory(0o755));
        }
        self.entries.insert(path.to_owned(), entry);
        self
    }

    /// Writes the image as one archive that containerd (`ctr images import`), Docker (`docker load`) and Podman take: an OCI
    /// layout with Docker's list beside it. Replaces the file when all of it is written.
    pub fn write(&self, archive: &Path) -> Result<()> {
        ensure!(self.reference.contains(':'), "the image name {} has no tag", self.reference);
        let layer = self.layer()?;
        let config = serde_json::to_vec(&json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": self.entrypoint, "Cmd": self.arguments, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "forebay"}],
        }))?;
        let blob = |kind: &str, bytes: &[u8]| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{}", digest(bytes)), "size": bytes.len()});
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob("config.v1+json", &config),
            "layers": [blob("layer.v1.tar", &layer)],
        }))?;
        let mut described = blob("manifest.v1+json", &manifest);
        described["annotations"] =
            json!({"io.containerd.image.name": self.reference, "org.opencontainers.image.ref.name": self.tag()});
        let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [described]}))?;
        let name = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes));
        let docker =
            serde_json::to_vec(&json!([{"Config": name(&config), "RepoTags": [self.reference], "Layers": [name(&layer)]}]))?;

        let unfinished = archive.with_extension(format!("{}.tmp", std::process::id()));
        let file = File::create(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
        let mut tar = Builder::new(BufWriter::new(file));
        for (name, bytes) in [
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice()),
            ("index.json".to_owned(), &index),
            ("manifest.json".to_owned(), &docker),
            (name(&manifest), &manifest),
            (name(&config), &config),
            (name(&layer), &layer),
        ] {
            append(&mut tar, &name, EntryType::Regular, 0o644, bytes)?;
        }
        tar.into_inner()?.flush()?;
        fs::rename(&unfinished, archive).with_context(|| format!("rename {}", unfinished.display()))
    }

    fn tag(&self) -> &str {
        self.reference.rsplit(':').next().unwrap_or_default()
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            match entry {
                Entry::Directory(mode) => append(&mut tar, &format!("{path}/"), EntryType::Directory, *mode, &[])?,
                Entry::Text(text) => append(&mut tar, path, EntryType::Regular, 0o644, text.as_bytes())?,
                Entry::File(from, mode) => {
                    let bytes = fs::read(from).with_context(|| format!("read {}", from.display()))?;
                    append(&mut tar, path, EntryType::Regular, *mode, &bytes)?;
                }
                Entry::Link(target) => {
                    let mut header = header(EntryType::Symlink, 0o777, 0);
                    tar.append_link(&mut header, path, target).with_context(|| format!("add {path}"))?;
                }
            }
        }
        Ok(tar.into_inner()?)
    }
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size as u64);
    header
}

fn append(tar: &mut Builder<impl Write>, path: &str, kind: EntryType, mode: u32, bytes: &[u8]) -> Result<()> {
    tar.append_data(&mut header(kind, mode, bytes.len()), path, bytes).with_context(|| format!("add {path}"))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A shell and small tools for pods of tests, `localhost/busybox:1`.
pub fn busybox_image() -> Result<Image> {
    let busybox = busybox()?;
    let mut image =
        Image::new("localhost/busybox:1", &["/bin/sh", "-c"]).program("/bin/busybox", &busybox).directory("/tmp", 0o1777);
    for applet in run(Command::new(&busybox).arg("--list"))?.lines().filter(|applet| *applet != "busybox") {
        image = image.link(&format!("/bin/{applet}"), "/bin/busybox");
    }
    Ok(image)
}

/// The program that holds a pod's namespaces: it only sleeps.
pub fn pause_image() -> Result<Image> {
    Ok(Image::new(PAUSE, &["/busybox", "sleep", "2147483647"]).program("/busybox", &busybox()?))
}

fn busybox() -> Result<PathBuf> {
    let found = ["/usr/bin/busybox", "/bin/busybox"].iter().map(PathBuf::from).find(|path| path.is_file());
    found.context("there is no busybox: install Debian's busybox-static")
}

#[cfg(test)]
mod tests;
