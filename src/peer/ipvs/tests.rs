//! A kernel with ipvs made up after `net/netfilter/ipvs/ip_vs_ctl.c`: none with ipvs is needed, and none has seen this code.

use super::*;
use crate::netlink::attr::{Writer, attrs, by_kind};
use crate::netlink::message::{Received, messages};

/// Its number for ipvs.
const NUMBER: u16 = 0x1d;

/// What tells a service: family, protocol, address in 16 bytes, port as it travels.
type Key = (u16, u16, Vec<u8>, [u8; 2]);

#[derive(Default)]
struct Fake {
    services: Vec<Key>,
    by_mark: usize,
    unprivileged: bool,
    absent: bool,
    /// So many listings are disturbed.
    disturbed: usize,
    asked: usize,
}

impl Fake {
    fn with(services: &[VirtualService]) -> Fake {
        Fake { services: services.iter().map(key).collect(), by_mark: 1, ..Fake::default() }
    }

    fn tell(&mut self, each: &mut impl FnMut(Received<'_>)) -> Result<(), Errno> {
        for _ in 0..self.by_mark {
            say(NUMBER, &service_message(|w| w.put(5, &7u32.to_ne_bytes()), 2), each);
        }
        for (family, protocol, address, port) in &self.services {
            let fill = |w: &mut Writer| {
                w.put(2, &protocol.to_ne_bytes());
                w.put(3, address);
                w.put(4, port);
                w.put_str(6, "rr");
            };
            say(NUMBER, &service_message(fill, *family), each);
        }
        if self.disturbed > 0 {
            self.disturbed -= 1;
            return Err(Errno::INTR);
        }
        Ok(())
    }

    /// `ip_vs_genl_parse_service` and the lookup after it.
    fn delete(&mut self, body: &[u8]) -> Result<(), Errno> {
        let nested = attrs(body).find(|(kind, _)| *kind == 1).ok_or(Errno::INVAL)?.1;
        let [_, Some(family), Some(protocol), Some(address), Some(port)] = by_kind::<5>(nested) else {
            return Err(Errno::INVAL);
        };
        let number = |value: &[u8]| Ok::<_, Errno>(u16::from_ne_bytes(value.try_into().map_err(|_| Errno::RANGE)?));
        if ![2, 10].contains(&number(family)?) {
            return Err(Errno::AFNOSUPPORT);
        }
        let mut whole = address.to_vec();
        whole.resize(16, 0);
        let key = (number(family)?, number(protocol)?, whole, port.try_into().map_err(|_| Errno::RANGE)?);
        let at = self.services.iter().position(|service| *service == key).ok_or(Errno::SRCH)?;
        self.services.remove(at);
        Ok(())
    }
}

impl Kernel for &mut Fake {
    fn ask(&mut self, bytes: &[u8], mut each: impl FnMut(Received<'_>)) -> Result<(), Errno> {
        let message = messages(bytes).next().expect("a message");
        let (head, body) = message.payload.split_at_checked(4).expect("a generic header");
        self.asked += 1;
        match (message.kind, head[0]) {
            (0x10, 3) if self.absent => Err(Errno::NOENT),
            (0x10, 3) => {
                let mut w = Writer::default();
                w.bytes.extend([1, 2, 0, 0]);
                w.put_str(2, "IPVS");
                w.put(1, &NUMBER.to_ne_bytes());
                say(0x10, &w.bytes, &mut each);
                Ok(())
            }
            (NUMBER, _) if self.unprivileged => Err(Errno::PERM),
            (NUMBER, 4) if message.flags & 0x300 == 0x300 => self.tell(&mut each),
            (NUMBER, 3) => self.delete(body),
            (NUMBER, _) => Err(Errno::OPNOTSUPP),
            _ => Err(Errno::NOENT),
        }
    }
}

fn service_message(fill: impl FnOnce(&mut Writer), family: u16) -> Vec<u8> {
    let mut w = Writer::default();
    w.bytes.extend([1, 1, 0, 0]);
    w.nest(1, |w| {
        w.put(1, &family.to_ne_bytes());
        fill(w);
    });
    w.bytes
}

fn say(kind: u16, payload: &[u8], each: &mut impl FnMut(Received<'_>)) {
    each(Received { kind, flags: 2, seq: 1, payload });
}

fn key(service: &VirtualService) -> Key {
    let (family, mut address) = match service.address.ip() {
        IpAddr::V4(ip) => (2, ip.octets().to_vec()),
        IpAddr::V6(ip) => (10, ip.octets().to_vec()),
    };
    address.resize(16, 0);
    (family, service.protocol.into(), address, service.address.port().to_be_bytes())
}

fn of(protocol: u8, address: &str) -> VirtualService {
    VirtualService { protocol, address: address.parse().unwrap() }
}

#[test]
fn services_are_listed_in_both_families_and_those_by_mark_are_not() {
    let all = [of(6, "10.96.0.1:443"), of(17, "[fd00:10:96::a]:53"), of(132, "192.0.2.10:30900")];
    let mut fake = Fake { disturbed: 2, ..Fake::with(&all) };
    assert_eq!(Ipvs::of(&mut fake).unwrap().unwrap().services().unwrap(), all, "and anew while it is disturbed");
}

#[test]
fn a_service_is_deleted_once_and_only_that_one() {
    let (tcp, udp) = (of(6, "10.96.0.10:53"), of(17, "10.96.0.10:53"));
    let mut fake = Fake::with(&[tcp, udp, of(6, "10.96.0.11:53"), of(6, "10.96.0.10:54")]);
    let mut ipvs = Ipvs::of(&mut fake).unwrap().unwrap();
    assert!(ipvs.delete(&tcp).unwrap());
    assert!(!ipvs.delete(&tcp).unwrap(), "gone by now");
    let left = ipvs.services().unwrap();
    assert_eq!(left, [udp, of(6, "10.96.0.11:53"), of(6, "10.96.0.10:54")]);
}

#[test]
fn what_the_kernel_refuses_is_told() {
    let mut fake = Fake { unprivileged: true, ..Fake::with(&[of(6, "10.96.0.1:443")]) };
    let mut ipvs = Ipvs::of(&mut fake).unwrap().unwrap();
    assert_eq!(ipvs.services().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(ipvs.delete(&of(6, "10.96.0.1:443")).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    let mut never_still = Fake { disturbed: usize::MAX, ..Fake::default() };
    assert!(Ipvs::of(&mut never_still).unwrap().unwrap().services().is_err());
}

#[test]
fn a_kernel_without_ipvs_has_no_services_and_is_not_asked_to_load_it() {
    let mut fake = Fake { absent: true, ..Fake::default() };
    assert!(Ipvs::of(&mut fake).unwrap().is_none());
    let root = tempfile::TempDir::new().unwrap();
    assert!(Ipvs::open(root.path()).unwrap().is_none());
}

#[test]
fn kube_proxys_are_those_on_its_interface_and_on_its_node_ports() {
    let signs = Signs {
        addresses: ["10.96.0.1", "fd00:10:96::1"].map(|ip| ip.parse().unwrap()).into(),
        node_ports: [(6, [30080].into()), (17, [30053].into())].into(),
    };
    for ours in
        [of(6, "10.96.0.1:443"), of(17, "[fd00:10:96::1]:53"), of(6, "192.0.2.10:30080"), of(17, "192.0.2.10:30053")]
    {
        assert!(signs.are_of(&ours), "{ours}");
    }
    for others in
        [of(6, "192.0.2.10:80"), of(17, "192.0.2.10:30080"), of(132, "192.0.2.10:30080"), of(6, "10.96.0.2:443")]
    {
        assert!(!signs.are_of(&others), "{others}");
    }
    assert!(!Signs::default().are_of(&of(6, "10.96.0.1:443")));
}
