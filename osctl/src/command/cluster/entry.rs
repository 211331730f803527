//! A cluster's entry in a kubeconfig file, and how it gets into one that has others.
//!
//! The file is another program's: whatever is in it and not of this entry stays as it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// By which every API server's certificate is good, whatever address it is reached by.
const SERVER_NAME: &str = "kubernetes.default.svc";
const AUTHORITY: &str = "certificate-authority-data";

/// Cluster, user and context of one name.
pub struct Entry {
    /// Its name.
    pub name: String,
    /// URL of the API server.
    pub server: String,
    /// CAs of the cluster, PEM.
    pub authorities_pem: String,
    /// Certificate of the client, PEM.
    pub certificate_pem: String,
    /// Key of the client, PEM.
    pub key_pem: zeroize::Zeroizing<String>,
}

/// Why an entry is not put into a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The file is something else.
    #[error("it is no kubeconfig: {what}")]
    NotKubeconfig {
        /// What is wrong.
        what: String,
    },
    /// The name is taken.
    #[error("it has a {what} named {name:?} that is not of this cluster")]
    Taken {
        /// "cluster", "user" or "context".
        what: &'static str,
        /// Its name.
        name: String,
    },
}

/// One of the file's lists: its field, and what each of its elements holds.
type List = (&'static str, &'static str);
const CLUSTERS: List = ("clusters", "cluster");
const USERS: List = ("users", "user");
const CONTEXTS: List = ("contexts", "context");

impl Entry {
    /// A file with this entry alone.
    pub fn alone(&self) -> Result<Value, EntryError> {
        let file = json!({"apiVersion": "v1", "kind": "Config"});
        self.put(file, false)
    }

    /// The file with this entry in it, which replaces an older one of the same cluster; one of another cluster only
    /// with `force`. The first context becomes the current one.
    pub fn put(&self, file: Value, force: bool) -> Result<Value, EntryError> {
        let Value::Object(mut file) = file else { return Err(not_kubeconfig("it holds no fields")) };
        for (field, expected) in [("apiVersion", "v1"), ("kind", "Config")] {
            let found = file.entry(field).or_insert_with(|| expected.into());
            if found != expected {
                return Err(not_kubeconfig(&format!("its {field} is {found}")));
            }
        }
        let authority = Value::from(STANDARD.encode(&self.authorities_pem));
        let known = self.find(&mut file, CLUSTERS)?.is_some_and(|cluster| cluster[AUTHORITY] == authority);
        if !known && !force {
            for list in [CLUSTERS, USERS, CONTEXTS] {
                if self.find(&mut file, list)?.is_some() {
                    return Err(EntryError::Taken { what: list.1, name: self.name.clone() });
                }
            }
        }
        // Of the same cluster, what was added by hand stays, such as the namespace of the context.
        let cluster = json!({"server": self.server, "tls-server-name": SERVER_NAME, AUTHORITY: authority});
        self.set(&mut file, CLUSTERS, cluster, known)?;
        let user = json!({
            "client-certificate-data": STANDARD.encode(&self.certificate_pem),
            "client-key-data": STANDARD.encode(&*self.key_pem),
        });
        self.set(&mut file, USERS, user, false)?;
        self.set(&mut file, CONTEXTS, json!({"cluster": self.name, "user": self.name}), known)?;
        let current = file.entry("current-context").or_insert(Value::Null);
        if current.as_str().is_none_or(str::is_empty) {
            *current = self.name.clone().into();
        }
        Ok(Value::Object(file))
    }

    /// The content of the element of this name.
    fn find<'a>(
        &self,
        file: &'a mut Map<String, Value>,
        list: List,
    ) -> Result<Option<&'a mut Value>, EntryError> {
        let (field, content) = list;
        let found = elements(file, field)?.iter_mut().find(|element| element["name"] == self.name);
        match found {
            Some(Value::Object(element)) => Ok(Some(element.entry(content).or_insert(Value::Null))),
            Some(_) | None => Ok(None),
        }
    }

    /// Replaces the content of the element of this name, or only the fields that it gives, or adds the element.
    fn set(
        &self,
        file: &mut Map<String, Value>,
        list: List,
        value: Value,
        keep: bool,
    ) -> Result<(), EntryError> {
        match (self.find(file, list)?, value) {
            (Some(Value::Object(old)), Value::Object(new)) if keep => old.extend(new),
            (Some(old), new) => *old = new,
            (None, new) => {
                let (field, content) = list;
                elements(file, field)?.push(json!({"name": self.name, content: new}));
            }
        }
        Ok(())
    }
}

/// A list of the file; kubectl writes an empty one as null.
fn elements<'a>(file: &'a mut Map<String, Value>, field: &str) -> Result<&'a mut Vec<Value>, EntryError> {
    let list = file.entry(field).or_insert(Value::Null);
    if list.is_null() {
        *list = json!([]);
    }
    match list {
        Value::Array(elements) if elements.iter().all(Value::is_object) => Ok(elements),
        _ => Err(not_kubeconfig(&format!("{field} is no list of objects"))),
    }
}

fn not_kubeconfig(what: &str) -> EntryError {
    EntryError::NotKubeconfig { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, authority: &str, certificate: &str) -> Entry {
        Entry {
            name: name.into(),
            server: "https://10.0.0.5:6443".into(),
            authorities_pem: authority.into(),
            certificate_pem: certificate.into(),
            key_pem: "key".to_owned().into(),
        }
    }

    #[test]
    fn an_entry_alone_is_a_whole_file() {
        let file = entry("shop", "ca", "certificate").alone().unwrap();
        let data = |text: &str| STANDARD.encode(text);
        assert_eq!(
            file,
            json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "shop",
                "clusters": [{"name": "shop", "cluster": {
                    "server": "https://10.0.0.5:6443", "tls-server-name": "kubernetes.default.svc",
                    "certificate-authority-data": data("ca")}}],
                "users": [{"name": "shop", "user": {
                    "client-certificate-data": data("certificate"), "client-key-data": data("key")}}],
                "contexts": [{"name": "shop", "context": {"cluster": "shop", "user": "shop"}}],
            })
        );
    }

    #[test]
    fn a_new_entry_keeps_what_is_there_and_stays_in_the_background() {
        let before = json!({
            "kind": "Config", "preferences": {"colors": true}, "current-context": "other",
            "clusters": [{"name": "other", "cluster": {"server": "https://other"}}], "users": null,
            "contexts": [{"name": "other", "context": {"cluster": "other", "user": "", "namespace": "n"}}],
        });
        let after = entry("shop", "ca", "c").put(before.clone(), false).unwrap();
        for field in ["preferences", "current-context"] {
            assert_eq!(after[field], before[field]);
        }
        for list in ["clusters", "contexts"] {
            assert_eq!(after[list][0], before[list][0]);
            assert_eq!(after[list].as_array().unwrap().len(), 2);
        }
        assert_eq!(after["users"][0]["name"], "shop");
    }

    #[test]
    fn a_renewed_entry_keeps_what_was_added_to_it_but_no_older_key() {
        let mut file = entry("shop", "ca", "old").alone().unwrap();
        file["contexts"][0]["context"]["namespace"] = "till".into();
        file["clusters"][0]["cluster"]["proxy-url"] = "http://proxy".into();
        file["users"][0]["user"]["token"] = "t".into();
        let renewed = entry("shop", "ca", "new").put(file, false).unwrap();
        assert_eq!(renewed["contexts"][0]["context"]["namespace"], "till");
        assert_eq!(renewed["clusters"][0]["cluster"]["proxy-url"], "http://proxy");
        assert_eq!(renewed["users"], entry("shop", "ca", "new").alone().unwrap()["users"]);
    }

    #[test]
    fn the_entry_of_another_cluster_is_replaced_only_by_force() {
        let file = entry("shop", "their ca", "theirs").alone().unwrap();
        let mine = entry("shop", "ca", "mine");
        let taken = |what| Err(EntryError::Taken { what, name: "shop".into() });
        assert_eq!(mine.put(file.clone(), false), taken("cluster"));
        assert_eq!(mine.put(file, true).unwrap(), mine.alone().unwrap());
        let user = json!({"users": [{"name": "shop", "user": {"token": "t"}}]});
        assert_eq!(mine.put(user, false), taken("user"));
    }

    #[test]
    fn what_is_no_kubeconfig_is_left_alone() {
        let not =
            |file| matches!(entry("s", "c", "c").put(file, true), Err(EntryError::NotKubeconfig { .. }));
        assert!(not(json!([])) && not(json!("text")) && not(json!({"kind": "Pod"})));
        assert!(not(json!({"clusters": {}})) && not(json!({"users": ["x"]})));
    }
}
