//! Where the files of a repository lie in its folder: the layout of restic's own back ends.

use rustic_core::{FileType, Id};

/// The only file without an ID.
pub(super) const CONFIG: &str = "config";

pub(super) fn folder(kind: FileType) -> &'static str {
    kind.dirname()
}

pub(super) fn name(kind: FileType, id: &Id) -> String {
    let hex = id.to_hex();
    match kind {
        FileType::Config => CONFIG.to_owned(),
        FileType::Pack => format!("{}/{}/{}", folder(kind), &hex[..2], &*hex),
        FileType::Index | FileType::Key | FileType::Snapshot => format!("{}/{}", folder(kind), &*hex),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lie_where_restic_looks_for_them() {
        let id: Id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".parse().unwrap();
        let hex = id.to_hex();
        assert_eq!(name(FileType::Config, &id), "config");
        assert_eq!(name(FileType::Key, &id), format!("keys/{}", &*hex));
        assert_eq!(name(FileType::Snapshot, &id), format!("snapshots/{}", &*hex));
        assert_eq!(name(FileType::Index, &id), format!("index/{}", &*hex));
        assert_eq!(name(FileType::Pack, &id), format!("data/01/{}", &*hex));
    }
}
