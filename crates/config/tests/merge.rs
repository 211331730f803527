//! Patches do what Kubernetes' users expect, all or nothing, and say what is wrong with them.

use config::{
    Document, DocumentKey, Documents,
    merge::{MergeError, json_patch, strategic},
    parse,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const GOOD: &str = include_str!("good.yaml");
const HEAD: &str = "apiVersion: cairn.dev/v1alpha1\nkind: ";

fn good() -> Documents {
    Documents::parse(GOOD).unwrap()
}

fn document<'a>(documents: &'a Documents, key: &str) -> &'a Document {
    documents.iter().find(|document| document.key().to_string() == key).unwrap_or_else(|| panic!("no {key}"))
}

fn field(documents: &Documents, key: &str, pointer: &str) -> Value {
    let fields = Value::Object(document(documents, key).fields().clone());
    fields.pointer(pointer).cloned().unwrap_or(Value::Null)
}

fn keys(documents: &Documents) -> Vec<DocumentKey> {
    documents.iter().map(|document| document.key().clone()).collect()
}

fn container(body: &str) -> String {
    format!(
        "{HEAD}StaticPod\npod: {{metadata: {{name: web, namespace: shop}}, spec: {{containers: [{{name: web, {body}}}]}}}}\n"
    )
}

#[test]
fn mappings_merge_null_removes_and_lists_are_replaced() {
    let patch = format!(
        "{HEAD}Machine\nlabels: {{site: null, rack: '9'}}\n---\n{HEAD}Interface\nname: eth0\nmtu: null\naddresses: [192.0.2.18/24]\n"
    );
    let merged = strategic(&good(), &patch).unwrap();
    assert_eq!(field(&merged, "Machine", "/labels"), json!({"rack": "9", "example.com/shelf": "3"}));
    assert_eq!(field(&merged, "Machine", "/hostname"), "shop-17");
    assert_eq!(field(&merged, "Interface/eth0", "/mtu"), Value::Null);
    assert_eq!(field(&merged, "Interface/eth0", "/addresses"), json!(["192.0.2.18/24"]));
    assert_eq!(keys(&merged), keys(&good()));
    assert!(merged.to_yaml().unwrap().contains("# The other port."), "untouched documents keep their text");
}

#[test]
fn documents_are_added_removed_and_replaced() {
    let patch = format!(
        "{HEAD}Swap\n$patch: delete\n---\n{HEAD}Volume\nname: cache\ndisk: {{bus: usb}}\n---\n{HEAD}Kubelet\n$patch: replace\nconfiguration: {{maxPods: 5}}\n---\n{HEAD}Volume\nname: gone\n$patch: delete\n"
    );
    let merged = strategic(&good(), &patch).unwrap();
    assert!(!keys(&merged).iter().any(|key| key.kind == "Swap"));
    assert_eq!(merged.iter().last().unwrap().key().to_string(), "Volume/cache");
    assert_eq!(field(&merged, "Kubelet", "/configuration"), json!({"maxPods": 5}));
}

#[test]
fn lists_of_pods_merge_by_their_keys() {
    let at = |documents: &Documents, pointer: &str| {
        field(documents, "StaticPod/shop/web", &format!("/pod/spec/containers/0{pointer}"))
    };
    let patch = container(
        "image: x, env: [{name: MODE, value: dark}], ports: [{containerPort: 53}, {containerPort: 53, protocol: UDP}]",
    );
    let merged = strategic(&good(), &patch).unwrap();
    assert_eq!(at(&merged, "/env/0/value"), "sesame");
    assert_eq!((at(&merged, "/env/1/name"), at(&merged, "/image")), (json!("MODE"), json!("x")));
    assert_eq!(at(&merged, "/ports").as_array().unwrap().len(), 2);
    let patch = container("env: [{name: TOKEN, $patch: delete}], ports: [{containerPort: 53, hostPort: 53}]");
    let merged = strategic(&merged, &patch).unwrap();
    assert_eq!(at(&merged, "/env"), json!([{"name": "MODE", "value": "dark"}]));
    assert_eq!(at(&merged, "/ports/0"), json!({"containerPort": 53, "hostPort": 53}));
    let merged = strategic(&merged, &container("env: [{$patch: replace}, {name: A, value: b}]")).unwrap();
    assert_eq!(at(&merged, "/env"), json!([{"name": "A", "value": "b"}]));
    let merged = strategic(&merged, &container("args: [a, b], $patch: replace, image: y")).unwrap();
    assert_eq!(at(&merged, ""), json!({"name": "web", "image": "y", "args": ["a", "b"]}));
}

#[test]
fn what_a_patch_may_not_say_is_named() {
    for (patch, expected) in [
        ("a: [\n".to_owned(), "the patch cannot be read"),
        ("mtu: 1500\n".to_owned(), "document 1 of the patch names no document"),
        (format!("{HEAD}Interface\nmtu: 1500\n"), "document 1 of the patch names no document"),
        (format!("{HEAD}Swap\n$patch: remove\n"), "Swap: this value of $patch is not known"),
        (
            format!("{HEAD}Machine\nlabels: {{$retainKeys: [a]}}\n"),
            "Machine.labels: $retainKeys is not known",
        ),
        (container("env: [{value: x}]"), "env: an item must have name"),
        (
            format!(
                "{HEAD}StaticPod\npod: {{metadata: {{name: web, namespace: shop}}, spec: {{tolerations: [{{key: a, $patch: delete}}]}}}}\n"
            ),
            "spec.tolerations: $patch in a list that is replaced as a whole",
        ),
        (format!("{HEAD}Interface\nname: eth0\nmtu: 1\n"), "Interface/eth0.mtu"),
        (format!("{HEAD}Api\n$patch: delete\n"), "kind Api is missing"),
    ] {
        let error = strategic(&good(), &patch).unwrap_err().to_string();
        assert!(error.contains(expected), "{patch}: {error}");
        assert!(!error.contains("hunter2") && !error.contains("sesame"), "{error}");
    }
}

#[test]
fn a_json_patch_changes_documents_by_their_key() {
    let patch = json!([
        {"op": "test", "path": "/Interface~1eth0/mtu", "value": 9000},
        {"op": "replace", "path": "/Interface~1eth0/mtu", "value": 1500},
        {"op": "remove", "path": "/Swap"},
        {"op": "add", "path": "/Volume~1cache", "value": {"name": "cache", "disk": {"bus": "usb"}}},
        {"op": "add", "path": "/Resolver/search/-", "value": "example.org"},
        {"op": "copy", "from": "/Machine/labels/site", "path": "/Machine/labels/town"},
        {"op": "move", "from": "/Machine/labels/site", "path": "/Machine/labels/port"},
        {"op": "replace", "path": "/StaticPod~1shop~1web/pod/spec/containers/0/image", "value": "y"},
    ]);
    let patched = json_patch(&good(), &patch.to_string()).unwrap();
    assert_eq!(field(&patched, "Interface/eth0", "/mtu"), 1500);
    assert_eq!(field(&patched, "Volume/cache", "/kind"), "Volume");
    assert_eq!(field(&patched, "Resolver", "/search/1"), "example.org");
    assert_eq!(field(&patched, "Machine", "/labels/port"), "harbour");
    assert_eq!(field(&patched, "StaticPod/shop/web", "/pod/spec/containers/0/image"), "y");
    assert!(!keys(&patched).iter().any(|key| key.kind == "Swap"));
}

#[test]
fn a_json_patch_that_does_not_fit_names_its_operation() {
    let many = vec![json!({"op": "test", "path": "/Swap/zramPercent", "value": 75}); 1000];
    let mut copies = vec![json!({"op": "add", "path": "/Kubelet/x", "value": ["a", "b"]})];
    copies.extend(vec![json!({"op": "copy", "from": "/Kubelet/x", "path": "/Kubelet/x/0"}); 64]);
    for (patch, expected) in [
        (json!({}), "no JSON patch"),
        (
            json!([{"op": "remove", "path": "/Swap"}, {"op": "test", "path": "/Interface~1eth0/mtu", "value": 1}]),
            "operation 2 (/Interface~1eth0/mtu)",
        ),
        (
            json!([{"op": "replace", "path": "/Interface/eth0/mtu", "value": 1}]),
            "operation 1 (/Interface/eth0/mtu)",
        ),
        (json!([{"op": "replace", "path": "/Interface~1eth0/name", "value": "eth7"}]), "at Interface/eth0"),
        (json!([{"op": "replace", "path": "/Swap", "value": 7}]), "at Swap"),
        (json!([{"op": "replace", "path": "", "value": []}]), "the root"),
        (json!([{"op": "remove", "path": "/Api"}]), "kind Api is missing"),
        (json!(many), "1000 operations"),
        (json!(copies), "too large or too deep"),
    ] {
        let error = json_patch(&good(), &patch.to_string()).unwrap_err().to_string();
        assert!(error.contains(expected), "{patch}: {error}");
    }
    assert!(matches!(json_patch(&good(), &" ".repeat(2 << 20)), Err(MergeError::TooLong { .. })));
}

/// A change of the good text: some of its lines, cut out, doubled or turned into another.
fn mutated(seed: &[(usize, u8)]) -> String {
    let mut lines: Vec<String> = GOOD.lines().map(str::to_owned).collect();
    for (at, kind) in seed {
        let at = at % lines.len();
        match kind % 6 {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => lines[at] = lines[at].replace(": ", ": null #"),
            3 => lines[at].push('x'),
            4 => lines.insert(at, "$patch: delete".to_owned()),
            _ => lines[at] = lines[at].replace('[', "[{$patch: replace}, "),
        }
    }
    lines.join("\n")
}

/// What is true of any patch, whatever it says.
fn check(result: Result<Documents, MergeError>) -> Option<Documents> {
    match result {
        Ok(documents) => {
            let text = documents.to_yaml().unwrap();
            parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
            Some(documents)
        }
        Err(MergeError::Result { errors, text }) => {
            let lines = text.lines().count().max(1);
            assert!(errors.iter().all(|error| (1..=lines).contains(&error.line)), "{errors}\n{text}");
            None
        }
        Err(MergeError::Read { errors }) => {
            assert!(errors.iter().all(|error| error.line > 0), "{errors}");
            None
        }
        Err(_) => None,
    }
}

#[test]
fn an_empty_patch_changes_nothing() {
    for patch in ["", "# nothing\n", "---\n"] {
        assert_eq!(strategic(&good(), patch).unwrap(), good());
    }
    assert_eq!(json_patch(&good(), "[]").unwrap(), good());
    assert_eq!(strategic(&good(), GOOD).unwrap(), good(), "nor does one that says what is there");
}

fn values(documents: &Documents) -> Vec<Value> {
    documents.iter().map(|document| Value::Object(document.fields().clone())).collect()
}

proptest! {
    #[test]
    fn merging_twice_is_merging_once(seed in prop::collection::vec(any::<(usize, u8)>(), 0..6)) {
        let patch = mutated(&seed);
        if let Some(once) = check(strategic(&good(), &patch)) {
            let twice = strategic(&once, &patch).unwrap();
            prop_assert_eq!(values(&once), values(&twice));
        }
    }

    #[test]
    fn no_json_patch_panics(
        operations in prop::collection::vec((0_usize..6, path(), path(), value()), 0..6)
    ) {
        const OPERATIONS: [&str; 6] = ["add", "remove", "replace", "move", "copy", "test"];
        let patch: Vec<Value> = operations
            .into_iter()
            .map(|(op, path, from, value)| json!({"op": OPERATIONS[op], "path": path, "from": from, "value": value}))
            .collect();
        check(json_patch(&good(), &Value::from(patch).to_string()));
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "/Machine",
        "/Machine/labels",
        "/Machine/labels/site",
        "/Interface~1eth0",
        "/Interface~1eth0/addresses/0",
        "/Interface~1eth0/addresses/-",
        "/Resolver/servers",
        "/Swap/zramPercent",
        "/StaticPod~1shop~1web/pod/spec",
        "/Volume~1recordings/disk/bus",
        "/nothing/here",
        "/~2",
        "no pointer",
    ])
    .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(7),
        json!("usb"),
        json!(["192.0.2.53"]),
        json!({"site": "mill"}),
        json!({"kind": "Swap"}),
    ])
}
