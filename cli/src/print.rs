use std::io::{self, Write as _};

/// Writes to the standard output. A reader that went away, such as `head`, is no error of ours: the program ends.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

/// Writes a line to the standard output.
pub(crate) fn line(line: &str) -> anyhow::Result<()> {
    text(&format!("{line}\n"))
}

/// Writes a line to the standard error output. Where nobody reads that, nobody can be told.
pub(crate) fn error(line: &str) {
    let _ = writeln!(io::stderr(), "error: {line}");
}

/// An error and its causes on one line. Many repeat their cause in their own words.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        match text.contains(&cause) {
            true => {}
            false if text.is_empty() => text = cause,
            false => text = format!("{text}: {cause}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn each_cause_is_told_once() {
        let error = anyhow!("no such file").context("read ca.crt: no such file").context("connect");
        assert_eq!(super::causes(&error), "connect: read ca.crt: no such file");
    }
}
