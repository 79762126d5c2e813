//! Archives that are damaged or hostile, as the user of a restore sees them.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast_policy::velero::{Restore, RestorePhase, RestoreSpec};
use holdfast_tests::restores::{archive, config_map};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use pretty_assertions::assert_eq;

use crate::archives::backup;
use crate::home::{Home, PATIENCE};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("memory takes bytes");
    packed.finish().expect("memory takes bytes")
}

/// A tar header of any name and size.
fn header(name: &str, kind: tar::EntryType, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().expect("a GNU header").name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o755);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn entry(name: &str, kind: tar::EntryType, content: &str) -> Vec<u8> {
    let mut bytes = header(name, kind, content.len() as u64);
    bytes.extend_from_slice(content.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

async fn restore(home: &Home, backup: &str, target: &str) -> anyhow::Result<Restore> {
    let spec = RestoreSpec {
        backup_name: Some(backup.to_owned()),
        namespace_mapping: BTreeMap::from([("src".to_owned(), target.to_owned())]),
        ..RestoreSpec::default()
    };
    home.runs.restore(backup, spec, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_archives_make_restores_failed_that_say_why_and_nothing_is_created() -> anyhow::Result<()> {
    let home = Home::new("damaged").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let whole = archive(&(0..100).map(|number| config_map("src", &format!("c{number}"))).collect::<Vec<_>>());
    let mut checksum = whole.clone();
    let trailer = checksum.len() - 8;
    checksum[trailer] ^= 0xff;
    let path = "resources/configmaps/namespaces/src/bomb.json";
    let bomb = [header(path, tar::EntryType::Regular, 8 << 30), vec![0; 1 << 20]].concat();
    let cases = [
        ("truncated", whole[..whole.len() / 2].to_vec(), "archive of backup truncated can't be restored"),
        ("checksum", checksum, "archive of backup checksum can't be restored"),
        ("trailing", [whole, b"more".to_vec()].concat(), "archive of backup trailing can't be restored"),
        ("bomb", gzip(&bomb), "is over the limit"),
        ("no-archive", gzip(b"not a tar at all"), "archive of backup no-archive can't be restored"),
    ];
    let namespaces = Api::<Namespace>::all(home.testbed.client()?);
    for (name, bytes, reason) in cases {
        backup(&home, name, &bytes).await?;
        let target = format!("{}-{name}", home.namespace);
        let status = restore(&home, name, &target).await?.status;
        assert_eq!(status.phase, Some(RestorePhase::Failed), "{name}: {status:?}");
        let told = status.failure_reason.unwrap_or_default();
        assert!(told.starts_with("restore execution failed: ") && told.contains(reason), "{name}: {told}");
        assert!(status.completion_timestamp.is_some(), "{name}");
        assert!(namespaces.get_opt(&target).await?.is_none(), "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_entries_are_errors_one_by_one_and_the_good_ones_are_restored() -> anyhow::Result<()> {
    let home = Home::new("hostile").await?;
    let _daemon = home.daemon(&[]).await?;
    home.local_location().await?;
    let (good, object) = config_map("src", "good");
    let text = object.to_string();
    let regular = tar::EntryType::Regular;
    let bytes = [
        entry("resources/configmaps/namespaces/src/../../../../../etc/passwd", regular, &text),
        entry("/etc/cron.d/evil", regular, &text),
        entry("resources/configmaps/namespaces/src/link.json", tar::EntryType::Symlink, ""),
        entry("resources/configmaps/namespaces/src/device.json", tar::EntryType::Char, ""),
        entry("resources/configmaps/namespaces/other/good.json", regular, &text),
        entry(&good, regular, &text),
        vec![0; 1024],
    ]
    .concat();
    backup(&home, "hostile", &gzip(&bytes)).await?;
    let target = format!("{}-copy", home.namespace);
    let status = restore(&home, "hostile", &target).await?.status;
    assert_eq!(status.phase, Some(RestorePhase::PartiallyFailed), "{status:?}");
    assert_eq!(status.errors, 5, "{status:?}");
    assert!(home.config_maps(&target)?.get_opt("good").await?.is_some());
    let namespaces = Api::<Namespace>::all(home.testbed.client()?);
    assert!(namespaces.get_opt("other").await?.is_none());
    Ok(())
}
