//! One file as tar blocks: header, content, padding. Pure.
//!
//! Names that fit go into the fields of ustar; for the others a PAX `path` record comes first, as Velero writes it.

use chrono::{DateTime, Utc};

pub(super) const BLOCK: usize = 512;
const NAME_FIELD: usize = 100;
const PREFIX_FIELD: usize = 155;
/// Velero makes folders with the mode of the file that it unpacks into them: without the execute bits they can't be entered.
const MODE: u32 = 0o755;
/// Two empty blocks end a tar.
pub(super) const END_MARK: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Appends entries to a buffer, all with the same modification time.
pub(super) struct EntryFormat {
    template: tar::Header,
    long_name_template: tar::Header,
}

impl EntryFormat {
    pub(super) fn new(modified: DateTime<Utc>) -> Self {
        let mut template = tar::Header::new_ustar();
        template.set_entry_type(tar::EntryType::Regular);
        template.set_mode(MODE);
        template.set_uid(0);
        template.set_gid(0);
        template.set_mtime(u64::try_from(modified.timestamp()).unwrap_or(0));
        let mut long_name_template = template.clone();
        long_name_template.set_entry_type(tar::EntryType::XHeader);
        Self { template, long_name_template }
    }

    pub(super) fn append(&self, buffer: &mut Vec<u8>, name: &str, content: &[u8]) {
        let mut header = self.template.clone();
        match split(name) {
            Some((prefix, rest)) => set_name(&mut header, prefix, rest),
            None => {
                self.append_path_record(buffer, name);
                // Readers that know no PAX get the end of the name, which for an item is the object's own.
                set_name(&mut header, "", ascii_tail(name));
            }
        }
        append_blocks(buffer, header, content);
    }

    fn append_path_record(&self, buffer: &mut Vec<u8>, name: &str) {
        let mut header = self.long_name_template.clone();
        set_name(&mut header, "", "PaxHeaders.0/path");
        append_blocks(buffer, header, path_record(name).as_bytes());
    }
}

fn append_blocks(buffer: &mut Vec<u8>, mut header: tar::Header, content: &[u8]) {
    header.set_size(content.len() as u64);
    header.set_cksum();
    buffer.extend_from_slice(header.as_bytes());
    buffer.extend_from_slice(content);
    buffer.resize(buffer.len().next_multiple_of(BLOCK), 0);
}

/// Splits a name over the fields `prefix` and `name`, or says that it doesn't fit there.
fn split(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= NAME_FIELD {
        return Some(("", name));
    }
    // The slash between the two fields is not stored, so it may stand right behind the longest prefix.
    let reach = name.len().min(PREFIX_FIELD + 1);
    let (prefix, _) = name[..reach].rsplit_once('/')?;
    let rest = &name[prefix.len() + 1..];
    (!prefix.is_empty() && !rest.is_empty() && rest.len() <= NAME_FIELD).then_some((prefix, rest))
}

fn set_name(header: &mut tar::Header, prefix: &str, name: &str) {
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.name[..name.len()].copy_from_slice(name.as_bytes());
        ustar.prefix[..prefix.len()].copy_from_slice(prefix.as_bytes());
    }
}

fn ascii_tail(name: &str) -> &str {
    let from = name.char_indices().map(|(at, _)| at).find(|at| {
        let tail = &name[*at..];
        tail.len() <= NAME_FIELD && tail.is_ascii() && !tail.starts_with('/')
    });
    from.map_or("item", |at| &name[at..])
}

/// `LENGTH path=NAME`, where the length counts its own digits.
fn path_record(name: &str) -> String {
    let rest = format!(" path={name}\n");
    let mut length = rest.len();
    loop {
        let record = format!("{length}{rest}");
        if record.len() == length {
            return record;
        }
        length = record.len();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn names_read_back(name: &str) -> (String, bool) {
        let mut buffer = Vec::new();
        EntryFormat::new(DateTime::UNIX_EPOCH).append(&mut buffer, name, b"{}");
        let uses_pax = buffer[156] == b'x';
        buffer.extend_from_slice(&END_MARK);
        let mut archive = tar::Archive::new(buffer.as_slice());
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        assert_eq!(content, "{}");
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), uses_pax)
    }

    #[test]
    fn names_of_every_length_are_read_back_by_another_reader() {
        for length in 1..300 {
            let name = format!("resources/configmaps/namespaces/shop/{}.json", "n".repeat(length));
            let (read, uses_pax) = names_read_back(&name);
            assert_eq!(read, name);
            // 37 bytes stand before the object's name; from a slash on, 100 bytes fit.
            assert_eq!(uses_pax, length + ".json".len() > 100, "{length}");
        }
    }

    #[test]
    fn only_names_that_do_not_fit_the_fields_take_a_pax_record() {
        let group = "g".repeat(160);
        assert!(names_read_back(&format!("resources/{group}/cluster/a.json")).1);
        assert!(names_read_back("resources/configmaps/cluster/é.json").1);
        assert!(!names_read_back("resources/configmaps/cluster/a.json").1);
    }

    #[test]
    fn the_record_counts_its_own_digits() {
        for length in [1, 2, 80, 89, 90, 91, 92, 983, 984, 985, 990, 991, 992] {
            let record = path_record(&"n".repeat(length));
            let (counted, _) = record.split_once(' ').unwrap();
            assert_eq!(counted.parse::<usize>().unwrap(), record.len());
        }
    }

    #[test]
    fn headers_are_those_of_velero() {
        let mut buffer = Vec::new();
        EntryFormat::new(DateTime::from_timestamp(1_700_000_000, 999).unwrap()).append(
            &mut buffer,
            "a",
            b"12345",
        );
        let header = tar::Header::from_byte_slice(&buffer[..BLOCK]);
        assert_eq!(header.mode().unwrap(), 0o755);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), 1_700_000_000);
        assert_eq!(header.username_bytes(), Some(&b""[..]));
        assert_eq!(buffer.len(), 2 * BLOCK);
    }
}
