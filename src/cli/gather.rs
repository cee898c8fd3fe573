//! The whole state of a source, once: for commands that look and do not follow.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::agent::waits_for_node;
use crate::model::{ApiConfig, Config, Event, Rejection, SourceConfig};
use crate::source::{Feed, api, manifests};
use crate::state::State;

/// How long the API may take to answer both lists.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything the source has now. What could not be used is told on stderr.
pub(super) fn gather(config: &Config) -> anyhow::Result<State> {
    let mut state = State::new();
    match &config.source {
        SourceConfig::Manifests(dir) => {
            let events = manifests::load(dir, &config.node_name)
                .with_context(|| format!("cannot read the manifests in {}", dir.display()))?;
            take(&mut state, events);
        }
        SourceConfig::Api(api) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(from_api(api, config, &mut state))?;
        }
    }
    Ok(state)
}

async fn from_api(api: &ApiConfig, config: &Config, state: &mut State) -> anyhow::Result<()> {
    let mut feed = api::stream(api, &config.node_name).await?;
    match tokio::time::timeout(PATIENCE, fill(state, &mut feed, config)).await {
        Ok(filled) => filled,
        Err(_) => bail!("the API server did not answer all lists within {} s", PATIENCE.as_secs()),
    }
}

async fn fill(state: &mut State, feed: &mut Feed, config: &Config) -> anyhow::Result<()> {
    let waits = |state: &State| waits_for_node(config, state.snapshot(), state.knows_node());
    while !state.is_complete() || !state.knows_service_cidrs() || waits(state) {
        match feed.events.recv().await {
            Some(batch) => take(state, batch),
            None => bail!("the source ended before it was complete"),
        }
    }
    Ok(())
}

fn take(state: &mut State, events: Vec<Event>) {
    for event in events {
        match event {
            Event::Rejected(rejection) => reject(&rejection),
            event => state.apply(event),
        }
    }
}

/// Tells what could not be used.
pub(super) fn reject(rejection: &Rejection) {
    tracing::warn!(kind = %rejection.kind, object = rejection.object, field = rejection.field, "{}", rejection.reason);
}

/// Prints on stdout. A reader that has seen enough (`| head`) is no trouble.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
