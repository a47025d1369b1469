use std::time::Duration;

/// Bounds of what peers may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For a connection, its handshake included.
    pub connect: Duration,
    /// For a free connection when all are in use.
    pub queue: Duration,
    /// For the first byte of an answer: the peer may have to ask the store first.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub progress: Duration,
    /// For all the waiting of one request: a peer that trickles is left at the byte reached.
    pub whole: Duration,
    /// For the first byte of a catalog, or for word of it: the peer may wait for its listing.
    pub catalog: Duration,
    /// A catalog is waited for until its listing has seen nothing new for so long.
    pub listing: Duration,
    /// For all questions together that precede one piece, for what others hold: who is asked answers at once or is passed over. What this
    /// node wants for itself may wait as long for a free connection as other requests.
    pub held: Duration,
    /// A request waits so long for its turn at the server.
    pub turn: Duration,
    /// For a handshake, at the server.
    pub handshake: Duration,
    /// The server cuts a receiver that takes nothing for so long.
    pub stalled: Duration,
    /// Bodies of one piece that are sent at a time within this zone: further nodes are sent to those that have got it. Of another zone one gets it
    /// at a time.
    pub fanout: usize,
    /// For how long those that ask for one piece wait for each other.
    pub patience: Patience,
    /// Bytes a second that this agent sends to all others together, [`crate::LEAST_BANDWIDTH`] at least. `None`: no bound.
    pub bandwidth: Option<u64>,
    /// Connections to all peers together, and requests that the server answers at a time.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            queue: Duration::from_secs(5),
            first_byte: Duration::from_secs(10),
            progress: Duration::from_secs(5),
            whole: Duration::from_secs(20),
            catalog: Duration::from_secs(30),
            listing: Duration::from_secs(300),
            held: Duration::from_secs(2),
            turn: Duration::from_secs(4),
            handshake: Duration::from_secs(5),
            stalled: Duration::from_secs(10),
            fanout: 16,
            patience: Patience::default(),
            bandwidth: None,
            connections: 256,
        }
    }
}

/// How long a node that asks for what others are sent waits to get it from one of them.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// So long it is kept waiting altogether for somebody else to have it.
    pub elsewhere: Duration,
    /// So long after it began, the body of another node of its zone is waited for: a store, a link or a disk that is slow would cost each that
    /// waits more than a piece that crosses zones once more.
    pub mate: Duration,
    /// Such a node that takes nothing for so long is not waited for: it may wait for memory that its own node's waiting for others holds, of which
    /// one may be the one that would wait.
    pub still: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { elsewhere: Duration::from_secs(2), mate: Duration::from_millis(750), still: Duration::from_millis(250) }
    }
}

impl Limits {
    /// Connections to each of `peers`: few to each of many, so that all nodes together do not crush one.
    pub(crate) fn each(&self, peers: usize) -> usize {
        (self.connections / peers.max(1)).clamp(2, 8)
    }
}
