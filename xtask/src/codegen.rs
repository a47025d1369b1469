use anyhow::Result;

/// `cargo xtask codegen`: runs this program again with the types compiled in.
#[cfg(not(feature = "codegen"))]
pub(crate) fn run(check: bool) -> Result<()> {
    let mut command = crate::workspace::cargo()?;
    command.args(["run", "--quiet", "--locked", "--package", "xtask", "--features", "codegen", "--", "codegen"]);
    if check {
        command.arg("--check");
    }
    crate::sh::run(&mut command)?;
    Ok(())
}

/// `cargo xtask codegen`.
#[cfg(feature = "codegen")]
pub(crate) fn run(check: bool) -> Result<()> {
    use anyhow::Context;

    let root = crate::workspace::root()?;
    let mut wrong = Vec::new();
    for (name, content) in forebay_crds::generated_files() {
        let path = root.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == content) {
            continue;
        }
        wrong.push(name);
        if !check {
            std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
            crate::sh::say(&format!("wrote {name}"));
        }
    }
    anyhow::ensure!(!check || wrong.is_empty(), "not what the types say: {}; run `cargo xtask codegen`", wrong.join(", "));
    Ok(())
}
