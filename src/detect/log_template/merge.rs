//! Templates that differ in a variable word become one pattern.
//!
//! The form of a word does not always tell that it is variable: names of users, hosts and queues are words as any
//! other. What tells is that many different ones are seen in one place, all else the same. Patterns are a function of
//! the *set* of templates: neither their order nor how often each was seen matters, and a template that goes away
//! leaves no trace. That is unlike Drain (He et al., *Drain: An Online Log Parsing Approach with Fixed Depth Tree*,
//! 2017), whose tree depends on which line came first; the search by place is nearer to IPLoM (Makanju et al.,
//! *Clustering Event Logs Using Iterative Partitioning*, 2009).
//!
//! # Criterion
//!
//! A template is a row of words and of what stands between them. Only templates with the same number of words, the
//! same text between them and the same first word can merge ([`merge_key`]); the first word never changes. Among them,
//! one place is variable for the templates that are the same at all others, if there are two or more of these, and
//!
//! * one of them has a lone placeholder there, and [`CONTEXT_WORDS_MIN`] other places are constant; or
//! * [`DISTINCT_WORDS_MIN`] different words were seen there, and as many other places are constant; or
//! * [`OPEN_WORDS_MIN`] different words were seen there that all have a placeholder in them (`eu-<*>`, `us-<*>`,
//!   `ap-<*>`), and one other place is constant.
//!
//! Where no single place is variable, two places are, for the templates that are the same at all others, if one more
//! place than [`CONTEXT_WORDS_MIN`] is constant, and
//!
//! * one of the templates has a lone placeholder at both; or
//! * [`DISTINCT_WORDS_MIN`] different words were seen at each, in twice as many templates or more.
//!
//! All places that are variable become placeholders at once, templates that have become the same are one, and so on
//! until nothing changes. Every round makes a word a placeholder, so there are no more rounds than words.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use super::PLACEHOLDER;
use super::parts::{Fnv, Parts};

/// So many different words in one place, all else the same, make the place variable.
pub const DISTINCT_WORDS_MIN: usize = 5;
/// So many different words that all have a placeholder in them do so, too.
pub const OPEN_WORDS_MIN: usize = 3;
/// So many other places have constant words before words in one place are taken to be variable.
pub const CONTEXT_WORDS_MIN: usize = 2;
/// Two places that vary together are looked for in templates of no more words, since there are as many pairs as the
/// square of it.
pub const PAIR_WORDS_MAX: usize = 16;

/// The words of a template; all that are compared have the same number.
type Line<'a> = Vec<&'a str>;

/// The partition in which a template may merge: templates of different keys never become one pattern.
///
/// It is a hash of the first word and of what stands between the words. The same on every machine and in every
/// version of the program that has the same templates; 64 bits, of which SQL may take any.
///
/// ```
/// use undercurrent::detect::log_template::merge_key;
/// assert_eq!(merge_key("Invalid user anna from <*>"), merge_key("Invalid user <*> from <*>"));
/// assert_ne!(merge_key("Invalid user anna from <*>"), merge_key("Invalid user: anna from <*>"));
/// ```
pub fn merge_key(template: &str) -> u64 {
    Parts::of(template).key()
}

/// The pattern of each template, by the criterion of the module. Duplicates do no harm.
///
/// ```
/// use undercurrent::detect::log_template::merge;
/// let users = ["anna", "bert", "carl", "dora", "emil"].map(|user| format!("Invalid user {user} from <*>"));
/// let patterns = merge(users.iter().map(String::as_str));
/// assert_eq!(patterns[users[0].as_str()], "Invalid user <*> from <*>");
/// ```
pub fn merge<'a>(templates: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, String> {
    let mut groups: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for template in templates {
        groups.entry(merge_key(template)).or_default().insert(template);
    }
    let mut patterns = BTreeMap::new();
    for group in groups.into_values() {
        let group: Vec<&str> = group.into_iter().collect();
        patterns.extend(group.iter().copied().zip(merge_group(&group)));
    }
    patterns
}

/// The patterns of the templates of one [`merge_key`], in their order: `patterns[i]` is that of `templates[i]`.
///
/// Templates of several keys may be given: they are kept apart by what the key is a hash of.
pub fn merge_group(templates: &[&str]) -> Vec<String> {
    let parts: Vec<Parts<'_>> = templates.iter().map(|template| Parts::of(template)).collect();
    let mut alike: BTreeMap<(&[&str], &str), Classes<'_>> = BTreeMap::new();
    for (index, parts) in parts.iter().enumerate() {
        let classes = alike.entry((&parts.gaps, parts.first())).or_default();
        classes.entry(parts.words.clone()).or_default().push(index);
    }
    let mut patterns = vec![String::new(); templates.len()];
    for classes in alike.into_values() {
        for (line, members) in generalised(classes) {
            for index in members {
                patterns[index] = parts[index].with_words(&line);
            }
        }
    }
    patterns
}

/// Lines, with the templates that have become them.
type Classes<'a> = BTreeMap<Line<'a>, Vec<usize>>;

fn generalised(mut classes: Classes<'_>) -> Classes<'_> {
    loop {
        let lines: Vec<&Line<'_>> = classes.keys().collect();
        let variable = variable_places(&lines);
        if variable.is_empty() {
            return classes;
        }
        let mut next = Classes::new();
        for (number, (mut line, members)) in classes.into_iter().enumerate() {
            for (_, place) in variable.range((number, 0)..(number + 1, 0)) {
                line[*place] = PLACEHOLDER;
            }
            next.entry(line).or_default().extend(members);
        }
        classes = next;
    }
}

/// One line as seen by those that are the same but for one place or two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<'a> {
    /// Of the line without these places.
    rest: u64,
    /// The second is 0 where there is only one.
    places: (usize, usize),
    words: (&'a str, &'a str),
    /// Constant words at the other places.
    context: usize,
    line: usize,
}

/// The places to become placeholders, each as the number of the line and the place in it.
fn variable_places(lines: &[&Line<'_>]) -> BTreeSet<(usize, usize)> {
    let mut variable = places_where(single_candidates(lines), is_variable);
    if variable.is_empty() && lines.first().is_some_and(|line| line.len() <= PAIR_WORDS_MAX) {
        variable = places_where(pair_candidates(lines), are_variable);
    }
    let is_constant = |(line, place): &(usize, usize)| lines[*line][*place] != PLACEHOLDER;
    variable.retain(is_constant);
    variable
}

fn places_where(
    mut candidates: Vec<Candidate<'_>>,
    is_variable: fn(&[Candidate<'_>]) -> bool,
) -> BTreeSet<(usize, usize)> {
    candidates.sort_unstable();
    let families = candidates.chunk_by(|left, right| (left.rest, left.places) == (right.rest, right.places));
    let families = families.filter(|family| family.len() > 1 && is_variable(family));
    let places = families.flatten().flat_map(|candidate| {
        let (first, second) = candidate.places;
        [(candidate.line, first), (candidate.line, if second > 0 { second } else { first })]
    });
    places.collect()
}

fn is_variable(family: &[Candidate<'_>]) -> bool {
    let context = family[0].context;
    let is_open = family.iter().any(|candidate| candidate.words.0 == PLACEHOLDER);
    let are_open = family.iter().all(|candidate| candidate.words.0.contains(PLACEHOLDER));
    let is_told = is_open || family.len() >= DISTINCT_WORDS_MIN;
    context >= CONTEXT_WORDS_MIN && is_told || context > 0 && are_open && family.len() >= OPEN_WORDS_MIN
}

fn are_variable(family: &[Candidate<'_>]) -> bool {
    let is_open = family.iter().any(|candidate| candidate.words == (PLACEHOLDER, PLACEHOLDER));
    let firsts: BTreeSet<&str> = family.iter().map(|candidate| candidate.words.0).collect();
    let seconds: BTreeSet<&str> = family.iter().map(|candidate| candidate.words.1).collect();
    let are_many = firsts.len().min(seconds.len()) >= DISTINCT_WORDS_MIN;
    family[0].context > CONTEXT_WORDS_MIN && (is_open || are_many && family.len() >= 2 * DISTINCT_WORDS_MIN)
}

fn single_candidates<'a>(lines: &[&Line<'a>]) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        singles(number, line, &hashes(line), |single| candidates.push(single));
    }
    candidates
}

fn pair_candidates<'a>(lines: &[&Line<'a>]) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let hashes = hashes(line);
        singles(number, line, &hashes, |single| {
            for place in single.places.0 + 1..line.len() {
                candidates.push(Candidate {
                    rest: single.rest.wrapping_sub(hashes[place]),
                    places: (single.places.0, place),
                    words: (single.words.0, line[place]),
                    context: single.context - usize::from(is_constant(line[place])),
                    ..single
                });
            }
        });
    }
    candidates
}

/// The candidates of one line, place by place.
fn singles<'a>(number: usize, line: &Line<'a>, hashes: &[u64], mut visit: impl FnMut(Candidate<'a>)) {
    let all = hashes.iter().fold(0, |all: u64, hash| all.wrapping_add(*hash));
    let constants = line.iter().filter(|word| is_constant(word)).count();
    for place in 1..line.len() {
        visit(Candidate {
            rest: all.wrapping_sub(hashes[place]),
            places: (place, 0),
            words: (line[place], ""),
            context: constants - usize::from(is_constant(line[place])),
            line: number,
        });
    }
}

fn is_constant(word: &str) -> bool {
    !word.contains(PLACEHOLDER)
}

/// Of each word with its place, so that their sum, less one of them, is the hash of the rest.
fn hashes(line: &[&str]) -> Vec<u64> {
    let hash = |(place, word): (usize, &&str)| {
        let mut hash = Fnv::default();
        hash.write_usize(place);
        hash.write(word.as_bytes());
        hash.finish()
    };
    line.iter().enumerate().map(hash).collect()
}
