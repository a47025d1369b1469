use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::install::lock;
use crate::sh::{self, say};
use crate::workspace;

/// A real program that is built from a Go module in `e2e/parts/MODULE`, which pins its version and checksums.
struct Part {
    name: &'static str,
    /// The module's directory.
    module: &'static str,
    package: &'static str,
    /// The requirement in go.mod whose version is the part's version.
    requires: &'static str,
    /// Package variables that must bear the version: what the program says of itself matters to others.
    stamp: &'static [&'static str],
    /// Further names under which one binary is found, each of them another program.
    also: &'static [&'static str],
    /// Files of the required module that are put beside the program: definitions and configuration that are of its version.
    files: &'static [&'static str],
}

const fn part(name: &'static str, module: &'static str, package: &'static str, requires: &'static str) -> Part {
    Part { name, module, package, requires, stamp: &[], also: &[], files: &[] }
}

const CONTAINERD: &str = "github.com/containerd/containerd/v2";

const PARTS: &[Part] = &[
    part("versitygw", "versitygw", "github.com/versity/versitygw/cmd/versitygw", "github.com/versity/versitygw"),
    part("minio", "minio", "github.com/minio/minio", "github.com/minio/minio"),
    Part {
        stamp: &["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"],
        also: &["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"],
        ..part("kube", "kube", ".", "k8s.io/kubernetes")
    },
    part("containerd", "containerd", "github.com/containerd/containerd/v2/cmd/containerd", CONTAINERD),
    part("containerd-shim-runc-v2", "containerd", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", CONTAINERD),
    part("ctr", "containerd", "github.com/containerd/containerd/v2/cmd/ctr", CONTAINERD),
    part("coredns", "coredns", ".", "github.com/coredns/coredns"),
    part("helm", "helm", "helm.sh/helm/v4/cmd/helm", "helm.sh/helm/v4"),
    part(
        "csi-sanity",
        "csi-sanity",
        "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity",
        "github.com/kubernetes-csi/csi-test/v5",
    ),
    part(
        "csi-provisioner",
        "csi-provisioner",
        "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner",
        "github.com/kubernetes-csi/external-provisioner/v6",
    ),
    Part {
        stamp: &["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"],
        ..part("storage-suite", "storage-suite", ".", "k8s.io/kubernetes")
    },
    part("agnhost", "storage-suite", "k8s.io/kubernetes/test/images/agnhost", "k8s.io/kubernetes"),
    Part {
        files: &[
            "kwok/apis/crds/karpenter.kwok.sh_kwoknodeclasses.yaml",
            "kwok/charts/crds/autoscaling.x-k8s.io_capacitybuffers.yaml",
            "kwok/charts/crds/karpenter.sh_nodeclaims.yaml",
            "kwok/charts/crds/karpenter.sh_nodeoverlays.yaml",
            "kwok/charts/crds/karpenter.sh_nodepools.yaml",
        ],
        ..part("karpenter", "karpenter", "sigs.k8s.io/karpenter/kwok", "sigs.k8s.io/karpenter")
    },
    part("prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus", "github.com/prometheus/prometheus"),
    part(
        "prometheus-adapter",
        "prometheus-adapter",
        "sigs.k8s.io/prometheus-adapter/cmd/adapter",
        "sigs.k8s.io/prometheus-adapter",
    ),
    Part {
        files: &[
            "kustomize/stage/node/fast/node-initialize.yaml",
            "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
            "kustomize/stage/pod/fast/pod-complete.yaml",
            "kustomize/stage/pod/fast/pod-delete.yaml",
            "kustomize/stage/pod/fast/pod-ready.yaml",
        ],
        ..part("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "sigs.k8s.io/kwok")
    },
];

/// What a cluster is made of, and what installs on it.
pub(crate) const CLUSTER: &[&str] = &["kube", "containerd", "containerd-shim-runc-v2", "ctr", "coredns", "helm"];

/// `cargo xtask parts`.
pub(crate) fn run(names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|n| !PARTS.iter().any(|p| p.name == *n)) {
        let known: Vec<_> = PARTS.iter().map(|p| p.name).collect();
        bail!("there is no part {unknown}; there are {}", known.join(", "));
    }
    let names: Vec<_> = PARTS.iter().map(|p| p.name).filter(|n| names.is_empty() || names.iter().any(|m| m == n)).collect();
    say(&ensure(&names)?.display().to_string());
    Ok(())
}

/// Builds those parts that are missing and gives the directory that holds a link to each, as `FOREBAY_PARTS` wants it.
pub(crate) fn ensure(names: &[&str]) -> Result<PathBuf> {
    let bin = forebay_e2e::parts_bin()?;
    let home = bin.parent().context("FOREBAY_PARTS has no parent directory")?.to_path_buf();
    fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
    for part in PARTS.iter().filter(|p| names.contains(&p.name)) {
        let _lock = lock(part.name)?;
        let sources = workspace::root()?.join("e2e/parts").join(part.module);
        let version = version(part, &sources)?;
        let dir = format!("{}-{version}{}", part.name, mark(part, &sources)?);
        let program = home.join(&dir).join(part.name);
        if !program.is_file() {
            build(part, &version, &sources, &program)?;
        }
        for name in [part.name].iter().chain(part.also) {
            link(Path::new("..").join(&dir).join(part.name), &bin.join(name))?;
        }
    }
    Ok(bin)
}

fn build(part: &Part, version: &str, sources: &Path, program: &Path) -> Result<()> {
    if !sh::has("go") {
        bail!("{} is built from Go sources and there is no `go` on the path: install Go 1.26 or later", part.name);
    }
    say(&format!("building {} (once; a few minutes)", part.name));
    let start = Instant::now();
    let dir = program.parent().context("a program without a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let unfinished = dir.join(format!("{}.{}.tmp", part.name, std::process::id()));
    let mut go = Command::new("go");
    go.current_dir(sources).args(["build", "-mod=readonly", "-trimpath", "-ldflags", &linker_flags(part, version), "-o"]);
    go.arg(&unfinished);
    sh::run(go.arg(part.package).env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false"))?;
    copy_files(part, sources, dir)?;
    fs::rename(&unfinished, program).with_context(|| format!("rename {}", unfinished.display()))?;
    say(&format!("built {} in {:.0} s", part.name, start.elapsed().as_secs_f64()));
    Ok(())
}

/// Before the program is in place: where that is, its files are.
fn copy_files(part: &Part, sources: &Path, dir: &Path) -> Result<()> {
    if part.files.is_empty() {
        return Ok(());
    }
    let mut list = Command::new("go");
    list.current_dir(sources).args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", part.requires]);
    let module = PathBuf::from(sh::read(&mut list)?.trim());
    for file in part.files {
        let from = module.join(file);
        let to = dir.join(from.file_name().context("a file without a name")?);
        // Not `fs::copy`, which keeps the mode: the module cache is read-only.
        let text = fs::read(&from).with_context(|| format!("read {}", from.display()))?;
        fs::write(&to, text).with_context(|| format!("write {}", to.display()))?;
    }
    Ok(())
}

/// No symbols, and the version where the part says it: Kubernetes' components compare each other's.
fn linker_flags(part: &Part, version: &str) -> String {
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let stamps = part.stamp.iter().map(|package| {
        format!(
            " -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
        )
    });
    format!("-s -w{}", stamps.collect::<String>())
}

/// Puts the link in place by a rename, so that a test that runs now finds either the old or the new program.
fn link(target: PathBuf, at: &Path) -> Result<()> {
    if fs::read_link(at).is_ok_and(|old| old == target) {
        return Ok(());
    }
    let new = at.with_extension(format!("{}.tmp", std::process::id()));
    symlink(&target, &new).with_context(|| format!("link {}", new.display()))?;
    fs::rename(&new, at).with_context(|| format!("rename {}", new.display()))
}

/// Tells the states of a program of our own apart, whose version is only that of what it is made from.
fn mark(part: &Part, sources: &Path) -> Result<String> {
    if part.package != "." {
        return Ok(String::new());
    }
    let path = sources.join("main.go");
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Ok(format!("-{:08x}", hasher.finish() as u32))
}

/// The version in the part's go.mod, without the leading `v`.
fn version(part: &Part, sources: &Path) -> Result<String> {
    let path = sources.join("go.mod");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let line = text.lines().find_map(|l| l.trim().trim_start_matches("require ").strip_prefix(part.requires)?.strip_prefix(" v"));
    let version = line.and_then(|v| v.split_whitespace().next());
    version.map(str::to_owned).with_context(|| format!("{} does not require {}", path.display(), part.requires))
}
