//! What to bring in, in which order: pure.

/// One directory or file to bring in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Absolute path in the tree.
    pub(crate) path: String,
    /// Whether its objects are pinned once they are complete.
    pub(crate) pin: bool,
    /// Paths below it that an earlier step brings in.
    skip: Vec<String>,
}

impl Step {
    /// Whether the file at `path` is this step's to bring in.
    pub(crate) fn covers(&self, path: &str) -> bool {
        is_below(path, &self.path) && !self.skip.iter().any(|skip| is_below(path, skip))
    }
}

/// Pins first, because they are promised; then the prefetch paths as they were given. No file is in two steps.
pub(crate) fn steps(pins: &[String], prefetch: &[String]) -> Vec<Step> {
    let wanted = pins.iter().map(|path| (path, true)).chain(prefetch.iter().map(|path| (path, false)));
    let mut steps: Vec<Step> = Vec::new();
    for (path, pin) in wanted {
        let path = normal(path);
        if steps.iter().any(|step| is_below(&path, &step.path)) {
            continue;
        }
        let skip = steps.iter().map(|step| step.path.clone()).filter(|earlier| is_below(earlier, &path)).collect();
        steps.push(Step { path, pin, skip });
    }
    steps
}

/// The passes over the steps, and the rank that this node has among the keepers of what each brings in: pins in all copies, because they are
/// promised; then a first copy of everything before a second one of anything.
pub(crate) fn passes(steps: &[Step], copies: usize) -> Vec<(Step, usize)> {
    let of = |pin: bool| steps.iter().filter(move |step| step.pin == pin);
    let pins = of(true).flat_map(|step| (0..copies).map(move |rank| (step.clone(), rank)));
    let rest = (0..copies).flat_map(|rank| of(false).map(move |step| (step.clone(), rank)));
    pins.chain(rest).collect()
}

/// Whether `path` is `directory` or lies below it; both absolute, without a slash at the end save for `/` itself.
pub(crate) fn is_below(path: &str, directory: &str) -> bool {
    directory == "/" || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn normal(path: &str) -> String {
    let path = path.trim_end_matches('/');
    if path.is_empty() { "/".into() } else { path.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(all: &[&str]) -> Vec<String> {
        all.iter().map(|&path| path.to_owned()).collect()
    }

    /// How many steps, and how many pinning ones, bring in `path`.
    fn covering(steps: &[Step], path: &str) -> (usize, usize) {
        let covering: Vec<_> = steps.iter().filter(|step| step.covers(path)).collect();
        (covering.len(), covering.iter().filter(|step| step.pin).count())
    }

    #[test]
    fn no_file_is_brought_in_twice_and_pins_win() {
        let steps = steps(&paths(&["/a/b", "/c/"]), &paths(&["/a", "/", "/c/d", "/a/b/x"]));
        assert_eq!(covering(&steps, "/a/b/file"), (1, 1));
        assert_eq!(covering(&steps, "/a/bc"), (1, 0), "a name that only begins alike is not below");
        assert_eq!(covering(&steps, "/a/file"), (1, 0));
        assert_eq!(covering(&steps, "/c/d"), (1, 1));
        assert_eq!(covering(&steps, "/elsewhere"), (1, 0));
        assert_eq!(steps.iter().map(|step| step.path.as_str()).collect::<Vec<_>>(), ["/a/b", "/c", "/a", "/"]);
    }

    #[test]
    fn pins_come_in_all_copies_and_a_first_copy_of_the_rest_before_any_second() {
        let steps = steps(&paths(&["/a"]), &paths(&["/b", "/c"]));
        let passes = passes(&steps, 2);
        let passes: Vec<_> = passes.iter().map(|(step, rank)| (step.path.as_str(), *rank)).collect();
        assert_eq!(passes, [("/a", 0), ("/a", 1), ("/b", 0), ("/c", 0), ("/b", 1), ("/c", 1)]);
    }

    #[test]
    fn nothing_wanted_is_nothing_done() {
        assert!(steps(&[], &[]).is_empty());
        assert_eq!(covering(&steps(&paths(&["/one"]), &[]), "/two"), (0, 0));
    }
}
