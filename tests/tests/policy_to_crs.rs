//! Policies become custom resources: an edit reaches the cluster in two seconds, a bad one changes nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero::{Backup, Schedule};
use holdfast_tests::{Daemon, DaemonOptions, Testbed};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use pretty_assertions::assert_eq;
use serde_json::json;

/// What the policy language promises.
const IN_FORCE: Duration = Duration::from_secs(2);
/// For what has no promise.
const SOON: Duration = Duration::from_secs(20);
/// Long enough for a change to have come into force, had there been one.
const LATER: Duration = Duration::from_secs(3);

const WORKS: &str = "policies in force";

fn policy(name: &str, cron: &str) -> String {
    format!(
        "apiVersion: holdfast.dev/v1alpha1\n\
         kind: BackupPolicy\n\
         metadata: {{name: {name}}}\n\
         spec:\n  select: {{namespaces: {{include: [shop]}}}}\n  \
         schedules: [{{name: nightly, cron: \"{cron}\", skipImmediately: true}}]\n"
    )
}

/// A daemon with a directory of policies and a namespace of its own.
struct Stage {
    client: kube::Client,
    namespace: String,
    policies: PathBuf,
    daemon: Option<Daemon>,
    _directory: tempfile::TempDir,
}

impl Stage {
    async fn set(arguments: &[&str], files: &[(&str, String)]) -> anyhow::Result<Stage> {
        let testbed = Testbed::shared().await?;
        let directory = tempfile::tempdir()?;
        let policies = directory.path().join("policies");
        fs::create_dir(&policies)?;
        for (name, text) in files {
            fs::write(policies.join(name), text)?;
        }
        let namespace = testbed.namespace("policy").await?;
        let mut stage =
            Stage { client: testbed.client()?, namespace, policies, daemon: None, _directory: directory };
        stage.start(arguments).await?;
        Ok(stage)
    }

    async fn start(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let own = format!("--policies={}", self.policies.display());
        // Who carries policies out is another test's matter.
        let fixed = ["--install-crds", "--mode=policy", "--cluster-name=prod", own.as_str()];
        let options = DaemonOptions {
            namespace: self.namespace.clone(),
            arguments: fixed.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect(),
            ..DaemonOptions::default()
        };
        self.daemon = Some(Daemon::start(Testbed::shared().await?, options).await?);
        Ok(())
    }

    fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log_text).unwrap_or_default()
    }

    fn schedules(&self) -> Api<Schedule> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Each Schedule as `name cron`.
    async fn published(&self) -> anyhow::Result<Vec<String>> {
        let schedules = self.schedules().list(&ListParams::default()).await?.items;
        let mut published: Vec<String> = schedules
            .into_iter()
            .map(|schedule| {
                format!("{} {}", schedule.metadata.name.unwrap_or_default(), schedule.spec.schedule)
            })
            .collect();
        published.sort();
        Ok(published)
    }

    /// Waits until these are the Schedules, and gives the time it took.
    async fn becomes(&self, expected: &[&str], within: Duration) -> anyhow::Result<Duration> {
        let start = Instant::now();
        loop {
            let published = self.published().await?;
            if published == expected {
                return Ok(start.elapsed());
            }
            if start.elapsed() > within {
                assert_eq!(published, expected, "after {:?}\n{}", start.elapsed(), self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A change that is in force is in the log before anything else can be seen of it.
    async fn logs(&self, text: &str, times: usize) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.log().matches(text).count() < times {
            anyhow::ensure!(start.elapsed() < SOON, "no {text:?} in\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn policy_set(&self, name: &str) -> anyhow::Result<PolicySet> {
        Ok(Api::namespaced(self.client.clone(), &self.namespace).get(name).await?)
    }

    /// Waits until a condition of the PolicySet is as expected, in the form `True InForce`.
    async fn condition(&self, set: &str, kind: &str, expected: &str) -> anyhow::Result<PolicySet> {
        let start = Instant::now();
        let mut found = String::new();
        while start.elapsed() < SOON {
            if let Ok(set) = self.policy_set(set).await {
                let status = set.status.clone().unwrap_or_default();
                let condition = status.conditions.iter().find(|condition| condition.type_ == kind);
                found = condition
                    .map(|condition| format!("{} {}", condition.status, condition.reason))
                    .unwrap_or_default();
                if found == expected {
                    return Ok(set);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("{kind} of {set} is {found:?} and not {expected:?}\n{}", self.log())
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_directory_is_in_force_within_two_seconds() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[("shop.yaml", policy("shop", "0 1 * * *"))]).await?;
    stage.becomes(&["shop-nightly 0 1 * * *"], SOON).await?;

    write(&stage.policies.join("shop.yaml"), &policy("shop", "0 2 * * *"))?;
    stage.becomes(&["shop-nightly 0 2 * * *"], IN_FORCE).await?;

    fs::create_dir(stage.policies.join("team"))?;
    write(&stage.policies.join("team/web.yml"), &policy("web", "0 3 * * *"))?;
    stage.becomes(&["shop-nightly 0 2 * * *", "web-nightly 0 3 * * *"], IN_FORCE).await?;

    fs::remove_file(stage.policies.join("shop.yaml"))?;
    stage.becomes(&["web-nightly 0 3 * * *"], IN_FORCE).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_edit_changes_nothing_and_is_told() -> anyhow::Result<()> {
    let files = [("shop.yaml", policy("shop", "0 1 * * *")), ("web.yaml", policy("web", "0 3 * * *"))];
    let stage = Stage::set(&[], &files).await?;
    let both = ["shop-nightly 0 1 * * *", "web-nightly 0 3 * * *"];
    stage.becomes(&both, SOON).await?;

    // The good edit beside the bad one is not in force either: a set is taken whole.
    let bad = policy("shop", "0 1 * * *").replace("schedules", "shedules");
    write(&stage.policies.join("shop.yaml"), &bad)?;
    write(&stage.policies.join("web.yaml"), &policy("web", "0 4 * * *"))?;
    let set = stage.condition("policies", "Stalled", "True Invalid").await?;
    let status = set.status.unwrap_or_default();
    let problem = &status.problems[0];
    assert!(problem.file.ends_with("shop.yaml"), "{problem:?}");
    assert_eq!((problem.line, problem.rule.as_str()), (6, "unknown-field"));
    assert_eq!(status.conditions[0].status, "False", "Ready");
    assert!(stage.log().contains("policies refused"), "{}", stage.log());
    tokio::time::sleep(LATER).await;
    assert_eq!(stage.published().await?, both);

    write(&stage.policies.join("shop.yaml"), &policy("shop", "0 5 * * *"))?;
    stage.becomes(&["shop-nightly 0 5 * * *", "web-nightly 0 4 * * *"], IN_FORCE).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_emptied_or_gone_removes_nothing() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[("shop.yaml", policy("shop", "0 1 * * *"))]).await?;
    stage.becomes(&["shop-nightly 0 1 * * *"], SOON).await?;
    fs::remove_file(stage.policies.join("shop.yaml"))?;
    stage.condition("policies", "Stalled", "True SourceUnavailable").await?;
    fs::remove_dir(&stage.policies)?;
    tokio::time::sleep(LATER).await;
    assert_eq!(stage.published().await?, ["shop-nightly 0 1 * * *"]);

    fs::create_dir(&stage.policies)?;
    write(&stage.policies.join("web.yaml"), &policy("web", "0 3 * * *"))?;
    stage.becomes(&["web-nightly 0 3 * * *"], IN_FORCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_of_a_mounted_config_map_is_in_force_within_two_seconds() -> anyhow::Result<()> {
    let stage = Stage::set(&[], &[]).await?;
    for (folder, cron) in [("..one", "0 1 * * *"), ("..two", "0 2 * * *")] {
        fs::create_dir(stage.policies.join(folder))?;
        write(&stage.policies.join(folder).join("shop.yaml"), &policy("shop", cron))?;
    }
    symlink("..one", stage.policies.join("..data"))?;
    symlink("..data/shop.yaml", stage.policies.join("shop.yaml"))?;
    stage.becomes(&["shop-nightly 0 1 * * *"], IN_FORCE).await?;

    symlink("..two", stage.policies.join("..data_tmp"))?;
    fs::rename(stage.policies.join("..data_tmp"), stage.policies.join("..data"))?;
    fs::remove_dir_all(stage.policies.join("..one"))?;
    stage.becomes(&["shop-nightly 0 2 * * *"], IN_FORCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_more_than_half_of_the_schedules_waits_for_a_word() -> anyhow::Result<()> {
    let names = ["a", "b", "c", "d", "e"];
    let files = names.map(|name| (format!("{name}.yaml"), policy(name, "0 1 * * *")));
    let files = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect::<Vec<_>>();
    let stage = Stage::set(&[], &files).await?;
    let all = names.map(|name| format!("{name}-nightly 0 1 * * *"));
    stage.becomes(&all.each_ref().map(String::as_str), SOON).await?;

    for name in &names[1..] {
        fs::remove_file(stage.policies.join(format!("{name}.yaml")))?;
    }
    stage.logs("PruneHeld", 4).await?;
    assert_eq!(stage.published().await?, all);

    let sets: Api<PolicySet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let set = stage.policy_set("policies").await?;
    let waiting = set.status.context("a status")?.waiting;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let word = json!({"metadata": {"annotations": {waiting[0].annotation.clone(): waiting[0].value}}});
    sets.patch("policies", &PatchParams::default(), &Patch::Merge(word)).await?;
    stage.becomes(&["a-nightly 0 1 * * *"], SOON).await?;
    stage.condition("policies", "Ready", "True InForce").await?;
    // The word was for this removal alone.
    let start = Instant::now();
    loop {
        let left = stage.policy_set("policies").await?.metadata.annotations.unwrap_or_default();
        if left.is_empty() {
            break;
        }
        assert!(start.elapsed() < SOON, "{left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_policy_is_not_made_again_by_the_next_daemon() -> anyhow::Result<()> {
    let text = "apiVersion: holdfast.dev/v1alpha1\n\
                kind: BackupPolicy\n\
                metadata: {name: shop}\n\
                spec: {select: {namespaces: {include: [shop]}}, backups: [{name: before}]}\n";
    let mut stage = Stage::set(&[], &[("shop.yaml", text.to_owned())]).await?;
    let backups: Api<Backup> = Api::namespaced(stage.client.clone(), &stage.namespace);
    stage.logs(WORKS, 1).await?;
    let set = stage.condition("policies", "Ready", "True InForce").await?;
    assert_eq!(set.status.unwrap_or_default().made_once[0].name, "shop-before");
    backups.delete("shop-before", &DeleteParams::default()).await?;

    stage.daemon.take().context("a daemon")?.stop().await?;
    stage.start(&[]).await?;
    stage.logs(WORKS, 1).await?;
    tokio::time::sleep(LATER).await;
    assert!(backups.get_opt("shop-before").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_config_map_is_in_force_within_two_seconds() -> anyhow::Result<()> {
    let mut stage = Stage::set(&[], &[("dir.yaml", policy("dir", "0 9 * * *"))]).await?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let map = |name: &str, text: String| {
        serde_json::from_value::<ConfigMap>(json!({
            "metadata": {"name": name, "labels": {"holdfast.dev/policies": "true"}},
            "data": {"policy.yaml": text},
        }))
    };
    maps.create(&PostParams::default(), &map("one", policy("one", "0 1 * * *"))?).await?;
    maps.create(&PostParams::default(), &map("two", policy("two", "0 2 * * *"))?).await?;
    stage.daemon.take().context("a daemon")?.stop().await?;
    stage.start(&["--policy-selector=holdfast.dev/policies=true"]).await?;
    let published = |one: &str| {
        vec![
            "dir-nightly 0 9 * * *".to_owned(),
            format!("one-nightly {one}"),
            "two-nightly 0 2 * * *".to_owned(),
        ]
    };
    let texts = published("0 1 * * *");
    stage.becomes(&texts.iter().map(String::as_str).collect::<Vec<_>>(), SOON).await?;

    let edit = json!({"data": {"policy.yaml": policy("one", "0 5 * * *")}});
    maps.patch("one", &PatchParams::default(), &Patch::Merge(edit)).await?;
    let texts = published("0 5 * * *");
    stage.becomes(&texts.iter().map(String::as_str).collect::<Vec<_>>(), IN_FORCE).await?;

    let bad = json!({"data": {"policy.yaml": "kind: Nonsense\n"}});
    maps.patch("two", &PatchParams::default(), &Patch::Merge(bad)).await?;
    let name = format!("configmaps.{}", stage.namespace);
    stage.condition(&name, "Stalled", "True Invalid").await?;
    assert_eq!(stage.published().await?, texts);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_of_another_namespace_select_only_that_namespace() -> anyhow::Result<()> {
    let testbed = Testbed::shared().await?;
    let shop = testbed.namespace("shop").await?;
    let maps: Api<ConfigMap> = Api::namespaced(testbed.client()?, &shop);
    let policy = |namespace: &str| policy("own", "0 1 * * *").replace("[shop]", &format!("[{namespace}]"));
    let map = |text: String| json!({"metadata": {"name": "policies"}, "data": {"policy.yaml": text}});
    let created: ConfigMap = serde_json::from_value(map(policy("kube-system")))?;
    maps.create(&PostParams::default(), &created).await?;
    let argument = format!("--policy-configmap=tenant={shop}/policies");
    let stage = Stage::set(&[&argument], &[]).await?;
    let set = stage.condition("tenant", "Stalled", "True Invalid").await?;
    let problem = &set.status.unwrap_or_default().problems[0];
    assert_eq!(problem.rule, "untrusted", "{problem:?}");
    assert!(problem.message.contains(&shop), "{problem:?}");
    assert_eq!(stage.published().await?, Vec::<String>::new());

    maps.patch("policies", &PatchParams::default(), &Patch::Merge(map(policy(&shop)))).await?;
    stage.becomes(&["own-nightly 0 1 * * *"], IN_FORCE).await?;
    let namespaces: Api<Namespace> = Api::all(testbed.client()?);
    namespaces.delete(&shop, &DeleteParams::default()).await?;
    Ok(())
}
