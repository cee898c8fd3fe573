//! Resource versions: numbers, written as strings.

fn number(version: &str) -> Option<u64> {
    version.parse().ok()
}

/// Whether a resource version is older than another. Versions that are no numbers cannot be compared.
pub(super) fn is_older(version: &str, than: &str) -> bool {
    matches!((number(version), number(than)), (Some(version), Some(than)) if version < than)
}

/// Moves a version on; never back.
pub(super) fn advance(version: &mut String, to: String) {
    if !to.is_empty() && !is_older(&to, version) {
        *version = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_older("9", "10"));
        assert!(!is_older("10", "10") && !is_older("11", "10"));
        assert!(!is_older("", "10") && !is_older("x", "10") && !is_older("9", ""));
    }

    #[test]
    fn a_version_never_goes_back() {
        let mut version = "10".to_owned();
        for (to, then) in [("9", "10"), ("", "10"), ("11", "11"), ("opaque", "opaque"), ("12", "12")] {
            advance(&mut version, to.to_owned());
            assert_eq!(version, then);
        }
    }
}
