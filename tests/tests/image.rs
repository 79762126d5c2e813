//! The image that Holdfast is shipped as: its shape, its bytes, and that it is the one of the `Containerfile`.
//! That it runs is shown on the node.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use holdfast_tests::{daemon, image};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const NAME: &str = "holdfast.dev/holdfast:test";

async fn made() -> anyhow::Result<Vec<u8>> {
    let parts = image::Parts { program: daemon::program().await?, name: NAME, version: "0.1.0" };
    let mut bytes = Vec::new();
    image::write(&parts, &mut bytes)?;
    Ok(bytes)
}

/// The files of a tar.
fn files(tar: impl std::io::Read) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        assert_eq!((entry.header().mtime()?, entry.header().uid()?, entry.header().gid()?), (0, 0, 0));
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(entry.path()?.display().to_string(), content);
    }
    Ok(files)
}

fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// The blob that a descriptor names, after a look at its size and digest.
fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
    let named = descriptor["digest"].as_str().unwrap();
    let content = &files[&format!("blobs/{}", named.replace(':', "/"))];
    assert_eq!(
        (named.to_owned(), descriptor["size"].as_u64()),
        (digest(content), Some(content.len() as u64))
    );
    content
}

#[tokio::test]
async fn every_digest_and_size_is_right_and_nothing_can_be_run_in_it_but_holdfast() -> anyhow::Result<()> {
    let files = files(made().await?.as_slice())?;
    assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index: Value = serde_json::from_slice(&files["index.json"])?;
    let [manifest] = &index["manifests"].as_array().unwrap()[..] else { panic!("{index}") };
    assert_eq!(manifest["annotations"]["io.containerd.image.name"], NAME);
    let manifest: Value = serde_json::from_slice(blob(&files, manifest))?;
    let config: Value = serde_json::from_slice(blob(&files, &manifest["config"]))?;
    let docker: Value = serde_json::from_slice(&files["manifest.json"])?;
    assert_eq!(docker[0]["RepoTags"], json!([NAME]));
    let path =
        |descriptor: &Value| format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"));
    assert_eq!(docker[0]["Config"], path(&manifest["config"]));

    let layers = manifest["layers"].as_array().unwrap();
    let mut programs = Vec::new();
    let mut contents = BTreeMap::new();
    for (number, layer) in layers.iter().enumerate() {
        assert_eq!(docker[0]["Layers"][number], path(layer));
        let mut tar = Vec::new();
        GzDecoder::new(blob(&files, layer)).read_to_end(&mut tar)?;
        assert_eq!(config["rootfs"]["diff_ids"][number], digest(&tar));
        for entry in tar::Archive::new(tar.as_slice()).entries()? {
            let entry = entry?;
            let path = entry.path()?.display().to_string();
            let runs = entry.header().entry_type().is_file() && entry.header().mode()? & 0o111 != 0;
            if runs && !path.contains(".so") {
                programs.push(path);
            }
        }
        contents.extend(self::files(tar.as_slice())?);
    }
    assert_eq!(programs, ["usr/bin/holdfast"]);
    assert!(contents.contains_key("etc/ssl/certs/ca-certificates.crt"));
    assert!(contents.contains_key("tmp/"));
    assert_eq!(config["config"]["User"], "65532:65532");
    Ok(())
}

#[tokio::test]
async fn the_same_program_gives_the_same_bytes() -> anyhow::Result<()> {
    let (first, second) = (made().await?, made().await?);
    assert_eq!(digest(&first), digest(&second));
    Ok(())
}

/// The words of an instruction of the last stage, without its continuations.
fn instructions(file: &str) -> BTreeMap<String, String> {
    let (_, last) = file.rsplit_once("\nFROM ").unwrap();
    let joined = last.replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(instruction, rest)| {
            (instruction.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

#[tokio::test]
async fn the_containerfile_says_the_same_of_how_it_runs() -> anyhow::Result<()> {
    let files = files(made().await?.as_slice())?;
    let index: Value = serde_json::from_slice(&files["index.json"])?;
    let manifest: Value = serde_json::from_slice(blob(&files, &index["manifests"][0]))?;
    let config: Value = serde_json::from_slice(blob(&files, &manifest["config"]))?;
    let config = &config["config"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let said = instructions(&std::fs::read_to_string(root.join("Containerfile"))?);
    assert_eq!(said["USER"], config["User"].as_str().unwrap());
    assert_eq!(serde_json::from_str::<Value>(&said["ENTRYPOINT"])?, config["Entrypoint"]);
    let volumes: Vec<&String> = config["Volumes"].as_object().unwrap().keys().collect();
    assert_eq!(serde_json::from_str::<Value>(&said["VOLUME"])?, json!(volumes));
    let labels = config["Labels"].as_object().unwrap();
    for (name, value) in labels {
        assert!(said["LABEL"].contains(&format!("{name}={}", value)), "{name}");
    }
    assert_eq!(said["LABEL"].matches("org.opencontainers").count(), labels.len());
    assert_eq!(said["COPY"], "--from=build /holdfast /usr/bin/holdfast");
    // What the daemon says of its own version is what the image is called after.
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    Ok(())
}
