//! Where fields stand that have no effect under a Velero server.

use super::Documents;
use crate::parse::{Findings, Path, RawDocument};
use crate::problem::Rule;
use crate::unenforced::{Document, Ignored, Unenforced};

/// Reports one at its field, or at what it inherits it from.
pub(crate) fn add(documents: &Documents, one: &Unenforced, findings: &mut Findings<'_>) {
    // Every check warns of this one already.
    if one.what == Ignored::DayRule {
        return;
    }
    let Some((raw, path)) = place(documents, one) else { return };
    let message = format!("`{}` has no effect where Velero carries policies out", one.what.setting());
    findings.add(raw, &path, Rule::Unenforced, message).help = Some(one.what.to_string());
}

fn place<'a>(documents: &'a Documents, one: &Unenforced) -> Option<(&'a RawDocument, Path)> {
    let Unenforced { name: _, policy, entry, what } = one;
    match what.document() {
        Document::StorageLocation => {
            let location = documents.storage_locations.iter().find(|it| it.metadata.name == *policy)?;
            let path = Path::spec().key(what.field());
            let path = if *what == Ignored::Compression { path.key("compression") } else { path };
            Some((&location.raw, path))
        }
        Document::BackupPolicy => {
            let document = documents.backup_policies.iter().find(|it| it.metadata.name == *policy)?;
            let at = document.spec.schedules.iter().position(|it| Some(&it.name) == entry.as_ref())?;
            let schedule = Path::spec().key("schedules").index(at);
            let inherited = *what == Ignored::Retention && document.spec.schedules[at].retention.is_none();
            let path = if inherited { Path::spec() } else { schedule };
            Some((&document.raw, path.key(what.field())))
        }
        Document::RestorePolicy => {
            let restore = documents.restore_policies.iter().find(|it| it.metadata.name == *policy)?;
            Some((&restore.raw, Path::spec().key(what.field())))
        }
    }
}
