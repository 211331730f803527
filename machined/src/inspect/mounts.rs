//! Mounts.

use layout::path::{DATA, STATE};
use nix::sys::statvfs::statvfs;
use procview::MountEntry;
use proto::inspect::v1 as api;

use super::{Roots, omitted, roots::read};

/// Mounts of one answer: with some 400 bytes each, options cut, they fit into a message.
const MOUNTS_MAX: usize = 2048;
/// Options of one mount; overlays name each of their layers in one.
const OPTIONS_MAX_BYTES: usize = 1024;

/// All mounts.
pub fn mounts(roots: &Roots) -> api::ListMountsResponse {
    let bytes = read(&roots.proc.join("self/mountinfo")).unwrap_or_default();
    let mounts = MountEntry::parse_all(&bytes);
    let omitted = omitted(mounts.len(), MOUNTS_MAX);
    api::ListMountsResponse { mounts: mounts.into_iter().take(MOUNTS_MAX).map(mount).collect(), omitted }
}

fn mount(entry: MountEntry) -> api::Mount {
    let usage = if entry.may_not_answer() { None } else { statvfs(entry.target.as_str()).ok() };
    // What has no blocks, such as /proc, has no size.
    let sized = usage.filter(|usage| usage.blocks() > 0);
    let bytes = |blocks: u64| sized.map(|usage| blocks.saturating_mul(usage.fragment_size()));
    let with_inodes = usage.filter(|usage| usage.files() > 0);
    let name = match entry.target.as_str() {
        STATE => "STATE",
        DATA => "DATA",
        _ => "",
    };
    api::Mount {
        size_bytes: sized.and_then(|usage| bytes(usage.blocks())),
        used_bytes: sized.and_then(|usage| bytes(usage.blocks().saturating_sub(usage.blocks_free()))),
        available_bytes: sized.and_then(|usage| bytes(usage.blocks_available())),
        inodes: with_inodes.map(|usage| usage.files()),
        inodes_used: with_inodes.map(|usage| usage.files().saturating_sub(usage.files_free())),
        options: shortened(entry.options),
        source: entry.source,
        target: entry.target,
        root: entry.root,
        r#type: entry.kind,
        name: name.to_owned(),
    }
}

/// As many options as fit.
fn shortened(options: Vec<String>) -> Vec<String> {
    let mut left_bytes = OPTIONS_MAX_BYTES;
    let fits = |option: &String| {
        let fits = option.len() <= left_bytes;
        left_bytes = left_bytes.saturating_sub(if fits { option.len() } else { 0 });
        fits
    };
    options.into_iter().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_of_an_overlay_do_not_fill_the_answer() {
        let layers = format!("lowerdir={}", "/a".repeat(4000));
        let options = ["rw".to_owned(), layers, "nosuid".to_owned()];
        assert_eq!(shortened(options.into()), ["rw", "nosuid"]);
    }
}
