//! Autocorrelation by the Fourier transform of Cooley and Tukey (1965).
//!
//! Our own, since periods are looked for rarely and the transforms of libraries differ by the processor that they run
//! on: here equal values have equal bits everywhere.

use std::f64::consts::TAU;

/// The sum of products of each value with the one `lag` places on, for each lag below `lags`, with zeros behind the
/// values. `O(n log n)`.
pub(super) fn autocorrelation(values: &[f64], lags: usize) -> Vec<f64> {
    // As many zeros as values: what wraps around meets only these.
    let length = (2 * values.len().max(1)).next_power_of_two();
    let mut real = vec![0.0; length];
    real[..values.len()].copy_from_slice(values);
    let mut imaginary = vec![0.0; length];
    transform(&mut real, &mut imaginary);
    for (real, imaginary) in real.iter_mut().zip(&mut imaginary) {
        *real = *real * *real + *imaginary * *imaginary;
        *imaginary = 0.0;
    }
    // The power of a real series is even, so that the transform is its own inverse but for the length.
    transform(&mut real, &mut imaginary);
    real.truncate(lags.min(values.len()));
    real.resize(lags, 0.0);
    real.iter_mut().for_each(|sum| *sum /= length as f64);
    real
}

/// Transforms complex values in place; their number is a power of two.
fn transform(real: &mut [f64], imaginary: &mut [f64]) {
    let length = real.len();
    let bits = length.trailing_zeros();
    for index in 0..length {
        let reversed = if bits == 0 { 0 } else { index.reverse_bits() >> (usize::BITS - bits) };
        if index < reversed {
            real.swap(index, reversed);
            imaginary.swap(index, reversed);
        }
    }
    let turns: Vec<(f64, f64)> = (0..length / 2)
        .map(|index| {
            let angle = -TAU * index as f64 / length as f64;
            (angle.cos(), angle.sin())
        })
        .collect();
    let mut half = 1;
    while half < length {
        let stride = length / (2 * half);
        for begin in (0..length).step_by(2 * half) {
            for offset in 0..half {
                let (cosine, sine) = turns[offset * stride];
                let (low, high) = (begin + offset, begin + offset + half);
                let turned_real = real[high] * cosine - imaginary[high] * sine;
                let turned_imaginary = real[high] * sine + imaginary[high] * cosine;
                (real[high], real[low]) = (real[low] - turned_real, real[low] + turned_real);
                (imaginary[high], imaginary[low]) =
                    (imaginary[low] - turned_imaginary, imaginary[low] + turned_imaginary);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_sums_of_products() {
        for length in [0, 1, 2, 3, 7, 64, 100] {
            let values: Vec<f64> = (0..length).map(|i| f64::from((i * 7919 + 13) % 101) - 50.0).collect();
            let found = autocorrelation(&values, 10);
            for (lag, found) in found.into_iter().enumerate() {
                let products = values.iter().zip(values.iter().skip(lag)).map(|(a, b)| a * b);
                let expected: f64 = products.sum();
                assert!((found - expected).abs() < 1e-7, "{length} values, lag {lag}: {found} {expected}");
            }
        }
    }
}
