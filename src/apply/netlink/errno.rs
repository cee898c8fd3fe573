//! What an errno of nf_tables means for what comes next (`net/netfilter/nf_tables_api.c`, `nfnetlink.c`).

use rustix::io::Errno;

use crate::apply::target::Remedy;

/// What to do after this errno.
pub(super) fn remedy(errno: i32) -> Remedy {
    match Errno::from_raw_os_error(errno) {
        Errno::INTR | Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::RESTART => Remedy::Retry,
        Errno::NOENT | Errno::EXIST | Errno::BUSY => Remedy::Resync,
        Errno::PERM
        | Errno::ACCESS
        | Errno::AFNOSUPPORT
        | Errno::OPNOTSUPP
        | Errno::PROTONOSUPPORT
        | Errno::MSGSIZE => Remedy::GiveUp,
        _ => Remedy::Rebuild,
    }
}

/// The errno in words.
pub(super) fn words(errno: i32) -> String {
    let meaning = match Errno::from_raw_os_error(errno) {
        Errno::NOENT => "ENOENT: what it refers to is not there, or the kernel has no such expression",
        Errno::EXIST => "EEXIST: there is one already and it is different",
        Errno::BUSY => "EBUSY: it is still referred to",
        Errno::NFILE => "ENFILE: the set is full",
        Errno::INVAL => "EINVAL: the kernel does not take this shape",
        Errno::PERM => "EPERM: this needs CAP_NET_ADMIN, and the table must not be owned by another process",
        Errno::AFNOSUPPORT => "EAFNOSUPPORT: the kernel has no such family or table",
        Errno::OPNOTSUPP => "EOPNOTSUPP: the kernel cannot do this",
        Errno::RESTART => "ERESTART: the ruleset was changed by somebody else meanwhile",
        Errno::MLINK | Errno::LOOP => "the chains form a loop or are too deep",
        Errno::NOMEM => "ENOMEM: no memory (kernel objects are charged to this process's memory cgroup)",
        _ => return std::io::Error::from_raw_os_error(errno).to_string(),
    };
    meaning.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_set_is_rebuilt_and_a_missing_object_read_back() {
        let of = |errno: Errno| remedy(errno.raw_os_error());
        assert_eq!(of(Errno::NFILE), Remedy::Rebuild);
        assert_eq!(of(Errno::NOENT), Remedy::Resync);
        assert_eq!(of(Errno::RESTART), Remedy::Retry);
        assert_eq!(of(Errno::PERM), Remedy::GiveUp);
        assert!(words(Errno::NFILE.raw_os_error()).contains("full"));
    }
}
