//! The passphrase of the secrets bundle: from the environment, else typed by a person.

use std::env;
use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::Failure;

/// Where scripts put it.
pub const VARIABLE: &str = "OSCTL_PASSPHRASE";
/// Shorter ones are guessed whatever the key derivation costs.
const LENGTH_MIN: usize = 12;

/// The passphrase of an existing file.
pub fn ask(path: &Path) -> Result<Zeroizing<String>, Failure> {
    match given()? {
        Some(passphrase) => Ok(passphrase),
        None => prompt(&format!("Passphrase of {}: ", path.display())),
    }
}

/// A passphrase for a new file; typed twice, because a mistake cannot be undone.
pub fn choose() -> Result<Zeroizing<String>, Failure> {
    let chosen = match given()? {
        Some(passphrase) => passphrase,
        None => {
            let first = prompt("New passphrase: ")?;
            if *prompt("Once more: ")? != *first {
                return Err(Failure::usage("the passphrases differ"));
            }
            first
        }
    };
    check(&chosen)?;
    Ok(chosen)
}

fn check(passphrase: &str) -> Result<(), Failure> {
    if passphrase.chars().count() < LENGTH_MIN {
        return Err(Failure::usage(format!("the passphrase has fewer than {LENGTH_MIN} characters"))
            .hint("a few random words are easier to keep than random letters"));
    }
    Ok(())
}

/// The passphrase that the environment holds.
pub fn given() -> Result<Option<Zeroizing<String>>, Failure> {
    match env::var(VARIABLE) {
        Ok(passphrase) if !passphrase.is_empty() => Ok(Some(Zeroizing::new(passphrase))),
        Ok(_) | Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(Failure::usage(format!("{VARIABLE} is not UTF-8"))),
    }
}

fn prompt(text: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(text).map(Zeroizing::new).map_err(|error| {
        Failure::error("cannot ask for the passphrase")
            .why(error)
            .hint(format!("without a terminal, give it in the environment variable {VARIABLE}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_passphrases_are_refused() {
        assert!(check("correct horse").is_ok());
        let failure = check("hunter2").unwrap_err().render();
        assert!(failure.contains("12 characters") && !failure.contains("hunter2"), "{failure}");
    }
}
