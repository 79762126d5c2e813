//! Sound archives, archives of Velero, and damaged ones.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::DateTime;
use flate2::write::GzEncoder;
use tokio::sync::mpsc;

use super::*;
use crate::archive::entry::{BLOCK, END_MARK, EntryFormat};
use crate::archive::{ItemPath, Severity, Writer};

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"}}"#;
const POD_PATH: &str = "resources/pods/namespaces/shop/web.json";
const POD_TWIN: &str = "resources/pods/v1-preferredversion/namespaces/shop/web.json";

fn indexed(archive: &[u8]) -> Result<Index, Error> {
    indexed_within(archive, Limits::default())
}

fn indexed_within(archive: &[u8], limits: Limits) -> Result<Index, Error> {
    index(Cursor::new(archive), Compression::Gzip, tempfile::tempfile().unwrap(), limits)
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

/// A tar of files, without its end mark.
fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let format = EntryFormat::new(DateTime::UNIX_EPOCH);
    let mut tar = Vec::new();
    for (name, content) in files {
        format.append(&mut tar, name, content.as_bytes());
    }
    tar
}

fn archive_of(files: &[(&str, &str)]) -> Vec<u8> {
    gzip(&[tar_of(files), END_MARK.to_vec()].concat())
}

/// A header that no writer of ours makes, for an entry without content.
fn header(name: &str, kind: tar::EntryType, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn items(index: &Index) -> Vec<String> {
    index.items.iter().map(ToString::to_string).collect()
}

fn problems(index: &Index) -> Vec<String> {
    index.problems.iter().map(|problem| format!("{} {}", problem.entry, problem.reason)).collect()
}

fn damage(archive: &[u8]) -> String {
    damage_within(archive, Limits::default())
}

fn damage_within(archive: &[u8], limits: Limits) -> String {
    match indexed_within(archive, limits) {
        Err(Error::Damaged { place, source }) => format!("{place}: {source}"),
        other => panic!("not refused as damaged: {other:?}"),
    }
}

async fn written(compression: Compression, count: usize) -> Vec<u8> {
    let (output, mut chunks) = mpsc::channel(2);
    let writer = Writer::start(compression, DateTime::UNIX_EPOCH, output);
    let appended = async {
        for number in 0..count {
            let path = ItemPath {
                group_resource: "deployments.apps".into(),
                version: "v1".into(),
                namespace: Some(format!("ns-{}", number % 3)),
                name: format!("web-{number}"),
            };
            writer.append(path, Bytes::from(deployment(number))).await.unwrap();
        }
        writer.finish().await.unwrap();
    };
    let collected = async {
        let mut archive = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            archive.extend_from_slice(&chunk);
        }
        archive
    };
    tokio::join!(appended, collected).1
}

fn deployment(number: usize) -> String {
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"web-{number}","namespace":"ns-{}"}},"spec":"{}"}}"#,
        number % 3,
        "x".repeat(number % 700)
    )
}

#[tokio::test]
async fn what_was_written_is_read_back_byte_by_byte() {
    for compression in Compression::ALL {
        let archive = written(compression, 1_000).await;
        let spool = tempfile::tempfile().unwrap();
        let index = index(Cursor::new(archive), compression, spool, Limits::default()).unwrap();
        assert_eq!(problems(&index), Vec::<String>::new());
        assert_eq!(index.items.len(), 1_000);
        for (number, item) in index.items.iter().enumerate() {
            assert_eq!(item.to_string(), format!("deployments.apps ns-{}/web-{number}", number % 3));
            assert_eq!(index.read(item).unwrap(), deployment(number).into_bytes());
        }
    }
}

#[test]
fn shared_names_are_shared_in_memory() {
    let other = POD.replace("web", "db");
    let archive = archive_of(&[(POD_PATH, POD), ("resources/pods/namespaces/shop/db.json", &other)]);
    let index = indexed(&archive).unwrap();
    assert!(Arc::ptr_eq(&index.items[0].group_resource, &index.items[1].group_resource));
    assert!(Arc::ptr_eq(
        index.items[0].namespace.as_ref().unwrap(),
        index.items[1].namespace.as_ref().unwrap()
    ));
}

#[test]
fn every_archive_of_velero_holds_what_velero_said() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    let mut compared = 0;
    for backup in std::fs::read_dir(data.join("velero-1.18.3-bucket/backups")).unwrap() {
        let folder: PathBuf = backup.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let archive = std::fs::read(folder.join(format!("{name}.tar.gz"))).unwrap();
        let index = indexed(&archive).unwrap();
        assert_eq!(problems(&index), Vec::<String>::new(), "{name}");
        let expected = data.join(format!("velero-1.18.3-expected/{name}.items.txt"));
        let expected = std::fs::read_to_string(expected).unwrap();
        let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
        assert_eq!(items(&index).into_iter().collect::<BTreeSet<_>>(), expected, "{name}");
        assert_eq!(index.items.len(), expected.len(), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 18);
}

#[test]
fn the_plain_copy_counts_wherever_it_stands() {
    let twin = POD.replace("}}", r#"},"spec":"twin"}"#);
    for files in [[(POD_PATH, POD), (POD_TWIN, &twin)], [(POD_TWIN, &twin), (POD_PATH, POD)]] {
        let index = indexed(&archive_of(&files)).unwrap();
        assert_eq!(items(&index), ["pods shop/web"]);
        assert_eq!(index.read(&index.items[0]).unwrap(), POD.as_bytes());
        assert_eq!(problems(&index), Vec::<String>::new());
    }
}

#[test]
fn an_item_without_a_plain_copy_is_taken_from_its_version() {
    let job = |version: &str| {
        format!(
            r#"{{"apiVersion":"batch/{version}","kind":"Job","metadata":{{"name":"j","namespace":"n"}}}}"#
        )
    };
    let (alpha, beta, stable) = (job("v1alpha1"), job("v1beta1"), job("v1"));
    let old = ("resources/jobs.batch/v1alpha1/namespaces/n/j.json", alpha.as_str());
    let newer = ("resources/jobs.batch/v1beta1/namespaces/n/j.json", beta.as_str());
    let preferred = ("resources/jobs.batch/v1-preferredversion/namespaces/n/j.json", stable.as_str());
    for (files, expected) in
        [(vec![old, newer], &alpha), (vec![old, preferred, newer], &stable), (vec![preferred, old], &stable)]
    {
        let index = indexed(&archive_of(&files)).unwrap();
        assert_eq!(items(&index), ["jobs.batch n/j"]);
        assert_eq!(index.read(&index.items[0]).unwrap(), expected.as_bytes());
        assert_eq!(problems(&index), Vec::<String>::new());
    }
}

#[test]
fn a_version_that_is_chosen_stands_for_the_items_and_one_without_a_copy_is_a_problem() {
    let job = |version: &str, name: &str| {
        let metadata = format!(r#"{{"name":"{name}","namespace":"n"}}"#);
        format!(r#"{{"apiVersion":"batch/{version}","kind":"Job","metadata":{metadata}}}"#)
    };
    let (beta, stable, lonely) = (job("v1beta1", "j"), job("v1", "j"), job("v1", "k"));
    let files = [
        ("resources/jobs.batch/v1beta1/namespaces/n/j.json", beta.as_str()),
        ("resources/jobs.batch/namespaces/n/j.json", &stable),
        ("resources/jobs.batch/v1-preferredversion/namespaces/n/j.json", &stable),
        ("resources/jobs.batch/namespaces/n/k.json", &lonely),
        ("resources/jobs.batch/v1-preferredversion/namespaces/n/k.json", &lonely),
        ("resources/jobs.batch/v1beta1/namespaces/n/bad.json", "{}"),
    ];
    let archive = Cursor::new(archive_of(&files));
    let spool = tempfile::tempfile().unwrap();
    let copies = Kept::EveryVersion;
    let mut index = index_copies(archive, Compression::Gzip, spool, Limits::default(), copies).unwrap();
    assert_eq!(items(&index), ["jobs.batch n/j", "jobs.batch n/k"]);
    assert_eq!(index.read(&index.items[0]).unwrap(), stable.as_bytes());
    let stored = StoredVersions { preferred: "v1", others: vec!["v1beta1"] };
    assert_eq!(index.twins.versions(), [("jobs.batch", stored)].into());
    index.take_versions(&[("jobs.batch".to_owned(), "v1beta1".to_owned())].into());
    assert_eq!(items(&index), ["jobs.batch n/j"]);
    assert_eq!(index.read(&index.items[0]).unwrap(), beta.as_bytes());
    let told = problems(&index);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("resources/jobs.batch/v1beta1/namespaces/n/bad.json"), "{told:?}");
    assert_eq!(told[1], "resources/jobs.batch/v1beta1/namespaces/n/k.json has no copy in this version");
}

#[test]
fn a_bad_entry_is_reported_and_the_others_stand() {
    let other = POD.replace("web", "db");
    let db = "resources/pods/namespaces/shop/db.json";
    for (bad, content, expected) in [
        ("/etc/passwd", "x", "/etc/passwd has a name that leads out of the archive or can't be a path"),
        ("../x.json", "x", "../x.json has a name that leads out of the archive or can't be a path"),
        (
            "resources/pods/namespaces/../x.json",
            "x",
            "resources/pods/namespaces/../x.json has a name that leads out",
        ),
        ("resources//x.json", "x", "resources//x.json has a name that leads out of the archive"),
        (POD_PATH, POD, "resources/pods/namespaces/shop/web.json is there twice"),
        (
            "resources/pods/namespaces/shop/a.json",
            "no",
            "a.json is not a JSON object of Kubernetes: expected ident",
        ),
        ("resources/pods/namespaces/blog/web.json", POD, r#"its namespace is "shop", the path says "blog""#),
        ("resources/pods/namespaces/shop/a.json", POD, r#"its name is "web", the path says "a""#),
        ("resources/pods.apps/namespaces/shop/web.json", POD, r#"its group is "", the path says "apps""#),
        ("resources/pods/v2/namespaces/shop/a.json", POD, r#"its version is "v1", the path says "v2""#),
        ("resources/pods/cluster/web.json", POD, r#"its namespace is "shop", the path says """#),
        ("resources/pods/namespaces/shop/a.txt", "x", "a.txt is not part of the archive's layout"),
        ("note", "x", "note is not part of the archive's layout"),
    ] {
        let archive =
            archive_of(&[("metadata/version", "1.1.0\n"), (POD_PATH, POD), (bad, content), (db, &other)]);
        let index = indexed(&archive).unwrap();
        assert_eq!(items(&index), ["pods shop/web", "pods shop/db"], "{bad}");
        let [problem] = &problems(&index)[..] else { panic!("{bad}: {:?}", index.problems) };
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn only_strays_cost_no_item() {
    let index = indexed(&archive_of(&[("note", "x"), (POD_TWIN, "x")])).unwrap();
    let severities: Vec<Severity> = index.problems.iter().map(|problem| problem.reason.severity()).collect();
    assert_eq!(severities, [Severity::Warning, Severity::Error]);
}

#[test]
fn links_and_devices_are_reported() {
    for (kind, expected) in [
        (tar::EntryType::Symlink, "is a link"),
        (tar::EntryType::Link, "is a link"),
        (tar::EntryType::Char, "is neither a file nor a folder"),
        (tar::EntryType::Block, "is neither a file nor a folder"),
        (tar::EntryType::Fifo, "is neither a file nor a folder"),
    ] {
        for name in [POD_PATH, "note"] {
            let tar = [header(name, kind, 0), tar_of(&[(POD_TWIN, POD)]), END_MARK.to_vec()].concat();
            let index = indexed(&gzip(&tar)).unwrap();
            assert_eq!(problems(&index), [format!("{name} {expected}")]);
            // The twin doesn't stand in for a plain copy that was refused.
            assert_eq!(index.items.len(), usize::from(name == "note"));
        }
    }
}

#[test]
fn folders_are_no_problem() {
    let folders = ["resources/", "resources/pods/", "metadata"];
    let mut tar: Vec<u8> =
        folders.iter().flat_map(|name| header(name, tar::EntryType::Directory, 0)).collect();
    tar.extend(tar_of(&[(POD_PATH, POD)]));
    tar.extend(header("../x/", tar::EntryType::Directory, 0));
    tar.extend(END_MARK);
    let index = indexed(&gzip(&tar)).unwrap();
    assert_eq!(items(&index), ["pods shop/web"]);
    assert_eq!(problems(&index), ["../x/ has a name that leads out of the archive or can't be a path"]);
}

#[test]
fn a_name_that_is_not_text_is_reported() {
    let mut bad = header("resources/pods/namespaces/shop/x.json", tar::EntryType::Regular, 0);
    bad[31] = 0xff;
    let mut fixed = tar::Header::from_byte_slice(&bad).clone();
    fixed.set_cksum();
    let tar = [fixed.as_bytes().to_vec(), END_MARK.to_vec()].concat();
    let index = indexed(&gzip(&tar)).unwrap();
    assert_eq!(
        problems(&index),
        ["resources/pods/namespaces/shop/\u{fffd}.json has a name that is not text"]
    );
}

#[test]
fn names_in_gnu_s_long_form_are_read() {
    let name = format!("resources/pods/namespaces/shop/{}.json", "n".repeat(120));
    let pod = POD.replace("web", &"n".repeat(120));
    let mut tar = header("././@LongLink", tar::EntryType::GNULongName, name.len() as u64 + 1);
    let mut record = name.into_bytes();
    record.resize(BLOCK, 0);
    tar.extend(record);
    tar.extend(tar_of(&[("short", &pod)]));
    tar.extend(END_MARK);
    let index = indexed(&gzip(&tar)).unwrap();
    assert_eq!(items(&index), [format!("pods shop/{}", "n".repeat(120))]);
}

#[test]
fn a_stream_cut_anywhere_is_refused() {
    let archive = archive_of(&[("metadata/version", "1.1.0\n"), (POD_PATH, POD), (POD_TWIN, POD)]);
    for end in 0..archive.len() {
        damage(&archive[..end]);
    }
}

#[test]
fn a_tar_cut_anywhere_is_refused() {
    let tar = [tar_of(&[("metadata/version", "1.1.0\n"), (POD_PATH, POD)]), END_MARK.to_vec()].concat();
    for end in (0..tar.len()).step_by(7) {
        damage(&gzip(&tar[..end]));
    }
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_changes_nothing() {
    for compression in Compression::ALL {
        let archive = written(compression, 30).await;
        let read = |archive: &[u8]| {
            index(Cursor::new(archive), compression, tempfile::tempfile().unwrap(), Limits::default())
        };
        let contents = |index: &Index| -> Vec<(String, Vec<u8>)> {
            index.items.iter().map(|item| (item.to_string(), index.read(item).unwrap())).collect()
        };
        let sound = contents(&read(&archive).unwrap());
        let mut unnoticed = 0;
        for at in 0..archive.len() {
            let mut flipped = archive.clone();
            flipped[at] ^= 1 << (at % 8);
            if let Ok(index) = read(&flipped) {
                // Bytes of the header that say when and where it was packed, and references to an equal text elsewhere.
                assert_eq!(contents(&index), sound, "{at}");
                assert_eq!(problems(&index), Vec::<String>::new(), "{at}");
                unnoticed += 1;
            }
        }
        assert!(unnoticed * 20 < archive.len(), "{unnoticed} of {} flips went unnoticed", archive.len());
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let files = [(POD_PATH, POD)];
    let sound = archive_of(&files);
    let end =
        "entry 1 (resources/pods/namespaces/shop/web.json): there are bytes after the end of the archive";
    for rest in [&b"x"[..], &[0], &sound] {
        assert_eq!(damage(&[&sound, rest].concat()), end);
    }
    // Empty blocks fill up the last record of other writers.
    let padded = [tar_of(&files), vec![0; 10 * 1024]].concat();
    assert_eq!(indexed(&gzip(&padded)).unwrap().items.len(), 1);
    let hidden = [tar_of(&files), vec![0; 10 * 1024], tar_of(&files), END_MARK.to_vec()].concat();
    assert_eq!(damage(&gzip(&hidden)), end);
    let half_a_mark = [tar_of(&files), vec![0; BLOCK], tar_of(&files), END_MARK.to_vec()].concat();
    assert!(damage(&gzip(&half_a_mark)).ends_with("the end mark of the tar is incomplete"));
}

#[test]
fn what_is_no_archive_is_refused() {
    for archive in [&b""[..], b"text", &gzip(b""), &gzip(&[b'x'; 2048])] {
        assert!(damage(archive).starts_with("its start: "), "{archive:?}");
    }
}

#[test]
fn limits_are_kept() {
    let archive = archive_of(&[("metadata/version", "1.1.0\n"), (POD_PATH, POD), ("note", "x")]);
    let limits = Limits::default();
    for (limits, expected) in [
        (Limits { entry_bytes: 10, ..limits }, "its size of 77 bytes is over the limit of 10"),
        (Limits { entries: 2, ..limits }, "there are more than 2 entries"),
        (Limits { total_bytes: 3_000, ..limits }, "the archive unpacks to more than 3000 bytes"),
        (Limits { problems: 0, ..limits }, "more than 0 entries are bad"),
    ] {
        let refused = damage_within(&archive, limits);
        assert!(refused.ends_with(expected), "{refused}");
    }
}

#[test]
fn a_bomb_is_refused_without_being_unpacked() {
    let bomb = [header(POD_PATH, tar::EntryType::Regular, 8_589_934_591), vec![0; 1 << 20]].concat();
    assert!(damage(&gzip(&bomb)).contains("is over the limit of 16777216"));

    let record = [header("x", tar::EntryType::XHeader, 1 << 20), vec![b'x'; 1 << 20]].concat();
    assert!(damage(&gzip(&record)).contains("is over the limit of 16384"));

    // 80 MiB of folders in some 100 KiB.
    let mut many = header("resources/", tar::EntryType::Directory, 0).repeat(160_000);
    many.extend(END_MARK);
    let packed = gzip(&many);
    let limits = Limits { ratio: 100, ..Limits::default() };
    assert!(damage_within(&packed, limits).ends_with("the archive unpacks to more than 100 times its size"));
}
