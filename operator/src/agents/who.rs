//! From a pod's token to the agent that it is.

use async_trait::async_trait;
use forebay_api::session::{AUDIENCE, AgentIdentity};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt as _};

use crate::names;

/// Why a token is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotKnown {
    /// The API server or the caches of this replica do not answer; it may be tried again.
    #[error("{0}")]
    Later(String),
    /// The token is not an agent's.
    #[error("{0}")]
    Refused(String),
}

/// Tells whose a token is.
#[async_trait]
pub(crate) trait Identify: Send + Sync + 'static {
    /// The agent whose pod has this token.
    async fn agent_of(&self, token: &str) -> Result<AgentIdentity, NotKnown>;
}

/// Asks the API server.
pub(crate) struct ByTokenReview {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    pub(crate) pods: Store<Pod>,
}

#[async_trait]
impl Identify for ByTokenReview {
    async fn agent_of(&self, token: &str) -> Result<AgentIdentity, NotKnown> {
        let later = |what: &str, error: kube::Error| NotKnown::Later(format!("{what}: {error}; try again"));
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| later("the API server did not review the token", error))?;
        let owner = pod_of(answer.status.unwrap_or_default(), &self.namespace, &self.service_account)?;
        let known = self.pods.get(&ObjectRef::new(&owner.name).within(&self.namespace));
        let pod = match known.filter(|pod| pod.uid().as_deref() == Some(&owner.uid)) {
            Some(pod) => (*pod).clone(),
            // The cache may be a moment behind a pod that has just started.
            None => {
                let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
                let found = pods.get_opt(&owner.name).await.map_err(|error| later("the pod could not be read", error))?;
                found.ok_or_else(|| NotKnown::Refused(format!("pod {} is gone", owner.name)))?
            }
        };
        agent(&owner, &pod)
    }
}

/// The pod that a token was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    name: String,
    uid: String,
    node: Option<String>,
}

/// What a review says, judged.
pub(crate) fn pod_of(status: TokenReviewStatus, namespace: &str, service_account: &str) -> Result<Owner, NotKnown> {
    let refused = |why: String| Err(NotKnown::Refused(why));
    let TokenReviewStatus { audiences, authenticated, error, user } = status;
    if authenticated != Some(true) {
        return refused(format!("the token is not valid: {}", error.unwrap_or_else(|| "the API server does not know it".into())));
    }
    // An API server that knows no audiences answers without them, and has not checked them.
    if !audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE) {
        return refused(format!("the token is not for the audience {AUDIENCE}"));
    }
    let UserInfo { extra, username, .. } = user.unwrap_or_default();
    let username = username.unwrap_or_default();
    let wanted = format!("system:serviceaccount:{namespace}:{service_account}");
    if username != wanted {
        return refused(format!("the token is of {username:?}, and agents are {wanted:?}"));
    }
    let mut extra = extra.unwrap_or_default();
    let mut first =
        |key: &str| extra.remove(&format!("authentication.kubernetes.io/{key}")).and_then(|list| list.into_iter().next());
    match (first("pod-name"), first("pod-uid")) {
        (Some(name), Some(uid)) => Ok(Owner { name, uid, node: first("node-name") }),
        _ => refused("the token is bound to no pod: agents use a projected token".to_owned()),
    }
}

/// The agent that a pod is.
pub(crate) fn agent(owner: &Owner, pod: &Pod) -> Result<AgentIdentity, NotKnown> {
    let refused = |why: String| NotKnown::Refused(format!("pod {}: {why}", owner.name));
    if pod.uid().as_deref() != Some(&owner.uid) {
        return Err(refused("it was made anew since the token was".into()));
    }
    let runtime = pod.labels().get(names::RUNTIME).ok_or_else(|| refused(format!("it has no label {}", names::RUNTIME)))?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).ok_or_else(|| refused("it is on no node".into()))?;
    if owner.node.as_ref().is_some_and(|bound| bound != node) {
        return Err(refused(format!("the token is for another node than {node}")));
    }
    let name = |what: &str, text: &str| text.parse().map_err(|_| refused(format!("{what} {text:?} is not a name")));
    Ok(AgentIdentity { runtime: name("runtime", runtime)?, node: name("node", node)? })
}
