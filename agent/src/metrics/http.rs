use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use super::ready;
use crate::view::{Readiness, View, ask};

/// Scrapes at a time; one takes milliseconds.
const SCRAPES: usize = 4;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Shared {
    view: Arc<dyn View>,
    registry: Arc<Registry>,
    scrapes: Arc<Semaphore>,
}

/// The pages.
pub(super) fn router(view: Arc<dyn View>, registry: Registry) -> Router {
    let shared = Shared { view, registry: Arc::new(registry), scrapes: Arc::new(Semaphore::new(SCRAPES)) };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .fallback(async || (StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"))
        .with_state(shared)
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let Ok(_permit) = shared.scrapes.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "other scrapes are under way\n").into_response();
    };
    let registry = shared.registry.clone();
    let page = ask(&shared.view, move |_| {
        let mut page = String::new();
        encode(&mut page, &registry).map(|()| page)
    });
    match page.await {
        Some(Ok(page)) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Some(Err(_)) | None => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n").into_response(),
    }
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let answer = ask(&shared.view, |view| match view.readiness() {
        Readiness::Datasets => ready::readiness(&view.datasets()),
        Readiness::Agent(None) => (true, "ready\n".to_owned()),
        Readiness::Agent(Some(missing)) => (false, format!("not ready: {missing}\n")),
    });
    let Some((ready, text)) = answer.await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the agent is ending\n").into_response();
    };
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, text).into_response()
}
