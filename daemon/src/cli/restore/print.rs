//! A restore's plan as people and as programs read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::engine::restore::{Fate, PlannedNamespace, PlannedObject, Preview, Standing};

/// Whether the cluster would be another one afterwards.
pub(super) fn changes(preview: &Preview) -> bool {
    let made = |namespace: &PlannedNamespace| namespace.standing != Standing::There;
    preview.namespaces.iter().any(made) || preview.objects.iter().any(|object| object.fate.is_change())
}

/// What is filtered is only counted: it is most of the archive where one namespace is restored.
pub(super) fn text(preview: &Preview) -> String {
    let mut text = String::new();
    // Writing to a String can't fail, here and below.
    for PlannedNamespace { name, source, standing } in &preview.namespaces {
        let after = if name == source { String::new() } else { format!(" (after {source})") };
        let _written = writeln!(text, "{} {} namespace {name}{after}", sign(standing), standing.word());
    }
    for object in &preview.objects {
        if !matches!(object.fate, Fate::Filtered { .. }) {
            line(&mut text, object);
        }
    }
    for note in &preview.notes {
        let _written = writeln!(text, "! {note}");
    }
    let counts: Vec<String> =
        counts(preview).into_iter().map(|(word, count)| format!("{count} {word}")).collect();
    let summary = if counts.is_empty() { "the backup has no objects".to_owned() } else { counts.join(", ") };
    let _written = writeln!(text, "objects: {summary}");
    text
}

fn sign(standing: &Standing) -> char {
    match standing {
        Standing::There => '=',
        Standing::Absent | Standing::Terminating => '+',
        Standing::Unknown { .. } => '!',
    }
}

fn line(text: &mut String, object: &PlannedObject) {
    let PlannedObject { group_resource, namespace, name, target, fate } = object;
    let sign = match fate {
        Fate::Create | Fate::Unchecked { .. } => '+',
        Fate::Update { .. } => '~',
        Fate::Same => '=',
        Fate::Skip { .. } | Fate::Filtered { .. } => '-',
        Fate::Differs { .. }
        | Fate::NotServed
        | Fate::Conflict { .. }
        | Fate::Denied { .. }
        | Fate::Fails { .. } => '!',
    };
    let place = target.as_deref().map(|target| format!("{target}/")).unwrap_or_default();
    let _written = write!(text, "{sign} {} {group_resource} {place}{name}", fate.word());
    if let Some(source) = namespace.as_deref().filter(|source| Some(*source) != target.as_deref()) {
        let _written = write!(text, " (from {source})");
    }
    let _written = match fate.reason() {
        Some(reason) => writeln!(text, ": {reason}"),
        None => writeln!(text),
    };
    for field in fate.fields() {
        let _written = writeln!(text, "    {field}");
    }
}

fn counts(preview: &Preview) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for object in &preview.objects {
        *counts.entry(object.fate.word()).or_insert(0) += 1;
    }
    counts
}

pub(super) fn json_text(preview: &Preview) -> String {
    let namespaces: Vec<Value> = preview
        .namespaces
        .iter()
        .map(|PlannedNamespace { name, source, standing }| {
            json!({"name": name, "source": source, "action": standing.word()})
        })
        .collect();
    let objects: Vec<Value> = preview.objects.iter().map(json_of).collect();
    let whole = json!({
        "namespaces": namespaces,
        "objects": objects,
        "notes": preview.notes,
        "counts": counts(preview),
    });
    format!("{whole:#}\n")
}

fn json_of(object: &PlannedObject) -> Value {
    let PlannedObject { group_resource, namespace, name, target, fate } = object;
    let mut value = json!({"resource": group_resource, "name": name, "action": fate.word()});
    let reason = fate.reason().map(str::to_owned);
    for (key, text) in [("namespace", namespace), ("target", target), ("reason", &reason)] {
        if let Some(text) = text {
            value[key] = json!(text);
        }
    }
    if !fate.fields().is_empty() {
        let field = |field: &crate::engine::restore::Difference| json!({"path": field.path, "cluster": field.live, "backup": field.backup});
        value["fields"] = fate.fields().iter().map(field).collect();
    }
    value
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::engine::restore::Difference;

    fn object(name: &str, fate: Fate) -> PlannedObject {
        PlannedObject {
            group_resource: "configmaps".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
            target: Some("shop-r".to_owned()),
            fate,
        }
    }

    fn sample() -> Preview {
        let field = Difference { path: "data.k".to_owned(), live: json!("a"), backup: Value::Null };
        Preview {
            namespaces: vec![PlannedNamespace {
                name: "shop-r".to_owned(),
                source: "shop".to_owned(),
                standing: Standing::There,
            }],
            objects: vec![
                object("a", Fate::Differs { fields: vec![field] }),
                object("b", Fate::Filtered { by: "labels of the restore" }),
                object("c", Fate::Denied { message: "no".to_owned() }),
            ],
            notes: vec!["warning: w".to_owned()],
        }
    }

    #[test]
    fn people_read_a_line_for_each_object_that_is_not_filtered() {
        assert_eq!(
            text(&sample()),
            "= exists namespace shop-r (after shop)\n\
             ! differs configmaps shop-r/a (from shop)\n    data.k: only the cluster has \"a\"\n\
             ! denied configmaps shop-r/c (from shop): no\n\
             ! warning: w\n\
             objects: 1 denied, 1 differs, 1 filtered\n"
        );
        assert!(!changes(&sample()));
    }

    #[test]
    fn programs_read_everything() {
        let value: Value = serde_json::from_str(&json_text(&sample())).unwrap();
        assert_eq!(value["objects"].as_array().unwrap().len(), 3);
        assert_eq!(
            value["objects"][0]["fields"][0],
            json!({"path": "data.k", "cluster": "a", "backup": null})
        );
        assert_eq!(value["objects"][1]["reason"], "labels of the restore");
        assert_eq!(value["counts"], json!({"denied": 1, "differs": 1, "filtered": 1}));
    }
}
