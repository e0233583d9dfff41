//! Recorded files of JSON. The first byte tells how they are compressed.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, content)) = input.split_first() else { return };
    let name = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"][usize::from(first % 3)];
    undercurrent_fuzz::replay(name, content);
});
