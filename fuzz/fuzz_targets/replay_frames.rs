//! Recorded files of protobuf, framed or not. The first byte tells how they are compressed.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, content)) = input.split_first() else { return };
    let name = ["a.pb", "a.pb.gz", "a.pb.zst"][usize::from(first % 3)];
    undercurrent_fuzz::replay(name, content);
});
