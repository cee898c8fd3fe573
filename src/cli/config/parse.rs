//! From YAML or JSON to [`KubeProxyConfiguration`], with the path of everything that was not understood.

use serde::Deserialize;
use serde_path_to_error::Track;
use serde_saphyr::{Error as YamlError, Options, UserMessageFormatter};

use super::types::KubeProxyConfiguration;
use super::{API_VERSION, KIND};

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// What it says.
    pub(crate) config: KubeProxyConfiguration,
    /// Paths of keys that no field answers to, in the file's order.
    pub(crate) unknown: Vec<String>,
}

/// Reads one document. The error names path, line and column where they are known.
pub(crate) fn parse(text: &str) -> Result<Parsed, String> {
    check_kind(text)?;
    let mut track = Track::new();
    let mut unknown = Vec::new();
    let result = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        let tracked = serde_path_to_error::Deserializer::new(yaml, &mut track);
        serde_ignored::deserialize(tracked, |path| unknown.push(path_of(&path)))
    });
    match result {
        Ok(config) => Ok(Parsed { config, unknown }),
        Err(error) => Err(describe(&error, Some(&track.path().to_string()))),
    }
}

/// The two fields that tell what a file is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    api_version: Option<String>,
    kind: Option<String>,
}

/// A kubeconfig or a ConfigMap given by mistake is told by its name, not by its unknown keys.
fn check_kind(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("is empty; expected kind {KIND} of {API_VERSION}"));
    }
    let meta: TypeMeta =
        serde_saphyr::from_str_with_options(text, options()).map_err(|error| describe(&error, None))?;
    match meta.kind.as_deref() {
        Some(KIND) => {}
        Some(kind) => return Err(format!("kind: {kind:?} is not {KIND}")),
        None => return Err(format!("kind: is missing; expected {KIND}")),
    }
    match meta.api_version.as_deref() {
        Some(API_VERSION) => Ok(()),
        Some(version) => Err(format!("apiVersion: {version:?} is not supported; expected {API_VERSION}")),
        None => Err(format!("apiVersion: is missing; expected {API_VERSION}")),
    }
}

fn options() -> Options {
    serde_saphyr::options! { with_snippet: false }
}

/// `path: message` with the line, whichever of them is known.
fn describe(error: &YamlError, path: Option<&str>) -> String {
    let message = error.render_with_formatter(&UserMessageFormatter);
    let message = IN_PLAIN_WORDS.iter().fold(message, |message, (parser, plain)| message.replace(parser, plain));
    match path {
        Some(path) if !path.is_empty() && path != "." => format!("{path}: {message}"),
        _ => message,
    }
}

/// The parser speaks of its events; a user writes lists and mappings.
const IN_PLAIN_WORDS: &[(&str, &str)] = &[
    ("expected sequence start", "expected a list"),
    ("expected mapping start", "expected a mapping of keys to values"),
];

/// `a.b[2].c`.
fn path_of(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", path_of(parent)),
        Path::Map { parent, key } => match path_of(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => path_of(parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

    fn error_of(body: &str) -> String {
        parse(&format!("{HEAD}{body}")).expect_err("must not parse")
    }

    #[test]
    fn unknown_keys_are_named_by_path() {
        let parsed = parse(&format!("{HEAD}clientConection: {{}}\nnftables:\n  masqBit: 3\n")).unwrap();
        assert_eq!(parsed.unknown, ["clientConection", "nftables.masqBit"]);
    }

    #[test]
    fn null_is_absent() {
        let parsed = parse(&format!("{HEAD}nftables: null\nmode: null\noomScoreAdj:\n")).unwrap();
        assert_eq!(parsed.config.nftables, None);
        assert_eq!(parsed.config.mode, None);
        assert_eq!(parsed.config.oom_score_adj, None);
    }

    #[test]
    fn a_wrong_type_names_path_and_line() {
        let error = error_of("nftables:\n  masqueradeBit: high\n");
        assert!(error.starts_with("nftables.masqueradeBit: "), "{error}");
        assert!(error.contains("line 4"), "{error}");
        let error = error_of("nodePortAddresses:\n- 10.0.0.0/8\n- {}\n");
        assert!(error.starts_with("nodePortAddresses[1]: "), "{error}");
        let error = error_of("conntrack:\n  udpTimeout: 30\n");
        assert!(error.starts_with("conntrack.udpTimeout: "), "{error}");
        assert!(error.contains("\"30\" is not a duration"), "{error}");
    }

    #[test]
    fn another_kind_is_told_by_name() {
        assert_eq!(
            parse("apiVersion: v1\nkind: Config\nclusters: []\n").expect_err("a kubeconfig"),
            "kind: \"Config\" is not KubeProxyConfiguration"
        );
        let error = parse("apiVersion: kubeproxy.config.k8s.io/v1beta1\nkind: KubeProxyConfiguration\n");
        assert!(error.expect_err("a wrong version").contains("v1beta1"));
        assert!(parse("mode: nftables\n").expect_err("no kind").starts_with("kind: is missing"));
        assert!(parse(" \n").expect_err("empty").contains("is empty"));
    }

    #[test]
    fn json_is_read_too() {
        let text =
            r#"{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1","kind":"KubeProxyConfiguration","mode":"nftables"}"#;
        assert_eq!(parse(text).unwrap().config.mode.as_deref(), Some("nftables"));
    }

    #[test]
    fn a_list_and_a_mapping_are_called_so() {
        assert!(error_of("nodePortAddresses: 10.0.0.0/8\n").starts_with("nodePortAddresses: expected a list"));
        assert!(error_of("nftables: on\n").starts_with("nftables: expected a mapping"));
    }

    #[test]
    fn one_document_with_each_key_once() {
        for body in ["---\nmode: nftables\n", "mode: nftables\nmode: ipvs\n"] {
            let error = error_of(body);
            assert!(error.contains("line 4") && !error.contains("from_str") && !error.contains("Policy"), "{error}");
        }
    }

    #[test]
    fn broken_yaml_names_the_line() {
        assert!(error_of("nftables: [\n").contains("line"), "{}", error_of("nftables: [\n"));
    }
}
