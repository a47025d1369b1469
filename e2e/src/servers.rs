//! Real servers on loopback ports, each in a directory of its own.

mod client;
mod http;
mod s3;

pub use client::S3Client;
pub use http::HttpServer;
pub use s3::S3Server;
