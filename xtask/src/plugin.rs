use anyhow::{Context, Result};

use crate::sh::say;
use crate::{images, install};

/// The program, and the name under which kubectl asks it what could come next.
const PROGRAM: &str = "kubectl-forebay";
const COMPLETION: &str = "kubectl_complete-forebay";

/// `cargo xtask plugin`: builds it and puts the link for completion beside it.
pub(crate) fn run() -> Result<()> {
    install::debian(&["cc", "musl-gcc"])?;
    let dir = images::build_static(&["forebay-cli"], images::SHIPPED)?;
    let link = dir.join(COMPLETION);
    if !link.exists() {
        std::os::unix::fs::symlink(PROGRAM, &link).with_context(|| format!("link {}", link.display()))?;
    }
    say(&dir.join(PROGRAM).display().to_string());
    say(&link.display().to_string());
    Ok(())
}
