//! Tells kubelet that this driver is there: kubelet finds the socket in its directory, asks, and says what came of it.

mod authority;

use std::path::{Path, PathBuf};

use tonic::{Request, Response, Status};

pub(crate) use self::authority::corrected;
use crate::identity::DRIVER;
use crate::proto::registration::registration_server::Registration;
use crate::proto::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};

/// kubelet's Registration service.
#[derive(Debug)]
pub(crate) struct RegistrationService {
    /// The driver's socket as kubelet sees it.
    pub(crate) endpoint: PathBuf,
}

/// The registration's socket in kubelet's directory.
pub(crate) fn socket(dir: &Path) -> PathBuf {
    dir.join(format!("{DRIVER}-reg.sock"))
}

#[tonic::async_trait]
impl Registration for RegistrationService {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".into(),
            name: DRIVER.into(),
            endpoint: self.endpoint.display().to_string(),
            supported_versions: vec!["1.0.0".into()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        match request.into_inner() {
            RegistrationStatus { plugin_registered: true, .. } => tracing::info!("kubelet has registered the driver"),
            // kubelet asks again by itself.
            RegistrationStatus { error, .. } => tracing::error!(%error, "kubelet has not registered the driver"),
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
