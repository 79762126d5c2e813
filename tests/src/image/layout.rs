//! An OCI image layout as one tar (image-spec, "Image Layout Specification"), with the `manifest.json` beside it that
//! `docker load` looks for.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Context;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::layer::{Layer, gzip};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// How a container of the image runs.
pub(super) struct Config {
    pub(super) user: String,
    pub(super) entrypoint: Vec<String>,
    /// The folders that are written to.
    pub(super) volumes: Vec<&'static str>,
    pub(super) labels: Vec<(&'static str, String)>,
}

/// Writes the image of these layers, the lowest first, under a name `NAME:TAG`.
pub(super) fn write(name: &str, config: &Config, layers: &[Layer], output: impl Write) -> anyhow::Result<()> {
    let mut blobs = Blobs::default();
    let (mut diff_ids, mut descriptors) = (Vec::new(), Vec::new());
    for layer in layers {
        let tar = layer.tar()?;
        diff_ids.push(digest(&tar));
        descriptors.push(blobs.add(LAYER, gzip(&tar)?));
    }
    let config = blobs.add(CONFIG, serde_json::to_vec(&image_config(config, &diff_ids))?);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": descriptors,
    });
    let docker = json!([{
        "Config": path(&config)?,
        "RepoTags": [name],
        "Layers": descriptors.iter().map(path).collect::<anyhow::Result<Vec<_>>>()?,
    }]);
    let mut manifest = blobs.add(MANIFEST, serde_json::to_vec(&manifest)?);
    let tag = name.rsplit_once(':').context("an image's name is NAME:TAG")?.1;
    manifest["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": tag,
    });
    manifest["platform"] = json!({"architecture": architecture(), "os": "linux"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});

    let mut archive = Builder::new(output);
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut archive, "index.json", &serde_json::to_vec(&index)?)?;
    append(&mut archive, "manifest.json", &serde_json::to_vec(&docker)?)?;
    for folder in ["blobs/", "blobs/sha256/"] {
        let mut header = header(0);
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        archive.append_data(&mut header, folder, std::io::empty())?;
    }
    for (name, content) in &blobs.0 {
        append(&mut archive, &format!("blobs/sha256/{name}"), content)?;
    }
    archive.into_inner().and_then(|mut output| output.flush()).context("ending the image")
}

fn image_config(config: &Config, diff_ids: &[String]) -> Value {
    let Config { user, entrypoint, volumes, labels } = config;
    let volumes: BTreeMap<_, _> = volumes.iter().map(|volume| (*volume, json!({}))).collect();
    let labels: BTreeMap<_, _> = labels.iter().cloned().collect();
    json!({
        "architecture": architecture(),
        "os": "linux",
        // Of a build there is nothing else to tell that would be the same tomorrow.
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": user,
            "Entrypoint": entrypoint,
            "Env": ["PATH=/usr/bin"],
            "WorkingDir": "/",
            "Volumes": volumes,
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

/// By the hexadecimal digits of their digests.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Gives what refers to it.
    fn add(&mut self, media_type: &str, content: Vec<u8>) -> Value {
        let digest = digest(&content);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": content.len()});
        self.0.insert(hex(&digest).to_owned(), content);
        descriptor
    }
}

fn path(descriptor: &Value) -> anyhow::Result<String> {
    let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?;
    Ok(format!("blobs/sha256/{}", hex(digest)))
}

fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

fn append<W: Write>(archive: &mut Builder<W>, name: &str, content: &[u8]) -> anyhow::Result<()> {
    let mut header = header(content.len() as u64);
    archive.append_data(&mut header, name, content).with_context(|| format!("adding {name} to the image"))
}

fn header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// This machine's, in the words of Go.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
