//! What a statement would cost the parser.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::error::SqlError;

/// The most attempts that a statement may cost: about a quarter of a second. A single call within calls passes it
/// at a depth of 17, as does a name of 17 parts; a thousand calls at depths up to four use a quarter of it.
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

/// What the parser tries again from its beginning when it fails further on.
#[derive(Default)]
struct Frame {
    /// The arguments of a call or a subscript, each tried twice.
    is_retried: bool,
    /// Dots of the name read last: what follows each is tried as an expression and then as a name.
    dots: u32,
}

/// Refuses a statement whose calls, subscripts and dotted names are nested so that parsing it would take very long:
/// the parser tries what is in `d` of them 2^d times.
pub fn check(sql: &str) -> Result<(), SqlError> {
    // What has no tokens is refused by whoever parses it.
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else { return Ok(()) };
    let tokens = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    let (mut attempts, mut depth) = (0_u64, 0_u32);
    let mut outer = vec![];
    let mut frame = Frame::default();
    let (mut is_word, mut is_after_dot) = (false, false);
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket => {
                let is_retried = is_word || matches!(token, Token::LBracket);
                outer.push(std::mem::replace(&mut frame, Frame { is_retried, dots: 0 }));
                depth += u32::from(is_retried);
            }
            Token::RParen | Token::RBracket => {
                depth -= u32::from(frame.is_retried) + frame.dots;
                frame = outer.pop().unwrap_or_default();
            }
            Token::Period => {
                frame.dots += 1;
                depth += 1;
            }
            _ if is_after_dot => {}
            _ => depth -= std::mem::take(&mut frame.dots),
        }
        if matches!(token, Token::LParen | Token::LBracket | Token::Period) && depth > 0 {
            attempts = attempts.saturating_add(1_u64.checked_shl(depth).unwrap_or(u64::MAX));
        }
        if attempts > ATTEMPTS_MAX {
            return Err(SqlError::Syntax(format!(
                "calls, subscripts and dots are nested too deeply, {depth} deep here: at most 16 can be, less where there are many; name parts of it in WITH"
            )));
        }
        // Signs before the name are read with it.
        is_after_dot = matches!(token, Token::Period) || is_after_dot && !is_operand(token);
        is_word = matches!(token, Token::Word(word) if !NO_CALL.contains(&word.keyword));
    }
    Ok(())
}

fn is_operand(token: &Token) -> bool {
    use Token::{DoubleQuotedString, LBracket, LParen, Number, Placeholder, SingleQuotedString, Word};
    matches!(
        token,
        Word(_)
            | Number(..)
            | SingleQuotedString(_)
            | DoubleQuotedString(_)
            | Placeholder(_)
            | LParen
            | LBracket
    )
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
            format!("SELECT {}\u{b}", "a. ".repeat(17)),
            format!("SELECT {}", "a.b[".repeat(9)),
            format!("SELECT {}@ + {})", "a.".repeat(9), "a.".repeat(9)),
            format!("SELECT {}", "a.b.(c.".repeat(6)),
            include_str!("../../fuzz/seeds/statements/dots").to_owned(),
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
            format!("SELECT {}", vec!["s.a.b.c + x.y[1].z.f(p.q)"; 1000].join(", ")),
            format!("SELECT 1 WHERE {}", vec!["t.a IS NOT NULL AND s.f(t.a)"; 1000].join(" AND ")),
            format!("SELECT {}a", "a.".repeat(15)),
            "SELECT ')))' WHERE x IN (1, 2) AND (y OR (z))))".to_owned(),
            "SELECT 'unterminated".to_owned(),
        ] {
            assert!(check(&sql).is_ok(), "{sql:.60}");
        }
    }
}
