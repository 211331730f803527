//! nft(8), which speaks to the kernel: a script is one transaction, all of it or nothing.

use std::{io, process::Stdio, time::Duration};

use ::firewall::{Table, TableError};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::timeout,
};

const PROGRAM: &str = "nft";
/// A node's processor is slow and may be busy; three runs are to end before a change counts as not taken up.
const PATIENCE: Duration = Duration::from_secs(8);
/// A listing of the largest table that a configuration can ask for, several times over.
const OUTPUT_MAX_BYTES: u64 = 4 << 20;
/// Of what nft says; it repeats the script behind it.
const SAID_MAX_BYTES: u64 = 512;

/// What nft does not do.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// It does not run.
    #[error("cannot run {PROGRAM}")]
    Run(#[source] io::Error),
    /// It runs and runs.
    #[error("{PROGRAM} did not end within {} s", PATIENCE.as_secs())]
    Timeout,
    /// It fails.
    #[error("{PROGRAM} fails ({status}): {said}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its words.
        said: String,
    },
    /// It lists something else.
    #[error("cannot read the table")]
    Listing(#[source] TableError),
}

/// Carries a script out, as one transaction.
pub async fn apply(script: &str) -> Result<(), NftError> {
    run(&["-f", "-"], script).await.map(drop)
}

/// The table as the kernel has it. Others are not looked at: they may hold what this nft does not know.
pub async fn list() -> Result<Table, NftError> {
    let listing = run(&["-j", "list", "table", "inet", "cairn"], "").await?;
    Table::read(&listing).map_err(NftError::Listing)
}

async fn run(arguments: &[&str], input: &str) -> Result<Vec<u8>, NftError> {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // It ends with the time that it has.
    let mut child = command.kill_on_drop(true).spawn().map_err(NftError::Run)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // Who ends before he has read all says why.
            stdin.write_all(input.as_bytes()).await.ok();
        }
    };
    let ended = timeout(PATIENCE, async {
        let (output, said, ()) =
            tokio::join!(read(stdout, OUTPUT_MAX_BYTES), read(stderr, SAID_MAX_BYTES), write);
        Ok::<_, io::Error>((child.wait().await?, output?, said?))
    });
    let (status, output, said) = ended.await.map_err(|_| NftError::Timeout)?.map_err(NftError::Run)?;
    if status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&said).lines().map(str::trim).collect::<Vec<_>>().join(" ");
    Err(NftError::Failed { status, said })
}

/// All that comes, of which so much is kept: nobody waits for somebody who does not read on.
async fn read(from: Option<impl AsyncRead + Unpin>, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(max_bytes).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}
