//! The generated messages and services.

/// The Container Storage Interface.
#[allow(missing_docs, clippy::all, rustdoc::all, reason = "generated; the proto file has the documentation")]
pub mod csi {
    tonic::include_proto!("csi.v1");
}

/// How plugins register with kubelet.
#[allow(missing_docs, clippy::all, rustdoc::all, reason = "generated; the proto file has the documentation")]
pub mod registration {
    tonic::include_proto!("pluginregistration");
}
