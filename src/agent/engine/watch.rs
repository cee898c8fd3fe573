//! Looking whether somebody else has touched our tables, as closely as is cheap.

use super::Engine;
use crate::apply::deviation;
use crate::apply::target::Target;

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nobody has committed anything since everything was last compared: what is in force is ours.
    Untouched,
    /// Somebody has committed something by this generation. What can be seen without the elements is ours; the elements were not compared.
    Unproven(u32),
    /// Something of ours is not as it was. The words name the first such thing.
    Deviates(String),
    /// The kernel did not answer.
    Unreadable,
}

impl<T: Target> Engine<T> {
    /// Looks at the generation and, where somebody has moved it, at the outline of our tables; `seen` is the generation of the last
    /// outline that was fine: it is not taken twice.
    pub fn look(&mut self, seen: Option<u32>) -> Finding {
        let Some(compiler) = &self.compiler else { return Finding::Untouched };
        let Ok(now) = self.target.generation() else { return Finding::Unreadable };
        if self.generation == Some(now) {
            return Finding::Untouched;
        }
        if seen == Some(now) {
            return Finding::Unproven(now);
        }
        match self.target.outline() {
            Ok(outline) => deviation(compiler.draft(), &outline).map_or(Finding::Unproven(now), Finding::Deviates),
            Err(_) => Finding::Unreadable,
        }
    }
}
