//! One kind's requests, in protobuf where the server answers in it, else in JSON.

use std::future::ready;
use std::io::ErrorKind;
use std::marker::PhantomData;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request as Requests, Status, WatchEvent};
use kube::{Api, Client};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use tokio_util::io::StreamReader;

use crate::model::Encoding;
use crate::source::kind::Kind;
use crate::source::protobuf::Listing;

use super::event::{event, status};
use super::failure::Failure;

/// JSON second: a proxy before the server, or an old one, may know no better.
const LIST: HeaderValue = HeaderValue::from_static("application/vnd.kubernetes.protobuf,application/json;q=0.9");
const WATCH: HeaderValue =
    HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch,application/json;stream=watch;q=0.9");
/// hyper's words for a body that ends too soon; it has no kind for it.
const CUT_CHUNK: &str = "unexpected EOF during chunk";
const PLAIN: HeaderValue = HeaderValue::from_static("identity");
/// An object in etcd is below 1.5 MB by default; what is far above it is no event.
const LARGEST_EVENT: usize = 64 << 20;

pub(super) type Stream<K> = BoxStream<'static, Result<WatchEvent<K>, Failure>>;

/// A whole list.
pub(super) struct Whole<K> {
    pub(super) items: Vec<K>,
    pub(super) version: String,
}

/// Asks for one kind.
pub(super) struct Asker<K> {
    client: Client,
    encoding: Encoding,
    kind: PhantomData<fn() -> K>,
}

/// What came of asking in protobuf.
enum Answer<T> {
    Protobuf(T),
    /// The server answers, but not so.
    Otherwise,
}

impl<K: Kind> Asker<K> {
    pub(super) fn new(client: Client, encoding: Encoding) -> Self {
        Asker { client, encoding, kind: PhantomData }
    }

    /// Lists the kind.
    pub(super) async fn list(&mut self, params: &ListParams) -> Result<Whole<K>, Failure> {
        if self.encoding == Encoding::Protobuf {
            let request = Requests::new(K::url_path(&(), None)).list(params).map_err(refused)?;
            match self.send(request, LIST).await? {
                Answer::Protobuf(body) => return whole(&body.collect().await?.to_bytes()),
                Answer::Otherwise => self.fall_back(),
            }
        }
        let list = Api::<K>::all(self.client.clone()).list(params).await?;
        Ok(Whole { items: list.items, version: list.metadata.resource_version.unwrap_or_default() })
    }

    /// Opens a watch.
    pub(super) async fn watch(&mut self, params: &WatchParams, version: &str) -> Result<Stream<K>, Failure> {
        if self.encoding == Encoding::Protobuf {
            let request = Requests::new(K::url_path(&(), None)).watch(params, version).map_err(refused)?;
            match self.send(request, WATCH).await? {
                Answer::Protobuf(body) => return Ok(events(body)),
                Answer::Otherwise => self.fall_back(),
            }
        }
        let stream = Api::<K>::all(self.client.clone()).watch(params, version).await?;
        Ok(stream.map_err(Failure::from).boxed())
    }

    async fn send(&self, mut request: Request<Vec<u8>>, accept: HeaderValue) -> Result<Answer<Body>, Failure> {
        request.headers_mut().insert(ACCEPT, accept);
        request.headers_mut().insert(ACCEPT_ENCODING, PLAIN);
        let answer = self.client.send(request.map(Body::from)).await?;
        let protobuf = is_protobuf(&answer);
        if answer.status().is_success() {
            return Ok(if protobuf { Answer::Protobuf(answer.into_body()) } else { Answer::Otherwise });
        }
        let code = answer.status().as_u16();
        if matches!(code, 406 | 415) {
            return Ok(Answer::Otherwise);
        }
        let body = answer.into_body().collect().await?.to_bytes();
        Err(Failure::Status(refusal(code, protobuf, &body)))
    }

    fn fall_back(&mut self) {
        tracing::info!(kind = %K::KIND, "the server does not answer in protobuf: JSON from now on");
        self.encoding = Encoding::Json;
    }
}

fn is_protobuf(answer: &Response<Body>) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with(Encoding::Protobuf.media_type()))
}

fn refused(error: kube::core::request::Error) -> Failure {
    kube::Error::BuildRequest(error).into()
}

/// The Status of an answer that is an error; something in between may have said anything.
fn refusal(code: u16, protobuf: bool, body: &[u8]) -> Box<Status> {
    let told = if protobuf { status(body).ok() } else { serde_json::from_slice::<Status>(body).ok() };
    // Any JSON object reads as a Status that says nothing; the server's has a code.
    let told = told.filter(|status| status.code != 0);
    let anything = || Status::failure(String::from_utf8_lossy(body).trim(), "Failed to parse error data");
    told.unwrap_or_else(|| anything().with_code(code)).boxed()
}

fn whole<K: Kind>(body: &[u8]) -> Result<Whole<K>, Failure> {
    let list = Listing::open(body)?;
    let items = list.items.iter().map(|item| crate::source::protobuf::read(K::SHAPE, item));
    Ok(Whole { items: items.collect::<Result<_, _>>()?, version: list.version().to_owned() })
}

/// The events of a body: frames that begin with their length, four bytes, the highest first.
fn events<K: Kind>(body: Body) -> Stream<K> {
    let reader = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    let frames = LengthDelimitedCodec::builder().max_frame_length(LARGEST_EVENT).new_codec();
    let frames = FramedRead::new(reader, frames).take_while(|frame| ready(!frame.as_ref().is_err_and(is_cut)));
    frames.map(|frame| event(&frame.map_err(Failure::Broken)?)).boxed()
}

/// Whether the connection ended in the middle of a body, as load balancers end watches that are old: an end like another.
fn is_cut(error: &std::io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == ErrorKind::UnexpectedEof) || error.to_string().contains(CUT_CHUNK) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn a_refusal_keeps_its_code_whoever_words_it() {
        let status = br#"{"kind":"Status","message":"services is forbidden","reason":"Forbidden","code":403}"#;
        assert_eq!((refusal(403, false, status).code, &*refusal(403, false, status).reason), (403, "Forbidden"));
        for body in [&br#"{"error":"busy"}"#[..], b"<html>", b""] {
            assert_eq!(refusal(503, false, body).code, 503);
            assert_eq!(refusal(410, true, body).code, 410);
        }
    }
}
