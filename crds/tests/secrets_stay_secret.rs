//! A credential never appears in a message, a log line or a debug print.

use forebay_crds::manifest::{HttpCredentials, parse};

const VALUE: &str = "hunter2-hunter2";

#[test]
fn secrets_are_read_and_not_shown() {
    let text = "apiVersion: v1
kind: Secret
metadata: {name: obs, namespace: ml}
type: Opaque
stringData:
  secretAccessKey: hunter2-hunter2
  session-token: hunter2-hunter2
  token: 'hunter2-hunter2'
  username: me
  password: hunter2-hunter2
data:
  accessKeyId: aHVudGVyMi1odW50ZXIyCg==
  secretAccessKey: b3ZlcnJpZGRlbg==
";
    let manifests = parse(text, "f").unwrap();
    let secret = &manifests.secrets[0];
    assert_eq!((secret.namespace.as_str(), secret.name.as_str()), ("ml", "obs"));
    let keys = secret.s3().unwrap();
    assert_eq!(keys.access_key_id.expose_text(), Some(VALUE), "without the line break that echo put there");
    assert_eq!(keys.secret_access_key.expose_text(), Some(VALUE), "stringData wins over data, which comes after it here");
    assert_eq!(keys.session_token.as_ref().unwrap().expose(), VALUE.as_bytes());
    let HttpCredentials::Bearer(token) = secret.http().unwrap() else { panic!("a token comes first") };
    assert_eq!(token.expose_text(), Some(VALUE));
    let shown = format!("{manifests:?} {secret:?} {keys:?} {token:?} {:?}", secret.get("password"));
    assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVy"), "{shown}");
}

#[test]
fn errors_do_not_repeat_what_is_secret() {
    let mount = |rest: &str| {
        format!(
            "apiVersion: forebay.io/v1alpha1\nkind: Dataset\nmetadata: {{name: d}}\nspec:\n  mounts:\n  - {{path: /, {rest}}}\n"
        )
    };
    let secret = |rest: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{rest}\n");
    for text in [
        mount("source: 's3://key:hunter2@bucket/x'"),
        mount("source: 's3://hunter2@bucket'"),
        mount("source: 'https://me:hunter2@host/'"),
        mount("source: 'https://host/x?X-Amz-Signature=hunter2'"),
        mount("source: 'sftp://me:hunter2@host/'"),
        mount("source: 'foo://me:hunter2@host/'"),
        mount("source: s3://bucket, options: {endpoint: 'https://me:hunter2@host'}"),
        mount("source: s3://bucket, options: {endpoint: 'https://host?token=hunter2'}"),
        mount("source: s3://bucket, options: {endpoint: 'ftp://me:hunter2@host'}"),
        mount("source: https://host/, options: {headers: [{name: Authorization, value: Bearer hunter2}]}"),
        secret("data: {password: hunter2}"),
        secret("data: {password: [hunter2]}"),
        secret("data: hunter2"),
        secret("stringData: {password: {hunter2: hunter2}}"),
        secret("password: hunter2"),
        secret("stringData: {password: 0x2}"),
        secret("stringData: {password: 12345}"),
        secret("stringData:\n  password: hunter2\n  password: hunter2"),
        secret("stringData:\n  password: 'hunter2"),
        secret("stringData:\n  password: hunter2: hunter2"),
    ] {
        let error = parse(&text, "f").unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("12345"), "{text}\n{shown}");
    }
}

#[test]
fn a_secret_that_lacks_a_key_is_named_with_what_it_lacks() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {accessKeyId: a, secretAccessKey: ' '}\n";
    let secret = parse(text, "f").unwrap().secrets.remove(0);
    let error = secret.s3().unwrap_err().to_string();
    assert!(error.contains("Secret default/s has no usable secretAccessKey; add the key secretAccessKey"), "{error}");
    let error = secret.http().unwrap_err().to_string();
    assert!(error.contains("username") && error.contains("token, or username and password"), "{error}");
}
