//! The types and reasons of conditions: every word that a status may use, in one file.

/// Types of a Dataset's conditions.
pub mod dataset {
    /// The spec is valid and everything that it names exists.
    pub const ACCEPTED: &str = "Accepted";
    /// The tree is listed and served.
    pub const READY: &str = "Ready";
    /// Everything that was asked for ahead is cached.
    pub const PREFETCHED: &str = "Prefetched";
    /// Every store answered the last time it was asked.
    pub const STORES_REACHABLE: &str = "StoresReachable";
    /// The mount is composed: names, attributes and complete pinned files are read without any process of ours. Only of a Dataset
    /// for which that was asked. Not a fault when it is false: the message says what stands in the way.
    pub const COMPOSED: &str = "Composed";
    /// Complete files are read by the kernel itself. Only of a Dataset that is mounted somewhere. Not a fault when it is false: the
    /// message says what stands in the way; when it is true, it says what a faster way would take.
    pub const NATIVE_READS: &str = "NativeReads";
    /// The tiers of the node's cache can be used. Only where an agent tells of itself, and only when it is false: in a cluster the
    /// CacheRuntime's conditions say it.
    pub const TIERS_USABLE: &str = "TiersUsable";
    /// The claim of the Dataset's name is there and bound.
    pub const CLAIM_BOUND: &str = "ClaimBound";
    /// Only of a Dataset that is being deleted: it never turns true, since the object is gone then.
    pub const DELETED: &str = "Deleted";
}

/// Types of a CacheRuntime's conditions.
pub mod runtime {
    /// The spec is valid.
    pub const ACCEPTED: &str = "Accepted";
    /// Every desired agent serves.
    pub const READY: &str = "Ready";
    /// The tiers fit into the memory and onto the disks of each node that is to lend them.
    pub const TIERS_FIT: &str = "TiersFit";
    /// Only of a CacheRuntime that is being deleted: it never turns true, since the object is gone then.
    pub const DELETED: &str = "Deleted";
}

/// Types of a CacheRuntimeScale's conditions.
pub mod scale {
    /// The CacheRuntime goes by its number.
    pub const IN_EFFECT: &str = "InEffect";
}

/// Types of conditions of nodes.
pub mod node {
    /// The node need not be waited for any longer: it has what it is to have before pods come, or the time for that is over.
    pub const WARM_UP_COMPLETE: &str = "forebay.io/WarmUpComplete";
}

/// Reasons of conditions.
pub mod reason {
    /// All is as asked for.
    pub const AS_DESIRED: &str = "AsDesired";
    /// The spec breaks a rule.
    pub const INVALID: &str = "Invalid";
    /// The CacheRuntime does not exist.
    pub const RUNTIME_NOT_FOUND: &str = "RuntimeNotFound";
    /// Another CacheRuntimeScale says how many nodes of the CacheRuntime lend space.
    pub const SCALED_BY_ANOTHER: &str = "ScaledByAnother";
    /// The CacheRuntime has no tier of that name.
    pub const TIER_NOT_FOUND: &str = "TierNotFound";
    /// The Secret does not exist.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// The operator may not read the Secret.
    pub const SECRET_NOT_READABLE: &str = "SecretNotReadable";
    /// The Secret lacks what the store needs.
    pub const SECRET_INCOMPLETE: &str = "SecretIncomplete";
    /// A directory of the nodes that the CacheRuntime does not allow.
    pub const HOST_PATH_NOT_ALLOWED: &str = "HostPathNotAllowed";
    /// A claim of the Dataset's name exists and is somebody else's.
    pub const CLAIM_EXISTS: &str = "ClaimExists";
    /// The claim is not bound yet.
    pub const CLAIM_PENDING: &str = "ClaimPending";
    /// Pods still use it.
    pub const IN_USE: &str = "InUse";
    /// Nodes are letting go of it.
    pub const RELEASING: &str = "Releasing";
    /// No node is to serve.
    pub const NO_NODES: &str = "NoNodes";
    /// Agents are starting.
    pub const STARTING: &str = "Starting";
    /// A tier takes more than a node has.
    pub const TIER_DOES_NOT_FIT: &str = "TierDoesNotFit";
    /// A tier cannot be used on a node.
    pub const TIER_FAULTY: &str = "TierFaulty";
    /// A tier's directory is another CacheRuntime's already.
    pub const TIER_PATH_TAKEN: &str = "TierPathTaken";
    /// The stores are being listed.
    pub const LISTING: &str = "Listing";
    /// A listing failed.
    pub const LISTING_FAILED: &str = "ListingFailed";
    /// Data is being fetched ahead.
    pub const PREFETCHING: &str = "Prefetching";
    /// Nodes that keep data have come or gone, and copies are missing until the others have brought them in.
    pub const MOVING: &str = "Moving";
    /// Some files could not be fetched.
    pub const FILES_FAILED: &str = "FilesFailed";
    /// A store does not answer.
    pub const STORE_UNREACHABLE: &str = "StoreUnreachable";
    /// A store refuses the credentials.
    pub const ACCESS_DENIED: &str = "AccessDenied";
    /// Not all nodes serve.
    pub const NODES_MISSING: &str = "NodesMissing";
    /// The agent answers the kernel by FUSE.
    pub const SERVED_BY_FUSE: &str = "ServedByFuse";
    /// What is pinned or fetched ahead does not fit.
    pub const OUT_OF_SPACE: &str = "OutOfSpace";
    /// A node has what it is to have before pods come.
    pub const WARM: &str = "Warm";
    /// A node's agent or data is on its way.
    pub const WARMING: &str = "Warming";
    /// A node did not become warm in time.
    pub const WARM_UP_TIMED_OUT: &str = "WarmUpTimedOut";
    /// The object uses something that this version does not know.
    pub const UNREADABLE: &str = "Unreadable";
}
