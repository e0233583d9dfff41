//! Patterns are a function of the set of templates.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::*;

fn patterns(templates: &[String]) -> BTreeMap<&str, String> {
    merge(templates.iter().map(String::as_str))
}

fn distinct(templates: &[String]) -> BTreeSet<String> {
    patterns(templates).into_values().collect()
}

fn of(form: &str, words: &[&str]) -> Vec<String> {
    words.iter().map(|word| form.replace("WORD", word)).collect()
}

const NAMES: [&str; 6] = ["anna", "bert", "carl", "dora", "emil", "www-data"];

#[test]
fn a_place_with_many_words_is_variable() {
    let form = "Failed password for WORD from <*> port <*> ssh2";
    let few = of(form, &NAMES[..DISTINCT_WORDS_MIN - 1]);
    assert_eq!(distinct(&few), few.iter().cloned().collect());
    let many = of(form, &NAMES[..DISTINCT_WORDS_MIN]);
    assert_eq!(distinct(&many), ["Failed password for <*> from <*> port <*> ssh2".to_string()].into());
}

#[test]
fn a_lone_placeholder_takes_the_words_in_its_place() {
    let users = of("session opened for user WORD", &["root", "<*>"]);
    assert_eq!(distinct(&users), ["session opened for user <*>".to_string()].into());
    let little = of("state WORD", &["up", "<*>"]);
    assert_eq!(distinct(&little).len(), 2);
}

#[test]
fn words_with_placeholders_are_one() {
    let hosts = of("Opening WORD", &["web-<*>", "db-<*>", "mq-<*>"]);
    assert_eq!(distinct(&hosts), ["Opening <*>".to_string()].into());
    assert_eq!(distinct(&hosts[..2]).len(), 2);
}

#[test]
fn the_first_word_and_the_text_between_words_stay() {
    let starts = of("WORD startup has succeeded", &NAMES);
    assert_eq!(distinct(&starts).len(), NAMES.len());
    let (plain, colon) = (of("login of WORD failed", &NAMES[..3]), of("login of: WORD failed", &NAMES[3..]));
    assert_eq!(distinct(&[plain, colon].concat()).len(), NAMES.len());
}

#[test]
fn two_places_may_vary_together() {
    let mut templates = Vec::new();
    for (at, from) in NAMES.iter().enumerate() {
        templates.push(format!("create order from {from} to {} in time", NAMES[(at + 1) % NAMES.len()]));
        templates.push(format!("create order from {from} to {} in time", NAMES[(at + 2) % NAMES.len()]));
    }
    assert_eq!(distinct(&templates), ["create order from <*> to <*> in time".to_string()].into());
}

#[test]
fn states_that_are_few_stay_apart() {
    let states = ["NEW to READY", "READY to RUNNING", "RUNNING to DONE", "RUNNING to FAILED"];
    assert_eq!(distinct(&of("task_<*> moved from WORD", &states)).len(), states.len());
}

/// Templates of a few forms, with words at random.
fn random_templates(random: &mut StdRng) -> Vec<String> {
    let forms = ["a b W c W", "a W", "x <*> W W y z", "login W from W at W now", "W b c", "p: W q (W) r s t"];
    let words = ["k", "l", "m", "n", "o", "p", "q-<*>", "r-<*>", "s-<*>", "<*>"];
    let mut templates = Vec::new();
    for _ in 0..random.random_range(0..60) {
        let form = forms.choose(random).unwrap();
        let parts: Vec<&str> = form.split('W').collect();
        let mut template = String::from(parts[0]);
        for part in &parts[1..] {
            template.push_str(words.choose(random).unwrap());
            template.push_str(part);
        }
        templates.push(template);
    }
    templates
}

#[test]
fn neither_order_nor_repetition_matters() {
    let mut random = StdRng::seed_from_u64(4);
    for _ in 0..300 {
        let mut templates = random_templates(&mut random);
        let expected: BTreeMap<String, String> =
            patterns(&templates).into_iter().map(|(template, pattern)| (template.into(), pattern)).collect();
        let again: Vec<String> =
            templates.choose_multiple(&mut random, templates.len() / 2).cloned().collect();
        templates.extend(again);
        templates.shuffle(&mut random);
        for (template, pattern) in patterns(&templates) {
            assert_eq!(pattern, expected[template]);
        }
    }
}

/// What a maintained query does: the groups of one key, each alone and in any order.
#[test]
fn groups_of_a_key_are_independent() {
    let mut random = StdRng::seed_from_u64(5);
    for _ in 0..300 {
        let templates = random_templates(&mut random);
        let expected = patterns(&templates);
        let mut groups: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for template in &templates {
            groups.entry(merge_key(template)).or_default().push(template);
        }
        for group in groups.values_mut() {
            group.shuffle(&mut random);
            for (template, pattern) in group.iter().zip(merge_group(group)) {
                assert_eq!(pattern, expected[template]);
                assert_eq!(merge_key(&pattern), merge_key(template));
            }
        }
        let all: Vec<&str> = templates.iter().map(String::as_str).collect();
        for (template, pattern) in all.iter().zip(merge_group(&all)) {
            assert_eq!(pattern, expected[template], "in the group of all keys");
        }
    }
}

/// Merging ends where nothing more merges, and a pattern differs from its template by placeholders alone.
#[test]
fn patterns_are_final_and_cover_their_templates() {
    let mut random = StdRng::seed_from_u64(6);
    for _ in 0..300 {
        let templates = random_templates(&mut random);
        let merged = patterns(&templates);
        let finals: Vec<String> = merged.values().cloned().collect();
        assert!(patterns(&finals).iter().all(|(pattern, again)| pattern == again));
        for (template, pattern) in &merged {
            let (words, general) = (template.split(' '), pattern.split(' '));
            assert_eq!(words.clone().count(), general.clone().count());
            assert!(
                words.zip(general).all(|(word, general)| word == general || general.contains(PLACEHOLDER))
            );
        }
    }
}

/// By the criterion as it is written, place by place and template by template.
#[test]
fn single_places_by_brute_force() {
    let mut random = StdRng::seed_from_u64(7);
    let words = ["k", "l", "m", "n", "o", "p", "q"];
    for _ in 0..300 {
        let context = random.random_range(0..5);
        let chosen: BTreeSet<&str> =
            words.choose_multiple(&mut random, 7).take(random.random_range(1..8)).copied().collect();
        let tail = " c".repeat(context);
        let templates: Vec<String> = chosen.iter().map(|word| format!("a {word}{tail}")).collect();
        let is_variable = chosen.len() >= DISTINCT_WORDS_MIN && context + 1 >= CONTEXT_WORDS_MIN;
        let expected =
            if is_variable { [format!("a <*>{tail}")].into() } else { templates.iter().cloned().collect() };
        assert_eq!(distinct(&templates), expected);
    }
}
