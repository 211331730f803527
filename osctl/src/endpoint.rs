//! The address at which a node, or a cluster, is looked for. Only a hint where to connect: trust never depends on it.

use std::fmt;
use std::str::FromStr;

/// Port of a node's API where an endpoint names none.
pub const DEFAULT_PORT: u16 = 50000;

/// Host and port of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// DNS name or IP address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = String;

    /// As [`Endpoint::parse`], for a node's API.
    fn from_str(text: &str) -> Result<Endpoint, String> {
        Endpoint::parse(text, DEFAULT_PORT)
    }
}

impl Endpoint {
    /// Takes "HOST", "HOST:PORT", `[IPV6]:PORT`, a bare IPv6 address, and each with the "https://" that the console prints.
    pub fn parse(text: &str, default_port: u16) -> Result<Endpoint, String> {
        let wrong = || format!("{text:?} is not an endpoint; write HOST, HOST:PORT or [IPV6]:PORT");
        let address = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = split(address).ok_or_else(wrong)?;
        let port = port.map_or(Ok(default_port), str::parse).map_err(|_| wrong())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
        if host.is_empty() || port == 0 || !host.chars().all(plain) {
            return Err(wrong());
        }
        Ok(Endpoint { host: host.to_owned(), port })
    }
}

fn split(address: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, tail) = rest.split_once(']')?;
        return match tail {
            "" => Some((host, None)),
            _ => Some((host, Some(tail.strip_prefix(':')?))),
        };
    }
    match address.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((address, None)),
        Some((host, port)) => Some((host, Some(port))),
        None => Some((address, None)),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_that_people_paste() {
        for (text, shown) in [
            ("10.0.0.5", "10.0.0.5:50000"),
            ("edge-1.example.org:6443", "edge-1.example.org:6443"),
            ("https://10.0.0.5:50000", "10.0.0.5:50000"),
            ("https://10.0.0.5:50000/", "10.0.0.5:50000"),
            ("fe80::1%eth0", "[fe80::1%eth0]:50000"),
            ("[2001:db8::1]", "[2001:db8::1]:50000"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            "",
            ":50000",
            "host:",
            "host:0",
            "host:65536",
            "[::1",
            "[::1]x",
            "http://host",
            "a b",
            "host/path",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
