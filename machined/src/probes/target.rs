//! What a change introduces that should answer. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use config::{Interface, LogDestination, NodeConfig, Registry, Resolver, Transport};

/// Something outside of the node. Shows itself as the complaint that it does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The next hop on a link.
    Gateway {
        /// Name of the link.
        link: String,
        /// The link's own address in the gateway's subnet.
        source: Ipv4Addr,
        /// The gateway.
        address: Ipv4Addr,
    },
    /// DNS servers, one of which should answer.
    NameServers(Vec<IpAddr>),
    /// Mirrors of a registry, one of which should answer.
    Mirrors {
        /// Host of the registry.
        registry: String,
        /// Where they are.
        mirrors: Vec<Mirror>,
    },
    /// A log server that takes connections. One that takes datagrams says nothing.
    LogServer(LogDestination),
}

/// Where a mirror is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Path before `/v2/`, without a slash at its end. May hold a token: not to be shown.
    pub path: String,
}

/// What is in the new configuration and not in the old.
pub fn introduced(old: &NodeConfig, new: &NodeConfig) -> Vec<Target> {
    let gateways = new.interfaces.iter().flat_map(|interface| gateways(old, interface));
    let mirrors = new.registries.iter().filter_map(|registry| mirrors(old, registry));
    gateways.chain(name_servers(old, new)).chain(mirrors).chain(log_servers(old, new)).collect()
}

/// Next hops of the default route and of others, IPv4: they are asked by ARP.
fn gateways(old: &NodeConfig, interface: &Interface) -> Vec<Target> {
    let known: Vec<Ipv4Addr> =
        old.interfaces.iter().filter(|known| known.name == interface.name).flat_map(next_hops).collect();
    let mut targets: Vec<Target> = Vec::new();
    for address in next_hops(interface).filter(|address| !known.contains(address)) {
        let source = interface.addresses.iter().find(|subnet| subnet.contains(address.into()));
        let Some(IpAddr::V4(source)) = source.map(|subnet| subnet.address) else { continue };
        let target = Target::Gateway { link: interface.name.clone(), source, address };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

fn next_hops(interface: &Interface) -> impl Iterator<Item = Ipv4Addr> {
    let further = interface.routes.iter().filter_map(|route| match route.gateway {
        Some(IpAddr::V4(gateway)) => Some(gateway),
        Some(IpAddr::V6(_)) | None => None,
    });
    interface.gateway.into_iter().chain(further)
}

fn name_servers(old: &NodeConfig, new: &NodeConfig) -> Option<Target> {
    let servers = |config: &NodeConfig| -> Vec<IpAddr> {
        config.resolver.iter().flat_map(|Resolver { servers, .. }| servers).copied().collect()
    };
    let known = servers(old);
    let servers: Vec<IpAddr> = servers(new).into_iter().filter(|server| !known.contains(server)).collect();
    (!servers.is_empty()).then_some(Target::NameServers(servers))
}

fn mirrors(old: &NodeConfig, registry: &Registry) -> Option<Target> {
    let known: Vec<&String> = old
        .registries
        .iter()
        .filter(|known| known.host == registry.host)
        .flat_map(|known| &known.mirrors)
        .collect();
    let mirrors = registry.mirrors.iter().filter(|mirror| !known.contains(mirror));
    let mirrors: Vec<Mirror> = mirrors.filter_map(|url| Mirror::parse(url)).collect();
    (!mirrors.is_empty()).then(|| Target::Mirrors { registry: registry.host.clone(), mirrors })
}

fn log_servers<'a>(old: &'a NodeConfig, new: &'a NodeConfig) -> impl Iterator<Item = Target> + 'a {
    let all = |config: &'a NodeConfig| config.logging.iter().flat_map(|logging| &logging.destinations);
    all(new)
        .filter(|server| server.transport == Transport::Tcp)
        .filter(move |server| all(old).all(|known| known != *server))
        .map(|server| Target::LogServer(server.clone()))
}

impl Mirror {
    /// Takes a URL apart that the configuration has checked.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = scheme == "https";
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => authority.find(':').map_or((authority, ""), |at| authority.split_at(at)),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
        };
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Some(Self { host: host.to_owned(), port, tls, path })
    }

    /// Host and port, as in a URL.
    pub fn authority(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway { link, address, .. } => {
                write!(f, "gateway {address} does not answer on {link}")
            }
            Self::NameServers(servers) => {
                let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
                silent(f, "name server", &servers, "")
            }
            Self::Mirrors { registry, mirrors } => {
                let mirrors: Vec<String> = mirrors.iter().map(Mirror::authority).collect();
                silent(f, "mirror", &mirrors, &format!(" of {registry}"))
            }
            Self::LogServer(server) => write!(f, "log server {server} does not answer"),
        }
    }
}

fn silent(f: &mut fmt::Formatter<'_>, what: &str, names: &[String], of: &str) -> fmt::Result {
    match names {
        [name] => write!(f, "{what} {name}{of} does not answer"),
        names => write!(f, "none of the {what}s {}{of} answers", names.join(", ")),
    }
}
