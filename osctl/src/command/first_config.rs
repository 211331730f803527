//! The first configuration of a node: its name, whom it lets in, its static pods.

use std::path::{Path, PathBuf};

use pki::Ca;
use serde::Serialize;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::pem::Pem;
use crate::{file, output};

/// The text of the configuration.
pub fn documents(ca: &Ca, hostname: Option<&str>, static_pods: &[PathBuf]) -> Result<String, Failure> {
    let mut parts = Vec::new();
    if let Some(hostname) = hostname {
        parts.push(document("Machine", Machine { hostname })?);
    }
    parts.push(document("Api", Api { client_cas: vec![Pem::new(ca.bundle().to_pem())] })?);
    for path in static_pods {
        for pod in read_pods(path)? {
            parts.push(document("StaticPod", StaticPod { pod })?);
        }
    }
    let text = parts.join("---\n");
    // The node would refuse it too, but on its console.
    config::parse(&text)
        .map_err(|errors| Failure::error("the node would refuse this configuration").why(errors))?;
    Ok(text)
}

/// The configuration with the documents of `more` merged into it.
pub fn merged(text: &str, more: &str) -> Result<String, Failure> {
    let refused = |why: String| Failure::error("the node would refuse this configuration").why(why);
    let base = config::Documents::parse(text).map_err(|errors| refused(errors.to_string()))?;
    let merged = config::merge::strategic(&base, more).map_err(|error| refused(error.to_string()))?;
    merged.to_yaml().map_err(|error| refused(error.to_string()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<T> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize)]
struct Machine<'a> {
    hostname: &'a str,
}

#[derive(Serialize)]
struct Api {
    #[serde(rename = "clientCAs")]
    client_cas: Vec<Pem>,
}

#[derive(Serialize)]
struct StaticPod {
    pod: Value,
}

/// One document as text.
pub fn document<T: Serialize>(kind: &'static str, content: T) -> Result<String, Failure> {
    output::yaml(&Document { api_version: config::API_VERSION, kind, content })
}

/// The pods of a manifest.
fn read_pods(path: &Path) -> Result<Vec<Value>, Failure> {
    let bad =
        |why: String| Failure::error(format!("{} is no manifest of a static pod", path.display())).why(why);
    let text = file::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, format!("{} does not exist", path.display()))
        }
        _ => Failure::error(format!("cannot read {}", path.display())).why(error),
    })?;
    let pods: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| bad(error.to_string()))?;
    if pods.is_empty() {
        return Err(bad("it is empty".into()));
    }
    let checked = |pod| config::StaticPod::from_manifest(pod).map(|pod| pod.manifest);
    pods.into_iter().map(checked).collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use pki::{SubjectName, Validity};

    use super::*;

    fn ca() -> Ca {
        Ca::create(&SubjectName::parse("test").unwrap(), Validity::UNLIMITED).unwrap()
    }

    #[test]
    fn documents_read_back_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = directory.path().join("pod.yaml");
        std::fs::write(&manifest, "apiVersion: v1\nkind: Pod\nmetadata: {name: \"yes\"}\nspec: {containers: [{name: c, n: 8080, s: \"1e3\", t: \"a\\nb\"}]}\n").unwrap();
        let ca = ca();
        let text = documents(&ca, Some("edge-1"), &[manifest]).unwrap();
        let read: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(
            read.iter().map(|document| document["kind"].as_str().unwrap()).collect::<Vec<_>>(),
            ["Machine", "Api", "StaticPod"]
        );
        assert!(read.iter().all(|document| document["apiVersion"] == config::API_VERSION));
        assert_eq!(read[0]["hostname"], "edge-1");
        assert_eq!(read[1]["clientCAs"][0], ca.bundle().to_pem());
        assert_eq!(read[2]["pod"]["metadata"]["name"], "yes");
        assert_eq!(
            read[2]["pod"]["spec"],
            serde_json::json!({"containers": [{"name": "c", "n": 8080, "s": "1e3", "t": "a\nb"}]})
        );
    }

    #[test]
    fn what_the_node_would_refuse_is_refused_here() {
        assert!(documents(&ca(), Some("Not A Name"), &[]).unwrap_err().render().contains("hostname"));
    }

    #[test]
    fn only_pods_are_static_pods() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = directory.path().join("pod.yaml");
        for text in [
            "",
            "kind: Deployment\nmetadata: {name: x}\n",
            "kind: Pod\n",
            "kind: [",
            "kind: Pod\nmetadata: {name: x}\n---\na: 1\n",
        ] {
            std::fs::write(&manifest, text).unwrap();
            assert!(read_pods(&manifest).is_err(), "{text}");
        }
        assert_eq!(read_pods(&directory.path().join("none")).unwrap_err().exit(), Exit::NotFound);
    }
}
