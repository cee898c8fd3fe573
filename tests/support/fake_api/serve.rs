//! HTTP: requests to answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use futures::StreamExt;
use futures::stream::BoxStream;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::Shared;
use super::fault::{Fault, Verb};
use super::protobuf;
use super::query::Query;
use super::store::Resource;
use super::watch;

pub(crate) type Piece = Result<Frame<Bytes>, std::io::Error>;
type Body = StreamBody<BoxStream<'static, Piece>>;

/// Serves until told to stop, or until the handle is gone.
pub(crate) async fn serve(shared: Arc<Shared>, told: Sender<SocketAddr>, mut stopped: oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    told.send(listener.local_addr().expect("an address")).expect("the handle waits for it");
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| answer(shared.clone(), request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let text = request.uri().query().unwrap_or_default().to_owned();
    let query = Query::parse(&text);
    let verb = if query.is("watch") { Verb::Watch } else { Verb::List };
    let asked = if request.method() == hyper::Method::GET { verb.rbac() } else { request.method().as_str() };
    shared.state().asked.insert((request.uri().path().to_owned(), asked.to_owned()));
    let Some(resource) = Resource::at(request.uri().path()) else { return Ok(refusal(404, "no such resource", false)) };
    let accept = request.headers().get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut as_protobuf = accept.contains(protobuf::LIST);
    let fault = {
        let mut state = shared.state();
        as_protobuf &= state.protobuf;
        state.requests.push((resource, verb, text));
        state.take_fault(resource, verb)
    };
    Ok(match fault {
        Some(Fault::Status(code)) => refusal(code, "a planned fault", as_protobuf),
        Some(Fault::Garbage) => respond(200, media(verb, as_protobuf), once("this is neither JSON nor protobuf")),
        Some(Fault::Cut) => cut(media(verb, as_protobuf)),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            proper(&shared, resource, verb, query, as_protobuf)
        }
        None => proper(&shared, resource, verb, query, as_protobuf),
    })
}

fn proper(shared: &Arc<Shared>, resource: Resource, verb: Verb, query: Query, as_protobuf: bool) -> Response<Body> {
    match verb {
        Verb::List => list(shared, resource, &query, as_protobuf),
        Verb::Watch => match watch::open(shared.clone(), resource, query, as_protobuf) {
            Ok(stream) => respond(200, media(verb, as_protobuf), stream),
            Err((code, message)) => refusal(code, message, as_protobuf),
        },
    }
}

fn list(shared: &Shared, resource: Resource, query: &Query, as_protobuf: bool) -> Response<Body> {
    let state = shared.state();
    let items = state.listed(resource, query);
    if as_protobuf {
        return respond(200, protobuf::LIST, once(protobuf::list(resource, state.version, &items)));
    }
    let list = json!({
        "kind": format!("{}List", resource.kind()), "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": state.version.to_string()}, "items": items,
    });
    respond(200, JSON, once(list.to_string()))
}

/// A Status object, as the API server puts errors.
pub(crate) fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        410 => "Expired",
        422 => "Invalid",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})
}

const JSON: &str = "application/json";

fn media(verb: Verb, as_protobuf: bool) -> &'static str {
    match (as_protobuf, verb) {
        (false, _) => JSON,
        (true, Verb::List) => protobuf::LIST,
        (true, Verb::Watch) => protobuf::WATCH,
    }
}

fn refusal(code: u16, message: &str, as_protobuf: bool) -> Response<Body> {
    let status = status(code, message);
    match as_protobuf {
        true => respond(code, protobuf::LIST, once(protobuf::refusal(&status))),
        false => respond(code, JSON, once(status.to_string())),
    }
}

fn once(body: impl Into<Bytes>) -> BoxStream<'static, Piece> {
    futures::stream::iter([Ok(Frame::data(body.into()))]).boxed()
}

fn cut(media: &str) -> Response<Body> {
    let pieces = [Ok(Frame::data(Bytes::from_static(b"{\"kind\":"))), Err(std::io::Error::other("cut"))];
    respond(200, media, futures::stream::iter(pieces).boxed())
}

fn respond(code: u16, media: &str, pieces: BoxStream<'static, Piece>) -> Response<Body> {
    let answer = Response::builder().status(code).header("content-type", media);
    answer.body(StreamBody::new(pieces)).expect("a proper answer")
}
