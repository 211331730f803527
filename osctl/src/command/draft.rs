//! Contexts in the making: what the command line leaves open comes from contexts that exist.

use pki::Ca;

use crate::contexts::{Context, Contexts};
use crate::failure::Failure;
use crate::node::{self, Client};
use crate::pem::Pem;

/// A context to be written: what was given on the command line. The rest comes from contexts that exist.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Endpoints, when given.
    pub endpoints: Vec<String>,
    /// Node id, when given.
    pub node_id: Option<String>,
}

impl Draft {
    /// Completes it from the context of the same name, else from one of the same CA with the same endpoint.
    pub fn complete(self, contexts: &Contexts, ca: &Ca, client: &Client) -> Result<Context, Failure> {
        let existing = contexts.find(&self.name);
        if existing.is_some_and(|context| !node::trusts(context, ca)) {
            return Err(Failure::error(format!("context {:?} belongs to another CA", self.name))
                .hint("choose another name with -c, or remove it with `osctl config remove`"));
        }
        let kin = existing.or_else(|| {
            let same_node = |context: &&Context| {
                node::trusts(context, ca)
                    && context.endpoints.iter().any(|endpoint| self.endpoints.contains(endpoint))
            };
            contexts.contexts.iter().find(same_node)
        });
        let (endpoints, node_id) = match kin {
            Some(kin) if self.endpoints.is_empty() => {
                (kin.endpoints.clone(), self.node_id.or(kin.node_id.clone()))
            }
            Some(kin) => (self.endpoints, self.node_id.or(kin.node_id.clone())),
            None => (self.endpoints, self.node_id),
        };
        Ok(Context {
            name: self.name,
            endpoints,
            node_id,
            ca: Pem::new(ca.bundle().to_pem()),
            client_certificate: Pem::new(client.certificate_pem()),
            client_key: client.key().clone(),
            secrets: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use pki::{Role, SubjectName, Validity};

    use super::*;

    fn ca() -> Ca {
        Ca::create(&SubjectName::parse("test").unwrap(), Validity::UNLIMITED).unwrap()
    }

    fn client(ca: &Ca) -> Client {
        let name = SubjectName::parse("alice").unwrap();
        Client::from(&ca.issue_client(&name, Role::Admin, Validity::UNLIMITED).unwrap())
    }

    fn draft(name: &str, endpoints: &[&str], node_id: Option<&str>) -> Draft {
        Draft {
            name: name.into(),
            endpoints: endpoints.iter().map(|text| (*text).to_owned()).collect(),
            node_id: node_id.map(str::to_owned),
        }
    }

    #[test]
    fn a_draft_inherits_from_its_kin_only() {
        let (fleet, other) = (ca(), ca());
        let mut contexts = Contexts::default();
        contexts.put(
            draft("edge", &["10.0.0.1:50000"], Some("n1"))
                .complete(&contexts, &fleet, &client(&fleet))
                .unwrap(),
        );

        let renewed = draft("edge", &[], None).complete(&contexts, &fleet, &client(&fleet)).unwrap();
        assert_eq!(
            (renewed.endpoints, renewed.node_id.as_deref()),
            (vec!["10.0.0.1:50000".to_owned()], Some("n1"))
        );
        let reader =
            draft("reader", &["10.0.0.1:50000"], None).complete(&contexts, &fleet, &client(&fleet)).unwrap();
        assert_eq!(reader.node_id.as_deref(), Some("n1"));
        let elsewhere =
            draft("x", &["10.0.0.2:50000"], None).complete(&contexts, &fleet, &client(&fleet)).unwrap();
        assert_eq!(elsewhere.node_id, None);
        let stranger =
            draft("x", &["10.0.0.1:50000"], None).complete(&contexts, &other, &client(&other)).unwrap();
        assert_eq!(stranger.node_id, None);
        assert!(draft("edge", &[], None).complete(&contexts, &other, &client(&other)).is_err());
    }
}
