//! On files of a made-up node, and on the kernel that runs the tests.

use std::{fs, net::TcpListener, path::Path, process, time::Duration};

use proto::inspect::v1::{self as api, OwnerKind};
use resource::spec::{Container, Pod};
use tempfile::TempDir;

use super::*;

const UID: &str = "0a1b2c";
const CONTAINER: &str = "9abc";

struct Node {
    folder: TempDir,
}

impl Node {
    /// PID 1, a thread of the kernel, the kubelet, and a container of a pod.
    fn new() -> Self {
        let node = Self { folder: tempfile::tempdir().unwrap() };
        node.write("proc/stat", "cpu  100 0 50 800 20 3 4 5\ncpu0 100 0 50 800 20 3 4 5\nbtime 1000\n");
        node.write("proc/uptime", "60.50 50.00\n");
        node.write("proc/meminfo", "MemTotal: 2000 kB\nMemAvailable: 500 kB\n");
        node.process(1, "init", 0, "/init", 10);
        node.process(2, "kthreadd", 0x0020_0000, "/", 0);
        node.process(71, "kubelet", 0, "/podruntime/kubelet", 300);
        node.process(90, "hello", 0, &format!("/kubepods/besteffort/pod{UID}/{CONTAINER}"), 20);
        node.cgroup("podruntime/kubelet", 900);
        node.cgroup(&format!("kubepods/besteffort/pod{UID}/{CONTAINER}/inner"), 1);
        node
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn process(&self, pid: u32, name: &str, flags: u32, cgroup: &str, ticks: u64) {
        let stat = format!("{pid} ({name}) S 1 1 1 0 -1 {flags} 0 0 0 0 {ticks} 0 0 0 20 0 3 0 {pid} 0 0\n");
        self.write(&format!("proc/{pid}/stat"), &stat);
        self.write(&format!("proc/{pid}/status"), "Uid:\t0\t0\t0\t0\nVmRSS:\t  64 kB\n");
        self.write(&format!("proc/{pid}/cgroup"), &format!("0::{cgroup}\n"));
        self.write(&format!("proc/{pid}/cmdline"), &format!("/usr/bin/{name}\0--token=secret\0"));
    }

    /// And all above it.
    fn cgroup(&self, path: &str, cpu_us: u64) {
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            self.write(&format!("cgroup/{}/cgroup.procs", &path[..end]), "");
        }
        self.write(&format!("cgroup/{path}/cpu.stat"), &format!("usage_usec {cpu_us}\nthrottled_usec 7\n"));
        self.write(&format!("cgroup/{path}/memory.current"), "4096\n");
        self.write(&format!("cgroup/{path}/memory.max"), "max\n");
        self.write(&format!("cgroup/{path}/memory.events"), "oom 1\noom_kill 2\n");
        self.write(&format!("cgroup/{path}/io.stat"), "");
    }

    fn roots(&self) -> Roots {
        let [proc, sys, cgroups] = ["proc", "sys", "cgroup"].map(|name| self.folder.path().join(name));
        Roots { proc, sys, cgroups }
    }

    fn inspector(&self) -> Inspector {
        Inspector::at(self.roots())
    }
}

fn names() -> Names {
    Names::from_pods([Pod {
        namespace: "default".into(),
        name: "hello".into(),
        uid: UID.into(),
        containers: vec![Container { id: CONTAINER.into(), name: "main".into(), ..Container::default() }],
        ..Pod::default()
    }])
}

#[tokio::test]
async fn processes_belong_to_services_and_pods() {
    let node = Node::new();
    let inspector = node.inspector();
    let seen = inspector.processes(names(), Wanted::default(), None).await.unwrap();
    assert_eq!((seen.interval_ms, seen.omitted), (0, 0));
    let owner = |index: usize| seen.processes[index].owner.clone().unwrap();
    let kinds: Vec<OwnerKind> = (0..4).map(|index| owner(index).kind()).collect();
    assert_eq!(kinds, [OwnerKind::Init, OwnerKind::Kernel, OwnerKind::Service, OwnerKind::Pod]);
    assert_eq!(owner(2).service, "kubelet");
    assert_eq!((owner(3).pod_namespace, owner(3).pod_name), ("default".into(), "hello".into()));
    assert_eq!((owner(3).container, owner(3).pod_uid), ("main".into(), UID.into()));
    let kubelet = &seen.processes[2];
    assert_eq!((kubelet.cpu_time_ms, kubelet.cpu_percent), (3000, None));
    assert_eq!((kubelet.resident_bytes, kubelet.swapped_bytes), (Some(65_536), None), "absent, not nought");
    assert_eq!(kubelet.started.unwrap().seconds, 1000);
    assert!(!format!("{seen:?}").contains("secret"), "arguments are another method's");

    let unknown = inspector.processes(Names::default(), Wanted::default(), None).await.unwrap();
    let owner = unknown.processes[3].owner.clone().unwrap();
    assert_eq!((owner.pod_uid.as_str(), owner.pod_name.as_str()), (UID, ""));
}

#[tokio::test]
async fn shares_are_of_what_passed_between_two_looks() {
    let node = Node::new();
    let before =
        Before { seen: processes::ticks(&node.roots()), at: Instant::now() - Duration::from_secs(1) };
    node.process(71, "kubelet", 0, "/podruntime/kubelet", 350);
    node.process(72, "new", 0, "/podruntime/kubelet", 5);
    let seen = processes::processes(&node.roots(), &names(), Wanted::default(), Some(before));
    assert!(seen.interval_ms >= 1000);
    let share = |pid| seen.processes.iter().find(|process| process.pid == pid).unwrap().cpu_percent;
    // 500 ms of a little more than a second.
    assert!((20.0..=50.0).contains(&share(71).unwrap()), "{:?}", share(71));
    assert_eq!((share(1), share(72)), (Some(0.0), None), "nobody knows how long it has been there");
}

#[tokio::test]
async fn cgroups_down_to_containers() {
    let node = Node::new();
    let before = Before { seen: cgroups::used(&node.roots()), at: Instant::now() - Duration::from_secs(1) };
    node.cgroup("podruntime/kubelet", 200_900);
    let seen = cgroups(&node.roots(), &names(), Some(before));
    let paths: Vec<&str> = seen.cgroups.iter().map(|cgroup| cgroup.path.as_str()).collect();
    let pod = format!("/kubepods/besteffort/pod{UID}");
    let container = format!("{pod}/{CONTAINER}");
    let expected =
        ["/kubepods", "/kubepods/besteffort", &pod, &container, "/podruntime", "/podruntime/kubelet"];
    assert_eq!(paths, expected);
    let kubelet = seen.cgroups.last().unwrap();
    assert_eq!((kubelet.cpu_time_us, kubelet.cpu_throttled_us), (Some(200_900), Some(7)));
    assert!((5.0..=20.0).contains(&kubelet.cpu_percent.unwrap()), "{kubelet:?}");
    assert_eq!((kubelet.memory_bytes, kubelet.memory_limit_bytes), (Some(4096), None));
    assert_eq!((kubelet.oom_kills, kubelet.read_bytes, kubelet.memory_peak_bytes), (Some(2), Some(0), None));
    let [pod, container] = [2, 3].map(|index: usize| seen.cgroups[index].clone());
    assert_eq!(
        (pod.owner.unwrap().container, container.owner.unwrap().container),
        ("".into(), "main".into())
    );
    assert_eq!(container.cpu_time_us, None, "it has no file of that");
}

#[tokio::test]
async fn arguments_stand_alone() {
    let node = Node::new();
    node.write("proc/71/cmdline", &"x".repeat(5000));
    let seen = node.inspector().look(arguments).await.unwrap();
    let kubelet = seen.processes.iter().find(|process| process.pid == 71).unwrap();
    assert_eq!((kubelet.arguments[0].len(), kubelet.cut, kubelet.start_ticks), (1024, true, 71));
    let hello = seen.processes.iter().find(|process| process.pid == 90).unwrap();
    assert_eq!((hello.arguments.join(" "), hello.cut), ("/usr/bin/hello --token=secret".into(), false));
}

#[tokio::test]
async fn what_a_machine_has_not_is_absent() {
    let node = Node::new();
    let seen = node.inspector().system(None).await.unwrap();
    assert_eq!((seen.uptime_s, seen.load), (Some(60.5), None));
    assert_eq!(seen.processors.len(), 2);
    assert_eq!(seen.processors[0].since_boot.unwrap().idle_ms, 8000);
    assert_eq!(seen.processors[0].shares, None);
    let memory = seen.memory.unwrap();
    assert_eq!((memory.total_bytes, memory.swap_total_bytes), (Some(2_048_000), None));
    assert!(seen.cpu_pressure.is_none() && seen.disks.is_empty() && seen.temperatures.is_empty());

    node.write("sys/class/hwmon/hwmon0/name", "coretemp\n");
    node.write("sys/class/hwmon/hwmon0/temp2_input", "45250\n");
    node.write("sys/class/hwmon/hwmon0/temp2_label", "Core 0\n");
    node.write("sys/class/hwmon/hwmon0/temp2_crit", "100000\n");
    node.write("sys/class/hwmon/hwmon0/temp3_input", "65261850\n");
    node.write("sys/class/thermal/thermal_zone0/type", "coretemp\n");
    node.write("sys/class/thermal/thermal_zone0/temp", "45000\n");
    node.write("sys/class/thermal/thermal_zone1/type", "soc\n");
    node.write("sys/class/thermal/thermal_zone1/temp", "51000\n");
    node.write("sys/block/vda/size", "1\n");
    node.write("sys/block/zram0/mm_stat", "4096 74 12288 0\n");
    node.write(
        "proc/diskstats",
        "254 0 vda 10 1 2000 30 40 5 600 70 0 80 90\n254 1 vda1 1 1 1 1 1 1 1 1 1 1 1\n",
    );
    let seen = node.inspector().system(None).await.unwrap();
    let sensors: Vec<(&str, f64)> =
        seen.temperatures.iter().map(|t| (t.sensor.as_str(), t.celsius)).collect();
    assert_eq!(sensors, [("coretemp", 45.25), ("soc", 51.0)]);
    assert_eq!(seen.temperatures[0].critical_celsius, Some(100.0));
    assert_eq!((seen.disks.len(), seen.disks[0].read_bytes), (1, 2000 * 512));
    assert_eq!((seen.zram[0].stored_bytes, seen.zram[0].memory_bytes), (4096, 12_288));
}

#[tokio::test]
async fn this_kernel_is_understood() {
    let inspector = Inspector::new();
    let interval = Some(Duration::from_millis(20));
    let wanted = Wanted { proportional: true };
    let seen = inspector.processes(Names::default(), wanted, interval).await.unwrap();
    let own = seen.processes.iter().find(|process| process.pid == process::id()).unwrap();
    assert!(own.resident_bytes.unwrap() > 0 && own.proportional_bytes.unwrap() > 0, "{own:?}");
    assert!(own.cpu_percent.is_some() && Path::new(&own.executable).is_absolute(), "{own:?}");
    assert!(seen.interval_ms >= 20);
    let arguments = inspector.look(arguments).await.unwrap();
    let own = arguments.processes.iter().find(|process| process.pid == process::id()).unwrap();
    assert_eq!(own.arguments.first(), std::env::args().next().as_ref());

    let system = inspector.system(interval).await.unwrap();
    assert!(system.uptime_s.unwrap() > 0.0 && system.load.is_some());
    assert!(system.memory.unwrap().available_bytes.unwrap() > 0);
    assert!(system.links.iter().any(|link| link.name == "lo" && link.sent_bytes_per_second.is_some()));
    assert!(system.processors.iter().any(|processor| processor.name == "cpu"));

    let mounts = inspector.look(mounts).await.unwrap();
    let root = mounts.mounts.iter().rfind(|mount| mount.target == "/").unwrap();
    assert!(root.size_bytes.unwrap() >= root.used_bytes.unwrap(), "{root:?}");
    let proc = mounts.mounts.iter().find(|mount| mount.r#type == "proc").unwrap();
    assert_eq!(proc.size_bytes, None, "{proc:?}");
}

#[tokio::test]
async fn a_socket_is_found_with_its_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u32::from(listener.local_addr().unwrap().port());
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let inspector = Inspector::new();
    let sockets = |listening| {
        inspector.look(move |roots| {
            sockets(roots, &Names::default(), api::ListSocketsRequest { listening, pods: false }).sockets
        })
    };
    let all = sockets(false).await.unwrap();
    let states = |of: &[api::Socket]| -> Vec<String> {
        of.iter().filter(|socket| socket.local_port == port).map(|socket| socket.state.clone()).collect()
    };
    let mut seen = states(&all);
    seen.sort();
    assert_eq!(seen[0], "ESTABLISHED", "{seen:?}");
    assert!(seen.contains(&"LISTEN".to_owned()), "{seen:?}");
    let listening = sockets(true).await.unwrap();
    assert_eq!(states(&listening), ["LISTEN"]);
    let found = listening.iter().find(|socket| socket.local_port == port).unwrap();
    assert_eq!((found.pid, found.local_address.as_str()), (Some(process::id()), "127.0.0.1"));
    assert_eq!((found.protocol.as_str(), found.receive_queue, found.pod_network), ("tcp", 1, false));
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_look_is_told_so() {
    let inspector = Node::new().inspector();
    let turn = Arc::clone(&inspector.turns).acquire_owned().await.unwrap();
    let refused = inspector.look(|_| ()).await.unwrap_err();
    assert!(refused.to_string().contains("within 10 s"), "{refused}");
    drop(turn);
    inspector.look(|_| ()).await.unwrap();
}
