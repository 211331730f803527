//! How images of a registry are pulled, as containerd and the kubelet read it. Pure.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use config::Registry;
use serde_json::{Map, Value, json};

/// Docker Hub is served under another name than stands in image names, and credentials for it go by a third.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_SERVER: &str = "registry-1.docker.io";
const DOCKER_HUB_CREDENTIALS: &str = "https://index.docker.io/v1/";
/// containerd's name for all registries without a folder of their own.
const OTHERS: &str = "_default";

/// containerd's hosts.toml (docs/hosts.md of containerd): mirrors in order, then the registry itself.
pub fn hosts(registry: &Registry) -> String {
    let mut text = match registry.host.as_str() {
        // Without a server containerd asks the one of the image's name.
        OTHERS => String::new(),
        DOCKER_HUB => format!("server = {}\n", quoted(&format!("https://{DOCKER_HUB_SERVER}"))),
        host => format!("server = {}\n", quoted(&format!("https://{host}"))),
    };
    for mirror in &registry.mirrors {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[host.{}]\n  capabilities = [\"pull\", \"resolve\"]\n", quoted(mirror));
    }
    text
}

/// The kubelet's credentials, in the form of Docker's config.json.
pub fn credentials(registries: &[Registry]) -> String {
    let auths: Map<String, Value> = registries
        .iter()
        .filter_map(|registry| {
            let credentials = registry.credentials.as_ref()?;
            let key =
                if registry.host == DOCKER_HUB { DOCKER_HUB_CREDENTIALS } else { registry.host.as_str() };
            let pair = STANDARD.encode(format!("{}:{}", credentials.username, credentials.password));
            Some((key.to_owned(), json!({"auth": pair})))
        })
        .collect();
    format!("{}\n", json!({"auths": auths}))
}

/// A basic string of TOML; JSON's escapes are a part of TOML's.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use config::Credentials;

    use super::*;

    fn registry(host: &str, mirrors: &[&str]) -> Registry {
        Registry {
            host: host.into(),
            mirrors: mirrors.iter().map(|&url| url.into()).collect(),
            credentials: None,
        }
    }

    #[test]
    fn mirrors_come_before_the_registry() {
        assert_eq!(
            hosts(&registry("docker.io", &["http://10.0.0.1:5000", "https://b.example/v2/x"])),
            "server = \"https://registry-1.docker.io\"\n\n\
             [host.\"http://10.0.0.1:5000\"]\n  capabilities = [\"pull\", \"resolve\"]\n\n\
             [host.\"https://b.example/v2/x\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        );
        assert_eq!(hosts(&registry("r.example:8443", &[])), "server = \"https://r.example:8443\"\n");
        assert!(hosts(&registry("_default", &["http://m"])).starts_with("\n[host."));
    }

    #[test]
    fn credentials_go_to_the_kubelet_only_where_there_are_some() {
        let mut private = registry("r.example", &[]);
        private.credentials = Some(Credentials { username: "u".into(), password: "p\"".into() });
        let text = credentials(&[registry("docker.io", &[]), private]);
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, json!({"auths": {"r.example": {"auth": STANDARD.encode("u:p\"")}}}));
        assert!(!hosts(&registry("r.example", &[])).contains("auth"));
    }
}
