use std::fmt;

use forebay_crds::manifest::{Redacted, SecretData};

use crate::{InvalidMessage, operator as wire};

pub(super) fn to_wire(secret: &SecretData) -> wire::Secret {
    let entries = secret.entries().map(|(key, value)| (key.to_owned(), value.expose().to_vec())).collect();
    wire::Secret { name: secret.name.clone(), entries }
}

pub(super) fn from_wire(namespace: &str, message: wire::Secret) -> Result<SecretData, InvalidMessage> {
    let wire::Secret { name, entries } = message;
    if name.is_empty() {
        return Err(InvalidMessage::missing("dataset.secrets.name"));
    }
    let entries = entries.into_iter().map(|(key, value)| (key, Redacted::new(value))).collect();
    Ok(SecretData::new(namespace, &name, entries))
}

impl fmt::Debug for wire::Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for wire::EnrolRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolRequest").field("csr_pem", &self.csr_pem).finish_non_exhaustive()
    }
}
