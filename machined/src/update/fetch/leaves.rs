//! The leaf level of an image's hash tree, believed once it leads to the signed root hash.

use std::sync::Arc;

use update::Image;
use verity::HashTree;

use super::{FetchError, Meter};
use crate::{
    error_chain::error_chain,
    update::{
        mirrors::Mirrors,
        source::{Part, ReleasePath},
    },
};

/// Fetches the leaves of an image from the first mirror that has the right ones.
pub async fn fetch(
    mirrors: &Mirrors,
    folder: &str,
    image: &Image,
    meter: &Meter,
) -> Result<Arc<HashTree>, FetchError> {
    let path = ReleasePath::new(&format!("{folder}/{}", image.leaves)).map_err(FetchError::Path)?;
    let mut first = None;
    for mirror in mirrors.order() {
        match from(mirrors, mirror, &path, image).await {
            Ok(tree) => {
                meter.received(verity::leaves_bytes(image.data_blocks));
                return Ok(Arc::new(tree));
            }
            Err(error) => {
                mirrors.blame(mirror, error.is_wrong_content(), error_chain(&error));
                first = more_hopeful(first, error);
            }
        }
    }
    Err(first.unwrap_or(FetchError::NoMirror))
}

async fn from(
    mirrors: &Mirrors,
    mirror: usize,
    path: &ReleasePath,
    image: &Image,
) -> Result<HashTree, FetchError> {
    let name = || (mirrors.name(mirror), path.to_string());
    let unavailable = |source| {
        let (mirror, path) = name();
        FetchError::Unavailable { mirror, path, source }
    };
    let part = Part::Whole { max_bytes: verity::leaves_bytes(image.data_blocks) };
    let body = mirrors.open(mirror, path, part).await.map_err(unavailable)?;
    let file = body.collect().await.map_err(unavailable)?;
    let tree = HashTree::from_leaves(&file, image.data_blocks, &image.salt).map_err(|source| {
        let (mirror, path) = name();
        FetchError::Leaves { mirror, path, source }
    })?;
    if tree.root == image.root_hash {
        Ok(tree)
    } else {
        let (mirror, path) = name();
        Err(FetchError::WrongLeaves { mirror, path })
    }
}

/// Of two errors the one that leaves more hope: what may pass is not hidden by what will not.
pub fn more_hopeful(first: Option<FetchError>, second: FetchError) -> Option<FetchError> {
    let is_final = |error: &FetchError| error.failure(false) == update::Failure::Final;
    match first {
        Some(first) if !is_final(&first) || is_final(&second) => Some(first),
        Some(_) | None => Some(second),
    }
}
