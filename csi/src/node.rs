//! Volumes on this node. Each call is carried out to its end, whether its caller waits for it or not.

mod error;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tonic::{Request, Response, Status};

use self::error::{HealthError, PathError, PublishError, StageError, StatsError, UnpublishError};
use crate::asker::Answer;
use crate::capability;
use crate::context::VolumeContext;
use crate::keeper::Keeper;
use crate::proto::csi::node_server::Node;
use crate::proto::csi::node_service_capability::{Rpc, Type, rpc};
use crate::proto::csi::volume_health::VolumeHealthEntry;
use crate::proto::csi::volume_usage::Unit;
use crate::proto::csi::{
    NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse, NodeGetVolumeHealthRequest,
    NodeGetVolumeHealthResponse, NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest,
    NodePublishVolumeResponse, NodeServiceCapability, NodeStageVolumeRequest, NodeStageVolumeResponse,
    NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse, NodeUnstageVolumeRequest, NodeUnstageVolumeResponse, VolumeHealth,
    VolumeHealthErrorType, VolumeUsage,
};

/// The Node service.
#[derive(Debug, Clone)]
pub(crate) struct NodeService {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) node_name: String,
    /// The namespace of pods of which kubelet says nothing; without it they are refused.
    pub(crate) unknown_pods: Option<String>,
}

/// Runs `work` apart from the caller, who may go away in its middle.
async fn to_its_end<T: Send + 'static, E: Into<Status> + Send + 'static>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<Response<T>, Status> {
    match tokio::spawn(work).await {
        Ok(done) => done.map(Response::new).map_err(Into::into),
        Err(error) => Err(Status::internal(format!("the call ended early: {error}"))),
    }
}

/// A volume's handle and a path of it, both of which every call has.
fn named(volume: &str, path: &str) -> Result<PathBuf, PathError> {
    if volume.is_empty() {
        return Err(PathError::NoVolume);
    }
    // Compared as text with what the kernel says, so only in its plain form.
    let plain = Path::new(path).components().collect::<PathBuf>();
    if !plain.is_absolute() || plain.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(PathError::BadPath(path.to_owned()));
    }
    Ok(plain)
}

impl NodeService {
    async fn stage(self, request: NodeStageVolumeRequest) -> Result<NodeStageVolumeResponse, StageError> {
        let path = named(&request.volume_id, &request.staging_target_path)?;
        capability::check(request.volume_capability.as_ref())?;
        let dataset = VolumeContext::parse(&request.volume_context)?.dataset(&request.volume_id)?;
        self.keeper.stage(&dataset, &request.volume_id, path).await?;
        Ok(NodeStageVolumeResponse {})
    }

    async fn unstage(self, request: NodeUnstageVolumeRequest) -> Result<NodeUnstageVolumeResponse, UnpublishError> {
        let path = named(&request.volume_id, &request.staging_target_path)?;
        self.keeper.unstage(&path).await?;
        Ok(NodeUnstageVolumeResponse {})
    }

    async fn publish(self, request: NodePublishVolumeRequest) -> Result<NodePublishVolumeResponse, PublishError> {
        let target = named(&request.volume_id, &request.target_path)?;
        let flags = capability::check(request.volume_capability.as_ref())?;
        let context = VolumeContext::parse(&request.volume_context)?;
        if !context.is_ephemeral() && request.staging_target_path.is_empty() {
            return Err(PublishError::NotStaged);
        }
        let dataset = context.dataset(&request.volume_id)?;
        let namespace = context.pod_namespace.or(self.unknown_pods).ok_or(PublishError::NoPod)?;
        self.keeper.allowed(&dataset, &namespace).await?;
        self.keeper.publish(&dataset, &request.volume_id, target, flags).await?;
        Ok(NodePublishVolumeResponse {})
    }

    async fn unpublish(self, request: NodeUnpublishVolumeRequest) -> Result<NodeUnpublishVolumeResponse, UnpublishError> {
        let target = named(&request.volume_id, &request.target_path)?;
        self.keeper.unpublish(&target).await?;
        Ok(NodeUnpublishVolumeResponse {})
    }

    async fn stats(self, request: NodeGetVolumeStatsRequest) -> Result<NodeGetVolumeStatsResponse, StatsError> {
        if request.volume_path.is_empty() {
            return Err(PathError::BadPath(request.volume_path).into());
        }
        let not_there = || StatsError::NotPublished { volume: request.volume_id.clone(), path: request.volume_path.clone() };
        let path = match named(&request.volume_id, &request.volume_path) {
            // Nothing is published at a path of another form.
            Err(PathError::BadPath(_)) => return Err(not_there()),
            other => other?,
        };
        let used = self.keeper.used_by(&request.volume_id, Some(&path)).ok_or_else(not_there)?;
        let failed = |why: String| StatsError::Failed { dataset: used.dataset(), why };
        let answer = self.keeper.ask(used.path.clone()).await.map_err(|error| failed(error.to_string()))?;
        let found = match answer {
            Answer::Alive(found) => found,
            Answer::Dead => return Err(failed("nobody serves it any more; it will be mounted anew".into())),
            Answer::Silent => return Err(failed("its agent does not answer".into())),
            Answer::Failed(error) => return Err(failed(error.to_string())),
        };
        let usage = |unit: Unit, total: u64, free: u64| VolumeUsage {
            unit: unit.into(),
            total: number(total),
            available: number(free),
            used: number(total.saturating_sub(free)),
        };
        let bytes = usage(Unit::Bytes, found.f_blocks.saturating_mul(found.f_frsize), found.f_bavail * found.f_frsize);
        let usage = vec![bytes, usage(Unit::Inodes, found.f_files, found.f_ffree)];
        Ok(NodeGetVolumeStatsResponse { usage })
    }

    async fn health(self, request: NodeGetVolumeHealthRequest) -> Result<NodeGetVolumeHealthResponse, HealthError> {
        if request.volume_id.is_empty() {
            return Err(PathError::NoVolume.into());
        }
        let paths = [&request.volume_publish_path, &request.staging_target_path];
        let path = match paths.into_iter().find(|path| !path.is_empty()) {
            Some(path) => Some(named(&request.volume_id, path)?),
            None => None,
        };
        let used = self.keeper.used_by(&request.volume_id, path.as_deref());
        let used = used.ok_or_else(|| HealthError::NotHere { volume: request.volume_id.clone() })?;
        let dataset = used.dataset();
        // The Dataset's own mount, for a staging directory is none.
        let answer = self.keeper.ask(self.keeper.at(&dataset)).await;
        let (reason, message) = match answer {
            Ok(Answer::Alive(_)) if self.keeper.is_served(&dataset) => ("", String::new()),
            Ok(Answer::Dead) => ("Unserved", format!("nobody serves Dataset {dataset} any more; it will be mounted anew")),
            Ok(Answer::Alive(_)) => ("AgentAway", format!("the agent that serves Dataset {dataset} has not come back")),
            Ok(Answer::Silent) => ("AgentSilent", format!("the agent that serves Dataset {dataset} does not answer")),
            Ok(Answer::Failed(error)) | Err(error) => ("Failed", format!("Dataset {dataset}: {error}")),
        };
        let status = VolumeHealthErrorType::Inaccessible.into();
        let bad = (!reason.is_empty()).then(|| VolumeHealthEntry { status, reason: reason.into(), message });
        let volume_health = VolumeHealth { volume_id: request.volume_id, health_statuses: bad.into_iter().collect() };
        Ok(NodeGetVolumeHealthResponse { volume_health: Some(volume_health) })
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        to_its_end(self.clone().stage(request.into_inner())).await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        to_its_end(self.clone().unstage(request.into_inner())).await
    }

    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        to_its_end(self.clone().publish(request.into_inner())).await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        to_its_end(self.clone().unpublish(request.into_inner())).await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        to_its_end(self.clone().stats(request.into_inner())).await
    }

    async fn node_get_volume_health(
        &self,
        request: Request<NodeGetVolumeHealthRequest>,
    ) -> Result<Response<NodeGetVolumeHealthResponse>, Status> {
        to_its_end(self.clone().health(request.into_inner())).await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let all = [rpc::Type::StageUnstageVolume, rpc::Type::GetVolumeStats, rpc::Type::GetVolumeHealth];
        let capability = |one: rpc::Type| NodeServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: one.into() })) };
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities: all.map(capability).into() }))
    }

    async fn node_get_info(&self, _: Request<NodeGetInfoRequest>) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse { node_id: self.node_name.clone(), ..Default::default() }))
    }
}
