use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a command and gives its standard output; fails with its command line and standard error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {}", line(command)))?;
    finish(command, &output)
}

/// The same, with `input` as the command's standard input.
pub(crate) fn run_with(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", line(command)))?;
    let mut stdin = child.stdin.take().context("a piped command has no standard input")?;
    let input = input.to_owned();
    // A command that prints much before it has read all must not wait for us while we wait for it.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // One that ended without reading says why by its status.
    let _ = writer.join();
    finish(command, &output)
}

fn finish(command: &Command, output: &std::process::Output) -> Result<String> {
    if !output.status.success() {
        bail!("{} failed ({}): {}", line(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
