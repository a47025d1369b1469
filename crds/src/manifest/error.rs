use std::fmt;

/// Why a manifest file was refused: everything that is wrong with it, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// The file, as the caller named it.
    pub origin: String,
    /// What is wrong; never empty, at most [`ManifestError::MOST`].
    pub problems: Vec<Problem>,
    /// How many more problems there are than are listed.
    pub more: usize,
}

/// One thing that is wrong with a manifest file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The object, such as `Dataset ml/imagenet`; empty where no object is known.
    pub object: String,
    /// The field, such as `spec.mounts[1].path`; empty where the text itself is wrong.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl ManifestError {
    /// Most problems that are listed.
    pub const MOST: usize = 50;

    pub(super) fn new(origin: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| (p.line, p.column));
        let more = problems.len().saturating_sub(Self::MOST);
        problems.truncate(Self::MOST);
        Self { origin: origin.to_owned(), problems, more }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{}:{problem}", self.origin)?;
        }
        if self.more > 0 {
            write!(f, "\n{}: and {} more", self.origin, self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.object.is_empty() {
            write!(f, "{}: ", self.object)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}
