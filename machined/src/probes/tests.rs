use std::net::{IpAddr, SocketAddr};

use config::{Interface, LogDestination, Logging, Registry, Resolver, Subnet, Transport};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, UdpSocket},
};

use super::{target::Mirror, *};

/// Longest wait for anything; waits end when it happens.
const DEADLINE: Duration = Duration::from_secs(30);

fn interface(gateway: &str) -> Interface {
    Interface {
        name: "eth0".into(),
        addresses: ["10.9.0.5", "10.0.2.15"]
            .map(|address| Subnet { address: address.parse().unwrap(), prefix_length: 24 })
            .into(),
        gateway: Some(gateway.parse().unwrap()),
        ..Interface::default()
    }
}

fn registry(mirrors: &[&str]) -> Registry {
    let mirrors = mirrors.iter().map(ToString::to_string).collect();
    Registry { host: "docker.io".into(), mirrors, credentials: None }
}

fn resolver(servers: &[&str]) -> Option<Resolver> {
    let servers = servers.iter().map(|server| server.parse::<IpAddr>().unwrap()).collect();
    Some(Resolver { servers, search: vec![] })
}

fn complaints(old: &NodeConfig, new: &NodeConfig) -> Vec<String> {
    introduced(old, new).iter().map(ToString::to_string).collect()
}

#[test]
fn only_what_is_new_is_asked() {
    let old = NodeConfig {
        interfaces: vec![interface("10.0.2.2")],
        resolver: resolver(&["10.0.2.3"]),
        registries: vec![registry(&["https://a.example"])],
        ..NodeConfig::default()
    };
    let expected = [
        "gateway 10.0.2.2 does not answer on eth0",
        "name server 10.0.2.3 does not answer",
        "mirror a.example:443 of docker.io does not answer",
    ];
    assert_eq!(complaints(&NodeConfig::default(), &old), expected);
    assert_eq!(complaints(&old, &old), [""; 0]);
    assert_eq!(complaints(&old, &NodeConfig::default()), [""; 0]);
    let new = NodeConfig {
        interfaces: vec![interface("10.0.2.77")],
        resolver: resolver(&["10.0.2.78", "10.0.2.3", "2001:db8::1"]),
        registries: vec![registry(&["http://10.0.2.79:5000/token", "https://a.example", "http://[::1]"])],
        ..NodeConfig::default()
    };
    let expected = [
        "gateway 10.0.2.77 does not answer on eth0",
        "none of the name servers 10.0.2.78, 2001:db8::1 answers",
        "none of the mirrors 10.0.2.79:5000, [::1]:80 of docker.io answers",
    ];
    assert_eq!(complaints(&old, &new), expected, "and no token is told");
    let source = introduced(&old, &new).into_iter().find_map(|target| match target {
        Target::Gateway { source, .. } => Some(source),
        Target::NameServers(_) | Target::Mirrors { .. } | Target::LogServer(_) => None,
    });
    assert_eq!(source, Some([10, 0, 2, 15].into()), "the address beside it");
}

#[test]
fn next_hops_of_routes_are_asked_as_gateways_are() {
    let route = |gateway: &str| config::StaticRoute {
        destination: netplan::Prefix::new([198, 51, 100, 0].into(), 24),
        gateway: Some(gateway.parse().unwrap()),
        metric: 7,
        table: netplan::TABLE_MAIN,
    };
    let with = |gateways: &[&str]| NodeConfig {
        interfaces: vec![Interface {
            routes: gateways.iter().map(|gateway| route(gateway)).collect(),
            ..interface("10.0.2.2")
        }],
        ..NodeConfig::default()
    };
    let old = with(&["10.9.0.1"]);
    let new = with(&["10.9.0.1", "10.9.0.9", "10.0.2.2", "10.9.0.9", "2001:db8::1"]);
    assert_eq!(complaints(&old, &new), ["gateway 10.9.0.9 does not answer on eth0"]);
}

fn logging(urls: &[(Transport, &str)]) -> NodeConfig {
    let destination = |(transport, host): &(Transport, &str)| LogDestination {
        transport: *transport,
        host: (*host).to_owned(),
        port: 514,
    };
    let destinations = urls.iter().map(destination).collect();
    NodeConfig {
        logging: Some(Logging { destinations, fields: [("site".into(), urls.len().to_string())].into() }),
        ..NodeConfig::default()
    }
}

#[test]
fn new_log_servers_are_asked_each_unless_they_cannot_answer() {
    use Transport::{Tcp, Udp};
    let old = logging(&[(Tcp, "a.example"), (Udp, "c.example")]);
    let new = logging(&[(Tcp, "b.example"), (Tcp, "a.example"), (Udp, "d.example"), (Tcp, "c.example")]);
    let expected =
        ["log server tcp://b.example:514 does not answer", "log server tcp://c.example:514 does not answer"];
    assert_eq!(complaints(&old, &new), expected);
    assert_eq!(complaints(&new, &old), [""; 0], "fields alone, and servers that go, ask nobody");
}

#[test]
fn where_a_mirror_is() {
    let found = |url: &str| {
        let mirror = Mirror::parse(url).unwrap();
        (mirror.authority(), mirror.tls, mirror.path)
    };
    for (url, authority, tls, path) in [
        ("https://mirror.example", "mirror.example:443", true, ""),
        ("https://mirror.example:5001/", "mirror.example:5001", true, ""),
        ("http://10.0.2.79/a/b/", "10.0.2.79:80", false, "/a/b"),
        ("http://[2001:db8::1]:5000/x", "[2001:db8::1]:5000", false, "/x"),
        ("https://[2001:db8::1]", "[2001:db8::1]:443", true, ""),
    ] {
        assert_eq!(found(url), (authority.to_owned(), tls, path.to_owned()), "{url}");
    }
    for bad in ["mirror.example", "http://a:port", "http://a:70000", "http://[::1"] {
        assert_eq!(Mirror::parse(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn a_name_server_that_loses_a_question_answers() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let asked = tokio::spawn(name_server::answers_at(address));
    let mut question = [0; 64];
    let (length, _) = server.recv_from(&mut question).await.unwrap();
    assert_eq!(question[2..length], [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1]);
    let (length, client) = server.recv_from(&mut question).await.unwrap();
    let mut reply = question[..length].to_vec();
    server.send_to(&reply, client).await.unwrap();
    server.send_to(&[0; 3], client).await.unwrap();
    reply[0] ^= 1;
    reply[2] |= 0x80;
    server.send_to(&reply, client).await.unwrap();
    assert!(!asked.is_finished(), "a question, a fragment and an answer to something else");
    reply[0] ^= 1;
    // SERVFAIL: it is there, although the world behind it is not.
    reply[3] = 2;
    server.send_to(&reply, client).await.unwrap();
    timeout(DEADLINE, asked).await.unwrap().unwrap();
}

/// A server that says one thing to each connection.
async fn server(words: &'static [&'static str]) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut asked = Vec::new();
        for word in words {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            asked.push(line);
            stream.write_all(word.as_bytes()).await.unwrap();
        }
        asked
    });
    (address, task)
}

fn with_mirrors(mirrors: &[&str]) -> NodeConfig {
    NodeConfig { registries: vec![registry(mirrors)], ..NodeConfig::default() }
}

#[tokio::test]
async fn a_mirror_answers_with_any_status() {
    let (address, task) = server(&["SSH-2.0-what\r\n", "HTTP/1.1 401 Unauthorized\r\n\r\n"]).await;
    let url = format!("http://{address}/team");
    assert_eq!(run(&NodeConfig::default(), &with_mirrors(&[&url])).await, Ok(()));
    assert_eq!(task.await.unwrap(), ["GET /team/v2/ HTTP/1.1\r\n"; 2]);
}

#[tokio::test]
async fn one_mirror_of_several_suffices() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (closed, open) = (format!("http://{closed}"), format!("https://{}", listener.local_addr().unwrap()));
    assert_eq!(run(&NodeConfig::default(), &with_mirrors(&[&closed, &open])).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_says_nothing_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let before = tokio::time::Instant::now();
    let silent = run(&NodeConfig::default(), &with_mirrors(&[&format!("http://{address}")])).await;
    assert_eq!(silent, Err(format!("mirror {address} of docker.io does not answer")));
    assert_eq!(before.elapsed(), WITHIN);
}
