//! What a node does at this moment: processes, services and pods, the machine, mounts, sockets; and who may see what.

#![allow(missing_docs)]

mod support;

use serde_json::Value;
use support::{bed, blueprint, up};
use testbed::node::Node;

#[test]
fn the_api_answers_what_one_would_ask_a_shell() {
    let bed = bed();
    let node = up(&bed, &blueprint(&bed, "inspect"));
    node.osctl(&["health", "--wait"]).unwrap();
    processes_have_owners(&node);
    services_and_pods_take_something(&node);
    the_machine_is_measured(&node);
    disks_are_mounted(&node);
    ports_have_owners(&node);
    readers_see_no_arguments(&node);
    the_bundle_holds_it_all(&node);
}

fn processes_have_owners(node: &Node) {
    let list = json(node, &["ps", "--pss", "--interval", "2s", "-o", "json"]);
    assert!(list["intervalMs"].as_u64().unwrap() >= 2000 && list["omitted"] == 0, "{}", list["intervalMs"]);
    for service in ["machined", "apid", "containerd", "kubelet"] {
        let process = find(&list, |one| one["name"] == service);
        assert_eq!(process["owner"]["service"], service, "{process}");
        assert!(process["residentBytes"].as_u64().unwrap() > 1 << 20, "{process}");
        let [proportional, resident] =
            ["proportionalBytes", "residentBytes"].map(|field| process[field].as_u64().unwrap());
        // Both are read one after the other.
        assert!(0 < proportional && proportional <= 2 * resident, "{process}");
        assert!(process["cpuPercent"].as_f64().is_some() && process["started"].is_string(), "{process}");
    }
    assert_eq!(find(&list, |one| one["pid"] == 1)["owner"]["kind"], "init");
    let hello = find(&list, |one| one["owner"]["name"] == "hello-inspect" && one["owner"]["container"] != "");
    assert_eq!((&hello["owner"]["kind"], &hello["owner"]["namespace"]), (&"pod".into(), &"default".into()));
    let shims = find(&list, |one| one["owner"]["kind"] == "shim");
    assert!(shims["name"].as_str().unwrap().starts_with("containerd-shim"), "{shims}");
    // Threads of the kernel only when they are asked for.
    assert!(items(&list).iter().all(|one| one["owner"]["kind"] != "kernel"));
    let all = json(node, &["ps", "--all", "-o", "json"]);
    assert_eq!(find(&all, |one| one["name"] == "kthreadd")["owner"]["kind"], "kernel");
    let table = node.osctl(&["ps", "--service", "kubelet", "--sort", "memory"]).unwrap();
    assert!(
        table.lines().count() >= 2 && table.lines().skip(1).all(|line| line.contains("kubelet")),
        "{table}"
    );
    let table = node.osctl(&["ps", "--pod", "default/hello"]).unwrap();
    assert!(table.contains("default/hello-inspect/"), "{table}");
}

fn services_and_pods_take_something(node: &Node) {
    let list = json(node, &["stats", "--containers", "-o", "json"]);
    let of_service = |name: &str| find(&list, |one| one["owner"]["service"] == name);
    for service in ["machined", "apid", "containerd", "kubelet"] {
        let cgroup = of_service(service);
        for field in ["memoryBytes", "memoryPeakBytes", "cpuTimeUs", "processes"] {
            assert!(cgroup[field].as_u64().unwrap() > 0, "{field} of {cgroup}");
        }
        assert_eq!(cgroup["oomKills"], 0, "{cgroup}");
        for pressure in ["cpuPressure", "memoryPressure", "ioPressure"] {
            assert!(cgroup[pressure]["some"]["avg10"].as_f64().unwrap() >= 0.0, "{pressure} of {cgroup}");
        }
    }
    assert_eq!(of_service("apid")["memoryLimitBytes"], 96 << 20);
    assert!(of_service("kubelet")["memoryLimitBytes"].is_null(), "it has no limit");
    let pod = find(&list, |one| one["owner"]["name"] == "hello-inspect" && one["owner"]["containerId"] == "");
    let container =
        find(&list, |one| one["owner"]["name"] == "hello-inspect" && one["owner"]["container"] != "");
    let memory = |cgroup: &Value| cgroup["memoryBytes"].as_u64().unwrap();
    assert!(0 < memory(container) && memory(container) <= memory(pod), "{container} of {pod}");
    let table = node.osctl(&["stats"]).unwrap();
    assert!(table.contains("default/hello-inspect ") && table.starts_with("NAME "), "{table}");
}

fn the_machine_is_measured(node: &Node) {
    let system = json(node, &["top", "-o", "json"]);
    let number = |pointer: &str| {
        system.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {system}"))
    };
    assert!(number("/uptimeS") > 1.0 && number("/load/threads") > 10.0);
    // The bed gives a node 2 GiB.
    assert!((1.5e9..2.2e9).contains(&number("/memory/totalBytes")));
    assert!(number("/memory/availableBytes") < number("/memory/totalBytes"));
    let shares = system["processors"][0]["shares"].as_object().unwrap();
    let sum: f64 = shares.values().map(|share| share.as_f64().unwrap()).sum();
    assert!((99.0..101.0).contains(&sum), "{shares:?}");
    for pressure in ["cpuPressure", "memoryPressure", "ioPressure"] {
        assert!(number(&format!("/{pressure}/some/avg60")) >= 0.0);
    }
    let disks = system["disks"].as_array().unwrap();
    assert!(disks.iter().any(|disk| disk["writtenBytes"].as_u64().unwrap() > 1 << 20), "{disks:?}");
    let links = system["links"].as_array().unwrap();
    let busy = links.iter().find(|link| link["name"] != "lo" && link["receivedBytes"].as_u64() > Some(0));
    assert!(busy.unwrap()["sentBytesPerSecond"].as_f64().is_some(), "{links:?}");
    assert!(node.osctl(&["top"]).unwrap().contains("PRESSURE"));
}

fn disks_are_mounted(node: &Node) {
    let list = json(node, &["mounts", "-o", "json"]);
    for (name, target, size_bytes) in
        [("STATE", layout::path::STATE, 100 << 20), ("DATA", layout::path::DATA, 1_u64 << 30)]
    {
        let mount = find(&list, |one| one["name"] == name);
        assert_eq!((&mount["target"], &mount["type"]), (&target.into(), &"ext4".into()));
        assert!(mount["sizeBytes"].as_u64().unwrap() > size_bytes, "{mount}");
        for field in ["usedBytes", "availableBytes", "inodes", "inodesUsed"] {
            assert!(mount[field].as_u64().unwrap() > 0, "{field} of {mount}");
        }
    }
    let root = find(&list, |one| one["target"] == "/");
    assert_eq!(root["type"], "erofs", "{root}");
    let all = json(node, &["mounts", "--all", "-o", "json"]);
    assert!(items(&all).len() > items(&list).len());
    assert!(find(&all, |one| one["target"] == "/proc")["sizeBytes"].is_null());
}

fn ports_have_owners(node: &Node) {
    let list = json(node, &["netstat", "--listening", "-o", "json"]);
    let api = find(&list, |one| one["localPort"] == layout::API_PORT);
    assert_eq!((&api["owner"]["service"], &api["state"]), (&"apid".into(), &"LISTEN".into()));
    assert_eq!(api["processName"], "apid", "{api}");
    let kubelet = find(&list, |one| one["localPort"] == 10250);
    assert_eq!(
        (&kubelet["owner"]["service"], &kubelet["localAddress"]),
        (&"kubelet".into(), &"127.0.0.1".into())
    );
    // osctl's own connection is among those that do not listen.
    let all = json(node, &["netstat", "-o", "json"]);
    let own = find(&all, |one| one["localPort"] == layout::API_PORT && one["state"] == "ESTABLISHED");
    assert_eq!((&own["owner"]["service"], &own["podNetwork"]), (&"apid".into(), &false.into()));
    // What pods listen at in networks of their own shows up only with --pods, and under their names.
    assert!(items(&all).iter().all(|one| one["podNetwork"] == false));
    let pods = json(node, &["netstat", "--listening", "--pods", "-o", "json"]);
    for socket in items(&pods).iter().filter(|one| one["podNetwork"] == true) {
        assert_eq!(
            (&socket["owner"]["kind"], &socket["owner"]["namespace"]),
            (&"pod".into(), &"default".into())
        );
    }
    let hello = items(&pods).iter().find(|one| one["owner"]["name"] == "hello-inspect");
    assert!(hello.is_some(), "{pods}");
}

fn readers_see_no_arguments(node: &Node) {
    let secrets = node.secrets().to_string_lossy().into_owned();
    let endpoint = node.endpoint();
    let client = ["gen", "client", "--secrets", &secrets, "--role", "reader", "--name", "rita"];
    node.osctl(&[&client[..], &["--context", "reader", "--endpoint", &endpoint]].concat()).unwrap();
    for seen in [&["ps"][..], &["stats"], &["top"], &["mounts"], &["netstat", "--pods"]] {
        let out = node.osctl(&[&["--context", "reader"], seen].concat()).unwrap();
        assert!(out.lines().count() > 1, "{seen:?}: {out}");
        assert!(!out.contains("--config"), "{seen:?} shows arguments: {out}");
    }
    let refused = node.osctl_output(&["--context", "reader", "ps", "--args"]).unwrap();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(5), 0), "{refused:?}");
    let table = node.osctl(&["ps", "--service", "kubelet", "--args"]).unwrap();
    assert!(table.contains("kubelet --config"), "{table}");
    let audit = node.osctl(&["logs", "audit", "--grep", "InspectService/ListArguments"]).unwrap();
    assert!(audit.contains("rita"), "{audit}");
}

fn the_bundle_holds_it_all(node: &Node) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.tar.zst").to_string_lossy().into_owned();
    let output = node.osctl_output(&["support", "--tail", "10", "-o", &file]).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !errors.contains("live/"), "{errors}");
}

fn json(node: &Node, arguments: &[&str]) -> Value {
    serde_json::from_str(&node.osctl(arguments).unwrap()).unwrap()
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().unwrap()
}

fn find(list: &Value, is_meant: impl Fn(&Value) -> bool) -> &Value {
    items(list).iter().find(|item| is_meant(item)).unwrap_or_else(|| panic!("not among {list}"))
}
