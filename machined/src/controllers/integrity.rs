//! Damage that the kernel reports: verity's corrupted blocks and I/O errors, published and held against health.

use std::collections::BTreeMap;

use resource::spec::Corruption;

use crate::{context::Context, health::Status, logs::kernel::Kmsg};

/// Damaged places that are published; a dying disk reports thousands.
const PLACES_MAX: usize = 64;

/// Follows the kernel's messages for ever.
pub async fn run(context: &Context) {
    context.health.set("integrity", Status::Healthy, "NoDamageSeen", "");
    let mut kmsg = match Kmsg::open().await {
        Ok(kmsg) => kmsg,
        Err(error) => {
            tracing::error!(%error, "kernel messages cannot be read");
            return;
        }
    };
    let mut places = BTreeMap::new();
    loop {
        let record = match kmsg.next().await {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, "kernel messages cannot be read");
                return;
            }
        };
        let Some((id, damage)) = recognise(&record.message) else { continue };
        let message = format!(
            "{}: reads there fail, nothing damaged is served; reinstall or replace the disk",
            damage.message
        );
        context.health.set("integrity", Status::Unhealthy, "DamageReported", message);
        if let Some(events) = count(&mut places, &id) {
            context.store.put(&id, &Corruption { events, ..damage });
        }
    }
}

/// Events at this place so far; `None` when it is one place too many.
fn count(places: &mut BTreeMap<String, u64>, id: &str) -> Option<u64> {
    if !places.contains_key(id) && places.len() >= PLACES_MAX {
        return None;
    }
    let events = places.entry(id.to_owned()).or_default();
    *events += 1;
    Some(*events)
}

/// `device-mapper: verity: 254:2: data block 7 is corrupted`, `I/O error, dev vda, sector 9 op …`,
/// `EXT4-fs error (device vda7): …`: the id of the resource, and what happened.
fn recognise(message: &str) -> Option<(String, Corruption)> {
    let (device, source, place) = if let Some(rest) = message.strip_prefix("device-mapper: verity: ") {
        let (device, what) = rest.split_once(": ")?;
        (device, "verity", what.strip_suffix(" is corrupted")?.replace(' ', "-"))
    } else if let Some((_, rest)) = message.split_once("I/O error, dev ") {
        let (device, what) = rest.split_once(", ")?;
        (device, "io", what.split(" op ").next()?.replace(' ', "-"))
    } else {
        let (device, _) = message.strip_prefix("EXT4-fs error (device ")?.split_once(')')?;
        (device, "io", "ext4".to_owned())
    };
    let last_block = place.rsplit('-').next().and_then(|number| number.parse().ok());
    let corruption = Corruption {
        device: device.to_owned(),
        source: source.to_owned(),
        events: 1,
        last_block,
        message: message.to_owned(),
    };
    Some((format!("{source}-{device}-{place}").replace(':', "-"), corruption))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_recognised() {
        for (line, id) in [
            ("device-mapper: verity: 254:4: data block 1234 is corrupted", "verity-254-4-data-block-1234"),
            ("device-mapper: verity: 254:4: metadata block 5 is corrupted", "verity-254-4-metadata-block-5"),
            ("I/O error, dev vda, sector 77 op 0x0:(READ) flags 0x0", "io-vda-sector-77"),
            ("EXT4-fs error (device vda7): ext4_lookup:1855: x", "io-vda7-ext4"),
        ] {
            assert_eq!(recognise(line).unwrap().0, id);
        }
        assert_eq!(recognise("device-mapper: verity: sha256 using implementation sha256-ni"), None);
        assert_eq!(recognise("hello"), None);
    }

    #[test]
    fn a_place_that_is_read_again_does_not_crowd_out_others() {
        let mut places = BTreeMap::new();
        for expected in 1..=PLACES_MAX as u64 + 1 {
            assert_eq!(count(&mut places, "first"), Some(expected));
        }
        for place in 1..PLACES_MAX {
            assert_eq!(count(&mut places, &place.to_string()), Some(1));
        }
        assert_eq!(count(&mut places, "one too many"), None);
        assert_eq!(count(&mut places, "1"), Some(2));
    }
}
