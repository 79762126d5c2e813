//! The commands that people use beside a running daemon: status, get, backup now, restore run, logs, and all of it as a
//! plugin of kubectl.

use holdfast_policy::velero::{BackupStorageLocation, LocationPhase, Schedule};
use holdfast_tests::S3Server;
use holdfast_tests::command::{Ended, holdfast, kubectl_holdfast};
use holdfast_tests::waiting::until;
use kube::api::{DeleteParams, Patch, PatchParams};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::home::{Home, PATIENCE, backup_of};

struct People {
    home: Home,
    application: String,
    _daemon: holdfast_tests::Daemon,
    _policies: tempfile::TempDir,
}

impl People {
    /// A daemon with the policy `shop`, whose schedule is never due while a test runs.
    async fn arrive(prefix: &str) -> anyhow::Result<People> {
        let home = Home::new(prefix).await?;
        let application = home.application(prefix).await?;
        let policies = tempfile::tempdir()?;
        let policy = format!(
            "apiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata: {{name: shop}}\nspec:\n  \
             select: {{namespaces: {{include: [{application}]}}}}\n  \
             schedules: [{{name: yearly, cron: \"0 0 1 1 *\", skipImmediately: true}}]\n"
        );
        std::fs::write(policies.path().join("shop.yaml"), policy)?;
        let daemon = home.daemon(&[&format!("--policies=main={}", policies.path().display())]).await?;
        home.local_location().await?;
        home.location_is(LocationPhase::Available).await?;
        let settled = |schedule: &Schedule| schedule.status.last_skipped.is_some();
        home.runs.ended("shop-yearly", PATIENCE, settled).await?;
        Ok(People { home, application, _daemon: daemon, _policies: policies })
    }

    fn cluster(&self) -> [String; 2] {
        let kubeconfig = self.home.testbed.kubeconfig().display();
        [format!("--kubeconfig={kubeconfig}"), format!("--namespace={}", self.home.namespace)]
    }

    async fn ask(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        holdfast(arguments.chain(self.cluster())).await
    }

    /// What the status tells a program.
    async fn status(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.ask(&["status", "--output=json"]).await?.output)?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_by_hand_is_made_watched_read_about_and_brought_back() -> anyhow::Result<()> {
    let people = People::arrive("people").await?;
    let home = &people.home;
    until("the policies are ready", PATIENCE, async || {
        Ok((people.status().await?["sources"][0]["ready"] == "True").then_some(()))
    })
    .await?;
    let status = people.status().await?;
    assert_eq!(status["daemon"]["mode"], "full", "{status:#}");
    assert_eq!(status["daemon"]["leader"], "daemon");
    assert_eq!(status["schedules"][0]["name"], "shop-yearly");
    assert_eq!(status["schedules"][0]["policy"], "shop");
    assert!(status["schedules"][0]["nextRun"].is_string(), "{status:#}");

    let made = people.ask(&["backup", "now", "shop"]).await?;
    assert_eq!(made.code, 0, "{made:?}");
    let name = made.output.trim().strip_prefix("backup/").unwrap().to_owned();
    assert!(name.starts_with("shop-yearly-"), "{name}");
    assert!(made.errors.contains(&format!("backup/{name}: Completed")), "{}", made.errors);

    let table = people.ask(&["get", "backups"]).await?;
    assert!(table.output.starts_with("BACKUP ") && table.output.contains(&name), "{}", table.output);
    let whole = people.ask(&["get", "backup", &name, "-o", "yaml"]).await?;
    assert!(whole.output.contains("kind: Backup\n"), "{}", whole.output);
    let list: Value = serde_json::from_str(&people.ask(&["get", "schedules", "-o", "json"]).await?.output)?;
    assert_eq!((&list["kind"], &list["items"][0]["kind"]), (&"List".into(), &"Schedule".into()));

    let log = people.ask(&["logs", &format!("backup/{name}")]).await?;
    assert_eq!(log.code, 0, "{log:?}");
    assert!(log.output.contains("Backed up a total of"), "{}", log.output);

    home.config_maps(&people.application)?.delete("settings", &DeleteParams::default()).await?;
    let again = people.ask(&["backup", "now", "shop-yearly", "--name=again", "--no-wait", "-o=json"]).await?;
    let again: Value = serde_json::from_str(&again.output)?;
    assert_eq!((&again["kind"], &again["metadata"]["name"]), (&"Backup".into(), &"again".into()));
    let back = people.ask(&["restore", "run", "--from-backup", &name, "--name", "back"]).await?;
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(back.output, "restore/back\n");
    assert!(back.errors.contains("restore/back: Completed"), "{}", back.errors);
    home.config_maps(&people.application)?.get("settings").await?;
    let log = people.ask(&["logs", "restore/back", "--follow"]).await?;
    assert_eq!(log.code, 0, "{log:?}");

    // The promise is kept once the daemon has told so.
    until("nothing needs attention", PATIENCE, async || {
        Ok((people.ask(&["status"]).await?.code == 0).then_some(()))
    })
    .await?;
    let status = people.ask(&["status"]).await?;
    assert!(
        status.output.contains("nothing needs attention") && !status.output.contains('\u{1b}'),
        "{status:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_with_exit_codes() -> anyhow::Result<()> {
    let people = People::arrive("strangers").await?;
    for (arguments, code, told) in [
        (&["backup", "now", "nothing"][..], 2, "there is no policy nothing"),
        (&["get", "backup", "nothing"], 1, "there is no Backup nothing"),
        (&["logs", "backup/nothing"], 1, "there is no backup/nothing"),
        (&["restore", "run", "--from-backup", "nothing", "--name", "no"], 1, "restore/no: FailedValidation"),
        (&["logs", "restore/no"], 1, "restore/no: FailedValidation"),
        (&["status", "--context", "elsewhere"], 2, "elsewhere"),
    ] {
        let ended = people.ask(arguments).await?;
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert!(ended.errors.contains(told), "{arguments:?}: {ended:?}");
    }
    let nobody = people.ask(&["status", "--namespace=default"]).await?;
    assert!(nobody.code != 0, "{nobody:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_comes_from_the_daemon_where_the_bucket_is_out_of_reach() -> anyhow::Result<()> {
    let home = Home::new("far-bucket").await?;
    let server = S3Server::start().await?;
    server.create_bucket("bucket").await?;
    let _daemon = home.daemon(&[]).await?;
    home.s3_credentials(server.access_key(), server.secret_key()).await?;
    home.s3_location(server.endpoint(), "bucket").await?;
    // Where the daemon is told that others reach the bucket, nobody answers.
    let away = json!({"spec": {"config": {"publicUrl": "http://127.0.0.1:1"}}});
    let locations = home.runs.api::<BackupStorageLocation>();
    locations.patch("default", &PatchParams::default(), &Patch::Merge(away)).await?;
    home.location_is(LocationPhase::Available).await?;
    home.runs.backup("one", backup_of(&home.namespace), PATIENCE).await?;
    let kubeconfig = format!("--kubeconfig={}", home.testbed.kubeconfig().display());
    let log = holdfast(["logs", "backup/one", "-n", home.namespace.as_str(), kubeconfig.as_str()]).await?;
    assert_eq!(log.code, 0, "{log:?}");
    assert!(log.errors.contains("127.0.0.1 can't be reached from here"), "{}", log.errors);
    assert!(log.output.contains("Backed up a total of"), "{}", log.output);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_finds_it_as_its_plugin() -> anyhow::Result<()> {
    let people = People::arrive("plugin").await?;
    let kubectl = people.home.testbed.kubectl().await?;
    let cluster = people.cluster();
    let asked = ["get", "schedules", &cluster[0], &cluster[1]];
    let ended = kubectl_holdfast(&kubectl, asked).await?;
    assert!(ended.code == 0 && ended.output.contains("shop-yearly"), "{ended:?}");
    let usage = kubectl_holdfast(&kubectl, ["logs", "--help"]).await?;
    assert!(usage.output.contains("Usage: kubectl holdfast logs"), "{}", usage.output);
    for shell in ["bash", "zsh", "fish"] {
        let script = holdfast(["completion", shell]).await?;
        assert!(script.code == 0 && script.output.contains("kubeconfig"), "{script:?}");
    }
    Ok(())
}
