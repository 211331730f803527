//! What can be tried with the socket of machined, the node's own key and requests that an admin signed.

use anyhow::{Context as _, Result};
use layout::path;
use pki::{
    Ca, Certificate, Key, NodeId, Role, SubjectName, Validity,
    signed::{self, Base, Epoch},
};
use prost::Message as _;
use proto::{
    config::v1::{ApplyMode, ApplyRequest, Change, ConfirmBody, ResetBody, SignedRequest, change::Content},
    update::v1::{CancelBody, Extent, RollbackBody, UpgradeBody, upgrade_body::Source},
};

use crate::call::call;

pub const APPLY: &str = "/cairn.config.v1.ConfigService/Apply";
pub const CONFIRM: &str = "/cairn.config.v1.ConfigService/Confirm";
pub const RESET: &str = "/cairn.config.v1.ConfigService/Reset";
pub const UPGRADE: &str = "/cairn.update.v1.UpdateService/Upgrade";
pub const RETURN: &str = "/cairn.update.v1.UpdateService/Rollback";
pub const CANCEL: &str = "/cairn.update.v1.UpdateService/Cancel";
/// Every method that wants a signature. Their requests look the same on the wire: a signed one as the first field.
pub const METHODS: [&str; 6] = [APPLY, CONFIRM, RESET, UPGRADE, RETURN, CANCEL];

const ELSEWHERE: &str = "http://10.0.2.2/releases";
const OLDER: &str = "0.0.1";
const CHANGE: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Machine\nhostname: taken-over\n";

/// A request that an admin signed for a method.
#[derive(Clone)]
pub struct Genuine {
    pub method: &'static str,
    pub request: SignedRequest,
}

/// What an attempt is to bring about.
#[derive(Clone, Copy)]
enum Aim {
    Apply,
    Rollback,
    Confirm,
    Reset,
    /// To a release from elsewhere, with every leave.
    Upgrade,
    /// To an older release.
    Return,
    Cancel,
}

impl Aim {
    const ALL: [Self; 7] =
        [Self::Apply, Self::Rollback, Self::Confirm, Self::Reset, Self::Upgrade, Self::Return, Self::Cancel];

    fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Rollback => "rollback",
            Self::Confirm => "confirm",
            Self::Reset => "reset",
            Self::Upgrade => "upgrade",
            Self::Return => "return",
            Self::Cancel => "cancel",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Apply | Self::Rollback => APPLY,
            Self::Confirm => CONFIRM,
            Self::Reset => RESET,
            Self::Upgrade => UPGRADE,
            Self::Return => RETURN,
            Self::Cancel => CANCEL,
        }
    }

    /// On top of a base, which during a trial without a reboot is the number of what is on trial.
    fn body(self, base_generation: u64) -> Vec<u8> {
        let change = |content| {
            Change { content: Some(content), mode: ApplyMode::Auto.into(), ..Change::default() }
                .encode_to_vec()
        };
        match self {
            Self::Apply => change(Content::StrategicMerge(CHANGE.into())),
            Self::Rollback => change(Content::RollbackTo(1)),
            Self::Confirm => ConfirmBody { generation: base_generation }.encode_to_vec(),
            Self::Reset => ResetBody { wipe_data: true }.encode_to_vec(),
            Self::Upgrade => UpgradeBody {
                source: Some(Source::Url(ELSEWHERE.into())),
                version: OLDER.into(),
                extent: Extent::Reboot.into(),
                allow_downgrade: true,
                retry_failed: true,
                allow_expired: true,
                allow_kubernetes_minor: true,
            }
            .encode_to_vec(),
            Self::Return => RollbackBody { version: OLDER.into() }.encode_to_vec(),
            Self::Cancel => CancelBody {}.encode_to_vec(),
        }
    }
}

/// While the node is at the base of `genuine`, which it has not seen yet.
pub async fn forge(genuine: &Genuine) -> Result<()> {
    let signers = signers(&genuine.request)?;
    for aim in Aim::ALL {
        let request = &genuine.request;
        let body = aim.body(request.base_generation);
        attempt(aim.name(), "unsigned", aim.method(), None).await?;
        for Signer { name, key, certificate } in &signers {
            let signed = sign(key, certificate, aim.method(), request, body.clone())?;
            attempt(aim.name(), name, aim.method(), Some(signed)).await?;
        }
        let edited = SignedRequest { body, ..request.clone() };
        // The admin may want the same.
        if edited != *request {
            attempt(aim.name(), "edited body", aim.method(), Some(edited)).await?;
        }
    }
    edit(genuine).await?;
    repeat(genuine, "unseen").await
}

/// The same request for another node, generation or start.
async fn edit(genuine: &Genuine) -> Result<()> {
    let Genuine { method, request } = genuine;
    let node_id = "0".repeat(32);
    let mut epoch = request.epoch.clone();
    epoch.reverse();
    for (how, edited) in [
        ("edited node", SignedRequest { node_id, ..request.clone() }),
        (
            "edited generation",
            SignedRequest { base_generation: request.base_generation.saturating_add(1), ..request.clone() },
        ),
        ("edited epoch", SignedRequest { epoch, ..request.clone() }),
    ] {
        attempt(name(method), how, method, Some(edited)).await?;
    }
    Ok(())
}

/// With every method but its own a request that nobody has seen yet; with all methods one that was obeyed.
pub async fn repeat(genuine: &Genuine, when: &str) -> Result<()> {
    for method in METHODS {
        let how = match (method == genuine.method, when) {
            (true, "unseen") => continue,
            (true, _) => "replayed",
            (false, _) => "re-targeted",
        };
        attempt(name(method), how, method, Some(genuine.request.clone())).await?;
    }
    Ok(())
}

/// Sends a request to machined and tells what came of it.
pub async fn attempt(aim: &str, how: &str, method: &str, request: Option<SignedRequest>) -> Result<()> {
    let status = call(method, &ApplyRequest { request }.encode_to_vec()).await?;
    tracing::info!(aim, how, code = ?status.code(), reason = status.message(), "attempt");
    Ok(())
}

fn name(method: &str) -> &'static str {
    match method {
        CONFIRM => Aim::Confirm.name(),
        RESET => Aim::Reset.name(),
        UPGRADE => Aim::Upgrade.name(),
        RETURN => Aim::Return.name(),
        CANCEL => Aim::Cancel.name(),
        _ => Aim::Apply.name(),
    }
}

/// Somebody whose key apid has.
struct Signer {
    name: &'static str,
    key: Key,
    certificate: Certificate,
}

fn signers(genuine: &SignedRequest) -> Result<[Signer; 3]> {
    let ca = Ca::create(&SubjectName::parse("hostile")?, Validity::UNLIMITED)?;
    let own = ca.issue_client(&SubjectName::parse("admin")?, Role::Admin, Validity::UNLIMITED)?;
    let admins = genuine.certificates_der.first().context("no certificate")?;
    Ok([
        Signer { name: "admin of another CA", key: own.key, certificate: own.certificate },
        Signer {
            name: "key of the node",
            key: Key::from_pem(&std::fs::read_to_string(path::APID_KEY)?)?,
            certificate: Certificate::from_pem(&std::fs::read_to_string(path::APID_CERT)?)?,
        },
        Signer {
            name: "certificate without its key",
            key: Key::generate()?,
            certificate: Certificate::from_der(admins)?,
        },
    ])
}

/// Signs for the node, epoch and generation that `like` names.
fn sign(
    key: &Key,
    certificate: &Certificate,
    method: &str,
    like: &SignedRequest,
    body: Vec<u8>,
) -> Result<SignedRequest> {
    let epoch = Epoch::from_bytes(&like.epoch).context("no epoch")?;
    let base = Base { epoch, generation: like.base_generation };
    Ok(signed::sign(key, certificate, method, &NodeId::parse(&like.node_id)?, base, body)?.into())
}
