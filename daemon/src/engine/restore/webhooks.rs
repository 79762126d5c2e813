//! Webhooks that objects of a restore run into while the service that answers them is still to be restored: that service
//! and what runs it come first, and are waited for.
//!
//! In: webhook configurations and conversions, of the archive and of the cluster; the plan. Out: the plan in another
//! order. Selectors of webhooks are not looked at: a service that is restored too early does no harm.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::plan::{Decision, Entry, Plan, Step, Wave, target_namespace};

/// Kinds that the pods of a service need, and that therefore stay in front of it.
const BEFORE_PODS: [&str; 3] = ["pods", "replicasets.apps", "services"];
pub(crate) const CONFIGURATIONS: [&str; 2] = [
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
];
/// What runs pods, beside pods themselves.
pub(crate) const WORKLOADS: [&str; 5] =
    ["pods", "replicasets.apps", "daemonsets.apps", "deployments.apps", "statefulsets.apps"];

/// A service in the place where it will be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServicePlace {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// One webhook that refuses objects unless its service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Webhook {
    pub(crate) service: ServicePlace,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    groups: Vec<String>,
    resources: Vec<String>,
}

/// What of the plan runs one service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Backing {
    pub(crate) service: ServicePlace,
    /// Positions of the service and its workloads.
    pub(crate) positions: BTreeSet<usize>,
}

/// The webhooks of a configuration or of a definition's conversion; namespaces are mapped by `target`.
pub(crate) fn webhooks(object: &Value, target: impl Fn(&str) -> String) -> Vec<Webhook> {
    let place = |config: Option<&Value>| {
        let service = config?.get("service")?;
        let text = |key: &str| service.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(ServicePlace { namespace: target(&text("namespace")?), name: text("name")? })
    };
    let listed = object.get("webhooks").and_then(Value::as_array).into_iter().flatten();
    let mut found: Vec<Webhook> = listed
        .filter(|webhook| webhook.get("failurePolicy").is_none_or(|policy| policy != "Ignore"))
        .filter_map(|webhook| {
            let rules = webhook.get("rules").and_then(Value::as_array).into_iter().flatten();
            let rules =
                rules.filter(|rule| texts(rule, "operations").iter().any(|it| it == "CREATE" || it == "*"));
            let rules = rules
                .map(|rule| Rule { groups: texts(rule, "apiGroups"), resources: texts(rule, "resources") });
            Some(Webhook { service: place(webhook.get("clientConfig"))?, rules: rules.collect() })
        })
        .collect();
    if object.pointer("/spec/conversion/strategy").is_some_and(|strategy| strategy == "Webhook") {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let rule = Rule { groups: vec![text("/spec/group")], resources: vec![text("/spec/names/plural")] };
        let service = place(object.pointer("/spec/conversion/webhook/clientConfig"));
        found.extend(service.map(|service| Webhook { service, rules: vec![rule] }));
    }
    found
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let list = value.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Webhook {
    fn matches(&self, group_resource: &str) -> bool {
        let (resource, group) = group_resource.split_once('.').unwrap_or((group_resource, ""));
        self.rules.iter().any(|Rule { groups, resources }| {
            groups.iter().any(|it| it == "*" || it == group)
                && resources.iter().any(|it| it == "*" || it == "*/*" || it == resource)
        })
    }
}

/// Whether pods with these labels are behind a service with this selector; one without a selector has none.
pub(crate) fn selects(service: &Value, workload: &Value) -> bool {
    let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object) else { return false };
    let labels = match workload.pointer("/spec/template") {
        Some(template) => template.pointer("/metadata/labels"),
        None => workload.pointer("/metadata/labels"),
    };
    let has = |(key, value): (&String, &Value)| labels.is_some_and(|labels| labels.get(key) == Some(value));
    !selector.is_empty() && selector.iter().all(has)
}

/// Puts what runs the services in front of everything that their webhooks are asked about. Objects outside of the service's
/// own namespace that come even earlier by their kind are held back until the services answer.
pub(crate) fn put_first(
    plan: &mut Plan,
    entries: &[Entry<'_>],
    mapping: &BTreeMap<String, String>,
    webhooks: &[Webhook],
    backing: &[Backing],
) {
    let ahead: BTreeSet<usize> = backing.iter().flat_map(|one| one.positions.iter().copied()).collect();
    let at = plan.waves.iter().position(|wave| BEFORE_PODS.contains(&wave.group_resource.as_str()));
    let Some(at) = at.filter(|_| !ahead.is_empty()) else { return };
    let asked_about = |step: &Step| {
        let entry = &entries[step.position];
        let namespace = entry.namespace.map(|source| target_namespace(mapping, source));
        step.decision == Decision::Create
            && !ahead.contains(&step.position)
            && webhooks.iter().any(|webhook| {
                backing.iter().any(|one| one.service == webhook.service)
                    && webhook.matches(entry.group_resource)
                    && namespace != Some(webhook.service.namespace.as_str())
            })
    };
    let namespaced = |step: &Step| entries[step.position].namespace.is_some();
    let mut first = Vec::new();
    let mut held = Vec::new();
    for (number, wave) in plan.waves.iter_mut().enumerate() {
        first.extend(wave.take(|step| ahead.contains(&step.position)));
        if number < at {
            held.extend(wave.take(|step| namespaced(step) && asked_about(step)));
        }
    }
    let mut rest = plan.waves[at..].iter().chain(&held).flat_map(|wave| &wave.steps);
    let waited_for = rest.any(asked_about);
    if let Some(last) = first.last_mut().filter(|_| waited_for) {
        last.awaits = backing.iter().map(|one| one.service.clone()).collect();
    }
    drop(plan.waves.splice(at..at, first.into_iter().chain(held)));
    plan.waves.retain(|wave| !wave.steps.is_empty());
}

impl Wave {
    /// The steps that are wanted, as a wave of their own.
    fn take(&mut self, wanted: impl Fn(&Step) -> bool) -> Option<Self> {
        let (taken, kept): (Vec<Step>, Vec<Step>) = self.steps.drain(..).partition(|step| wanted(step));
        self.steps = kept;
        let group_resource = self.group_resource.clone();
        (!taken.is_empty()).then_some(Self { group_resource, steps: taken, awaits: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn place(namespace: &str, name: &str) -> ServicePlace {
        ServicePlace { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn entry<'a>(group_resource: &'a str, namespace: &'a str, name: &'a str) -> Entry<'a> {
        Entry {
            group_resource,
            namespace: Some(namespace),
            name,
            api_version: "v1",
            kind: "Any",
            details: Ok(()),
            at_rest: None,
        }
    }

    fn wave(group_resource: &str, positions: &[usize]) -> Wave {
        let step = |position: &usize| Step { position: *position, decision: Decision::Create };
        Wave {
            group_resource: group_resource.to_owned(),
            steps: positions.iter().map(step).collect(),
            awaits: Vec::new(),
        }
    }

    fn configuration(policy: Option<&str>, resources: Value) -> Value {
        let mut webhook = json!({
            "clientConfig": {"service": {"namespace": "hooks", "name": "guard"}},
            "rules": [{"apiGroups": ["", "example.com"], "operations": ["CREATE"], "resources": resources}],
        });
        if let Some(policy) = policy {
            webhook["failurePolicy"] = json!(policy);
        }
        json!({"webhooks": [webhook]})
    }

    #[test]
    fn webhooks_that_may_fail_or_only_see_updates_are_no_hindrance() {
        let found = |object: &Value| webhooks(object, str::to_owned);
        assert_eq!(found(&configuration(None, json!(["*"]))).len(), 1);
        assert_eq!(found(&configuration(Some("Fail"), json!(["*"]))).len(), 1);
        assert_eq!(found(&configuration(Some("Ignore"), json!(["*"]))), []);
        let mut updates = configuration(None, json!(["*"]));
        updates["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]);
        assert!(!found(&updates)[0].matches("configmaps"));
        let mut by_url = configuration(None, json!(["*"]));
        by_url["webhooks"][0]["clientConfig"] = json!({"url": "https://example.com"});
        assert_eq!(found(&by_url), []);
    }

    #[test]
    fn conversions_are_asked_about_the_kind_that_they_convert() {
        let definition = json!({"spec": {
            "group": "example.com", "names": {"plural": "boats"},
            "conversion": {
                "strategy": "Webhook",
                "webhook": {"clientConfig": {"service": {"namespace": "old", "name": "converter"}}},
            },
        }});
        let found = webhooks(&definition, |source| format!("{source}-r"));
        assert_eq!(found[0].service, place("old-r", "converter"));
        assert!(found[0].matches("boats.example.com") && !found[0].matches("boats.example.org"));
    }

    #[test]
    fn a_service_selects_pods_and_templates_and_without_a_selector_nothing() {
        let service = json!({"spec": {"selector": {"app": "guard"}}});
        let labels = json!({"metadata": {"labels": {"app": "guard", "tier": "a"}}});
        assert!(selects(&service, &labels));
        assert!(selects(&service, &json!({"metadata": {}, "spec": {"template": labels}})));
        assert!(!selects(&service, &json!({"metadata": {"labels": {"app": "other"}}})));
        assert!(!selects(&json!({"spec": {}}), &labels));
    }

    #[test]
    fn what_runs_a_webhook_comes_before_what_it_is_asked_about() {
        let entries = [
            entry("secrets", "hooks", "certificate"),
            entry("configmaps", "hooks", "own"),
            entry("configmaps", "shop", "a"),
            entry("pods", "shop", "web"),
            entry("services", "hooks", "guard"),
            entry("services", "shop", "web"),
            entry("deployments.apps", "hooks", "guard"),
            entry("boats.example.com", "shop", "b"),
        ];
        let waves = vec![
            wave("secrets", &[0]),
            wave("configmaps", &[1, 2]),
            wave("pods", &[3]),
            wave("services", &[4, 5]),
            wave("boats.example.com", &[7]),
            wave("deployments.apps", &[6]),
        ];
        let webhooks = webhooks(&configuration(None, json!(["configmaps", "boats"])), str::to_owned);
        let backing = [Backing { service: place("hooks", "guard"), positions: BTreeSet::from([4, 6]) }];
        let mut plan = Plan { waves, ..Plan::default() };
        put_first(&mut plan, &entries, &BTreeMap::new(), &webhooks, &backing);
        let awaiting = Wave { awaits: vec![place("hooks", "guard")], ..wave("deployments.apps", &[6]) };
        assert_eq!(
            plan.waves,
            [
                wave("secrets", &[0]),
                wave("configmaps", &[1]),
                wave("services", &[4]),
                awaiting,
                wave("configmaps", &[2]),
                wave("pods", &[3]),
                wave("services", &[5]),
                wave("boats.example.com", &[7]),
            ]
        );
    }

    #[test]
    fn nobody_is_waited_for_where_nothing_is_left_to_be_asked_about() {
        let entries = [entry("services", "hooks", "guard"), entry("deployments.apps", "hooks", "guard")];
        let waves = vec![wave("services", &[0]), wave("deployments.apps", &[1])];
        let webhooks = webhooks(&configuration(None, json!(["boats"])), str::to_owned);
        let backing = [Backing { service: place("hooks", "guard"), positions: BTreeSet::from([0, 1]) }];
        let mut plan = Plan { waves: waves.clone(), ..Plan::default() };
        put_first(&mut plan, &entries, &BTreeMap::new(), &webhooks, &backing);
        assert_eq!(plan.waves, waves);
    }
}
