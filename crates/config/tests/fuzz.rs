//! Random damage to a good configuration: nothing panics, and every error says where it is.
//!
//! `CAIRN_FUZZ_SECONDS` sets how long (2 by default), `CAIRN_FUZZ_SEED` repeats a run.

mod support;

use std::time::Instant;

use config::{Documents, effective, parse, read_unchecked, redact};
use support::Random;

const GOOD: &str = include_str!("good.yaml");
/// Mutations that every run makes, however short.
const LEAST: u64 = 1_000;
/// Larger texts are cut, so that a long run tests many texts rather than few.
const TEXT_MAX_BYTES: usize = 64 << 10;
/// What is put into texts: what YAML and the formats take for more than letters.
const WORDS: &[&str] = &[
    "---\n",
    "...\n",
    "\n",
    " ",
    "  ",
    "\t",
    ": ",
    ":",
    "- ",
    "? ",
    "#",
    " # ",
    "\"",
    "'",
    "|",
    ">",
    "|2-\n",
    "&a ",
    "*a",
    "!!int ",
    "<<: ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "%YAML 1.2\n",
    "\u{feff}",
    "\u{0}",
    "\u{85}",
    "\u{2028}",
    "é",
    "🦀",
    "\r",
    "\r\n",
    "~",
    "null",
    "true",
    "0",
    "-1",
    "0644",
    "1e999",
    ".inf",
    "18446744073709551616",
    "10.0.0.0/8",
    "_default",
    "kind: Swap\n",
    "apiVersion: cairn.dev/v1alpha1\n",
    "name: eth0\n",
    "password: x\n",
    "[[[[[[[[[[[[[[[[",
    "{a: {b: {c: {d: ",
];

/// A place in a text, between characters.
fn place(random: &mut Random, text: &str) -> usize {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn mutate(random: &mut Random, text: &mut String) {
    let (a, b) = (place(random, text), place(random, text));
    let (start, end) = (a.min(b), a.max(b));
    match random.below(8) {
        0 => text.insert_str(a, WORDS[random.below(WORDS.len())]),
        // A short piece, so that something is left to test.
        1 => drop(text.drain(start..short(text, start, end))),
        2 => text.replace_range(start..short(text, start, end), WORDS[random.below(WORDS.len())]),
        3 => {
            let piece = text[start..short(text, start, end)].to_owned();
            let at = place(random, text);
            text.insert_str(at, &piece);
        }
        4 => swap_lines(random, text),
        5 => {
            let documents: Vec<&str> = text.split("\n---\n").collect();
            let copy = documents[random.below(documents.len())].to_owned();
            *text = format!("{text}\n---\n{copy}");
        }
        6 => text.insert(a, char::from(u8::try_from(random.below(128)).unwrap())),
        _ if random.below(10) == 0 => text.truncate(a),
        _ => {}
    }
}

fn short(text: &str, start: usize, end: usize) -> usize {
    let mut end = end.min(start + 24);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

fn swap_lines(random: &mut Random, text: &mut String) {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let (a, b) = (random.below(lines.len()), random.below(lines.len()));
    lines.swap(a, b);
    *text = lines.join("\n");
}

/// What must hold for any text. Returns whether it was read.
fn check(text: &str, seed: u64) -> bool {
    let lines = text.split('\n').count();
    let result = parse(text);
    let read = result.is_ok();
    match result {
        Err(errors) => {
            assert!(!errors.0.is_empty(), "seed {seed}: refused without a reason\n{text}");
            for error in &errors {
                let whole = error.document == 0;
                assert!(
                    (1..=lines).contains(&error.line) && error.column >= 1,
                    "seed {seed}: {error:?}\n{text}"
                );
                assert!(!whole || error.line == 1, "seed {seed}: {error:?}\n{text}");
                assert!(!error.message.is_empty(), "seed {seed}: {error:?}\n{text}");
            }
            assert!(errors.0.len() <= 101, "seed {seed}: {} errors", errors.0.len());
        }
        Ok(config) => {
            let documents = Documents::parse(text).unwrap();
            for documents in [&documents, &effective(&documents), &remade(&documents)] {
                let written = documents.to_yaml().unwrap();
                let read = parse(&written);
                assert_eq!(read.as_ref(), Ok(&config), "seed {seed}: {text}\nwritten:\n{written}");
            }
            assert_eq!(redact(&documents).iter().count(), documents.iter().count(), "seed {seed}");
        }
    }
    // Its errors are those of the YAML alone.
    assert!(read_unchecked(text).is_ok() || !read, "seed {seed}: {text}");
    read
}

/// The documents without their text.
fn remade(documents: &Documents) -> Documents {
    documents.iter().map(|document| config::Document::new(document.fields().clone())).collect()
}

#[test]
fn damaged_configurations_are_refused_with_a_place_or_read() {
    let first = support::seed();
    let end = Instant::now() + support::duration();
    let (mut count, mut read) = (0, 0);
    while count < LEAST || Instant::now() < end {
        let seed = first.wrapping_add(count);
        let mut random = Random(seed);
        let mut text = GOOD.to_owned();
        for _ in 0..=random.below(6) {
            mutate(&mut random, &mut text);
        }
        if text.len() > TEXT_MAX_BYTES {
            let end = short(&text, TEXT_MAX_BYTES - 24, TEXT_MAX_BYTES);
            text.truncate(end);
        }
        match std::panic::catch_unwind(|| check(&text, seed)) {
            Ok(true) => read += 1,
            Ok(false) => {}
            Err(panic) => {
                eprintln!("CAIRN_FUZZ_SEED={seed} repeats this");
                std::panic::resume_unwind(panic);
            }
        }
        count += 1;
    }
    println!("{count} texts from seed {first}, {read} of them read");
    assert!(read > 0 && read < count, "the damage is too great, or none");
}
