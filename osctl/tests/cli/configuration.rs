//! Commands on the machine configuration.

use std::fs;

use crate::rig::Rig;

fn with_file(text: &str) -> (Rig, String) {
    let rig = Rig::adopted();
    let file = rig.path("machine.yaml");
    fs::write(&file, text).unwrap();
    (rig, file)
}

fn machine(hostname: &str) -> String {
    format!("apiVersion: cairn.dev/v1alpha1\nkind: Machine\nhostname: {hostname}\n")
}

#[test]
fn a_change_is_planned_signed_and_reported() {
    let (rig, file) = with_file(&machine("good"));
    let dry = rig.run(&["apply-config", "-f", &file, "--dry-run"]).ok();
    assert!(dry.contains("+hostname: b") && dry.contains("kubelet") && dry.contains("trial"), "{dry}");
    assert_eq!(rig.done().last().unwrap(), "plan");
    let ran = rig.run(&["apply-config", "-f", &file, "-o", "json"]);
    assert!(ran.err.contains("restart kubelet: the host name changes"), "{ran:?}");
    let ended: serde_json::Value = serde_json::from_str(&ran.ok()).unwrap();
    assert_eq!((&ended["generation"], &ended["state"]), (&2.into(), &"confirmed".into()));
    assert!(rig.done().last().unwrap().starts_with("apply mode 1 "), "{:?}", rig.done());
}

#[test]
fn what_could_cut_the_admin_off_is_confirmed_over_a_new_connection() {
    for hostname in ["trial", "lost"] {
        let (rig, file) = with_file(&machine(hostname));
        let out = rig.run(&["apply-config", "-f", &file]).ok();
        assert!(out.contains("generation 2 runs"), "{out}");
        assert_eq!(rig.done().last().unwrap(), "confirm 2");
    }
}

#[test]
fn a_try_is_left_for_the_user_to_confirm() {
    let (rig, file) = with_file(&machine("trial"));
    let out = rig.run(&["apply-config", "-f", &file, "--mode", "try", "--confirm-within", "30s"]).ok();
    assert!(out.contains("within 30 s with `osctl confirm-config 2`"), "{out}");
    assert!(!rig.done().iter().any(|done| done.starts_with("confirm")));
    rig.run(&["confirm-config"]).ok();
    assert_eq!(rig.done().last().unwrap(), "confirm 2");
    rig.run(&["confirm-config"]).fails(6, &["no configuration is on trial"]);
    rig.run(&["confirm-config", "2"]).ok();
    let confirmed = rig.done().iter().filter(|done| done.starts_with("confirm")).count();
    assert_eq!(confirmed, 1, "what is confirmed already is not asked for again");
}

#[test]
fn a_refused_or_reverted_change_has_its_own_exit_code() {
    let (rig, file) = with_file(&machine("nonsense"));
    rig.run(&["apply-config", "-f", &file]).fails(1, &["line 3", "nonsense"]);
    fs::write(&file, machine("revert")).unwrap();
    rig.run(&["apply-config", "-f", &file])
        .fails(7, &["took generation 2 back", "the kubelet did not come up"]);
    rig.run(&["apply-config", "-f", &rig.path("none.yaml")]).fails(6, &["does not exist"]);
}

#[test]
fn patches_and_rollbacks_are_sent_as_such() {
    let (rig, file) = with_file(&machine("good"));
    rig.run(&["rollback", "config"]).fails(1, &["no earlier generation"]);
    rig.run(&["patch", "config", "-f", &file, "--mode", "no-reboot"]).ok();
    assert!(rig.done().last().unwrap().starts_with("apply mode 4 apiVersion"), "{:?}", rig.done());
    rig.run(&["rollback", "config"]).ok();
    assert_eq!(rig.done().last().unwrap(), "apply mode 1 rolled back to 1");
    rig.run(&["patch", "config"]).fails(2, &["--file"]);
}

#[test]
fn the_configuration_is_shown_and_compared() {
    let (rig, file) = with_file(&machine("good"));
    assert_eq!(rig.run(&["get", "config"]).ok(), "kind: Machine\n");
    assert_eq!(
        rig.run(&["get", "config", "--generation", "1", "--effective"]).ok(),
        "kind: Machine\n# effective\n"
    );
    rig.run(&["get", "config", "--generation", "9"]).fails(6, &["no generation 9"]);
    rig.run(&["get", "pods", "--effective"]).fails(2, &["osctl get config"]);
    assert_eq!(rig.run(&["diff", "config", "-f", &file]).ok(), "-hostname: a\n+hostname: b\n");
}

#[test]
fn an_edit_applies_what_was_saved_and_keeps_what_was_refused() {
    let (rig, _) = with_file("");
    let edited = |script: &str| {
        let editor = rig.path("editor");
        fs::write(&editor, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&editor, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        rig.command(&["edit", "config"]).env("EDITOR", &editor).env_remove("VISUAL").output().unwrap()
    };
    assert!(edited("true").status.success());
    assert!(!rig.done().iter().any(|done| done.starts_with("apply")));
    assert!(edited("echo 'hostname: good' >> $1").status.success());
    assert_eq!(rig.done().last().unwrap(), "apply mode 1 kind: Machine\nhostname: good\n");
    let refused = edited("echo 'nonsense: 1' >> $1");
    let errors = String::from_utf8(refused.stderr).unwrap();
    let kept = errors.split("kept in ").nth(1).unwrap().trim();
    assert!(fs::read_to_string(kept).unwrap().ends_with("nonsense: 1\n"));
    fs::remove_file(kept).unwrap();
    assert!(!edited("exit 3").status.success());
}

#[test]
fn a_reset_asks_first() {
    let (rig, _) = with_file("");
    rig.run(&["reset"]).fails(2, &["--yes"]);
    rig.run(&["reset", "--yes", "--wipe-data"]).ok();
    assert_eq!(rig.done().last().unwrap(), "reset wipe_data true");
}

#[test]
fn validation_needs_no_node() {
    let (rig, file) = with_file(&machine("good"));
    rig.run(&["validate", &file]).fails(1, &["Api", "1 of 1"]);
}
