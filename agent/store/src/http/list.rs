use std::collections::VecDeque;
use std::sync::Arc;

use ::http::{Method, header};
use futures::{StreamExt, stream};

use super::client::{send, small};
use super::index::Index;
use super::url::Link;
use super::{HttpStore, autoindex, get};
use crate::{ListPage, ListRequest, PageToken, StoreErrorKind, StoreResult, Unrepresentable, Version};

/// Files looked up at once for one page.
const LOOKUPS: usize = 16;
/// Directories' pages fetched for one page of a listing, so that it ends in time even where there are no files.
const FETCHES: usize = 64;
/// Longest page or index read.
const LONGEST: usize = 64 << 20;
/// Bytes of names kept for the next page of a listing.
const KEPT: usize = 64 << 20;
/// Longest key followed. A link in a circle on the server ends here.
const LONGEST_KEY: usize = 4096;

/// The names one level below a directory; those with levels of their own end with `/`.
#[derive(Debug, Default)]
pub(super) struct Directory {
    names: Vec<String>,
    bad: Vec<Unrepresentable>,
}

impl Directory {
    pub(super) fn new(mut names: Vec<String>, bad: Vec<Unrepresentable>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self { names, bad }
    }

    #[cfg(test)]
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    #[cfg(test)]
    pub(super) fn bad(&self) -> &[Unrepresentable] {
        &self.bad
    }

    /// The names after `name`; all without one.
    fn after(&self, name: Option<&str>) -> &[String] {
        let start = name.map_or(0, |name| self.names.partition_point(|other| other.as_str() <= name));
        &self.names[start..]
    }

    fn weight(&self) -> usize {
        self.names.iter().map(|name| name.len() + 24).sum()
    }
}

/// What a listing's next page would otherwise fetch again: the last directories and the index.
#[derive(Debug, Default)]
pub(super) struct Names {
    directories: VecDeque<(String, Arc<Directory>)>,
    weight: usize,
    index: Option<(Version, Arc<Index>)>,
}

impl Names {
    fn find(&self, path: &str) -> Option<Arc<Directory>> {
        self.directories.iter().find(|(known, _)| known == path).map(|(_, directory)| directory.clone())
    }

    fn keep(&mut self, path: &str, directory: Arc<Directory>) {
        if let Some(place) = self.directories.iter().position(|(known, _)| known == path) {
            self.drop_at(place);
        }
        self.weight += directory.weight();
        self.directories.push_back((path.to_owned(), directory));
        while self.weight > KEPT || self.directories.len() > FETCHES {
            self.drop_at(0);
        }
    }

    fn drop_at(&mut self, place: usize) {
        if let Some((_, old)) = self.directories.remove(place) {
            self.weight -= old.weight();
        }
    }
}

/// A directory on the way down, and the name in it that was dealt with last.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    path: String,
    after: Option<String>,
}

/// The way to what a page's token names: the last file or directory dealt with.
fn frames(prefix: &str, token: Option<&PageToken>) -> Vec<Frame> {
    let mut path = prefix.to_owned();
    let mut frames = vec![Frame { path: path.clone(), after: None }];
    for (index, part) in token.map_or("", |token| &token.0).split_inclusive('/').enumerate() {
        if index > 0 {
            frames.push(Frame { path: path.clone(), after: None });
        }
        if let Some(frame) = frames.last_mut() {
            frame.after = Some(part.to_owned());
        }
        path.push_str(part);
    }
    frames
}

struct Listing<'a> {
    store: &'a HttpStore,
    index: Option<Arc<Index>>,
    page: ListPage,
    files: Vec<String>,
    fetches: usize,
}

pub(super) async fn list(store: &HttpStore, request: ListRequest) -> StoreResult<ListPage> {
    if let Some(file) = store.base.file() {
        let mut page = ListPage::default();
        if request.prefix.is_empty() {
            page.objects.push(get::head(store, "list", file).await?);
        }
        return Ok(page);
    }
    let index = index(store).await?;
    let mut listing = Listing { store, index, page: ListPage::default(), files: Vec::new(), fetches: 0 };
    let next = if request.recursive { listing.walk(&request).await? } else { listing.level(&request).await? };
    listing.look_up().await?;
    listing.page.next = next.map(PageToken);
    Ok(listing.page)
}

impl Listing<'_> {
    async fn level(&mut self, request: &ListRequest) -> StoreResult<Option<String>> {
        let after = request.page.as_ref().map(|token| token.0.as_str());
        let directory = self.directory(&request.prefix, after.is_none()).await?;
        let names = directory.after(after);
        for name in names.iter().take(self.store.page_size) {
            let key = format!("{}{name}", request.prefix);
            if name.ends_with('/') { self.page.prefixes.push(key) } else { self.files.push(key) }
        }
        let more = names.len() > self.store.page_size;
        Ok(names.get(self.store.page_size - 1).filter(|_| more).cloned())
    }

    /// Walks down in order of names until the page is full; the answer is the last name dealt with, if there are more.
    async fn walk(&mut self, request: &ListRequest) -> StoreResult<Option<String>> {
        let mut frames = frames(&request.prefix, request.page.as_ref());
        while let Some(frame) = frames.last_mut() {
            let directory = self.directory(&frame.path, frame.after.is_none()).await?;
            let mut deeper = None;
            for name in directory.after(frame.after.as_deref()) {
                let key = format!("{}{name}", frame.path);
                frame.after = Some(name.clone());
                if name.ends_with('/') {
                    deeper = Some(key);
                    break;
                }
                self.files.push(key.clone());
                if self.files.len() == self.store.page_size {
                    return Ok(key.strip_prefix(&request.prefix).map(str::to_owned));
                }
            }
            match deeper {
                Some(path) if path.len() > LONGEST_KEY => self.report(path, "the path is longer than 4096 bytes"),
                Some(path) => frames.push(Frame { path, after: None }),
                None => {
                    let done = frames.pop();
                    if let Some(done) = done.filter(|_| self.fetches >= FETCHES && !frames.is_empty()) {
                        return Ok(done.path.strip_prefix(&request.prefix).map(str::to_owned));
                    }
                }
            }
        }
        Ok(None)
    }

    /// A directory's names. On entering one they are fetched, later pages use what was kept.
    async fn directory(&mut self, path: &str, entering: bool) -> StoreResult<Arc<Directory>> {
        if let Some(index) = &self.index {
            let directory = index.directory(path);
            if entering {
                self.page.unrepresentable.extend(directory.bad.iter().cloned());
            }
            return Ok(Arc::new(directory));
        }
        let kept = if entering { None } else { self.names().find(path) };
        if let Some(kept) = kept {
            return Ok(kept);
        }
        self.fetches += 1;
        let directory = Arc::new(self.fetch(path).await?);
        if entering {
            self.page.unrepresentable.extend(directory.bad.iter().cloned());
        }
        self.names().keep(path, directory.clone());
        Ok(directory)
    }

    fn names(&self) -> std::sync::MutexGuard<'_, Names> {
        self.store.names.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn report(&mut self, lossy: String, reason: &str) {
        self.page.unrepresentable.push(Unrepresentable { lossy, reason: reason.to_owned() });
    }

    async fn fetch(&mut self, path: &str) -> StoreResult<Directory> {
        let Some(url) = self.store.base.url(path) else { return Ok(Directory::default()) };
        let is_root = path.is_empty();
        let answer = match send(self.store, "list", path, (Method::GET, &url), &[], None).await {
            Ok(answer) => answer,
            Err(mut error) => match error.kind {
                StoreErrorKind::NotFound if is_root => {
                    error.kind = StoreErrorKind::NoSuchContainer;
                    return Err(error);
                }
                StoreErrorKind::NotFound => return Ok(Directory::default()),
                StoreErrorKind::Denied if is_root => {
                    let cause = error.cause.as_deref().unwrap_or_default();
                    let hint = "if only the listing is forbidden, name the files by the option index";
                    let text = format!("{cause}; {hint}");
                    return Err(error.with_cause(text));
                }
                StoreErrorKind::Denied => {
                    self.report(path.to_owned(), "access denied");
                    return Ok(Directory::default());
                }
                _ => return Err(error),
            },
        };
        let html = answer.text(header::CONTENT_TYPE).is_some_and(|text| text.to_ascii_lowercase().contains("html"));
        if !html {
            if !is_root {
                self.report(path.to_owned(), "the server gives no page of this directory");
                return Ok(Directory::default());
            }
            let text = "listing: the server gives no page of the directory; name the files by the option index".to_owned();
            return Err(self.store.error("list", path, StoreErrorKind::Unsupported(text)));
        }
        let page = small(self.store, path, answer.body, LONGEST).await?;
        let (mut names, mut bad) = (Vec::new(), Vec::new());
        for href in autoindex::hrefs(&String::from_utf8_lossy(&page)) {
            match self.store.base.link(path, &href) {
                Link::Below(name) => names.push(name),
                Link::Not(lossy, reason) => bad.push(Unrepresentable { lossy, reason: reason.to_owned() }),
                Link::Elsewhere => {}
            }
        }
        Ok(Directory::new(names, bad))
    }

    /// Looks up the files' sizes and versions. One that is gone by now is none; one that cannot be read is reported.
    async fn look_up(&mut self) -> StoreResult<()> {
        let store = self.store;
        let files = std::mem::take(&mut self.files);
        let mut found =
            stream::iter(files).map(|key| async move { (get::head(store, "list", &key).await, key) }).buffered(LOOKUPS);
        let mut page = std::mem::take(&mut self.page);
        while let Some((answer, key)) = found.next().await {
            let reason = match answer {
                Ok(meta) => {
                    page.objects.push(meta);
                    continue;
                }
                Err(error) => match error.kind {
                    StoreErrorKind::NotFound => continue,
                    StoreErrorKind::Denied => "access denied".to_owned(),
                    StoreErrorKind::Unsupported(text) => format!("not supported: {text}"),
                    _ => return Err(error),
                },
            };
            page.unrepresentable.push(Unrepresentable { lossy: key, reason });
        }
        self.page = page;
        Ok(())
    }
}

/// The index, if the source has one; fetched again when it changed.
async fn index(store: &HttpStore) -> StoreResult<Option<Arc<Index>>> {
    let Some(url) = &store.index else { return Ok(None) };
    let shown = "the index";
    let no_index = |mut error: crate::StoreError| {
        if error.kind == StoreErrorKind::NotFound {
            error.kind = StoreErrorKind::NoSuchContainer;
        }
        error
    };
    let now = get::head_url(store, "list", shown, url).await.map_err(no_index)?;
    let lock = || store.names.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((version, index)) = &lock().index
        && *version == now.version
        && now.version != Version::Modified(0)
    {
        return Ok(Some(index.clone()));
    }
    let answer = send(store, "list", shown, (Method::GET, url), &[], None).await.map_err(no_index)?;
    let version = get::meta(shown, 0, &answer).version;
    let text = small(store, shown, answer.body, LONGEST).await?;
    let index = Arc::new(Index::parse(&text));
    lock().index = (index.weight() <= KEPT).then(|| (version, index.clone()));
    Ok(Some(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place() {
        let frame = |path: &str, after: Option<&str>| Frame { path: path.into(), after: after.map(String::from) };
        let of = |token: &str| frames("p/", Some(&PageToken(token.into())));
        assert_eq!(frames("p/", None), [frame("p/", None)]);
        assert_eq!(of("x"), [frame("p/", Some("x"))]);
        assert_eq!(of("a/b/c"), [frame("p/", Some("a/")), frame("p/a/", Some("b/")), frame("p/a/b/", Some("c"))]);
        assert_eq!(of("a/b/"), [frame("p/", Some("a/")), frame("p/a/", Some("b/"))]);
        assert_eq!(of("a//c"), [frame("p/", Some("a/")), frame("p/a/", Some("/")), frame("p/a//", Some("c"))]);
    }

    #[test]
    fn names_go_on_after_one_that_is_gone() {
        let directory = Directory::new(["c", "a/", "a", "c"].map(String::from).to_vec(), Vec::new());
        assert_eq!(directory.after(None), ["a", "a/", "c"]);
        assert_eq!(directory.after(Some("a")), ["a/", "c"]);
        assert_eq!(directory.after(Some("b")), ["c"]);
        assert_eq!(directory.after(Some("c")), [""; 0]);
    }

    #[test]
    fn kept_names_are_bounded() {
        let mut names = Names::default();
        for index in 0..200 {
            names.keep(&format!("{index}/"), Arc::new(Directory::new(vec!["x".into()], Vec::new())));
        }
        assert_eq!(names.directories.len(), FETCHES);
        assert!(names.find("199/").is_some() && names.find("0/").is_none());
        let huge = vec!["y".repeat(KEPT)];
        names.keep("huge/", Arc::new(Directory::new(huge, Vec::new())));
        assert_eq!((names.directories.len(), names.weight), (0, 0));
    }
}
