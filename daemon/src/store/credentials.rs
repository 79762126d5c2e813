//! Credential files in the formats that Velero's plug-ins read. Errors never repeat what such a file holds.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use super::Error;

/// A value that no log and no message shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hidden<T>(pub(super) T);

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// Where a location's credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CredentialSource {
    /// The Secret that the location names.
    Secret(Hidden<String>),
    /// `config.credentialsFile`, read each time a connection is made.
    File(PathBuf),
    /// What the process was started with.
    Environment,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error("they are not text")]
    NotText,
    #[error("they are larger than 1 MiB")]
    TooLarge,
    #[error("line {line} is neither a section nor a setting")]
    Line { line: usize },
    #[error("line {line} is neither a comment nor a variable")]
    NoVariable { line: usize },
    #[error("there is no profile {profile:?}")]
    NoProfile { profile: String },
    #[error("profile {profile:?} has no {key}")]
    MissingKey { profile: String, key: &'static str },
    #[error("profile {profile:?} uses {key}, which is not supported")]
    UnsupportedKey { profile: String, key: String },
    #[error("they have no {variable}")]
    MissingVariable { variable: String },
    #[error("they use {variable}, which is not supported")]
    UnsupportedVariable { variable: &'static str },
    #[error("AZURE_CLOUD_NAME is no cloud that is known")]
    UnknownCloud,
    #[error("{variable} is not base64")]
    NotBase64 { variable: String },
    #[error("they are no service account in JSON")]
    NotServiceAccount,
    #[error("the service account has no {field}")]
    MissingField { field: &'static str },
    #[error("the service account's private_key is not PEM")]
    PrivateKey,
    #[error("a {kind:?} account is not supported, only a \"service_account\"")]
    UnsupportedAccount { kind: String },
}

/// The largest that is known, a service account with its key, has some 2.5 KiB.
const LARGEST_FILE: u64 = 1024 * 1024;

impl CredentialSource {
    /// The Secret wins over the file, as it does with Velero, which passes the Secret on as that file.
    pub(super) fn new(secret: Option<Vec<u8>>, file: Option<String>) -> Result<Self, CredentialsError> {
        match (secret, file) {
            (Some(bytes), _) if bytes.len() as u64 > LARGEST_FILE => Err(CredentialsError::TooLarge),
            (Some(bytes), _) => {
                let text = String::from_utf8(bytes).map_err(|_| CredentialsError::NotText)?;
                Ok(Self::Secret(Hidden(text)))
            }
            (None, Some(file)) => Ok(Self::File(file.into())),
            (None, None) => Ok(Self::Environment),
        }
    }

    /// The text, where there is one. `variable` names the environment's file.
    pub(super) fn read(&self, variable: &str) -> Result<Option<String>, Error> {
        let path = match self {
            Self::Secret(Hidden(text)) => return Ok(Some(text.clone())),
            Self::File(path) => path.clone(),
            Self::Environment => match std::env::var_os(variable) {
                Some(path) if !path.is_empty() => path.into(),
                Some(_) | None => return Ok(None),
            },
        };
        let failed = |source| Error::ReadKey { path: path.display().to_string(), source };
        let mut text = String::new();
        let file = std::fs::File::open(&path).map_err(failed)?;
        file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > LARGEST_FILE {
            return Err(CredentialsError::TooLarge.into());
        }
        Ok(Some(text))
    }
}

/// One profile of an AWS credentials file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AwsProfile {
    pub(super) identity: AwsIdentity,
    pub(super) region: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AwsIdentity {
    Key { id: String, secret: Hidden<String>, session_token: Option<Hidden<String>> },
    WebIdentity { role_arn: String, token_file: String, session_name: Option<String> },
}

/// Settings that make another identity out of the profile; without them the wrong one would be used.
const UNSUPPORTED_AWS_KEYS: [&str; 5] =
    ["role_arn", "source_profile", "credential_source", "credential_process", "sso_session"];

impl AwsProfile {
    pub(super) fn parse(text: &str, profile: &str) -> Result<Self, CredentialsError> {
        let mut values = ini_section(text, profile)?;
        let missing = |key| CredentialsError::MissingKey { profile: profile.to_owned(), key };
        let region = values.remove("region");
        if let Some(token_file) = values.remove("web_identity_token_file") {
            let role_arn = values.remove("role_arn").ok_or_else(|| missing("role_arn"))?;
            let session_name = values.remove("role_session_name");
            return Ok(Self {
                identity: AwsIdentity::WebIdentity { role_arn, token_file, session_name },
                region,
            });
        }
        if let Some(key) = UNSUPPORTED_AWS_KEYS.iter().find(|key| values.contains_key(**key)) {
            let (profile, key) = (profile.to_owned(), (*key).to_owned());
            return Err(CredentialsError::UnsupportedKey { profile, key });
        }
        let id = values.remove("aws_access_key_id").ok_or_else(|| missing("aws_access_key_id"))?;
        let secret =
            values.remove("aws_secret_access_key").ok_or_else(|| missing("aws_secret_access_key"))?;
        let session_token = values.remove("aws_session_token").map(Hidden);
        Ok(Self { identity: AwsIdentity::Key { id, secret: Hidden(secret), session_token }, region })
    }
}

fn ini_section(text: &str, wanted: &str) -> Result<BTreeMap<String, String>, CredentialsError> {
    let mut section: Option<&str> = None;
    let mut found: Option<BTreeMap<String, String>> = None;
    for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            // The other file of AWS writes `[profile NAME]`.
            let name = name.trim();
            let name = name.strip_prefix("profile ").map_or(name, str::trim);
            section = Some(name);
            if name == wanted {
                found.get_or_insert_default();
            }
            continue;
        }
        let (Some(section), Some((key, value))) = (section, line.split_once('=')) else {
            return Err(CredentialsError::Line { line: index + 1 });
        };
        if let Some(found) = found.as_mut().filter(|_| section == wanted) {
            found.insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    found.ok_or_else(|| CredentialsError::NoProfile { profile: wanted.to_owned() })
}

/// The variables of an Azure credentials file: `KEY=value` or `KEY: value`, one a line, perhaps with `export` in front.
pub(super) fn variables(text: &str) -> Result<BTreeMap<String, Hidden<String>>, CredentialsError> {
    let mut variables = BTreeMap::new();
    for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some(at) = line.find(['=', ':']) else {
            return Err(CredentialsError::NoVariable { line: index + 1 });
        };
        variables.insert(line[..at].trim().to_owned(), Hidden(unquoted(line[at + 1..].trim())));
    }
    Ok(variables)
}

/// Velero takes an unquoted `#` for the start of a comment wherever it stands.
fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some((inside, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return inside.to_owned();
        }
    }
    value.split('#').next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n[default]\naws_access_key_id = A1\naws_secret_access_key=s/1=\n\n[profile other]\n\
                        AWS_ACCESS_KEY_ID=A2\naws_secret_access_key=s2\naws_session_token=t2\nregion = eu-1\n\
                        [web]\nrole_arn=arn:x\nweb_identity_token_file=/t\n[process]\ncredential_process=/bin/x\n[half]\n\
                        aws_access_key_id=A3\n";

    fn key(id: &str, secret: &str, token: Option<&str>) -> AwsIdentity {
        AwsIdentity::Key {
            id: id.into(),
            secret: Hidden(secret.into()),
            session_token: token.map(|token| Hidden(token.to_owned())),
        }
    }

    #[test]
    fn each_profile_has_its_own_identity() {
        assert_eq!(
            AwsProfile::parse(FILE, "default").unwrap(),
            AwsProfile { identity: key("A1", "s/1=", None), region: None }
        );
        assert_eq!(
            AwsProfile::parse(FILE, "other").unwrap(),
            AwsProfile { identity: key("A2", "s2", Some("t2")), region: Some("eu-1".into()) }
        );
        let web = AwsIdentity::WebIdentity {
            role_arn: "arn:x".into(),
            token_file: "/t".into(),
            session_name: None,
        };
        assert_eq!(AwsProfile::parse(FILE, "web").unwrap().identity, web);
    }

    #[test]
    fn what_is_wrong_is_said_without_showing_the_file() {
        for (text, profile, expected) in [
            (FILE, "absent", r#"there is no profile "absent""#),
            (FILE, "half", r#"profile "half" has no aws_secret_access_key"#),
            (FILE, "process", r#"profile "process" uses credential_process, which is not supported"#),
            ("[default]\nSECRET", "default", "line 2 is neither a section nor a setting"),
            ("a=SECRET", "default", "line 1 is neither a section nor a setting"),
        ] {
            assert_eq!(AwsProfile::parse(text, profile).unwrap_err().to_string(), expected);
        }
        let shown = format!("{:?}", AwsProfile::parse(FILE, "default").unwrap());
        assert!(!shown.contains("s/1="), "{shown}");
    }

    #[test]
    fn azure_s_variables_are_read_in_all_their_spellings() {
        let text = "# c\nAZURE_TENANT_ID=t\nexport AZURE_CLIENT_ID: c\nAZURE_CLIENT_SECRET=\"a#b\"\nAZURE_STORAGE_KEY=k== # x\n\
                    EMPTY=\nQ='x y'\n";
        let read: Vec<(String, String)> =
            variables(text).unwrap().into_iter().map(|(key, value)| (key, value.0)).collect();
        let expected = [
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_CLIENT_SECRET", "a#b"),
            ("AZURE_STORAGE_KEY", "k=="),
            ("AZURE_TENANT_ID", "t"),
            ("EMPTY", ""),
            ("Q", "x y"),
        ];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(variables("nonsense"), Err(CredentialsError::NoVariable { line: 1 }));
    }
}
