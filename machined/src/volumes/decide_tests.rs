use config::DiskSelector;
use proptest::prelude::*;

use super::*;

const SIZE_BYTES: u64 = 1 << 30;

fn id(byte: u8) -> VolumeId {
    VolumeId::from_random([byte; 16])
}

fn volume(serial: &str) -> Volume {
    let disk = DiskSelector { serial: Some(serial.to_owned()), ..DiskSelector::default() };
    Volume { name: "data".into(), disk }
}

fn seen(name: &str, serial: &str, mark: Option<VolumeId>, holds: Holds) -> Seen {
    let disk = Disk {
        path: format!("/dev/{name}"),
        serial: serial.into(),
        size_bytes: SIZE_BYTES,
        transport: "virtio".into(),
        ..Disk::default()
    };
    Seen { disk, content: Ok(Content { mark, holds }) }
}

fn ext4(byte: u8) -> Holds {
    Holds::Ext4 { uuid: id(byte), label: "cairn-data".into() }
}

fn records(stage: Option<Stage>) -> Records {
    let state = tempfile::tempdir().unwrap();
    let mut records = Records::default();
    if let Some(stage) = stage {
        records.set(state.path(), "data", Record { uuid: id(1), stage }).unwrap();
    }
    records
}

/// The reason, and a message that names the volume.
fn reason(decision: Decision) -> (&'static str, String) {
    let Decision::Refuse(Problem { reason, message }) = decision else { panic!("{decision:?}") };
    assert!(message.starts_with("volume data: "), "{message}");
    (reason, message)
}

#[test]
fn a_new_volume_takes_only_the_one_blank_disk() {
    let decide = |disks: &[Seen]| decide(&volume("A*"), &records(None), disks);
    let blank = || seen("vdb", "A1", None, Holds::Nothing);
    let other = || seen("vdc", "B1", None, Holds::Nothing);
    assert_eq!(decide(&[other(), blank()]), Decision::Make { disk: 1, begun: None });

    let (missing, message) = reason(decide(&[other()]));
    assert_eq!(missing, "DiskMissing");
    assert!(message.contains("{serial: A*}") && message.contains("/dev/vdc (virtio, serial B1"), "{message}");
    let (ambiguous, message) = reason(decide(&[blank(), seen("vdd", "A2", None, ext4(5))]));
    assert_eq!(ambiguous, "DiskAmbiguous");
    assert!(message.contains("/dev/vdb") && message.contains("/dev/vdd"), "{message}");

    for (mark, holds) in [
        (None, Holds::Other("a FAT file system")),
        (None, ext4(1)),
        (Some(id(1)), Holds::Nothing),
        (Some(id(1)), ext4(1)),
    ] {
        assert_eq!(reason(decide(&[seen("vdb", "A1", mark, holds)])).0, "NotBlank");
    }
    let broken = Seen { content: Err("I/O error".into()), ..blank() };
    assert_eq!(reason(decide(&[broken])).0, "NotReadable");
    let mut small = blank();
    small.disk.size_bytes = DISK_MIN_BYTES - 1;
    assert_eq!(reason(decide(&[small])).0, "TooSmall");
}

#[test]
fn what_was_begun_is_finished_wherever_it_was_cut_off() {
    let decide =
        |mark, holds| decide(&volume("A1"), &records(Some(Stage::Begun)), &[seen("vdb", "A1", mark, holds)]);
    let make = Decision::Make { disk: 0, begun: Some(id(1)) };
    assert_eq!(decide(None, Holds::Nothing), make, "before the mark");
    assert_eq!(decide(Some(id(1)), Holds::Nothing), make, "before mkfs");
    assert_eq!(decide(Some(id(1)), Holds::Other("data")), make, "within mkfs");
    assert_eq!(decide(Some(id(1)), ext4(1)), make, "before the mark goes");
    assert_eq!(decide(None, ext4(1)), Decision::Record { disk: 0, uuid: id(1) }, "before the record");
    assert_eq!(reason(decide(Some(id(2)), Holds::Other("data"))).0, "NotBlank", "another node's");
    assert_eq!(reason(decide(None, ext4(2))).0, "NotBlank");
    assert_eq!(reason(decide(None, Holds::Other("data"))).0, "NotBlank");
}

#[test]
fn a_complete_volume_is_found_wherever_it_is_attached_and_no_other_disk_taken() {
    let records = records(Some(Stage::Complete));
    let decide = |disks: &[Seen]| decide(&volume("A1"), &records, disks);
    let own = |serial| seen("vdb", serial, None, ext4(1));
    let other = |holds| seen("vdc", "A1", None, holds);
    assert_eq!(decide(&[own("A1")]), Decision::Mount { disk: 0 });
    assert_eq!(decide(&[own("elsewhere")]), Decision::Mount { disk: 0 });
    assert_eq!(decide(&[other(Holds::Nothing), own("A1")]), Decision::Mount { disk: 1 });
    assert_eq!(reason(decide(&[])).0, "DiskMissing");
    for holds in [Holds::Nothing, ext4(2), Holds::Other("data")] {
        assert_eq!(reason(decide(&[other(holds.clone())])).0, "Foreign");
        let (reason, message) = reason(decide(&[other(holds), own("elsewhere")]));
        assert_eq!(reason, "Foreign");
        assert!(message.contains("lies on /dev/vdb"), "{message}");
    }
    assert_eq!(reason(decide(&[own("A1"), seen("vdd", "x", None, ext4(1))])).0, "DiskAmbiguous");
}

fn any_holds() -> impl Strategy<Value = Holds> {
    prop_oneof![Just(Holds::Nothing), (0_u8..3).prop_map(ext4), Just(Holds::Other("data"))]
}

fn any_seen() -> impl Strategy<Value = Seen> {
    ("[AB]", prop::option::of(0_u8..3), any_holds())
        .prop_map(|(serial, mark, holds)| seen("vdb", &serial, mark.map(id), holds))
}

proptest! {
    #[test]
    fn nothing_foreign_is_formatted_and_nothing_complete_again(
        disks in prop::collection::vec(any_seen(), 0..4),
        stage in prop::option::of(prop_oneof![Just(Stage::Begun), Just(Stage::Complete)]),
    ) {
        let volume = volume("A");
        match decide(&volume, &records(stage), &disks) {
            Decision::Make { disk, begun } => {
                let content = disks[disk].content.clone().unwrap();
                let is_blank = content == Content { mark: None, holds: Holds::Nothing };
                prop_assert!(is_blank || (stage == Some(Stage::Begun) && content.mark == Some(id(1))));
                prop_assert!(stage != Some(Stage::Complete));
                prop_assert_eq!(begun, stage.map(|_| id(1)));
                prop_assert!(is_meant(&volume, &disks[disk].disk));
            }
            Decision::Record { disk, .. } | Decision::Mount { disk } => {
                prop_assert_eq!(&disks[disk].content.as_ref().unwrap().holds, &ext4(1));
                prop_assert!(stage.is_some());
            }
            Decision::Refuse(_) => {}
        }
    }
}
