//! What the four kinds that move volume data have in common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;
use super::wire::is_default;

text_enum! {
    #[derive(Default)]
    DataPathPhase {
        #[default]
        #[serde(alias = "")]
        New = "New",
        Accepted = "Accepted",
        Prepared = "Prepared",
        InProgress = "InProgress",
        Canceling = "Canceling",
        Canceled = "Canceled",
        Completed = "Completed",
        Failed = "Failed",
    }
}

impl DataPathPhase {
    /// Whether nothing more happens to the transfer.
    pub fn has_ended(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Canceled => true,
            Self::New | Self::Accepted | Self::Prepared | Self::InProgress | Self::Canceling => false,
        }
    }
}

text_enum! {
    /// What reads and writes the files of a volume. Empty text is no uploader; what that means is up to the kind.
    UploaderType {
        Kopia = "kopia",
        Restic = "restic",
    }
}

text_enum! {
    /// The operating system of the node that moves the data.
    NodeOs {
        Auto = "auto",
        Linux = "linux",
        Windows = "windows",
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DataPathProgress {
    /// Bytes to move.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(extend("x-int64" = true))]
    pub total_bytes: i64,
    /// Bytes moved so far.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(extend("x-int64" = true))]
    pub bytes_done: i64,
}
