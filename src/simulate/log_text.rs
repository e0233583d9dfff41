//! Log lines from a text with places for parameters.

use std::fmt::Write;

use super::chance::Chance;

/// A text cut at its parameters: `order {order} placed`.
pub(super) struct LogText(Vec<Piece>);

enum Piece {
    Plain(String),
    Parameter(Parameter),
}

#[derive(Clone, Copy)]
enum Parameter {
    Amount,
    Count,
    Ip,
    Key,
    Ms,
    Order,
    Peer,
    Product,
    User,
}

/// What a line tells that chance does not.
#[derive(Clone, Copy, Default)]
pub(super) struct Facts<'a> {
    /// A duration in milliseconds; chance, where it is not known.
    pub ms: Option<f64>,
    /// Whom a request was for.
    pub peer: &'a str,
    /// A number of things; chance, where it is not known.
    pub count: Option<u64>,
    /// The number of the visit that it is about: the same number is the same user, order, product and address.
    pub visit: Option<u64>,
}

impl LogText {
    /// `text` with parameters in braces.
    pub fn new(text: &str) -> Self {
        let mut pieces = vec![];
        let mut rest = text;
        while let Some((plain, more)) = rest.split_once('{') {
            let (name, after) = more.split_once('}').unwrap_or((more, ""));
            pieces.push(Piece::Plain(plain.to_owned()));
            pieces.push(match parameter(name) {
                Some(parameter) => Piece::Parameter(parameter),
                // Braces of a route.
                None => Piece::Plain(format!("{{{name}}}")),
            });
            rest = after;
        }
        pieces.push(Piece::Plain(rest.to_owned()));
        LogText(pieces)
    }

    /// One line.
    pub fn line(&self, chance: &mut Chance, facts: Facts) -> String {
        let mut line = String::with_capacity(96);
        for piece in &self.0 {
            match piece {
                Piece::Plain(text) => line.push_str(text),
                Piece::Parameter(parameter) => parameter.write(&mut line, chance, facts),
            }
        }
        line
    }
}

fn parameter(name: &str) -> Option<Parameter> {
    Some(match name {
        "amount" => Parameter::Amount,
        "count" => Parameter::Count,
        "ip" => Parameter::Ip,
        "key" => Parameter::Key,
        "ms" => Parameter::Ms,
        "order" => Parameter::Order,
        "peer" => Parameter::Peer,
        "product" => Parameter::Product,
        "user" => Parameter::User,
        _ => return None,
    })
}

impl Parameter {
    fn write(self, line: &mut String, chance: &mut Chance, facts: Facts) {
        let visit = match self {
            Parameter::Ip | Parameter::Order | Parameter::Product | Parameter::User => {
                facts.visit.unwrap_or_else(|| chance.number())
            }
            _ => 0,
        };
        // Writing to a string cannot fail.
        let _ = match self {
            Parameter::Amount => write!(line, "{}.{:02}", 3 + chance.below(300), chance.below(100)),
            Parameter::Count => match facts.count {
                Some(count) => write!(line, "{count}"),
                None => write!(line, "{}", 1 + chance.below(99)),
            },
            Parameter::Ip => {
                let [a, b, c, ..] = visit.to_le_bytes();
                write!(line, "10.{}.{b}.{}", a % 8, c.clamp(1, 254))
            }
            Parameter::Key => write!(line, "{:08x}", chance.number() as u32),
            Parameter::Ms => match facts.ms {
                Some(ms) => write!(line, "{}", ms as u64),
                None => write!(line, "{}", 1 + chance.below(200)),
            },
            Parameter::Order => write!(line, "A-{:07}", visit % 9_999_991),
            Parameter::Peer => line.write_str(facts.peer),
            Parameter::Product => write!(line, "sku-{:05}", visit % 49_999),
            Parameter::User => write!(line, "u{}", 1_000 + visit % 89_989),
        };
    }
}
