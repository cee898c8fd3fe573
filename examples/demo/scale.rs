//! The service scales down and up while two clients keep connecting. No connection fails.

use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::go_on;
use crate::lab::{PATIENCE, Place, Proxy, Steady, Tally};
use crate::paint::{check, duration, note, rule, step};
use crate::stage::Stage;

const PACE: Duration = Duration::from_millis(1);
/// Connections each client makes before and after a change.
const BETWEEN: usize = 100;

/// Prints each change; answers how many expectations failed.
pub(crate) fn show(stage: &Stage, proxy: &Proxy) -> Result<usize> {
    step(6, "web scales while clients keep connecting");
    let clients = [
        ("pod3 to 10.96.0.80:80", stage.lab.keep_asking(Place::Pod(3), "10.96.0.80:80", PACE, PATIENCE)?),
        (
            "outside to [2001:db8::10]:30080",
            stage.lab.keep_asking(Place::Outside, "[2001:db8::10]:30080", PACE, PATIENCE)?,
        ),
    ];
    let mut wrong = 0;
    for (from, to) in [(3, 1), (1, 3), (3, 2), (2, 3)] {
        go_on()?;
        wait_all(&clients)?;
        println!("\n    {from} endpoints -> {to}");
        wrong += change(stage, proxy, to, (from, to) == (3, 1))?;
        wrong += spread(&clients, to)?;
    }
    println!();
    for (who, client) in clients {
        let tally = client.stop()?;
        let (attempts, failed) = (tally.attempts(), tally.failed());
        wrong += check(failed == 0, &format!("{who}: {attempts} connections, {failed} failed ({tally})"));
    }
    Ok(wrong)
}

/// Shows the transaction ahead, edits the file the daemon watches, and waits until the kernel follows.
fn change(stage: &Stage, proxy: &Proxy, count: usize, print: bool) -> Result<usize> {
    stage.manifests.prepare(count)?;
    let transaction = stage.transaction_ahead()?;
    if print {
        show_transaction(&transaction);
    }
    let before = stage.syncs(proxy)?;
    stage.manifests.apply()?;
    stage.wait_in_force()?;
    let spent = stage.syncs(proxy)? - before;
    println!(
        "    {} operations in {} transaction(s): compiled in {}, encoded, committed and acknowledged in {}",
        spent.operations,
        spent.count,
        duration(spent.compile),
        duration(spent.commit)
    );
    Ok(check(spent.count >= 1.0, "`ferroproxy diff` beside the daemon: the kernel holds what the manifests say"))
}

/// Prints the IPv4 half; the other one says the same of IPv6.
fn show_transaction(transaction: &str) {
    note("What will be committed (`ferroproxy diff --output json`), as nft would be told:");
    let (mut shown, mut hidden, mut inside) = (0, 0, false);
    for line in transaction.lines() {
        let continues = line.starts_with(['\t', ' ', '}']);
        inside = if continues { inside } else { line.contains(" ip ferroproxy") };
        if inside {
            rule(line);
        }
        *(if inside { &mut shown } else { &mut hidden }) += 1;
    }
    note(&format!("({shown} lines for IPv4; {hidden} more for IPv6, in the same batch)"));
}

/// Checks that from now on exactly the first `count` endpoints answer.
fn spread(clients: &[(&str, Steady); 2], count: usize) -> Result<usize> {
    let wanted: Vec<String> = (0..count).map(|index| format!("pod{index}")).collect();
    // One connection may have been on its way when the change came into force.
    let earlier = clients.each_ref().map(|(_, client)| client.wait_for_more(1, PATIENCE).map(|_| client.so_far()));
    wait_all(clients)?;
    let mut wrong = 0;
    for ((who, client), earlier) in clients.iter().zip(earlier) {
        let earlier = earlier.map_err(|tally| anyhow!("{who} is stuck: {tally}"))?;
        let since = since(&client.so_far(), &earlier);
        wrong += check(since.answers.keys().eq(wanted.iter()), &format!("{who}: since then {since}"));
    }
    Ok(wrong)
}

fn wait_all(clients: &[(&str, Steady); 2]) -> Result<()> {
    for (who, client) in clients {
        client.wait_for_more(BETWEEN, PATIENCE).map_err(|tally| anyhow!("{who} is stuck: {tally}"))?;
    }
    Ok(())
}

/// What was counted between two looks at a tally.
fn since(now: &Tally, before: &Tally) -> Tally {
    let mut difference = now.clone();
    difference.answers.iter_mut().for_each(|(name, count)| *count -= before.answers.get(name).unwrap_or(&0));
    difference.failures.iter_mut().for_each(|(kind, count)| *count -= before.failures.get(kind).unwrap_or(&0));
    difference.answers.retain(|_, count| *count > 0);
    difference.failures.retain(|_, count| *count > 0);
    difference
}
