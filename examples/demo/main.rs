//! `make demo`: ferroproxy at work in a private network, told as a story. Every claim it prints is checked; the exit status is 1
//! if one does not hold. Needs root; leaves nothing behind.

mod manifests;
mod paint;
mod refusals;
mod requests;
mod scale;
mod stage;

#[path = "../../tests/support/lab/mod.rs"]
mod lab;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{Lab, Proxy};
use manifests::Manifests;
use paint::{good, note, step, title};
use stage::Stage;

/// Three endpoints, and one pod that is only a client.
const PODS: usize = 4;

fn main() -> ExitCode {
    let started = Instant::now();
    stage::listen_for_signals();
    match play() {
        Ok(0) => {
            good(&format!("everything was as expected ({:.1} s)", started.elapsed().as_secs_f32()));
            ExitCode::SUCCESS
        }
        Ok(wrong) => {
            paint::bad(&format!("{wrong} things were not as expected; they are marked above"));
            ExitCode::FAILURE
        }
        Err(error) => {
            paint::bad(&format!("the demo ends early: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The whole story; answers how many expectations failed.
fn play() -> Result<usize> {
    title("ferroproxy: services in nftables, seen at work");
    let lab = build()?;
    let manifests = Manifests::copy()?;
    show(&manifests)?;
    let (stage, proxy) = start(lab, manifests)?;
    let mut wrong = requests::show(&stage)?;
    wrong += refusals::show(&stage)?;
    wrong += scale::show(&stage, &proxy)?;
    wrong += end(stage, proxy)?;
    Ok(wrong)
}

fn build() -> Result<Lab> {
    step(1, "a private network: six network namespaces, joined by veth pairs");
    let begun = Instant::now();
    let mut lab = Lab::new(PODS)?;
    for port in [8080, 5353] {
        lab.serve_tcp(port)?;
        lab.serve_udp(port)?;
    }
    println!(
        "
    pod0  10.244.0.10  fd00:10:244::10 --+
    pod1  10.244.0.11  fd00:10:244::11 --+-- node ------------ outside
    pod2  10.244.0.12  fd00:10:244::12 --+   192.0.2.10        192.0.2.100
    pod3  10.244.0.13  fd00:10:244::13 --+   2001:db8::10      2001:db8::100
"
    );
    note(&format!(
        "Ready after {} ms. Every pod runs servers that say who they are and who asked.",
        millis(begun.elapsed())
    ));
    Ok(lab)
}

fn show(manifests: &Manifests) -> Result<()> {
    step(2, "the manifests: plain Kubernetes objects, no cluster");
    for (file, about) in manifests.summary()? {
        println!("    manifests/demo/{file:<20} {about}");
    }
    println!();
    for line in manifests.read("web.yaml")?.lines().filter(|line| !line.starts_with('#')) {
        println!("    | {line}");
    }
    Ok(())
}

fn start(lab: Lab, manifests: Manifests) -> Result<(Stage, Proxy)> {
    step(3, "ferroproxy starts on the node");
    let stage = Stage::new(lab, manifests)?;
    note(
        "$ ferroproxy run --manifests manifests/demo --hostname-override demo-node --cluster-cidr 10.244.0.0/16,fd00:10:244::/64",
    );
    let begun = Instant::now();
    let proxy = stage.start_proxy()?;
    let first = stage.syncs(&proxy)?;
    println!("    healthy after {} ms; the first transaction, both families, took:", millis(begun.elapsed()));
    println!("      {:>9} to compile", paint::duration(first.compile));
    println!(
        "      {:>9} to encode, commit and acknowledge ({} operations)",
        paint::duration(first.commit),
        first.operations
    );
    Ok((stage, proxy))
}

fn end(stage: Stage, proxy: Proxy) -> Result<usize> {
    step(7, "the end");
    let mut wrong = 0;
    let status = proxy.stop()?;
    wrong += paint::check(status.success(), &format!("ferroproxy ends on SIGTERM ({status})"));
    let answer = stage.lab.tcp(lab::Place::Pod(3), "10.96.0.80:80", lab::PATIENCE);
    wrong += paint::check(answer.is_ok(), "its rules stay and keep working without it");
    let cleanup = stage.ferroproxy(&["cleanup"])?;
    let left = stage.lab.nft_ruleset()?;
    wrong +=
        paint::check(cleanup.status.success() && !left.contains("ferroproxy"), "`ferroproxy cleanup` removes them all");
    let names = stage.space_names();
    drop(stage);
    let gone = names.iter().all(|name| !std::path::Path::new("/run/netns").join(name).exists());
    wrong += paint::check(gone, "namespaces, links, servers and the copy of the manifests are gone");
    Ok(wrong)
}

fn millis(time: Duration) -> u128 {
    time.as_millis()
}

/// What the story's parts have in common: an error that says the user stopped it.
fn go_on() -> Result<()> {
    (!stage::interrupted()).then_some(()).context("interrupted; everything is being removed")
}
