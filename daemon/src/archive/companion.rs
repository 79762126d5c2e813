//! The gzip files beside an archive: packing, and unpacking with a bound.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;

/// Packs `content` as one gzip member.
pub fn gzip(content: &[u8]) -> Result<Bytes, Error> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).and_then(|()| encoder.finish()).map(Bytes::from).map_err(Error::Compress)
}

/// Packs `value` as compact JSON with a newline at its end.
pub fn gzip_json(value: &impl Serialize) -> Result<Bytes, Error> {
    let mut content = serde_json::to_vec(value).map_err(Error::Encode)?;
    content.push(b'\n');
    gzip(&content)
}

/// Unpacks one gzip member of at most `limit` bytes.
pub fn gunzip(packed: &[u8], limit: u64) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    // One byte more than allowed tells a content of exactly the limit from a longer one.
    GzDecoder::new(packed).take(limit.saturating_add(1)).read_to_end(&mut content).map_err(Error::Unpack)?;
    if content.len() as u64 > limit {
        return Err(Error::TooLarge { limit });
    }
    Ok(content)
}

/// Unpacks and decodes JSON of at most `limit` bytes.
pub fn gunzip_json<T: DeserializeOwned>(packed: &[u8], limit: u64) -> Result<T, Error> {
    serde_json::from_slice(&gunzip(packed, limit)?).map_err(Error::Decode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_went() {
        let value = vec![("v1/Pod".to_owned(), vec!["shop/web".to_owned()])];
        let packed = gzip_json(&value).unwrap();
        assert_eq!(gunzip_json::<Vec<(String, Vec<String>)>>(&packed, 100).unwrap(), value);
        assert!(gunzip(&packed, 100).unwrap().ends_with(b"]]\n"));
    }

    #[test]
    fn content_over_the_limit_is_refused() {
        let packed = gzip(&[b'a'; 1000]).unwrap();
        assert_eq!(gunzip(&packed, 1000).unwrap().len(), 1000);
        assert!(matches!(gunzip(&packed, 999), Err(Error::TooLarge { limit: 999 })));
    }

    #[test]
    fn a_cut_file_is_refused() {
        let packed = gzip(b"some text").unwrap();
        for end in 0..packed.len() {
            assert!(matches!(gunzip(&packed[..end], 100), Err(Error::Unpack(_))), "{end}");
        }
    }
}
