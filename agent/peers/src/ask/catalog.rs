use std::time::Duration;

use http::{HeaderMap, HeaderValue, Uri};

use super::{HELD, NotAsked, field, text, text_field};

/// The path of requests for catalogs.
pub(super) const PATH: &str = "/v1/catalog";
/// Milliseconds since the listing of the catalog in the answer began.
pub(crate) const AGE: &str = "forebay-age-ms";
/// Objects seen by the listing that makes the catalog.
pub(crate) const SEEN: &str = "forebay-seen";

/// A catalog of a Dataset, in place of a listing of its stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedCatalog {
    /// The Dataset, `namespace/name`.
    pub dataset: String,
    /// Stands for this very Dataset and its mounts: only a catalog of the same ones is wanted.
    pub tree: String,
    /// Its listing began within so long; `None`: whenever.
    pub within: Option<Duration>,
    /// Or it was made for this wish, whenever that was.
    pub wish: Option<String>,
    /// Only if there is one now: nothing is listed nor waited for.
    pub held: bool,
}

impl AskedCatalog {
    pub(crate) fn uri(&self) -> String {
        let Self { dataset, tree, within, wish, held: _ } = self;
        let mut uri = format!("{PATH}?dataset={}&tree={}", text(dataset), text(tree));
        if let Some(within) = within {
            uri.push_str(&format!("&within-ms={}", within.as_millis()));
        }
        if let Some(wish) = wish {
            uri.push_str(&format!("&wish={}", text(wish)));
        }
        uri
    }

    pub(crate) fn add_headers(&self, headers: &mut HeaderMap) {
        if self.held {
            headers.insert(HELD, HeaderValue::from_static("1"));
        }
    }

    pub(super) fn parse(uri: &Uri, headers: &HeaderMap) -> Result<Self, NotAsked> {
        let within = field(uri, "within-ms").map(|ms| ms.parse().map(Duration::from_millis));
        Ok(Self {
            dataset: text_field(uri, "dataset")?,
            tree: text_field(uri, "tree")?,
            within: within.transpose().map_err(|_| NotAsked("within-ms"))?,
            wish: field(uri, "wish").map(|_| text_field(uri, "wish")).transpose()?,
            held: headers.contains_key(HELD),
        })
    }
}
