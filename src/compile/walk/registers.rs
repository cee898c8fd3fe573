//! The machine's sixteen 32-bit registers.

use super::trace::Reason;
use crate::compile::expr::Reg;

const WORDS: usize = 16;

/// The registers of one rule. A new rule starts with nothing written: newer kernels refuse to load a rule that reads a register it
/// did not write (`nft_parse_register_load` in `nf_tables_api.c`), older ones would give it what the last rule left.
#[derive(Default)]
pub(super) struct Registers {
    words: [Option<[u8; 4]>; WORDS],
}

impl Registers {
    /// Writes bytes from a register on; the rest of the last word becomes zero, as in the kernel.
    pub(super) fn store(&mut self, dreg: Reg, bytes: &[u8]) -> Result<(), Reason> {
        for (index, chunk) in bytes.chunks(4).enumerate() {
            let at = Reg(dreg.0.saturating_add(index as u8));
            let word = self.words.get_mut(usize::from(at.0)).ok_or(Reason::NoSuchRegister(at))?;
            let mut padded = [0; 4];
            padded[..chunk.len()].copy_from_slice(chunk);
            *word = Some(padded);
        }
        Ok(())
    }

    /// Writes a number in host order.
    pub(super) fn store_number(&mut self, dreg: Reg, number: u32) -> Result<(), Reason> {
        self.store(dreg, &number.to_ne_bytes())
    }

    /// Reads bytes from a register on.
    pub(super) fn load(&self, sreg: Reg, len: usize) -> Result<Vec<u8>, Reason> {
        let mut bytes = Vec::with_capacity(len.next_multiple_of(4));
        for index in 0..len.div_ceil(4) {
            let at = Reg(sreg.0.saturating_add(index as u8));
            let word = self.words.get(usize::from(at.0)).ok_or(Reason::NoSuchRegister(at))?;
            bytes.extend(word.ok_or(Reason::Unwritten(at))?);
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Reads a number in host order.
    pub(super) fn load_number(&self, sreg: Reg) -> Result<u32, Reason> {
        let bytes = self.load(sreg, 4)?;
        Ok(bytes.try_into().map_or(0, u32::from_ne_bytes))
    }
}
