//! A series that is edited has the optimum of what it has become.

use super::*;

/// A series that is kept up to date, and its values.
struct Edited {
    online: Online,
    values: Vec<f64>,
}

impl Edited {
    fn edit(&mut self, random: &mut StdRng) {
        let len = self.values.len();
        let value = if random.random_bool(0.02) { f64::NAN } else { 2.0 * noise(random) };
        match random.random_range(0..10) {
            0 => {
                let index = random.random_range(0..=len);
                self.online.insert(index, value);
                self.values.insert(index, value);
            }
            // Late, but not by much.
            1 => {
                let index = len - random.random_range(0..=len.min(20));
                self.online.insert(index, value);
                self.values.insert(index, value);
            }
            2 if len > 0 => {
                let index = random.random_range(0..len);
                self.online.remove(index);
                self.values.remove(index);
            }
            3 => {
                let start = random.random_range(0..=len);
                let end = random.random_range(start..=len.min(start + 30));
                let new_len = random.random_range(0..40);
                let new = series(random, new_len);
                self.online.splice(start, end - start, &new);
                self.values.splice(start..end, new);
            }
            _ => {
                let new_len = random.random_range(1..50);
                for value in series(random, new_len) {
                    self.online.push(value);
                    self.values.push(value);
                }
            }
        }
    }
}

#[test]
fn edited_series_have_the_optimum_of_what_they_are() {
    let mut random = StdRng::seed_from_u64(21);
    for _ in 0..60 {
        let options = options(&mut random);
        let mut edited = Edited { online: Online::new(options).unwrap(), values: vec![] };
        for _ in 0..60 {
            edited.edit(&mut random);
            assert_eq!(edited.online.len(), edited.values.len());
            if random.random_bool(0.7) {
                let expected = optimal(&edited.values, &options).unwrap();
                assert_eq!(edited.online.segmentation(), expected, "{options:?}");
            }
        }
        assert!(edited.values.len() > 400);
    }
}

/// Each value that is appended, and each that is taken back.
#[test]
fn back_and_forth() {
    let mut random = StdRng::seed_from_u64(22);
    for cost in [Cost::Mean, Cost::MeanVariance] {
        let options = Options { cost, segment_len_min: 3, ..Options::default() };
        let values: Vec<f64> = (0..20).flat_map(|_| series(&mut random, 35)).collect();
        let optima: Vec<Segmentation> =
            (0..=values.len()).map(|len| optimal(&values[..len], &options).unwrap()).collect();
        let mut online = Online::new(options).unwrap();
        for (value, optimum) in values.iter().zip(&optima) {
            assert_eq!(online.segmentation(), *optimum);
            online.push(*value);
        }
        for optimum in optima.iter().rev() {
            assert_eq!(online.segmentation(), *optimum);
            online.remove(optimum.len.saturating_sub(1));
        }
        assert!(online.is_empty());
    }
}

#[test]
fn indices_beyond_the_end_are_the_end() {
    let mut online = Online::new(Options::default()).unwrap();
    online.insert(7, 1.0);
    online.remove(3);
    assert_eq!(online.len(), 1);
    online.splice(1, usize::MAX, &[f64::NAN, 2.0]);
    assert_eq!(online.len(), 3);
    online.splice(0, usize::MAX, &[]);
    assert!(online.is_empty());
}
