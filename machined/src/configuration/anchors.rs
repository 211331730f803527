//! The trust anchors that BOOTSTATE vouches for: the hash of the client CAs that the node was provisioned with or
//! changed to since.
//!
//! BOOTSTATE lies outside of STATE, so a rotten or foreign STATE is noticed there. The two cannot be written at once:
//! a change of CAs that is confirmed goes to BOOTSTATE first, then to `trust.json`, then the index names it. A power cut
//! in between leaves BOOTSTATE ahead of STATE, but never naming CAs that no generation on STATE has: such a state is
//! taken for good, and BOOTSTATE is brought back to what STATE trusts. The generations are checksummed by themselves.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use bootstate::{Provisioning, Record, Sha256};
use config::NodeConfig;
use pki::Bundle;

use crate::{
    storage::{BootState, StorageError},
    trust::{Trust, TrustError},
};

/// Why the anchors are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum AnchorsError {
    /// BOOTSTATE knows others.
    #[error(
        "the client CAs on STATE are not those that the node was provisioned with, so no API is served: flash the disk anew"
    )]
    Changed,
    /// A configuration's CAs are of no use, or not kept.
    #[error("trust")]
    Trust(#[source] TrustError),
    /// BOOTSTATE cannot be written.
    #[error("BOOTSTATE")]
    BootState(#[source] StorageError),
}

/// Keeps for good what a generation trusts, before an index on the disk calls it confirmed.
pub fn keep(boot_state: &Mutex<BootState>, trust: &Trust, config: &NodeConfig) -> Result<(), AnchorsError> {
    let clients = trust.clients(config).map_err(AnchorsError::Trust)?;
    let mut boot_state = boot_state.lock().unwrap_or_else(PoisonError::into_inner);
    if boot_state.is_provisioned() {
        boot_state.set_provisioned(sha256(&clients.cas)).map_err(AnchorsError::BootState)?;
    }
    trust.learn(config).map_err(AnchorsError::Trust)
}

/// At start: whether STATE holds what BOOTSTATE vouches for. `kept` are all configurations that STATE holds.
pub fn check(
    boot_state: &mut BootState,
    trust: &Trust,
    running: &NodeConfig,
    kept: &[NodeConfig],
) -> Result<(), AnchorsError> {
    let trusted = match trust.known_cas() {
        Some(known) => known,
        None => trust.clients(running).map_err(AnchorsError::Trust)?.cas,
    };
    let trusted = sha256(&trusted);
    let of_a_change = kept.iter().filter_map(|config| Some(sha256(&trust.clients(config).ok()?.cas)));
    match judge(boot_state.record().map(Record::provisioning), trusted, of_a_change) {
        Verdict::Good => Ok(()),
        Verdict::Mend => boot_state.set_provisioned(trusted).map_err(AnchorsError::BootState),
        Verdict::Foreign => Err(AnchorsError::Changed),
    }
}

/// SHA-256 over the CAs in PEM, in the order of the configuration.
pub fn sha256(cas: &Bundle) -> Sha256 {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, cas.to_pem().as_bytes()).as_ref());
    hash
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Mend,
    Foreign,
}

fn judge(
    known: Option<Provisioning>,
    trusted: Sha256,
    mut of_a_change: impl Iterator<Item = Sha256>,
) -> Verdict {
    match known {
        Some(Provisioning::Done { trust_anchors_sha256: known }) if known == trusted => Verdict::Good,
        Some(Provisioning::Done { trust_anchors_sha256: known }) if of_a_change.any(|hash| hash == known) => {
            Verdict::Mend
        }
        Some(Provisioning::Done { .. }) => Verdict::Foreign,
        Some(Provisioning::Presumed) => Verdict::Mend,
        Some(Provisioning::Never) | None => Verdict::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_anchors_than_those_of_state_are_refused() {
        let done = |trust_anchors_sha256| Some(Provisioning::Done { trust_anchors_sha256 });
        let change = || [[3; 32], [4; 32]].into_iter();
        assert_eq!(judge(done([1; 32]), [1; 32], change()), Verdict::Good);
        assert_eq!(judge(done([4; 32]), [1; 32], change()), Verdict::Mend, "a change was cut off");
        assert_eq!(judge(done([2; 32]), [1; 32], change()), Verdict::Foreign);
        assert_eq!(judge(Some(Provisioning::Presumed), [1; 32], change()), Verdict::Mend);
        for unknown in [None, Some(Provisioning::Never)] {
            assert_eq!(judge(unknown, [1; 32], change()), Verdict::Good);
        }
    }
}
