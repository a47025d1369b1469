//! The first hour of a user: a CacheRuntime, a Dataset, pods that read it by claim and inline.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use forebay_e2e::{TreeSize, build_tree};
use forebay_promises::{Reader, Site, sums_of};

use crate::Promise;

pub(crate) const PROMISES: &[Promise] =
    &[("first::the_readme_is_followed_word_for_word", readme), ("first::each_node_reads_every_byte_right", each_node)];

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The block of README's section "In a cluster".
fn block() -> Result<String> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("README.md"))?;
    let section = text.split("## In a cluster").nth(1).context("README has no section \"In a cluster\"")?;
    let block = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
    block.map(str::to_owned).context("the section has no block of commands")
}

fn readme(site: &Site) -> Result<()> {
    build_tree(Path::new(ROOT), &site.store.source, TreeSize::Small)?;
    site.store.upload()?;
    // The only words that a user changes: the address and the keys of the store.
    let work = site.work("readme")?;
    std::fs::create_dir_all(work.join("examples"))?;
    std::os::unix::fs::symlink(Path::new(ROOT).join("charts").canonicalize()?, work.join("charts"))?;
    let (id, key) = site.store.client().keys();
    let example = std::fs::read_to_string(Path::new(ROOT).join("examples/cluster.yaml"))?;
    let example = example
        .replace("https://store.example", &site.store.endpoint())
        .replace("EXAMPLE-ACCESS-KEY", id)
        .replace("EXAMPLE-SECRET-KEY", key);
    std::fs::write(work.join("examples/cluster.yaml"), example)?;
    let kubectl = site.cluster.command("kubectl")?;
    let programs = Path::new(kubectl.get_program()).parent().map(Path::to_path_buf).unwrap_or_default();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
    let output = Command::new("sh")
        .args(["-e", "-c", &block()?])
        .current_dir(&work)
        .env("PATH", path)
        .env("KUBECONFIG", site.cluster.kubeconfig())
        .env("FOREBAY_VALUES", site.values().join(" "))
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    let expected = sums_of(&site.store.source)?;
    let right = printed.lines().filter(|line| *line == expected).count();
    ensure!(right == 2, "{right} of the two pods printed {expected}:\n{printed}");
    ensure!(printed.contains("100%"), "kubectl get datasets shows no full cache:\n{printed}");
    let object = site.cluster.get(&["dataset", "first"])?;
    ensure!(object["status"]["claim"] == "first", "{object:#}");
    for pod in ["by-claim", "inline"] {
        site.cluster.kubectl(&["delete", "pod", pod, "--timeout=180s"])?;
    }
    Ok(())
}

fn each_node(site: &Site) -> Result<()> {
    let expected = sums_of(&site.store.source)?;
    for node in ["n1", "n2"] {
        let by_claim = Reader::of_claim("default", "each", "first").on(node);
        ensure!(by_claim.run(site)? == expected, "by the claim, on {node}");
        // As people do who know no root: another user, a part of the tree.
        let some = std::fs::read_dir(&site.store.source)?.filter_map(Result::ok).find(|entry| entry.path().is_dir());
        let name = some.context("the tree has no directory")?.file_name().into_string().unwrap_or_default();
        let part = Reader::inline("default", "part", "first")
            .on(node)
            .with("securityContext: {runAsUser: 1000, runAsNonRoot: true, fsGroup: 2000}")
            .mounted_with(&format!("subPath: {name}, readOnly: true"));
        ensure!(part.run(site)? == sums_of(&site.store.source.join(name))?, "a part by subPath, on {node}");
    }
    Ok(())
}
