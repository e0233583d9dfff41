//! Statements of SQL, as clients send them.
#![no_main]

libfuzzer_sys::fuzz_target!(|sql: &str| {
    let _ = undercurrent::sql::statement::parse(sql);
});
