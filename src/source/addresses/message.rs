//! The few messages of rtnetlink that are needed here. All numbers are in the host's byte order.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

const HEADER: usize = 16;
/// `struct ifaddrmsg`.
const ADDRESS_HEADER: usize = 8;
const ATTRIBUTE_HEADER: usize = 4;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
/// The list changed while it was told.
const INTERRUPTED: u16 = 0x10;

/// `IFA_ADDRESS`: the address, or the peer's on a point-to-point link.
const ADDRESS: u16 = 1;
/// `IFA_LOCAL`: our own address; for IPv6 only where there is a peer.
const LOCAL: u16 = 2;

/// Asks for all addresses of both families: NLM_F_REQUEST and NLM_F_DUMP.
pub(super) fn request() -> Vec<u8> {
    let len = (HEADER + ADDRESS_HEADER) as u32;
    [&len.to_ne_bytes()[..], &GET_ADDRESS.to_ne_bytes(), &0x301u16.to_ne_bytes(), &[0; 8 + ADDRESS_HEADER]].concat()
}

/// What was read of an answer.
#[derive(Debug, Default)]
pub(super) struct Reading {
    addresses: BTreeSet<IpAddr>,
    done: bool,
    interrupted: bool,
}

impl Reading {
    /// Takes in one datagram of the answer.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub(super) fn take(&mut self, mut datagram: &[u8]) -> io::Result<()> {
        while let Some(len) = u32_at(datagram, 0) {
            let len = (len as usize).clamp(HEADER, datagram.len().max(HEADER));
            let Some((message, _)) = datagram.split_at_checked(len) else { break };
            self.message(message)?;
            datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }

    fn message(&mut self, message: &[u8]) -> io::Result<()> {
        let payload = message.get(HEADER..).unwrap_or_default();
        self.interrupted |= u16_at(message, 6).unwrap_or_default() & INTERRUPTED != 0;
        match u16_at(message, 4) {
            Some(NEW_ADDRESS) => self.addresses.extend(address(payload)),
            Some(kind @ (ERROR | DONE)) => {
                let number = u32_at(payload, 0).unwrap_or_default().cast_signed();
                if number < 0 {
                    return Err(io::Error::from_raw_os_error(-number));
                }
                self.done |= kind == DONE;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The addresses; `None` when the list changed while it was told.
    pub(super) fn finish(self) -> Option<BTreeSet<IpAddr>> {
        (!self.interrupted).then_some(self.addresses)
    }
}

/// The local address in an address message.
fn address(payload: &[u8]) -> Option<IpAddr> {
    let mut attributes = payload.get(ADDRESS_HEADER..)?;
    let (mut address, mut local) = (None, None);
    while let (Some(len), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let value = attributes.get(ATTRIBUTE_HEADER..usize::from(len))?;
        match kind {
            ADDRESS => address = ip(value),
            LOCAL => local = ip(value),
            _ => {}
        }
        attributes = attributes.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
    }
    local.or(address)
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(value).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(value).ok().map(IpAddr::from))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let len = (HEADER + payload.len()) as u32;
        let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], payload].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn told(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut payload = vec![0; ADDRESS_HEADER];
        for (kind, value) in attributes {
            payload.extend(((ATTRIBUTE_HEADER + value.len()) as u16).to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
            payload.extend(*value);
            payload.resize(payload.len().next_multiple_of(4), 0);
        }
        message(NEW_ADDRESS, 2, &payload)
    }

    fn read(datagrams: &[Vec<u8>]) -> Reading {
        let mut reading = Reading::default();
        datagrams.iter().for_each(|datagram| reading.take(datagram).unwrap());
        reading
    }

    #[test]
    fn our_end_of_a_point_to_point_link_counts_and_the_peers_does_not() {
        let label = (3, &b"eth0\0"[..]);
        let peer = told(&[(ADDRESS, &[192, 0, 2, 2]), (LOCAL, &[192, 0, 2, 1]), label]);
        let plain = told(&[label, (ADDRESS, &[0; 16])]);
        let done = message(DONE, 2, &0i32.to_ne_bytes());
        let reading = read(&[[peer, plain].concat(), done]);
        assert!(reading.is_done());
        let expected: BTreeSet<IpAddr> = [[192, 0, 2, 1].into(), [0u16; 8].into()].into();
        assert_eq!(reading.finish(), Some(expected));
    }

    #[test]
    fn a_list_that_changed_meanwhile_does_not_count() {
        let reading = read(&[message(DONE, 2 | INTERRUPTED, &0i32.to_ne_bytes())]);
        assert!(reading.is_done());
        assert_eq!(reading.finish(), None);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let error = Reading::default().take(&message(ERROR, 0, &(-1i32).to_ne_bytes())).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(1));
    }

    #[test]
    fn garbage_ends_the_reading_of_a_datagram_and_nothing_else() {
        let short = told(&[(ADDRESS, &[192, 0, 2, 1])]);
        for len in 0..short.len() {
            assert!(read(&[short[..len].to_vec()]).finish().is_some());
        }
        assert_eq!(read(&[vec![0; 64]]).finish(), Some(BTreeSet::new()));
        let mut endless = told(&[(ADDRESS, &[192, 0, 2, 1])]);
        endless[HEADER + ADDRESS_HEADER..][..4].fill(0);
        assert_eq!(read(&[endless]).finish(), Some(BTreeSet::new()));
    }
}
