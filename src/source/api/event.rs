//! Watch events and refusals in protobuf.

use kube::core::watch::{Bookmark, BookmarkMeta};
use kube::core::{Status, TypeMeta, WatchEvent};
use serde::Deserialize;

use crate::source::kind::Kind;
use crate::source::meta::META;
use crate::source::protobuf::{Envelope, Form, Malformed, Shape, object, one, read};

use super::failure::Failure;

static MARK: Shape = Shape(&[one(1, "metadata", Form::Object(&META))]);
static STATUS: Shape = Shape(&[
    one(2, "status", Form::Text),
    one(3, "message", Form::Text),
    one(4, "reason", Form::Text),
    one(6, "code", Form::Number),
]);

/// The event in one frame of a watch.
pub(super) fn event<K: Kind>(frame: &[u8]) -> Result<WatchEvent<K>, Failure> {
    let Envelope { kind, object } = Envelope::open(frame)?;
    Ok(match kind {
        "ADDED" => WatchEvent::Added(read(K::SHAPE, object)?),
        "MODIFIED" => WatchEvent::Modified(read(K::SHAPE, object)?),
        "DELETED" => WatchEvent::Deleted(read(K::SHAPE, object)?),
        "BOOKMARK" => WatchEvent::Bookmark(bookmark::<K>(object)?),
        "ERROR" => WatchEvent::Error(read::<Status>(&STATUS, object)?.boxed()),
        _ => return Err(Failure::Protocol("a watch event of a type that does not exist")),
    })
}

fn bookmark<K: Kind>(object: &[u8]) -> Result<Bookmark, Malformed> {
    #[derive(Deserialize)]
    struct Mark {
        metadata: BookmarkMeta,
    }
    let types = TypeMeta { api_version: K::api_version(&()).into_owned(), kind: K::kind(&()).into_owned() };
    Ok(Bookmark { types, metadata: read::<Mark>(&MARK, object)?.metadata })
}

/// The Status that a refusal is.
pub(super) fn status(body: &[u8]) -> Result<Status, Malformed> {
    read(&STATUS, object(body)?)
}
