//! /healthz, /readyz and /metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Whether this replica can do its work: its caches are filled and its port is open. A standby can, too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ready(Arc<AtomicBool>);

impl Ready {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Serves until `token` is cancelled.
pub(crate) async fn run(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    ready: Ready,
    token: CancellationToken,
) -> std::io::Result<()> {
    let readyz = move || async move {
        if ready.0.load(Ordering::Acquire) {
            (StatusCode::OK, "ready\n")
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the caches are being filled: is the API server there, and are the CRDs installed?\n",
            )
        }
    };
    let scrape = move || async move {
        ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.encode()).into_response()
    };
    let router =
        Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(readyz)).route("/metrics", get(scrape));
    axum::serve(listener, router).with_graceful_shutdown(token.cancelled_owned()).await
}
