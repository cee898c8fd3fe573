//! One kind's list and watch.
//!
//! kube's own `watcher` is not used: it hides the list's version (so stale events cannot be told from new ones), goes on after
//! an event it could not read (which is then lost), and opens a watch that is closed at once again without a pause.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::core::WatchEvent;
use kube::core::params::{ListParams, VersionMatch, WatchParams};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout};

use crate::model::{Change, Event};
use crate::source::feed::SourceStats;
use crate::source::intern::Interner;
use crate::source::kind::{Kind, Origin};

use super::ask::{Asker, Stream};
use super::backoff::{Backoff, fraction};
use super::failure::Failure;
use super::version::{advance, is_older};

/// A plain list must have come within this time; a streaming list must not pause for longer.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
const STREAM_PAUSE: Duration = Duration::from_secs(10);
/// How long a watch is asked for, at most, in seconds; and how much longer one is waited for.
const WATCH_SECONDS: u32 = 290;
const WATCH_GRACE: Duration = Duration::from_secs(5);
/// A watch that ends sooner than any was asked for broke.
const WATCH_LEAST: Duration = Duration::from_secs(235);
/// Servers with bookmarks send one about every minute: such a long silence means that the connection is dead.
const BOOKMARK_SILENCE: Duration = Duration::from_secs(150);
/// The longest pause after a watch that the server closed soon after it began.
const CLOSED_PAUSE: Duration = Duration::from_secs(2);
/// A watch that lasted this long worked.
const STEADY: Duration = Duration::from_secs(5);
/// A watch that ends sooner, without a single event, was not meant.
const AT_ONCE: Duration = Duration::from_secs(1);
/// So many refusals to go on from a version make us list anew.
const REFUSALS: u32 = 5;
/// An optional kind that is not there is asked for again after this time.
const OPTIONAL_PAUSE: Duration = Duration::from_secs(300);

/// What to list and watch.
#[derive(Clone, Debug, Default)]
pub(super) struct Spec {
    /// The label selector.
    pub(super) labels: Option<String>,
    /// The field selector.
    pub(super) fields: Option<String>,
    /// Whether to ask for streaming lists first.
    pub(super) streaming: bool,
    /// Whether 403 and 404 count as an empty list.
    pub(super) optional: bool,
}

/// A complete list: the batch that tells it, its version, and the stream that goes on from there, if it is open already.
struct Listed<K> {
    batch: Vec<Event>,
    version: String,
    stream: Option<Stream<K>>,
}

/// How a watch ended.
enum End {
    /// The server ended it properly, after this time.
    Closed(Duration),
    /// Go on from the last version.
    Reopen(Failure),
    /// Only a new list helps.
    Relist(Failure),
}

/// The task of one kind.
pub(super) struct Watch<K> {
    asker: Asker<K>,
    spec: Spec,
    events: UnboundedSender<Vec<Event>>,
    stats: Arc<SourceStats>,
    names: Interner,
    backoff: Backoff,
    /// Pauses between watches that are closed too soon.
    closings: Backoff,
    listed_before: bool,
    missing_told: bool,
}

impl<K: Kind> Watch<K> {
    pub(super) fn new(
        asker: Asker<K>,
        spec: Spec,
        events: UnboundedSender<Vec<Event>>,
        stats: Arc<SourceStats>,
    ) -> Self {
        let (names, backoff, closings) = Default::default();
        Watch { asker, spec, events, stats, names, backoff, closings, listed_before: false, missing_told: false }
    }

    /// Lists and watches until nobody listens.
    pub(super) async fn run(mut self) {
        while !self.events.is_closed() {
            let listed = if self.spec.streaming { self.streaming_list().await } else { self.plain_list().await };
            match listed {
                Ok(listed) => {
                    tracing::debug!(kind = %K::KIND, version = listed.version, "listed");
                    self.send(listed.batch);
                    self.listed_before = true;
                    self.follow(listed.version, listed.stream).await;
                }
                Err(failure) => self.list_failed(failure).await,
            }
        }
    }

    async fn plain_list(&mut self) -> Result<Listed<K>, Failure> {
        let params = self.list_params();
        let list = timeout(LIST_TIMEOUT, self.asker.list(&params)).await;
        let list = list.map_err(|_| Failure::Silent(LIST_TIMEOUT))??;
        if list.version.is_empty() {
            return Err(Failure::Protocol("the list has no metadata.resourceVersion"));
        }
        let mut batch = vec![K::event(Change::Init)];
        for object in list.items {
            self.tell(object, &mut batch, false);
        }
        batch.push(K::event(Change::Synced));
        Ok(Listed { batch, version: list.version, stream: None })
    }

    /// The first list may come from the server's cache. Later ones must be the latest, or we might go back in time.
    fn list_params(&self) -> ListParams {
        let first = !self.listed_before;
        ListParams {
            label_selector: self.spec.labels.clone(),
            field_selector: self.spec.fields.clone(),
            resource_version: first.then(|| "0".to_owned()),
            version_match: first.then_some(VersionMatch::NotOlderThan),
            ..ListParams::default()
        }
    }

    async fn streaming_list(&mut self) -> Result<Listed<K>, Failure> {
        let mut stream = self.open("", true).await?;
        let mut batch = vec![K::event(Change::Init)];
        loop {
            let item = timeout(STREAM_PAUSE, stream.next()).await.map_err(|_| Failure::Unending(STREAM_PAUSE))?;
            match item.ok_or(Failure::Unfinished)?? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => self.tell(object, &mut batch, false),
                WatchEvent::Bookmark(mark) if mark.metadata.annotations.contains_key("k8s.io/initial-events-end") => {
                    batch.push(K::event(Change::Synced));
                    return Ok(Listed { batch, version: mark.metadata.resource_version, stream: Some(stream) });
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Deleted(_) => return Err(Failure::Protocol("a delete in the middle of a streaming list")),
                WatchEvent::Error(status) => return Err(Failure::Status(status)),
            }
        }
    }

    async fn open(&mut self, version: &str, initial: bool) -> Result<Stream<K>, Failure> {
        let params = WatchParams {
            label_selector: self.spec.labels.clone(),
            field_selector: self.spec.fields.clone(),
            timeout: Some(WATCH_SECONDS - (50.0 * fraction()) as u32),
            bookmarks: true,
            send_initial_events: initial,
        };
        let opened = timeout(LIST_TIMEOUT, self.asker.watch(&params, version)).await;
        opened.map_err(|_| Failure::Silent(LIST_TIMEOUT))?
    }

    /// Follows the changes after `version` until only a new list helps.
    async fn follow(&mut self, mut version: String, mut stream: Option<Stream<K>>) {
        let mut refusals = 0;
        while !self.events.is_closed() {
            let opened = match stream.take() {
                Some(stream) => Ok(stream),
                None => self.open(&version, false).await,
            };
            let end = match opened {
                Ok(stream) => {
                    refusals = 0;
                    self.drain(stream, &mut version).await
                }
                Err(failure) => {
                    refusals += u32::from(failure.code().is_some());
                    if failure.is_gone() || refusals >= REFUSALS { End::Relist(failure) } else { End::Reopen(failure) }
                }
            };
            match end {
                End::Closed(after) => sleep(self.pause_after(after)).await,
                End::Reopen(failure) => self.failed("watch", failure).await,
                End::Relist(failure) => return self.failed("watch", failure).await,
            }
        }
    }

    /// Hands out one watch's events.
    async fn drain(&mut self, mut stream: Stream<K>, version: &mut String) -> End {
        let opened = Instant::now();
        let mut idle = Duration::from_secs(WATCH_SECONDS.into()) + WATCH_GRACE;
        let mut any = false;
        loop {
            let next = timeout(idle, stream.next()).await;
            if opened.elapsed() > STEADY {
                self.backoff.reset();
            }
            let failure = match next {
                Ok(Some(Ok(WatchEvent::Error(status)))) => Failure::Status(status),
                Ok(Some(Ok(event))) => {
                    if matches!(event, WatchEvent::Bookmark(_)) {
                        idle = BOOKMARK_SILENCE;
                    }
                    self.hear(event, version);
                    any = true;
                    continue;
                }
                Ok(Some(Err(failure))) => failure,
                Ok(None) if any || opened.elapsed() > AT_ONCE => {
                    self.closed(opened.elapsed());
                    return End::Closed(opened.elapsed());
                }
                Ok(None) => Failure::ClosedAtOnce,
                Err(_) => Failure::Silent(idle),
            };
            let relist = failure.is_gone() || failure.lost_an_event();
            return if relist { End::Relist(failure) } else { End::Reopen(failure) };
        }
    }

    /// How long to pause after a watch that the server ended after this time: not at all, unless it keeps ending them soon.
    fn pause_after(&mut self, lasted: Duration) -> Duration {
        if lasted > STEADY {
            self.closings.reset();
            return Duration::ZERO;
        }
        self.closings.next().min(CLOSED_PAUSE)
    }

    /// The stream ended after this time: as it should, or with its connection.
    fn closed(&self, after: Duration) {
        if after < WATCH_LEAST {
            tracing::debug!(kind = %K::KIND, ?after, "the watch ended early: going on from the last version");
            self.stats.count(K::KIND);
        }
    }

    /// Hands out one event, unless it is older than what is known.
    fn hear(&mut self, event: WatchEvent<K>, version: &mut String) {
        let (object, gone) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
            WatchEvent::Deleted(object) => (object, true),
            WatchEvent::Bookmark(mark) => return advance(version, mark.metadata.resource_version),
            WatchEvent::Error(_) => return,
        };
        let at = object.meta().resource_version.clone().unwrap_or_default();
        if is_older(&at, version) {
            tracing::debug!(kind = %K::KIND, object = %object.name(), at, version, "a stale event is left out");
            return;
        }
        self.backoff.reset();
        advance(version, at);
        let mut batch = Vec::with_capacity(1);
        if gone {
            batch.push(K::event(Change::Delete(object.name())));
        } else {
            self.tell(object, &mut batch, true);
        }
        self.send(batch);
    }

    /// Adds an object's rejections and the object. One that does not count is a delete, where `deletes` is asked for.
    fn tell(&mut self, object: K, batch: &mut Vec<Event>, deletes: bool) {
        let parsed = object.into_model(Origin::Api, &mut self.names);
        batch.extend(parsed.rejections.into_iter().map(Event::Rejected));
        match parsed.model {
            Some(model) => batch.push(K::event(Change::Upsert(model))),
            None if deletes => batch.push(K::event(Change::Delete(parsed.name))),
            None => {}
        }
    }

    /// The receiver may be gone: then the next look at the channel ends the task.
    fn send(&self, batch: Vec<Event>) {
        let _ = self.events.send(batch);
    }

    async fn list_failed(&mut self, failure: Failure) {
        if self.spec.streaming && failure.refuses_streaming() {
            let reason = failure.words("watch", &K::plural(&()));
            tracing::info!(kind = %K::KIND, reason, "no streaming lists here: plain lists from now on");
            self.spec.streaming = false;
        } else if self.spec.optional && matches!(failure.code(), Some(403 | 404)) {
            self.missing(failure).await;
        } else {
            self.failed("list", failure).await;
        }
    }

    /// An optional kind is not there: an empty list, once, and no more than a warning.
    async fn missing(&mut self, failure: Failure) {
        if !self.missing_told && !self.listed_before {
            let reason = failure.words("list", &K::plural(&()));
            tracing::warn!(kind = %K::KIND, reason, "going on without this kind");
            self.send(vec![K::event(Change::Init), K::event(Change::Synced)]);
        }
        self.missing_told = true;
        sleep(OPTIONAL_PAUSE).await;
    }

    async fn failed(&mut self, verb: &str, failure: Failure) {
        self.stats.count(K::KIND);
        let (wait, reason) = (self.backoff.next(), failure.words(verb, &K::plural(&())));
        if failure.is_gone() {
            tracing::info!(kind = %K::KIND, reason, ?wait, "the watch is too old: listing anew");
        } else {
            tracing::warn!(kind = %K::KIND, verb, reason, ?wait, "the API server could not be followed: trying again");
        }
        sleep(wait).await;
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
