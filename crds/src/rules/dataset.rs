use super::{Rule, Ruled};
use crate::dataset::{
    Access, Consistency, ConsistencyPolicy, DatasetSpec, HttpHeader, Mount, MountOptions, Placement, PlacementPolicy, Prefetch,
    RefreshPolicy,
};
use crate::values::SourceKind;

impl Ruled for DatasetSpec {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: "access",
            cel: "self.access != 'ReadWrite'",
            problem: "access: ReadWrite needs spec.write, which comes with durable writes and is not in this version",
            remedy: "set access: ReadOnly",
            holds: |spec| spec.access != Access::ReadWrite,
        },
        Rule {
            field: "warmBeforeScheduling",
            cel: "!self.warmBeforeScheduling || self.prefetch.policy != 'OnDemand' \
                  || (has(self.pin.paths) && self.pin.paths.size() > 0)",
            problem: "warmBeforeScheduling has no effect on a Dataset of which nothing is fetched ahead",
            remedy: "set prefetch.policy: Eager or OnFirstUse, or pin.paths, or remove it",
            holds: |spec| !spec.warm_before_scheduling || spec.prefetch.policy.fetches_ahead() || !spec.pin.paths.is_empty(),
        },
    ];
}

impl Ruled for Mount {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: "secretRef",
            cel: "!has(self.secretRef) || !self.options.anonymous",
            problem: "secretRef and options.anonymous contradict each other",
            remedy: "remove secretRef for a public store, or anonymous for one that wants credentials",
            holds: |mount| mount.secret_ref.is_none() || !mount.options.anonymous,
        },
        Rule {
            field: "secretRef",
            cel: "!has(self.secretRef) || (!has(self.options.credentialsFile) && !has(self.options.profile))",
            problem: "secretRef and options.credentialsFile or options.profile both name credentials",
            remedy: "keep secretRef, or the file and profile, not both",
            holds: |mount| {
                mount.secret_ref.is_none() || (mount.options.credentials_file.is_none() && mount.options.profile.is_none())
            },
        },
        Rule {
            field: "secretRef",
            cel: "!has(self.secretRef) || self.source.startsWith('s3://') || self.source.startsWith('http')",
            problem: "a directory takes no credentials",
            remedy: "remove secretRef; the agent reads the directory with the rights of its own user",
            holds: |mount| mount.secret_ref.is_none() || is_s3(mount) || is_http(mount),
        },
        Rule {
            field: "options",
            cel: "self.source.startsWith('s3://') || (!has(self.options.endpoint) && !has(self.options.region) \
                  && !has(self.options.addressing) && !self.options.anonymous && !has(self.options.credentialsFile) \
                  && !has(self.options.profile))",
            problem: "endpoint, region, addressing, anonymous, credentialsFile and profile are for s3:// sources only",
            remedy: "remove them, or write the source as s3://bucket/prefix",
            holds: |mount| {
                let o = &mount.options;
                is_s3(mount)
                    || (o.endpoint.is_none()
                        && o.region.is_none()
                        && o.addressing.is_none()
                        && !o.anonymous
                        && o.credentials_file.is_none()
                        && o.profile.is_none())
            },
        },
        Rule {
            field: "options",
            cel: "self.source.startsWith('http') || (!has(self.options.index) && (!has(self.options.headers) || self.options.headers.size() == 0))",
            problem: "index and headers are for http:// and https:// sources only",
            remedy: "remove them, or write the source as https://host/base/",
            holds: |mount| is_http(mount) || (mount.options.index.is_none() && mount.options.headers.is_empty()),
        },
    ];
}

fn is_s3(mount: &Mount) -> bool {
    matches!(mount.source.kind(), SourceKind::S3 { .. })
}

fn is_http(mount: &Mount) -> bool {
    matches!(mount.source.kind(), SourceKind::Http { .. })
}

impl Ruled for MountOptions {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: "anonymous",
            cel: "!self.anonymous || (!has(self.credentialsFile) && !has(self.profile))",
            problem: "anonymous and credentialsFile or profile contradict each other",
            remedy: "remove anonymous, or the file and profile",
            holds: |o| !o.anonymous || (o.credentials_file.is_none() && o.profile.is_none()),
        },
        Rule {
            field: "requestTimeout",
            cel: "self.requestTimeout.matches('[1-9]')",
            problem: "requestTimeout is no time at all, so every request would fail",
            remedy: "write how long a request may make no progress, such as 30s",
            holds: |o| !o.request_timeout.is_zero(),
        },
        Rule {
            field: "bandwidth",
            cel: "!has(self.bandwidth) || quantity(string(self.bandwidth)).compareTo(quantity('64Ki')) >= 0",
            problem: "bandwidth is below 64Ki a second, so that one block would take longer than a request may",
            remedy: "write bytes a second with a unit, such as 100Mi, or remove it for no limit",
            holds: |o| o.bandwidth.as_ref().is_none_or(|b| b.bytes() >= 64 << 10),
        },
    ];
}

/// Headers that carry credentials, in lower case.
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"];

/// What the requests say by themselves.
const OWN_HEADERS: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "transfer-encoding",
];

impl Ruled for HttpHeader {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: "name",
            cel: "!(self.name.lowerAscii() in ['authorization', 'cookie', 'proxy-authorization', 'x-api-key', 'x-auth-token'])",
            problem: "this header carries credentials, which everyone who reads the Dataset would see",
            remedy: "put credentials into a Secret, named by the mount's secretRef",
            holds: |header| !SECRET_HEADERS.contains(&header.name.to_ascii_lowercase().as_str()),
        },
        Rule {
            field: "name",
            cel: "!(self.name.lowerAscii() in ['accept-encoding', 'connection', 'content-length', 'host', 'if-match', \
                  'if-modified-since', 'if-none-match', 'if-range', 'if-unmodified-since', 'range', 'transfer-encoding'])",
            problem: "the requests have their own value of this header",
            remedy: "remove it",
            holds: |header| !OWN_HEADERS.contains(&header.name.to_ascii_lowercase().as_str()),
        },
    ];
}

impl Ruled for Consistency {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: "maxAge",
            cel: "self.policy == 'MaxAge' || !has(self.maxAge)",
            problem: "maxAge has no effect without policy: MaxAge",
            remedy: "set policy: MaxAge, or remove maxAge",
            holds: |c| c.policy == ConsistencyPolicy::MaxAge || c.max_age.is_none(),
        },
        Rule {
            field: "maxAge",
            cel: "self.policy != 'MaxAge' || has(self.maxAge)",
            problem: "policy: MaxAge needs maxAge",
            remedy: "set maxAge to how old a listing may be, such as 10m",
            holds: |c| c.policy != ConsistencyPolicy::MaxAge || c.max_age.is_some(),
        },
        Rule {
            field: "maxAge",
            cel: "!has(self.maxAge) || self.maxAge.matches('[1-9][0-9]*(d|h|m|s)$|[1-9][0-9]*(d|h|m|s)[0-9]|[1-9][0-9]{3,}ms')",
            problem: "maxAge is below one second, so that the stores would be listed without pause",
            remedy: "set a longer maxAge, such as 10m, or policy: Validate to compare each file when it is opened",
            holds: |c| c.max_age.as_ref().is_none_or(|age| age.duration().as_secs() >= 1),
        },
        Rule {
            field: "refresh",
            cel: "self.policy == 'Snapshot' || self.refresh == 'AtOnce'",
            problem: "refresh: NewPods needs a tree that stays as it was listed",
            remedy: "set policy: Snapshot, or remove refresh",
            holds: |c| c.policy == ConsistencyPolicy::Snapshot || c.refresh == RefreshPolicy::AtOnce,
        },
    ];
}

impl Ruled for Prefetch {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: "paths",
            cel: "self.policy != 'OnDemand' || self.paths == ['/']",
            problem: "paths has no effect with policy: OnDemand",
            remedy: "set policy: Eager or OnFirstUse, or remove paths",
            holds: |p| p.policy.fetches_ahead() || matches!(p.paths.as_slice(), [path] if path.as_str() == "/"),
        },
        Rule {
            field: "tier",
            cel: "self.policy != 'OnDemand' || !has(self.tier)",
            problem: "tier has no effect with policy: OnDemand",
            remedy: "set policy: Eager or OnFirstUse, or remove tier",
            holds: |p| p.policy.fetches_ahead() || p.tier.is_none(),
        },
    ];
}

impl Ruled for Placement {
    const RULES: &'static [Rule<Self>] = &[Rule {
        field: "replicas",
        cel: "self.policy == 'Sharded' || !has(self.replicas)",
        problem: "replicas has no effect without policy: Sharded",
        remedy: "set policy: Sharded, or remove replicas",
        holds: |p| p.policy == PlacementPolicy::Sharded || p.replicas.is_none(),
    }];
}
