//! The process's OOM score.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// Writes the own process's `oom_score_adj` (-1000 never killed, 1000 first) below `root`.
///
/// The error is a sentence for the log, and says which score stays. Lowering the score needs CAP_SYS_RESOURCE; a score that stands already is not
/// written.
pub fn set_oom_score(score: i32, root: &Path) -> Result<(), String> {
    let path = root.join("proc/self/oom_score_adj");
    let now = fs::read_to_string(&path).unwrap_or_default();
    if now.trim() == score.to_string() {
        return Ok(());
    }
    fs::write(&path, score.to_string()).map_err(|error| complaint(score, now.trim(), &path, &error))
}

fn complaint(score: i32, now: &str, path: &Path, error: &Error) -> String {
    if error.kind() == ErrorKind::PermissionDenied && !now.is_empty() {
        return format!("oomScoreAdj: stays {now}; lowering it to {score} takes CAP_SYS_RESOURCE");
    }
    format!("oomScoreAdj: cannot write {score} to {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_written() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        set_oom_score(-999, root.path()).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("proc/self/oom_score_adj")).unwrap(), "-999");
    }

    #[test]
    fn a_score_that_stands_is_not_written() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::write(root.path().join("proc/self/oom_score_adj"), "-997\n").unwrap();
        set_oom_score(-997, root.path()).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("proc/self/oom_score_adj")).unwrap(), "-997\n");
    }

    #[test]
    fn a_missing_right_is_named_with_what_stays() {
        let said = complaint(-999, "-997", Path::new("/proc/self/oom_score_adj"), &ErrorKind::PermissionDenied.into());
        assert_eq!(said, "oomScoreAdj: stays -997; lowering it to -999 takes CAP_SYS_RESOURCE");
    }

    #[test]
    fn the_error_names_field_and_file() {
        let root = tempfile::tempdir().unwrap();
        let error = set_oom_score(5, root.path()).unwrap_err();
        assert!(error.starts_with("oomScoreAdj: cannot write 5 to ") && error.contains("oom_score_adj"), "{error}");
    }
}
