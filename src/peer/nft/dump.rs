//! Reads kube-proxy's table over netlink, and deletes it.

use std::collections::BTreeMap;

use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use super::expr;
use super::set::Set;
use super::table::{BaseHook, Chain, Table};
use crate::model::Family;
use crate::netlink::attr::{Writer, attrs, by_kind, str_of, u32_of};
use crate::netlink::message::{ACK, DUMP, Header, family_number, write};
use crate::peer::socket::{Kernel, Socket};
use crate::peer::way::Hook;

/// kube-proxy's table, in both families.
pub const TABLE: &str = "kube-proxy";

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// `NFT_MSG_*`.
const GET_TABLE: u16 = 1;
const DEL_TABLE: u16 = 2;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_SET: u16 = 10;
const GET_ELEMENTS: u16 = 13;

/// `NF_DROP`.
const DROP: u32 = 0;

/// A base chain of any table that lets only pass what a rule accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strict {
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub chain: String,
}

/// nf_tables of this thread's network namespace.
pub struct Nft {
    socket: Socket,
}

impl Nft {
    /// Opens it.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket for netfilter.
    pub fn open() -> std::io::Result<Nft> {
        Ok(Nft { socket: Socket::open(NETLINK_NETFILTER)? })
    }

    /// Whether a table is there.
    ///
    /// # Errors
    /// When the kernel refuses to tell; EPERM without CAP_NET_ADMIN.
    pub fn has_table(&mut self, family: Family, table: &str) -> std::io::Result<bool> {
        let request = request(GET_TABLE, ACK, family, |w| w.put_str(1, table));
        match self.socket.ask(&request, |_| ()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::AFNOSUPPORT | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// kube-proxy's table of a family, if it is there.
    ///
    /// # Errors
    /// When the kernel refuses to tell, or somebody keeps changing the rules.
    pub fn read(&mut self, family: Family) -> std::io::Result<Option<Table>> {
        if !self.has_table(family, TABLE)? {
            return Ok(None);
        }
        let mut table = Table { family, chains: self.chains(family)?, sets: BTreeMap::new() };
        let sets = self.list(GET_SET, family, |w| w.put_str(1, TABLE), |body| Set::decode(ours(body)?))?;
        for (name, mut set) in sets {
            if !set.is_learned {
                self.elements(family, &name, &mut set)?;
            }
            table.sets.insert(name, set);
        }
        let rules = self.list(
            GET_RULE,
            family,
            |w| w.put_str(1, TABLE),
            |body| {
                let rule = by_kind::<5>(ours(body)?);
                Some((str_of(rule[2])?.to_owned(), expr::rule(rule[4].unwrap_or_default())))
            },
        )?;
        for (chain, rule) in rules {
            table.chains.entry(chain).or_default().rules.push(rule);
        }
        Ok(Some(table))
    }

    /// The names of all chains of a table; none when there is no such table.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn chain_names(&mut self, family: Family, table: &str) -> std::io::Result<Vec<String>> {
        let of = |body: &[u8]| {
            let chain = by_kind::<4>(body);
            (str_of(chain[1]) == Some(table)).then(|| str_of(chain[3]).map(str::to_owned)).flatten()
        };
        self.list(GET_CHAIN, family, |_| (), of)
    }

    /// Chains of any table of a family, `inet` included, that drop what they forward unless a rule accepts it.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn strict_forwarders(&mut self, family: Family) -> std::io::Result<Vec<Strict>> {
        let of = |body: &[u8]| {
            let chain = by_kind::<8>(body);
            let is_strict = hook_of(&chain).is_some_and(|hook| hook.hook == Hook::Forward && hook.drops);
            let name = |at: usize| str_of(chain[at]).map(str::to_owned);
            Some(Strict { table: name(1)?, chain: name(3)? }).filter(|_| is_strict)
        };
        let mut found = self.list(GET_CHAIN, family, |_| (), of)?;
        let inet = list_request(GET_CHAIN, INET, |_| ());
        found.extend(self.listed(&inet, INET, of)?);
        Ok(found)
    }

    /// Deletes kube-proxy's table with all that is in it. `false`: there is none.
    ///
    /// # Errors
    /// What the kernel says; EPERM without CAP_NET_ADMIN, or when another process owns the table.
    pub fn delete(&mut self, family: Family) -> std::io::Result<bool> {
        let mut w = Writer::default();
        let limit = |w: &mut Writer, kind, seq| {
            let [high, low] = SUBSYSTEM.to_be_bytes();
            write(w, Header { kind, flags: 0, seq }, &[0, 0, high, low], |_| ());
        };
        limit(&mut w, BATCH_BEGIN, 1);
        let header = Header { kind: SUBSYSTEM << 8 | DEL_TABLE, flags: ACK, seq: 2 };
        write(&mut w, header, &[family_number(family), 0, 0, 0], |w| w.put_str(1, TABLE));
        limit(&mut w, BATCH_END, 3);
        match self.socket.ask(&w.bytes, |_| ()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::AFNOSUPPORT | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn chains(&mut self, family: Family) -> std::io::Result<BTreeMap<String, Chain>> {
        let chains = self.list(
            GET_CHAIN,
            family,
            |w| w.put_str(1, TABLE),
            |body| {
                let chain = by_kind::<8>(ours(body)?);
                Some((str_of(chain[3])?.to_owned(), Chain { hook: hook_of(&chain), rules: Vec::new() }))
            },
        )?;
        Ok(chains.into_iter().collect())
    }

    fn elements(&mut self, family: Family, name: &str, set: &mut Set) -> std::io::Result<()> {
        let ask = |w: &mut Writer| {
            w.put_str(1, TABLE);
            w.put_str(2, name);
        };
        let lists = self.list(GET_ELEMENTS, family, ask, |body| Some(by_kind::<4>(body)[3]?.to_vec()))?;
        lists.iter().for_each(|list| set.take(list));
        Ok(())
    }

    fn list<T>(
        &mut self,
        kind: u16,
        family: Family,
        ask: impl FnOnce(&mut Writer),
        read: impl FnMut(&[u8]) -> Option<T>,
    ) -> std::io::Result<Vec<T>> {
        self.listed(&list_request(kind, family_number(family), ask), family_number(family), read)
    }

    fn listed<T>(
        &mut self,
        request: &[u8],
        family: u8,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> std::io::Result<Vec<T>> {
        let found = self.socket.list(request, |message| {
            let (of, body) = message.body()?;
            if of == family { read(body) } else { None }
        });
        found.map_err(Into::into)
    }
}

/// `NFPROTO_INET`.
const INET: u8 = 1;

fn list_request(kind: u16, family: u8, ask: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::default();
    let header = Header { kind: SUBSYSTEM << 8 | kind, flags: DUMP, seq: 1 };
    write(&mut w, header, &[family, 0, 0, 0], ask);
    w.bytes
}

fn request(kind: u16, flags: u16, family: Family, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::default();
    write(&mut w, Header { kind: SUBSYSTEM << 8 | kind, flags, seq: 1 }, &[family_number(family), 0, 0, 0], fill);
    w.bytes
}

/// Listings of some kinds tell of every table.
fn ours(body: &[u8]) -> Option<&[u8]> {
    attrs(body).any(|(kind, value)| kind == 1 && str_of(Some(value)) == Some(TABLE)).then_some(body)
}

fn hook_of(chain: &[Option<&[u8]>; 8]) -> Option<BaseHook> {
    let [_, number, priority] = by_kind::<3>(chain[4]?);
    let hook = match u32_of(number)? {
        0 => Hook::Prerouting,
        1 => Hook::Input,
        2 => Hook::Forward,
        3 => Hook::Output,
        4 => Hook::Postrouting,
        _ => return None,
    };
    let is_nat = str_of(chain[7]) == Some("nat");
    Some(BaseHook { hook, priority: u32_of(priority)? as i32, is_nat, drops: u32_of(chain[5]) == Some(DROP) })
}
