//! Rung 5: `healthCheckNodePort` as a load balancer sees it, from outside and from the node.

mod support;

use support::lab::{NODE, Place};
use support::netns;
use support::scene::{Scene, service, slices};

/// A load balancer's Service whose health is asked on this port.
fn web(n: u8, port: u16) -> String {
    let more = "type: LoadBalancer\nexternalTrafficPolicy: Local\nports: [{name: t, port: 80, nodePort: 3008N}, {name: u, port: 80, nodePort: 3008N, protocol: UDP}]\n";
    service(n, &format!("{}healthCheckNodePort: {port}\n", more.replace('N', &n.to_string())))
}

/// The slices of a Service, its endpoints on another node.
fn elsewhere(n: u8, pods: &[usize]) -> String {
    slices(n, pods).replace("nodeName: node-a", "nodeName: node-b")
}

/// Status and body of each family's server; 0 when nobody listens.
fn get(scene: &Scene, port: u16) -> [(u16, String); 2] {
    NODE.map(|ip| {
        let to = std::net::SocketAddr::new(ip, port).to_string();
        scene.lab.http_get(&to, "/").unwrap_or_default()
    })
}

fn status(scene: &Scene, port: u16) -> [u16; 2] {
    get(scene, port).map(|(status, _)| status)
}

fn wait(scene: &Scene, port: u16, wanted: u16) {
    scene.wait_for(&format!("port {port} to answer {wanted}"), |scene| status(scene, port) == [wanted; 2]);
}

#[test]
fn it_appears_moves_follows_the_endpoints_and_goes_with_its_service() {
    if !netns::is_possible() {
        return;
    }
    let scene = Scene::new(3, &[("web", web(1, 32001)), ("slices", slices(1, &[0, 1]))]);
    wait(&scene, 32001, 200);
    for (_, body) in get(&scene, 32001) {
        let said: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let expected = serde_json::json!({
            "service": {"namespace": "default", "name": "web-1"}, "localEndpoints": 2, "serviceProxyHealthy": true
        });
        assert_eq!(said, expected);
    }
    let outside = |port| {
        let connect = || std::net::TcpStream::connect_timeout(&(NODE[0], port).into(), support::lab::AT_ONCE).is_ok();
        scene.lab.space(Place::Outside).run(connect).expect("it runs")
    };
    assert!(outside(32001), "a load balancer stands outside");
    let loopback = scene.lab.http_get("127.0.0.1:32001", "/");
    assert!(loopback.is_err(), "it listens on the addresses of node ports only: {loopback:?}");

    scene.write("slices", &elsewhere(1, &[0, 1]));
    wait(&scene, 32001, 503);
    assert!(get(&scene, 32001).iter().all(|(_, body)| body.contains("\"localEndpoints\": 0")));

    scene.write("slices", &slices(1, &[2]));
    scene.write("web", &web(1, 32002));
    wait(&scene, 32002, 200);
    assert_eq!(status(&scene, 32001), [0, 0], "the old port is closed by the time the new one answers");

    // A Service that is gone, and another that takes its port in the same step.
    scene.write("more", &format!("{}---\n{}", web(2, 32003), elsewhere(2, &[1])));
    wait(&scene, 32003, 503);
    scene.remove("web");
    wait(&scene, 32002, 0);
    assert_eq!(status(&scene, 32003), [503, 503], "the other goes on");
    scene.write("more", &web(2, 32003).replace("externalTrafficPolicy: Local", "externalTrafficPolicy: Cluster"));
    wait(&scene, 32003, 0);
}

#[test]
fn a_port_that_is_taken_is_named_and_had_when_it_is_free() {
    if !netns::is_possible() {
        return;
    }
    let scene =
        Scene::laid(1, &[("web", web(1, 32001)), ("slices", slices(1, &[0]))], &["--cluster-cidr", "10.244.0.0/16"]);
    let taken =
        scene.lab.space(Place::Node).run(|| std::net::TcpListener::bind("[::]:32001")).expect("it runs").expect("free");
    let mut scene = scene;
    scene.start();
    let complaint = "cannot listen on healthCheckNodePort 32001 of Service default/web-1";
    scene.wait_for("the complaint", |scene| scene.proxy.as_ref().is_some_and(|proxy| proxy.log().contains(complaint)));
    drop(taken);
    wait(&scene, 32001, 200);
}
