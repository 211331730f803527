//! Disks and volumes: what there is, what should not be there, and how full DATA is.

use std::time::Duration;

use resource::spec::{Disk, Volume};

use crate::{
    context::Context,
    health::Status,
    storage::{self, Room},
};

/// The kernel tells nobody how a file system fills; the kubelet acts on it as often.
const INTERVAL: Duration = Duration::from_secs(10);
/// Said before the kubelet acts: by its defaults it removes images and refuses pods below 15 %. It never ends a static
/// pod.
const LOW_PERCENT: u64 = 20;

/// What is seen in one look.
struct Look {
    disks: Vec<(String, Disk)>,
    volumes: Vec<(String, Volume)>,
    clones: Vec<String>,
    room: Option<Room>,
}

/// Status, stable reason, message.
type Judgement = (Status, &'static str, String);

/// Looks again and again, for ever.
pub async fn run(context: &Context) {
    let mut data_ready = context.data_ready.clone();
    let mut mounted = false;
    loop {
        // A disk that does not answer must not hold up the other controllers.
        if let Ok(look) = tokio::task::spawn_blocking(look).await {
            publish(context, look);
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            Ok(_) = data_ready.wait_for(|ready| *ready), if !mounted => mounted = true,
        }
    }
}

fn look() -> Look {
    Look {
        disks: storage::disks(),
        volumes: storage::volumes(),
        clones: storage::clones(),
        room: storage::data_room(),
    }
}

fn publish(context: &Context, look: Look) {
    context.store.replace_all(look.disks);
    context.store.replace_owned("storage", look.volumes);
    let (status, reason, message) = judge_clones(&look.clones);
    context.health.set("disks", status, reason, message);
    let (status, reason, message) = judge_room(look.room);
    context.health.set("space", status, reason, message);
}

/// A clone is as good to the firmware and the kernel as the system disk itself.
fn judge_clones(clones: &[String]) -> Judgement {
    if clones.is_empty() {
        return (Status::Healthy, "NoClone", String::new());
    }
    let message = format!(
        "{} holds a Cairn image too; nothing on it is used or changed, but the next boot may take its root: unplug it, or erase it",
        clones.join(", ")
    );
    (Status::Unhealthy, "CloneAttached", message)
}

fn judge_room(room: Option<Room>) -> Judgement {
    let Some(room) = room else {
        return (Status::Progressing, "WaitingForData", "waiting for DATA to be mounted".into());
    };
    if room.free_percent >= LOW_PERCENT {
        return (Status::Healthy, "Enough", String::new());
    }
    let message = format!(
        "DATA has {} MiB free, {} % of its room or files; without room pods fail and none starts: remove pods or what they \
         store, or use a larger disk",
        room.free_bytes / layout::MIB,
        room.free_percent
    );
    (Status::Unhealthy, "DataLow", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_called_low_before_the_kubelet_acts() {
        let at = |free_percent| judge_room(Some(Room { free_bytes: 300 << 20, free_percent }));
        assert_eq!(at(20).1, "Enough");
        let (status, reason, message) = at(19);
        assert_eq!((status, reason), (Status::Unhealthy, "DataLow"));
        assert!(message.starts_with("DATA has 300 MiB free, 19 % of"), "{message}");
        assert_eq!(judge_room(None).0, Status::Progressing);
    }

    #[test]
    fn clones_are_named() {
        assert_eq!(judge_clones(&[]).0, Status::Healthy);
        let (status, reason, message) = judge_clones(&["/dev/vdb".into(), "/dev/sda".into()]);
        assert_eq!((status, reason), (Status::Unhealthy, "CloneAttached"));
        assert!(message.starts_with("/dev/vdb, /dev/sda holds"), "{message}");
    }
}
