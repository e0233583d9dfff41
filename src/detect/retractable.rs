//! Statistics of a multiset of doubles, kept by counting: what is added can be taken back.

use super::bytes::{DecodeError, Reader, put_signed, put_unsigned};
use super::exact_sum::ExactSum;
use super::exact_sum::moments::{Divisor, mean, variance};
use super::quantile_sketch::{Bins, Mapping};

/// The state that a statistic is computed from.
///
/// Adding and retracting commute, [`Retractable::merge`] is adding all that the other state was
/// given, and a state whose values are all retracted equals the default one. Each method that takes
/// a question must be given one of the same state: percentiles of another relative error have others.
pub trait Retractable: Clone + Default + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// What is asked of a state, and how values enter it.
    type Question: Clone + Copy + std::fmt::Debug + Send + Sync + 'static;

    /// Adds `value` `weight` times; a negative weight retracts.
    fn add(&mut self, question: &Self::Question, value: f64, weight: i64);

    /// Adds all that `other` was given.
    fn merge(&mut self, other: &Self);

    /// Number of values: insertions less retractions.
    fn count(&self) -> i64;

    /// The statistic; `None` where SQL has NULL, which is too few values.
    fn answer(&self, question: &Self::Question) -> Option<f64>;

    /// Appends the state to `out`; equal states have equal bytes.
    fn write_bytes(&self, out: &mut Vec<u8>);

    /// Adds a state that [`Retractable::write_bytes`] wrote. On an error part of it may be added.
    fn merge_bytes(&mut self, bytes: &[u8]) -> Result<(), DecodeError>;

    /// Bytes held beyond the structure itself.
    fn heap_bytes(&self) -> usize;
}

/// Count and sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    count: i64,
    sum: ExactSum,
}

/// What can be asked of a [`Total`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TotalQuestion {
    /// The sum of the values.
    Sum,
    /// Their mean.
    Mean,
}

impl Retractable for Total {
    type Question = TotalQuestion;

    #[inline(always)]
    fn add(&mut self, _: &TotalQuestion, value: f64, weight: i64) {
        self.count = self.count.wrapping_add(weight);
        self.sum.add(value, weight);
    }

    fn merge(&mut self, other: &Self) {
        self.count = self.count.wrapping_add(other.count);
        self.sum.merge(&other.sum);
    }

    fn count(&self) -> i64 {
        self.count
    }

    fn answer(&self, question: &TotalQuestion) -> Option<f64> {
        match question {
            TotalQuestion::Sum => (self.count > 0).then(|| self.sum.value()),
            TotalQuestion::Mean => mean(self.count, &self.sum),
        }
    }

    fn write_bytes(&self, out: &mut Vec<u8>) {
        put_signed(out, self.count);
        self.sum.write_bytes(out);
    }

    fn merge_bytes(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("total", bytes);
        self.count = self.count.wrapping_add(reader.signed()?);
        self.sum.merge_bytes(reader.rest())
    }

    fn heap_bytes(&self) -> usize {
        self.sum.size_bytes() - size_of::<ExactSum>()
    }
}

/// Count, sum and sum of squares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    total: Total,
    squares: ExactSum,
}

/// What can be asked of a [`Spread`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpreadQuestion {
    /// Whose variance: a sample's or a population's.
    pub divisor: Divisor,
    /// Whether the standard deviation is asked for and not the variance.
    pub is_deviation: bool,
}

impl Retractable for Spread {
    type Question = SpreadQuestion;

    #[inline(always)]
    fn add(&mut self, _: &SpreadQuestion, value: f64, weight: i64) {
        self.total.add(&TotalQuestion::Sum, value, weight);
        self.squares.add_square(value, weight);
    }

    fn merge(&mut self, other: &Self) {
        self.total.merge(&other.total);
        self.squares.merge(&other.squares);
    }

    fn count(&self) -> i64 {
        self.total.count
    }

    fn answer(&self, question: &SpreadQuestion) -> Option<f64> {
        let variance = variance(self.total.count, &self.total.sum, &self.squares, question.divisor)?;
        Some(if question.is_deviation { variance.sqrt() } else { variance })
    }

    fn write_bytes(&self, out: &mut Vec<u8>) {
        let squares = self.squares.to_bytes();
        put_unsigned(out, squares.len() as u64);
        out.extend(squares);
        self.total.write_bytes(out);
    }

    fn merge_bytes(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("spread", bytes);
        let length = reader.unsigned()?;
        self.squares.merge_bytes(reader.slice(length)?)?;
        self.total.merge_bytes(reader.rest())
    }

    fn heap_bytes(&self) -> usize {
        self.total.heap_bytes() + self.squares.size_bytes() - size_of::<ExactSum>()
    }
}

/// What can be asked of [`Bins`]: the value at rank `floor(p * (count - 1))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PercentileQuestion {
    /// The rank, in `0..=1`.
    pub p: f64,
    /// How values become bins.
    pub mapping: Mapping,
}

impl Retractable for Bins {
    type Question = PercentileQuestion;

    #[inline(always)]
    fn add(&mut self, question: &PercentileQuestion, value: f64, weight: i64) {
        self.add(&question.mapping, value, weight);
    }

    fn merge(&mut self, other: &Self) {
        self.merge(other);
    }

    fn count(&self) -> i64 {
        self.count()
    }

    fn answer(&self, question: &PercentileQuestion) -> Option<f64> {
        self.quantile(&question.mapping, question.p)
    }

    fn write_bytes(&self, out: &mut Vec<u8>) {
        self.write_bytes(out);
    }

    fn merge_bytes(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.merge_bytes(bytes)
    }

    fn heap_bytes(&self) -> usize {
        self.size_bytes() - size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// A state of any values, some of them taken back before they come.
    fn any<S: Retractable>(question: &S::Question, random: &mut StdRng) -> S {
        let special = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE];
        let mut state = S::default();
        for _ in 0..random.random_range(0..20) {
            let value = match random.random_bool(0.3) {
                true => special[random.random_range(0..special.len())],
                false => random.random_range(-9.0..9.0) * f64::from(random.random_range(-300..300)).exp2(),
            };
            state.add(question, value, random.random_range(-2..5));
        }
        state
    }

    /// States come back from their bytes, the same to the bit; what is cut is refused or is another state.
    fn check<S: Retractable>(question: S::Question, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..200 {
            let state: S = any(&question, &mut random);
            let (mut bytes, mut again) = (vec![], vec![]);
            state.write_bytes(&mut bytes);
            let mut read = S::default();
            read.merge_bytes(&bytes).unwrap();
            assert_eq!(read, state);
            assert_eq!(read.count(), state.count());
            assert_eq!(read.answer(&question).map(f64::to_bits), state.answer(&question).map(f64::to_bits));
            read.write_bytes(&mut again);
            assert_eq!(again, bytes);
            for length in 0..bytes.len() {
                let mut cut = S::default();
                assert!(cut.merge_bytes(&bytes[..length]).is_err() || cut != state, "{length} of {bytes:?}");
            }
            // It goes on as the state does.
            let (more, mut both): (S, S) = (any(&question, &mut random), state.clone());
            read.merge(&more);
            both.merge(&more);
            assert_eq!(read.answer(&question).map(f64::to_bits), both.answer(&question).map(f64::to_bits));
        }
    }

    #[test]
    fn states_come_back_from_their_bytes() {
        check::<Total>(TotalQuestion::Sum, 1);
        check::<Total>(TotalQuestion::Mean, 2);
        check::<Spread>(SpreadQuestion { divisor: Divisor::Sample, is_deviation: true }, 3);
        check::<Bins>(PercentileQuestion { p: 0.7, mapping: Mapping::new(0.01) }, 4);
    }
}
