//! Which EBS volume a PersistentVolume is. Pure.

use serde_json::Value;

use super::Error;

const CSI_DRIVER: &str = "ebs.csi.aws.com";
const IN_TREE: &str = "/spec/awsElasticBlockStore/volumeID";
const CSI: &str = "/spec/csi/volumeHandle";

/// None where it is none.
pub(super) fn id_of(volume: &Value) -> Result<Option<String>, Error> {
    let text = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str);
    let found = match (text(IN_TREE), text("/spec/csi/driver")) {
        (Some(id), _) => id,
        (None, Some(CSI_DRIVER)) => text(CSI).unwrap_or_default(),
        (None, Some(_) | None) => return Ok(None),
    };
    // In-tree volumes may be written with their zone: aws://eu-central-1a/vol-1.
    let id = found.rsplit('/').next().unwrap_or_default();
    match id.strip_prefix("vol-") {
        Some(rest) if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Ok(Some(id.to_owned()))
        }
        Some(_) | None => Err(Error(format!("{found:?} is no id of an EBS volume"))),
    }
}

pub(super) fn set_id(volume: &mut Value, id: &str) -> Result<(), Error> {
    if let Some(found) = volume.pointer_mut(IN_TREE) {
        let zone = found
            .as_str()
            .and_then(|text| text.strip_prefix("aws://"))
            .and_then(|text| text.split('/').next());
        let written = zone.map_or_else(|| id.to_owned(), |zone| format!("aws://{zone}/{id}"));
        *found = Value::String(written);
        return Ok(());
    }
    if let Some(found) = volume.pointer_mut(CSI) {
        *found = Value::String(id.to_owned());
        return Ok(());
    }
    Err(Error("the PersistentVolume is none of EBS".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn volumes_are_known_in_tree_and_by_their_driver() {
        let in_tree = |id: &str| json!({"spec": {"awsElasticBlockStore": {"volumeID": id}}});
        let csi = |driver: &str| json!({"spec": {"csi": {"driver": driver, "volumeHandle": "vol-1"}}});
        let id = |volume: Value| id_of(&volume).unwrap();
        assert_eq!(id(in_tree("vol-0a")), Some("vol-0a".to_owned()));
        assert_eq!(id(in_tree("aws://eu-central-1a/vol-0a")), Some("vol-0a".to_owned()));
        assert_eq!(id(csi(CSI_DRIVER)), Some("vol-1".to_owned()));
        assert_eq!(id(csi("other")), None);
        assert_eq!(id(json!({"spec": {}})), None);
        assert!(id_of(&in_tree("disk")).is_err());
    }

    #[test]
    fn a_zone_in_the_id_stays() {
        let mut volume = json!({"spec": {"awsElasticBlockStore": {"volumeID": "aws://eu-central-1a/vol-1"}}});
        set_id(&mut volume, "vol-2").unwrap();
        assert_eq!(volume["spec"]["awsElasticBlockStore"]["volumeID"], "aws://eu-central-1a/vol-2");
        let mut volume = json!({"spec": {"csi": {"driver": CSI_DRIVER, "volumeHandle": "vol-1"}}});
        set_id(&mut volume, "vol-2").unwrap();
        assert_eq!(volume["spec"]["csi"]["volumeHandle"], "vol-2");
        assert!(set_id(&mut json!({"spec": {}}), "vol-2").is_err());
    }
}
