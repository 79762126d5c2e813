//! What is made once is not made again.

use anyhow::Context as _;
use holdfast_policy::velero::Backup;
use kube::api::{Api, DeleteParams};

use crate::stage::{LATER, Stage, WORKS};

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
