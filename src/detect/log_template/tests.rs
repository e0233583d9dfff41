mod limits;
mod masks;
mod merging;
mod real;

use super::*;

/// Checks the template of each message, that it is its own template, and that it has one parameter a placeholder.
fn check(cases: &[(&str, &str)]) {
    for (message, expected) in cases {
        assert_eq!(template(message), *expected, "of {message:?}");
        check_parameters(message);
        assert_eq!(template(expected), *expected, "of the template of {message:?}");
    }
}

fn check_parameters(message: &str) {
    let placeholders = template(message).matches(PLACEHOLDER).count();
    assert_eq!(
        parameters(message).len(),
        placeholders,
        "parameters of {message:?}: {:?}",
        parameters(message)
    );
}
