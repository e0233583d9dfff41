//! What a statement would cost the parser.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::error::SqlError;

/// The most attempts at arguments that a statement may cost: about a quarter of a second. A single call within
/// calls passes it at a depth of 17; a thousand calls at depths up to four use a quarter of it.
const ATTEMPTS_MAX: u64 = 1 << 17;

/// Words before a parenthesis that is no call's.
const NO_CALL: [Keyword; 20] = [
    Keyword::ALL,
    Keyword::AND,
    Keyword::ANY,
    Keyword::AS,
    Keyword::BY,
    Keyword::ELSE,
    Keyword::EXISTS,
    Keyword::FROM,
    Keyword::HAVING,
    Keyword::IN,
    Keyword::JOIN,
    Keyword::NOT,
    Keyword::ON,
    Keyword::OR,
    Keyword::SELECT,
    Keyword::THEN,
    Keyword::UNION,
    Keyword::VALUES,
    Keyword::WHEN,
    Keyword::WHERE,
];

/// Refuses a statement whose calls are nested so that parsing it would take very long: the parser tries the
/// arguments of a call twice, and so those of a call at depth `d` 2^d times.
pub fn check(sql: &str) -> Result<(), SqlError> {
    // What has no tokens is refused by whoever parses it.
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else { return Ok(()) };
    let tokens = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    let (mut attempts, mut depth) = (0_u64, 0_u32);
    let mut open = vec![];
    let mut is_word = false;
    for token in tokens {
        match token {
            Token::LParen => {
                open.push(is_word);
                if is_word {
                    depth += 1;
                    attempts = attempts.saturating_add(1_u64.checked_shl(depth).unwrap_or(u64::MAX));
                }
            }
            Token::RParen => depth -= u32::from(open.pop().unwrap_or(false)),
            _ => {}
        }
        is_word = matches!(token, Token::Word(word) if !NO_CALL.contains(&word.keyword));
        if attempts > ATTEMPTS_MAX {
            return Err(SqlError::Syntax(format!(
                "calls are nested too deeply, {depth} deep here: at most 16 can be, less where there are many; name parts of it in WITH"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}1{}", "abs(".repeat(depth), ")".repeat(depth))
    }

    #[test]
    fn what_would_take_long_is_refused() {
        for sql in [
            nested(17),
            "f(".repeat(1_000_000),
            format!("SELECT {}", vec![nested(12); 100].join(", ")),
            "SELECT f (x -".repeat(30),
        ] {
            assert!(check(&sql).is_err(), "{sql:.60}");
        }
    }

    #[test]
    fn what_people_write_is_not() {
        for sql in [
            format!("SELECT {}", nested(16)),
            format!("SELECT {}", vec![nested(4); 1000].join(", ")),
            format!("SELECT * FROM {}spans{}", "(SELECT * FROM ".repeat(40), ") AS s".repeat(40)),
            "SELECT ((((((((((((((((((((1))))))))))))))))))))".to_owned(),
            "SELECT ')))' WHERE x IN (1, 2) AND (y OR (z))))".to_owned(),
            "SELECT 'unterminated".to_owned(),
        ] {
            assert!(check(&sql).is_ok(), "{sql:.60}");
        }
    }
}
