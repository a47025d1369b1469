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
}

/// Types of a CacheRuntime's conditions.
pub mod runtime {
    /// The spec is valid.
    pub const ACCEPTED: &str = "Accepted";
    /// Every desired agent serves.
    pub const READY: &str = "Ready";
}

/// Reasons of conditions.
pub mod reason {
    /// All is as asked for.
    pub const AS_DESIRED: &str = "AsDesired";
    /// The spec breaks a rule.
    pub const INVALID: &str = "Invalid";
    /// The CacheRuntime does not exist.
    pub const RUNTIME_NOT_FOUND: &str = "RuntimeNotFound";
    /// The CacheRuntime has no tier of that name.
    pub const TIER_NOT_FOUND: &str = "TierNotFound";
    /// The Secret does not exist.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// The stores are being listed.
    pub const LISTING: &str = "Listing";
    /// A listing failed.
    pub const LISTING_FAILED: &str = "ListingFailed";
    /// Data is being fetched ahead.
    pub const PREFETCHING: &str = "Prefetching";
    /// Some files could not be fetched.
    pub const FILES_FAILED: &str = "FilesFailed";
    /// A store does not answer.
    pub const STORE_UNREACHABLE: &str = "StoreUnreachable";
    /// A store refuses the credentials.
    pub const ACCESS_DENIED: &str = "AccessDenied";
    /// Not all nodes serve.
    pub const NODES_MISSING: &str = "NodesMissing";
    /// What is pinned or fetched ahead does not fit.
    pub const OUT_OF_SPACE: &str = "OutOfSpace";
    /// The object uses something that this version does not know.
    pub const UNREADABLE: &str = "Unreadable";
}
