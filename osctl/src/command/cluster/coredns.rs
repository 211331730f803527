//! The document that has a control plane run the cluster's DNS.

use std::net::IpAddr;

const OBJECTS: &str = include_str!("coredns.yaml");
const SEPARATOR: &str = "\n---\n";

/// The document, for a cluster of this domain whose DNS has this address.
pub fn document(domain: &str, dns: IpAddr) -> String {
    // Laid out as text, so that it reads as the template does.
    let text = OBJECTS.replace("${DOMAIN}", domain).replace("${DNS}", &dns.to_string());
    let api_version = config::API_VERSION;
    let mut document = format!("apiVersion: {api_version}\nkind: Manifests\nname: coredns\nobjects:\n");
    for object in text.split(SEPARATOR) {
        let mut mark = "- ";
        for line in object.lines() {
            let is_comment = line.starts_with('#');
            document.push_str(if is_comment || line.is_empty() { "" } else { mark });
            document.push_str(line);
            document.push('\n');
            mark = if is_comment { mark } else { "  " };
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_objects_are_those_of_the_template() {
        let document = document("shop.example", "10.96.0.10".parse().unwrap());
        let document: Value = serde_saphyr::from_str(&document).unwrap();
        assert_eq!((&document["kind"], &document["name"]), (&json!("Manifests"), &json!("coredns")));
        let filled = OBJECTS.replace("${DOMAIN}", "shop.example").replace("${DNS}", "10.96.0.10");
        let template: Vec<Value> = serde_saphyr::from_multiple(&filled).unwrap();
        assert_eq!(document["objects"], json!(template));
        assert!(!document.to_string().contains("${"), "a place was not filled");
    }

    #[test]
    fn every_object_is_named_and_every_reference_meets_one() {
        let document = document("cluster.local", "fd00::a".parse().unwrap());
        let document: Value = serde_saphyr::from_str(&document).unwrap();
        let objects = document["objects"].as_array().unwrap();
        let find = |kind: &str, name: &str| {
            objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        };
        assert!(objects.iter().all(|object| object["apiVersion"].is_string()));
        let binding = find("ClusterRoleBinding", "system:coredns").unwrap();
        assert!(find("ClusterRole", binding["roleRef"]["name"].as_str().unwrap()).is_some());
        let corefile = find("ConfigMap", "coredns").unwrap()["data"]["Corefile"].as_str().unwrap();
        assert!(
            corefile.contains("forward . /etc/resolv.conf 127.0.0.1:9 {"),
            "it starts where there is no DNS server"
        );
        let pod = &find("Deployment", "coredns").unwrap()["spec"]["template"];
        assert!(find("ServiceAccount", pod["spec"]["serviceAccountName"].as_str().unwrap()).is_some());
        assert!(
            find("ConfigMap", pod["spec"]["volumes"][0]["configMap"]["name"].as_str().unwrap()).is_some()
        );
        let service = find("Service", "kube-dns").unwrap();
        assert_eq!(service["spec"]["selector"], pod["metadata"]["labels"]);
        assert_eq!(service["spec"]["clusterIP"], "fd00::a");
    }
}
