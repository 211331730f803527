//! Bad configurations on a running node: each is refused with its line or taken back, and the admin gets in each time.
//! docs/configuration-mistakes.md lists what stands here.

#![allow(missing_docs)]

mod support;

use std::fs;

use pki::{Ca, SubjectName, Validity};
use support::{Random, bed, blueprint, up};
use testbed::node::Node;

const HEADER: &str = "apiVersion: cairn.dev/v1alpha1\n";
const REFUSED: i32 = 1;
const REVERTED: i32 = 7;
/// How many of them a run makes, chosen by its seed; the long form makes all.
const REVERTED_IN_CI: usize = 4;

/// What a configuration is, how it ends, and what the user is told.
struct Mistake {
    name: &'static str,
    patch: String,
    /// Whether it is added to the whole text, which then is given anew.
    whole: bool,
    exit: i32,
    told: &'static [&'static str],
}

#[test]
fn every_mistake_is_refused_or_taken_back() {
    let bed = bed();
    let mut blueprint = blueprint(&bed, "mistaken");
    blueprint.probe_image = None;
    let mut node = up(&bed, &blueprint);
    node.osctl(&["health", "--wait"]).unwrap();
    let before = node.osctl(&["get", "config"]).unwrap();
    let mut mistakes: Vec<Mistake> =
        [text(), network(), storage_and_kernel(), kubernetes()].into_iter().flatten().collect();
    if !bed.long {
        thin_out(&mut mistakes, &mut Random::seeded(&bed, "mistakes"));
    }
    let mut failures = Vec::new();
    for mistake in &mistakes {
        if let Err(failure) = make(&node, mistake, &before) {
            println!("{}: {failure}", mistake.name);
            failures.push(format!("{}: {failure}", mistake.name));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), mistakes.len(), failures.join("\n"));
    node.osctl(&["health", "--wait"]).unwrap();
    node.wait_for_pod().unwrap();
}

/// To be taken back costs up to half a minute each, to be refused nothing.
fn thin_out(mistakes: &mut Vec<Mistake>, random: &mut Random) {
    let mut reverted = mistakes.iter().filter(|mistake| mistake.exit == REVERTED).count();
    while reverted > REVERTED_IN_CI {
        let at = usize::try_from(random.below(mistakes.len() as u64)).unwrap();
        if mistakes[at].exit == REVERTED {
            mistakes.remove(at);
            reverted -= 1;
        }
    }
}

fn make(node: &Node, mistake: &Mistake, before: &str) -> Result<(), String> {
    let path = node.files().folder().join("mistake.yaml");
    let path = path.to_string_lossy();
    let (text, command) = match mistake.whole {
        true => (format!("{before}---\n{}", mistake.patch), &["apply-config"][..]),
        false => (mistake.patch.clone(), &["patch", "config"][..]),
    };
    fs::write(&*path, text).unwrap();
    let arguments = [command, &["-f", &path, "--confirm-within", "20s"]].concat();
    let output = node.osctl_output(&arguments).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let (code, expected) = (output.status.code(), Some(mistake.exit));
    if code != expected {
        return Err(format!("exit {code:?} instead of {expected:?}: {errors}"));
    }
    if let Some(missing) = mistake.told.iter().find(|told| !errors.contains(**told)) {
        return Err(format!("nobody was told {missing:?}: {errors}"));
    }
    let after =
        node.osctl(&["get", "config"]).map_err(|error| format!("the admin is locked out: {error}"))?;
    if after == before { Ok(()) } else { Err(format!("the configuration is another: {after}")) }
}

fn refused(name: &'static str, patch: &str, told: &'static [&'static str]) -> Mistake {
    Mistake { name, patch: format!("{HEADER}{patch}"), whole: false, exit: REFUSED, told }
}

fn reverted(name: &'static str, patch: &str, told: &'static [&'static str]) -> Mistake {
    Mistake { name, patch: format!("{HEADER}{patch}"), whole: false, exit: REVERTED, told }
}

fn text() -> Vec<Mistake> {
    let twice =
        format!("kind: Sysctl\nvalues: {{vm.swappiness: 10}}\n---\n{HEADER}kind: Sysctl\nvalues: {{}}\n");
    vec![
        refused("unknown field", "kind: Machine\nhostnam: x\n", &["line", "hostnam"]),
        refused("unknown kind", "kind: Machina\n", &["line", "Machina"]),
        refused("nonsense as a name", "kind: Machine\nhostname: Not_A Name\n", &["line", "hostname"]),
        Mistake {
            whole: true,
            ..refused("two documents that contradict each other", &twice, &["Sysctl", "line"])
        },
        refused("no YAML", "kind: [Machine\n", &["line"]),
        refused("no certificate", "kind: Api\nclientCAs: [nonsense]\n", &["clientCAs"]),
        refused("a CA that fits nobody", &stranger(), &["lock"]),
        refused("an API that is served nowhere", "kind: Api\naddresses: []\n", &["line", "addresses"]),
        refused(
            "no URL of a log server",
            "kind: Logging\ndestinations: [{url: nonsense}]\n",
            &["line", "tcp://"],
        ),
        refused(
            "a channel of no Kubernetes version",
            "kind: Update\nchannel: stable\n",
            &["line", "Kubernetes minor version"],
        ),
        refused(
            "automatic updates from nowhere",
            "kind: Update\nchannel: stable-k1.37\nautomatic: true\n",
            &["line", "without sources"],
        ),
    ]
}

/// The CA of another fleet in place of the node's own.
fn stranger() -> String {
    let ca = Ca::create(&SubjectName::parse("stranger").unwrap(), Validity::UNLIMITED).unwrap();
    let pem = ca.bundle().to_pem().replace('\n', "\n    ");
    format!("kind: Api\nclientCAs:\n  - |\n    {pem}\n")
}

fn network() -> Vec<Mistake> {
    let interface = |rest: &str| format!("kind: Interface\nname: eth0\n{rest}");
    vec![
        refused("no address", &interface("addresses: [10.0.2.300/24]\n"), &["line", "10.0.2.300"]),
        refused(
            "a gateway that is not next",
            &interface("addresses: [10.0.2.15/24]\ngateway: 10.9.9.1\n"),
            &["gateway"],
        ),
        reverted("a wrong address", &interface("addresses: [192.168.77.5/24]\n"), &["took generation"]),
        reverted(
            "a silent gateway",
            &interface("addresses: [10.0.2.15/24]\ngateway: 10.0.2.77\n"),
            &["10.0.2.77"],
        ),
        reverted(
            "a silent next hop of a route",
            &interface("addresses: [10.0.2.15/24]\nroutes: [{to: 198.51.100.0/24, via: 10.0.2.76}]\n"),
            &["10.0.2.76"],
        ),
        refused("a VLAN above nothing", "kind: Vlan\nname: v\nparent: eth9\nid: 7\n", &["line", "eth9"]),
        refused(
            "a port of two masters",
            &format!(
                "kind: Bridge\nname: one\nports: [eth9]\n---\n{HEADER}kind: Bridge\nname: two\nports: [eth9]\n"
            ),
            &["line", "eth9"],
        ),
        reverted(
            "a bond of ports that are not there",
            &format!("kind: Bond\nname: bond0\nports: [eth9]\n---\n{HEADER}{}", interface("dhcp: true\n")),
            &["eth9"],
        ),
        refused("no name server", "kind: Resolver\nservers: [dns.example]\n", &["dns.example"]),
        reverted(
            "an API at an address at which the admin cannot reach the node",
            "kind: Api\naddresses: [10.0.2.99]\n",
            &["took generation"],
        ),
        reverted(
            "a log server that does not answer",
            "kind: Logging\ndestinations: [{url: 'tcp://10.0.2.80:5514'}]\n",
            &["10.0.2.80"],
        ),
        refused(
            "a firewall that lets nobody at the API",
            "kind: Firewall\napi: {}\n",
            &["line", "names nothing"],
        ),
        refused(
            "a rule for the API",
            "kind: Firewall\nallow: [{name: api-too, protocol: tcp, ports: [50000]}]\n",
            &["line", "the field api says"],
        ),
        reverted(
            "a firewall that shuts the admin out",
            "kind: Firewall\napi: {from: [198.51.100.0/24]}\n",
            &["took generation"],
        ),
        reverted("a silent name server", "kind: Resolver\nservers: [10.0.2.78]\n", &["10.0.2.78"]),
    ]
}

fn storage_and_kernel() -> Vec<Mistake> {
    vec![
        refused(
            "a sysctl that is Cairn's",
            "kind: Sysctl\nvalues: {kernel.modules_disabled: 0}\n",
            &["line", "modules_disabled"],
        ),
        reverted(
            "a sysctl that does not exist",
            "kind: Sysctl\nvalues: {net.ipv4.no_such: 1}\n",
            &["net.ipv4.no_such"],
        ),
        reverted(
            "a value that the kernel refuses",
            "kind: Sysctl\nvalues: {vm.swappiness: 100000}\n",
            &["vm.swappiness"],
        ),
        reverted(
            "a volume without a disk",
            "kind: Volume\nname: media\ndisk: {serial: none-such}\n",
            &["media"],
        ),
    ]
}

fn kubernetes() -> Vec<Mistake> {
    vec![
        refused(
            "a kubelet setting that is Cairn's",
            "kind: Kubelet\nconfiguration: {staticPodPath: /tmp}\n",
            &["line", "staticPodPath"],
        ),
        reverted(
            "a kubelet that does not start",
            "kind: Kubelet\nconfiguration: {evictionHard: {memory.available: nonsense}}\n",
            &["kubelet"],
        ),
        reverted(
            "a kubelet that does not start after the reboot that the change needs",
            "kind: Kubelet\nconfiguration: {cpuManagerPolicy: nonsense}\n",
            &["kubelet"],
        ),
        refused(
            "a static pod without containers",
            "kind: StaticPod\npod: {apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {}}\n",
            &["containers"],
        ),
        refused(
            "no URL of a mirror",
            "kind: Registry\nhost: docker.io\nmirrors: [nonsense]\n",
            &["line", "nonsense"],
        ),
        reverted(
            "a mirror that does not answer",
            "kind: Registry\nhost: docker.io\nmirrors: ['http://10.0.2.79:5000']\n",
            &["10.0.2.79"],
        ),
    ]
}
