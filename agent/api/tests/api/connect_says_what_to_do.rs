//! Whatever keeps a client from its agent, the error says what to do.

use std::fs;
use std::os::unix::net::UnixListener;

use forebay_api::{ConnectError, connect, socket};

#[tokio::test]
async fn without_a_state_directory() {
    let dir = tempfile::tempdir().unwrap();
    let error = connect(&dir.path().join("absent")).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoStateDir(_)), "{error:?}");
    assert!(error.to_string().contains("give --state the directory"), "{error}");
}

#[tokio::test]
async fn without_an_agent() {
    let dir = tempfile::tempdir().unwrap();
    let error = connect(dir.path()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoAgent(_)), "{error:?}");
    let command = format!("forebay-agent mount --manifest FILE --at DIR --state {}", dir.path().display());
    assert!(error.to_string().contains(&command), "{error}");
}

#[tokio::test]
async fn after_an_agent_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(socket::path(dir.path())).unwrap());
    assert!(socket::path(dir.path()).exists());
    let error = connect(dir.path()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoAgent(_)), "{error:?}");
}

#[tokio::test]
async fn when_something_else_listens() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket::path(dir.path())).unwrap();
    let other = std::thread::spawn(move || drop(listener.accept()));
    // Whether the connection's first bytes get out before it is cut is a matter of luck, not so the answer.
    let error = match connect(dir.path()).await {
        Ok(mut client) => client.status(None).await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("answer"), "{error}");
    other.join().unwrap();
}

#[test]
fn a_state_directory_may_have_a_long_path() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(120));
    fs::create_dir(&long).unwrap();
    let path = socket::path(&long);
    assert!(UnixListener::bind(&path).is_err(), "the path is too long for the kernel");
    let reachable = socket::Reachable::new(&path).unwrap();
    let _listener = UnixListener::bind(reachable.path()).unwrap();
    assert!(path.exists());
    std::os::unix::net::UnixStream::connect(reachable.path()).unwrap();
}
