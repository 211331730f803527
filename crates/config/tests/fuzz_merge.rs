//! Random patches on a whole configuration: no panic, and every result is a configuration or has its errors' places.
//!
//! `CAIRN_FUZZ_SECONDS` is how long each target runs, `CAIRN_FUZZ_SEED` repeats a run.

mod support;

use std::time::Instant;

use config::{
    Documents,
    merge::{MergeError, json_patch, strategic},
    parse,
};
use support::Random;

const GOOD: &str = include_str!("good.yaml");
const STRATEGIC: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Machine\nlabels: {site: null, rack: '9'}\n---\n\
    kind: StaticPod\npod:\n  metadata: {name: web, namespace: shop}\n  spec:\n    volumes: [{name: a, emptyDir: {}}]\n    \
    containers:\n      - name: web\n        env: [{name: TOKEN, $patch: delete}, {name: A, value: b}]\n        \
    ports: [{containerPort: 53}, {containerPort: 53, protocol: UDP}]\n      - {name: side, image: x, $patch: replace}\n---\n\
    kind: Interface\nname: eth1\ndhcp: null\naddresses: [10.1.2.3/24]\n---\nkind: Swap\n$patch: delete\n";
const JSON: &str = r#"[{"op":"replace","path":"/Interface~1eth0/mtu","value":1500},
{"op":"add","path":"/Volume~1cache","value":{"name":"cache","disk":{"bus":"usb"}}},
{"op":"copy","from":"/Machine/labels","path":"/Machine/labels/x"},{"op":"remove","path":"/Resolver/search/0"},
{"op":"move","from":"/Sysctl/values","path":"/Kubelet/configuration/evictionHard"},
{"op":"test","path":"/Swap/zramPercent","value":75}]"#;
/// What breaks parsers and merges.
const PIECES: [&str; 20] = [
    "$patch: delete\n",
    "$patch: replace\n",
    "null",
    "{}",
    "[]",
    "[{$patch: replace}]",
    "---\n",
    "kind: Api\n",
    ": ",
    "- ",
    "\"",
    "~1",
    "/-",
    "/0",
    "&a ",
    "*a",
    "99999999999999999999",
    "\u{e9}",
    "\n",
    "\t",
];

fn mutate(random: &mut Random, text: &str, donor: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(chars.len() + 1);
        let to = (at + random.below(12)).min(chars.len());
        let piece: Vec<char> = match random.below(4) {
            0 => Vec::new(),
            1 => PIECES[random.below(PIECES.len())].chars().collect(),
            2 => chars[at..to].repeat(2),
            _ => {
                let lines: Vec<&str> = donor.lines().collect();
                format!("{}\n", lines[random.below(lines.len())]).chars().collect()
            }
        };
        chars.splice(at..to, piece);
    }
    chars.into_iter().collect()
}

/// Runs a target on mutated patches; it says whether a patch was taken.
fn fuzz(seeds: &[&str], target: impl Fn(&str) -> bool) {
    let seed = support::seed();
    let end = Instant::now() + support::duration();
    let mut random = Random(seed);
    let (mut cases, mut taken) = (0_u64, 0_u64);
    while Instant::now() < end || cases < 50 {
        let patch = seeds[random.below(seeds.len())];
        let patch = mutate(&mut random, patch, GOOD);
        let case = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&patch)));
        taken += u64::from(case.unwrap_or_else(|_| panic!("seed {seed}, case {cases}: {patch:?}")));
        cases += 1;
    }
    println!("seed {seed}: {cases} patches, {taken} of them taken");
    assert!(taken > 0 && taken < cases, "seed {seed}: {taken} of {cases} patches taken");
}

fn check(result: Result<Documents, MergeError>) -> Option<Documents> {
    match result {
        Ok(documents) => {
            parse(&documents.to_yaml().unwrap()).unwrap();
            Some(documents)
        }
        Err(MergeError::Result { errors, text }) => {
            let lines = text.lines().count().max(1);
            assert!(errors.iter().all(|error| (1..=lines).contains(&error.line)), "{errors}");
            None
        }
        Err(MergeError::Read { errors }) => {
            assert!(errors.iter().all(|error| error.line > 0), "{errors}");
            None
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

#[test]
fn strategic_merges() {
    let base = Documents::parse(GOOD).unwrap();
    fuzz(&[STRATEGIC, STRATEGIC, GOOD], |patch| {
        let Some(once) = check(strategic(&base, patch)) else { return false };
        let twice = strategic(&once, patch).unwrap();
        assert!(once.iter().map(config::Document::fields).eq(twice.iter().map(config::Document::fields)));
        true
    });
}

#[test]
fn json_patches() {
    let base = Documents::parse(GOOD).unwrap();
    let first = "[{\"op\":\"replace\",\"path\":\"/Interface~1eth0/mtu\",\"value\":1500}]";
    fuzz(&[JSON, first], |patch| check(json_patch(&base, patch)).is_some());
}
