use super::*;

fn config(endpoint: Option<&str>, prefix: &str) -> S3Config {
    S3Config { endpoint: endpoint.map(String::from), prefix: prefix.into(), region: Some("eu-de".into()), ..S3Config::new("b") }
}

#[test]
fn ids_hold_what_decides_a_keys_meaning() {
    for (endpoint, prefix, want) in [
        (None, "", "s3://amazonaws.com/b"),
        (Some("https://OBS.example"), "train", "s3://obs.example/b/train"),
        (Some("https://obs.example:443/"), "train/", "s3://obs.example/b/train"),
        (Some("http://obs.example:80"), "a/b", "s3://obs.example/b/a/b"),
        (Some("http://obs.example:443"), "a//", "s3://obs.example:443/b/a/"),
        (Some("http://127.0.0.1:9000/s3/"), "", "s3://127.0.0.1:9000/s3/b"),
    ] {
        assert_eq!(config(endpoint, prefix).store_id().as_str(), want);
    }
    let china = S3Config { region: Some("cn-north-1".into()), ..S3Config::new("b") };
    assert_eq!(china.store_id().as_str(), "s3://amazonaws.com.cn/b");
}

#[test]
fn addressing_follows_the_service() {
    for (endpoint, path) in [
        (None, false),
        (Some("https://s3.eu-west-1.amazonaws.com"), false),
        (Some("https://obs.eu-de.otc.t-systems.com"), false),
        (Some("https://obs.cn-north-4.myhuaweicloud.com:443"), false),
        (Some("http://minio.storage.svc:9000"), true),
        (Some("https://amazonaws.com.evil.example"), true),
        (Some("http://127.0.0.1:9000"), true),
    ] {
        assert_eq!(config(endpoint, "").path_style(), path, "{endpoint:?}");
    }
    let forced = S3Config { addressing: Addressing::Virtual, ..config(Some("http://minio:9000"), "") };
    assert!(!forced.path_style());
}

#[test]
fn what_cannot_work_is_refused_by_field() {
    let good = config(Some("https://obs.example"), "");
    assert_eq!(good.validate(), Ok(()));
    let empty_key = S3Credentials::Static { access_key_id: String::new(), secret_access_key: "s".into(), session_token: None };
    for (config, field) in [
        (S3Config { bucket: String::new(), ..good.clone() }, "bucket"),
        (S3Config { bucket: "a/b".into(), ..good.clone() }, "bucket"),
        (S3Config { endpoint: Some("obs.example".into()), ..good.clone() }, "endpoint"),
        (S3Config { endpoint: Some("ftp://obs.example".into()), ..good.clone() }, "endpoint"),
        (S3Config { endpoint: Some("https://".into()), ..good.clone() }, "endpoint"),
        (S3Config { endpoint: Some("https://u:secret@obs.example".into()), ..good.clone() }, "endpoint"),
        (S3Config { endpoint: Some("https://obs.example?x=1".into()), ..good.clone() }, "endpoint"),
        (S3Config { region: Some("eu de".into()), ..good.clone() }, "region"),
        (S3Config { credentials: empty_key, ..good.clone() }, "credentials"),
    ] {
        let refused = config.validate().err().unwrap_or_default();
        assert!(refused.starts_with(field), "{config:?}: {refused:?}");
        assert!(!refused.contains("secret@"), "{refused}");
    }
}

#[test]
fn debug_prints_no_secret() {
    let credentials = S3Credentials::Static {
        access_key_id: "AKIDEXAMPLE".into(),
        secret_access_key: "hush".into(),
        session_token: Some("token!".into()),
    };
    let text = format!("{:?}", S3Config { credentials, ..S3Config::new("b") });
    for secret in ["AKIDEXAMPLE", "hush", "token!"] {
        assert!(!text.contains(secret), "{text}");
    }
}
