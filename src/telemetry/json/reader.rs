//! A pull parser of JSON over one request: it hands out keys, values and elements in the order of the text, borrowed
//! where no escape forces a copy, and tells *wrong type* from *not JSON*, so that a record of wrong types can be
//! skipped and the next one read.

use std::borrow::Cow;

use crate::telemetry::record::{Quoted, Reason};

use super::scan::{integer, plain_end, unescape};

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Fault {
    /// The text is JSON, but not what the record needs: the record is rejected and skipped.
    Record(Reason),
    /// The text is not JSON from this byte on.
    Syntax { at: usize, expected: &'static str },
}

/// The place in the text.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// The same as text, if all of it is UTF-8, which saves the check of every string.
    text: Option<&'a str>,
    at: usize,
    /// What closes the objects and arrays that `skip` is in.
    closers: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, text: std::str::from_utf8(bytes).ok(), at: 0, closers: Vec::new() }
    }

    /// The place, to return to with [`Reader::rewind`].
    pub(super) fn place(&self) -> usize {
        self.at
    }

    pub(super) fn rewind(&mut self, place: usize) {
        debug_assert!(place <= self.bytes.len());
        self.at = place;
        self.closers.clear();
    }

    /// The text from a place up to here.
    pub(super) fn since(&self, place: usize) -> &'a [u8] {
        &self.bytes[place..self.at]
    }

    /// The next byte that is not white space.
    #[inline]
    fn peek(&mut self, expected: &'static str) -> Result<u8, Fault> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                Some(&byte) => return Ok(byte),
                None => return Err(self.syntax(expected)),
            }
        }
    }

    #[cold]
    fn syntax(&self, expected: &'static str) -> Fault {
        Fault::Syntax { at: self.at, expected }
    }

    /// The value here has another type than the one expected.
    #[cold]
    fn mistyped(&mut self, what: &str, expected: &str) -> Fault {
        let found = match self.peek("a value") {
            Err(fault) => return fault,
            Ok(b'{') => "an object".to_owned(),
            Ok(b'[') => "an array".to_owned(),
            Ok(b'"') => match self.string(what) {
                Ok(text) => format!("the string {}", Quoted(&text)),
                Err(fault) => return fault,
            },
            Ok(b't' | b'f') => "a boolean".to_owned(),
            Ok(b'n') => "null".to_owned(),
            Ok(b'-' | b'0'..=b'9') => match self.number() {
                Ok(number) => format!("the number {number}"),
                Err(fault) => return fault,
            },
            Ok(_) => return self.syntax("a value"),
        };
        Fault::Record(format!("{what} is {found}, {expected} expected"))
    }

    /// The value after the last one: nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.peek("") {
            Ok(_) => Err(self.syntax("the end of the text")),
            Err(_) => Ok(()),
        }
    }

    /// Enters an object.
    #[inline]
    pub(super) fn object(&mut self, what: &str) -> Result<(), Fault> {
        match self.peek("a value")? {
            b'{' => self.at += 1,
            _ => return Err(self.mistyped(what, "an object")),
        }
        Ok(())
    }

    /// The key of the object's next field, whose value comes next; nothing after the last, which leaves the object.
    /// Fields that are null are passed over. `first` starts true.
    #[inline]
    pub(super) fn field(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, Fault> {
        loop {
            match self.peek("\",\" or \"}\"")? {
                b'}' => {
                    self.at += 1;
                    return Ok(None);
                }
                b',' if !*first => {
                    self.at += 1;
                    if self.peek("a key")? != b'"' {
                        return Err(self.syntax("a key"));
                    }
                }
                b'"' if *first => {}
                _ if *first => return Err(self.syntax("a key or \"}\"")),
                _ => return Err(self.syntax("\",\" or \"}\"")),
            }
            *first = false;
            let key = self.string("key")?;
            self.colon()?;
            if self.peek("a value")? != b'n' {
                return Ok(Some(key));
            }
            self.literal("null")?;
        }
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Fault> {
        match self.peek("\":\"")? {
            b':' => self.at += 1,
            _ => return Err(self.syntax("\":\"")),
        }
        Ok(())
    }

    /// Enters an array.
    #[inline]
    pub(super) fn array(&mut self, what: &str) -> Result<(), Fault> {
        match self.peek("a value")? {
            b'[' => self.at += 1,
            _ => return Err(self.mistyped(what, "an array")),
        }
        Ok(())
    }

    /// Whether the array has a next element, which comes next; false leaves the array. `first` starts true.
    #[inline]
    pub(super) fn item(&mut self, first: &mut bool) -> Result<bool, Fault> {
        match self.peek("\",\" or \"]\"")? {
            b']' => {
                // Not after a comma: that is asked for below.
                self.at += 1;
                return Ok(false);
            }
            b',' if !*first => {
                self.at += 1;
                if self.peek("a value")? == b']' {
                    return Err(self.syntax("a value"));
                }
            }
            _ if *first => {}
            _ => return Err(self.syntax("\",\" or \"]\"")),
        }
        *first = false;
        Ok(true)
    }

    #[inline]
    pub(super) fn string(&mut self, what: &str) -> Result<Cow<'a, str>, Fault> {
        let (raw, escaped) = self.raw_string(what)?;
        if !escaped {
            return Ok(Cow::Borrowed(raw));
        }
        let mut text = String::with_capacity(raw.len());
        unescape(raw, &mut text);
        Ok(Cow::Owned(text))
    }

    /// Appends a string to `out`.
    #[inline]
    pub(super) fn string_into(&mut self, what: &str, out: &mut String) -> Result<(), Fault> {
        match self.raw_string(what)? {
            (raw, false) => out.push_str(raw),
            (raw, true) => unescape(raw, out),
        }
        Ok(())
    }

    /// The text between the quotes, and whether it has escapes.
    #[inline]
    fn raw_string(&mut self, what: &str) -> Result<(&'a str, bool), Fault> {
        if self.peek("a value")? != b'"' {
            return Err(self.mistyped(what, "a string"));
        }
        let start = self.at + 1;
        let escaped = self.pass_string()?;
        let end = self.at - 1;
        let text = match self.text {
            Some(text) => text.get(start..end),
            None => std::str::from_utf8(&self.bytes[start..end]).ok(),
        };
        match text {
            Some(text) => Ok((text, escaped)),
            None => Err(Fault::Record(format!("{what} is not UTF-8"))),
        }
    }

    /// Passes over the string here and tells whether it has escapes.
    #[inline]
    fn pass_string(&mut self) -> Result<bool, Fault> {
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = plain_end(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += self.escape_len()?;
                }
                Some(_) => return Err(self.syntax("an escape such as \\n")),
                None => return Err(self.syntax("the end of a string")),
            }
        }
    }

    fn escape_len(&self) -> Result<usize, Fault> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') => match self.bytes.get(self.at + 2..self.at + 6) {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(6),
                _ => Err(self.syntax("four hex digits after \\u")),
            },
            _ => Err(self.syntax("an escape")),
        }
    }

    /// A number as it is written.
    #[inline]
    fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        // Digits, signs, points and letters: always UTF-8.
        Ok(std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default())
    }

    /// One digit or more.
    #[inline]
    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(self.syntax("a digit")) } else { Ok(()) }
    }

    /// An integer, written as a number or as a string of one.
    #[inline]
    pub(super) fn integer(&mut self, what: &str) -> Result<i128, Fault> {
        let start = self.at;
        let text = match self.peek("a value")? {
            b'"' => match self.raw_string(what)? {
                (text, false) => text,
                _ => "",
            },
            b'-' | b'0'..=b'9' => self.number()?,
            _ => return Err(self.mistyped(what, "an integer")),
        };
        match integer(text) {
            Some(value) => Ok(value),
            None => {
                self.at = start;
                Err(self.mistyped(what, "an integer"))
            }
        }
    }

    /// A value of an enum, which OTLP JSON writes as an integer and never as a name.
    #[inline]
    pub(super) fn enumeration(&mut self, what: &str) -> Result<i128, Fault> {
        if self.peek("a value")? == b'"' {
            let fault = self.mistyped(what, "an integer");
            return Err(match fault {
                Fault::Record(reason) => {
                    Fault::Record(format!("{reason}. OTLP JSON writes enums as integers, not as names."))
                }
                fault => fault,
            });
        }
        self.integer(what)
    }

    /// A double, written as a number or as a string of one, or as `"NaN"`, `"Infinity"` or `"-Infinity"`.
    #[inline]
    pub(super) fn double(&mut self, what: &str) -> Result<f64, Fault> {
        let start = self.at;
        let text = match self.peek("a value")? {
            b'-' | b'0'..=b'9' => self.number()?,
            b'"' => match self.raw_string(what)? {
                ("NaN", false) => return Ok(f64::NAN),
                ("Infinity", false) => return Ok(f64::INFINITY),
                ("-Infinity", false) => return Ok(f64::NEG_INFINITY),
                (text, false) if text.ends_with(|last: char| last.is_ascii_digit()) => text,
                _ => "",
            },
            _ => return Err(self.mistyped(what, "a number")),
        };
        match text.parse() {
            Ok(value) => Ok(value),
            Err(_) => {
                self.at = start;
                Err(self.mistyped(what, "a number"))
            }
        }
    }

    pub(super) fn boolean(&mut self, what: &str) -> Result<bool, Fault> {
        match self.peek("a value")? {
            b't' => self.literal("true").map(|()| true),
            b'f' => self.literal("false").map(|()| false),
            _ => Err(self.mistyped(what, "true or false")),
        }
    }

    #[inline]
    fn literal(&mut self, literal: &'static str) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(literal.as_bytes()) {
            return Err(self.syntax("a value"));
        }
        self.at += literal.len();
        Ok(())
    }

    /// Passes over one value of any type. How deep it nests does not matter.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        debug_assert!(self.closers.is_empty());
        loop {
            match self.peek("a value")? {
                b'{' => {
                    self.at += 1;
                    if self.peek("a key or \"}\"")? != b'}' {
                        self.closers.push(b'}');
                        self.pass_key()?;
                        continue;
                    }
                    self.at += 1;
                }
                b'[' => {
                    self.at += 1;
                    if self.peek("a value or \"]\"")? != b']' {
                        self.closers.push(b']');
                        continue;
                    }
                    self.at += 1;
                }
                b'"' => _ = self.pass_string()?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                b'-' | b'0'..=b'9' => _ = self.number()?,
                _ => return Err(self.syntax("a value")),
            }
            if self.close()? {
                return Ok(());
            }
        }
    }

    /// After a value that was skipped: leaves what ends here. True when nothing is left to leave.
    fn close(&mut self) -> Result<bool, Fault> {
        while let Some(&closer) = self.closers.last() {
            let byte = self.peek("\",\" or a bracket")?;
            if byte == b',' {
                self.at += 1;
                if closer == b'}' {
                    self.pass_key()?;
                }
                return Ok(false);
            }
            if byte != closer {
                return Err(self.syntax(if closer == b'}' { "\",\" or \"}\"" } else { "\",\" or \"]\"" }));
            }
            self.at += 1;
            self.closers.pop();
        }
        Ok(true)
    }

    fn pass_key(&mut self) -> Result<(), Fault> {
        if self.peek("a key")? != b'"' {
            return Err(self.syntax("a key"));
        }
        self.pass_string()?;
        self.colon()
    }
}
