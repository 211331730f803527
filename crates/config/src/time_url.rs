//! Where time servers are: `nts://host[:port]` and `ntp://host[:port]`.

use std::{fmt, net::Ipv6Addr};

use crate::{format::is_host, log_url::host_and_port};

/// Port of NTP (RFC 5905).
const NTP_PORT: u16 = 123;
/// Port of the key establishment of NTS (RFC 8915).
const NTS_PORT: u16 = 4460;

/// How a time server proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeProtocol {
    /// By a certificate (Network Time Security, RFC 8915).
    Nts,
    /// Not at all.
    Ntp,
}

/// A time server. Shows itself as its URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeServer {
    /// How it is spoken to.
    pub protocol: TimeProtocol,
    /// Name or address, without brackets.
    pub host: String,
    /// UDP port of NTP, TCP port of the key establishment of NTS.
    pub port: u16,
}

/// Takes a URL apart.
pub(crate) fn parse(url: &str) -> Result<TimeServer, String> {
    let (protocol, default_port, rest) = match url.split_once("://") {
        Some(("nts", rest)) => (TimeProtocol::Nts, NTS_PORT, rest),
        Some(("ntp", rest)) => (TimeProtocol::Ntp, NTP_PORT, rest),
        Some(_) | None => return Err("must be a URL that begins with nts:// or ntp://".into()),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let parsed = host_and_port(authority).or_else(|| host(authority).map(|host| (host, default_port)));
    let server = parsed.map(|(host, port)| TimeServer { protocol, host, port });
    server.ok_or_else(|| {
        "must name a host, and a port if it is not the usual one, as in nts://time.example.com".into()
    })
}

fn host(authority: &str) -> Option<String> {
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(address) => Some(address.parse::<Ipv6Addr>().ok()?.to_string()),
        None => is_host(authority).then(|| authority.to_ascii_lowercase()),
    }
}

impl TimeServer {
    /// A server that nothing vouches for, at its usual port.
    #[must_use]
    pub fn plain(host: impl fmt::Display) -> Self {
        Self { protocol: TimeProtocol::Ntp, host: host.to_string(), port: NTP_PORT }
    }

    /// Host and port as they stand in an address.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for TimeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            TimeProtocol::Nts => "nts",
            TimeProtocol::Ntp => "ntp",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, shown) in [
            ("nts://time.example.com", "nts://time.example.com:4460"),
            ("nts://Time.example.com:4461/", "nts://time.example.com:4461"),
            ("ntp://192.0.2.1", "ntp://192.0.2.1:123"),
            ("ntp://[2001:db8::1]", "ntp://[2001:db8::1]:123"),
            ("ntp://[2001:db8::1]:1123", "ntp://[2001:db8::1]:1123"),
        ] {
            assert_eq!(parse(url).map(|server| server.to_string()), Ok(shown.to_owned()), "{url}");
        }
        assert_eq!(TimeServer::plain("192.0.2.1"), parse("ntp://192.0.2.1").unwrap());
    }

    #[test]
    fn others_are_refused() {
        for url in [
            "",
            "time.example.com",
            "http://a",
            "ntp://",
            "nts://a:0",
            "nts://a:70000",
            "ntp://a/b",
            "ntp://u@a",
            "ntp://[1",
            "ntp://a b",
        ] {
            parse(url).unwrap_err();
        }
    }
}
