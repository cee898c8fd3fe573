//! Rung 6: the Helm chart says what the kustomize manifests say.

mod support;

use serde_json::{Value, json};
use support::chart::{objects, render, values};
use support::manifests::{file, kustomize, one, path, program, with_component, word};

fn without<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let mut rest: Vec<&Value> = objects.iter().filter(|object| object["kind"] != kind).collect();
    rest.sort_by_key(|object| word(object, "/kind").to_owned());
    rest
}

#[test]
fn by_default_it_is_the_base() {
    let chart = objects(&values(&["apiServer=https://192.0.2.1:6443"])).expect("rendered");
    let mut base: Vec<Value> =
        ["base/rbac.yaml", "base/configmap.yaml", "base/daemonset.yaml"].into_iter().flat_map(file).collect();
    let image = format!("ferroproxy:{}", env!("CARGO_PKG_VERSION"));
    for object in base.iter_mut().filter(|object| object["kind"] == "DaemonSet") {
        for list in ["containers", "initContainers"] {
            object["spec"]["template"]["spec"][list][0]["image"] = json!(image);
        }
    }
    assert_eq!(without(&chart, "ConfigMap"), without(&base, "ConfigMap"));
    let (ours, theirs) = (one(&chart, "ConfigMap"), one(&base, "ConfigMap"));
    assert_eq!(ours["metadata"], theirs["metadata"]);
    let parsed = |text: &str| serde_saphyr::from_str::<Value>(text).expect("YAML");
    let config = |map: &Value| parsed(word(map, "/data/config.conf"));
    let mut expected = config(theirs);
    expected["healthzBindAddress"] = json!("0.0.0.0:10256");
    assert_eq!(config(ours), expected);
    let kubeconfig = |map: &Value| parsed(word(map, "/data/kubeconfig.conf"));
    let mut expected = kubeconfig(theirs);
    expected["clusters"][0]["cluster"]["server"] = json!("https://192.0.2.1:6443");
    assert_eq!(kubeconfig(ours), expected);
}

#[test]
fn with_kube_proxys_configmap_it_is_the_overlays() {
    for (overlay, canary) in [
        ("overlays/kubeadm", "canary=false"),
        ("overlays/canary", "canary=true"),
        ("overlays/iptables", "iptables=true"),
    ] {
        let Some(expected) = kustomize(overlay) else { return };
        let chart = objects(&values(&["kubeProxyConfigMap=kube-proxy", canary])).expect("rendered");
        assert_eq!(without(&chart, ""), without(&expected, ""), "{overlay}");
    }
}

#[test]
fn surge_is_the_component() {
    let Some(expected) = with_component("overlays/kubeadm", "components/surge") else { return };
    let chart = objects(&values(&["kubeProxyConfigMap=kube-proxy", "surge=true"])).expect("rendered");
    assert_eq!(without(&chart, ""), without(&expected, ""));
    let daemonset = one(&expected, "DaemonSet");
    let update = &daemonset["spec"]["updateStrategy"]["rollingUpdate"];
    assert_eq!(update, &json!({"maxUnavailable": 0, "maxSurge": "10%"}));
    let spec = &daemonset["spec"]["template"]["spec"];
    let args = spec["containers"][0]["args"].as_array().expect("arguments");
    assert!(
        args.contains(&json!("--wait-for-turn=forever")) && args.contains(&json!("--proxy-mode=nftables")),
        "{args:?}"
    );
    let ports = |list: &str| spec[list][0].get("ports").cloned();
    assert_eq!(
        (ports("containers"), ports("initContainers")),
        (None, None),
        "two pods of one node can have no port of it"
    );
}

#[test]
fn switches_do_what_they_say() {
    let chart = |changes: &[&str]| {
        objects(&values(&[&["apiServer=https://192.0.2.1:6443"], changes].concat())).expect("rendered")
    };
    let daemonset = |changes: &[&str]| one(&chart(changes), "DaemonSet").clone();
    assert_eq!(daemonset(&["sysctls=false"])["spec"]["template"]["spec"].get("initContainers"), None);
    assert_eq!(one(&chart(&["podMonitor=true"]), "PodMonitor"), &file("monitoring/podmonitor.yaml")[0]);
    let changed =
        daemonset(&["resources.memoryLimit=1Gi", "image.repository=mirror.example.org/ferroproxy", "maxUnavailable=3"]);
    assert_eq!(changed["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], 3);
    let container = &changed["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(container["image"], format!("mirror.example.org/ferroproxy:{}", env!("CARGO_PKG_VERSION")));
    let map = one(&chart(&["iptables=true"]), "ConfigMap").clone();
    assert!(word(&map, "/data/config.conf").contains("\nmode: iptables\n"));
    let map = one(&chart(&["config.clusterCIDR=10.0.0.0/8,fd00::/56"]), "ConfigMap").clone();
    assert!(word(&map, "/data/config.conf").contains("clusterCIDR: \"10.0.0.0/8,fd00::/56\"\n"));
}

#[test]
fn nobody_installs_it_without_a_way_to_the_api_server() {
    let refused = objects(&values(&[])).expect_err("neither is set");
    assert!(refused.contains("apiServer: the URL of an API server, or kubeProxyConfigMap"), "{refused}");
}

#[test]
fn helm_renders_the_same() {
    let chart = path("chart/ferroproxy").to_string_lossy().into_owned();
    for changes in [
        &["apiServer=https://192.0.2.1:6443", "podMonitor=true"][..],
        &["kubeProxyConfigMap=kube-proxy", "canary=true", "sysctls=false"],
    ] {
        let sets: Vec<&str> = changes.iter().flat_map(|change| ["--set", change]).collect();
        let args = [&["template", "ferroproxy", &chart, "--namespace", "kube-system"], sets.as_slice()].concat();
        let Some(text) = program("helm", &args) else { return };
        let ours: Vec<Value> =
            render(&values(changes)).expect("rendered").values().flat_map(|t| support::manifests::objects(t)).collect();
        assert_eq!(without(&support::manifests::objects(&text), ""), without(&ours, ""));
    }
}
