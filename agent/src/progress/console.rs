use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::fmt::MakeWriter;

/// The standard error output, shared by the log's lines and by progress bars, so that neither tears the other.
/// Cheap to clone. Give it to the log as its writer.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    bars: MultiProgress,
    terminal: bool,
}

impl Console {
    /// The process's standard error output.
    pub(crate) fn stderr() -> Self {
        let terminal = io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), terminal }
    }

    /// Whether bars can be drawn on it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes a line above the bars.
    pub(super) fn write_line(&self, line: &str) -> io::Result<()> {
        self.make_writer().write_all(format!("{line}\n").as_bytes())
    }

    pub(super) fn bars(&self) -> &MultiProgress {
        &self.bars
    }
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { bars: self.bars.clone() }
    }
}

/// Writes one event of the log, above the bars.
#[derive(Debug)]
pub(crate) struct Line {
    bars: MultiProgress,
}

impl io::Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().write_all(text))?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
