/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes are in the buffer. Fewer than asked only at the end of the object or where the next block is
    /// not cached; 0 only at or beyond the end of the object, or for an empty buffer.
    Hit(usize),
    /// The block that holds the first byte asked for is not cached.
    Miss {
        /// Its number.
        block: u32,
    },
}

/// How a block should land.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landing {
    /// Tier wished for, before the Dataset's own wish; another takes the block when this one cannot.
    pub tier: Option<String>,
    /// Pin the object first (as [`crate::Object::pin`] would); refused when it cannot be pinned.
    pub pin: bool,
    /// Other nodes keep the object: the block goes as soon as anything else needs the room. Said of each block when it lands, and as long as it stays.
    pub guest: bool,
}

/// What became of an insert. Never an error: the caller has the bytes already and goes on without the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The block is cached (or was already).
    Stored {
        /// Name of the tier that holds it.
        tier: std::sync::Arc<str>,
    },
    /// The block is not cached.
    Refused(Reason),
}

/// Why an insert was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The data's length is not that of the block, or there is no such block.
    WrongLength,
    /// Nothing in the tier may be evicted for it: all else is pinned, leased or in flight.
    Full,
    /// The file system has no room beyond the reserve, and evicting did not help.
    Reserve,
    /// The file system has no room beyond the reserve, and gave back nothing of what was just evicted: somebody holds it open, or it takes its
    /// time. It is tried again in a moment.
    Lagging,
    /// The Dataset is at its quota and nothing of its own may be evicted.
    Quota,
    /// The object cannot be pinned.
    Pin,
    /// The tier's disk failed lately; it is tried again after a back-off.
    Faulted,
    /// After a start, what the tier holds is not known well enough yet to be sure that the block fits.
    Recovering,
    /// The Dataset was removed.
    Retired,
    /// The cache was closed.
    Closed,
}

impl Reason {
    /// All reasons, in the order of their counters.
    pub const ALL: [Reason; 10] = [
        Reason::WrongLength,
        Reason::Full,
        Reason::Reserve,
        Reason::Lagging,
        Reason::Quota,
        Reason::Pin,
        Reason::Faulted,
        Reason::Recovering,
        Reason::Retired,
        Reason::Closed,
    ];

    /// A word for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::WrongLength => "wrong_length",
            Reason::Full => "full",
            Reason::Reserve => "reserve",
            Reason::Lagging => "lagging",
            Reason::Quota => "quota",
            Reason::Pin => "pin",
            Reason::Faulted => "faulted",
            Reason::Recovering => "recovering",
            Reason::Retired => "retired",
            Reason::Closed => "closed",
        }
    }
}

/// Why an object cannot be pinned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// No tier can promise the space.
    #[error(
        "pinning needs {needed} bytes, but of the {limit} bytes that may be pinned in tier {tier} {pinned} are taken; raise the tier's capacity or pin less"
    )]
    NoRoom {
        /// The tier with the most room left.
        tier: String,
        /// Bytes that the object needs.
        needed: u64,
        /// Bytes pinned already.
        pinned: u64,
        /// Bytes that may be pinned.
        limit: u64,
    },
    /// The Dataset's quota is smaller than what would be pinned.
    #[error(
        "pinning needs {needed} bytes, but the Dataset's quota is {quota} bytes, {pinned} of them pinned; raise the quota or pin less"
    )]
    Quota {
        /// Bytes that the object needs.
        needed: u64,
        /// Bytes that the Dataset has pinned already.
        pinned: u64,
        /// Its quota.
        quota: u64,
    },
    /// The tier cannot write now, or what it holds is not known yet.
    #[error("tier {tier} cannot take a pin now: {cause}; try again later")]
    Unavailable {
        /// Name of the tier.
        tier: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The Dataset was removed.
    #[error("the Dataset was removed from this cache")]
    Retired,
}

/// Why an object was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It is not pinned, or not all of it is here, or was right. It may be once it was fetched.
    #[error("it is not pinned or not complete")]
    NotReady,
    /// The tier could not do it.
    #[error("tier {tier} cannot publish: {source}")]
    Failed {
        /// Name of the tier.
        tier: String,
        /// Why not.
        source: std::io::Error,
    },
}
