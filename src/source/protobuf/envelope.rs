//! What stands around objects: `runtime.Unknown`, `meta.v1.WatchEvent` and lists.

use serde::Deserialize;
use serde::de::Error;

use super::read::{Malformed, read};
use super::shape::{Form, Shape, many, one};

/// What every object of its own begins with (k8s.io/apimachinery, `runtime/serializer/protobuf`).
const MAGIC: &[u8] = b"k8s\0";

static UNKNOWN: Shape = Shape(&[one(2, "raw", Form::Raw)]);
static EXTENSION: Shape = Shape(&[one(1, "raw", Form::Raw)]);
static EVENT: Shape = Shape(&[one(1, "type", Form::Text), one(2, "object", Form::Object(&EXTENSION))]);
static LIST_META: Shape = Shape(&[one(2, "resourceVersion", Form::Text)]);
static LIST: Shape = Shape(&[one(1, "metadata", Form::Object(&LIST_META)), many(2, "items", Form::Raw)]);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw<'a> {
    #[serde(borrow)]
    raw: &'a [u8],
}

/// The message inside an object's envelope.
///
/// # Errors
/// When there is no such envelope.
pub(crate) fn object(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let unknown =
        bytes.strip_prefix(MAGIC).ok_or_else(|| Malformed::custom("the object does not begin with k8s\\0"))?;
    Ok(read::<Raw<'_>>(&UNKNOWN, unknown)?.raw)
}

/// A watch event: its type and its object's message.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    /// `ADDED` and so on.
    pub(crate) kind: &'a str,
    /// The object.
    pub(crate) object: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Opens a frame of a watch.
    ///
    /// # Errors
    /// When it is no watch event.
    pub(crate) fn open(frame: &'a [u8]) -> Result<Envelope<'a>, Malformed> {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            #[serde(borrow)]
            object: Raw<'a>,
        }
        let event: Event<'a> = read(&EVENT, frame)?;
        Ok(Envelope { kind: event.kind, object: object(event.object.raw)? })
    }
}

/// A list: its version and its objects' messages.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Listing<'a> {
    metadata: ListMeta<'a>,
    #[serde(borrow)]
    pub(crate) items: Vec<&'a [u8]>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta<'a> {
    resource_version: &'a str,
}

impl<'a> Listing<'a> {
    /// Opens a list.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Listing<'a>, Malformed> {
        read(&LIST, object(bytes)?)
    }

    /// `metadata.resourceVersion`.
    pub(crate) fn version(&self) -> &'a str {
        self.metadata.resource_version
    }
}
