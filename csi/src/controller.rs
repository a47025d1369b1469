//! Volumes made on demand: a name for a Dataset that exists, or will.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tonic::{Code, Request, Response, Status};

use crate::capability::{self, CapabilityError};
use crate::context::{self, ContextError, VolumeContext};
use crate::proto::csi::controller_server::Controller;
use crate::proto::csi::controller_service_capability::{Rpc, Type, rpc};
use crate::proto::csi::validate_volume_capabilities_response::Confirmed;
use crate::proto::csi::{
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, ControllerServiceCapability, CreateVolumeRequest,
    CreateVolumeResponse, DeleteVolumeRequest, DeleteVolumeResponse, ValidateVolumeCapabilitiesRequest,
    ValidateVolumeCapabilitiesResponse, Volume,
};

/// Volumes remembered to notice a name that is used twice. One that is forgotten is made again with the same handle.
const REMEMBERED: usize = 100_000;

/// The Controller service. It keeps no state that matters: a handle says all.
#[derive(Debug, Default)]
pub(crate) struct ControllerService {
    /// By name: the handle and what was required.
    made: Mutex<BTreeMap<String, (String, i64, i64)>>,
}

#[derive(Debug, thiserror::Error)]
enum CreateError {
    #[error("no name is given for the volume")]
    NoName,
    #[error("no capability is given for the volume")]
    NoCapability,
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    #[error("parameters of the StorageClass: {0}")]
    Context(#[from] ContextError),
    #[error("the volume's capacity is limited to {limit} bytes and required to be {required}")]
    Capacity { required: i64, limit: i64 },
    #[error("a Dataset cannot be made from a snapshot or another volume")]
    Source,
    #[error("volume {0} exists with other parameters or another capacity")]
    Exists(String),
}

impl From<CreateError> for Status {
    fn from(error: CreateError) -> Self {
        let code = match &error {
            CreateError::NoName | CreateError::NoCapability | CreateError::Capability(_) | CreateError::Context(_) => {
                Code::InvalidArgument
            }
            CreateError::Source => Code::InvalidArgument,
            CreateError::Capacity { .. } => Code::OutOfRange,
            CreateError::Exists(_) => Code::AlreadyExists,
        };
        Status::new(code, error.to_string())
    }
}

#[derive(Debug, thiserror::Error)]
enum ValidateError {
    #[error("no volume is named")]
    NoVolume,
    #[error("no capability is given")]
    NoCapability,
    #[error("volume {0} is none of this driver's")]
    NotFound(String),
}

impl From<ValidateError> for Status {
    fn from(error: ValidateError) -> Self {
        let code = match &error {
            ValidateError::NoVolume | ValidateError::NoCapability => Code::InvalidArgument,
            ValidateError::NotFound(_) => Code::NotFound,
        };
        Status::new(code, error.to_string())
    }
}

impl ControllerService {
    fn create(&self, request: &CreateVolumeRequest) -> Result<Volume, CreateError> {
        if request.name.is_empty() {
            return Err(CreateError::NoName);
        }
        if request.volume_capabilities.is_empty() {
            return Err(CreateError::NoCapability);
        }
        for one in &request.volume_capabilities {
            capability::check(Some(one))?;
        }
        if request.volume_content_source.is_some() {
            return Err(CreateError::Source);
        }
        let dataset = VolumeContext::parse(&request.parameters)?.dataset("")?;
        let range = request.capacity_range.unwrap_or_default();
        let (required, limit) = (range.required_bytes, range.limit_bytes);
        if limit > 0 && limit < required {
            return Err(CreateError::Capacity { required, limit });
        }
        let handle = format!("{dataset}/{}", request.name);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let this = (handle.clone(), required, limit);
        if made.get(&request.name).is_some_and(|other| *other != this) {
            return Err(CreateError::Exists(request.name.clone()));
        }
        if made.len() >= REMEMBERED {
            made.pop_first();
        }
        made.insert(request.name.clone(), this);
        let volume_context =
            [("dataset", dataset.name), ("namespace", dataset.namespace)].map(|(key, value)| (key.to_owned(), value)).into();
        Ok(Volume { volume_id: handle, capacity_bytes: required.max(0), volume_context, ..Volume::default() })
    }
}

#[tonic::async_trait]
impl Controller for ControllerService {
    async fn create_volume(&self, request: Request<CreateVolumeRequest>) -> Result<Response<CreateVolumeResponse>, Status> {
        let volume = self.create(request.get_ref())?;
        Ok(Response::new(CreateVolumeResponse { volume: Some(volume) }))
    }

    /// Forgets the volume; the Dataset stays.
    async fn delete_volume(&self, request: Request<DeleteVolumeRequest>) -> Result<Response<DeleteVolumeResponse>, Status> {
        let handle = &request.get_ref().volume_id;
        if handle.is_empty() {
            return Err(ValidateError::NoVolume.into());
        }
        self.made.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, (made, ..)| made != handle);
        Ok(Response::new(DeleteVolumeResponse {}))
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<ValidateVolumeCapabilitiesResponse>, Status> {
        let request = request.into_inner();
        if request.volume_id.is_empty() {
            return Err(ValidateError::NoVolume.into());
        }
        if request.volume_capabilities.is_empty() {
            return Err(ValidateError::NoCapability.into());
        }
        if context::from_handle(&request.volume_id).is_none() {
            return Err(ValidateError::NotFound(request.volume_id).into());
        }
        let unfit = request.volume_capabilities.iter().find_map(|one| capability::check(Some(one)).err());
        if let Some(error) = unfit {
            return Ok(Response::new(ValidateVolumeCapabilitiesResponse { confirmed: None, message: error.to_string() }));
        }
        let confirmed = Confirmed {
            volume_context: request.volume_context,
            volume_capabilities: request.volume_capabilities,
            parameters: request.parameters,
            ..Confirmed::default()
        };
        Ok(Response::new(ValidateVolumeCapabilitiesResponse { confirmed: Some(confirmed), message: String::new() }))
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        let rpc = Rpc { r#type: rpc::Type::CreateDeleteVolume.into() };
        let capabilities = vec![ControllerServiceCapability { r#type: Some(Type::Rpc(rpc)) }];
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities }))
    }
}
