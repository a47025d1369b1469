//! A catalog that the other agent has, taken from it as an agent takes it in place of a listing.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use forebay_catalog::{Adoption, Builder, BuilderConfig, Catalog, Incoming, Listed, MountSpec};
use forebay_peers::{AskedCatalog, BodyError, CatalogAnswer, Net, Refusal, WantedCatalog};
use forebay_placement::{Item, Member, Members};
use futures::{StreamExt as _, TryStreamExt as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

use crate::{FAR, NEAR, ROUNDS, median, plain, say};

/// A file takes about 86 bytes: its record, its name, and a tag of 16 bytes.
const FILES: u64 = 1_300_000;
/// What the goal speaks of.
const HUNDRED: u64 = 100 << 20;
/// Bytes read at a time, as the agent does.
const PIECE: usize = 256 << 10;
const TREE: &str = "the uid/the mounts";

pub(crate) struct Made {
    dataset: String,
    catalog: Catalog,
    dir: TempDir,
}

struct Taken {
    transfer: Duration,
    /// All that is done with a file that came: it is looked at, made this node's, and synced.
    adoption: Duration,
    /// Its checksums once more, by themselves.
    sums: Duration,
}

impl Made {
    /// Of a Dataset whose catalogs this agent asks the other for.
    pub(crate) fn build() -> Result<Self> {
        let members =
            Members::new([NEAR, FAR].map(|node| Member { node: node.to_owned(), zone: None, leaving: false, since: 0 }));
        let mut names = (0..).map(|n| format!("ml/speed-{n}"));
        let of_far = |name: &String| members.rank(FAR, Item::catalog(name), 1) == Some(0);
        let dataset = names.find(of_far).context("no name")?;
        let dir = tempfile::tempdir()?;
        let mounts = vec![MountSpec::new("/", "s3://obs.example/imagenet/train")];
        let config = BuilderConfig { dataset: dataset.clone(), generation: 1, listed_at_ns: 1, mounts, memory: 64 << 20 };
        let mut builder = Builder::new(dir.path(), config)?;
        for i in 0..FILES {
            let key = format!("n{:08}/img_{:08}_{:04}.jpg", i / 1000, i.wrapping_mul(2_654_435_761) % 100_000_000, i % 1000);
            let version = format!("e\"{:032x}\"", u128::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            let mtime_ns = 1_700_000_000_000_000_000 + i64::try_from(i)?;
            builder.add(0, Listed { key: &key, size: 100 << 10, mtime_ns, version: &version })?;
        }
        let catalog = builder.finish(&dir.path().join("made"))?;
        ensure!(catalog.file_len() >= HUNDRED, "a catalog of {} bytes is too small", catalog.file_len());
        Ok(Self { dataset, catalog, dir })
    }

    /// As the agent answers (`cluster/peers/catalogs.rs`).
    pub(crate) fn give(&self, asked: &AskedCatalog) -> Result<CatalogAnswer, Refusal> {
        if (asked.dataset.as_str(), asked.tree.as_str()) != (self.dataset.as_str(), TREE) {
            return Err(Refusal::NotHere);
        }
        let file = File::open(self.catalog.path()).map_err(|_| Refusal::NotHeld)?;
        let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE);
        let pieces = pieces.map_err(BodyError::from).boxed();
        Ok(CatalogAnswer::Here { pieces, len: self.catalog.file_len(), age: Duration::ZERO })
    }

    /// As a Dataset takes it (`try_to_take` in its `catalogs.rs`).
    async fn take(&self, near: &Arc<Net>) -> Result<Taken> {
        let start = Instant::now();
        let incoming = Incoming::new(&self.dir.path().join("taken"))?;
        let wanted = WantedCatalog { dataset: self.dataset.clone(), tree: TREE.to_owned(), since: None, wish: None };
        let age = near.catalog(&wanted, incoming.file()?, &AtomicU64::new(0)).await.context("the other agent gave no catalog")?;
        let transfer = start.elapsed();
        let listed_at = SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH);
        let adoption = Adoption {
            dataset: self.dataset.clone(),
            mounts: self.catalog.info().mounts.clone(),
            generation: 2,
            listed_at_ns: i64::try_from(listed_at.duration_since(UNIX_EPOCH)?.as_nanos())?,
        };
        let adopted = spawn_blocking(move || -> Result<Taken> {
            let start = Instant::now();
            let catalog = incoming.adopt(adoption)?;
            let adoption = start.elapsed();
            ensure!(catalog.info().files == FILES, "it has {} files", catalog.info().files);
            let start = Instant::now();
            catalog.verify()?;
            Ok(Taken { transfer, adoption, sums: start.elapsed() })
        });
        adopted.await?
    }
}

/// Beside plain TCP of as many bytes, which nobody writes to a file.
pub(crate) fn rounds(runtime: &Runtime, near: &Arc<Net>, made: &Made, each_way: Duration) -> Result<()> {
    let len = made.catalog.file_len();
    say(&format!("a catalog of {FILES} files, {:.1} MiB", len as f64 / (1 << 20) as f64))?;
    let of_hundred = |time: Duration| time.as_secs_f64() * HUNDRED as f64 / len as f64;
    let (mut of_all, mut to_tcp) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let tcp = plain::tcp(len, each_way)?;
        let Taken { transfer, adoption, sums } = runtime.block_on(made.take(near))?;
        let ratio = tcp.as_secs_f64() / transfer.as_secs_f64();
        say(&format!(
            "plain TCP {:.3} s, catalog {:.3} s, ratio {ratio:.2}; adoption {:.3} s (checksums {:.3} s); {:.3} s for 100 MiB",
            tcp.as_secs_f64(),
            transfer.as_secs_f64(),
            adoption.as_secs_f64(),
            sums.as_secs_f64(),
            of_hundred(transfer + adoption)
        ))?;
        of_all.push([tcp, transfer, adoption, transfer + adoption].map(of_hundred));
        to_tcp.push(ratio);
    }
    let of = |n: usize| median(&mut of_all.iter().map(|row: &[f64; 4]| row[n]).collect::<Vec<_>>());
    say(&format!(
        "medians for 100 MiB of catalog: plain TCP {:.3} s, transfer {:.3} s, adoption {:.3} s, both {:.3} s",
        of(0),
        of(1),
        of(2),
        of(3)
    ))?;
    say(&format!("median ratio of a catalog to plain TCP {:.2}", median(&mut to_tcp)))
}
