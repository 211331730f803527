//! Texts of the kinds of clusters.

use std::net::{IpAddr, Ipv6Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use netplan::Prefix;

use crate::{
    address,
    cluster::{ApiEndpoint, BootstrapToken},
    format::{is_host, label_key, label_value},
    log_url::host_and_port,
};

/// The port of API servers, where an endpoint names none.
const API_PORT: u16 = 6443;
/// Of XSalsa20 and Poly1305, which Kubernetes calls secretbox.
const ENCRYPTION_KEY_BYTES: usize = 32;
/// Each node gets a /24; a cluster has room for at least four.
const POD_PREFIX_MAX: u8 = 22;
/// kube-apiserver takes no larger ones.
const SERVICE_PREFIX_MIN: u8 = 12;
/// Room for the addresses that are given out by name.
const SERVICE_PREFIX_MAX: u8 = 24;

/// `host`, `host:port`, `[address]:port`.
pub(crate) fn endpoint(text: &str) -> Result<ApiEndpoint, String> {
    if text.contains("://") {
        return Err("must be an API server's host and port without a scheme, such as 192.0.2.10:6443".into());
    }
    let bare = || {
        let address = text.parse::<Ipv6Addr>().ok().map(|address| address.to_string());
        address.or_else(|| is_host(text).then(|| text.to_ascii_lowercase())).map(|host| (host, API_PORT))
    };
    let found = host_and_port(text).or_else(bare);
    let (host, port) = found.ok_or(
        "must be an API server's host and port, such as 192.0.2.10:6443, [2001:db8::10]:6443 or k8s.example.com",
    )?;
    Ok(ApiEndpoint { host, port })
}

/// A DNS name or an address.
pub(crate) fn host(text: &str) -> Result<(), String> {
    let fine = text.parse::<IpAddr>().is_ok() || is_host(text);
    if fine { Ok(()) } else { Err("must be a DNS name or an IP address".into()) }
}

/// `id.secret`.
pub(crate) fn bootstrap_token(text: &str) -> Result<BootstrapToken, String> {
    let valid = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let parts = text.split_once('.').filter(|(id, secret)| valid(id, 6) && valid(secret, 16));
    let (id, secret) = parts.ok_or(
        "must be a bootstrap token: 6 lower-case letters and digits, a dot and 16 more, as `osctl gen cluster` or \
         `kubeadm token create` make them",
    )?;
    Ok(BootstrapToken { id: id.to_owned(), secret: secret.to_owned() })
}

/// One private key in PEM: its frame and base64.
pub(crate) fn private_key(text: &str) -> Result<(), String> {
    let label = text.split_once("-----BEGIN ").and_then(|(_, rest)| Some(rest.split_once("-----")?.0));
    let label = label.filter(|label| label.ends_with("PRIVATE KEY")).ok_or(
        "is no private key in PEM; it must begin with -----BEGIN PRIVATE KEY----- on a line of its own",
    )?;
    if label.starts_with("ENCRYPTED") {
        return Err("is encrypted; the node has no passphrase for it".into());
    }
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let body = text.split_once(&begin).map(|(_, rest)| rest).unwrap_or_default();
    let (body, after) = body.split_once(&end).ok_or_else(|| format!("was cut off: {end} is missing"))?;
    if after.contains("-----BEGIN") {
        return Err("holds more than a private key; leave the rest out".into());
    }
    let body: String = body.split_ascii_whitespace().collect();
    match STANDARD.decode(body) {
        Ok(bytes) if !bytes.is_empty() => Ok(()),
        Ok(_) | Err(_) => Err("is damaged: between BEGIN and END stands something that is no base64".into()),
    }
}

/// A key for the data store.
pub(crate) fn encryption_key(text: &str) -> Result<(), String> {
    let fine = STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == ENCRYPTION_KEY_BYTES);
    if fine { Ok(()) } else { Err("must be 32 bytes in base64, as `osctl gen cluster` makes them".into()) }
}

/// `key=value:Effect` or `key:Effect`.
pub(crate) fn taint(text: &str) -> Result<(), String> {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let (rest, effect) = text.rsplit_once(':').filter(|(_, effect)| EFFECTS.contains(effect)).ok_or(
        "must be a taint, such as example.com/role=camera:NoSchedule; its effect is NoSchedule, PreferNoSchedule or NoExecute",
    )?;
    let _: &str = effect;
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    label_key_of_taint(key)?;
    label_value(value)
}

/// Taints may stand below kubernetes.io, where labels may not.
fn label_key_of_taint(key: &str) -> Result<(), String> {
    match key.split_once('/') {
        Some((prefix, name)) if is_host(prefix) => label_key(name),
        Some(_) | None => label_key(key),
    }
    .map_err(|_| "must have a key such as role or example.com/role before its '=' or ':'".into())
}

/// A network that nodes get parts of for their pods.
pub(crate) fn pod_subnet(text: &str) -> Result<Prefix, String> {
    network(text, 8, POD_PREFIX_MAX)
}

/// A network that Services have their addresses in.
pub(crate) fn service_subnet(text: &str) -> Result<Prefix, String> {
    network(text, SERVICE_PREFIX_MIN, SERVICE_PREFIX_MAX)
}

fn network(text: &str, min: u8, max: u8) -> Result<Prefix, String> {
    let prefix = address::destination(text)?;
    if !prefix.address.is_ipv4() {
        return Err("must be an IPv4 network; the node's pod network knows no other yet".into());
    }
    if !(min..=max).contains(&prefix.length) {
        return Err(format!("must have a prefix of /{min} to /{max}"));
    }
    Ok(prefix)
}

/// The tenth address, where a cluster's DNS is by custom.
pub(crate) fn tenth(network: Prefix) -> IpAddr {
    match network.address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) + 10).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) + 10).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_a_port_or_get_one() {
        for (text, shown) in [
            ("192.0.2.10", "192.0.2.10:6443"),
            ("192.0.2.10:443", "192.0.2.10:443"),
            ("2001:db8::10", "[2001:db8::10]:6443"),
            ("[2001:db8::10]:7443", "[2001:db8::10]:7443"),
            ("K8s.example.com", "k8s.example.com:6443"),
        ] {
            assert_eq!(endpoint(text).unwrap().to_string(), shown);
        }
        for bad in ["https://192.0.2.10:6443", "192.0.2.10:0", "a b", "", "host:port", "[::1"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_and_tokens_have_their_form() {
        let key =
            |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        assert_eq!(private_key(&key("PRIVATE KEY", "AAAA")), Ok(()));
        assert_eq!(private_key(&key("EC PRIVATE KEY", "AAAA")), Ok(()));
        for (bad, why) in [
            (key("CERTIFICATE", "AAAA"), "no private key"),
            (key("ENCRYPTED PRIVATE KEY", "AAAA"), "encrypted"),
            (key("PRIVATE KEY", "A*AA"), "damaged"),
            (key("PRIVATE KEY", "AAAA").replace("-----END", ""), "cut off"),
            (key("PRIVATE KEY", "AAAA").repeat(2), "more than"),
        ] {
            assert!(private_key(&bad).unwrap_err().contains(why), "{bad}");
        }
        assert!(bootstrap_token("abcdef.0123456789abcdef").is_ok());
        for bad in ["abcdef0123456789abcdef", "Abcdef.0123456789abcdef", "abcdef.0123456789abcde", "a.b"] {
            assert!(bootstrap_token(bad).is_err(), "{bad}");
        }
        assert!(encryption_key(&STANDARD.encode([7; 32])).is_ok());
        assert!(encryption_key(&STANDARD.encode([7; 31])).is_err());
    }

    #[test]
    fn taints_name_a_key_and_an_effect() {
        for good in [
            "node-role.kubernetes.io/control-plane:NoSchedule",
            "role=camera:NoExecute",
            "a=:PreferNoSchedule",
        ] {
            assert_eq!(taint(good), Ok(()), "{good}");
        }
        for bad in ["role", "role:Never", "=x:NoSchedule", "a b:NoSchedule", "role=a b:NoSchedule"] {
            assert!(taint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subnets_hold_what_is_to_be_in_them() {
        assert!(pod_subnet("10.244.0.0/16").is_ok() && service_subnet("10.96.0.0/12").is_ok());
        for bad in ["10.244.0.0/24", "10.244.1.0/16", "fd00::/16", "10.244.0.0"] {
            assert!(pod_subnet(bad).is_err(), "{bad}");
        }
        assert!(service_subnet("10.0.0.0/8").is_err());
        assert_eq!(tenth(service_subnet("10.96.0.0/12").unwrap()).to_string(), "10.96.0.10");
    }
}
