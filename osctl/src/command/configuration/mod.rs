//! The machine configuration of a node: show, check, change, confirm, take back, reset.

mod change;
mod edit;
mod first;
mod follow;
mod reset;
mod show;

use std::io::Read as _;
use std::path::Path;

use pki::signed::Base;
use proto::config::v1::ListGenerationsResponse;

use super::sign;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{file, output};

pub use change::{apply, patch, rollback};
pub use edit::edit;
pub use follow::confirm;
pub use reset::reset;
pub use show::{diff, show, validate};

/// Longest configuration that is read; the node's limit is lower and it says so itself.
const TEXT_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A file's text; "-" is standard input.
fn read(path: &Path) -> Result<String, Failure> {
    let is_stdin = path == Path::new("-");
    if is_stdin && output::is_one_of_several() {
        return Err(Failure::usage("several nodes cannot share standard input: give a file"));
    }
    let text = if is_stdin {
        let mut text = String::new();
        std::io::stdin().lock().take(TEXT_MAX_BYTES).read_to_string(&mut text).map(|_| text)
    } else {
        file::read(path)
    };
    text.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, format!("{} does not exist", path.display()))
        }
        _ => Failure::error(format!("cannot read {}", path.display())).why(error),
    })
}

/// What a request to a node is signed on top of.
fn base(listed: &ListGenerationsResponse) -> Result<Base, Failure> {
    sign::base(&listed.epoch, listed.base_generation)
}
