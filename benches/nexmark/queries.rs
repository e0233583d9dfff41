//! The texts of the queries.

/// How many there are, counted from q0.
pub const COUNT: usize = 23;

/// The text of query `number`.
pub fn text(number: usize) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/nexmark/queries");
    let path = format!("{folder}/q{number}.sql");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
