use std::io;
use std::path::PathBuf;

/// Why no connection to an agent was made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The state directory is not there.
    #[error("there is no state directory {}: give --state the directory that the running forebay-agent was given", .0.display())]
    NoStateDir(PathBuf),
    /// Nothing listens.
    #[error("no agent runs with --state {}: start it with `forebay-agent mount --manifest FILE --at DIR --state {}`", .0.display(), .0.display())]
    NoAgent(PathBuf),
    /// The socket belongs to another user.
    #[error("the agent's socket {} belongs to another user: run this command as the user that runs the agent, or as root", .0.display())]
    Denied(PathBuf),
    /// Anything else that the kernel says.
    #[error("connect to the agent's socket {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Something listens, but does not speak the protocol.
    #[error("what listens on {} does not answer as forebay-agent does: {source}", path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        source: tonic::transport::Error,
    },
}

/// Why a request to an agent failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The agent does not serve that Dataset; the message names those that it serves.
    #[error("{0}")]
    NotFound(String),
    /// The agent has as many of these requests as it takes.
    #[error("{0}")]
    Busy(String),
    /// The agent is older than this program.
    #[error("the running agent does not know this request: restart it with the version of this program")]
    Unsupported,
    /// The agent ended, or did not answer in time.
    #[error("the agent does not answer any more ({0}): see whether it still runs, and its log")]
    Gone(String),
    /// The answer is not one that this version understands.
    #[error(transparent)]
    Invalid(#[from] InvalidMessage),
    /// Anything else.
    #[error("the agent refused the request: {0}")]
    Refused(String),
}

impl From<tonic::Status> for ControlError {
    fn from(status: tonic::Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            tonic::Code::NotFound => Self::NotFound(message),
            tonic::Code::ResourceExhausted => Self::Busy(message),
            tonic::Code::Unimplemented => Self::Unsupported,
            tonic::Code::Unavailable | tonic::Code::Cancelled | tonic::Code::DeadlineExceeded | tonic::Code::Unknown => {
                Self::Gone(message)
            }
            _ => Self::Refused(message),
        }
    }
}

/// A message that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the agent's message is not understood: {field}: {problem}; use programs of one version")]
pub struct InvalidMessage {
    field: &'static str,
    problem: String,
}

impl InvalidMessage {
    pub(crate) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }

    pub(crate) fn missing(field: &'static str) -> Self {
        Self::new(field, "it is missing")
    }

    /// The field, as a path in the message.
    pub fn field(&self) -> &str {
        self.field
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}
