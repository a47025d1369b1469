use std::fmt;

/// Why a text is not a value of its type, and what to write instead.
///
/// Prints as one line: `"64GB" is not a size: the unit "GB" is not known; write G for 10^9 or Gi for 2^30 bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    problem: String,
    remedy: String,
}

impl ValueError {
    pub(crate) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }

    /// What is wrong, naming the text found (shortened, control characters escaped, never a credential).
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to write instead.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

impl std::error::Error for ValueError {}

/// Longest piece of a user's text that is repeated in a message, in characters.
const SHOWN: usize = 80;

/// `text` in double quotes for a message: control characters escaped so that a manifest cannot write to the
/// terminal, and cut so that a megabyte of garbage stays one line.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(SHOWN) {
        match c {
            // Needs no escape between double quotes.
            '\'' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    format!("\"{shown}\"")
}
