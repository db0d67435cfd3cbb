//! From tokens to operands before operators, by recursive descent with a level of its own for each strength.
//!
//! ```text
//! or         = and { "or" and }
//! and        = not { "and" not }
//! not        = "not" not | comparison
//! comparison = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
//! sum        = product { ("+" | "-") product }
//! product    = signed { ("*" | "/") signed }
//! signed     = "-" signed | power
//! power      = atom [ "^" signed ]
//! atom       = number | "(" or ")" | reading | function "(" or { "," or } ")"
//! ```

use std::ops::Range;

use super::error::{FormulaError, Problem, nearest};
use super::lexer::{Token, tokens};
use super::node::{Binary, Function, Node};
use super::reading::{HALF_LIVES, Kept, ReadingName, Takes};
use super::{ARGUMENTS_MAX, DEPTH_MAX, NODES_MAX, STACK_MAX};

/// Nodes and readings of a text.
pub(super) fn parse(text: &str) -> Result<(Vec<Node>, Vec<Kept>), FormulaError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { text, tokens, at: 0, depth: 0, stack: 0, nodes: Vec::new(), readings: Vec::new() };
    parser.or()?;
    match parser.token() {
        Token::End => Ok((parser.nodes, parser.readings)),
        _ => Err(parser.expected("an operator or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token<'a>, Range<usize>)>,
    at: usize,
    depth: usize,
    /// Operands that evaluation holds after the nodes so far.
    stack: usize,
    nodes: Vec<Node>,
    readings: Vec<Kept>,
}

impl<'a> Parser<'a> {
    fn token(&self) -> &Token<'a> {
        &self.tokens[self.at].0
    }

    fn place(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    /// Takes the next token, if it is this mark or word.
    fn take(&mut self, what: &str) -> bool {
        let is = matches!(self.token(), Token::Mark(found) if *found == what)
            || matches!(self.token(), Token::Word(found) if *found == what);
        self.at += usize::from(is);
        is
    }

    fn error(&self, problem: Problem, at: Range<usize>) -> FormulaError {
        FormulaError::new(problem, self.text, at)
    }

    fn expected(&self, expected: &'static str) -> FormulaError {
        self.error(Problem::Expected { expected, found: self.token().found() }, self.place())
    }

    /// Adds a node that takes `operands` off the stack and leaves one.
    fn push(&mut self, node: Node, operands: usize) -> Result<(), FormulaError> {
        let place = self.tokens[self.at.saturating_sub(1)].1.clone();
        if self.nodes.len() == NODES_MAX {
            return Err(self.error(Problem::Large, place));
        }
        self.stack = self.stack + 1 - operands;
        if self.stack > STACK_MAX {
            return Err(self.error(Problem::Deep, place));
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Runs `inner` one level deeper.
    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Result<(), FormulaError>) -> Result<(), FormulaError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error(Problem::Deep, self.place()));
        }
        self.depth += 1;
        inner(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn or(&mut self) -> Result<(), FormulaError> {
        self.and()?;
        while self.take("or") {
            self.and()?;
            self.push(Node::Binary(Binary::Or), 2)?;
        }
        Ok(())
    }

    fn and(&mut self) -> Result<(), FormulaError> {
        self.not()?;
        while self.take("and") {
            self.not()?;
            self.push(Node::Binary(Binary::And), 2)?;
        }
        Ok(())
    }

    fn not(&mut self) -> Result<(), FormulaError> {
        if !self.take("not") {
            return self.comparison();
        }
        self.deeper(Self::not)?;
        self.push(Node::Not, 1)
    }

    fn comparison(&mut self) -> Result<(), FormulaError> {
        self.sum()?;
        let Some(operator) = self.operator(&Binary::COMPARISONS) else { return Ok(()) };
        self.sum()?;
        self.push(Node::Binary(operator), 2)?;
        let place = self.place();
        match self.operator(&Binary::COMPARISONS) {
            Some(_) => Err(self.error(Problem::Chained, place)),
            None => Ok(()),
        }
    }

    fn sum(&mut self) -> Result<(), FormulaError> {
        self.product()?;
        while let Some(operator) = self.operator(&[Binary::Add, Binary::Subtract]) {
            self.product()?;
            self.push(Node::Binary(operator), 2)?;
        }
        Ok(())
    }

    fn product(&mut self) -> Result<(), FormulaError> {
        self.signed()?;
        while let Some(operator) = self.operator(&[Binary::Multiply, Binary::Divide]) {
            self.signed()?;
            self.push(Node::Binary(operator), 2)?;
        }
        Ok(())
    }

    fn signed(&mut self) -> Result<(), FormulaError> {
        if !self.take("-") {
            return self.power();
        }
        self.deeper(Self::signed)?;
        self.push(Node::Negate, 1)
    }

    fn power(&mut self) -> Result<(), FormulaError> {
        self.atom()?;
        if !self.take("^") {
            return Ok(());
        }
        self.deeper(Self::signed)?;
        self.push(Node::Binary(Binary::Power), 2)
    }

    /// Takes the next token, if it is one of these operators.
    fn operator(&mut self, among: &[Binary]) -> Option<Binary> {
        among.iter().copied().find(|operator| self.take(operator.text()))
    }

    fn atom(&mut self) -> Result<(), FormulaError> {
        let place = self.place();
        if self.take("(") {
            self.deeper(Self::or)?;
            return self.close();
        }
        match *self.token() {
            Token::Number(number) => {
                self.at += 1;
                self.push(Node::Number(number), 0)
            }
            Token::Word(word) if !["and", "or", "not"].contains(&word) => {
                self.at += 1;
                self.named(word, place)
            }
            _ => Err(self.expected("a number, a reading, a function or `(`")),
        }
    }

    fn close(&mut self) -> Result<(), FormulaError> {
        if self.take(")") { Ok(()) } else { Err(self.expected("an operator or `)`")) }
    }

    fn named(&mut self, word: &str, place: Range<usize>) -> Result<(), FormulaError> {
        if let Some(function) = Function::ALL.iter().find(|function| function.text() == word) {
            return self.call(*function, place);
        }
        if let Some(name) = ReadingName::of(word) {
            return self.reading(name, place);
        }
        let readings = ReadingName::ALL.iter().map(|name| name.text());
        let functions = Function::ALL.iter().map(|function| function.text());
        let nearest = nearest(&word.to_ascii_lowercase(), readings.chain(functions).chain(["and", "or", "not"]));
        Err(self.error(Problem::Name { found: word.to_owned(), nearest }, place))
    }

    fn call(&mut self, function: Function, place: Range<usize>) -> Result<(), FormulaError> {
        let usage = Problem::Usage { name: function.text(), usage: function.usage() };
        if !self.take("(") {
            return Err(self.error(usage, place));
        }
        let mut arguments = 0;
        loop {
            self.deeper(Self::or)?;
            arguments += 1;
            if !self.take(",") {
                break;
            }
        }
        if !self.take(")") {
            return Err(self.expected("an operator, `,` or `)`"));
        }
        let end = self.tokens[self.at - 1].1.end;
        match u8::try_from(arguments) {
            Ok(count) if function.arguments().contains(&count) && arguments <= ARGUMENTS_MAX => {
                self.push(Node::Call(function, count), arguments)
            }
            _ => Err(self.error(usage, place.start..end)),
        }
    }

    fn reading(&mut self, name: ReadingName, place: Range<usize>) -> Result<(), FormulaError> {
        let (mut text, mut half_life) = (None, None);
        let takes = name.takes();
        let parentheses = self.take("(");
        let mut right = match takes {
            Takes::Nothing => !parentheses,
            Takes::MaybeText => true,
            Takes::Text | Takes::TextMaybeHalfLife => parentheses,
        };
        if right && parentheses {
            if let Token::Text(found) = self.token() {
                text = Some(found.as_str().into());
                self.at += 1;
            }
            if takes == Takes::TextMaybeHalfLife && self.take(",") {
                half_life = (0..HALF_LIVES).find(|index| *self.token() == Token::Number(f64::from(*index)));
                right = half_life.is_some();
                self.at += usize::from(right);
            }
            right = right && text.is_some() && self.take(")");
        }
        if !right {
            let usage = Problem::Usage { name: name.text(), usage: name.usage() };
            let end = self.tokens[self.at].1.end.max(place.end);
            return Err(self.error(usage, place.start..if parentheses { end } else { place.end }));
        }
        let kept = Kept { name, text, half_life };
        let known = self.readings.iter().position(|reading| *reading == kept);
        let index = known.unwrap_or(self.readings.len());
        if known.is_none() {
            self.readings.push(kept);
        }
        // Fewer than NODES_MAX.
        self.push(Node::Reading(u16::try_from(index).unwrap_or(u16::MAX)), 0)
    }
}
