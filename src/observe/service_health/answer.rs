//! What a health check server answers, to any path and method, as kube-proxy does.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::door::Door;
use crate::model::Family;
use crate::observe::{Moment, Observer};

/// By which a load balancer may weigh nodes.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    service: Name<'a>,
    local_endpoints: usize,
    service_proxy_healthy: bool,
}

#[derive(Serialize)]
struct Name<'a> {
    namespace: &'a str,
    name: &'a str,
}

pub(super) fn router(observer: Observer, door: Door) -> Router {
    Router::new().fallback(answer).with_state((observer, door))
}

/// Looks at what is wanted now, not at what was when the server began: a Service that is gone has no endpoints, whatever connection is open.
async fn answer(State((observer, door)): State<(Observer, Door)>) -> Response {
    let count = local_endpoints(&observer, &door);
    let answer = Answer {
        service: Name { namespace: &door.service.namespace, name: &door.service.name },
        local_endpoints: count,
        service_proxy_healthy: observer.livez(Moment::now()).healthy,
    };
    let code = match answer.local_endpoints > 0 && answer.service_proxy_healthy {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut body = Vec::new();
    let printed = answer.serialize(&mut Serializer::with_formatter(&mut body, PrettyFormatter::with_indent(b"\t")));
    if let Err(error) = printed {
        return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (code, kind, [(WEIGHT, count.to_string())], body).into_response()
}

fn local_endpoints(observer: &Observer, door: &Door) -> usize {
    let wanted = observer.wanted_health_checks();
    let wanted = wanted.borrow();
    let health = wanted.services.get(&door.service).filter(|health| health.port == door.address.port());
    health.and_then(|health| *health.local_endpoints.get(Family::of(door.address.ip()))).unwrap_or_default()
}
