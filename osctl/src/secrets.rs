//! The secrets bundle of a fleet: its CA. Whoever has it owns every node of the fleet.

use std::io;
use std::path::Path;

use pki::{Ca, Certificate, Key, SubjectName, Validity};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::envelope::{self, Envelope, EnvelopeError};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::pem::Pem;
use crate::{file, passphrase};

/// Version of the file's format.
const VERSION: u32 = 1;
/// Twenty years: longer than the hardware lasts; nodes judge a CA by being configured, not by its dates.
const CA_VALIDITY_S: u64 = 20 * 365 * 24 * 3600;
const HEADING: &str = "\
# Secrets of a Cairn fleet. Whoever has this file owns every node of the fleet; without it no node can be
# adopted and no client certificate made. Keep it offline and keep a copy.
";

/// The file. Every field is optional, so that all that is missing can be told at once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bundle {
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<Authority>,
    /// A bundle in place of everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted: Option<Envelope>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Authority {
    certificate: Option<Pem>,
    key: Option<Pem>,
}

/// Makes the secrets of a new fleet, as the text of their file.
pub fn generate(now_s: u64) -> Result<Zeroizing<String>, Failure> {
    let cannot = || Failure::error("cannot make a CA");
    let name = SubjectName::parse("Cairn CA").map_err(|error| cannot().why(error))?;
    let ca = Ca::create(&name, Validity::starting(now_s, CA_VALIDITY_S))
        .map_err(|error| cannot().why(chain(&error)))?;
    let bundle = Bundle {
        version: Some(VERSION),
        ca: Some(Authority {
            certificate: Some(Pem::new(ca.certificate().to_pem())),
            key: Some(Pem::new(ca.key().to_pem())),
        }),
        encrypted: None,
    };
    Ok(Zeroizing::new(format!("{HEADING}{}", *Zeroizing::new(crate::output::yaml(&bundle)?))))
}

/// The text of the file that holds `bundle` encrypted.
pub fn encrypt(bundle: &str, passphrase: &str) -> Result<Zeroizing<String>, Failure> {
    let envelope = Envelope::seal(bundle.as_bytes(), passphrase, envelope::LOG_N)
        .map_err(|error| Failure::error("cannot encrypt the secrets bundle").why(error))?;
    let bundle = Bundle { version: Some(VERSION), ca: None, encrypted: Some(envelope) };
    Ok(Zeroizing::new(format!("{HEADING}{}", crate::output::yaml(&bundle)?)))
}

/// Reads the CA from a bundle; asks for the passphrase of an encrypted one.
pub fn load(path: &Path) -> Result<Ca, Failure> {
    let text = Zeroizing::new(file::read(path).map_err(|error| unreadable(path, &error))?);
    match parse(&text).map_err(|why| damaged(path, &why))? {
        Content::Ca(ca) => Ok(*ca),
        Content::Encrypted(envelope) => open(path, &envelope, &passphrase::ask(path)?),
    }
}

/// Reads the CA from a bundle without asking anybody; nothing when it is elsewhere, locked or damaged.
pub fn at_hand(path: &Path) -> Option<Ca> {
    let text = Zeroizing::new(file::read(path).ok()?);
    match parse(&text).ok()? {
        Content::Ca(ca) => Some(*ca),
        Content::Encrypted(envelope) => open(path, &envelope, &passphrase::given().ok()??).ok(),
    }
}

fn open(path: &Path, envelope: &Envelope, passphrase: &str) -> Result<Ca, Failure> {
    let content = envelope.open(passphrase).map_err(|error| match error {
        EnvelopeError::Passphrase => {
            Failure::new(Exit::Denied, format!("cannot decrypt the secrets bundle {}", path.display()))
                .why(error)
                .hint("the file is whole; nobody can recover a lost passphrase")
        }
        EnvelopeError::Library | EnvelopeError::Unknown | EnvelopeError::Damaged => {
            damaged(path, &error.to_string())
        }
    })?;
    let text = std::str::from_utf8(&content).map_err(|_| damaged(path, "what was encrypted is no text"))?;
    match parse(text).map_err(|why| damaged(path, &why))? {
        Content::Ca(ca) => Ok(*ca),
        Content::Encrypted(_) => Err(damaged(path, "it is encrypted twice")),
    }
}

fn damaged(path: &Path, why: &str) -> Failure {
    Failure::error(format!("the secrets bundle {} is damaged", path.display())).why(why).hint(
        "use an intact copy; a new bundle from `osctl gen secrets` is a new fleet and opens no existing node",
    )
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::error(format!("cannot read the secrets bundle {}", path.display())).why(error);
    match error.kind() {
        io::ErrorKind::NotFound => failure.hint("`osctl gen secrets` makes one for a new fleet"),
        _ => failure,
    }
}

/// What a file holds.
enum Content {
    Ca(Box<Ca>),
    Encrypted(Envelope),
}

fn parse(text: &str) -> Result<Content, String> {
    if text.trim().is_empty() {
        return Err("the file is empty".into());
    }
    let bundle: Bundle = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let mut wrong = Vec::new();
    match bundle.version {
        None => wrong.push("version is missing".to_owned()),
        Some(VERSION) => {}
        Some(other) => wrong.push(format!("version is {other}, this osctl knows {VERSION}")),
    }
    if let (Some(envelope), None, []) = (bundle.encrypted, &bundle.ca, wrong.as_slice()) {
        return Ok(Content::Encrypted(envelope));
    }
    let Authority { certificate, key } = bundle.ca.unwrap_or(Authority { certificate: None, key: None });
    let certificate = part("ca.certificate", certificate, &mut wrong, |pem| {
        Certificate::from_pem(pem).map_err(|e| chain(&e))
    });
    let key = part("ca.key", key, &mut wrong, |pem| Key::from_pem(pem).map_err(|e| chain(&e)));
    match (certificate, key) {
        (Some(certificate), Some(key)) if wrong.is_empty() => {
            let ca = Ca::from_pem(certificate.as_str(), key.as_str()).map_err(|error| chain(&error))?;
            Ok(Content::Ca(Box::new(ca)))
        }
        _ => Err(wrong.join("; ")),
    }
}

/// Checks one part for itself, so that a damaged one is named and not only found not to fit the other.
fn part<T>(
    name: &str,
    pem: Option<Pem>,
    wrong: &mut Vec<String>,
    check: impl FnOnce(&str) -> Result<T, String>,
) -> Option<Pem> {
    let Some(pem) = pem else {
        wrong.push(format!("{name} is missing"));
        return None;
    };
    if let Some(damage) = pem.damage() {
        wrong.push(format!("{name} {damage}"));
    } else if let Err(error) = check(pem.as_str()) {
        wrong.push(format!("{name}: {error}"));
    }
    Some(pem)
}

/// Writes a new bundle. An existing one is only overwritten on demand: it cannot be had back.
pub fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let written = if force { file::replace(path, text) } else { file::create(path, text) };
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(
            Exit::Error,
            format!("{} exists and is left as it is", path.display()),
        )
        .hint(
            "without its bundle a fleet is lost; choose another file with -o, or overwrite it with --force",
        ),
        _ => Failure::error(format!("cannot write {}", path.display())).why(error),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_S: u64 = 1_790_000_000;
    const PASSPHRASE: &str = "correct horse battery";

    fn parse(text: &str) -> Result<Ca, String> {
        match super::parse(text)? {
            Content::Ca(ca) => Ok(*ca),
            Content::Encrypted(_) => panic!("encrypted"),
        }
    }

    fn open(text: &str, passphrase: &str) -> Result<Ca, String> {
        match super::parse(text)? {
            Content::Ca(_) => panic!("not encrypted"),
            Content::Encrypted(envelope) => {
                super::open(Path::new("s"), &envelope, passphrase).map_err(|failure| failure.render())
            }
        }
    }

    /// As [`encrypt`] does, but cheap to open.
    fn encrypted(bundle: &str) -> String {
        let envelope = Envelope::seal(bundle.as_bytes(), PASSPHRASE, 4).unwrap();
        crate::output::yaml(&Bundle { version: Some(VERSION), ca: None, encrypted: Some(envelope) }).unwrap()
    }

    #[test]
    fn what_is_generated_loads() {
        let text = generate(NOW_S).unwrap();
        let ca = parse(&text).unwrap();
        assert_eq!(ca.certificate().validity().not_before_s, NOW_S);
        assert!(text.contains("version: 1\n") && text.starts_with("# Secrets of a Cairn fleet."));
    }

    #[test]
    fn missing_parts_are_all_named() {
        assert_eq!(parse(" \n").unwrap_err(), "the file is empty");
        assert_eq!(parse("version: 1\n").unwrap_err(), "ca.certificate is missing; ca.key is missing");
        assert_eq!(
            parse("version: 2\nca:\n  certificate: ''\n").unwrap_err(),
            "version is 2, this osctl knows 1; ca.certificate is empty; ca.key is missing"
        );
        assert!(parse("ca: {certificates: x}").unwrap_err().contains("certificates"));
    }

    #[test]
    fn parts_of_two_fleets_do_not_mix() {
        let (one, other) = (generate(NOW_S).unwrap(), generate(NOW_S).unwrap());
        let (head, _) = one.split_once("  key: ").unwrap();
        let (_, tail) = other.split_once("  key: ").unwrap();
        let error = parse(&format!("{head}  key: {tail}")).unwrap_err();
        assert_eq!(error, "the CA's key and certificate do not belong together");
    }

    #[test]
    fn an_encrypted_bundle_opens_with_its_passphrase_only() {
        let bundle = generate(NOW_S).unwrap();
        let text = encrypt(&bundle, PASSPHRASE).unwrap();
        assert!(!text.contains("PRIVATE") && !text.contains("ca:"), "{}", text.as_str());
        let opened = open(&text, PASSPHRASE).unwrap();
        assert_eq!(opened.key().to_pem(), parse(&bundle).unwrap().key().to_pem());
        let error = open(&text, "correct horse batterx").unwrap_err();
        assert!(error.contains("the passphrase is wrong"), "{error}");
        let twice = encrypted(&encrypted(&bundle));
        assert!(open(&twice, PASSPHRASE).unwrap_err().contains("encrypted twice"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = generate(NOW_S).unwrap();
        let bundle: Bundle = serde_saphyr::from_str(&text).unwrap();
        let shown = format!("{bundle:?} {:?}", parse(&text).unwrap());
        let secret = text.lines().skip_while(|line| !line.contains("PRIVATE KEY")).nth(1).unwrap().trim();
        assert!(!shown.contains("PRIVATE") && !shown.contains(secret), "{shown}");
    }

    #[test]
    fn an_existing_bundle_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.yaml");
        write(&path, "one", false).unwrap();
        let failure = write(&path, "two", false).unwrap_err();
        assert!(failure.render().contains("--force"), "{}", failure.render());
        assert_eq!(file::read(&path).unwrap(), "one");
        write(&path, "two", true).unwrap();
        assert_eq!(file::read(&path).unwrap(), "two");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_truncated_bundle_never_loads(cut in 0.0..1.0f64) {
            let text = generate(NOW_S).unwrap();
            // The last line feed may be missing: nothing is lost then.
            let length = (cut * (text.trim_end().len() - 1) as f64) as usize;
            let error = parse(&text[..length]).unwrap_err();
            prop_assert!(!error.is_empty());
        }

        #[test]
        fn a_truncated_encrypted_bundle_is_told_from_a_wrong_passphrase(cut in 0.0..1.0f64) {
            let text = encrypted(&generate(NOW_S).unwrap());
            let length = (cut * (text.trim_end().len() - 1) as f64) as usize;
            let error = open(&text[..length], PASSPHRASE).unwrap_err();
            prop_assert!(!error.contains("passphrase is wrong"), "{}", error);
        }
    }
}
