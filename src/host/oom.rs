//! The process's OOM score.

use std::fs;
use std::path::Path;

/// Writes the own process's `oom_score_adj` (-1000 never killed, 1000 first) below `root`.
///
/// The error is a sentence for the log. Lowering the score needs CAP_SYS_RESOURCE.
pub fn set_oom_score(score: i32, root: &Path) -> Result<(), String> {
    let path = root.join("proc/self/oom_score_adj");
    fs::write(&path, score.to_string())
        .map_err(|error| format!("oomScoreAdj: cannot write {score} to {}: {error}", path.display()))
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
    fn the_error_names_field_and_file() {
        let root = tempfile::tempdir().unwrap();
        let error = set_oom_score(5, root.path()).unwrap_err();
        assert!(error.starts_with("oomScoreAdj: cannot write 5 to ") && error.contains("oom_score_adj"), "{error}");
    }
}
