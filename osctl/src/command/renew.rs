//! Any contact of an admin keeps a node's certificate good: it is signed again in time, and by the CA that the admin
//! has now.

use pki::{Ca, Certificate, NodeId, Role, check_server};

use super::adopt::{self, Request};
use crate::contexts::{Context, ContextFile};
use crate::failure::Failure;
use crate::node::{self, Node};
use crate::pem::Pem;
use crate::{clock, output, secrets};

/// Signs the node's certificate again when that is due and the context names a secrets bundle which is at hand.
/// A failure is said; the command goes on, because the certificate at hand was good enough to come here.
pub async fn when_due(node: &Node, file: &ContextFile, context: &Context) {
    let (Some(path), Some(certificate)) = (&context.secrets, node.certificate()) else { return };
    let is_admin = node::identity_of(context).is_some_and(|client| client.role == Role::Admin);
    let Some(node_id) = context.node_id.as_deref().and_then(|id| NodeId::parse(id).ok()) else { return };
    if !is_admin {
        return;
    }
    let Some(ca) = secrets::at_hand(path) else { return };
    if is_good(certificate, &ca, &node_id, clock::now_s()) {
        return;
    }
    if let Err(failure) = renew(node, file, context, &ca, &node_id).await {
        output::warn(&format!("the certificate of node {} is not renewed: {failure}", node.name()));
    }
}

/// Whether the certificate is one of this CA and has more than a third of its life before it.
fn is_good(certificate: &Certificate, ca: &Ca, node_id: &NodeId, now_s: u64) -> bool {
    check_server(certificate.der(), ca.bundle(), node_id).is_ok_and(|validity| {
        let life_s = validity.not_after_s.saturating_sub(validity.not_before_s);
        now_s <= validity.not_after_s.saturating_sub(life_s / 3)
    })
}

async fn renew(
    node: &Node,
    file: &ContextFile,
    context: &Context,
    ca: &Ca,
    node_id: &NodeId,
) -> Result<(), Failure> {
    let request = Request::fetch(node).await?;
    if request.node_id != *node_id {
        return Err(Failure::error(format!("the node calls itself {}", request.node_id)));
    }
    // First the context: it must know the CA when the node comes with its certificate.
    if !node::trusts(context, ca) {
        file.change(|contexts| {
            if let Some(kept) = contexts.contexts.iter_mut().find(|kept| kept.name == context.name) {
                kept.ca = Pem::new(format!("{}\n{}", kept.ca.as_str().trim_end(), ca.certificate().to_pem()));
            }
            Ok(())
        })?;
    }
    adopt::install(node, ca, &request).await
}

#[cfg(test)]
mod tests {
    use pki::{Key, SigningRequest, SubjectName, Validity};

    use super::*;

    #[test]
    fn a_certificate_is_good_for_two_thirds_of_its_life_and_for_its_own_ca() {
        const START_S: u64 = 1_790_000_000;
        let new_ca = || Ca::create(&SubjectName::parse("ca").unwrap(), Validity::UNLIMITED).unwrap();
        let (ca, other, id) = (new_ca(), new_ca(), NodeId::parse("n1").unwrap());
        let request = pki::node::signing_request(&Key::generate().unwrap(), &id).unwrap();
        let request = SigningRequest::from_der(&request).unwrap();
        let certificate = ca.issue_server(&request, &id, Validity::starting(START_S, 900)).unwrap();
        let good = |ca, id: &str, now_s| is_good(&certificate, ca, &NodeId::parse(id).unwrap(), now_s);
        assert!(good(&ca, "n1", START_S - 1), "this computer's clock may lag behind");
        assert!(good(&ca, "n1", START_S + 600));
        assert!(!good(&ca, "n1", START_S + 601));
        assert!(!good(&ca, "n1", START_S + 2_000));
        assert!(!good(&other, "n1", START_S));
        assert!(!good(&ca, "n2", START_S));
    }
}
