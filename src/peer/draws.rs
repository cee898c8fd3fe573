//! Every combination of random draws a packet can meet, one walk each.

use super::packet::Unread;

/// The draws of one walk, and which comes next.
#[derive(Debug, Default)]
pub(super) struct Draws {
    drawn: Vec<Draw>,
    met: usize,
}

#[derive(Debug)]
struct Draw {
    slot: u32,
    modulus: u32,
}

impl Draws {
    /// A number below `modulus`.
    pub(super) fn below(&mut self, modulus: u32) -> u32 {
        if self.met == self.drawn.len() {
            self.drawn.push(Draw { slot: 0, modulus });
        }
        self.met += 1;
        self.drawn[self.met - 1].slot
    }

    /// Moves the last draw that has a number left, and forgets those after it; `false` when all are done.
    fn advance(&mut self) -> bool {
        self.met = 0;
        while let Some(last) = self.drawn.last_mut() {
            last.slot += 1;
            if last.slot < last.modulus {
                return true;
            }
            self.drawn.pop();
        }
        false
    }
}

/// What `walk` answers over all draws, the lowest numbers first.
pub(super) fn all<T>(mut walk: impl FnMut(&mut Draws) -> Result<T, Unread>) -> Result<Vec<T>, Unread> {
    let (mut draws, mut answers) = (Draws::default(), Vec::new());
    loop {
        answers.push(walk(&mut draws)?);
        if !draws.advance() {
            return Ok(answers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_branch_is_walked_once() {
        let mut walks = 0;
        let answers = all(|draws| {
            walks += 1;
            // Three ways, the last of which forks again.
            let first = draws.below(3);
            Ok(if first == 2 { 10 + draws.below(2) } else { first })
        });
        assert_eq!((walks, answers), (4, Ok(vec![0, 1, 10, 11])));
    }
}
