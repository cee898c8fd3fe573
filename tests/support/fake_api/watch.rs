//! Open watches.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;

use super::Shared;
use super::fault::Disturbance;
use super::protobuf;
use super::query::Query;
use super::serve::{Piece, status};
use super::store::Resource;

/// One open watch.
struct Watch {
    shared: Arc<Shared>,
    live: Receiver<Option<(Resource, Disturbance)>>,
    resource: Resource,
    query: Query,
    as_protobuf: bool,
    /// The version up to which events were sent.
    sent: u64,
    /// Pieces that wait to be sent.
    waiting: VecDeque<Piece>,
    /// Nothing follows what waits.
    ended: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state().watch_closed(self.resource);
    }
}

type Refusal = (u16, &'static str);

/// Opens a watch, or refuses to.
pub(crate) fn open(
    shared: Arc<Shared>,
    resource: Resource,
    query: Query,
    as_protobuf: bool,
) -> Result<BoxStream<'static, Piece>, Refusal> {
    let live = shared.live.subscribe();
    let mut state = shared.state();
    if query.is("sendInitialEvents") && !state.streaming {
        return Err((422, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"));
    }
    let after = query.get("resourceVersion").parse().unwrap_or(0);
    let initial = query.is("sendInitialEvents") || after == 0;
    let gone = !initial && after < state.oldest;
    if gone && state.gone_as_http {
        return Err((410, "too old resource version"));
    }
    state.watch_opened(resource);
    let piece = |event: &Value| piece(resource, event, as_protobuf);
    let mut waiting = VecDeque::new();
    if initial {
        let objects = state.listed(resource, &query);
        waiting.extend(objects.into_iter().map(|object| piece(&json!({"type": "ADDED", "object": object}))));
    }
    if query.is("sendInitialEvents") {
        waiting.push_back(piece(&bookmark(resource, state.version, json!({"k8s.io/initial-events-end": "true"}))));
    }
    if gone {
        waiting.push_back(piece(&error(410)));
    }
    let sent = if initial { state.version } else { after };
    drop(state);
    let watch = Watch { shared, live, resource, query, as_protobuf, sent, waiting, ended: gone };
    Ok(futures::stream::unfold(watch, Watch::next).boxed())
}

impl Watch {
    async fn next(mut self) -> Option<(Piece, Watch)> {
        loop {
            if let Some(piece) = self.waiting.pop_front() {
                return Some((piece, self));
            }
            if self.ended {
                return None;
            }
            self.catch_up();
            if self.waiting.is_empty() {
                match self.live.recv().await {
                    Ok(Some((resource, disturbance))) if resource == self.resource => {
                        self.catch_up();
                        self.disturb(disturbance);
                    }
                    Ok(_) => {}
                    Err(_) => self.ended = true,
                }
            }
        }
    }

    fn catch_up(&mut self) {
        let (events, version) = {
            let state = self.shared.state();
            (state.events(self.resource, &self.query, self.sent), state.version)
        };
        self.say_all(&events);
        self.sent = self.sent.max(version);
    }

    fn send(&mut self, bytes: impl Into<Bytes>) {
        self.waiting.push_back(Ok(Frame::data(bytes.into())));
    }

    fn say(&mut self, event: &Value) {
        self.waiting.push_back(piece(self.resource, event, self.as_protobuf));
    }

    fn say_all(&mut self, events: &[Value]) {
        events.iter().for_each(|event| self.say(event));
    }

    fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::Drop => self.cut(),
            Disturbance::Close => self.ended = true,
            Disturbance::Error(code) => {
                self.say(&error(code));
                self.ended = true;
            }
            Disturbance::Line(text) => match serde_json::from_str(&text) {
                Ok(event) => self.say(&event),
                Err(_) if self.as_protobuf => self.send(protobuf::framed(text.as_bytes())),
                Err(_) => self.send(format!("{text}\n")),
            },
            Disturbance::HalfLine => {
                let half: &[u8] =
                    if self.as_protobuf { b"\0\0\0\x50\x0a\x05ADD" } else { b"{\"type\":\"ADDED\",\"object\":{\"meta" };
                self.send(half);
                self.cut();
            }
            Disturbance::Replay => {
                let events = self.shared.state().events(self.resource, &self.query, 0);
                self.say_all(&events);
            }
            Disturbance::Bookmark => {
                let state = self.shared.state();
                if state.bookmarks && self.query.is("allowWatchBookmarks") {
                    let mark = bookmark(self.resource, state.version, json!({}));
                    drop(state);
                    self.say(&mark);
                }
            }
        }
    }

    fn cut(&mut self) {
        self.waiting.push_back(Err(std::io::Error::other("cut")));
        self.ended = true;
    }
}

fn piece(resource: Resource, event: &Value, as_protobuf: bool) -> Piece {
    let bytes = if as_protobuf { protobuf::frame(resource, event) } else { format!("{event}\n").into() };
    Ok(Frame::data(bytes.into()))
}

fn error(code: u16) -> Value {
    json!({"type": "ERROR", "object": status(code, "a planned error event")})
}

fn bookmark(resource: Resource, version: u64, annotations: Value) -> Value {
    json!({"type": "BOOKMARK", "object": {
        "kind": resource.kind(), "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null, "annotations": annotations},
    }})
}
