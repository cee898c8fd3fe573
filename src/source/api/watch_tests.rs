//! Tests of [`super`]: how a watch ends. What lists and watches tell is tested against a fake server.

use kube::core::Status;
use kube::core::watch::{Bookmark, BookmarkMeta};
use kube::{Client, Config};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::model::Encoding;
use crate::source::service_cidr::SlimServiceCidr;

type Item = Result<WatchEvent<SlimServiceCidr>, Failure>;

fn watch() -> (Watch<SlimServiceCidr>, UnboundedReceiver<Vec<Event>>) {
    let nowhere = Config::new("http://127.0.0.1:1".parse().expect("a URL"));
    let asker = Asker::new(Client::try_from(nowhere).expect("nothing is asked yet"), Encoding::Protobuf);
    let (sender, events) = unbounded_channel();
    (Watch::new(asker, Spec::default(), sender, Arc::default()), events)
}

async fn end_of(items: Vec<Item>) -> (End, String) {
    let (mut watch, _events) = watch();
    let mut version = "5".to_owned();
    let end = watch.drain(futures::stream::iter(items).boxed(), &mut version).await;
    (end, version)
}

fn bookmark(version: &str) -> Item {
    let metadata = BookmarkMeta { resource_version: version.to_owned(), annotations: Default::default() };
    let types = serde_json::from_value(serde_json::json!({"apiVersion": "v1", "kind": "ServiceCIDR"})).expect("types");
    Ok(WatchEvent::Bookmark(Bookmark { types, metadata }))
}

fn error(code: u16) -> Item {
    Ok(WatchEvent::Error(Status::failure("planned", "Planned").with_code(code).boxed()))
}

#[tokio::test]
async fn a_watch_that_is_closed_at_once_is_a_failure_to_pause_after() {
    assert!(matches!(end_of(vec![]).await, (End::Reopen(Failure::ClosedAtOnce), _)));
}

#[tokio::test]
async fn a_watch_that_said_something_goes_on_from_there() {
    let (end, version) = end_of(vec![bookmark("9")]).await;
    assert!(matches!(end, End::Closed(_)));
    assert_eq!(version, "9");
}

#[tokio::test]
async fn only_gone_and_lost_events_mean_a_new_list() {
    assert!(matches!(end_of(vec![error(410)]).await.0, End::Relist(_)));
    assert!(matches!(end_of(vec![error(500)]).await.0, End::Reopen(_)));
    let garbage = serde_json::from_str::<u8>("garbage").expect_err("no number");
    assert!(matches!(end_of(vec![Err(kube::Error::SerdeError(garbage).into())]).await.0, End::Relist(_)));
    let cut = kube::Error::ReadEvents(std::io::Error::other("cut"));
    assert!(matches!(end_of(vec![Err(cut.into())]).await.0, End::Reopen(_)));
}

#[tokio::test]
async fn a_server_that_keeps_closing_watches_is_asked_less_often() {
    let (mut watch, _events) = watch();
    let moment = Duration::from_millis(10);
    let pauses: Vec<Duration> = (0..8).map(|_| watch.pause_after(moment)).collect();
    assert!(pauses.iter().all(|pause| *pause >= Duration::from_millis(100) && *pause <= CLOSED_PAUSE), "{pauses:?}");
    assert_eq!(pauses[7], CLOSED_PAUSE);
    assert_eq!(watch.pause_after(WATCH_LEAST), Duration::ZERO, "its time was up: nothing is wrong");
    assert!(watch.pause_after(moment) < Duration::from_secs(1), "and the pauses begin anew");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_hangs_without_closing_is_given_up() {
    for (heard, patience) in [(vec![], 295), (vec![bookmark("9")], 150)] {
        let (mut watch, _events) = watch();
        let mut version = "5".to_owned();
        let hangs = futures::stream::iter(heard).chain(futures::stream::pending()).boxed();
        let end = watch.drain(hangs, &mut version).await;
        let End::Reopen(Failure::Silent(waited)) = end else { panic!("it went on from the last version") };
        assert_eq!(waited, Duration::from_secs(patience));
    }
}
