//! What can go wrong with a list or a watch, and what follows.

use std::time::Duration;

use kube::core::Status;
use thiserror::Error;

use crate::source::protobuf::Malformed;

/// A list or a watch that did not work out.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The request failed, or the server refused it.
    #[error(transparent)]
    Client(#[from] kube::Error),
    /// The server ended the stream with a status.
    #[error("{}", .0.message)]
    Status(Box<Status>),
    /// What came is not what the protocol says.
    #[error("the server's protobuf cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// The stream broke.
    #[error("the stream broke: {}", chain(.0))]
    Broken(std::io::Error),
    /// The stream ended in the middle of a list.
    #[error("the stream ended before the list was complete")]
    Unfinished,
    /// Nothing came for this long.
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    /// A streaming list paused for this long.
    #[error("the streaming list did not go on for {0:?}")]
    Unending(Duration),
    /// The server accepted the watch and closed it at once.
    #[error("the watch was closed at once")]
    ClosedAtOnce,
    /// The server broke the rules of the protocol.
    #[error("{0}")]
    Protocol(&'static str),
}

impl Failure {
    fn status(&self) -> Option<&Status> {
        match self {
            Failure::Client(kube::Error::Api(status)) | Failure::Status(status) => Some(status),
            _ => None,
        }
    }

    /// The HTTP status code, if the server gave one.
    pub(super) fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// The resource version is too old: only a new list helps.
    pub(super) fn is_gone(&self) -> bool {
        self.code() == Some(410) || self.status().is_some_and(|status| status.reason == "Expired")
    }

    /// An event was lost: it came, and could not be understood.
    pub(super) fn lost_an_event(&self) -> bool {
        match self {
            Failure::Malformed(_) => true,
            Failure::Client(error) => {
                matches!(error, kube::Error::SerdeError(_) | kube::Error::LinesCodecMaxLineLengthExceeded)
            }
            _ => false,
        }
    }

    /// The server has not got streaming lists: it says so, or never ends one.
    pub(super) fn refuses_streaming(&self) -> bool {
        matches!(self, Failure::Unending(_)) || matches!(self.code(), Some(400 | 405 | 406 | 415 | 422 | 501))
    }

    /// The server's words; for a refusal, the permission that is missing.
    pub(super) fn words(&self, verb: &str, resource: &str) -> String {
        match (self.code(), self.status()) {
            (Some(403), Some(status)) => {
                format!(
                    "missing permission: verb {verb:?} on resource {resource:?} (the server says: {})",
                    status.message
                )
            }
            (Some(401), Some(status)) => format!("the server does not accept our credentials: {}", status.message),
            (Some(code), Some(status)) => format!("{} ({code} {})", status.message, status.reason),
            _ => chain(self),
        }
    }
}

/// An error with its causes; parts already said are left out.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str, reason: &str) -> Failure {
        Failure::Status(Status::failure(message, reason).with_code(code).boxed())
    }

    #[test]
    fn a_refusal_names_the_permission() {
        let words = refused(403, "services is forbidden", "Forbidden").words("watch", "services");
        assert!(
            words.contains("\"watch\"") && words.contains("\"services\"") && words.contains("is forbidden"),
            "{words}"
        );
    }

    #[test]
    fn gone_is_known_by_code_and_by_reason() {
        assert!(refused(410, "too old", "Gone").is_gone());
        assert!(refused(0, "too old", "Expired").is_gone());
        assert!(!refused(500, "oops", "InternalError").is_gone());
    }

    #[test]
    fn only_refusals_switch_streaming_off() {
        for code in [400, 422] {
            assert!(refused(code, "sendInitialEvents is forbidden", "Invalid").refuses_streaming());
        }
        for code in [401, 403, 404, 410, 429, 500, 503] {
            assert!(!refused(code, "not now", "").refuses_streaming(), "{code}");
        }
        assert!(Failure::Unending(Duration::from_secs(10)).refuses_streaming());
    }
}
