//! What a fake node does at this moment, and what osctl makes of it.

use std::io::{BufRead as _, BufReader};

use pki::{Role, Validity};
use prost_types::Timestamp;
use proto::inspect::v1 as inspect;
use proto::inspect::v1::OwnerKind;
use tonic::{Request, Response};

use crate::rig::Rig;
use crate::services::{Answer, Services};

const MIB: u64 = 1 << 20;

fn of(kind: OwnerKind) -> inspect::Owner {
    inspect::Owner { kind: kind.into(), ..inspect::Owner::default() }
}

fn service(name: &str) -> Option<inspect::Owner> {
    Some(inspect::Owner { service: name.into(), ..of(OwnerKind::Service) })
}

fn pod(container: &str) -> Option<inspect::Owner> {
    Some(inspect::Owner {
        pod_uid: "0a1b".into(),
        pod_namespace: "default".into(),
        pod_name: "hello-edge-1".into(),
        container: container.into(),
        container_id: if container.is_empty() { String::new() } else { "9abc".into() },
        ..of(OwnerKind::Pod)
    })
}

fn process(pid: u32, name: &str, owner: Option<inspect::Owner>, cpu_percent: f64) -> inspect::Process {
    inspect::Process {
        pid,
        parent_pid: 1,
        name: name.into(),
        executable: format!("/usr/bin/{name}"),
        state: "S".into(),
        threads: 3,
        user_id: Some(100),
        resident_bytes: Some(u64::from(pid) * MIB),
        cpu_time_ms: 130_000,
        cpu_percent: Some(cpu_percent),
        started: Some(Timestamp { seconds: 1_790_000_000, nanos: 0 }),
        start_ticks: 7,
        owner,
        ..inspect::Process::default()
    }
}

fn share(avg10: f64) -> Option<inspect::PressureShare> {
    Some(inspect::PressureShare { avg10, ..inspect::PressureShare::default() })
}

#[tonic::async_trait]
impl inspect::inspect_service_server::InspectService for Services {
    async fn list_processes(
        &self,
        request: Request<inspect::ListProcessesRequest>,
    ) -> Answer<inspect::ListProcessesResponse> {
        let request = request.into_inner();
        let mut kernel = process(2, "kthreadd", Some(of(OwnerKind::Kernel)), 0.0);
        kernel.resident_bytes = None;
        let mut apid = process(8, "apid", service("apid"), 12.5);
        apid.proportional_bytes = request.proportional_set_size.then_some(5 * MIB);
        let hello = process(9, "hello", pod("main"), 100.0);
        Ok(Response::new(inspect::ListProcessesResponse {
            processes: vec![kernel, apid, hello],
            interval_ms: request.interval_ms + 3,
            omitted: 4,
        }))
    }

    async fn list_arguments(
        &self,
        request: Request<inspect::ListArgumentsRequest>,
    ) -> Answer<inspect::ListArgumentsResponse> {
        self.act(&request, Role::Operator, "arguments".into())?;
        let of = |pid, start_ticks, words: &[&str], cut| inspect::Arguments {
            pid,
            start_ticks,
            arguments: words.iter().map(|word| (*word).to_owned()).collect(),
            cut,
        };
        // The process with the id 9 is another one by now.
        let processes = vec![of(8, 7, &["/usr/bin/apid", "--x"], true), of(9, 8, &["other"], false)];
        Ok(Response::new(inspect::ListArgumentsResponse { processes, omitted: 0 }))
    }

    async fn list_cgroups(
        &self,
        request: Request<inspect::ListCgroupsRequest>,
    ) -> Answer<inspect::ListCgroupsResponse> {
        let cgroup = |path: &str, owner, memory_bytes| inspect::Cgroup {
            path: path.into(),
            owner,
            cpu_percent: Some(1.25),
            memory_bytes,
            oom_kills: Some(2),
            memory_pressure: Some(inspect::Pressure { some: share(1.5), full: None }),
            ..inspect::Cgroup::default()
        };
        let cgroups = vec![
            cgroup("/kubepods", None, Some(64 * MIB)),
            cgroup("/kubepods/pod0a1b", pod(""), Some(32 * MIB)),
            cgroup("/kubepods/pod0a1b/9abc", pod("main"), Some(30 * MIB)),
            cgroup("/system/apid", service("apid"), None),
        ];
        let interval_ms = request.into_inner().interval_ms;
        Ok(Response::new(inspect::ListCgroupsResponse { cgroups, interval_ms, omitted: 0 }))
    }

    async fn get_system(
        &self,
        request: Request<inspect::GetSystemRequest>,
    ) -> Answer<inspect::GetSystemResponse> {
        let memory = inspect::Memory {
            total_bytes: Some(2048 * MIB),
            available_bytes: Some(512 * MIB),
            swap_total_bytes: Some(0),
            ..inspect::Memory::default()
        };
        let temperature = inspect::Temperature {
            sensor: "coretemp".into(),
            label: "Core 0".into(),
            celsius: 45.25,
            critical_celsius: None,
        };
        let shares =
            inspect::ProcessorShares { user: 25.0, idle: 75.0, ..inspect::ProcessorShares::default() };
        Ok(Response::new(inspect::GetSystemResponse {
            interval_ms: request.into_inner().interval_ms,
            uptime_s: Some(3.0 * 3600.0),
            processors: vec![inspect::Processor {
                name: "cpu".into(),
                since_boot: None,
                shares: Some(shares),
            }],
            memory: Some(memory),
            cpu_pressure: Some(inspect::Pressure { some: share(2.5), full: share(0.0) }),
            temperatures: vec![temperature],
            ..inspect::GetSystemResponse::default()
        }))
    }

    async fn list_mounts(
        &self,
        _: Request<inspect::ListMountsRequest>,
    ) -> Answer<inspect::ListMountsResponse> {
        let mount = |target: &str, name: &str, size_bytes: Option<u64>| inspect::Mount {
            source: "/dev/vda8".into(),
            target: target.into(),
            root: "/".into(),
            r#type: "ext4".into(),
            options: vec!["rw".into(), "nodelalloc".into()],
            size_bytes,
            used_bytes: size_bytes.map(|bytes| bytes / 4),
            name: name.into(),
            ..inspect::Mount::default()
        };
        let mounts = vec![
            mount("/var", "DATA", Some(4096 * MIB)),
            mount("/proc", "", None),
            mount("/var/lib/kubelet/pods/0a1b/volumes/x", "", Some(MIB)),
        ];
        Ok(Response::new(inspect::ListMountsResponse { mounts, omitted: 0 }))
    }

    async fn list_sockets(
        &self,
        request: Request<inspect::ListSocketsRequest>,
    ) -> Answer<inspect::ListSocketsResponse> {
        let request = request.into_inner();
        let listening = inspect::Socket {
            protocol: "tcp6".into(),
            local_address: "::".into(),
            local_port: 50_000,
            peer_address: "::".into(),
            state: "LISTEN".into(),
            pid: Some(8),
            process_name: "apid".into(),
            owner: service("apid"),
            ..inspect::Socket::default()
        };
        let connected = inspect::Socket {
            protocol: "tcp".into(),
            local_address: "10.88.0.2".into(),
            local_port: 8080,
            peer_address: "10.0.2.2".into(),
            peer_port: 43210,
            state: "TIME-WAIT".into(),
            owner: pod("main"),
            pod_network: true,
            ..inspect::Socket::default()
        };
        let mut sockets = vec![listening];
        sockets.extend(Some(connected).filter(|_| request.pods && !request.listening));
        Ok(Response::new(inspect::ListSocketsResponse { sockets, omitted: 0 }))
    }
}

/// The line of a table that begins with this word, its gaps as one space.
#[track_caller]
fn line(table: &str, first: &str) -> String {
    let found = table.lines().find(|line| line.split_whitespace().next() == Some(first));
    let found = found.unwrap_or_else(|| panic!("no {first:?} in {table}"));
    found.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn processes_with_their_owners() {
    let rig = Rig::adopted();
    let ran = rig.run(&["ps"]);
    assert!(ran.err.contains("4 more are not listed"), "{ran:?}");
    let table = ran.ok();
    let heading = table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(heading, "PID PPID USER STATE THREADS CPU% CPU TIME RSS AGE OWNER NAME");
    assert!(line(&table, "8").starts_with("8 1 100 S 3 12.5 2m10s 8.0 MiB"), "{table}");
    assert!(line(&table, "8").ends_with(" apid apid"), "{table}");
    assert!(line(&table, "9").ends_with(" default/hello-edge-1/main hello"), "{table}");
    assert!(!table.contains("kthreadd"), "{table}");
    assert!(rig.run(&["ps", "--all"]).ok().contains("[kthreadd]"));

    let json = rig.json(&["ps", "--all", "--pss", "--interval", "2s", "-o", "json"]);
    assert_eq!((&json["intervalMs"], &json["omitted"]), (&2003.into(), &4.into()));
    let [kernel, apid] = [0, 1].map(|index: usize| &json["items"][index]);
    assert!(kernel["residentBytes"].is_null() && kernel["arguments"].is_null(), "{kernel}");
    assert_eq!(apid["proportionalBytes"], 5 * MIB);
    assert_eq!((&apid["owner"]["kind"], &apid["owner"]["service"]), (&"service".into(), &"apid".into()));
    assert_eq!(json["items"][2]["owner"]["containerId"], "9abc");
}

#[test]
fn processes_are_chosen_and_sorted() {
    let rig = Rig::adopted();
    let pids = |arguments: &[&str]| -> Vec<u64> {
        let json = rig.json(&[&["ps", "-o", "json"], arguments].concat());
        json["items"].as_array().unwrap().iter().map(|process| process["pid"].as_u64().unwrap()).collect()
    };
    assert_eq!(pids(&["--sort", "cpu"]), [9, 8]);
    assert_eq!(pids(&["--all", "--sort", "memory"]), [9, 8, 2], "what is not known comes last");
    assert_eq!(pids(&["--service", "apid"]), [8]);
    for name in ["hello", "default/hello", "default/hello-edge-1"] {
        assert_eq!(pids(&["--pod", name]), [9], "{name}");
    }
    rig.run(&["ps", "--service", "kubelet"]).fails(6, &["apid", "default/hello-edge-1/main"]);
}

#[test]
fn arguments_need_an_operator_and_belong_to_the_process_that_had_them() {
    let rig = Rig::adopted();
    let table = rig.run(&["ps", "--args"]).ok();
    assert!(line(&table, "8").ends_with(" /usr/bin/apid --x …"), "{table}");
    assert!(line(&table, "9").ends_with(" hello"), "{table}");
    rig.add_context("rita", &rig.ca, Role::Reader, Validity::UNLIMITED);
    rig.run(&["-c", "rita", "ps"]).ok();
    let ran = rig.run(&["-c", "rita", "ps", "--args"]);
    assert_eq!((ran.code, ran.out.as_str()), (5, ""), "{ran:?}");
    assert!(ran.err.contains("needs the role operator"), "{ran:?}");
}

#[test]
fn services_and_pods_with_what_they_take() {
    let rig = Rig::adopted();
    let table = rig.run(&["stats"]).ok();
    assert_eq!(line(&table, "apid"), "apid 1.2 - - - - - - - 1.5/- - 2");
    assert_eq!(line(&table, "default/hello-edge-1"), "default/hello-edge-1 1.2 32 MiB - - - - - - 1.5/- - 2");
    assert_eq!(table.lines().count(), 3, "{table}");
    let names = |arguments: &[&str]| -> Vec<String> {
        let table = rig.run(&[&["stats"], arguments].concat()).ok();
        table.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--containers"]), ["apid", "default/hello-edge-1", "default/hello-edge-1/main"]);
    assert_eq!(names(&["--all", "--sort", "memory"]), ["/kubepods", "default/hello-edge-1", "apid"]);
    let json = rig.json(&["stats", "-o", "json"]);
    assert!(json["items"][0]["memoryBytes"].is_null(), "{json}");
    assert_eq!(json["items"][1]["memoryPressure"]["some"]["avg10"], 1.5);
}

#[test]
fn the_machine_in_tables_of_what_is_known() {
    let rig = Rig::adopted();
    let tables = rig.run(&["top"]).ok();
    assert!(line(&tables, "3h").starts_with("3h - - -"), "{tables}");
    assert_eq!(line(&tables, "memory"), "memory 2.0 GiB 1.5 GiB 75 512 MiB -");
    assert_eq!(line(&tables, "coretemp"), "coretemp Core 0 45.2 -");
    assert!(!tables.contains("swap") && !tables.contains("DISK") && !tables.contains("LINK"), "{tables}");
    // The first of two lines that begin so; the other is of the pressure.
    assert_eq!(line(&tables, "cpu"), "cpu 25.0 0.0 0.0 0.0 0.0 75.0");
    assert!(tables.contains("2.5"), "{tables}");
    let json = rig.json(&["top", "-o", "json"]);
    assert_eq!(json["memory"]["availableBytes"], 512 * MIB);
    assert!(json["memory"]["freeBytes"].is_null() && json["load"].is_null(), "{json}");
    assert_eq!(json["cpuPressure"]["full"]["avg10"], 0.0);
}

#[test]
fn watched_views_come_again_and_again() {
    let rig = Rig::adopted();
    let mut child = rig.command(&["top", "-w", "-o", "json"]).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(3);
    for line in lines.map(Result::unwrap) {
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["intervalMs"], 1000);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn mounts_that_take_room_and_all_of_them() {
    let rig = Rig::adopted();
    let table = rig.run(&["mounts"]).ok();
    assert_eq!(line(&table, "/var"), "/var DATA /dev/vda8 ext4 4.0 GiB 1.0 GiB 25 - - rw,nodelalloc");
    assert_eq!(table.lines().count(), 2, "{table}");
    assert_eq!(rig.run(&["mounts", "--all"]).ok().lines().count(), 4);
}

#[test]
fn sockets_with_their_processes() {
    let rig = Rig::adopted();
    let table = rig.run(&["netstat", "--listening", "--pods"]).ok();
    assert_eq!(line(&table, "tcp6"), "tcp6 *:50000 *:* LISTEN 0 0 8 apid apid node");
    assert_eq!(table.lines().count(), 2, "{table}");
    let table = rig.run(&["netstat", "--pods"]).ok();
    let expected = "tcp 10.88.0.2:8080 10.0.2.2:43210 TIME-WAIT 0 0 - - default/hello-edge-1/main pod";
    assert_eq!(line(&table, "tcp"), expected);
    assert!(rig.json(&["netstat", "--pods", "-o", "json"])["items"][1]["pid"].is_null());
}

#[test]
fn several_nodes_are_asked_at_once() {
    let rig = Rig::adopted();
    rig.add_context("edge-2", &rig.ca, Role::Admin, Validity::UNLIMITED);
    let answers = rig.json(&["stats", "-c", "edge-1,edge-2", "-o", "json"]);
    for (index, name) in ["edge-1", "edge-2"].into_iter().enumerate() {
        let answer = &answers["items"][index];
        assert_eq!((&answer["context"], &answer["exitCode"]), (&name.into(), &0.into()));
        assert_eq!(answer["output"]["items"].as_array().unwrap().len(), 2);
    }
}
