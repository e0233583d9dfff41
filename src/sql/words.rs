//! Statements as words: where they end, and those that DataFusion's parser does not know.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer, Word};

use super::error::SqlError;

/// Cuts `sql` at its semicolons; pieces without a token are left out.
pub fn split(sql: &str) -> Result<Vec<&str>, SqlError> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|e| SqlError::Syntax(format!("syntax error: {e}")))?;
    let mut offsets = Offsets::new(sql);
    let mut pieces = vec![];
    let (mut start, mut has_tokens) = (0, false);
    for token in &tokens {
        match &token.token {
            Token::SemiColon => {
                let end = offsets.at(token.span.start);
                pieces.extend(has_tokens.then(|| sql[start..end].trim()));
                (start, has_tokens) = (end + 1, false);
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => has_tokens = true,
        }
    }
    pieces.extend(has_tokens.then(|| sql[start..].trim()));
    Ok(pieces)
}

/// Where tokens are in a text, in bytes. Asked in the order of the tokens, it reads the text once.
pub struct Offsets<'a> {
    text: &'a str,
    line: u64,
    column: u64,
    offset: usize,
}

impl<'a> Offsets<'a> {
    /// Places in `text`.
    pub fn new(text: &'a str) -> Self {
        Offsets { text, line: 1, column: 1, offset: 0 }
    }

    /// The offset of `place`, which is not before the one asked for last; the end of the text for one behind it.
    pub fn at(&mut self, place: Location) -> usize {
        for character in self.text[self.offset..].chars() {
            if (self.line, self.column) >= (place.line, place.column) {
                break;
            }
            self.offset += character.len_utf8();
            (self.line, self.column) = match character {
                '\n' => (self.line + 1, 1),
                _ => (self.line, self.column + 1),
            };
        }
        self.offset
    }
}

/// The words and values of a statement, for those that DataFusion does not know.
pub(super) struct Words {
    tokens: Vec<Token>,
    next: usize,
}

impl Words {
    pub fn new(sql: &str) -> Result<Self, SqlError> {
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
            .tokenize()
            .map_err(|e| SqlError::Syntax(format!("syntax error: {e}")))?;
        let tokens = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_) | Token::EOF)).collect();
        Ok(Words { tokens, next: 0 })
    }

    /// Takes `words` if they come next, in any case.
    pub fn take(&mut self, words: &[&str]) -> bool {
        let matches = words.iter().enumerate().all(|(i, word)| match self.tokens.get(self.next + i) {
            Some(Token::Word(w)) => w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word),
            _ => false,
        });
        self.next += if matches { words.len() } else { 0 };
        matches
    }

    pub fn take_token(&mut self, token: &Token) -> bool {
        let matches = self.tokens.get(self.next) == Some(token);
        self.next += matches as usize;
        matches
    }

    pub fn name(&mut self) -> Result<String, SqlError> {
        match self.tokens.get(self.next) {
            Some(Token::Word(Word { value, quote_style, .. })) => {
                self.next += 1;
                Ok(if quote_style.is_some() { value.clone() } else { value.to_lowercase() })
            }
            other => Err(SqlError::Syntax(format!("syntax error: a name expected, {} found", found(other)))),
        }
    }

    pub fn is_next(&self, token: &Token) -> bool {
        self.tokens.get(self.next) == Some(token)
    }

    /// Takes `word`, which must come next.
    pub fn expect(&mut self, word: &str) -> Result<(), SqlError> {
        match self.take(&[word]) {
            true => Ok(()),
            false => {
                let (word, found) = (word.to_uppercase(), found(self.tokens.get(self.next)));
                Err(SqlError::Syntax(format!("syntax error: {word} expected, {found} found")))
            }
        }
    }

    /// A text in quotes, if one comes next.
    pub fn text(&mut self) -> Option<String> {
        match self.tokens.get(self.next) {
            Some(Token::SingleQuotedString(text)) => {
                let text = text.clone();
                self.next += 1;
                Some(text)
            }
            _ => None,
        }
    }

    /// A text, a number or a word, as a text.
    pub fn value(&mut self) -> Result<String, SqlError> {
        let value = match self.tokens.get(self.next) {
            Some(Token::SingleQuotedString(text)) => text.clone(),
            Some(Token::Number(digits, _)) => digits.clone(),
            Some(Token::Word(word)) => word.value.clone(),
            other => {
                return Err(SqlError::Syntax(format!(
                    "syntax error: a value expected, {} found",
                    found(other)
                )));
            }
        };
        self.next += 1;
        Ok(value)
    }

    /// All names that are left, with commas between.
    pub fn names(&mut self) -> Result<Vec<String>, SqlError> {
        let mut names = vec![self.name()?];
        while self.take_token(&Token::Comma) {
            names.push(self.name()?);
        }
        self.end().map(|()| names)
    }

    /// What stands in parentheses, if an opening one comes next.
    pub fn parenthesized(&mut self) -> Result<Option<String>, SqlError> {
        if !self.take_token(&Token::LParen) {
            return Ok(None);
        }
        let (begin, mut depth) = (self.next, 1);
        while depth > 0 {
            match self.tokens.get(self.next) {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth -= 1,
                Some(_) => {}
                None => return Err(SqlError::Syntax("syntax error: \")\" expected".to_owned())),
            }
            self.next += 1;
        }
        let tokens = self.tokens[begin..self.next - 1].iter();
        Ok(Some(tokens.map(written).collect::<Vec<_>>().join(" ")))
    }

    /// What comes after DROP and a kind: `[IF EXISTS] name, ...`.
    pub fn dropped(&mut self) -> Result<(Vec<String>, bool), SqlError> {
        let if_exists = self.take(&["if", "exists"]);
        let mut names = vec![self.name()?];
        while self.take_token(&Token::Comma) {
            names.push(self.name()?);
        }
        Ok((names, if_exists))
    }

    pub fn switch(&mut self) -> Result<bool, SqlError> {
        match self.name()?.as_str() {
            "true" | "on" => Ok(true),
            "false" | "off" => Ok(false),
            other => Err(SqlError::Syntax(format!("\"{other}\" is neither true nor false"))),
        }
    }

    pub fn end(&self) -> Result<(), SqlError> {
        match self.tokens.get(self.next) {
            None => Ok(()),
            other => Err(SqlError::Syntax(format!("syntax error: {} not expected", found(other)))),
        }
    }
}

/// A token as it may stand in a text.
fn written(token: &Token) -> String {
    match token {
        Token::SingleQuotedString(text) => format!("'{}'", text.replace('\'', "''")),
        Token::Word(Word { value, quote_style: Some('"'), .. }) => {
            format!("\"{}\"", value.replace('"', "\"\""))
        }
        other => other.to_string(),
    }
}

fn found(token: Option<&Token>) -> String {
    token.map_or("the end of the statement".to_owned(), |t| format!("\"{t}\""))
}

/// What follows the first `word` of `sql`.
pub(super) fn after_word(sql: &str, word: &str) -> Result<String, SqlError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize()
        .map_err(|e| SqlError::Syntax(format!("syntax error: {e}")))?;
    let is_word = |token: &&Token| matches!(token, Token::Word(w) if w.value.eq_ignore_ascii_case(word));
    let rest = tokens.iter().skip_while(|token| !is_word(token)).skip(1);
    Ok(rest.map(Token::to_string).collect::<String>().trim().to_owned())
}
