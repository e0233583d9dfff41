//! Arguments of windows that the parser of PostgreSQL's dialect cannot read, as ones that it can.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::windows::WINDOWS;
use crate::sql::error::SqlError;

/// The tokens of `sql`: in the arguments of TUMBLE, HOP and SESSION without TABLE before a relation, and with a comma
/// for PARTITION BY.
pub(in crate::sql) fn readable(sql: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location();
    let tokens = tokens.map_err(|e| SqlError::Syntax(format!("syntax error: {e}")))?;
    let is_space = |token: &&TokenWithSpan| matches!(token.token, Token::Whitespace(_));
    if !tokens.iter().any(is_window) {
        return Ok(tokens);
    }
    let mut result: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // For each parenthesis that is open, whether it is that of a window.
    let mut open = vec![];
    let mut before: [Option<Token>; 2] = [None, None];
    let mut skips_by = false;
    for (index, token) in tokens.iter().enumerate() {
        if is_space(&token) {
            result.push(token.clone());
            continue;
        }
        let next = || tokens[index + 1..].iter().find(|t| !is_space(t)).map(|t| &t.token);
        let in_window = open.last() == Some(&true);
        match &token.token {
            Token::LParen => {
                let is_call = matches!(&before[1], Some(Token::Word(word)) if is_name(word));
                open.push(is_call);
                result.push(token.clone());
            }
            Token::RParen => {
                open.pop();
                result.push(token.clone());
            }
            Token::Word(word) if in_window && word.keyword == Keyword::TABLE && is_relation(next()) => {}
            Token::Word(word)
                if in_window && word.keyword == Keyword::PARTITION && is_word(next(), Keyword::BY) =>
            {
                result.push(TokenWithSpan { token: Token::Comma, span: token.span });
                skips_by = true;
            }
            Token::Word(word) if skips_by && word.keyword == Keyword::BY => skips_by = false,
            _ => result.push(token.clone()),
        }
        before = [before[1].take(), Some(token.token.clone())];
    }
    Ok(result)
}

fn is_window(token: &TokenWithSpan) -> bool {
    matches!(&token.token, Token::Word(word) if is_name(word))
}

fn is_name(word: &datafusion::sql::sqlparser::tokenizer::Word) -> bool {
    word.quote_style.is_none() && WINDOWS.iter().any(|name| word.value.eq_ignore_ascii_case(name))
}

/// Whether a relation or a query in parentheses begins with `token`.
fn is_relation(token: Option<&Token>) -> bool {
    matches!(token, Some(Token::Word(_) | Token::LParen))
}

fn is_word(token: Option<&Token>, keyword: Keyword) -> bool {
    matches!(token, Some(Token::Word(word)) if word.keyword == keyword)
}
