use std::fmt;

use crate::model::Hinted;

/// Everything that is wrong with what was asked, reported together: nobody likes to be told one mistake per run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Hinted>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}\n  hint: {}", problem.what, problem.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Problems {
    /// Notes one more.
    pub fn add(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Hinted::new(what, hint));
    }

    /// The value, or a note of what was wrong with it.
    pub fn take<T>(&mut self, result: Result<T, Hinted>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }
}
