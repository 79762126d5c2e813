//! The codecs of a backup archive and the name each has in the bucket.
//!
//! Which one a location uses is the store's affair, encoding and decoding the archive's.

use serde::{Deserialize, Serialize};

/// How the archive of a backup is compressed. Velero itself reads and writes `Gzip` only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    Gzip,
    Zstd,
}

impl Compression {
    pub const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// The ending of the archive's file name, without the leading dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "tar.gz",
            Self::Zstd => "tar.zst",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Compression;

    #[test]
    fn each_codec_has_its_own_file_ending() {
        assert_eq!(Compression::ALL.map(Compression::extension), ["tar.gz", "tar.zst"]);
    }

    #[test]
    fn gzip_is_what_a_location_uses_unless_told_otherwise() {
        assert_eq!(Compression::default(), Compression::Gzip);
    }
}
