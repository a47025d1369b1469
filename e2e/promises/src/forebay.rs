use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::Site;

/// What `kubectl forebay` answered.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// All that it printed.
    pub text: String,
}

impl Site {
    /// The directory of `kubectl-forebay`, for a PATH: that of `$FOREBAY_KUBECTL`, else the target directory that this test runs from.
    pub fn plugin(&self) -> Result<PathBuf> {
        let this = std::env::current_exe()?;
        let named = std::env::var_os("FOREBAY_KUBECTL").map(PathBuf::from);
        let beside = || this.ancestors().skip(1).take(2).map(|dir| dir.join("kubectl-forebay")).find(|path| path.is_file());
        let found = named.or_else(beside).with_context(|| {
            format!("no kubectl-forebay beside {}: run the promises by `cargo xtask promises`, which builds it", this.display())
        })?;
        Ok(found.parent().map(PathBuf::from).unwrap_or_default())
    }

    /// Runs `kubectl forebay` with these words, as people do.
    pub fn forebay(&self, words: &[&str]) -> Result<Answer> {
        let mut kubectl = self.cluster.command("kubectl")?;
        let path = format!("{}:{}", self.plugin()?.display(), std::env::var("PATH")?);
        let output = kubectl.arg("forebay").args(words).env("PATH", path).output()?;
        let printed = [output.stdout, output.stderr].concat();
        Ok(Answer { code: output.status.code().unwrap_or(-1), text: String::from_utf8_lossy(&printed).into_owned() })
    }

    /// The same, where nothing may go wrong; what it printed.
    pub fn forebay_well(&self, words: &[&str]) -> Result<String> {
        let Answer { code, text } = self.forebay(words)?;
        ensure!(code == 0, "kubectl forebay {} ended with {code}: {text}", words.join(" "));
        Ok(text)
    }
}
