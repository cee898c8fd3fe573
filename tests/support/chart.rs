//! Renders the Helm chart without Helm. The chart keeps to what this knows, and anything else is refused by name:
//! `if`, `if not`, `else` and `end` on lines of their own, and `{{ .Values.a.b }}`, `{{ .Release.Namespace }}` and `{{ required "why" .Values.a }}`
//! with `| quote` or `| toJson`.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::manifests;

const NAMESPACE: &str = "kube-system";

/// The chart's default values with these changes, each `a.b=value` in YAML.
pub fn values(changes: &[&str]) -> Value {
    let mut values = manifests::file("chart/ferroproxy/values.yaml").remove(0);
    for change in changes {
        let (path, value) = change.split_once('=').expect("path=value");
        let pointer = format!("/{}", path.replace('.', "/"));
        let place = values.pointer_mut(&pointer).unwrap_or_else(|| panic!("the chart has no value {path}"));
        *place = serde_saphyr::from_str(value).expect("a value");
    }
    values
}

/// The texts of all templates, rendered, by file name.
pub fn render(values: &Value) -> Result<BTreeMap<String, String>, String> {
    let mut rendered = BTreeMap::new();
    for entry in fs::read_dir(manifests::path("chart/ferroproxy/templates")).expect("templates") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("readable");
        rendered.insert(name.clone(), template(&text, values).map_err(|error| format!("{name}: {error}"))?);
    }
    Ok(rendered)
}

/// All objects of the chart with these values.
pub fn objects(values: &Value) -> Result<Vec<Value>, String> {
    Ok(render(values)?.values().flat_map(|text| manifests::objects(text)).collect())
}

fn template(text: &str, values: &Value) -> Result<String, String> {
    let mut out = String::new();
    // Whether the text at each depth is wanted.
    let mut wanted = Vec::new();
    for line in text.lines() {
        match line.trim().strip_prefix("{{- ").and_then(|rest| rest.strip_suffix(" }}")) {
            Some("end") => drop(wanted.pop().ok_or("end without if")?),
            Some("else") => {
                let last: &mut bool = wanted.last_mut().ok_or("else without if")?;
                *last = !*last;
            }
            Some(control) => {
                let condition = control.strip_prefix("if ").ok_or(format!("{control:?} is not known here"))?;
                let (negated, path) = condition.strip_prefix("not ").map_or((false, condition), |path| (true, path));
                wanted.push(truth(look_up(path, values)?) != negated);
            }
            None if wanted.iter().all(|wanted| *wanted) => out += &format!("{}\n", substituted(line, values)?),
            None => {}
        }
    }
    if wanted.is_empty() { Ok(out) } else { Err("an if without end".to_owned()) }
}

/// As Go's templates see it.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
    }
}

fn look_up<'a>(path: &str, values: &'a Value) -> Result<&'a Value, String> {
    let below = path.trim().strip_prefix(".Values.").ok_or(format!("{path:?} is not known here"))?;
    values.pointer(&format!("/{}", below.replace('.', "/"))).ok_or(format!("the chart has no value {below}"))
}

fn substituted(line: &str, values: &Value) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{ ") {
        let (expression, after) = after.split_once(" }}").ok_or(format!("{line:?} has an open action"))?;
        out += before;
        out += &evaluated(expression, values)?;
        rest = after;
    }
    Ok(out + rest)
}

fn evaluated(expression: &str, values: &Value) -> Result<String, String> {
    let (term, filter) = expression.split_once(" | ").unwrap_or((expression, ""));
    let value = match term.strip_prefix("required \"").and_then(|rest| rest.split_once("\" ")) {
        Some((why, path)) => Some(look_up(path, values)?).filter(|value| truth(value)).ok_or(why.to_owned())?.clone(),
        None if term == ".Release.Namespace" => Value::from(NAMESPACE),
        None => look_up(term, values)?.clone(),
    };
    match (filter, &value) {
        ("toJson", value) => Ok(value.to_string()),
        ("quote", Value::String(text)) => Ok(format!("{text:?}")),
        ("", Value::String(text)) => Ok(text.clone()),
        ("", Value::Number(number)) => Ok(number.to_string()),
        _ => Err(format!("{expression:?} is not known here")),
    }
}
