//! What each path answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::model::{Config, ProxyMode};
use crate::observe::{HealthStatus, Moment, Observer};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/healthz` and `/livez` of the health address.
pub(super) fn healthz(observer: Observer) -> Router {
    Router::new().route("/healthz", get(answer_healthz)).route("/livez", get(answer_livez)).with_state(observer)
}

/// `/metrics`, `/proxyMode`, `/configz` and a plain `/healthz`, which says no more than that this server answers.
pub(super) fn metrics(observer: Observer, config: &Config) -> Router {
    let shown = Shown { observer, mode: config.mode, configz: config.configz.to_string().into() };
    Router::new()
        .route("/metrics", get(answer_metrics))
        .route("/proxyMode", get(async |State(shown): State<Shown>| page(TEXT, shown.mode.name().to_owned())))
        .route("/configz", get(async |State(shown): State<Shown>| page(JSON, shown.configz.to_string())))
        .route("/healthz", get(async || page(TEXT, "ok".to_owned())))
        .with_state(shown)
}

/// `/status` of the admin socket, for `ferroproxy status`.
pub(in crate::observe) fn admin(observer: Observer) -> Router {
    Router::new().route("/status", get(answer_status)).with_state(observer)
}

/// What the metrics address shows.
#[derive(Clone)]
struct Shown {
    observer: Observer,
    mode: ProxyMode,
    configz: Arc<str>,
}

fn page(kind: &'static str, body: String) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], body).into_response()
}

async fn answer_healthz(State(observer): State<Observer>) -> Response {
    let (code, response) = health(&observer.healthz(Moment::now()));
    observer.metrics().healthz(code);
    response
}

async fn answer_livez(State(observer): State<Observer>) -> Response {
    let (code, response) = health(&observer.livez(Moment::now()));
    observer.metrics().livez(code);
    response
}

fn health(status: &HealthStatus) -> (u16, Response) {
    let code = if status.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!(status).to_string();
    (code.as_u16(), (code, page(JSON, body)).into_response())
}

async fn answer_status(State(observer): State<Observer>) -> Response {
    page(JSON, serde_json::json!(observer.status(Moment::now())).to_string())
}

async fn answer_metrics(State(shown): State<Shown>) -> Response {
    match shown.observer.render_metrics() {
        Ok(text) => page(EXPOSITION, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
