//! `osctl ps`, `stats`, `top`, `mounts`, `netstat`: what a node does at this moment.

mod mounts;
mod netstat;
mod owner;
mod ps;
mod stats;
mod top;
mod units;

use std::future::Future;

use serde::Serialize;

pub use self::mounts::run as mounts;
pub use self::netstat::run as netstat;
pub use self::ps::run as ps;
pub use self::stats::run as stats;
pub use self::top::run as top;

use super::{Session, until_interrupted};
use crate::failure::Failure;
use crate::output::{self, Format, note};

/// A list, as every command prints one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<T> {
    /// Over which shares and rates are; nothing where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_ms: Option<u32>,
    items: Vec<T>,
    /// How many more there are.
    omitted: u32,
}

/// Says that a list is not whole.
fn warn_of_omitted(omitted: u32) {
    if omitted > 0 {
        note(&format!("warning: {omitted} more are not listed: there are too many for one answer"));
    }
}

/// Prints what is seen, once or again and again until the user has seen enough.
async fn show<T: Serialize, F: Future<Output = Result<T, Failure>>>(
    session: &Session,
    watch: bool,
    mut look: impl FnMut() -> F,
    text: impl Fn(&T) -> String,
) -> Result<(), Failure> {
    if !watch {
        return output::print(session.format(), &look().await?, text);
    }
    // The node itself takes its time for each look.
    until_interrupted(async {
        loop {
            let seen = look().await?;
            output::print_item(session.format().unwrap_or(Format::Table), &seen, |seen| {
                format!("{}{}\n", output::new_page(), text(seen))
            })?;
        }
    })
    .await
}
