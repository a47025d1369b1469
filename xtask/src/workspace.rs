use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::sh;

/// The workspace's root.
pub(crate) fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask has no parent directory")?.to_path_buf())
}

/// `cargo`, as the one that runs this, in the workspace.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    // Variables of the package that runs this must not reach the builds that it starts: they would rebuild.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// `cargo VERB` of the whole workspace, for what is only tried on this machine: clippy compiles the workspace's crates, so that one build serves lints and tests, and a
/// warning fails it. What is wanted of it is chosen by name: a package by itself asks its dependencies for fewer features, and cargo would
/// build every one anew. Not for what is shipped or measured: clippy has the compiler leave optimisations out.
pub(crate) fn linting_cargo(verb: &str) -> Result<Command> {
    let mut command = cargo()?;
    command.args([verb, "--locked", "--workspace", "--all-features"]);
    command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    // How `cargo clippy` hands arguments on.
    command.env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
    Ok(command)
}

/// Where things are kept that outlive a clone: `${XDG_CACHE_HOME:-~/.cache}/forebay`.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache"),
    };
    Ok(base.join("forebay"))
}

/// The agent to show or measure: the one given, else the release build of this workspace.
pub(crate) fn agent(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(path) => std::path::absolute(path).with_context(|| format!("find {}", path.display())),
        None => build_program("forebay-agent", "forebay-agent", true),
    }
}

/// Builds one program of the workspace and gives its path.
pub(crate) fn build_program(package: &str, program: &str, release: bool) -> Result<PathBuf> {
    if release {
        sh::run(cargo()?.args(["build", "--locked", "--release", "--package", package]))?;
    } else {
        sh::run(linting_cargo("build")?.args(["--bin", program]))?;
    }
    self::program(program, release)
}

/// The path of a program that has been built.
pub(crate) fn program(program: &str, release: bool) -> Result<PathBuf> {
    let path = target()?.join(if release { "release" } else { "debug" }).join(program);
    anyhow::ensure!(path.is_file(), "{} is not there: it was not built", path.display());
    Ok(path)
}

/// Where builds go.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(metadata()?["target_directory"].as_str().context("cargo metadata names no target directory")?.into())
}

/// The names of the workspace's packages.
pub(crate) fn packages() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    Ok(packages.iter().filter_map(|package| Some(package["name"].as_str()?.to_owned())).collect())
}

fn metadata() -> Result<serde_json::Value> {
    let text = sh::read(cargo()?.args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    Ok(serde_json::from_str(&text)?)
}
