//! Formats of texts: how each is checked, described and written as a regular expression for editors.

use crate::{
    address, certificate, cluster_text,
    duration::{self, Seconds},
    log_url,
    pod::is_name,
    time_url, update,
};

/// Longest text of one line that a setting holds.
pub(crate) const LINE_MAX_BYTES: usize = 4096;
/// Longest value that is added to every line of the logs.
const LOG_VALUE_MAX_BYTES: usize = 256;
/// What the node itself says in a line of the logs.
const LOG_FIELDS: [&str; 6] = ["timestamp", "node", "service", "severity", "message", "dropped"];

/// With less, a release of some dozen MiB takes days.
const RATE_MIN_BYTES: u64 = 4 << 10;

/// What a text must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One RFC 1123 label.
    Label,
    /// An RFC 1123 subdomain.
    DnsName,
    Ipv4,
    Ip,
    /// An IP address that the node itself can have.
    OwnIp,
    /// An IP address with the length of its prefix.
    Subnet,
    /// Where a route leads.
    Destination,
    /// A network that packets come from.
    Source,
    /// Next hop of a route.
    NextHop,
    /// Hardware address of an Ethernet device.
    Mac,
    /// A text without white space and slashes.
    Word,
    /// `http` or `https`, without credentials.
    Url,
    RegistryHost,
    /// `udp` or `tcp`, host and port.
    LogUrl,
    /// Name of a field that is added to lines of logs.
    LogField,
    /// Its value.
    LogValue,
    InterfaceName,
    /// Name of a link in a rule of the firewall.
    RuleInterface,
    /// A number of bytes with a unit.
    Size,
    /// A text that may end with `*`.
    Pattern,
    /// PEM.
    Certificate,
    /// 64 lower-case hexadecimal digits.
    Sha256,
    SysctlName,
    LabelKey,
    LabelValue,
    /// Any text of one line.
    Line,
    /// Name of a release channel.
    Channel,
    /// A duration within these bounds, in seconds.
    Duration {
        min: u32,
        max: u32,
    },
    /// Hour and minute.
    TimeOfDay,
    /// Bytes per second.
    Rate,
    /// `tcp`, `http` or `https`.
    Probe,
    /// `nts` or `ntp`, host and perhaps port.
    TimeUrl,
    /// Host and perhaps port of an API server.
    ApiEndpoint,
    /// Of Kubernetes, `id.secret`.
    BootstrapToken,
    /// PEM.
    PrivateKey,
    /// 32 bytes in base64.
    EncryptionKey,
    /// A DNS name or an IP address.
    Host,
    /// A network of pods.
    PodSubnet,
    /// A network of Services.
    ServiceSubnet,
    /// `key=value:Effect`.
    Taint,
}

impl Format {
    /// Checks a text.
    ///
    /// # Errors
    /// What is wrong and what would be right, without the text itself: it may be secret.
    pub(crate) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Label => need(
                is_label(text),
                "must be one label of RFC 1123: lower-case letters, digits and '-', at most 63, with no '-' at either end",
            ),
            Self::DnsName => need(
                is_dns_name(text),
                "must be a DNS name: labels of lower-case letters, digits and '-', joined by dots",
            ),
            Self::Ipv4 => address::usable(text).map(drop),
            Self::Ip => address::server(text).map(drop),
            Self::OwnIp => address::own(text).map(drop),
            Self::Subnet => address::subnet(text).map(drop),
            Self::Destination => address::destination(text).map(drop),
            Self::Source => address::source(text).map(drop),
            Self::NextHop => address::next_hop(text).map(drop),
            Self::Mac => {
                need(address::mac(text).is_some(), "must be a hardware address, such as 52:54:00:12:34:56")
            }
            Self::Word => need(
                is_line(text) && !text.contains(|c: char| c.is_whitespace() || c == '/'),
                "must be a text without white space and '/'",
            ),
            Self::Url => url(text),
            Self::RegistryHost => need(
                is_registry_host(text),
                "must be a registry's host[:port] as it stands in names of images, such as docker.io, or _default",
            ),
            Self::LogUrl => log_url::parse(text).map(drop),
            Self::LogField => log_field(text),
            Self::LogValue => need(
                is_line(text) && text.len() <= LOG_VALUE_MAX_BYTES,
                "must be a text of one line, at most 256 bytes long and not empty",
            ),
            Self::InterfaceName => interface_name(text),
            Self::RuleInterface => rule_interface(text),
            Self::Size => size(text).map(drop),
            Self::Pattern => pattern(text),
            Self::Certificate => certificate::check(text),
            Self::Sha256 => sha256(text),
            Self::SysctlName => need(
                is_sysctl_name(text),
                "must be the name of a kernel setting with dots, such as net.core.somaxconn",
            ),
            Self::LabelKey => label_key(text),
            Self::LabelValue => need(
                is_label_value(text),
                "must be the value of a label: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
            ),
            Self::Line => need(is_line(text), "must be a text of one line that is not empty"),
            Self::Channel => need(
                update::is_channel(text),
                "must end in the Kubernetes minor version that it holds, such as stable-k1.37",
            ),
            Self::Duration { min, max } => duration(text, min, max),
            Self::TimeOfDay => need(
                update::time_of_day(text).is_some(),
                "must be a time of the day from 00:00 to 23:59, in UTC, such as \"02:00\"",
            ),
            Self::Rate => rate(text),
            Self::Probe => update::probe(text).map(drop),
            Self::TimeUrl => time_url::parse(text).map(drop),
            Self::ApiEndpoint => cluster_text::endpoint(text).map(drop),
            Self::BootstrapToken => cluster_text::bootstrap_token(text).map(drop),
            Self::PrivateKey => cluster_text::private_key(text),
            Self::EncryptionKey => cluster_text::encryption_key(text),
            Self::Host => cluster_text::host(text),
            Self::PodSubnet => cluster_text::pod_subnet(text).map(drop),
            Self::ServiceSubnet => cluster_text::service_subnet(text).map(drop),
            Self::Taint => cluster_text::taint(text),
        }
    }

    /// A regular expression that holds for all that [`Format::check`] lets pass. Editors show what it refuses.
    pub(crate) fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Label => Some("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
            Self::DnsName => Some(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
            Self::Ipv4 => Some(r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$"),
            Self::Ip | Self::OwnIp => Some("^[0-9a-fA-F.:]+$"),
            Self::Subnet | Self::Destination | Self::Source => Some("^[0-9a-fA-F.:]+/[0-9]{1,3}$"),
            Self::NextHop => Some("^[0-9a-fA-F.:]+$"),
            Self::Mac => Some("^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$"),
            Self::Word => Some(r"^[^/\s]+$"),
            Self::Url => Some("^https?://[^@?# ]+$"),
            Self::RegistryHost => Some(r"^(_default|[-A-Za-z0-9.]+(:[0-9]{1,5})?)$"),
            Self::LogUrl => Some(r"^(udp|tcp)://([-A-Za-z0-9.]+|\[[0-9a-fA-F.:]+\]):[0-9]{1,5}/?$"),
            Self::LogField => Some("^[A-Za-z_][A-Za-z0-9_.-]{0,62}$"),
            Self::InterfaceName => Some("^[^/: \t\n]{1,15}$"),
            Self::RuleInterface => Some(r#"^[^/: \t\n"*\\]{1,15}$"#),
            Self::Size => Some("^[1-9][0-9]*(B|[KMGTP]i?B)$"),
            Self::Pattern => Some(r"^[^*]+\*?$"),
            Self::Line | Self::LogValue => None,
            Self::Certificate => {
                Some(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
            }
            Self::Sha256 => Some("^[0-9a-f]{64}$"),
            Self::SysctlName => Some("^[a-z][-a-zA-Z0-9_]*(\\.[-a-zA-Z0-9_/]+)+$"),
            Self::LabelKey => Some(r"^([-a-z0-9.]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"),
            Self::LabelValue => Some("^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"),
            Self::Channel => Some(r"^[a-z][-a-z0-9]*-k1\.[0-9]{1,3}$"),
            Self::Duration { .. } => Some("^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"),
            Self::TimeOfDay => Some("^([01][0-9]|2[0-3]):[0-5][0-9]$"),
            Self::Rate => Some("^[1-9][0-9]*(B|[KMGTP]i?B)$"),
            Self::Probe => Some("^(tcp|https?)://[^@?# ]+$"),
            Self::ApiEndpoint => Some(r"^([-A-Za-z0-9.]+|\[?[0-9a-fA-F.:]+\]?)(:[0-9]{1,5})?$"),
            Self::BootstrapToken => Some(r"^[a-z0-9]{6}\.[a-z0-9]{16}$"),
            Self::PrivateKey => Some(
                r"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----\s[A-Za-z0-9+/=\s]+-----END ([A-Z]+ )?PRIVATE KEY-----",
            ),
            Self::EncryptionKey => Some("^[A-Za-z0-9+/]{43}=$"),
            Self::Host => Some("^[-A-Za-z0-9.:]+$"),
            Self::PodSubnet | Self::ServiceSubnet => Some(r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"),
            Self::Taint => {
                Some(r"^[-A-Za-z0-9_./]+(=[-A-Za-z0-9_.]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$")
            }
            Self::TimeUrl => Some(r"^nt[ps]://([-A-Za-z0-9.]+|\[[0-9a-fA-F.:]+\])(:[0-9]{1,5})?/?$"),
        }
    }

    /// In words, for the reference.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Label => "RFC 1123 label",
            Self::DnsName => "DNS name",
            Self::Ipv4 => "IPv4 address",
            Self::Ip | Self::OwnIp => "IP address",
            Self::Subnet => "IP address with prefix, such as `192.0.2.17/24`",
            Self::Destination | Self::Source => "network, such as `198.51.100.0/24`",
            Self::NextHop => "IP address",
            Self::Mac => "hardware address, such as `52:54:00:12:34:56`",
            Self::Word => "text without white space",
            Self::Url => "`http` or `https` URL",
            Self::RegistryHost => "host[:port]",
            Self::LogUrl => "`udp://host:port` or `tcp://host:port`",
            Self::LogField => "name of a field",
            Self::InterfaceName => "name of an interface",
            Self::RuleInterface => "name of a link",
            Self::Size => "size, such as `8GiB` or `500GB`",
            Self::Pattern => "text, `*` at its end for anything",
            Self::Certificate => "PEM certificate",
            Self::Sha256 => "SHA-256, 64 lower-case hexadecimal digits",
            Self::SysctlName => "name of a kernel setting",
            Self::LabelKey => "Kubernetes label key",
            Self::LabelValue => "Kubernetes label value",
            Self::Line | Self::LogValue => "text of one line",
            Self::Channel => "name of a channel, such as `stable-k1.37`",
            Self::Duration { .. } => "duration, such as `90s` or `1h30m`",
            Self::TimeOfDay => "time of the day, such as `02:00`",
            Self::Rate => "bytes per second, such as `500KiB`",
            Self::Probe => "`tcp://host:port`, or `http` or `https` URL",
            Self::ApiEndpoint => "host[:port]",
            Self::BootstrapToken => "bootstrap token, `id.secret`",
            Self::PrivateKey => "PEM private key",
            Self::EncryptionKey => "32 bytes in base64",
            Self::Host => "DNS name or IP address",
            Self::PodSubnet | Self::ServiceSubnet => "IPv4 network",
            Self::Taint => "taint, such as `role=camera:NoSchedule`",
            Self::TimeUrl => "`nts://host[:port]` or `ntp://host[:port]`",
        }
    }
}

fn need(fine: bool, message: &str) -> Result<(), String> {
    if fine { Ok(()) } else { Err(message.to_owned()) }
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_name(text)
}

fn is_dns_name(text: &str) -> bool {
    is_name(text) && text.split('.').all(|label| label.len() <= 63)
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && text.len() <= LINE_MAX_BYTES && !text.chars().any(char::is_control)
}

fn pattern(text: &str) -> Result<(), String> {
    need(is_line(text), "must be a text of one line that is not empty")?;
    let inner = text.strip_suffix('*').unwrap_or(text);
    need(!inner.is_empty(), "matches every disk; leave the field out instead")?;
    need(!inner.contains('*'), "may hold a '*' only at its end")
}

fn interface_name(text: &str) -> Result<(), String> {
    // IFNAMSIZ, and dev_valid_name() of the kernel.
    let valid = (1..=15).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
    need(
        valid,
        "must be the name of an interface: 1 to 15 characters without '/', ':' or white space, such as eth0",
    )?;
    need(text != "lo", "is the loopback interface, which Cairn sets up itself")
}

/// nft(8) takes a `*` for any ending, and cannot quote a `"`.
fn rule_interface(text: &str) -> Result<(), String> {
    interface_name(text)?;
    need(!text.contains(['"', '*', '\\']), "may hold no '\"', '*' and '\\' where a rule names it")
}

fn is_sysctl_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte))
    };
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.contains('.')
        && text.split('.').all(part)
        && text.split('.').next().is_some_and(|first| !first.contains('/'))
}

fn is_registry_host(text: &str) -> bool {
    if text == "_default" {
        return true;
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    host.to_ascii_lowercase() == host && is_dns_name(host) && port.is_none_or(is_port)
}

/// A DNS name or an IPv4 address.
pub(crate) fn is_host(text: &str) -> bool {
    is_dns_name(&text.to_ascii_lowercase())
}

pub(crate) fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

pub(crate) fn url(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or("must be a URL that begins with https:// or http://")?;
    if rest.contains('@') {
        return Err("must hold no user or password; those of a registry go into its credentials".into());
    }
    need(!rest.contains(['?', '#']), "must have neither '?' nor '#'")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<std::net::Ipv6Addr>().is_ok()
                && port.strip_prefix(':').map_or(port.is_empty(), is_port)
        }),
        None => is_registry_host(&authority.to_ascii_lowercase()) && authority != "_default",
    };
    need(host, "must name a host after ://, as in https://mirror.example.com")?;
    need(path.bytes().all(|byte| byte.is_ascii_graphic()), "must hold only printable ASCII after the host")
}

fn log_field(text: &str) -> Result<(), String> {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let valid = starts
        && text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    need(
        valid,
        "must be the name of a field: letters, digits, '_', '.' and '-', at most 63, beginning with a letter or '_'",
    )?;
    need(!LOG_FIELDS.contains(&text), "is a field that the node fills in itself")
}

fn sha256(text: &str) -> Result<(), String> {
    let digits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    need(digits, "must be a SHA-256: 64 lower-case hexadecimal digits without colons")?;
    need(!text.bytes().any(|byte| byte.is_ascii_uppercase()), "must be in lower case")
}

/// The value of a label.
pub(crate) fn label_value(text: &str) -> Result<(), String> {
    Format::LabelValue.check(text)
}

fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified_name(text)
}

fn is_qualified_name(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Labels below these domains that a kubelet may give to its own node; with any other it does not start
/// (k8s.io/kubelet/pkg/apis, `IsKubeletLabel`).
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
];
const KUBELET_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

pub(crate) fn label_key(text: &str) -> Result<(), String> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let valid = is_qualified_name(name) && prefix.is_none_or(is_dns_name);
    need(valid, "must be the key of a label, such as site or example.com/site")?;
    let within = |domain: &str| {
        prefix.is_some_and(|prefix| {
            prefix == domain || prefix.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        })
    };
    let reserved = within("kubernetes.io") || within("k8s.io");
    let allowed = KUBELET_LABELS.contains(&text) || KUBELET_DOMAINS.into_iter().any(within);
    need(
        !reserved || allowed,
        "is a label that a kubelet may not give to its own node; use a domain of your own, or node.kubernetes.io",
    )
}

fn duration(text: &str, min: u32, max: u32) -> Result<(), String> {
    let Some(duration) = duration::parse(text) else {
        return Err("must be whole numbers with units, such as 90s, 30m, 1h30m or 2d".into());
    };
    let (min, max) = (Seconds(min.into()), Seconds(max.into()));
    let fits = (min..=max).contains(&duration);
    if fits { Ok(()) } else { Err(format!("must be from {min} to {max}")) }
}

fn rate(text: &str) -> Result<(), String> {
    let fine = size(text).is_ok_and(|bytes| bytes >= RATE_MIN_BYTES);
    need(fine, "must be bytes per second, at least 4KiB: a whole number with a unit, such as 500KiB")
}

/// Bytes of a size such as "8GiB".
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 10] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("PiB", 1 << 50),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("PB", 1_000_000_000_000_000),
    ];
    let message = || "must be a whole number with a unit, such as 8GiB or 500GB".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(message)?;
    let factor = match unit {
        "B" => 1,
        unit => {
            UNITS.into_iter().find(|(name, _)| *name == unit).map(|(_, factor)| factor).ok_or_else(message)?
        }
    };
    let number = number.parse::<u64>().map_err(|_| message())?;
    if number == 0 || number.to_string().len() != digits {
        return Err(message());
    }
    number.checked_mul(factor).ok_or_else(|| "is more than any disk holds".to_owned())
}
