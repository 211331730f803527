//! Where log servers are: `udp://host:port` and `tcp://host:port`.

use std::{fmt, net::Ipv6Addr};

use crate::format::{is_host, is_port};

/// How lines reach a log server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// One datagram for each line; nobody says whether it came.
    Udp,
    /// One connection, lines separated by line feeds.
    Tcp,
}

/// Where a log server is. Shows itself as its URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogDestination {
    /// How lines get there.
    pub transport: Transport,
    /// Name or address, without brackets.
    pub host: String,
    /// UDP or TCP port.
    pub port: u16,
}

/// Takes a URL apart.
pub(crate) fn parse(url: &str) -> Result<LogDestination, String> {
    let (transport, rest) = match url.split_once("://") {
        Some(("udp", rest)) => (Transport::Udp, rest),
        Some(("tcp", rest)) => (Transport::Tcp, rest),
        Some(_) | None => return Err("must be a URL that begins with udp:// or tcp://".into()),
    };
    if rest.contains('@') {
        return Err("must hold no user or password: a log server asks for none".into());
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err("must end after the port".into());
    }
    let destination = host_and_port(authority).map(|(host, port)| LogDestination { transport, host, port });
    destination.ok_or_else(|| "must name a host and a port, as in tcp://logs.example.com:5514".into())
}

pub(crate) fn host_and_port(authority: &str) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once("]:")?;
            (host.parse::<Ipv6Addr>().ok()?.to_string(), port)
        }
        None => {
            let (host, port) = authority.rsplit_once(':').filter(|(host, _)| is_host(host))?;
            (host.to_ascii_lowercase(), port)
        }
    };
    Some((host, Some(port).filter(|port| is_port(port))?.parse().ok()?))
}

impl fmt::Display for LogDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, shown) in [
            ("udp://192.0.2.9:514", "udp://192.0.2.9:514"),
            ("tcp://Logs.example.com:5514/", "tcp://logs.example.com:5514"),
            ("tcp://[2001:db8:0::9]:6514", "tcp://[2001:db8::9]:6514"),
        ] {
            assert_eq!(parse(url).unwrap().to_string(), shown);
        }
        for (bad, why) in [
            ("logs.example.com:514", "begins with udp:// or tcp://"),
            ("https://logs.example.com", "begins with udp:// or tcp://"),
            ("tcp://logs.example.com", "a host and a port"),
            ("tcp://logs.example.com:0", "a host and a port"),
            ("tcp://logs.example.com:+1", "a host and a port"),
            ("tcp://:514", "a host and a port"),
            ("tcp://2001:db8::9:514", "a host and a port"),
            ("tcp://[192.0.2.9]:514", "a host and a port"),
            ("tcp://logs.example.com:514/x", "end after the port"),
            ("tcp://u:p@logs.example.com:514", "no user or password"),
        ] {
            let message = parse(bad).unwrap_err();
            assert!(message.contains(why), "{bad}: {message}");
        }
    }
}
