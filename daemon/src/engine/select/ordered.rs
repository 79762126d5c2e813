//! Objects that a backup takes first: `orderedResources` names them for a type, whatever its group.

use std::collections::BTreeMap;

use crate::cluster::Resource;

/// An object as the user wrote it, and where to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedItem {
    pub text: String,
    /// None when the text cannot name an object of this type.
    pub found_at: Option<(Option<String>, String)>,
}

/// The objects of one type in their order. Blanks around a comma belong to the names, as Velero has it.
pub fn ordered_items(ordered: &BTreeMap<String, String>, resource: &Resource) -> Vec<OrderedItem> {
    let Some(names) = ordered.get(&resource.plural) else { return vec![] };
    let item = |text: &str| {
        let found_at = match text.split_once('/') {
            Some((namespace, name)) if resource.namespaced => {
                Some((Some(namespace.to_owned()), name.to_owned()))
            }
            None if !resource.namespaced => Some((None, text.to_owned())),
            Some(_) | None => None,
        };
        OrderedItem { text: text.to_owned(), found_at }
    };
    names.split(',').map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_a_namespace_where_the_type_has_one() {
        let ordered = [("pods".into(), "shop/a,b,shop/c".into()), ("nodes".into(), "n1".into())].into();
        let pods = Resource { plural: "pods".into(), namespaced: true, ..Resource::default() };
        let found: Vec<_> = ordered_items(&ordered, &pods).into_iter().map(|item| item.found_at).collect();
        let at = |name: &str| Some((Some("shop".into()), name.into()));
        assert_eq!(found, [at("a"), None, at("c")]);
        let nodes = Resource { plural: "nodes".into(), ..Resource::default() };
        assert_eq!(ordered_items(&ordered, &nodes)[0].found_at, Some((None, "n1".into())));
        let secrets = Resource { plural: "secrets".into(), namespaced: true, ..Resource::default() };
        assert_eq!(ordered_items(&ordered, &secrets), []);
    }
}
