mod oracle;
mod real;

use super::*;

#[test]
fn one_step() {
    for cost in [Cost::Mean, Cost::MeanVariance] {
    let values: Vec<f64> = (0..60).map(|i| f64::from(i % 3) + if i < 40 { 0.0 } else { 9.0 }).collect();
    let s = optimal(&values, &Options { cost, ..Options::default() }).unwrap();
    println!("{s:?}");
    assert_eq!(s.changes.len(), 1);
    assert_eq!(s.changes[0].index, 40);
    }
}
