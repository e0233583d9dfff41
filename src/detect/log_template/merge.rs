//! Templates that differ in a variable word become one pattern.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::PLACEHOLDER;
use super::class::{JOINERS, COLON, WIDE, WORD, class};

/// So many different words in one place, all else the same, make it variable.
pub const DISTINCT_WORDS_MIN: usize = 5;
/// At so many other places constant words must stand.
pub const CONTEXT_WORDS_MIN: usize = 2;
/// Templates of more words are not searched for two places that vary together.
const PAIR_WORDS_MAX: usize = 24;

/// A template taken apart: `gaps[i]` stands before `words[i]`, the last gap after all.
#[derive(Clone)]
struct Parts<'a> {
    gaps: Vec<&'a str>,
    words: Vec<&'a str>,
}

fn parts(template: &str) -> Parts<'_> {
    let bytes = template.as_bytes();
    let (mut gaps, mut words) = (Vec::new(), Vec::new());
    let (mut gap, mut at) = (0, 0);
    while at < bytes.len() {
        let end = word_end(bytes, at);
        if end > at {
            gaps.push(&template[gap..at]);
            words.push(&template[at..end]);
            (gap, at) = (end, end);
        } else {
            at += 1;
        }
    }
    gaps.push(&template[gap..]);
    Parts { gaps, words }
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    let is_word = |at: usize| bytes.get(at).is_some_and(|byte| class(*byte) & (WORD | WIDE) != 0);
    let is_hole = |at: usize| bytes[at..].starts_with(PLACEHOLDER.as_bytes());
    let mut end = start;
    while end < bytes.len() {
        let joins = end > start && class(bytes[end]) & JOINERS & !COLON != 0;
        end += if is_word(end) {
            1
        } else if is_hole(end) {
            PLACEHOLDER.len()
        } else if joins && (is_word(end + 1) || is_hole(end + 1)) {
            1
        } else {
            break;
        };
    }
    end
}

fn hash(bytes: &[u8], seed: u64) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    finish(bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), step))
}

fn finish(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

pub fn merge_key(template: &str) -> u64 {
    key_of(&parts(template))
}

fn key_of(parts: &Parts<'_>) -> u64 {
    let first = parts.words.first().copied().unwrap_or_default();
    let first = if first.contains(PLACEHOLDER) { PLACEHOLDER } else { first };
    parts.gaps.iter().fold(hash(first.as_bytes(), 0), |key, gap| finish(key ^ hash(gap.as_bytes(), 1)))
}

pub fn merge<'a>(templates: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, String> {
    let mut groups: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for template in templates {
        groups.entry(merge_key(template)).or_default().insert(template);
    }
    let mut merged = BTreeMap::new();
    for group in groups.into_values() {
        let group: Vec<&str> = group.into_iter().collect();
        merged.extend(group.iter().copied().zip(merge_group(&group)));
    }
    merged
}

pub fn merge_group(templates: &[&str]) -> Vec<String> {
    let parts: Vec<Parts<'_>> = templates.iter().map(|template| parts(template)).collect();
    let mut places: BTreeMap<(&[&str], &str), Vec<usize>> = BTreeMap::new();
    for (at, parts) in parts.iter().enumerate() {
        let first = parts.words.first().copied().unwrap_or_default();
        let first = if first.contains(PLACEHOLDER) { PLACEHOLDER } else { first };
        places.entry((&parts.gaps, first)).or_default().push(at);
    }
    let mut patterns = vec![String::new(); templates.len()];
    for members in places.into_values() {
        let mut lines: Vec<Vec<&str>> = members.iter().map(|at| parts[*at].words.clone()).collect();
        generalise(&mut lines);
        for (at, line) in members.iter().zip(&lines) {
            patterns[*at] = joined(&parts[*at].gaps, line);
        }
    }
    patterns
}

fn joined(gaps: &[&str], words: &[&str]) -> String {
    let mut text = String::from(gaps[0]);
    for (word, gap) in words.iter().zip(&gaps[1..]) {
        text.push_str(word);
        text.push_str(gap);
    }
    text
}

fn generalise(lines: &mut [Vec<&str>]) {
    loop {
        let distinct: BTreeSet<Vec<&str>> = lines.iter().cloned().collect();
        if distinct.len() < 2 { return; }
        let distinct: Vec<Vec<&str>> = distinct.into_iter().collect();
        let mut variable = single(&distinct);
        if variable.is_empty() { variable = pairs(&distinct); }
        if variable.is_empty() { break; }
        for line in lines.iter_mut() {
            let total = total(line);
            let n = line.len();
            let orig = line.clone();
            for at in 1..n {
                if variable.contains(&(total.wrapping_sub(place(at, orig[at])), at, 0)) { line[at] = PLACEHOLDER; }
                for other in at + 1..n {
                    if variable.contains(&(total.wrapping_sub(place(at, orig[at])).wrapping_sub(place(other, orig[other])), at, other)) { line[at] = PLACEHOLDER; line[other] = PLACEHOLDER; }
                }
            }
        }
    }
}

fn place(at: usize, word: &str) -> u64 { hash(word.as_bytes(), at as u64 + 2) }
fn total(line: &[&str]) -> u64 { line.iter().enumerate().fold(0, |t, (at, word)| t.wrapping_add(place(at, word))) }
fn constants(line: &[&str]) -> usize { line.iter().filter(|word| !word.contains(PLACEHOLDER)).count() }

fn env(n: &str, d: usize) -> usize { std::env::var(n).ok().and_then(|x| x.parse().ok()).unwrap_or(d) }

fn single(lines: &[Vec<&str>]) -> HashSet<(u64, usize, usize)> {
    let (k, c) = (env("K", 5), env("C", 2));
    let mut families: BTreeMap<(u64, usize), (usize, Vec<&str>)> = BTreeMap::new();
    for line in lines {
        let total = total(line);
        for at in 1..line.len() {
            let e = families.entry((total.wrapping_sub(place(at, line[at])), at)).or_default();
            e.0 = constants(line) - usize::from(!line[at].contains(PLACEHOLDER));
            e.1.push(line[at]);
        }
    }
    families.into_iter().filter(|(_, (context, words))| {
        let has_pure = words.contains(&PLACEHOLDER);
        let all = words.iter().all(|word| word.contains(PLACEHOLDER));
        words.len() > 1 && (*context >= c && (has_pure || words.len() >= k) || *context >= 1 && all)
    }).map(|((key, at), _)| (key, at, 0)).collect()
}

fn pairs(lines: &[Vec<&str>]) -> HashSet<(u64, usize, usize)> {
    let (k, c, pf) = (env("K", 5), env("C", 2), env("P", 2));
    if pf == 0 { return HashSet::new(); }
    let mut families: BTreeMap<(u64, usize, usize), (usize, usize, BTreeSet<&str>, BTreeSet<&str>, bool)> = BTreeMap::new();
    for line in lines {
        if line.len() > PAIR_WORDS_MAX { continue; }
        let total = total(line);
        for at in 1..line.len() { for other in at + 1..line.len() {
            let e = families.entry((total.wrapping_sub(place(at, line[at])).wrapping_sub(place(other, line[other])), at, other)).or_default();
            e.0 = constants(line) - usize::from(!line[at].contains(PLACEHOLDER)) - usize::from(!line[other].contains(PLACEHOLDER));
            e.1 += 1;
            e.2.insert(line[at]); e.3.insert(line[other]);
            e.4 |= line[at] == PLACEHOLDER && line[other] == PLACEHOLDER;
        } }
    }
    families.into_iter().filter(|(_, (context, n, a, b, pure))| *context > c && (*n >= pf * k && a.len() >= k && b.len() >= k || *n > 1 && *pure )).map(|(k, _)| k).collect()
}
