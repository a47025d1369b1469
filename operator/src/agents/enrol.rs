//! Exchanges an agent's token for a certificate.

use std::sync::Arc;
use std::time::Duration;

use forebay_api::operator::enrolment_server::Enrolment;
use forebay_api::operator::{EnrolRequest, EnrolResponse};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::authority::{Authority, AuthorityError};
use super::who::{Identify, NotKnown};

/// Enrolments at a time: each asks the API server.
const AT_ONCE: usize = 16;
/// Longest token and signing request: what is beyond is nobody's.
const LONGEST: usize = 64 << 10;
/// Time for the API server's answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct EnrolmentService {
    pub(super) identify: Arc<dyn Identify>,
    pub(super) authority: Arc<Authority>,
    at_once: Semaphore,
}

impl EnrolmentService {
    pub(super) fn new(identify: Arc<dyn Identify>, authority: Arc<Authority>) -> Self {
        Self { identify, authority, at_once: Semaphore::new(AT_ONCE) }
    }
}

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        // Also by a replica that does not lead: who an agent is, the API server says, and of two connections through one
        // Service only the session's has to reach the leader.
        let EnrolRequest { token, csr_pem } = request.into_inner();
        if token.is_empty() || token.len() > LONGEST {
            return Err(Status::unauthenticated("there is no token that could be one: send the pod's projected token"));
        }
        if csr_pem.len() > LONGEST {
            return Err(Status::invalid_argument("the signing request is longer than any: send one for a single key"));
        }
        let Ok(_slot) = self.at_once.try_acquire() else {
            return Err(Status::unavailable("too many agents enrol at once: try again"));
        };
        let asked = tokio::time::timeout(PATIENCE, self.identify.agent_of(&token)).await;
        let agent = match asked {
            Ok(Ok(agent)) => agent,
            Ok(Err(NotKnown::Refused(why))) => {
                tracing::warn!(why, "an agent was not enrolled");
                return Err(Status::unauthenticated(why));
            }
            Ok(Err(NotKnown::Later(why))) => return Err(Status::unavailable(why)),
            Err(_) => return Err(Status::unavailable("the API server did not answer in time: try again")),
        };
        let issued = self.authority.agent(&csr_pem, &agent).map_err(|error| match error {
            AuthorityError::Request(_) => Status::invalid_argument(error.to_string()),
            AuthorityError::Unusable { .. } | AuthorityError::Made(_) => {
                tracing::error!(%error, "no certificate made");
                Status::internal(error.to_string())
            }
        })?;
        tracing::info!(runtime = agent.runtime.as_str(), node = agent.node.as_str(), "agent enrolled");
        Ok(Response::new(EnrolResponse {
            certificate_pem: issued.pem,
            ca_pem: self.authority.certificate_pem().to_owned(),
            not_after: Some(issued.not_after.into()),
        }))
    }
}
