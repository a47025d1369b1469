use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use super::paths::is_control;
use super::text::{Text, text_type};
use super::{ValueError, quoted};

/// A pattern over paths relative to a mount: `*` and `?` stay within a segment, `**` crosses segments,
/// `[a-z]` and `{a,b}` as in shells. `*.jpg` therefore matches at the top only; `**/*.jpg` everywhere. One `/` at the
/// start changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<str>);

/// Longest pattern, in characters: it bounds the compiled automaton.
const CHARS: usize = 256;

impl Glob {
    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The compiled pattern.
    ///
    /// # Errors
    /// Only if the pattern compiles to more than the engine's bound; one that parsed has compiled once.
    pub fn matcher(&self) -> Result<GlobMatcher, ValueError> {
        compile(&self.0).map(|glob| glob.compile_matcher())
    }

    /// All of `globs` compiled into one set.
    ///
    /// # Errors
    /// If together they compile to more than the engine's bound: use fewer or simpler patterns.
    pub fn set(globs: &[Glob]) -> Result<GlobSet, ValueError> {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            set.add(compile(&glob.0)?);
        }
        set.build().map_err(|error| {
            ValueError::new(format!("{} patterns are too large together: {error}", globs.len()), "use fewer or simpler patterns")
        })
    }
}

fn compile(text: &str) -> Result<globset::Glob, ValueError> {
    let relative = text.strip_prefix('/').unwrap_or(text);
    GlobBuilder::new(relative).literal_separator(true).backslash_escape(true).build().map_err(|error| {
        ValueError::new(
            format!("{} is not a pattern: {}", quoted(text), error.kind()),
            "use * and ? within a name, ** across directories, [a-z] and {a,b}; put \\ before a special character to take it literally",
        )
    })
}

impl Text for Glob {
    const PATTERN: &'static str = r"^/?[^/\x00-\x1f\x7f][^\x00-\x1f\x7f]*$";
    const LENGTH: (u64, u64) = (1, CHARS as u64);
    const DESCRIPTION: &'static str =
        "A pattern over paths relative to the mount: * and ? within a name, ** across directories, [a-z], {a,b}.";

    fn parse(text: &str) -> Result<Self, ValueError> {
        let wrong =
            |fault: &str, remedy: &str| Err(ValueError::new(format!("{} is not a pattern: {fault}", quoted(text)), remedy));
        if text.is_empty() {
            return wrong("it is empty", "write a pattern such as **/*.jpg, or remove it");
        }
        if matches!(text.strip_prefix('/'), Some(rest) if rest.is_empty() || rest.starts_with('/')) {
            return wrong("no name follows the '/'", "write it relative to the mount, such as train/** or **/*.jpg");
        }
        if text.chars().count() > CHARS {
            return wrong("it is longer than 256 characters", "use several shorter patterns");
        }
        if text.chars().any(is_control) {
            return wrong("it contains a control character", "use ? in its place");
        }
        compile(text)?;
        Ok(Self(text.into()))
    }
}

text_type!(Glob);
