//! Who may configure the node: whoever knows the pairing code, or an admin of the medium's CA.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use pairing::{Code, Exhausted, KeyHash, Limiter, RANDOM_BYTES, proof};
use pki::{
    Bundle, NodeId, Revocations, Role,
    signed::{self, Base, Expected, SignedRefusal, SignedRequest, Trusted},
};
use proto::{config::v1 as api, maintenance::v1::ConfigureRequest};
use serde::{Deserialize, Serialize};

const CONFIGURE: &str = "/cairn.maintenance.v1.MaintenanceService/Configure";

/// Why there is no pairing code.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// No randomness.
    #[error("cannot make a pairing code")]
    Random,
    /// What an earlier life of machined left cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// What an earlier life of machined left is of no use.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// The tries cannot be kept.
    #[error("cannot keep {}", path.display())]
    Keep {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Why somebody is turned away.
#[derive(Debug, thiserror::Error)]
pub enum Turned {
    /// No code is of use any more.
    #[error(transparent)]
    Exhausted(Exhausted),
    /// Another code, or another node or text than the proof is for.
    #[error("the pairing code is wrong; {tries_left} tries are left")]
    WrongCode {
        /// How many are left.
        tries_left: u32,
    },
    /// Not of the form that the protocol asks for.
    #[error("a nonce has {} bytes", proof::NONCE_BYTES)]
    Nonce,
    /// The medium has a CA.
    #[error("this node takes its configuration from clients of the CA on its medium; it has no pairing code")]
    NoCode,
    /// The medium has a CA, and the request no signature.
    #[error("the configuration is not signed")]
    Unsigned,
    /// The signature is not an admin's of the medium's CA.
    #[error("the configuration is not signed by an admin of the CA on this node's medium")]
    Signature(#[source] SignedRefusal),
    /// What is signed is no text.
    #[error("the signed configuration is not UTF-8")]
    Text,
    /// Tries cannot be counted, so none is made.
    #[error(transparent)]
    Door(DoorError),
}

/// Who may configure the node.
pub enum Door {
    /// Whoever knows the code.
    Code(Pairing),
    /// Admins of the medium's CA.
    Clients(Bundle),
}

/// A configuration that somebody who may do so handed over.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// YAML.
    pub text: String,
    /// Name in the certificate; empty for whoever knew the code.
    pub author: String,
}

impl Door {
    /// The CA whose clients alone may come.
    pub fn medium(&self) -> Option<&Bundle> {
        match self {
            Self::Code(_) => None,
            Self::Clients(medium) => Some(medium),
        }
    }

    /// The code, when it is what counts.
    pub fn pairing(&self) -> Result<&Pairing, Turned> {
        match self {
            Self::Code(pairing) => Ok(pairing),
            Self::Clients(_) => Err(Turned::NoCode),
        }
    }

    /// Judges who hands a configuration over. The signature counts and not the connection: apid is not believed.
    pub fn judge(
        &self,
        request: ConfigureRequest,
        node_id: &NodeId,
        floor_s: u64,
        now_ms: u64,
    ) -> Result<Given, Turned> {
        match self {
            Self::Code(pairing) => {
                pairing.judge(&request.proof, &request.text, now_ms)?;
                Ok(Given { text: request.text, author: String::new() })
            }
            Self::Clients(medium) => {
                verify(request.signed.ok_or(Turned::Unsigned)?, medium, node_id, floor_s)
            }
        }
    }
}

fn verify(
    signed: api::SignedRequest,
    medium: &Bundle,
    node_id: &NodeId,
    floor_s: u64,
) -> Result<Given, Turned> {
    let request = SignedRequest::from(signed);
    let expected = Expected { method: CONFIGURE, node_id, base: Base::FIRST, role: Role::Admin };
    let trusted = Trusted { cas: medium, revoked: &Revocations::default(), floor_s };
    let signer = signed::verify(&request, &expected, &trusted).map_err(Turned::Signature)?;
    let text = String::from_utf8(request.body).map_err(|_| Turned::Text)?;
    Ok(Given { text, author: signer.subject.to_string() })
}

/// The pairing code and its tries. They are kept for as long as the node is not rebooted: whoever can make machined
/// start again gains no tries.
pub struct Pairing {
    path: PathBuf,
    key: KeyHash,
    code: Code,
    limiter: Mutex<Limiter>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    code: String,
    limiter: Limiter,
}

impl Pairing {
    /// Makes a code, or takes that of an earlier life of machined. `public_key_der` is the node's.
    pub fn open(path: &Path, public_key_der: &[u8]) -> Result<Self, DoorError> {
        let (code, limiter) = match fs::read(path) {
            Ok(content) => read(&content).ok_or_else(|| DoorError::Damaged { path: path.to_owned() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (Code::from_random(random()?), Limiter::default())
            }
            Err(source) => return Err(DoorError::Read { path: path.to_owned(), source }),
        };
        let key = KeyHash::of(public_key_der);
        let pairing = Self { path: path.to_owned(), key, code, limiter: Mutex::new(limiter) };
        pairing.keep(&pairing.limiter.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(pairing)
    }

    /// The code, for the console.
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// Tries that are left, and seconds for which they are of use.
    pub fn left(&self, now_ms: u64) -> (u32, u32) {
        let limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let valid_s = u32::try_from(limiter.valid_ms(now_ms).div_ceil(1000)).unwrap_or(u32::MAX);
        (limiter.tries_left(now_ms), valid_s)
    }

    /// What shows a client that this node knows the code.
    pub fn prove(&self, nonce: &[u8], now_ms: u64) -> Result<Vec<u8>, Turned> {
        let nonce = nonce.try_into().map_err(|_| Turned::Nonce)?;
        self.count(|limiter| limiter.prove(now_ms))?;
        Ok(proof::node(&self.code, &self.key, nonce))
    }

    fn judge(&self, given: &[u8], text: &str, now_ms: u64) -> Result<(), Turned> {
        self.count(|limiter| limiter.judge(now_ms))?;
        if !proof::is_of_client(given, &self.code, &self.key, text) {
            return Err(Turned::WrongCode { tries_left: self.left(now_ms).0 });
        }
        self.count(|limiter| {
            limiter.was_right();
            Ok(())
        })
    }

    /// Counts, and keeps the count before anything is answered.
    fn count(&self, step: impl FnOnce(&mut Limiter) -> Result<(), Exhausted>) -> Result<(), Turned> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = limiter.clone();
        step(&mut next).map_err(Turned::Exhausted)?;
        self.keep(&next).map_err(Turned::Door)?;
        *limiter = next;
        Ok(())
    }

    fn keep(&self, limiter: &Limiter) -> Result<(), DoorError> {
        let kept = Kept { code: self.code.to_text().to_string(), limiter: limiter.clone() };
        keep(&self.path, &kept).map_err(|source| DoorError::Keep { path: self.path.clone(), source })
    }
}

fn random() -> Result<[u8; RANDOM_BYTES], DoorError> {
    let mut random = [0; RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| DoorError::Random)?;
    Ok(random)
}

fn read(content: &[u8]) -> Option<(Code, Limiter)> {
    let Kept { code, limiter } = serde_json::from_slice(content).ok()?;
    Some((Code::parse(&code).ok()?, limiter))
}

/// In place at once, for root's eyes; /run needs no flush.
fn keep(path: &Path, kept: &Kept) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use pki::{Ca, Key, SubjectName, Validity};

    use super::*;

    const KEY: &[u8] = b"public key of the node";
    const TEXT: &str = "kind: Api";

    fn pairing(folder: &Path) -> Pairing {
        Pairing::open(&folder.join("pairing.json"), KEY).unwrap()
    }

    fn request(code: &Code, text: &str) -> ConfigureRequest {
        let proof = proof::client(code, &KeyHash::of(KEY), text);
        ConfigureRequest { text: text.into(), proof, signed: None }
    }

    #[test]
    fn whoever_knows_the_code_gets_in_and_nobody_guesses_it() {
        let folder = tempfile::tempdir().unwrap();
        let pairing = pairing(folder.path());
        let (code, wrong) = (pairing.code().clone(), Code::from_random([0; RANDOM_BYTES]));
        let door = Door::Code(pairing);
        let node_id = NodeId::parse("n1").unwrap();
        let judge = |request| door.judge(request, &node_id, 0, 0);
        let given = judge(request(&code, TEXT)).unwrap();
        assert_eq!((given.text.as_str(), given.author.as_str()), (TEXT, ""));
        let edited = ConfigureRequest { text: "kind: Swap".into(), ..request(&code, TEXT) };
        assert!(matches!(judge(edited), Err(Turned::WrongCode { tries_left: 4 })));
        for left in (0..4).rev() {
            let turned = judge(request(&wrong, TEXT));
            assert!(matches!(turned, Err(Turned::WrongCode { tries_left }) if tries_left == left));
        }
        assert!(matches!(judge(request(&code, TEXT)), Err(Turned::Exhausted(Exhausted::Spent))));
        let nonce = [0; proof::NONCE_BYTES];
        assert!(matches!(door.pairing().unwrap().prove(&nonce, 0), Err(Turned::Exhausted(Exhausted::Spent))));
    }

    #[test]
    fn code_and_tries_outlive_machined() {
        let folder = tempfile::tempdir().unwrap();
        let first = pairing(folder.path());
        let nonce = [7; proof::NONCE_BYTES];
        let answer = first.prove(&nonce, 0).unwrap();
        assert!(proof::is_of_node(&answer, first.code(), &KeyHash::of(KEY), &nonce));
        let second = pairing(folder.path());
        assert!(second.code() == first.code());
        assert_eq!((first.left(0), second.left(0)), ((4, 1800), (4, 1800)));
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&first.path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&first.path, "{}").unwrap();
        assert!(matches!(Pairing::open(&first.path, KEY), Err(DoorError::Damaged { .. })));
    }

    #[test]
    fn a_nonce_of_another_length_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let pairing = pairing(folder.path());
        assert!(matches!(pairing.prove(&[0; 31], 0), Err(Turned::Nonce)));
        assert_eq!(pairing.left(0).0, 5);
    }

    #[test]
    fn with_a_ca_on_the_medium_its_admins_signature_counts() {
        let ca = || Ca::create(&SubjectName::parse("ca").unwrap(), Validity::UNLIMITED).unwrap();
        let (medium, other, node_id) = (ca(), ca(), NodeId::parse("n1").unwrap());
        let door = Door::Clients(medium.bundle().clone());
        let judge = |request| door.judge(request, &node_id, 0, 0);
        let signed = |ca: &Ca, role, node: &str| {
            let client =
                ca.issue_client(&SubjectName::parse("eve").unwrap(), role, Validity::UNLIMITED).unwrap();
            let key = Key::from_pem(&client.key.to_pem()).unwrap();
            let node = NodeId::parse(node).unwrap();
            let signed =
                signed::sign(&key, &client.certificate, CONFIGURE, &node, Base::FIRST, TEXT.into()).unwrap();
            ConfigureRequest { signed: Some(signed.into()), ..ConfigureRequest::default() }
        };
        let given = judge(signed(&medium, Role::Admin, "n1")).unwrap();
        assert_eq!((given.text.as_str(), given.author.as_str()), (TEXT, "eve"));
        let mut edited = signed(&medium, Role::Admin, "n1");
        edited.signed.as_mut().unwrap().body.push(b' ');
        for refused in [
            edited,
            signed(&medium, Role::Operator, "n1"),
            signed(&medium, Role::Admin, "n2"),
            signed(&other, Role::Admin, "n1"),
        ] {
            assert!(matches!(judge(refused), Err(Turned::Signature(_))));
        }
        let unsigned = ConfigureRequest { text: TEXT.into(), ..ConfigureRequest::default() };
        assert!(matches!(judge(unsigned), Err(Turned::Unsigned)));
        assert!(matches!(door.pairing(), Err(Turned::NoCode)));
    }
}
