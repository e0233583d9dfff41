//! Statistics of pairs of doubles: covariance, correlation and the regression line, from exact sums.

use super::bytes::{DecodeError, Reader, put_signed, put_unsigned};
use super::exact_sum::ExactSum;
use super::exact_sum::moments::{comoment, mean};

/// Exact sums over pairs `(y, x)`, in the order of SQL's `regr_slope(y, x)`.
///
/// As a [`Retractable`](super::retractable::Retractable) is of single values, it is a function of the multiset of
/// pairs alone: what is added and then retracted leaves no trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    count: i64,
    /// Of y and of x.
    sums: [ExactSum; 2],
    squares: [ExactSum; 2],
    products: ExactSum,
}

/// What can be asked of [`Pairs`]: PostgreSQL's aggregates of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PairsQuestion {
    /// `covar_samp`: divided by n - 1.
    CovarianceSample,
    /// `covar_pop`: divided by n.
    CovariancePopulation,
    /// `corr`: Pearson's coefficient, between -1 and 1.
    Correlation,
    /// `regr_slope` of the line that fits best.
    Slope,
    /// `regr_intercept`: where that line meets `x = 0`.
    Intercept,
    /// `regr_r2`: the square of the coefficient of correlation.
    Determination,
    /// `regr_avgx`.
    MeanX,
    /// `regr_avgy`.
    MeanY,
    /// `regr_sxx`: the sum of squares of the deviations of x from its mean.
    DeviationX,
    /// `regr_syy`: that of y.
    DeviationY,
    /// `regr_sxy`: the sum of products of both deviations.
    DeviationXY,
}

impl Pairs {
    /// Adds the pair `weight` times; a negative weight retracts.
    pub fn add(&mut self, y: f64, x: f64, weight: i64) {
        self.count = self.count.wrapping_add(weight);
        for (side, value) in [y, x].into_iter().enumerate() {
            self.sums[side].add(value, weight);
            self.squares[side].add_square(value, weight);
        }
        self.products.add_product(y, x, weight);
    }

    /// The statistic; `None` where SQL has NULL: with too few pairs, and for a line or a correlation where all
    /// x are the same (for a correlation, all y). NaN where a value is not finite.
    pub fn answer(&self, question: PairsQuestion) -> Option<f64> {
        let reduced = self.count - 1;
        match question {
            PairsQuestion::CovarianceSample => self.products_by(reduced),
            PairsQuestion::CovariancePopulation => self.products_by(self.count),
            PairsQuestion::DeviationXY => self.products_by(1),
            PairsQuestion::DeviationY => self.squares_by(0, 1),
            PairsQuestion::DeviationX => self.squares_by(1, 1),
            PairsQuestion::MeanY => mean(self.count, &self.sums[0]),
            PairsQuestion::MeanX => mean(self.count, &self.sums[1]),
            PairsQuestion::Correlation => self.correlation(),
            PairsQuestion::Determination => self.correlation().map(|r| r * r),
            PairsQuestion::Slope => self.slope(),
            PairsQuestion::Intercept => {
                let slope = self.slope()?;
                Some(mean(self.count, &self.sums[0])? - slope * mean(self.count, &self.sums[1])?)
            }
        }
    }

    fn products_by(&self, divisor: i64) -> Option<f64> {
        comoment(self.count, [&self.sums[0], &self.sums[1]], &self.products, divisor)
    }

    fn squares_by(&self, side: usize, divisor: i64) -> Option<f64> {
        comoment(self.count, [&self.sums[side]; 2], &self.squares[side], divisor)
    }

    fn slope(&self) -> Option<f64> {
        let variance = self.squares_by(1, self.count - 1).filter(|variance| *variance != 0.0)?;
        Some(self.products_by(self.count - 1)? / variance)
    }

    fn correlation(&self) -> Option<f64> {
        let reduced = self.count - 1;
        let variance = |side| self.squares_by(side, reduced).filter(|variance| *variance != 0.0);
        let (y, x, product) = (variance(0)?, variance(1)?, self.products_by(reduced)?);
        // One root is more exact than two, where the product of the variances is a double.
        let both = y * x;
        let ratio = if both.is_normal() { product / both.sqrt() } else { product / y.sqrt() / x.sqrt() };
        // Roundings can carry it past the bounds.
        Some(ratio.clamp(-1.0, 1.0))
    }

    /// Adds all that `other` was given.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.wrapping_add(other.count);
        self.all_sums()
            .into_iter()
            .zip(other.clone().all_sums())
            .for_each(|(ours, theirs)| ours.merge(theirs));
    }

    fn all_sums(&mut self) -> [&mut ExactSum; 5] {
        let ([y, x], [yy, xx]) = (&mut self.sums, &mut self.squares);
        [y, x, yy, xx, &mut self.products]
    }

    /// Appends the state to `out`; equal states have equal bytes.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        put_signed(out, self.count);
        for sum in self.clone().all_sums() {
            let bytes = sum.to_bytes();
            put_unsigned(out, bytes.len() as u64);
            out.extend(bytes);
        }
    }

    /// Adds a state that [`Pairs::write_bytes`] wrote. On an error part of it may be added.
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("pairs", bytes);
        self.count = self.count.wrapping_add(reader.signed()?);
        for sum in self.all_sums() {
            let length = reader.unsigned()?;
            sum.merge_bytes(reader.slice(length)?)?;
        }
        reader.end()
    }

    /// Bytes held beyond the structure itself.
    pub fn heap_bytes(&self) -> usize {
        let sums = self.sums.iter().chain(&self.squares).chain([&self.products]);
        sums.map(|sum| sum.size_bytes() - size_of::<ExactSum>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::PairsQuestion::*;
    use super::*;

    fn of(pairs: &[(f64, f64)]) -> Pairs {
        let mut state = Pairs::default();
        pairs.iter().for_each(|(y, x)| state.add(*y, *x, 1));
        state
    }

    #[test]
    fn a_line_is_found() {
        let line = of(&[(1.0, 0.0), (3.0, 1.0), (5.0, 2.0), (7.0, 3.0)]);
        let expected = [
            (CovarianceSample, 10.0 / 3.0),
            (CovariancePopulation, 2.5),
            (Correlation, 1.0),
            (Slope, 2.0),
            (Intercept, 1.0),
            (Determination, 1.0),
            (MeanX, 1.5),
            (MeanY, 4.0),
            (DeviationX, 5.0),
            (DeviationY, 20.0),
            (DeviationXY, 10.0),
        ];
        for (question, value) in expected {
            let answer = line.answer(question).unwrap();
            assert!((answer - value).abs() < 1e-15, "{question:?}: {answer}");
        }
        // Beside a large mean nothing is lost, and signs are kept.
        let steep = of(&[(1e9, 1e15), (1e9 - 1.0, 1e15 + 1.0)]);
        assert_eq!(steep.answer(Slope), Some(-1.0));
        assert_eq!(steep.answer(Correlation), Some(-1.0));
        assert_eq!(steep.answer(CovariancePopulation), Some(-0.25));
    }

    #[test]
    fn too_little_has_no_answer() {
        for question in [CovarianceSample, Correlation, Slope, Intercept, Determination] {
            assert_eq!(of(&[(1.0, 2.0)]).answer(question), None, "{question:?}");
        }
        assert_eq!(of(&[]).answer(CovariancePopulation), None);
        assert_eq!(of(&[(1.0, 2.0)]).answer(CovariancePopulation), Some(0.0));
        let flat = of(&[(1.0, 2.0), (3.0, 2.0)]);
        assert_eq!([flat.answer(Slope), flat.answer(Correlation)], [None, None]);
        assert!(of(&[(f64::NAN, 2.0), (3.0, 1.0)]).answer(Correlation).unwrap().is_nan());
        assert!(of(&[(f64::INFINITY, 0.0), (3.0, 1.0)]).answer(Slope).unwrap().is_nan());
    }

    #[test]
    fn comoments_agree_with_integers() {
        let mut random = StdRng::seed_from_u64(5);
        for _ in 0..500 {
            let mut state = Pairs::default();
            let (mut n, mut y_sum, mut x_sum, mut products) = (0_i128, 0_i128, 0_i128, 0_i128);
            for _ in 0..random.random_range(1..30) {
                let (y, x) = (random.random_range(-1000_i32..1000), random.random_range(-1000_i32..1000));
                let weight = random.random_range(1..4);
                state.add(f64::from(y), f64::from(x), weight);
                n += i128::from(weight);
                y_sum += i128::from(y) * i128::from(weight);
                x_sum += i128::from(x) * i128::from(weight);
                products += i128::from(y) * i128::from(x) * i128::from(weight);
            }
            // Both are exact in a double, so that one division rounds as the exact one does.
            let expected = (n * products - y_sum * x_sum) as f64 / n as f64;
            assert_eq!(state.answer(DeviationXY), Some(expected));
        }
    }

    #[test]
    fn retraction_merging_and_bytes_leave_no_trace() {
        let mut random = StdRng::seed_from_u64(6);
        let mut any = || {
            let exponent = random.random_range(-300..300);
            random.random_range(-1.0..1.0) * f64::from(exponent).exp2()
        };
        for _ in 0..200 {
            let mut pair = || (any(), any());
            let kept: Vec<_> = (0..5).map(|_| pair()).collect();
            let gone: Vec<_> = (0..5).map(|_| pair()).collect();
            let mut state = of(&gone);
            let mut bytes = vec![];
            of(&kept[..2]).write_bytes(&mut bytes);
            state.merge_bytes(&bytes).unwrap();
            state.merge(&of(&kept[2..]));
            gone.iter().for_each(|(y, x)| state.add(*y, *x, -1));
            assert_eq!(state, of(&kept));
        }
    }
}
