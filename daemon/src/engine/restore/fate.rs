//! What would become of one object of a restore, as a dry run tells it.

use super::compare::Difference;

/// What would become of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    Create,
    /// Created, and the API server can't say yet whether it agrees.
    Unchecked {
        reason: String,
    },
    Skip {
        reason: String,
    },
    Filtered {
        by: &'static str,
    },
    /// The cluster does not serve the kind in this version, nor does a CRD of the backup bring it.
    NotServed,
    /// It is there, and the same.
    Same,
    /// It is there, and is left as it is.
    Differs {
        fields: Vec<Difference>,
    },
    /// It is there, and is changed.
    Update {
        fields: Vec<Difference>,
    },
    Conflict {
        message: String,
    },
    /// A webhook or a policy of admission refuses it.
    Denied {
        message: String,
    },
    Fails {
        message: String,
    },
}

impl Fate {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create | Self::Unchecked { .. } => "create",
            Self::Skip { .. } => "skip",
            Self::Filtered { .. } => "filtered",
            Self::NotServed => "not served",
            Self::Same => "same",
            Self::Differs { .. } => "differs",
            Self::Update { .. } => "update",
            Self::Conflict { .. } => "conflict",
            Self::Denied { .. } => "denied",
            Self::Fails { .. } => "fails",
        }
    }

    /// Why, where there is more to say than the word.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Unchecked { reason } | Self::Skip { reason } => Some(reason),
            Self::Filtered { by } => Some(by),
            Self::Conflict { message } | Self::Denied { message } | Self::Fails { message } => Some(message),
            Self::Create | Self::NotServed | Self::Same | Self::Differs { .. } | Self::Update { .. } => None,
        }
    }

    pub fn fields(&self) -> &[Difference] {
        match self {
            Self::Differs { fields } | Self::Update { fields } => fields,
            Self::Create
            | Self::Unchecked { .. }
            | Self::Skip { .. }
            | Self::Filtered { .. }
            | Self::NotServed
            | Self::Same
            | Self::Conflict { .. }
            | Self::Denied { .. }
            | Self::Fails { .. } => &[],
        }
    }

    /// Whether the cluster would be another one afterwards.
    pub fn is_change(&self) -> bool {
        matches!(self, Self::Create | Self::Unchecked { .. } | Self::Update { .. })
    }

    /// Whether the restore would report an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::NotServed | Self::Conflict { .. } | Self::Denied { .. } | Self::Fails { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_another_cluster_behind_is_a_change() {
        let text = || "x".to_owned();
        let changes = [Fate::Create, Fate::Unchecked { reason: text() }, Fate::Update { fields: vec![] }];
        assert!(changes.iter().all(|fate| fate.is_change() && !fate.is_error()));
        let errors = [Fate::NotServed, Fate::Conflict { message: text() }, Fate::Denied { message: text() }];
        assert!(errors.iter().all(|fate| !fate.is_change() && fate.is_error()));
        let neither = [Fate::Same, Fate::Differs { fields: vec![] }, Fate::Skip { reason: text() }];
        assert!(neither.iter().all(|fate| !fate.is_change() && !fate.is_error()));
    }
}
