//! How fast an archive is written and indexed, without a cluster and without a bucket.
//!
//! `cargo run --release --example archive_speed [OBJECTS]`

use std::io::Cursor;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast::archive::{Index, ItemPath, Limits, Stats, Writer, index};
use holdfast_policy::compression::Compression;
use tokio::sync::mpsc;

fn main() -> anyhow::Result<()> {
    let count = std::env::args().nth(1).map_or(Ok(70_000), |count| count.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    let mut out = std::io::stdout();
    for compression in Compression::ALL {
        let objects: Vec<(ItemPath, Bytes)> = (0..count).map(object).collect();
        let started = Instant::now();
        let (stats, archive) = runtime.block_on(write(compression, objects))?;
        let wrote = started.elapsed();
        let started = Instant::now();
        let indexed = index(Cursor::new(archive), compression, tempfile::tempfile()?, Limits::default())?;
        report(&mut out, compression, stats, wrote, &indexed, started.elapsed())?;
    }
    Ok(())
}

async fn write(
    compression: Compression,
    objects: Vec<(ItemPath, Bytes)>,
) -> anyhow::Result<(Stats, Vec<u8>)> {
    let (output, mut chunks) = mpsc::channel(2);
    let modified = "2026-01-01T00:00:00Z".parse()?;
    let writer = Writer::start(compression, modified, output);
    let collected = tokio::spawn(async move {
        let mut archive = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            archive.extend_from_slice(&chunk);
        }
        archive
    });
    for (path, json) in objects {
        writer.append(path, json).await?;
    }
    Ok((writer.finish().await?, collected.await?))
}

fn report(
    out: &mut impl std::io::Write,
    compression: Compression,
    stats: Stats,
    wrote: Duration,
    indexed: &Index,
    read: Duration,
) -> std::io::Result<()> {
    let Stats { items, tar_bytes, archive_bytes } = stats;
    let rate = |time: Duration| (items as f64 / time.as_secs_f64()) as u64;
    writeln!(
        out,
        "{compression:?}: {items} objects, tar {} MiB, archive {} KiB; written {}/s, indexed {}/s, {} items",
        tar_bytes >> 20,
        archive_bytes >> 10,
        rate(wrote),
        rate(read),
        indexed.items.len()
    )
}

/// Some 1,500 bytes that look like what an API server returns, with the parts that differ in reality differing here.
fn object(number: u32) -> (ItemPath, Bytes) {
    let digest = number.wrapping_mul(2_654_435_761);
    let name = format!("config-{number}-{digest:08x}");
    let namespace = format!("team-{}", number % 50);
    let data: String = (0..12)
        .map(|line| {
            let value = digest.wrapping_mul(line * 2 + 1).rotate_left(line);
            format!(r#""setting.{line}":"value {value:x} of {name}","#)
        })
        .collect();
    let json = format!(
        r#"{{"apiVersion":"v1","data":{{{data}"last":"x"}},"kind":"ConfigMap","metadata":{{"creationTimestamp":"2026-01-01T10:{:02}:{:02}Z","labels":{{"app":"app-{}","tier":"front"}},"managedFields":[{{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{{"f:data":{{".":{{}},"f:last":{{}},"f:setting.0":{{}},"f:setting.1":{{}},"f:setting.2":{{}},"f:setting.3":{{}},"f:setting.4":{{}},"f:setting.5":{{}}}},"f:metadata":{{"f:labels":{{".":{{}},"f:app":{{}},"f:tier":{{}}}}}}}},"manager":"kubectl-client-side-apply","operation":"Update","time":"2026-01-01T10:00:00Z"}}],"name":"{name}","namespace":"{namespace}","resourceVersion":"{}","uid":"{digest:08x}-{:04x}-4{:03x}-a{:03x}-{digest:08x}{:04x}"}}}}"#,
        number / 60 % 60,
        number % 60,
        number % 97,
        1_000_000 + number * 3,
        number % 0xffff,
        digest % 0xfff,
        number % 0xfff,
        digest % 0xffff,
    );
    let path = ItemPath {
        group_resource: "configmaps".into(),
        version: "v1".into(),
        namespace: Some(namespace),
        name,
    };
    (path, json.into())
}
