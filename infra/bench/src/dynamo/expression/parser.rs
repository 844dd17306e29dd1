//! From words to conditions and operands.

use super::{Condition, Fault, Names, Operand, Path, lexer, lexer::Token};

/// Reads an expression from its start.
pub(super) struct Parser<'a> {
    names: Names<'a>,
    text: &'a str,
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, names: Names<'a>) -> Result<Self, Fault> {
        let tokens = lexer::tokens(text)?.into_iter().peekable();
        Ok(Self {
            names,
            text,
            tokens,
        })
    }

    pub(super) fn fault(&self) -> Fault {
        Fault::new(format!("`{}` is not understood", self.text))
    }

    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.tokens.next() {
            None => Ok(()),
            Some(_) => Err(self.fault()),
        }
    }

    pub(super) fn is_over(&mut self) -> bool {
        self.tokens.peek().is_none()
    }

    pub(super) fn takes(&mut self, sign: &'static str) -> bool {
        let wanted = Token::Sign(sign);
        self.tokens.next_if(|token| *token == wanted).is_some()
    }

    fn expects(&mut self, sign: &'static str) -> Result<(), Fault> {
        if self.takes(sign) {
            Ok(())
        } else {
            Err(self.fault())
        }
    }

    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let is = |token: &Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.tokens.next_if(is).is_some()
    }

    fn word(&mut self) -> Result<String, Fault> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            _ => Err(self.fault()),
        }
    }

    pub(super) fn or(&mut self) -> Result<Condition, Fault> {
        let mut condition = self.and()?;
        while self.keyword("OR") {
            condition = Condition::Or(Box::new(condition), Box::new(self.and()?));
        }
        Ok(condition)
    }

    fn and(&mut self) -> Result<Condition, Fault> {
        let mut condition = self.not()?;
        while self.keyword("AND") {
            condition = Condition::And(Box::new(condition), Box::new(self.not()?));
        }
        Ok(condition)
    }

    fn not(&mut self) -> Result<Condition, Fault> {
        if self.keyword("NOT") {
            return Ok(Condition::Not(Box::new(self.not()?)));
        }
        if self.takes("(") {
            let condition = self.or()?;
            self.expects(")")?;
            return Ok(condition);
        }
        self.test()
    }

    fn test(&mut self) -> Result<Condition, Fault> {
        if self.keyword("attribute_exists") {
            return Ok(Condition::Exists(self.only_path()?));
        }
        if self.keyword("attribute_not_exists") {
            return Ok(Condition::NotExists(self.only_path()?));
        }
        if self.keyword("begins_with") {
            let (text, start) = self.pair()?;
            return Ok(Condition::BeginsWith(text, start));
        }
        if self.keyword("contains") {
            let (whole, part) = self.pair()?;
            return Ok(Condition::Contains(whole, part));
        }
        let value = self.operand()?;
        if self.keyword("BETWEEN") {
            let low = self.operand()?;
            if !self.keyword("AND") {
                return Err(self.fault());
            }
            return Ok(Condition::Between(value, low, self.operand()?));
        }
        if self.keyword("IN") {
            self.expects("(")?;
            let mut list = vec![self.operand()?];
            while self.takes(",") {
                list.push(self.operand()?);
            }
            self.expects(")")?;
            return Ok(Condition::In(value, list));
        }
        match self.tokens.next() {
            Some(Token::Sign(how @ ("=" | "<>" | "<" | "<=" | ">" | ">="))) => {
                Ok(Condition::Compare(value, how, self.operand()?))
            }
            _ => Err(self.fault()),
        }
    }

    fn only_path(&mut self) -> Result<Path, Fault> {
        self.expects("(")?;
        let path = self.path()?;
        self.expects(")")?;
        Ok(path)
    }

    fn pair(&mut self) -> Result<(Operand, Operand), Fault> {
        self.expects("(")?;
        let first = self.operand()?;
        self.expects(",")?;
        let second = self.operand()?;
        self.expects(")")?;
        Ok((first, second))
    }

    pub(super) fn path(&mut self) -> Result<Path, Fault> {
        let word = self.word()?;
        self.path_from(&word)
    }

    fn path_from(&mut self, first: &str) -> Result<Path, Fault> {
        let mut path = vec![self.names.name(first)?];
        while self.takes(".") {
            let word = self.word()?;
            path.push(self.names.name(&word)?);
        }
        Ok(path)
    }

    /// A value, with what is added to it.
    pub(super) fn sum(&mut self) -> Result<Operand, Fault> {
        let mut sum = self.operand()?;
        loop {
            if self.takes("+") {
                sum = Operand::Sum(Box::new(sum), Box::new(self.operand()?));
            } else if self.takes("-") {
                sum = Operand::Difference(Box::new(sum), Box::new(self.operand()?));
            } else {
                return Ok(sum);
            }
        }
    }

    pub(super) fn operand(&mut self) -> Result<Operand, Fault> {
        let word = self.word()?;
        if word.starts_with(':') {
            return Ok(Operand::Value(self.names.value(&word)?));
        }
        let call = self.tokens.peek() == Some(&Token::Sign("("));
        match (call, word.as_str()) {
            (true, "size") => Ok(Operand::Size(self.only_path()?)),
            (true, "if_not_exists") => match self.pair()? {
                (Operand::Path(path), other) => Ok(Operand::IfNotExists(path, Box::new(other))),
                _ => Err(self.fault()),
            },
            (true, "list_append") => {
                let (list, more) = self.pair()?;
                Ok(Operand::Append(Box::new(list), Box::new(more)))
            }
            (true, _) => Err(self.fault()),
            (false, _) => Ok(Operand::Path(self.path_from(&word)?)),
        }
    }
}
